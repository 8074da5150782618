//! Tickets: what somebody asks for or complains of, and who looks after it.
//!
//! Anyone submits one. Its submitter, whoever it is assigned to, the convenors of what it is about and staff read and
//! write it. Only staff assign it and set its status and priority; the submitter may close and reopen it. What is not the
//! caller's to write is ignored ([`fields`]). Submitter and assignee are told of every change but their own
//! ([`notices`]). Comments and files go with their ticket, and come back with it.

mod fields;
mod files;
mod handlers;
pub(super) mod notices;
mod parties;
mod store;
mod write;

use crate::http::{Routes, list, restore, show};

pub(super) use handlers::Ticket;
pub(super) use parties::{Parties, parties, push_within};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/tickets")
        .get("/", list::<Ticket>, "Lists tickets, the newest first.")
        .post("/", write::create, "Submits a ticket.")
        .get("/{id}/", show::<Ticket>, "Shows a ticket.")
        .put("/{id}/", write::replace, "Replaces a ticket; what is not the caller's to write stays.")
        .patch("/{id}/", write::change, "Changes a ticket; its submitter may close and reopen it.")
        .delete("/{id}/", write::remove, "Deletes a ticket with its comments.")
        .post("/{id}/restore/", restore::<Ticket>, "Brings a deleted ticket back.")
        .post("/{id}/files/", files::add, "Adds a file to a ticket.")
}
