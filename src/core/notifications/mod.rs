//! Notifications: what a person is told of what concerns them.

mod handlers;
mod store;

use crate::http::{Routes, list, show};

pub use handlers::Notification;
pub(crate) use store::{Digest, Notice, keep_digest, tell};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/notifications").get("/", list::<Notification>, "Lists the caller's notifications.").get(
        "/{id}/",
        show::<Notification>,
        "Shows a notification of the caller's.",
    )
}
