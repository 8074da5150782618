//! Enrolment: who sits in which offering, and what came of it.
//!
//! Owns `enrollments`, `enrollment_decisions`, `enrollment_history`, `transcripts` and the counter
//! `offerings.current_enrollment`. What always holds, and where it is kept:
//!
//! - a student has at most one enrolment in an offering: constraint `enrollments_once_per_offering`; one that was
//!   withdrawn or deleted is revived;
//! - no seat beyond capacity, also when requests race: the single statement `enrollments::store::take_seat`, behind it the
//!   constraint `offerings_not_overbooked`; the counter changes in the statement that takes or frees the seat;
//! - no rule for enrolling is slipped past by two requests of one student: each holds the student's row first;
//! - an enrolment moves by [`Status::leads_to`] alone, each step with its row of history, and with the transcript of
//!   its result: `enrollments::steps`.
//!
//! Lock order: student, enrolment, offering; of each kind by id.

mod approvals;
mod class_lists;
mod dashboard;
mod enrollments;
pub(crate) mod grades;
pub mod pending;
mod status;
mod teaching;
mod transcripts;

use sqlx::{Postgres, QueryBuilder};

use crate::access::{Permission, Reach, Viewer};
use crate::http::Routes;
use crate::users::guardians;

pub(crate) use class_lists::knows_class;
pub(crate) use dashboard::{UnitToTake, units_to_take};
pub(crate) use enrollments::{Granted, announce, end_seats};
pub use grades::{Boundaries, Repeats};
pub use status::Status;
pub(crate) use teaching::{TaughtClass, classes_taught};
pub(crate) use transcripts::{Standing, standing};

/// The endpoints of this domain.
pub fn routes() -> Routes {
    enrollments::routes()
        .and(dashboard::routes())
        .and(teaching::routes())
        .and(approvals::routes())
        .and(class_lists::routes())
        .and(transcripts::routes())
}

/// Where the rows that a reach speaks of name their student and their offering, in SQL.
#[derive(Debug, Clone, Copy)]
struct Columns {
    student: &'static str,
    offering: &'static str,
}

/// Adds ` and …` with the rows that the permission reaches; children's by a grant of `scope`.
fn push_reach(
    sql: &mut QueryBuilder<Postgres>,
    viewer: &Viewer,
    permission: Permission,
    columns: Columns,
    scope: &str,
) {
    let reach = viewer.reach(permission);
    if reach.is_all() {
        return;
    }
    let mut way = " and (";
    if reach.covers(Reach::OWN) {
        sql.push(way).push(columns.student).push(" = ").push_bind(viewer.caller_id());
        way = " or ";
    }
    if reach.covers(Reach::OWN_UNITS) {
        // An array is computed once, so that the index by offering serves.
        sql.push(way).push(columns.offering);
        sql.push(" = any(array(select x.id from offerings x where x.convenor_id = ");
        sql.push_bind(viewer.caller_id()).push("))");
        way = " or ";
    }
    if reach.covers(Reach::CHILDREN) {
        sql.push(way);
        guardians::push_granted(sql, viewer.caller_id(), columns.student, scope);
        way = " or ";
    }
    sql.push(if way == " and (" { " and false" } else { ")" });
}

/// A part in percent of the whole, with one decimal; none of nothing.
pub(crate) fn percent(part: i32, whole: i32) -> Option<f64> {
    (whole > 0).then(|| (f64::from(part) * 1000.0 / f64::from(whole)).round() / 10.0)
}
