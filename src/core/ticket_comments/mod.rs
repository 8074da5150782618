//! Comments on tickets: who writes a ticket says something about it; staff also in internal notes.
//!
//! A comment is seen by who sees its ticket. An internal note is seen and written by staff alone, and never by who
//! submitted the ticket, also when that is staff. What somebody said only they change; staff may delete it.

mod handlers;
mod store;
mod write;

use crate::http::{Routes, list, remove, restore, show};

use handlers::TicketComment;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/ticket-comments")
        .get("/", list::<TicketComment>, "Lists comments on tickets.")
        .post("/", write::create, "Comments on a ticket.")
        .get("/{id}/", show::<TicketComment>, "Shows a comment on a ticket.")
        .put("/{id}/", write::replace, "Replaces a comment of the caller's.")
        .patch("/{id}/", write::change, "Changes a comment of the caller's.")
        .delete("/{id}/", remove::<TicketComment>, "Deletes a comment on a ticket.")
        .post("/{id}/restore/", restore::<TicketComment>, "Brings a deleted comment back.")
}
