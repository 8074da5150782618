//! Results: status, grade and marks under the state machine.

use axum::extract::State;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::handlers::Enrollment;
use super::report::{Judged, Report, refuse_many, trial};
use super::rules::Standing;
use super::steps::{Ask, By, Marks, Wanted, take};
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::db;
use crate::enrollment::{Status, grades};
use crate::http::{
    Answer, Changes, Done, DryRun, Faults, IfMatch, Json, PathId, Posted, Problem, Resource, Shown, Sight, Tried, find,
};
use crate::ids::{Id, day_or_null, or_null};
use crate::users::naming::{StudentRef, resolve_all};

/// What staff and the unit's convenor write of an enrolment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct EnrollmentFields {
    status: Status,
    /// By the scale; empty for none. COMPLETED needs a pass grade, FAILED needs N or F.
    #[serde(default, deserialize_with = "grades::spelt")]
    grade: String,
    /// 0 to 100, at most two decimals.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "78.00")]
    marks: Option<Decimal>,
    /// Why; needed where a result that was given is corrected, where marks and grade contradict each other, and where a day is set.
    /// At most 2,000 characters.
    #[serde(default)]
    reason: String,
    /// The day from which a withdrawal holds, where staff set it; today otherwise.
    #[serde(default, deserialize_with = "day_or_null")]
    withdrawn_date: Option<NaiveDate>,
    /// The day from which a result holds, where staff set it; today otherwise.
    #[serde(default, deserialize_with = "day_or_null")]
    completion_date: Option<NaiveDate>,
}

/// Many results at once.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Results {
    /// At most 1,000.
    rows: Vec<ResultRow>,
}

/// The result of an enrolment, which is named by its id, or by its offering and student. What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ResultRow {
    /// The enrolment.
    #[serde(default, deserialize_with = "or_null")]
    id: Option<Id>,
    /// The offering, with a student in place of the enrolment.
    #[serde(default, deserialize_with = "or_null")]
    offering: Option<Id>,
    /// The student by id, student number or mail address.
    #[serde(default)]
    student: Option<StudentRef>,
    /// Left out, the grade decides: a pass grade completes, N and F fail; without one it stays.
    status: Option<Status>,
    /// By the scale; empty for none.
    #[serde(default, deserialize_with = "grades::spelt_or_null")]
    grade: Option<String>,
    /// 0 to 100, at most two decimals; null for none.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<String>, example = "78.00")]
    marks: Marks,
    /// Why; needed where a result that was given is corrected, where marks and grade contradict each other, and where a day is set.
    #[serde(default)]
    reason: String,
    /// The day from which a withdrawal holds, where staff set it; today otherwise.
    #[serde(default, deserialize_with = "day_or_null")]
    withdrawn_date: Option<NaiveDate>,
    /// The day from which a result holds, where staff set it; today otherwise.
    #[serde(default, deserialize_with = "day_or_null")]
    completion_date: Option<NaiveDate>,
}

/// Null is a value, absence is none.
fn sent<'de, D: Deserializer<'de>>(from: D) -> Result<Marks, D::Error> {
    Option::deserialize(from).map(Marks::Become)
}

/// An enrolment after a change of its result.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Graded {
    #[serde(flatten)]
    enrollment: Enrollment,
    /// Where the unit is completed now: the student's seats in other offerings of it, which somebody should withdraw. Left out when
    /// there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    open_repeats: Vec<Standing>,
}

impl From<EnrollmentFields> for Ask {
    fn from(fields: EnrollmentFields) -> Self {
        let EnrollmentFields { status, grade, marks, reason, withdrawn_date, completion_date } = fields;
        let (status, grade, marks) = (Some(status), Some(grade), Marks::Become(marks));
        Self::Set(Wanted { status, grade, marks, reason, withdrawn_date, completion_date })
    }
}

/// What a change asks for: what it does not name stays, or follows from what it does, as in a row of many.
fn asked(changes: &Changes<EnrollmentFields>, now: &EnrollmentFields) -> Answer<Ask> {
    let EnrollmentFields { status, grade, marks, reason, withdrawn_date, completion_date } = changes.onto(now)?;
    Ok(Ask::Set(Wanted {
        status: Some(status).filter(|_| changes.has("status")),
        grade: Some(grade).filter(|_| changes.has("grade")),
        marks: if changes.has("marks") { Marks::Become(marks) } else { Marks::Stay },
        reason,
        withdrawn_date: withdrawn_date.filter(|_| changes.has("withdrawn_date")),
        completion_date: completion_date.filter(|_| changes.has("completion_date")),
    }))
}

/// `PUT /{id}/`
pub(super) async fn replace(
    actor: Actor<may::GradeEnrollments>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    Json(fields): Json<EnrollmentFields>,
) -> Answer<Shown<Graded>> {
    let (app, actor, condition, fields) = (&app, &actor, &condition, &fields);
    db::write(&app.db, |tx, _| {
        Box::pin(async move { set(tx, (actor, app), id, condition, |_| Ok(Ask::from(fields.clone()))).await })
    })
    .await
}

/// `PATCH /{id}/`
pub(super) async fn change(
    actor: Actor<may::GradeEnrollments>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    changes: Changes<EnrollmentFields>,
) -> Answer<Shown<Graded>> {
    let (app, actor, condition, changes) = (&app, &actor, &condition, &changes);
    db::write(&app.db, |tx, _| {
        Box::pin(async move { set(tx, (actor, app), id, condition, |now| asked(changes, now)).await })
    })
    .await
}

/// `POST /bulk-grade/`
pub(super) async fn bulk_grade(
    actor: Actor<may::GradeEnrollments>,
    State(app): State<AppState>,
    DryRun(only_asked): DryRun,
    Posted { body: Results { rows }, repeat }: Posted<Results>,
) -> Answer<Tried<Done<Report>>> {
    refuse_many("rows", rows.len())?;
    refuse_unnamed(&rows)?;
    let (app, actor, rows) = (&app, &actor, &rows);
    if only_asked {
        let judged = db::rehearse(&app.db, |tx, _| Box::pin(grade_all(tx, By::of(actor, app), rows))).await?;
        return Done::with(&trial(judged)).map(Tried::Asked);
    }
    repeat
        .once(app, actor.id(), |tx, _| {
            Box::pin(async move {
                let judged = grade_all(tx, By::of(actor, app), rows).await?;
                let completed: Vec<Id> = judged.iter().filter_map(Judged::completed).collect();
                let repeats = super::store::open_repeats(tx, &completed).await?;
                Done::with(&Report::of(judged).with_repeats(repeats))
            })
        })
        .await
        .map(Tried::Done)
}

/// 400 unless each row names its enrolment in one way.
fn refuse_unnamed(rows: &[ResultRow]) -> Answer<()> {
    let mut faults = Faults::default();
    for (place, row) in rows.iter().enumerate() {
        match (row.id, row.offering, &row.student) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (Some(_), ..) => {
                faults.add_at(
                    || format!("rows[{place}].id"),
                    "Name the enrolment, or its offering and student, not both.",
                );
            }
            (None, Some(_), None) => faults.add_at(|| format!("rows[{place}].student"), "Name the student too."),
            (None, None, Some(_)) => faults.add_at(|| format!("rows[{place}].offering"), "Name the offering too."),
            (None, None, None) => faults.add_at(|| format!("rows[{place}].id"), "This field is required."),
        }
    }
    faults.check()
}

/// Gives the results of all rows whose enrolment there is, and tells of each what became of it.
async fn grade_all(tx: &mut PgConnection, by: By<'_>, rows: &[ResultRow]) -> Answer<Vec<Judged>> {
    let named: Vec<StudentRef> = rows.iter().filter_map(|row| row.student.clone()).collect();
    let mut students = resolve_all(tx, &named).await?.into_iter();
    let mut pairs = Vec::new();
    for row in rows {
        let Some(offering) = row.offering else { continue };
        pairs.push(students.next().and_then(Result::ok).map(|student| (student, offering)));
    }
    let known: Vec<(Id, Id)> = pairs.iter().flatten().copied().collect();
    let ids = super::store::ids_of(tx, &known).await?;
    let mut pairs = pairs.into_iter();
    let ids: Vec<Option<Id>> =
        rows.iter().map(|row| row.id.or_else(|| pairs.next()?.and_then(|pair| ids.get(&pair).copied()))).collect();

    let asks: Vec<(Id, Ask)> = rows.iter().zip(&ids).filter_map(|(row, id)| Some(((*id)?, row.ask()))).collect();
    let mut outcomes = take(tx, by, "update", &asks).await?.into_iter();
    // Whom nobody knows and whom the caller does not see look the same.
    let judged = ids
        .into_iter()
        .map(|id| Judged { id, outcome: id.and_then(|_| outcomes.next()).unwrap_or_else(|| Err(Problem::absent())) });
    Ok(judged.collect())
}

impl ResultRow {
    fn ask(&self) -> Ask {
        let Self { status, grade, marks, reason, withdrawn_date, completion_date, .. } = self;
        Ask::Set(Wanted {
            status: *status,
            grade: grade.clone(),
            marks: *marks,
            reason: reason.clone(),
            withdrawn_date: *withdrawn_date,
            completion_date: *completion_date,
        })
    }
}

/// Holds the enrolment, reads it as the caller sees it, and brings it to what `wanted` makes of it.
async fn set(
    tx: &mut PgConnection,
    (actor, app): (&Actor<may::GradeEnrollments>, &AppState),
    id: Id,
    condition: &IfMatch,
    wanted: impl FnOnce(&EnrollmentFields) -> Answer<Ask> + Send,
) -> Answer<Shown<Graded>> {
    super::store::hold(tx, &[id]).await?;
    let row = find::<Enrollment>(tx, actor, id, Sight::Visible).await?;
    let now = EnrollmentFields {
        status: row.status,
        grade: row.grade.clone(),
        marks: row.marks,
        reason: String::new(),
        withdrawn_date: None,
        completion_date: None,
    };
    condition.holds_for(&Enrollment::shown(row, actor))?;
    let ask = wanted(&now)?;
    let outcome = take(tx, By::of(actor, app), "update", &[(id, ask)]).await?.pop();
    outcome.unwrap_or_else(|| Err(Problem::absent()))?;
    let enrollment = Enrollment::shown(find::<Enrollment>(tx, actor, id, Sight::Any).await?, actor);
    let open_repeats = super::store::open_repeats(tx, &[id]).await?.remove(&id).unwrap_or_default();
    Shown::with(&enrollment)?.saying(&Graded { enrollment, open_repeats })
}
