//! Which units a course has, and which of them are electives.

mod handlers;
mod store;

use crate::http::{Routes, change, create, list, remove, replace, restore, show};

pub use handlers::{CourseUnit, CourseUnitFields};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/academic/course-units")
        .get("/", list::<CourseUnit>, "Lists which units belong to which courses.")
        .post("/", create::<CourseUnit>, "Adds a unit to a course.")
        .get("/{id}/", show::<CourseUnit>, "Shows a unit's place in a course.")
        .put("/{id}/", replace::<CourseUnit>, "Replaces a unit's place in a course.")
        .patch("/{id}/", change::<CourseUnit>, "Changes a unit's place in a course.")
        .delete("/{id}/", remove::<CourseUnit>, "Takes a unit out of a course.")
        .post("/{id}/restore/", restore::<CourseUnit>, "Puts a unit back into a course.")
}
