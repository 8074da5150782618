//! Approvals: the enrolments that wait for a decision, those first that have waited longest.

mod handlers;

use crate::http::{Routes, list};

use handlers::Approval;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/enrollment/approvals").get(
        "/",
        list::<Approval>,
        "Lists the enrolments that wait for a decision, those that have waited longest first.",
    )
}
