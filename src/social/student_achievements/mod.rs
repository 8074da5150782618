//! Who has earned which achievement. The server grants them; what staff can do is to take one back, and what was taken back
//! is not granted again.

mod handlers;
mod store;

use crate::http::{Routes, list, remove, restore, show};

pub use handlers::StudentAchievement;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/social/student-achievements")
        .get("/", list::<StudentAchievement>, "Lists what students have earned, as far as the caller may see it.")
        .get("/{id}/", show::<StudentAchievement>, "Shows what a student has earned.")
        .delete("/{id}/", remove::<StudentAchievement>, "Takes an achievement back from a student.")
        .post("/{id}/restore/", restore::<StudentAchievement>, "Gives an achievement back that was taken.")
}
