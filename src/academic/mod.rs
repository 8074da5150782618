//! The academic catalogue: courses, units, intakes, offerings, and the resources of units.
//!
//! Owns `courses`, `course_units`, `units`, `unit_prerequisites`, `unit_anti_requisites`, `intakes`, `offerings` (but
//! not its counter of seats, which is the enrolments') and `unit_resources`.

pub mod courses;

use crate::http::Routes;

/// The endpoints of this domain.
pub fn routes() -> Routes {
    courses::routes()
}
