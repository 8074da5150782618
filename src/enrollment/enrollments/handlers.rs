//! What an enrolment is on the wire.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::{FromRow, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::academic::offerings::Offering;
use crate::academic::semester::Semester;
use crate::access::{Actor, Permission, Viewer, may};
use crate::decimals::two_places;
use crate::enrollment::{Columns, Status, push_reach};
use crate::http::{Filter, Kind, Listing, Ordering, Resource};
use crate::ids::{Id, Moment};
use crate::users::accounts::UserBrief;

/// A student in an offering.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(crate) struct Enrollment {
    pub(in crate::enrollment) id: Id,
    #[sqlx(json)]
    pub(super) student: UserBrief,
    #[sqlx(json)]
    pub(in crate::enrollment) offering: Offering,
    pub(in crate::enrollment) status: Status,
    /// By the scale; empty until there is one.
    pub(in crate::enrollment) grade: String,
    /// 0 to 100, with two decimals.
    #[serde(serialize_with = "two_places")]
    #[schema(value_type = Option<String>, example = "78.00")]
    pub(in crate::enrollment) marks: Option<Decimal>,
    withdrawn_date: Option<NaiveDate>,
    completion_date: Option<NaiveDate>,
    /// When the student asked last; the queue of approvals goes by it.
    requested_at: Moment,
    created_at: Moment,
    updated_at: Moment,
}

/// Where an enrolment names its student and its offering.
pub(in crate::enrollment) const COLUMNS: Columns = Columns { student: "e.student_id", offering: "e.offering_id" };

/// Whether a result is due: the classes are over, and there is none.
const RESULTS_DUE: &str =
    "(e.status = 'ENROLLED' and exists (select from offerings_over v where v.offering_id = e.offering_id))";

/// What lists of enrolments can be narrowed by.
const FILTERS: &[Filter] = &[
    Filter::new("offering", "e.offering_id", Kind::Id),
    Filter::new("status", "e.status", Kind::OneOf(Status::NAMES)),
    Filter::new("student", "e.student_id", Kind::Student),
    Filter::new("grade", "e.grade", Kind::Capitals),
    Filter::new("results_due", RESULTS_DUE, Kind::Flag),
    Filter::new("unit", "o.unit_id", Kind::Id),
    Filter::new("year", "o.year", Kind::Number),
    Filter::new("semester", "o.semester", Kind::OneOf(Semester::NAMES)),
];

impl Resource for Enrollment {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadEnrollments>;

    const NAME: &'static str = "enrollment";
    const TABLE: &'static str = "enrollments";
    const ALIAS: &'static str = "e";
    const LIVE: &'static str = "e.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: FILTERS,
        orderings: &[
            Ordering::new("created_at", "e.created_at", "timestamptz"),
            Ordering::new("updated_at", "e.updated_at", "timestamptz"),
            Ordering::new("requested_at", "e.requested_at", "timestamptz"),
        ],
        default: "-created_at",
        search: None,
        updated_at: Some("e.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        push_reach(sql, viewer, Permission::ReadEnrollments, COLUMNS, "enrolments");
    }

    fn shown(row: Self, viewer: &Viewer) -> Self {
        let major = viewer.caller().and_then(|caller| caller.course);
        Self { student: row.student.seen(viewer), offering: row.offering.for_major(major), ..row }
    }
}
