//! The units that a student can take now, for whoever advises them: what the cards of the dashboard call so.

use sqlx::PgConnection;

use super::schedule;
use super::store::{self, CardRow, Student};
use crate::access::{Caller, UserType};
use crate::enrollment::Status;
use crate::ids::Id;

/// A unit, and where it can be taken.
#[derive(Debug)]
pub(crate) struct UnitToTake {
    id: Id,
    code: String,
    name: String,
    credit_points: f64,
    /// Whether the student's course asks for it.
    is_required: bool,
    /// Such as `S2 2026 (Wed 09:00)`, by year and semester.
    offerings: Vec<String>,
}

impl UnitToTake {
    /// Such as `COS10026 Web Technology, 12.5 credit points, required: S2 2026 (Wed 09:00), S1 2027`.
    pub(crate) fn line(&self) -> String {
        let required = if self.is_required { ", required" } else { "" };
        let (points, offerings) = (self.credit_points, self.offerings.join(", "));
        format!("{} {}, {points} credit points{required}: {offerings}", self.code, self.name)
    }
}

/// The units that the caller can enrol in now, as far as can be said beforehand: those that the course requires first, each
/// kind by code.
///
/// # Errors
/// The database's.
pub(crate) async fn units_to_take(
    conn: &mut PgConnection,
    caller: &Caller,
    max_pending: u32,
) -> sqlx::Result<Vec<UnitToTake>> {
    let enrollments = store::enrollments(conn, caller.id).await?;
    let pending = enrollments.iter().filter(|enrollment| enrollment.status == Status::Pending).count();
    let student = Student {
        id: caller.id,
        may_wait: usize::try_from(max_pending).is_ok_and(|most| pending < most),
        is_student: caller.user_type == UserType::Student,
        course: caller.course,
        enrollments: &enrollments,
    };
    let rows: Vec<CardRow> =
        store::offerings(conn, &student).await?.into_iter().filter(|row| row.hindrance().is_none()).collect();
    let offerings: Vec<Id> = rows.iter().map(|row| row.id).collect();
    let classes = store::classes(conn, &offerings).await?;

    // The rows come by unit.
    let mut units: Vec<UnitToTake> = Vec::new();
    for row in rows {
        let slots = classes.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let times = schedule::summary(slots, &row.notes);
        let times = if times.is_empty() { times } else { format!(" ({times})") };
        let offering = format!("{} {}{times}", row.semester.name(), row.year);
        match units.last_mut().filter(|unit| unit.id == row.unit) {
            Some(unit) => unit.offerings.push(offering),
            None => units.push(UnitToTake {
                id: row.unit,
                code: row.code,
                name: row.name,
                credit_points: row.credit_points,
                is_required: row.is_elective == Some(false),
                offerings: vec![offering],
            }),
        }
    }
    units.sort_by_key(|unit| !unit.is_required);
    Ok(units)
}
