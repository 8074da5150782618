//! A student's attendance, summed up.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::store;
use crate::academic::semester::Semester;
use crate::access::{Actor, Reach, UserType, may};
use crate::app::AppState;
use crate::db::Reading;
use crate::enrollment::percent;
use crate::http::{Answer, Describe, Notes, Problem, Schemas, Shown, query_pairs};
use crate::ids::Id;

/// How a student attended an offering, as the database counts it.
#[derive(Debug)]
pub(super) struct Attended {
    pub(super) offering: Id,
    pub(super) unit: Id,
    pub(super) unit_code: String,
    pub(super) unit_name: String,
    pub(super) year: i32,
    pub(super) semester: Semester,
    pub(super) held: i32,
    pub(super) present: i32,
    pub(super) late: i32,
    pub(super) absent: i32,
    pub(super) excused: i32,
}

/// How a student attended all the offerings that they sit or sat in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttendanceSummary {
    student: Id,
    #[serde(flatten)]
    total: AttendanceCounts,
    /// By `-year`, semester and unit code; for a convenor those of their own units.
    offerings: Vec<OfferingAttendance>,
}

/// How a student attended an offering.
#[derive(Debug, Serialize, ToSchema)]
struct OfferingAttendance {
    offering: Id,
    unit: Id,
    unit_code: String,
    unit_name: String,
    year: i32,
    semester: Semester,
    #[serde(flatten)]
    counts: AttendanceCounts,
}

/// Attendance of the classes that have begun; cancelled ones do not count.
#[derive(Debug, Default, Serialize, ToSchema)]
struct AttendanceCounts {
    /// How many classes have begun.
    total_sessions: i32,
    /// Present, late or excused.
    attended_sessions: i32,
    present: i32,
    late: i32,
    absent: i32,
    excused: i32,
    /// `attended_sessions` in percent of `total_sessions`, one decimal; null when there were none.
    attendance_rate: Option<f64>,
}

/// `?student=`: whose attendance is asked for.
pub(super) struct OfStudent(Option<Id>);

impl FromRequestParts<AppState> for OfStudent {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let mut student = None;
        for (name, value) in query_pairs(head)? {
            if name != "student" {
                return Err(Problem::invalid(name, "There is no such parameter."));
            }
            student = Some(value.parse().map_err(|says: &str| Problem::invalid("student", says))?);
        }
        Ok(Self(student))
    }
}

impl Describe for OfStudent {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        let schema = json!({ "type": "integer", "format": "int64", "minimum": 1 });
        notes.parameter("query", "student", schema, "Whose; a student may leave it out.");
        notes.refuses(400, "Malformed or invalid; `errors` names the parameter.");
        notes.refuses(404, "The student is not there, or not visible to the caller.");
    }
}

/// `GET /summary/`
pub(super) async fn summary(
    actor: Actor<may::ReadAttendance>,
    State(app): State<AppState>,
    OfStudent(student): OfStudent,
    mut conn: Reading,
) -> Answer<Shown<AttendanceSummary>> {
    let is_student = actor.caller().is_some_and(|caller| caller.user_type == UserType::Student);
    let student = student.or_else(|| is_student.then(|| actor.id()));
    let student = student.ok_or_else(|| Problem::invalid("student", "Name the student."))?;
    let reach = actor.scope();

    let sees_all = (reach.covers(Reach::OWN) && student == actor.id())
        || (reach.is_all() && store::is_student(&mut conn, student).await?)
        || (reach.covers(Reach::CHILDREN) && store::has_granted(&mut conn, actor.caller_id(), student).await?);
    if !sees_all && (reach.is_all() || !reach.covers(Reach::OWN_UNITS)) {
        return Err(Problem::absent());
    }
    let convenor = if sees_all { None } else { actor.caller_id() };
    let attended = store::attended(&mut conn, student, convenor, app.config.time_zone.name()).await?;
    // Who sits in none of a convenor's units is nobody to them.
    if !sees_all && attended.is_empty() {
        return Err(Problem::absent());
    }
    let total = AttendanceCounts::of(&attended);
    let offerings = attended.into_iter().map(OfferingAttendance::from).collect();
    Shown::with(&AttendanceSummary { student, total, offerings })
}

impl AttendanceCounts {
    fn of(attended: &[Attended]) -> Self {
        let sum = |part: fn(&Attended) -> i32| attended.iter().map(part).sum::<i32>();
        let (held, present, late) = (sum(|one| one.held), sum(|one| one.present), sum(|one| one.late));
        let (absent, excused) = (sum(|one| one.absent), sum(|one| one.excused));
        let there = present + late + excused;
        Self {
            total_sessions: held,
            attended_sessions: there,
            present,
            late,
            absent,
            excused,
            attendance_rate: percent(there, held),
        }
    }
}

impl From<Attended> for OfferingAttendance {
    fn from(attended: Attended) -> Self {
        let counts = AttendanceCounts::of(std::slice::from_ref(&attended));
        let Attended { offering, unit, unit_code, unit_name, year, semester, .. } = attended;
        Self { offering, unit, unit_code, unit_name, year, semester, counts }
    }
}
