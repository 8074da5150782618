//! The academic catalogue: courses, units, intakes, offerings, and the resources of units.
//!
//! Owns `courses`, `course_units`, `units`, `unit_prerequisites`, `unit_anti_requisites`, `intakes`, `offerings` (but
//! not its counter of seats, which is the enrolments') and `unit_resources`. What always holds, and where it is kept:
//!
//! - a live row refers to live rows only: whoever refers locks what it refers to `for share`
//!   (`Faults::refers`), a delete locks the row and then counts (`http::remove`);
//! - no unit is, through others, its own prerequisite: `units::requisites`, one change at a time;
//! - the semester and year of an offering are those of its intake: `offerings`, `intakes`;
//! - an offering's capacity is never below the seats taken: `offerings`, behind it `offerings_not_overbooked`;
//! - a convenor writes only what belongs to units that they convene: [`units::refuse_foreign`].
//!
//! Lock order: the row that is written, then the right to change requisites, then the rows it refers to by id.

pub mod course_units;
pub mod courses;
pub mod intakes;
pub mod offerings;
pub mod semester;
pub mod unit_resources;
pub mod units;

use crate::http::Routes;

/// The endpoints of this domain.
pub fn routes() -> Routes {
    courses::routes()
        .and(course_units::routes())
        .and(units::routes())
        .and(intakes::routes())
        .and(offerings::routes())
        .and(unit_resources::routes())
}
