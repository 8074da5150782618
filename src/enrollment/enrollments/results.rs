//! Results: status, grade and marks under the state machine.

use axum::extract::State;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::handlers::Enrollment;
use super::report::{Report, refuse_many, trial};
use super::steps::{Ask, By, Marks, Wanted, take};
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::db;
use crate::enrollment::Status;
use crate::http::{
    Answer, Changes, Done, DryRun, IfMatch, Json, PathId, Posted, Problem, Resource, Shown, Sight, Tried, find,
};
use crate::ids::Id;

/// What staff and the unit's convenor write of an enrolment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct EnrollmentFields {
    status: Status,
    /// By the scale; empty for none. COMPLETED needs a pass grade, FAILED needs N or F.
    #[serde(default)]
    grade: String,
    /// 0 to 100, at most two decimals.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "78.00")]
    marks: Option<Decimal>,
    /// Why; needed where a result that was given is corrected. At most 2,000 characters.
    #[serde(default)]
    reason: String,
}

/// Many results at once.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Results {
    /// At most 1,000.
    rows: Vec<ResultRow>,
}

/// The result of an enrolment. What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ResultRow {
    /// The enrolment.
    id: Id,
    /// Left out, the grade decides: a pass grade completes, N and F fail; without one it stays.
    status: Option<Status>,
    /// By the scale; empty for none.
    grade: Option<String>,
    /// 0 to 100, at most two decimals; null for none.
    #[serde(default, deserialize_with = "sent")]
    #[schema(value_type = Option<String>, example = "78.00")]
    marks: Marks,
    /// Why; needed where a result that was given is corrected.
    #[serde(default)]
    reason: String,
}

/// Null is a value, absence is none.
fn sent<'de, D: Deserializer<'de>>(from: D) -> Result<Marks, D::Error> {
    Option::deserialize(from).map(Marks::Become)
}

impl From<EnrollmentFields> for Ask {
    fn from(EnrollmentFields { status, grade, marks, reason }: EnrollmentFields) -> Self {
        Self::Set(Wanted { status: Some(status), grade: Some(grade), marks: Marks::Become(marks), reason })
    }
}

/// What a change asks for: what it does not name stays, or follows from what it does, as in a row of many.
fn asked(changes: &Changes<EnrollmentFields>, now: &EnrollmentFields) -> Answer<Ask> {
    let EnrollmentFields { status, grade, marks, reason } = changes.onto(now)?;
    Ok(Ask::Set(Wanted {
        status: Some(status).filter(|_| changes.has("status")),
        grade: Some(grade).filter(|_| changes.has("grade")),
        marks: if changes.has("marks") { Marks::Become(marks) } else { Marks::Stay },
        reason,
    }))
}

/// `PUT /{id}/`
pub(super) async fn replace(
    actor: Actor<may::GradeEnrollments>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    Json(fields): Json<EnrollmentFields>,
) -> Answer<Shown<Enrollment>> {
    let (actor, condition, fields) = (&actor, &condition, &fields);
    db::write(&app.db, |tx, _| {
        Box::pin(async move { set(tx, actor, id, condition, |_| Ok(Ask::from(fields.clone()))).await })
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
) -> Answer<Shown<Enrollment>> {
    let (actor, condition, changes) = (&actor, &condition, &changes);
    db::write(&app.db, |tx, _| Box::pin(async move { set(tx, actor, id, condition, |now| asked(changes, now)).await }))
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
    let ask = |row: ResultRow| {
        let ResultRow { id, status, grade, marks, reason } = row;
        (id, Ask::Set(Wanted { status, grade, marks, reason }))
    };
    let asks: Vec<(Id, Ask)> = rows.into_iter().map(ask).collect();
    let (actor, asks) = (&actor, &asks);
    if only_asked {
        let outcomes = db::rehearse(&app.db, |tx, _| Box::pin(take(tx, By::of(actor), "update", asks))).await?;
        return Done::with(&trial(asks, outcomes)).map(Tried::Asked);
    }
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let outcomes = take(tx, By::of(actor), "update", asks).await?;
                Done::with(&Report::of(asks, outcomes))
            })
        })
        .await
        .map(Tried::Done)
}

/// Holds the enrolment, reads it as the caller sees it, and brings it to what `wanted` makes of it.
async fn set(
    tx: &mut PgConnection,
    actor: &Actor<may::GradeEnrollments>,
    id: Id,
    condition: &IfMatch,
    wanted: impl FnOnce(&EnrollmentFields) -> Answer<Ask> + Send,
) -> Answer<Shown<Enrollment>> {
    super::store::hold(tx, &[id]).await?;
    let row = find::<Enrollment>(tx, actor, id, Sight::Visible).await?;
    let now =
        EnrollmentFields { status: row.status, grade: row.grade.clone(), marks: row.marks, reason: String::new() };
    condition.holds_for(&Enrollment::shown(row, actor))?;
    let ask = wanted(&now)?;
    let outcome = take(tx, By::of(actor), "update", &[(id, ask)]).await?.pop();
    outcome.unwrap_or_else(|| Err(Problem::absent()))?;
    Shown::with(&Enrollment::shown(find::<Enrollment>(tx, actor, id, Sight::Any).await?, actor))
}
