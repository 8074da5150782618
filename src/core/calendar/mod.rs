//! Calendar feeds: a person's classes and events for a calendar program, behind a secret address.
//!
//! A calendar program cannot log in, so whoever has the address reads the feed. What always holds, and where it is kept:
//!
//! - the token is shown once and stored only as its digest: [`handlers`];
//! - a person has at most one live link: `store::replace`, under the lock of the person's row;
//! - a revoked link and one of an inactive person are as good as none: `store::holder`;
//! - the feed has the events that the API would show its owner: `events::push_audience`.

mod feed;
mod handlers;
mod store;

use crate::http::Routes;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core")
        .get("/calendar-link/", handlers::show, "Says whether the caller has a calendar link.")
        .post("/calendar-link/", handlers::create, "Makes a new calendar link for the caller and ends the one before.")
        .delete("/calendar-link/", handlers::remove, "Revokes the caller's calendar link.")
        .refuses(404, "There is none.")
        .get("/calendar.ics/", handlers::feed, "The classes and events of the link's owner, for a calendar program.")
}
