//! The job that looks after enrolments that nobody has decided on.
//!
//! Of a unit with a convenor, the convenor is told of each, in the transaction of the request, and is reminded before those
//! that wait longest are withdrawn. Where there is none, everyone who may decide on any enrolment is told. Both by one
//! notification that this job keeps up to date.

use std::time::Duration;

use chrono::TimeDelta;
use chrono_tz::Tz;
use sqlx::PgConnection;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::access::Permission;
use crate::app::AppState;
use crate::core::notifications::{Digest, Told, keep_digest};
use crate::db;
use crate::enrollment::enrollments::withdraw_overdue;
use crate::http::Answer;
use crate::ids::Moment;
use crate::users::roles::everyone_who_may;

/// How often the job runs.
const EVERY: Duration = Duration::from_mins(1);

/// How many days before a request is withdrawn its convenor is reminded, over a weekend too; where `PENDING_DAYS` are
/// few, at half of them.
const REMIND_DAYS: u32 = 3;

/// Runs at once, then every minute until `stop`.
pub async fn look_after(app: AppState, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if !app.database.is_read_only()
            && let Err(problem) = run(&app).await
        {
            tracing::warn!(%problem, "could not look after pending enrolments");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

/// Withdraws what is overdue, and brings the digests up to date.
///
/// # Errors
/// The database's failure.
pub async fn run(app: &AppState) -> Answer<()> {
    let (zone, days) = (app.config.time_zone, app.config.pending_days);
    // First, so that the digests count what is left.
    while withdraw_overdue(app).await? > 0 {}
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            // One process at a time does it; the others leave it.
            if store::its_turn(tx).await? {
                tell_approvers(tx, zone).await?;
                remind_convenors(tx, zone, days).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Keeps the digest of those who may decide on any enrolment.
async fn tell_approvers(tx: &mut PgConnection, zone: Tz) -> Answer<()> {
    let waiting = store::without_convenor(tx).await?;
    let approvers = everyone_who_may(tx, Permission::ApproveEnrollments).await?;
    let (count, of) = (waiting.count, sentence(waiting.count, waiting.oldest, zone));
    let told = approvers.into_iter().map(|recipient| Told { recipient, count, of: of.clone() }).collect();
    Ok(keep_digest(tx, &Digest { name: "enrollment.pending", verb: "Enrolment pending approval", told }).await?)
}

/// Keeps the digests of convenors whose requests are about to be withdrawn.
async fn remind_convenors(tx: &mut PgConnection, zone: Tz, days: u32) -> Answer<()> {
    let after = days - REMIND_DAYS.min(days / 2);
    let told = store::about_to_expire(tx, after).await?.into_iter().map(|expiring| Told {
        recipient: expiring.convenor,
        count: expiring.count,
        of: reminder(expiring.count, expiring.oldest, days, zone),
    });
    let told = told.collect();
    Ok(keep_digest(tx, &Digest { name: "enrollment.expiring", verb: "Enrolment requests about to expire", told })
        .await?)
}

/// What comes after the count of requests that wait for approvers.
fn sentence(count: i64, oldest: Option<Moment>, zone: Tz) -> String {
    let since = oldest.map(|oldest| oldest.0.with_timezone(&zone).date_naive().to_string()).unwrap_or_default();
    if count == 1 {
        format!("enrolment in a unit without a convenor waits for a decision, since {since}.")
    } else {
        format!("enrolments in units without a convenor wait for a decision, the oldest since {since}.")
    }
}

/// What comes after the count of requests that are about to be withdrawn.
fn reminder(count: i64, oldest: Moment, days: u32, zone: Tz) -> String {
    let end = (oldest.0 + TimeDelta::days(days.into())).with_timezone(&zone).format("%Y-%m-%d %H:%M");
    if count == 1 {
        format!("request for a seat in your units will be withdrawn unless you decide on it by {end}.")
    } else {
        format!("requests for seats in your units will be withdrawn unless you decide on them, the first at {end}.")
    }
}

/// Every SQL statement of the job.
mod store {
    use sqlx::PgConnection;

    use crate::ids::{Id, Moment};

    /// What waits where no convenor is told.
    pub(super) struct Waiting {
        pub(super) count: i64,
        pub(super) oldest: Option<Moment>,
    }

    /// What a convenor has to decide on soon.
    pub(super) struct Expiring {
        pub(super) convenor: Id,
        pub(super) count: i64,
        pub(super) oldest: Moment,
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

    /// What has been pending for so many days in units with an active convenor.
    pub(super) async fn about_to_expire(tx: &mut PgConnection, days: u32) -> sqlx::Result<Vec<Expiring>> {
        sqlx::query_as!(
            Expiring,
            r#"select convenor.id as "convenor: Id",
                      count(*) as "count!",
                      min(e.requested_at) as "oldest!: Moment"
                 from enrollments e
                 join offerings o on o.id = e.offering_id
                 join users convenor on convenor.id = o.convenor_id and convenor.is_active
                where e.status = 'PENDING'
                  and e.deleted_at is null
                  and e.requested_at <= rule_now() - make_interval(days => $1)
                group by convenor.id
                order by convenor.id"#,
            i32::try_from(days).unwrap_or(i32::MAX)
        )
        .fetch_all(tx)
        .await
    }
}
