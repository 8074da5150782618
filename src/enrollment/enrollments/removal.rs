//! Deleting an enrolment, and bringing it back.

use axum::extract::State;
use serde_json::Value;
use sqlx::PgConnection;

use super::handlers::Enrollment;
use super::rules::{self, Terms};
use super::store;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::db;
use crate::enrollment::Status;
use crate::http::{Answer, Bare, Done, IfMatch, NoContent, PathId, Problem, Reason, Resource, Sight, find};
use crate::ids::Id;

/// `DELETE /{id}/`
pub(super) async fn remove(
    actor: Actor<may::DeleteEnrollments>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
) -> Answer<NoContent> {
    let (actor, condition) = (&actor, &condition);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let held = store::hold(tx, &[id]).await?.pop().ok_or_else(Problem::absent)?;
            let row = find::<Enrollment>(tx, actor, id, Sight::Visible).await?;
            condition.holds_for(&Enrollment::shown(row, actor))?;
            store::erase(tx, actor.id(), &held).await?;
            audit::record(tx, actor, "delete", Enrollment::NAME, Some(id), &held.result(), &Value::Null).await?;
            Ok(NoContent)
        })
    })
    .await
}

/// `POST /{id}/restore/`
pub(super) async fn restore(
    actor: Actor<may::RestoreDeleted>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Bare { repeat }: Bare,
) -> Answer<Done<Enrollment>> {
    let actor = &actor;
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                bring_back(tx, actor, id).await?;
                let row = find::<Enrollment>(tx, actor, id, Sight::Any).await?;
                Done::with(&Enrollment::shown(row, actor))
            })
        })
        .await
}

/// With its seat, unless what came to be meanwhile stands against it.
async fn bring_back(tx: &mut PgConnection, actor: &Actor<may::RestoreDeleted>, id: Id) -> Answer<()> {
    let gone = store::hold_deleted(tx, id).await?.ok_or_else(Problem::absent)?;
    let row = find::<Enrollment>(tx, actor, id, Sight::Deleted).await?;
    if row.status != Status::Withdrawn {
        let facts = store::facts(tx, gone.0, gone.1)
            .await?
            .ok_or_else(|| Problem::conflict("cannot_be_restored", "Its offering is deleted; restore that first."))?;
        let matters = |reason: &Reason| match reason.code {
            "offering_full" => true,
            "anti_requisite" => row.status != Status::Failed,
            "already_in_unit" | "already_completed" => !row.status.is_finished(),
            _ => false,
        };
        let terms = Terms { by_staff: true, max_pending: u32::MAX };
        let reasons: Vec<_> = rules::broken(&facts, terms).into_iter().filter(matters).collect();
        rules::refuse_now("It cannot be restored as it is", &reasons)?;
    }
    if !store::bring_back(tx, actor.id(), id).await? {
        return Err(Problem::conflict("offering_full", "Its seat has been taken meanwhile."));
    }
    let after = super::steps::result(row.status, &row.grade, row.marks);
    audit::record(tx, actor, "restore", Enrollment::NAME, Some(id), &Value::Null, &after).await
}
