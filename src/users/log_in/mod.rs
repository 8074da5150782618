//! Logging in and out, and the tokens of a session.

mod handlers;
mod store;

use crate::http::Routes;

const WRONG: &str = "No active account has this name and password.";
const GUESSED: &str = "Too many wrong passwords; see Retry-After.";
const SPENT: &str = "The token is invalid, expired or revoked.";

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/token")
        .post("/", handlers::log_in, "Logs in.")
        .refuses(401, WRONG)
        .refuses(429, GUESSED)
        .post("/compat/", handlers::log_in_compat, "Logs in; the same as /token/.")
        .refuses(401, WRONG)
        .refuses(429, GUESSED)
        .post("/refresh/", handlers::refresh, "Gives a new access token.")
        .refuses(401, SPENT)
        .post("/verify/", handlers::verify, "Tells whether a token is good.")
        .refuses(401, SPENT)
        .post("/logout/", handlers::log_out, "Revokes the session.")
        .refuses(401, SPENT)
}
