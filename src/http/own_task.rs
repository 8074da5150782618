//! Runs each request in a task of its own.
//!
//! hyper drops a handler when the client disconnects, and the time-out layer when its time is over. A `begin` dropped
//! half-way would leave its session inside a transaction that later requests then write into and lose (see `db`).
//! The task goes on to its end instead.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::problem::Problem;
use super::unread;
use crate::app::AppState;
use crate::ids::LOCAL_ZONE;

/// The layer.
pub async fn own_task(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let work = async move { unread::noted(&headers, next.run(request)).await };
    let work = LOCAL_ZONE.scope(app.config.time_zone, work);
    match tokio::spawn(work.in_current_span()).await {
        Ok(response) => response,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(stopped) => Problem::internal(stopped).into_response(),
        },
    }
}
