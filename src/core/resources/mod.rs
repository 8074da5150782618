//! The library: public files with a title, for everybody or for a unit.
//!
//! A resource stays what it was made as: another file is another resource.

mod body;
mod handlers;
mod store;

use crate::http::{Routes, change, list, remove, replace, restore, show};

use handlers::LibraryResource;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/resources")
        .get("/", list::<LibraryResource>, "Lists the resources of the library.")
        .post("/", body::create, "Adds a file to the library.")
        .get("/{id}/", show::<LibraryResource>, "Shows a resource of the library.")
        .put("/{id}/", replace::<LibraryResource>, "Replaces what is said about a resource; its file stays.")
        .patch("/{id}/", change::<LibraryResource>, "Changes what is said about a resource.")
        .delete("/{id}/", remove::<LibraryResource>, "Deletes a resource of the library.")
        .post("/{id}/restore/", restore::<LibraryResource>, "Brings a deleted resource back.")
}
