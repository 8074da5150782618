//! Classes: when and where an offering meets, and who holds the class.
//!
//! Seen by who sits in the offering, who instructs in it, the unit's convenor and staff; written by the convenor and
//! staff. Dates and times are those of `TIME_ZONE`. A class takes the time from its start up to its end; one without
//! an end takes the moment of its start.

mod cancel;
mod clashes;
mod generate;
mod handlers;
mod notices;
mod series;
mod store;

use crate::http::{Routes, change, create, list, remove, replace, restore, show};

pub(crate) use cancel::{cancel_classes, hold_coming};
pub use handlers::{ClassSession, ClassSessionFields, SessionStatus, SessionType};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/sessions")
        .get("/", list::<ClassSession>, "Lists the classes that the caller may see.")
        .post("/", create::<ClassSession>, "Creates a class.")
        .post("/generate/", generate::generate, "Creates the classes of a weekly pattern, all or none.")
        .post(
            "/cancel/",
            cancel::cancel_day,
            "Cancels the classes of a day, all or none; each who sits in them is told once.",
        )
        .patch(
            "/series/{series}/",
            series::change,
            "Changes the classes of a weekly series from a day on, all or none; each who sits in them is told once.",
        )
        .get("/{id}/", show::<ClassSession>, "Shows a class.")
        .put("/{id}/", replace::<ClassSession>, "Replaces a class; who sits in it is told when it moves.")
        .patch("/{id}/", change::<ClassSession>, "Changes a class; who sits in it is told when it moves.")
        .delete("/{id}/", remove::<ClassSession>, "Deletes a class in which nobody is marked.")
        .post("/{id}/restore/", restore::<ClassSession>, "Brings a deleted class back.")
}
