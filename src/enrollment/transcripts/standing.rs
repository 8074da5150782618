//! What a student's results come to, for whoever advises them.

use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::store;
use crate::access::Viewer;
use crate::decimals::with_places;
use crate::enrollment::Status;
use crate::ids::Id;

/// A student's results, of the rows that the viewer may see.
#[derive(Debug)]
pub(crate) struct Standing {
    /// The grade point average; none when nothing counts.
    pub(crate) gpa: Option<Decimal>,
    /// Of completed units, each once.
    pub(crate) credit_points: Decimal,
    pub(crate) units_completed: i64,
    /// Results of units that were not passed.
    pub(crate) failures: usize,
    /// In the order of the calendar, such as `COS10009 Introduction to Programming, S1 2026: D, 78.00 marks`.
    pub(crate) results: Vec<String>,
}

/// The student's standing.
///
/// # Errors
/// The database's.
pub(crate) async fn standing(conn: &mut PgConnection, viewer: &Viewer, student: Id) -> sqlx::Result<Standing> {
    let record = store::record(conn, viewer, student).await?;
    let result = |line: &store::TranscriptLine| {
        let marks = line.marks.map(|marks| format!(", {} marks", with_places(marks, 2))).unwrap_or_default();
        let (semester, year) = (line.semester.name(), line.year);
        format!("{} {}, {semester} {year}: {}{marks}", line.unit_code, line.unit_name, line.grade)
    };
    Ok(Standing {
        gpa: record.gpa,
        credit_points: record.total_credit_points,
        units_completed: record.total_units_completed,
        failures: record.lines.iter().filter(|line| line.status == Status::Failed).count(),
        results: record.lines.iter().map(result).collect(),
    })
}
