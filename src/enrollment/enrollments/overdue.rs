//! Requests that nobody decided on.

use crate::app::AppState;
use crate::db;
use crate::enrollment::Status;
use crate::http::Answer;

use super::steps::{Held, Step, carry_out};
use super::store;

/// Withdraws what has been pending for `PENDING_DAYS`, and tells the students; how many.
///
/// Every server process does this. What another has withdrawn, or somebody has decided on, since the look is left alone:
/// it is held, and looked at again.
pub(in crate::enrollment) async fn withdraw_overdue(app: &AppState) -> Answer<usize> {
    let days = app.config.pending_days;
    let mut conn = app.db.acquire().await?;
    let found = store::overdue(&mut conn, days, None).await?;
    drop(conn);
    if found.is_empty() {
        return Ok(0);
    }
    let found = &found;
    let reason = &format!("Nobody decided on it within {days} days.");
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let held = store::hold(tx, found).await?;
            let still = store::overdue(tx, days, Some(found)).await?;
            let withdrawn = |held: &Held| Step {
                id: held.id,
                status: Status::Withdrawn,
                grade: String::new(),
                marks: None,
                reason: reason.clone(),
                decision: None,
                day: None,
            };
            let steps: Vec<(&Held, Step)> =
                held.iter().filter(|held| still.contains(&held.id)).map(|held| (held, withdrawn(held))).collect();
            carry_out(tx, None, "expire", &steps).await?;
            Ok(steps.len())
        })
    })
    .await
}
