//! Workflows: who listens to what, where, and with which secret messages to them are signed.

mod handlers;
mod secrets;
mod store;

use crate::http::{Routes, list, remove, restore, show};

pub(in crate::workflows) use handlers::Configuration;
pub(crate) use handlers::Workflow;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users/n8n-workflows")
        .get("/", list::<Workflow>, "Lists workflows.")
        .post("/", secrets::create, "Creates a workflow; its secret is shown once.")
        .get("/{id}/", show::<Workflow>, "Shows a workflow.")
        .put("/{id}/", handlers::replace, "Replaces a workflow.")
        .patch("/{id}/", handlers::change, "Changes a workflow.")
        .delete("/{id}/", remove::<Workflow>, "Deletes a workflow; what it has not been told yet it is not told.")
        .post("/{id}/restore/", restore::<Workflow>, "Brings a deleted workflow back.")
        .post("/{id}/rotate-secret/", secrets::rotate, "Makes a new secret; the old one signs beside it for a day.")
}
