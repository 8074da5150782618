//! Offerings: units in a semester and year, with a window to enrol in and a number of seats.
//!
//! The seats taken (`current_enrollment`) are counted by enrolment and only read here. An offering is of the intake of
//! its semester and year, which is made when it is missing.

mod handlers;
mod store;

use crate::http::{Routes, change, create, list, remove, replace, restore, show};

pub use handlers::{Offering, OfferingFields};
pub(crate) use store::offering_json;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/academic/offerings")
        .get("/", list::<Offering>, "Lists offerings.")
        .post("/", create::<Offering>, "Creates an offering.")
        .get("/{id}/", show::<Offering>, "Shows an offering.")
        .put("/{id}/", replace::<Offering>, "Replaces an offering.")
        .patch("/{id}/", change::<Offering>, "Changes an offering.")
        .delete("/{id}/", remove::<Offering>, "Deletes an offering that nothing refers to.")
        .post("/{id}/restore/", restore::<Offering>, "Brings a deleted offering back.")
}
