//! The resources of units: outlines, textbooks, readings and links, each a private file or an address.
//!
//! Read by who is enrolled or has completed the unit, who teaches it, its convenor and staff; written by its convenor
//! and staff. A resource stays what it was made as: another file, or a link in place of a file, is another resource.

mod body;
mod handlers;
mod store;

use crate::http::{Routes, change, list, remove, replace, restore, show};

pub use handlers::{UnitResource, UnitResourceFields};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/academic/unit-resources")
        .get("/", list::<UnitResource>, "Lists the resources of units.")
        .post("/", handlers::create, "Adds a resource to a unit: JSON with a `url`, or multipart with a `file`.")
        .get("/{id}/", show::<UnitResource>, "Shows a resource of a unit.")
        .put("/{id}/", replace::<UnitResource>, "Replaces what is said about a resource; its file stays.")
        .patch("/{id}/", change::<UnitResource>, "Changes what is said about a resource.")
        .delete("/{id}/", remove::<UnitResource>, "Deletes a resource of a unit.")
        .post("/{id}/restore/", restore::<UnitResource>, "Brings a deleted resource back.")
}
