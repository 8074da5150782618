//! Attendance, summed up: of a student in all their classes, or of a class student by student.

use std::collections::HashMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::counts::{AttendanceCounts, attendance_by_class, attendance_of};
use super::store;
use crate::academic::offerings::Offering;
use crate::academic::semester::Semester;
use crate::access::{Actor, Reach, UserType, may};
use crate::app::AppState;
use crate::db::Reading;
use crate::http::{Answer, Describe, Faults, Notes, Problem, Schemas, Shown, Sight, find, query_pairs};
use crate::ids::{Id, Moment};
use crate::users::accounts::UserBrief;
use crate::users::naming::StudentRef;

/// The most students of a class that are listed.
const MOST: i64 = 1000;

/// An offering that a student sits or sat in.
#[derive(Debug)]
pub(super) struct Attended {
    pub(super) offering: Id,
    pub(super) unit: Id,
    pub(super) unit_code: String,
    pub(super) unit_name: String,
    pub(super) year: i32,
    pub(super) semester: Semester,
    pub(super) since: Option<Moment>,
}

/// How a student attended, as the database counts it.
#[derive(Debug, FromRow)]
pub(super) struct Attendee {
    #[sqlx(json)]
    student: UserBrief,
    student_number: String,
    since: Option<Moment>,
    held: i32,
    present: i32,
    late: i32,
    absent: i32,
    excused: i32,
}

/// Of a student, or with `?offering=` of a class.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Summary {
    /// `?student=`
    Student(AttendanceSummary),
    /// `?offering=`
    Class(ClassAttendanceSummary),
}

/// How a student attended all the offerings that they sit or sat in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttendanceSummary {
    student: Id,
    #[serde(flatten)]
    total: AttendanceCounts,
    /// By `-year`, semester and unit code; for a convenor their own.
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
    /// When the seat was granted: classes count from here on. Null where that is not known; then all do.
    since: Option<Moment>,
    #[serde(flatten)]
    counts: AttendanceCounts,
}

/// How a class attended, student by student.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClassAttendanceSummary {
    offering: Id,
    /// How many classes have begun.
    held_sessions: i32,
    /// In how many of them somebody is marked.
    marked_sessions: i32,
    /// The lowest rate first, at most 1,000.
    students: Vec<StudentAttendance>,
}

/// How a student of a class attended it.
#[derive(Debug, Serialize, ToSchema)]
struct StudentAttendance {
    student: UserBrief,
    /// The number on the student card; empty without a profile.
    student_number: String,
    /// When the seat was granted: classes count from here on. Null where that is not known; then all do.
    since: Option<Moment>,
    #[serde(flatten)]
    counts: AttendanceCounts,
}

/// Whose attendance is asked for.
#[derive(Debug, Default)]
pub(super) struct AskedOf {
    student: Option<StudentRef>,
    offering: Option<Id>,
    below: Option<f64>,
}

impl FromRequestParts<AppState> for AskedOf {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let mut asked = Self::default();
        let mut faults = Faults::default();
        for (name, value) in query_pairs(head)? {
            let read = match name.as_str() {
                "student" => {
                    asked.student = Some(StudentRef::Spelt(value.trim().to_owned()));
                    Ok(())
                }
                "offering" => value.parse().map(|id| asked.offering = Some(id)),
                "below" => percent(&value).map(|rate| asked.below = Some(rate)),
                _ => Err("There is no such parameter."),
            };
            if let Err(says) = read {
                faults.add(name, says);
            }
        }
        let (of_class, of_student) = (asked.offering.is_some(), asked.student.is_some());
        faults.unless(!(of_class && of_student), "offering", "Name a student or an offering, not both.");
        faults.unless(of_class || asked.below.is_none(), "below", "This goes with an offering.");
        faults.check()?;
        Ok(asked)
    }
}

/// A rate as people write it: `80` or `66,7`.
fn percent(value: &str) -> Result<f64, &'static str> {
    let rate: Option<f64> = value.trim().replace(',', ".").parse().ok();
    rate.filter(|rate| (0.0..=100.0).contains(rate)).ok_or("A number from 0 to 100 is expected.")
}

impl Describe for AskedOf {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        let whose = "Whose, by user id, for staff also by student number or mail address; a student may leave it out.";
        notes.parameter("query", "student", json!({ "type": "string" }), whose);
        let id = json!({ "type": "integer", "format": "int64", "minimum": 1 });
        notes.parameter("query", "offering", id, "A class, student by student, in place of a student.");
        let rate = json!({ "type": "number", "minimum": 0, "maximum": 100 });
        notes.parameter("query", "below", rate, "Of the class only those whose rate is lower, in percent.");
        notes.refuses(400, "Malformed or invalid; `errors` names the parameter.");
        notes.refuses(404, "The student or the offering is not there, or not visible to the caller.");
    }
}

/// `GET /summary/`
pub(super) async fn summary(
    actor: Actor<may::ReadAttendance>,
    asked: AskedOf,
    mut conn: Reading,
) -> Answer<Shown<Summary>> {
    let summary = match asked.offering {
        Some(offering) => Summary::Class(of_class(&mut conn, &actor, offering, asked.below).await?),
        None => Summary::Student(of_student(&mut conn, &actor, asked.student).await?),
    };
    Shown::with(&summary)
}

async fn of_student(
    conn: &mut PgConnection,
    actor: &Actor<may::ReadAttendance>,
    student: Option<StudentRef>,
) -> Answer<AttendanceSummary> {
    let student = match student {
        // Others must not find out by it who there is.
        Some(named) if actor.scope().is_all() => Some(named.resolve(conn).await?),
        Some(named) => Some(named.as_id()?),
        None => None,
    };
    let is_student = actor.caller().is_some_and(|caller| caller.user_type == UserType::Student);
    let student = student.or_else(|| is_student.then(|| actor.id()));
    let student = student.ok_or_else(|| Problem::invalid("student", "Name the student."))?;
    let reach = actor.scope();

    let sees_all = (reach.covers(Reach::OWN) && student == actor.id())
        || (reach.is_all() && store::is_student(conn, student).await?)
        || (reach.covers(Reach::CHILDREN) && store::has_granted(conn, actor.caller_id(), student).await?);
    if !sees_all && (reach.is_all() || !reach.covers(Reach::OWN_UNITS)) {
        return Err(Problem::absent());
    }
    let convenor = if sees_all { None } else { actor.caller_id() };
    let attended = store::attended(conn, student, convenor).await?;
    // Who sits in none of a convenor's units is nobody to them.
    if !sees_all && attended.is_empty() {
        return Err(Problem::absent());
    }
    let ids: Vec<Id> = attended.iter().map(|one| one.offering).collect();
    let counts = attendance_of(conn, student, &ids).await?;
    let offerings = attended.into_iter().map(|one| OfferingAttendance::of(one, &counts)).collect();
    Ok(AttendanceSummary { student, total: AttendanceCounts::sum(counts.values()), offerings })
}

async fn of_class(
    conn: &mut PgConnection,
    actor: &Actor<may::ReadAttendance>,
    offering: Id,
    below: Option<f64>,
) -> Answer<ClassAttendanceSummary> {
    find::<Offering>(conn, actor, offering, Sight::Visible).await?;
    let reach = actor.scope();
    let by = store::teaches(conn, offering, actor.id()).await?.ok_or_else(Problem::absent)?;
    let teaches =
        (by.instructs && reach.covers(Reach::OWN)) || (by.convenes && reach.covers(Reach::OWN_UNITS)) || reach.is_all();
    if !teaches {
        return Err(Problem::forbidden("Only who convenes or instructs this offering may see how its class attended."));
    }
    let class = attendance_by_class(conn, &[offering]).await?.remove(&offering).unwrap_or_default();
    let students = store::class(conn, offering, below, MOST).await?;
    Ok(ClassAttendanceSummary {
        offering,
        held_sessions: class.sessions,
        marked_sessions: class.marked,
        students: students.into_iter().map(|attendee| StudentAttendance::of(attendee, actor)).collect(),
    })
}

impl OfferingAttendance {
    fn of(attended: Attended, counts: &HashMap<Id, AttendanceCounts>) -> Self {
        let Attended { offering, unit, unit_code, unit_name, year, semester, since } = attended;
        let counts = counts.get(&offering).copied().unwrap_or_default();
        Self { offering, unit, unit_code, unit_name, year, semester, since, counts }
    }
}

impl StudentAttendance {
    fn of(attendee: Attendee, viewer: &Actor<may::ReadAttendance>) -> Self {
        let Attendee { student, student_number, since, held, present, late, absent, excused } = attendee;
        let counts = AttendanceCounts::new(held, present, late, absent, excused);
        Self { student: student.seen(viewer), student_number, since, counts }
    }
}
