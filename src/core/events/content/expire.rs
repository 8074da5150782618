//! The job that gives up on content that did not come in time. Every server process does it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::state::Status;
use super::store;
use crate::app::AppState;
use crate::audit;
use crate::core::events::handlers::Event;
use crate::db;
use crate::http::{Answer, Resource as _};
use crate::ids::Id;

/// How often the job runs.
const EVERY: Duration = Duration::from_secs(30);

/// Runs at once, then every half a minute until `stop`.
pub(crate) async fn look_after(app: AppState, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if !app.database.is_read_only()
            && let Err(problem) = expire(&app).await
        {
            tracing::warn!(%problem, "could not give up on content that is overdue");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

async fn expire(app: &AppState) -> Answer<()> {
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let expired = store::expire(tx).await?;
            let changes: Vec<(Id, Value, Value)> = expired
                .into_iter()
                .map(|event| {
                    let (pending, failed) = (Status::Pending, Status::Failed);
                    let before = json!({
                        "generation_status": pending,
                        "generation_meta": event.meta_before,
                        "generation_timeout_at": event.timeout_at,
                    });
                    let after = json!({
                        "generation_status": failed,
                        "generation_meta": event.meta_after,
                        "generation_timeout_at": null,
                    });
                    (event.id, before, after)
                })
                .collect();
            audit::of_a_job(tx, "expire_content", Event::NAME, &changes).await
        })
    })
    .await
}
