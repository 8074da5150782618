//! Courses: programmes of study.

mod handlers;
mod store;
mod units;

use crate::http::{Routes, change, create, list, remove, replace, restore, show};

pub use handlers::{Course, CourseFields};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/academic/courses")
        .get("/", list::<Course>, "Lists courses.")
        .post("/", create::<Course>, "Creates a course.")
        .get("/{id}/", show::<Course>, "Shows a course.")
        .put("/{id}/", replace::<Course>, "Replaces a course.")
        .patch("/{id}/", change::<Course>, "Changes a course.")
        .delete("/{id}/", remove::<Course>, "Deletes a course that nothing refers to.")
        .post("/{id}/restore/", restore::<Course>, "Brings a deleted course back.")
        .get("/{id}/units/", units::units, "Lists the units of a course; each says whether it is an elective there.")
}
