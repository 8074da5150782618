//! Media: public files that pages and events show. There is nothing to change about one: another file is another asset.

mod handlers;
mod store;

use crate::http::{Routes, list, remove, restore, show};

use handlers::MediaAsset;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/media")
        .get("/", list::<MediaAsset>, "Lists media.")
        .post("/", handlers::create, "Adds a file to the media.")
        .get("/{id}/", show::<MediaAsset>, "Shows a file of the media.")
        .delete("/{id}/", remove::<MediaAsset>, "Deletes a file of the media.")
        .post("/{id}/restore/", restore::<MediaAsset>, "Brings a deleted file of the media back.")
}
