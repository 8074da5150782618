//! Removes what has had its time. Which table's rows go when stands in docs/operations.md, for every table that there is; a test
//! compares.
//!
//! Rows go in small steps, each a statement of its own that leaves out what somebody holds, so that no step is felt. What a
//! sweep does not get to, the next does.

use crate::access::throttle;
use crate::app::AppState;
use crate::http::Answer;

/// Steps of a table in one sweep.
const STEPS: usize = 200;

/// Runs a statement that removes at most 1,000 rows again and again, until it finds fewer.
macro_rules! remove {
    ($app:expr, $sql:tt $(, $value:expr)?) => {
        for _ in 0..STEPS {
            let done = sqlx::query!($sql $(, $value)?).execute(&mut *$app.db.acquire().await?).await?;
            if done.rows_affected() < 1000 {
                break;
            }
        }
    };
}

/// Removes what has outlived its use.
///
/// # Errors
/// The database's failure; what was removed before stays so.
pub async fn once(app: &AppState) -> Answer<()> {
    app.files.place(&app.db).await?;
    app.files.remove_deleted(&app.db).await?;
    of_sessions(app).await?;
    of_queues(app).await?;
    crate::workflows::forget_questions(&mut *app.db.acquire().await?).await?;
    of_people(app).await
}

/// Days as SQL has them.
fn days(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX)
}

async fn of_sessions(app: &AppState) -> Answer<()> {
    remove!(
        app,
        "delete from idempotency_keys
          where ctid in (select ctid
                           from idempotency_keys
                          where created_at < now() - interval '24 hours'
                          order by created_at
                          limit 1000
                            for update skip locked)"
    );
    remove!(
        app,
        "delete from throttle_buckets
          where key in (select key
                          from throttle_buckets
                         where updated_at < rule_now() - make_interval(hours => $1)
                         order by updated_at
                         limit 1000
                           for update skip locked)",
        days(throttle::full_after_hours(&app.config))
    );
    remove!(
        app,
        "delete from sessions
          where id in (select id
                         from sessions
                        where expires_at < rule_now() - interval '30 days'
                        order by expires_at
                        limit 1000
                          for update skip locked)"
    );
    remove!(
        app,
        "delete from email_changes
          where user_id in (select user_id
                              from email_changes
                             where expires_at < rule_now()
                             order by expires_at
                             limit 1000
                               for update skip locked)"
    );
    remove!(
        app,
        "delete from registrations
          where id in (select id
                         from registrations
                        where expires_at < rule_now()
                        order by expires_at
                        limit 1000
                          for update skip locked)"
    );
    remove!(
        app,
        "delete from password_reset_tokens
          where id in (select id
                         from password_reset_tokens
                        where expires_at < rule_now() - interval '1 day'
                        order by expires_at
                        limit 1000
                          for update skip locked)"
    );
    remove!(
        app,
        "delete from login_addresses
          where ctid in (select ctid
                           from login_addresses
                          where last_used_at < rule_now() - interval '180 days'
                          order by last_used_at
                          limit 1000
                            for update skip locked)"
    );
    Ok(())
}

async fn of_queues(app: &AppState) -> Answer<()> {
    remove!(
        app,
        "delete from mail_outbox
          where id in (select id
                         from mail_outbox
                        where created_at < rule_now() - make_interval(days => $1)
                          and state <> 'queued'
                        order by created_at, id
                        limit 1000
                          for update skip locked)",
        days(app.config.keep_mail_days)
    );
    // Calls before what they were made for, which they name.
    remove!(
        app,
        "delete from workflow_executions
          where id in (select id
                         from workflow_executions
                        where created_at < rule_now() - make_interval(days => $1)
                        order by created_at, id
                        limit 1000
                          for update skip locked)",
        days(app.config.keep_workflow_days)
    );
    remove!(
        app,
        "delete from webhook_outbox
          where id in (select m.id
                         from webhook_outbox m
                        where m.created_at < rule_now() - make_interval(days => $1)
                          and m.state <> 'pending'
                          and not exists (select from workflow_executions x where x.message_id = m.id)
                        order by m.created_at, m.id
                        limit 1000
                          for update of m skip locked)",
        days(app.config.keep_workflow_days)
    );
    Ok(())
}

async fn of_people(app: &AppState) -> Answer<()> {
    remove!(
        app,
        "delete from notifications
          where id in (select id
                         from notifications
                        where (not unread or deleted_at is not null)
                          and updated_at < rule_now() - make_interval(days => $1)
                        order by updated_at
                        limit 1000
                          for update skip locked)",
        days(app.config.keep_messages_days)
    );
    // Whoever does not read them in three times as long will not.
    remove!(
        app,
        "delete from notifications
          where id in (select id
                         from notifications
                        where updated_at < rule_now() - make_interval(days => $1)
                        order by updated_at, id
                        limit 1000
                          for update skip locked)",
        days(app.config.keep_messages_days.saturating_mul(3))
    );
    remove!(
        app,
        "delete from calendar_links
          where id in (select id
                         from calendar_links
                        where revoked_at is not null
                          and revoked_at < rule_now() - interval '30 days'
                        order by revoked_at
                        limit 1000
                          for update skip locked)"
    );
    Ok(())
}
