//! What runs beside the requests: the probe of the database, the mail queue, webhooks, pending enrolments, overdue content, gold
//! that expires, the audit log's seals, and sweeping.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::AppState;
use crate::health;
use crate::http::Answer;

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
        if let Err(error) = sweep_once(&app).await {
            tracing::warn!(%error, "could not sweep");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(SWEEP_EVERY) => {}
        }
    }
}

async fn sweep_once(app: &AppState) -> Answer<()> {
    app.files.remove_deleted(&app.db).await?;
    let mut conn = app.db.acquire().await?;
    sqlx::query!("delete from idempotency_keys where created_at < now() - interval '24 hours'")
        .execute(&mut *conn)
        .await?;
    // A bucket of ours is full again within an hour.
    sqlx::query!("delete from throttle_buckets where updated_at < rule_now() - interval '1 hour'")
        .execute(&mut *conn)
        .await?;
    sqlx::query!("delete from sessions where expires_at < rule_now() - interval '30 days'").execute(&mut *conn).await?;
    sqlx::query!("delete from password_reset_tokens where expires_at < rule_now() - interval '1 day'")
        .execute(&mut *conn)
        .await?;
    sqlx::query!("delete from email_changes where expires_at < rule_now()").execute(&mut *conn).await?;
    sqlx::query!("delete from login_addresses where last_used_at < rule_now() - interval '180 days'")
        .execute(&mut *conn)
        .await?;
    Ok(())
}
