//! Calls that somebody waits for: `event.generate`, `event.refine`, `student.ask`. One attempt, one row in the log.

use axum::http::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use super::client::{Failure, Message};
use super::store;
use crate::app::AppState;
use crate::http::{Answer, Problem};
use crate::ids::Id;

/// What a workflow is asked.
pub(crate) struct Question<'a> {
    /// The trigger that workflows listen to.
    pub(crate) trigger: &'static str,
    /// The id of what it is about.
    pub(crate) event_id: Id,
    /// What is said.
    pub(crate) payload: &'a Value,
    /// Who asks.
    pub(crate) by: Id,
}

/// Calls the active workflow for the trigger, the oldest when there are several, and gives its answer: JSON, text as a
/// string, or null when it had no body. `None` when no workflow listens. No session of the database is held meanwhile.
///
/// # Errors
/// 502 when the workflow could not be reached or answered with anything but a 2xx; 504 when it took longer than
/// `WORKFLOW_TIMEOUT`.
pub(crate) async fn ask(app: &AppState, question: &Question<'_>) -> Answer<Option<Value>> {
    let id = Uuid::now_v7();
    let begun = store::begin_call(&mut *app.db.acquire().await?, id, question).await?;
    let Some(begun) = begun else { return Ok(None) };
    let message = Message {
        url: &begun.target,
        id: &format!("msg_{}", id.simple()),
        event_id: &question.event_id.to_string(),
        timestamp: begun.at,
        payload: question.payload,
        secrets: &begun.secrets,
    };
    let answered = app.outbound.send(&message, app.clock.now(), app.config.workflow_timeout).await;
    store::end_call(&mut *app.db.acquire().await?, begun.execution, &answered).await?;
    match answered {
        Ok(answer) => Ok(Some(answer)),
        Err(Failure { is_time_out: true, .. }) => Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "workflow_timeout",
            "The workflow did not answer in time. Try again later.",
        )),
        Err(Failure { says, .. }) => {
            tracing::warn!(trigger = question.trigger, %says, "a workflow failed");
            Err(Problem::new(
                StatusCode::BAD_GATEWAY,
                "workflow_failed",
                "The workflow failed. Its log says why; try again later.",
            ))
        }
    }
}
