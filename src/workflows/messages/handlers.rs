//! What a message to a workflow is on the wire.

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Viewer, may};
use crate::app::AppState;
use crate::audit;
use crate::http::{Accepted, Answer, Bare, Filter, Kind, Listing, Ordering, PathId, Problem, Resource, Sight, find};
use crate::ids::{Id, Moment};

/// How far a message can be.
const STATES: &[&str] = &["pending", "delivered", "dead", "skipped"];

/// A message to a workflow.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(in crate::workflows) struct OutboxMessage {
    id: Id,
    trigger_event: String,
    /// Null when no workflow listened, and for event files, which go to `N8N_IMPORT_WEBHOOK`.
    workflow: Option<Id>,
    /// What it is about, as `enrollment:17`; messages about one object are delivered in order.
    object_key: String,
    #[schema(value_type = Object)]
    payload: Value,
    /// `pending`; `delivered`; `dead`: given up; `skipped`: no workflow listened.
    state: String,
    attempts: i32,
    /// When it is tried next, while it is pending.
    next_at: Moment,
    /// When it is given up, while it is pending.
    give_up_at: Moment,
    /// Why the last attempt failed.
    last_error: String,
    created_at: Moment,
    delivered_at: Option<Moment>,
    /// When an administrator had it sent again.
    replayed_at: Option<Moment>,
}

impl Resource for OutboxMessage {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadWorkflows>;

    const NAME: &'static str = "webhook_message";
    const TABLE: &'static str = "webhook_outbox";
    const ALIAS: &'static str = "m";
    const LIVE: &'static str = "true";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("state", "m.state", Kind::OneOf(STATES)),
            Filter::new("workflow", "m.workflow_id", Kind::Id),
            Filter::new("trigger_event", "m.trigger_event", Kind::Text),
            Filter::new("object_key", "m.object_key", Kind::Text),
        ],
        orderings: &[Ordering::new("created_at", "m.created_at", "timestamptz")],
        default: "-created_at",
        search: None,
        updated_at: None,
    };

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

/// `POST /{id}/replay/`
pub(super) async fn replay(
    actor: Actor<may::ManageWorkflows>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Bare { repeat }: Bare,
) -> Answer<Accepted<OutboxMessage>> {
    let actor = &actor;
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let state = store::hold(tx, id).await?.ok_or_else(Problem::absent)?;
                match state.as_str() {
                    "pending" => {
                        return Err(Problem::conflict("already_pending", "The message is still waiting to be sent."));
                    }
                    "skipped" => {
                        return Err(Problem::conflict(
                            "nobody_listened",
                            "No workflow listened, so there is nobody to send it to.",
                        ));
                    }
                    _ => {}
                }
                if !store::send_again(tx, id).await? {
                    return Err(Problem::conflict(
                        "workflow_deleted",
                        "The workflow of this message was deleted. Restore it first.",
                    ));
                }
                let side = |state: &str| serde_json::json!({ "state": state });
                audit::record(tx, actor, "replay", OutboxMessage::NAME, Some(id), &side(&state), &side("pending"))
                    .await?;
                Accepted::with(&find::<OutboxMessage>(tx, actor, id, Sight::Any).await?)
            })
        })
        .await
}
