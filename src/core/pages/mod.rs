//! Pages: what the university tells everybody in it, found by id or by slug.
//!
//! Published ones are for anyone who is logged in; drafts for who may read these. A slug names one live page: constraint
//! `pages_slug_is_unique`.

mod handlers;
mod store;

use crate::http::{Routes, change, create, list, remove, replace, restore, show};

use handlers::Page;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/pages")
        .get("/", list::<Page>, "Lists pages; drafts are for staff and convenors.")
        .post("/", create::<Page>, "Creates a page.")
        .get("/by-slug/{slug}/", handlers::by_slug, "Shows the page with this slug.")
        .get("/{id}/", show::<Page>, "Shows a page.")
        .put("/{id}/", replace::<Page>, "Replaces a page.")
        .patch("/{id}/", change::<Page>, "Changes a page.")
        .delete("/{id}/", remove::<Page>, "Deletes a page.")
        .post("/{id}/restore/", restore::<Page>, "Brings a deleted page back.")
}
