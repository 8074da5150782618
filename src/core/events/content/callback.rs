//! What a workflow reports by itself: first that it is at it, then the content. Either may come twice, late, or first.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::texts::{self, says_something};
use super::{Status, store};
use crate::access::FromN8n;
use crate::app::AppState;
use crate::db;
use crate::http::{Answer, Done, Faults, FromWorkflow, PathId};
use crate::ids::{Id, Moment};

/// What a workflow reports of an event's content.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct GenerationReport {
    /// The id of the event in another calendar, at most 255 characters; needed unless there is content.
    gcal_event_id: Option<String>,
    /// Until when the content may take; left out, half an hour from now.
    generation_timeout_at: Option<Moment>,
    /// The content: an object, or JSON text of one. With it the report is the second and last.
    #[schema(value_type = Option<Object>)]
    generated_content: Option<Value>,
    /// How the content came about: an object, or JSON text of one.
    #[schema(value_type = Option<Object>)]
    generation_meta: Option<Value>,
}

/// The id of an event in another calendar.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct CalendarEntry {
    /// At most 255 characters.
    #[schema(required)]
    gcal_event_id: Option<String>,
    /// Until when the content may take; left out, half an hour from now.
    generation_timeout_at: Option<Moment>,
}

/// What became of the report.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReportTaken {
    detail: String,
    /// 1: the workflow is at it. 2: the content is there.
    phase: u8,
    generation_status: Status,
    gcal_event_id: String,
}

/// `POST /{id}/generation_callback/`
pub(super) async fn generation_callback(
    n8n: FromN8n,
    State(app): State<AppState>,
    PathId(id): PathId,
    FromWorkflow(report): FromWorkflow<GenerationReport>,
) -> Answer<Done<ReportTaken>> {
    let Some(sent) = report.generated_content.filter(|sent| !sent.is_null()) else {
        return begun(&n8n, &app, id, report.gcal_event_id, report.generation_timeout_at).await;
    };
    let mut faults = Faults::default();
    let content = texts::of_field(&mut faults, "generated_content", &sent, texts::content);
    if faults.is_empty() {
        faults.unless(says_something(&content), "generated_content", "There is no text in it.");
    }
    let meta = report.generation_meta.filter(|sent| !sent.is_null()).unwrap_or_else(|| json!({}));
    let mut meta = texts::of_field(&mut faults, "generation_meta", &meta, texts::meta);
    meta.entry("source").or_insert_with(|| json!("workflow"));
    let gcal_event_id = report.gcal_event_id.unwrap_or_default();
    faults.text("gcal_event_id", &gcal_event_id, 255);
    faults.check()?;
    let (n8n, content, meta, gcal_event_id) = (&n8n, &content, &meta, gcal_event_id.trim());
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let held = store::hold(tx, id).await?;
            let mut after = held.state.clone();
            if !gcal_event_id.is_empty() {
                gcal_event_id.clone_into(&mut after.gcal_event_id);
            }
            after.deliver(content.clone(), meta.clone(), held.now);
            let kept = store::keep(tx, n8n, id, "deliver_content", &held, after).await?;
            Done::with(&ReportTaken {
                detail: "The content is there.".to_owned(),
                phase: 2,
                generation_status: kept.status,
                gcal_event_id: kept.gcal_event_id,
            })
        })
    })
    .await
}

/// `POST /{id}/gcal-sync/`
pub(super) async fn gcal_sync(
    n8n: FromN8n,
    State(app): State<AppState>,
    PathId(id): PathId,
    FromWorkflow(entry): FromWorkflow<CalendarEntry>,
) -> Answer<Done<ReportTaken>> {
    begun(&n8n, &app, id, entry.gcal_event_id, entry.generation_timeout_at).await
}

/// The workflow is at it. Content that is there already is not waited for again.
async fn begun(
    n8n: &FromN8n,
    app: &AppState,
    id: Id,
    gcal_event_id: Option<String>,
    until: Option<Moment>,
) -> Answer<Done<ReportTaken>> {
    let gcal_event_id = gcal_event_id.unwrap_or_default();
    let mut faults = Faults::default();
    faults.name("gcal_event_id", &gcal_event_id, 255);
    faults.check()?;
    let gcal_event_id = gcal_event_id.trim();
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let held = store::hold(tx, id).await?;
            let mut after = held.state.clone();
            gcal_event_id.clone_into(&mut after.gcal_event_id);
            if after.status != Status::Ready {
                after.wait(until, held.now);
            }
            let kept = store::keep(tx, n8n, id, "await_content", &held, after).await?;
            Done::with(&ReportTaken {
                detail: "The event's id in the other calendar was noted.".to_owned(),
                phase: 1,
                generation_status: kept.status,
                gcal_event_id: kept.gcal_event_id,
            })
        })
    })
    .await
}
