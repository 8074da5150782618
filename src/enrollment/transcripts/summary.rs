//! A student's grade point average and totals.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::handlers::{asked, describe_student};
use super::store::{self, Record, TranscriptLine};
use super::subject;
use crate::academic::semester::Semester;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::db::Reading;
use crate::decimals::{as_number, as_number_or_null};
use crate::enrollment::Status;
use crate::enrollment::grades::Repeats;
use crate::http::{Answer, Describe, Notes, Problem, Schemas, Shown, flag};
use crate::ids::Id;
use crate::users::naming::StudentRef;

/// What a transcript comes to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TranscriptSummary {
    /// Of completed and failed units, of repeats those that `GPA_REPEATS` names, to two decimals; null when nothing counts.
    #[serde(serialize_with = "as_number_or_null")]
    #[schema(value_type = Option<f64>, example = 3.25)]
    gpa: Option<Decimal>,
    /// Of completed units; a unit counts once, whatever its repeats.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = f64, example = 112.5)]
    total_credit_points: Decimal,
    total_units_completed: i64,
    /// With `?explain=true`.
    #[serde(flatten)]
    explanation: Option<Explanation>,
}

/// How the average comes about: `sums.products` / `sums.credit_points` of the rows that count.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    /// Which of several results in one unit count for the average, by `GPA_REPEATS`: `all`, the `best` or the `latest`.
    repeats: Repeats,
    rows: Vec<CountedUnit>,
    sums: TranscriptSums,
}

/// A unit of the transcript, and whether it counts for the average.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CountedUnit {
    /// The transcript row's id.
    id: Id,
    enrollment: Id,
    year: i32,
    semester: Semester,
    unit_code: String,
    unit_name: String,
    status: Status,
    grade: String,
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = f64, example = 3.0)]
    grade_point: Decimal,
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = f64, example = 12.5)]
    credit_points: Decimal,
    /// Whether it counts for the average; false where another result in the unit counts in its place.
    counts: bool,
    /// `grade_point` × `credit_points`.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = f64, example = 37.5)]
    product: Decimal,
}

/// The sums over all results that count.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TranscriptSums {
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = f64, example = 37.5)]
    products: Decimal,
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = f64, example = 12.5)]
    credit_points: Decimal,
}

impl TranscriptSummary {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            gpa: record.gpa,
            total_credit_points: record.total_credit_points,
            total_units_completed: record.total_units_completed,
            explanation: None,
        }
    }

    fn explained(record: Record, repeats: Repeats) -> Self {
        let summary = Self::of(&record);
        let sums = TranscriptSums { products: record.products, credit_points: record.credit_points };
        let rows = record.lines.into_iter().map(CountedUnit::from).collect();
        Self { explanation: Some(Explanation { repeats, rows, sums }), ..summary }
    }
}

impl From<TranscriptLine> for CountedUnit {
    fn from(line: TranscriptLine) -> Self {
        Self {
            id: line.id,
            enrollment: line.enrollment,
            year: line.year,
            semester: line.semester,
            unit_code: line.unit_code,
            unit_name: line.unit_name,
            status: line.status,
            grade: line.grade,
            grade_point: line.grade_point,
            credit_points: line.credit_points,
            counts: line.counts,
            product: line.grade_point * line.credit_points,
        }
    }
}

/// `?student=&explain=`
pub(super) struct SummaryAsked {
    student: Option<StudentRef>,
    explain: bool,
}

impl FromRequestParts<AppState> for SummaryAsked {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let mut explain = false;
        let student = asked(head, |faults, name, value| {
            if name == "explain" {
                flag(faults, name, value, &mut explain);
            }
            name == "explain"
        })?;
        Ok(Self { student, explain })
    }
}

impl Describe for SummaryAsked {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        describe_student(notes);
        notes.parameter(
            "query",
            "explain",
            json!({ "type": "boolean" }),
            "Adds the results, which of them count, and the sums.",
        );
    }
}

/// `GET /summary/`
pub(super) async fn summary(
    reader: Actor<may::ReadTranscripts>,
    State(app): State<AppState>,
    mut conn: Reading,
    SummaryAsked { student, explain }: SummaryAsked,
) -> Answer<Shown<TranscriptSummary>> {
    let student = subject(&mut conn, &reader, student).await?;
    let record = store::record(&mut conn, &reader, student).await?;
    Shown::with(&if explain {
        TranscriptSummary::explained(record, app.config.gpa_repeats)
    } else {
        TranscriptSummary::of(&record)
    })
}
