//! The log of calls: each attempt to call a workflow is a row.

mod handlers;
mod store;

use crate::http::{Routes, list, show};

use handlers::Execution;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users/n8n-logs")
        .get("/", list::<Execution>, "Lists calls of workflows, the newest first.")
        .get("/{id}/", show::<Execution>, "Shows a call of a workflow.")
        .post("/{id}/replay/", handlers::replay, "Sends what was sent in a call again, through the queue.")
}
