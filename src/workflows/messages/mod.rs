//! The queue of messages to workflows, as administrators see it.

mod handlers;
mod store;

use crate::http::{Routes, list, show};

pub(in crate::workflows) use handlers::OutboxMessage;
pub(crate) use store::queue;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users/webhook-outbox")
        .get("/", list::<OutboxMessage>, "Lists messages to workflows, the newest first.")
        .get("/{id}/", show::<OutboxMessage>, "Shows a message to a workflow.")
        .post("/{id}/replay/", handlers::replay, "Sends a message again that was given up or has arrived.")
}
