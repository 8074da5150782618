//! Log-in sessions: one for each log-in, seen and revoked by their owner and by administrators.

mod handlers;
mod store;

use crate::http::Routes;

pub(crate) use store::revoke_all;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users/sessions")
        .get("/", handlers::list, "Lists the caller's live sessions; an administrator's `?user=` those of another.")
        .delete("/{id}/", handlers::remove, "Revokes a session.")
}
