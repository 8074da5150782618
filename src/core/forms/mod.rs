//! Forms, and what is sent in with them.
//!
//! A form's schema is a JSON Schema; a changed schema is a new version, and a submission names the version that it was
//! checked against. What a schema may ask for is bounded when it is written ([`schema`]), so that checking a
//! submission takes a bounded time: no references to elsewhere, none in circles, patterns that match in linear time.

mod handlers;
mod schema;
mod store;
mod submissions;
mod survey;

use crate::http::{Routes, change, create, list, remove, replace, restore, show};

pub use handlers::{Form, FormFields};
pub use submissions::{Submission, SubmissionFields};

/// The endpoints of forms and of submissions.
pub(super) fn routes() -> Routes {
    let forms = Routes::under("/api/core/forms")
        .get("/", list::<Form>, "Lists forms.")
        .post("/", create::<Form>, "Creates a form.")
        .get("/{id}/", show::<Form>, "Shows a form.")
        .put("/{id}/", replace::<Form>, "Replaces a form; another schema is a new version.")
        .patch("/{id}/", change::<Form>, "Changes a form; another schema is a new version.")
        .delete("/{id}/", remove::<Form>, "Deletes a form with which nothing was sent in.")
        .post("/{id}/restore/", restore::<Form>, "Brings a deleted form back.");
    let submissions = Routes::under("/api/core/submissions")
        .get("/", list::<Submission>, "Lists what was sent in, the newest first.")
        .post("/", create::<Submission>, "Sends in a form.")
        .get("/{id}/", show::<Submission>, "Shows what was sent in.")
        .delete("/{id}/", remove::<Submission>, "Deletes what was sent in.")
        .post("/{id}/restore/", restore::<Submission>, "Brings back what was deleted of what was sent in.");
    forms.and(submissions)
}
