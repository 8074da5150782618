//! What the queue of approvals is: enrolments as everywhere, but pending ones only, for those who decide.

use sqlx::{Postgres, QueryBuilder};

use crate::academic::semester::Semester;
use crate::access::{Actor, Permission, Viewer, may};
use crate::enrollment::enrollments::{COLUMNS, Enrollment};
use crate::enrollment::push_reach;
use crate::http::{Filter, Kind, Listing, Ordering, Resource};

/// The condition that keeps to the index of what is pending.
const PENDING: &str = "e.status = 'PENDING'";

/// An enrolment that waits for a decision.
#[derive(Debug)]
pub(super) struct Approval;

impl Resource for Approval {
    type Row = Enrollment;
    type Shown = Enrollment;
    type Reader = Actor<may::ReadApprovals>;

    const NAME: &'static str = "enrollment";
    const TABLE: &'static str = "enrollments";
    const ALIAS: &'static str = "e";
    const LIVE: &'static str = "e.deleted_at is null";
    const SELECT: &'static str = <Enrollment as Resource>::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("offering", "e.offering_id", Kind::Id),
            Filter::new("student", "e.student_id", Kind::Student),
            Filter::new("unit", "o.unit_id", Kind::Id),
            Filter::new("year", "o.year", Kind::Number),
            Filter::new("semester", "o.semester", Kind::OneOf(Semester::NAMES)),
        ],
        orderings: &[
            Ordering::new("requested_at", "e.requested_at", "timestamptz"),
            Ordering::new("created_at", "e.created_at", "timestamptz"),
            Ordering::new("updated_at", "e.updated_at", "timestamptz"),
        ],
        default: "requested_at",
        search: None,
        updated_at: Some("e.updated_at"),
    };

    /// Pending ones also for administrators who list deleted rows.
    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        sql.push(" and ").push(PENDING);
        push_reach(sql, viewer, Permission::ReadApprovals, COLUMNS, "enrolments");
    }

    fn shown(row: Enrollment, viewer: &Viewer) -> Enrollment {
        Enrollment::shown(row, viewer)
    }
}
