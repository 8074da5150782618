//! Student profiles: the academic side of a student.

mod handlers;
mod store;

use crate::http::{Routes, change, create, list, remove, replace, restore, show};

use handlers::StudentProfile;
pub(super) use handlers::StudentRecord;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users/student-profiles")
        .get("/", list::<StudentProfile>, "Lists the student profiles that the caller may see.")
        .post("/", create::<StudentProfile>, "Creates a student's profile.")
        .get("/{id}/", show::<StudentProfile>, "Shows a student's profile.")
        .put("/{id}/", replace::<StudentProfile>, "Replaces a student's profile.")
        .patch("/{id}/", change::<StudentProfile>, "Changes a student's profile.")
        .delete("/{id}/", remove::<StudentProfile>, "Deletes a student's profile.")
        .post("/{id}/restore/", restore::<StudentProfile>, "Brings a deleted profile back.")
}
