//! What runs beside the requests: the probe of the database, the mail queue, webhooks, pending enrolments, overdue content, gold
//! that expires, the audit log's seals, and sweeping.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::AppState;
use crate::health;

/// How often what has expired is swept away.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// Starts all of it; the tracker ends when `stop` has been told and each has come to its end.
pub fn start(app: &AppState, stop: &CancellationToken) -> TaskTracker {
    let tasks = TaskTracker::new();
    tasks.spawn(health::probe(app.clone(), stop.clone()));
    tasks.spawn(crate::users::mail::deliver(app.clone(), stop.clone()));
    tasks.spawn(crate::enrollment::pending::look_after(app.clone(), stop.clone()));
    tasks.spawn(crate::core::events::look_after_content(app.clone(), stop.clone()));
    tasks.spawn(crate::workflows::deliver(app.clone(), stop.clone()));
    tasks.spawn(crate::social::gold::expire::look_after(app.clone(), stop.clone()));
    tasks.spawn(crate::audit::seal::look_after(app.clone(), stop.clone()));
    tasks.spawn(sweep(app.clone(), stop.clone()));
    tasks.close();
    tasks
}

/// Removes what has outlived its use. Every server process sweeps; rows are gone after the first.
async fn sweep(app: AppState, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = crate::sweep::once(&app).await {
            tracing::warn!(%error, "could not sweep");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(SWEEP_EVERY) => {}
        }
    }
}
