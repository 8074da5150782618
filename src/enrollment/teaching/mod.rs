//! The overview of one's own classes: the units one convenes, and the classes one holds.

mod handlers;
mod store;

use crate::http::Routes;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/enrollment/enrollments").get(
        "/teaching/",
        handlers::teaching,
        "Shows the classes that the caller convenes or instructs.",
    )
}
