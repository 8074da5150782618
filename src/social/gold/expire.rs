//! The job that lets gold expire that was not spent in time.
//!
//! Every server process runs it. What has expired is looked for again once the account is held, and is taken by an entry of
//! the ledger, after which nothing of it is left to find: it is taken once, whichever process does it and wherever one is
//! killed.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ledger::{self, Entry, EntryKind};
use super::store;
use crate::app::AppState;
use crate::db;
use crate::http::Answer;
use crate::ids::Id;

/// How often the job runs; gold is counted in days.
const EVERY: Duration = Duration::from_hours(1);

/// Runs at once, then every hour until `stop`; not at all unless gold expires.
pub(crate) async fn look_after(app: AppState, stop: CancellationToken) {
    let Some(days) = app.config.gold_expires_after else { return };
    while !stop.is_cancelled() {
        if !app.database.is_read_only()
            && let Err(problem) = run(&app, days).await
        {
            tracing::warn!(%problem, "could not let gold expire");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

async fn run(app: &AppState, days: u32) -> Answer<()> {
    loop {
        let mut conn = app.db.acquire().await?;
        let due = store::due(&mut conn, days, None).await?;
        drop(conn);
        if due.is_empty() {
            return Ok(());
        }
        let students: &Vec<Id> = &due.iter().map(|due| due.student).collect();
        db::write(&app.db, |tx, _| {
            Box::pin(async move {
                ledger::hold(tx, students).await?;
                let still = store::due(tx, days, Some(students)).await?;
                let entries: Vec<Entry> = still
                    .into_iter()
                    .map(|due| Entry {
                        student: due.student,
                        kind: EntryKind::Expire,
                        amount: due.amount,
                        reason: format!("Not spent within {days} days"),
                        details: String::new(),
                    })
                    .collect();
                ledger::post(tx, None, &entries).await
            })
        })
        .await?;
    }
}
