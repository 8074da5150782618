//! The one statement of a scrape.

use sqlx::PgConnection;

/// What waits in the database. Ages are in seconds, 0 when nothing waits.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) webhooks_pending: i64,
    pub(super) webhooks_dead: i64,
    pub(super) webhooks_oldest: f64,
    pub(super) mails_queued: i64,
    pub(super) mails_dead: i64,
    pub(super) mails_oldest: f64,
    pub(super) seal_lag: f64,
}

/// Each part reads an index from its end, or counts in one that has only what waits.
pub(super) async fn queues(conn: &mut PgConnection) -> sqlx::Result<Queues> {
    sqlx::query_as!(
        Queues,
        r#"select (select count(*) from webhook_outbox where state = 'pending') as "webhooks_pending!",
                  (select count(*) from webhook_outbox where state = 'dead') as "webhooks_dead!",
                  (select coalesce(extract(epoch from rule_now() - min(created_at)), 0)::float8
                     from webhook_outbox
                    where state = 'pending') as "webhooks_oldest!",
                  (select count(*) from mail_outbox where state = 'queued') as "mails_queued!",
                  (select count(*)
                     from mail_outbox
                    where state = 'dead'
                      and created_at > rule_now() - interval '7 days') as "mails_dead!",
                  (select coalesce(extract(epoch from rule_now() - min(created_at)), 0)::float8
                     from mail_outbox
                    where state = 'queued') as "mails_oldest!",
                  coalesce((select extract(epoch from clock_timestamp() - created_at)
                              from audit_log
                             where (position, id) > (
                                    coalesce((select to_position
                                                from audit_seals
                                               order by to_position desc, to_id desc
                                               limit 1), '0'),
                                    coalesce((select to_id
                                                from audit_seals
                                               order by to_position desc, to_id desc
                                               limit 1), 0))
                             order by audit_log.position, id
                             limit 1), 0)::float8 as "seal_lag!""#
    )
    .fetch_one(conn)
    .await
}
