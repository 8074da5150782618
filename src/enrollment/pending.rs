//! The job that looks after enrolments that nobody has decided on.
//!
//! Of a unit with a convenor, the convenor is told of each, in the transaction of the request. Where there is none, everyone
//! who may decide on any enrolment is told by one notification that this job keeps up to date.

use std::time::Duration;

use chrono_tz::Tz;
use sqlx::PgConnection;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::access::Permission;
use crate::app::AppState;
use crate::core::notifications::{Digest, keep_digest};
use crate::db;
use crate::enrollment::enrollments::withdraw_overdue;
use crate::http::Answer;
use crate::ids::Moment;
use crate::users::roles::everyone_who_may;

/// How often the job runs.
const EVERY: Duration = Duration::from_mins(1);

/// Runs at once, then every minute until `stop`.
pub async fn look_after(app: AppState, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(problem) = run(&app).await {
            tracing::warn!(%problem, "could not look after pending enrolments");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

async fn run(app: &AppState) -> Answer<()> {
    let zone = app.config.time_zone;
    // First, so that the digest counts what is left.
    while withdraw_overdue(app).await? > 0 {}
    db::write(&app.db, |tx, _| Box::pin(tell_approvers(tx, zone))).await
}

/// Keeps the digest of those who may decide on any enrolment. One process at a time does it; the others leave it.
async fn tell_approvers(tx: &mut PgConnection, zone: Tz) -> Answer<()> {
    if !store::its_turn(tx).await? {
        return Ok(());
    }
    let waiting = store::without_convenor(tx).await?;
    let approvers = everyone_who_may(tx, Permission::ApproveEnrollments).await?;
    let digest = Digest {
        name: "enrollment.pending",
        verb: "Enrollment pending approval",
        count: waiting.count,
        of: sentence(waiting.count, waiting.oldest, zone),
    };
    Ok(keep_digest(tx, &digest, &approvers).await?)
}

/// What comes after the count.
fn sentence(count: i64, oldest: Option<Moment>, zone: Tz) -> String {
    let since = oldest.map(|oldest| oldest.0.with_timezone(&zone).date_naive().to_string()).unwrap_or_default();
    if count == 1 {
        format!("enrolment in a unit without a convenor waits for a decision, since {since}.")
    } else {
        format!("enrolments in units without a convenor wait for a decision, the oldest since {since}.")
    }
}

/// Every SQL statement of the job.
mod store {
    use sqlx::PgConnection;

    use crate::ids::Moment;

    /// What waits where no convenor is told.
    pub(super) struct Waiting {
        pub(super) count: i64,
        pub(super) oldest: Option<Moment>,
    }

    /// Whether no other process is at it; the others keep away until the transaction ends.
    pub(super) async fn its_turn(tx: &mut PgConnection) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"select pg_try_advisory_xact_lock(hashtextextended('enrollment.pending', 0)) as "got_it!""#
        )
        .fetch_one(tx)
        .await
    }

    /// The pending enrolments of offerings without an active convenor.
    pub(super) async fn without_convenor(tx: &mut PgConnection) -> sqlx::Result<Waiting> {
        sqlx::query_as!(
            Waiting,
            r#"select count(*) as "count!",
                      min(e.requested_at) as "oldest: Moment"
                 from enrollments e
                 join offerings o on o.id = e.offering_id
                 left join users convenor on convenor.id = o.convenor_id and convenor.is_active
                where e.status = 'PENDING'
                  and e.deleted_at is null
                  and convenor.id is null"#
        )
        .fetch_one(tx)
        .await
    }
}
