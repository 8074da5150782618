//! A new address of an account, which counts when whoever reads its mail has confirmed it.
//!
//! One waits for each account. It ends when another is asked for, and with every change of the account's password,
//! address or activity: the trigger `users_end_email_changes`.

mod handlers;
mod store;

pub(super) use handlers::{ask, cancel};
pub(super) use store::keep_token;

use crate::http::Routes;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    const PAGE: &str = "The page that the link of a mail to a new address leads to.";
    Routes::under("/api/users")
        .post(
            "/email/confirm/",
            handlers::confirm,
            "Gives an account its new address, or makes a registered one, by the token of a link.",
        )
        .refuses(409, "Another account has the address, or the user name, by now.")
        .and(Routes::under("/confirm-email").get("/", handlers::page, PAGE).get("/{token}", handlers::page, PAGE))
}
