//! Giving a seat back, and deciding on who asks for one.

use axum::extract::State;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::leaving;
use super::report::{Judged, Report, refuse_many};
use super::steps::{Approval, Ask, By, Leave, take};
use crate::access::throttle::{self, Bucket};
use crate::access::{Actor, Need, may};
use crate::app::AppState;
use crate::http::{Answer, Done, Optional, PathId, Posted, Problem, Repeat};
use crate::ids::{Id, day_or_null};

/// What became of an enrolment.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Outcome {
    /// `withdrawn`, `approved` or `rejected`.
    status: &'static str,
}

/// Why a seat is given back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct Leaving {
    /// Kept in the history, and told to the student; at most 2,000 characters.
    reason: String,
    /// The same, as with a rejection.
    notes: String,
    /// The day from which it holds, where staff say so with a reason; today otherwise.
    #[serde(deserialize_with = "day_or_null")]
    withdrawn_date: Option<NaiveDate>,
}

/// A word about an approval.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct Granting {
    /// Kept with the decision, and told to the student; at most 2,000 characters.
    notes: String,
    /// Staff may approve against the rules of enrolling, and say why in `notes`.
    #[serde(rename = "override")]
    overrides: bool,
}

/// A word about a decision.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct Decision {
    /// Kept with the decision, and told to the student; at most 2,000 characters.
    notes: String,
}

/// Many decisions at once.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Approvals {
    /// The enrolments to approve, at most 1,000.
    ids: Vec<Id>,
    /// Kept with each decision; at most 2,000 characters.
    #[serde(default)]
    notes: String,
    /// Staff may approve against the rules of enrolling, and say why in `notes`.
    #[serde(default, rename = "override")]
    overrides: bool,
}

/// `POST /{id}/withdraw/`
pub(super) async fn withdraw(
    actor: Actor<may::WithdrawEnrollments>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Optional { body: Leaving { reason, notes, withdrawn_date }, repeat }: Optional<Leaving>,
) -> Answer<Done<Outcome>> {
    let reason = if reason.is_empty() { notes } else { reason };
    one(&app, &actor, &repeat, id, ("withdraw", "withdrawn"), Ask::Withdraw(Leave { reason, withdrawn_date })).await
}

/// `POST /{id}/approve/`
pub(super) async fn approve(
    actor: Actor<may::ApproveEnrollments>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Optional { body: Granting { notes, overrides }, repeat }: Optional<Granting>,
) -> Answer<Done<Outcome>> {
    one(&app, &actor, &repeat, id, ("approve", "approved"), Ask::Approve(Approval { notes, overrides })).await
}

/// `POST /{id}/reject/`
pub(super) async fn reject(
    actor: Actor<may::ApproveEnrollments>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Optional { body: Decision { notes }, repeat }: Optional<Decision>,
) -> Answer<Done<Outcome>> {
    one(&app, &actor, &repeat, id, ("reject", "rejected"), Ask::Reject(notes)).await
}

/// `POST /bulk-approve/`
pub(super) async fn bulk_approve(
    actor: Actor<may::ApproveEnrollments>,
    State(app): State<AppState>,
    Posted { body: Approvals { ids, notes, overrides }, repeat }: Posted<Approvals>,
) -> Answer<Done<Report>> {
    refuse_many("ids", ids.len())?;
    let asks: Vec<(Id, Ask)> =
        ids.into_iter().map(|id| (id, Ask::Approve(Approval { notes: notes.clone(), overrides }))).collect();
    let (app, actor, asks) = (&app, &actor, &asks);
    repeat
        .once(app, actor.id(), |tx, _| {
            Box::pin(async move {
                let outcomes = take(tx, By::of(actor, app), "approve", asks).await?;
                let judged = asks.iter().zip(outcomes).map(|((id, _), outcome)| Judged { id: Some(*id), outcome });
                Done::with(&Report::of(judged.collect()))
            })
        })
        .await
}

/// One step of one enrolment: the audited action, and the word for what became of it.
async fn one<P: Need>(
    app: &AppState,
    actor: &Actor<P>,
    repeat: &Repeat,
    id: Id,
    (action, status): (&'static str, &'static str),
    ask: Ask,
) -> Answer<Done<Outcome>> {
    let asks = &[(id, ask)];
    repeat
        .once(app, actor.id(), |tx, _| {
            Box::pin(async move {
                let outcome = take(tx, By::of(actor, app), action, asks).await?.pop();
                outcome.unwrap_or_else(|| Err(Problem::absent()))?;
                if action == "withdraw" && !actor.scope().is_all() {
                    throttle::charge(tx, Bucket::of_enrolments(actor.id())).await?;
                }
                if action == "withdraw" {
                    leaving::tell_convenor(tx, actor, id).await?;
                }
                Done::with(&Outcome { status })
            })
        })
        .await
}
