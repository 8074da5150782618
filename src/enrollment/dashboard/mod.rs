//! The student's dashboard: own enrolments, and what there is to enrol in.
//!
//! However much there is of either, it is a fixed number of statements ([`store`]), each of which starts from the
//! caller's rows or from the windows that are open, never from all enrolments or all offerings.

mod handlers;
mod schedule;
mod store;
mod takeable;

use crate::http::Routes;

pub(crate) use takeable::{UnitToTake, units_to_take};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/enrollment/enrollments").get(
        "/dashboard/",
        handlers::dashboard,
        "Shows the caller's own enrolments and the offerings that are open to them.",
    )
}
