//! A student's whole transcript, to be kept.
//!
//! As CSV it is one table with a row for each unit: what holds for the whole transcript (the student, the course, the day
//! of issue, the average and totals) stands in columns of its own and is the same in every row. Without a unit there is
//! the header alone.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;

use super::handlers::{asked, describe_student};
use super::store::{self, TranscriptLine};
use super::subject;
use super::summary::TranscriptSummary;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::db::Reading;
use crate::decimals::with_places;
use crate::http::{Answer, Cell, Csv, Describe, Format, Notes, OrCsv, Problem, Schemas, Shown};
use crate::ids::Id;
use crate::users::naming::StudentRef;

/// A whole transcript.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OfficialTranscript {
    /// The student's user id.
    student: Id,
    student_name: String,
    /// The number on the student card; empty without a profile.
    student_number: String,
    /// Empty without a course.
    course_code: String,
    course_name: String,
    /// Today, in the university's time zone.
    date_issued: NaiveDate,
    /// By year, semester and code.
    rows: Vec<TranscriptLine>,
    summary: TranscriptSummary,
}

/// `?student=&format=`
pub(super) struct ExportAsked {
    student: Option<StudentRef>,
    format: Format,
}

impl FromRequestParts<AppState> for ExportAsked {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let mut format = Format::default();
        let student = asked(head, |faults, name, value| {
            if name != "format" {
                return false;
            }
            match Format::named(value) {
                Ok(named) => format = named,
                Err(says) => faults.add(name, says),
            }
            true
        })?;
        Ok(Self { student, format })
    }
}

impl Describe for ExportAsked {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        describe_student(notes);
        Format::describe(notes);
    }
}

/// `GET /export/`
pub(super) async fn export(
    reader: Actor<may::ReadTranscripts>,
    State(app): State<AppState>,
    mut conn: Reading,
    ExportAsked { student, format }: ExportAsked,
) -> Answer<OrCsv<Shown<OfficialTranscript>>> {
    let student = subject(&mut conn, &reader, student).await?;
    let holder = store::holder(&mut conn, student).await?;
    let record = store::record(&mut conn, &reader, student).await?;
    let date_issued = holder.now.0.with_timezone(&app.config.time_zone).date_naive();
    if format == Format::Csv {
        return file(student, &holder, date_issued, record).map(OrCsv::Csv);
    }
    let transcript = OfficialTranscript {
        student,
        student_name: holder.name,
        student_number: holder.student_number,
        course_code: holder.course_code,
        course_name: holder.course_name,
        date_issued,
        summary: TranscriptSummary::of(&record),
        rows: record.lines,
    };
    Shown::with(&transcript).map(OrCsv::Json)
}

fn file(student: Id, holder: &store::Holder, date_issued: NaiveDate, record: store::Record) -> Answer<Csv> {
    let head = [
        "student_number",
        "student_name",
        "course_code",
        "course_name",
        "date_issued",
        "year",
        "semester",
        "unit_code",
        "unit_name",
        "credit_points",
        "status",
        "grade",
        "marks",
        "grade_point",
        "completion_date",
        "gpa",
        "total_credit_points",
        "total_units_completed",
    ];
    let (gpa, credits, units) = (record.gpa, record.total_credit_points, record.total_units_completed);
    let rows = record.lines.into_iter().map(|line| -> Vec<Cell> {
        vec![
            holder.student_number.as_str().into(),
            holder.name.as_str().into(),
            line.course_code.into(),
            line.course_name.into(),
            date_issued.into(),
            line.year.into(),
            line.semester.name().into(),
            line.unit_code.into(),
            line.unit_name.into(),
            with_places(line.credit_points, 1).into(),
            line.status.name().into(),
            line.grade.into(),
            line.marks.map(|marks| with_places(marks, 2)).into(),
            with_places(line.grade_point, 1).into(),
            line.completion_date.into(),
            gpa.map(|gpa| with_places(gpa, 2)).into(),
            with_places(credits, 1).into(),
            units.into(),
        ]
    });
    let number = if holder.student_number.is_empty() { student.to_string() } else { holder.student_number.clone() };
    Csv::with(&format!("transcript-{number}.csv"), &head, rows)
}
