//! Logging in and out, and the tokens of a session.

mod handlers;
mod store;

use crate::http::Routes;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/token")
        .post("/", handlers::log_in, "Logs in.")
        .post("/compat/", handlers::log_in_compat, "Logs in; the same as /token/.")
        .post("/refresh/", handlers::refresh, "Gives a new access token.")
        .post("/verify/", handlers::verify, "Tells whether a token is good.")
        .post("/logout/", handlers::log_out, "Revokes the session.")
}
