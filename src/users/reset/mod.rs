//! Setting a new password by a link in a mail.

mod handlers;
mod store;

pub(super) use handlers::Page;

use crate::http::Routes;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users")
        .post("/password-reset/", handlers::ask, "Asks for a mail with a link; always 202.")
        .post("/password-reset/confirm/", handlers::confirm, "Sets a new password by the token of a link.")
        .and(Routes::under("/reset").get("/", handlers::page, "The page that the link of a mail leads to.").get(
            "/{token}",
            handlers::page,
            "The page that the link of a mail leads to.",
        ))
}
