//! Notifications: what a person is told of what concerns them.
//!
//! The server tells ([`tell`], [`keep_digest`]), and so do people; of what one was told one writes only whether it is
//! still unread. Nobody reads what others are told, not even an administrator: so nobody restores it either.

mod handlers;
mod mark;
mod send;
mod store;
mod stream;

use crate::http::{Routes, list, show};

pub use handlers::Notification;
pub(crate) use store::{Digest, Notice, Told, keep_digest, tell};
pub use stream::Streams;

const ONE_BY_ONE: &str = "People go through what they were told one by one.";

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/notifications")
        .get("/", list::<Notification>, "Lists the caller's notifications.")
        .post("/", send::send, "Notifies somebody, or all who sit in an offering.")
        .get("/unread-count/", mark::unread_count, "Counts the caller's unread notifications.")
        .post("/mark-all-read/", mark::mark_all_read, "Marks all of the caller's notifications as read.")
        .counts_a_tenth(ONE_BY_ONE)
        .get("/stream/", stream::stream, "Sends the caller's notifications as they come, by server-sent events.")
        .get("/{id}/", show::<Notification>, "Shows a notification of the caller's.")
        .put("/{id}/", mark::replace, "Marks a notification of the caller's as read or unread.")
        .counts_a_tenth(ONE_BY_ONE)
        .patch("/{id}/", mark::change, "Marks a notification of the caller's as read or unread.")
        .counts_a_tenth(ONE_BY_ONE)
        .delete("/{id}/", mark::remove, "Deletes a notification of the caller's.")
        .counts_a_tenth(ONE_BY_ONE)
}
