//! What a call of a workflow is on the wire.

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store;
use crate::access::{Actor, Permission, Viewer, may};
use crate::app::AppState;
use crate::audit;
use crate::http::{Accepted, Answer, Bare, Filter, Kind, Listing, Ordering, PathId, Problem, Resource, Sight, find};
use crate::ids::{Id, Moment};
use crate::workflows::STUDENT_ASK;
use crate::workflows::messages::{OutboxMessage, queue};

/// How a call can stand.
const STATUSES: &[&str] = &["running", "completed", "failed"];

/// A call of a workflow.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(super) struct Execution {
    id: Id,
    execution_id: Uuid,
    /// Null for event files, which go to `N8N_IMPORT_WEBHOOK`.
    workflow: Option<Id>,
    /// Empty without a workflow.
    workflow_name: String,
    trigger_event: String,
    /// Who waited for the answer; null when it was sent from the queue.
    triggered_by_email: Option<String>,
    /// The message of the queue; null when somebody waited for the answer.
    message: Option<Id>,
    start_time: Moment,
    end_time: Option<Moment>,
    /// `running`, `completed` or `failed`.
    status: String,
    /// The payload. What a person asked the advisor is shown to who manages workflows alone, and for a day; else it is
    /// `{"bytes"}`.
    #[schema(value_type = Object)]
    input_data: Value,
    /// What was answered: JSON, or text as a string; null when nothing was. Of an answer to a person's question the same holds.
    #[schema(value_type = Value)]
    output_data: Option<Value>,
    /// Why it failed; empty when it did not.
    error_details: String,
}

impl Resource for Execution {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadWorkflows>;

    const NAME: &'static str = "workflow_execution";
    const TABLE: &'static str = "workflow_executions";
    const ALIAS: &'static str = "x";
    const LIVE: &'static str = "true";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("workflow", "x.workflow_id", Kind::Id),
            Filter::new("status", "x.status", Kind::OneOf(STATUSES)),
            Filter::new("trigger_event", "x.trigger_event", Kind::Text),
            Filter::new("message", "x.message_id", Kind::Id),
            Filter::new("triggered_by", "x.triggered_by_id", Kind::Id),
        ],
        orderings: &[Ordering::new("start_time", "x.created_at", "timestamptz")],
        default: "-start_time",
        search: None,
        updated_at: None,
    };

    fn shown(row: Self, viewer: &Viewer) -> Self {
        if row.trigger_event != STUDENT_ASK || viewer.reach(Permission::ManageWorkflows).is_all() {
            return row;
        }
        let size = |value: &Value| json!({ "bytes": value.to_string().len() });
        let is_size = row.input_data.get("bytes").is_some();
        let input_data = if is_size { row.input_data } else { size(&row.input_data) };
        let output_data = row.output_data.map(|value| if is_size { value } else { size(&value) });
        Self { input_data, output_data, ..row }
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
                let call = find::<Execution>(tx, actor, id, Sight::Any).await?;
                let Some(object_key) = store::object_key(tx, id).await? else {
                    return Err(Problem::conflict(
                        "nobody_waits",
                        "Whoever asked no longer waits for the answer of this call, so it is not sent again.",
                    ));
                };
                let message = queue(tx, &call.trigger_event, call.workflow, &object_key, &call.input_data).await?;
                let what = json!({ "message": message });
                audit::note(tx, Some(actor.id()), &actor.origin, "replay", Execution::NAME, Some(id), &what).await?;
                Accepted::with(&find::<OutboxMessage>(tx, actor, message, Sight::Any).await?)
            })
        })
        .await
}
