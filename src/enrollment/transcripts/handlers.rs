//! What a transcript row is on the wire.

use axum::http::request::Parts;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::academic::semester::Semester;
use crate::access::{Actor, Viewer, may};
use crate::decimals::{one_place, two_places};
use crate::enrollment::Status;
use crate::http::{Answer, Faults, Filter, Kind, Listing, Notes, Ordering, Resource, query_pairs};
use crate::ids::{Id, Moment};
use crate::users::accounts::UserBrief;
use crate::users::naming::StudentRef;

/// The result of an enrolment, with the facts as they were.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(super) struct Transcript {
    id: Id,
    #[sqlx(json)]
    student: UserBrief,
    enrollment: Id,
    unit_code: String,
    unit_name: String,
    semester: Semester,
    year: i32,
    /// One decimal.
    #[serde(serialize_with = "one_place")]
    #[schema(value_type = String, example = "12.5")]
    credit_points: Decimal,
    /// By the scale.
    grade: String,
    /// 0 to 100, with two decimals.
    #[serde(serialize_with = "two_places")]
    #[schema(value_type = Option<String>, example = "78.00")]
    marks: Option<Decimal>,
    /// From 0.0 to 4.0.
    #[serde(serialize_with = "one_place")]
    #[schema(value_type = String, example = "4.0")]
    grade_point: Decimal,
    status: Status,
    /// The course in which the result was obtained; empty when there was none, and so is its name.
    course_code: String,
    course_name: String,
    completion_date: NaiveDate,
    created_at: Moment,
    updated_at: Moment,
}

impl Resource for Transcript {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadTranscripts>;

    const NAME: &'static str = "transcript";
    const TABLE: &'static str = "transcripts";
    const ALIAS: &'static str = "t";
    const LIVE: &'static str = "t.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("student", "t.student_id", Kind::Student),
            Filter::new("enrollment", "t.enrollment_id", Kind::Id),
            Filter::new("unit_code", "t.unit_code", Kind::Text),
            Filter::new("status", "t.status", Kind::OneOf(&["COMPLETED", "FAILED"])),
            Filter::new("grade", "t.grade", Kind::Capitals),
            Filter::new("year", "t.year", Kind::Number),
            Filter::new("semester", "t.semester", Kind::OneOf(Semester::NAMES)),
        ],
        orderings: &[
            Ordering::new("year", "t.year", "int4"),
            Ordering::new("semester", "t.semester", "text"),
            Ordering::new("unit_code", "t.unit_code", "text"),
            Ordering::new("updated_at", "t.updated_at", "timestamptz"),
        ],
        default: "id",
        search: None,
        updated_at: Some("t.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        store::push_visible(sql, viewer);
    }

    fn shown(row: Self, viewer: &Viewer) -> Self {
        Self { student: row.student.seen(viewer), ..row }
    }
}

/// Reads `?student=`, and what else there is with `other`, which says whether it knows the parameter.
pub(super) fn asked(
    head: &Parts,
    mut other: impl FnMut(&mut Faults, &str, &str) -> bool,
) -> Answer<Option<StudentRef>> {
    let mut faults = Faults::default();
    let mut student = None;
    for (name, value) in query_pairs(head)? {
        if name == "student" {
            student = Some(StudentRef::Spelt(value.trim().to_owned()));
        } else if !other(&mut faults, &name, &value) {
            let says = format!("There is no parameter `{name}` here.");
            faults.add(name, says);
        }
    }
    faults.check()?;
    Ok(student)
}

/// Describes `?student=` and how it is refused.
pub(super) fn describe_student(notes: &mut Notes) {
    notes.parameter(
        "query",
        "student",
        json!({ "type": "string" }),
        "The student by user id, for staff also by student number or mail address; a student who leaves it out is meant.",
    );
    notes.refuses(400, "An unknown parameter or a bad value, or no student is named by a caller who is none.");
    notes.refuses(404, "There is no such student, or none that the caller may see.");
}
