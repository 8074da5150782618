//! Scholarships: what students apply for.
//!
//! Students see those that take applications and those that they have applied for. No more are awarded than `max_awards`
//! (0 is any number): awarding and lowering the number both hold the scholarship's row ([`awards_left`]).

mod handlers;
mod store;

use crate::http::{Routes, change, create, list, remove, replace, restore, show};

pub(super) use handlers::Scholarship;
pub(super) use store::{awards_left, takes_applications};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users/scholarships")
        .get("/", list::<Scholarship>, "Lists scholarships.")
        .post("/", create::<Scholarship>, "Creates a scholarship.")
        .get("/{id}/", show::<Scholarship>, "Shows a scholarship.")
        .put("/{id}/", replace::<Scholarship>, "Replaces a scholarship.")
        .patch("/{id}/", change::<Scholarship>, "Changes a scholarship.")
        .delete("/{id}/", remove::<Scholarship>, "Deletes a scholarship that nobody has applied for.")
        .post("/{id}/restore/", restore::<Scholarship>, "Brings a deleted scholarship back.")
}
