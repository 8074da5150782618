//! Every SQL statement of calendar links and feeds.

use sqlx::{PgConnection, QueryBuilder};

use super::feed::Entry;
use crate::core::events::push_audience;
use crate::ids::{Id, Moment};

/// The most classes, and the most events, in a feed; the earliest come first.
const MOST: i64 = 2000;

/// A live link, as its owner sees it.
pub(super) struct Link {
    pub(super) created_at: Moment,
    pub(super) last_used_at: Option<Moment>,
}

/// A live link, as its feed needs it.
pub(super) struct Holder {
    pub(super) id: Id,
    pub(super) user: Id,
    /// Whether its use should be written down again.
    pub(super) is_due: bool,
}

pub(super) async fn live(conn: &mut PgConnection, user: Id) -> sqlx::Result<Option<Link>> {
    sqlx::query_as!(
        Link,
        r#"select created_at as "created_at: Moment",
                  last_used_at as "last_used_at: Moment"
             from calendar_links
            where user_id = $1
              and revoked_at is null
              and security_version = (select u.security_version from users u where u.id = $1)
            order by id desc
            limit 1"#,
        user.0
    )
    .fetch_optional(conn)
    .await
}

/// Makes a link and revokes the ones before. The person's row is locked, so that of two at once one remains.
pub(super) async fn replace(tx: &mut PgConnection, user: Id, token_hash: &[u8]) -> sqlx::Result<(Id, Moment)> {
    sqlx::query!("select id from users where id = $1 for no key update", user.0).fetch_one(&mut *tx).await?;
    revoke(tx, user).await?;
    let made = sqlx::query!(
        r#"insert into calendar_links (user_id, token_hash)
           values ($1, $2)
           returning id as "id: Id", created_at as "created_at: Moment""#,
        user.0,
        token_hash
    )
    .fetch_one(tx)
    .await?;
    Ok((made.id, made.created_at))
}

/// Revokes the live link of a person; which it was.
pub(super) async fn revoke(tx: &mut PgConnection, user: Id) -> sqlx::Result<Option<Id>> {
    sqlx::query_scalar!(
        r#"update calendar_links
              set revoked_at = rule_now()
            where user_id = $1
              and revoked_at is null
           returning id as "id: Id""#,
        user.0
    )
    .fetch_optional(tx)
    .await
}

/// The live link with this token.
pub(super) async fn holder(conn: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<Option<Holder>> {
    sqlx::query_as!(
        Holder,
        r#"select id as "id: Id",
                  user_id as "user: Id",
                  coalesce(last_used_at < rule_now() - interval '10 minutes', true) as "is_due!"
             from calendar_links l
            where token_hash = $1
              and revoked_at is null
              and security_version = (select u.security_version from users u where u.id = l.user_id)"#,
        token_hash
    )
    .fetch_optional(conn)
    .await
}

/// Writes down that the link was used.
pub(super) async fn used(tx: &mut PgConnection, link: Id) -> sqlx::Result<()> {
    sqlx::query!("update calendar_links set last_used_at = rule_now() where id = $1", link.0).execute(tx).await?;
    Ok(())
}

/// The classes of a person from 90 days ago to 400 days ahead: of offerings in which they have or had a seat, of units
/// that they convene, and those that they instruct. A deleted one counts as cancelled for 30 days.
///
/// A class has a date and times by the clock on the wall; `zone` says which clock.
pub(super) async fn classes(conn: &mut PgConnection, person: Id, zone: &str) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as!(
        Entry,
        r#"select 'session' as "kind!",
                  s.id as "id: Id",
                  u.code || ' ' || s.session_type as "title!",
                  u.name as description,
                  s.location,
                  (s.date + s.start_time) at time zone $2 as "starts!",
                  (s.date + s.end_time) at time zone $2 as ends,
                  s.status = 'cancelled' or s.deleted_at is not null as "cancelled!",
                  s.created_at,
                  greatest(s.updated_at, s.deleted_at) as "changed_at!"
             from class_sessions s
             join offerings o on o.id = s.offering_id
             join units u on u.id = o.unit_id
            where (s.offering_id = any(array(select e.offering_id
                                               from enrollments e
                                              where e.student_id = $1
                                                and e.status in ('ENROLLED', 'COMPLETED', 'FAILED')
                                                and e.deleted_at is null
                                              union
                                             select c.id
                                               from offerings c
                                              where c.convenor_id = $1
                                                and c.deleted_at is null))
                   or s.instructor_id = $1)
              and s.date between (rule_now() at time zone $2)::date - 90 and (rule_now() at time zone $2)::date + 400
              and (s.deleted_at is null or s.deleted_at > rule_now() - interval '30 days')
              and o.deleted_at is null
            order by s.date, s.start_time, s.id
            limit $3"#,
        person.0,
        zone,
        MOST
    )
    .fetch_all(conn)
    .await
}

/// The events of the same time that the API shows this person: all, or those that concern them. A deleted one counts as
/// cancelled for 30 days.
pub(super) async fn events(
    conn: &mut PgConnection,
    person: Id,
    all: bool,
    is_student: bool,
) -> sqlx::Result<Vec<Entry>> {
    let mut sql = QueryBuilder::new(
        "select 'event' as kind,
                e.id,
                e.title,
                e.description,
                e.location,
                e.start as starts,
                e.\"end\" as ends,
                e.deleted_at is not null as cancelled,
                e.created_at,
                greatest(e.updated_at, e.deleted_at) as changed_at
           from events e
          where e.start between rule_now() - interval '90 days' and rule_now() + interval '400 days'
            and (e.deleted_at is null or e.deleted_at > rule_now() - interval '30 days')",
    );
    if !all {
        push_audience(&mut sql, Some(person), is_student);
    }
    sql.push(" order by e.start, e.id limit ").push_bind(MOST);
    sql.build_query_as().fetch_all(conn).await
}
