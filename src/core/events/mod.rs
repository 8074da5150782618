//! Events: what is on, for whom, and who comes.
//!
//! Who sees an event is decided in one place, `store::push_audience`, within the statement that reads it. Whoever may not
//! edit events sees of the people only themselves, and of what was written by a generator only what was confirmed.

mod calls;
mod content;
mod handlers;
mod import;
mod publish;
mod sheet;
mod store;
mod times;

use crate::http::{Routes, create, list, replace, restore, show};

pub(crate) use content::look_after as look_after_content;
pub use handlers::{Event, EventFields};
pub(crate) use store::push_audience;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/events")
        .get("/", calls::events, "Lists the events that concern the caller, the latest first.")
        .post("/", create::<Event>, "Creates an event.")
        .post(
            "/import-csv/",
            import::import_csv,
            "Creates the events of a CSV file, all or with `?partial=true` the good ones.",
        )
        .post(
            "/batch-create-webhook/",
            import::batch_create,
            "Creates events for a workflow; those that are there are skipped.",
        )
        .get(
            "/pending-refinement/",
            list::<publish::Unconfirmed>,
            "Lists events whose generated content is not confirmed.",
        )
        .post("/bulk-publish/", publish::bulk_publish, "Sets whom many events are shown to.")
        .get("/{id}/", show::<Event>, "Shows an event.")
        .put("/{id}/", replace::<Event>, "Replaces an event.")
        .patch("/{id}/", calls::change, "Changes an event; `{\"dismissed\"}` alone puts it aside for the caller only.")
        .refuses(403, "The caller may not change events.")
        .delete("/{id}/", calls::remove, "Deletes an event.")
        .post("/{id}/restore/", restore::<Event>, "Brings a deleted event back.")
        .get(
            "/{id}/targeted_students/",
            calls::targeted_students,
            "Lists the students whom an event is for; an intake stands for whoever sits in a class of its semester.",
        )
        .post("/{id}/attend/", calls::attend, "Puts the caller on the list of attendees.")
        .post("/{id}/unattend/", calls::unattend, "Takes the caller off the list of attendees.")
        .and(content::routes())
}
