//! Applications for scholarships: a student asks, with documents; staff decide.
//!
//! pending → approved, rejected or waitlisted; waitlisted → approved or rejected; approved → rejected, when an award is
//! taken back. Anything else is refused. A student applies once for a scholarship, and may take the application back or
//! add documents until it is reviewed. Documents are private files, fetched by signed links.
//!
//! Lock order: application, scholarship.

mod body;
mod documents;
mod handlers;
mod review;
mod store;

use crate::http::{Routes, list, remove, restore, show};

use handlers::Application;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users/scholarship-applications")
        .get("/", list::<Application>, "Lists applications: a student's own, or all.")
        .post("/", handlers::create, "Applies for a scholarship: JSON, or multipart with a first document.")
        .get("/{id}/", show::<Application>, "Shows an application.")
        .delete("/{id}/", remove::<Application>, "Takes one's application back before it is reviewed.")
        .post("/{id}/restore/", restore::<Application>, "Brings an application back that was taken back.")
        .post("/{id}/documents/", documents::add, "Adds a document to one's application before it is reviewed.")
        .post("/{id}/review/", review::review, "Approves, rejects or waitlists an application.")
}
