//! Class lists: who sits, sat or asked to sit in an offering.

mod handlers;
mod store;

use crate::http::Routes;

pub(crate) use handlers::knows_class;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/academic/offerings").get(
        "/{id}/students/",
        handlers::students,
        "Lists the students of an offering by name, whatever their status; as CSV the whole class at once.",
    )
}
