//! Every SQL statement of notifications.

use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};

use super::handlers::Notification;
use super::send::NewNotification;
use super::stream::{Asking, BATCH, Position, Seen};
use crate::ids::Id;

/// The columns of a notification.
pub(super) const SELECT: &str = "
select n.id,
       n.recipient_id as recipient,
       n.actor_id as actor,
       n.verb,
       n.description,
       n.target_content_type,
       n.target_object_id,
       n.unread,
       n.created_at,
       n.updated_at,
       (select concat_ws(', ', nullif(trim(u.first_name || ' ' || u.last_name), ''), u.email)
          from users u
         where u.id = n.created_by) as sender
from notifications n";

/// Something to be told.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// Who is told.
    pub(crate) recipient: Id,
    /// Who did it; none when the server itself speaks.
    pub(crate) actor: Option<Id>,
    /// What happened.
    pub(crate) verb: &'static str,
    /// The particulars, for people.
    pub(crate) description: String,
    /// What it is about: the kind of thing, and which.
    pub(crate) target: (&'static str, Id),
}

/// Tells people, in the transaction of what they are told of.
///
/// # Errors
/// The database's failure.
pub(crate) async fn tell(tx: &mut PgConnection, notices: &[Notice]) -> sqlx::Result<()> {
    if notices.is_empty() {
        return Ok(());
    }
    let recipients: Vec<i64> = notices.iter().map(|notice| notice.recipient.0).collect();
    let actors: Vec<Option<i64>> = notices.iter().map(|notice| notice.actor.map(|actor| actor.0)).collect();
    let verbs: Vec<&str> = notices.iter().map(|notice| notice.verb).collect();
    let descriptions: Vec<&str> = notices.iter().map(|notice| notice.description.as_str()).collect();
    let kinds: Vec<&str> = notices.iter().map(|notice| notice.target.0).collect();
    let targets: Vec<i64> = notices.iter().map(|notice| notice.target.1.0).collect();
    sqlx::query!(
        "insert into notifications (recipient_id, actor_id, verb, description, target_content_type, target_object_id)
         select *
           from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[])",
        &recipients,
        actors as _,
        verbs as _,
        descriptions as _,
        kinds as _,
        &targets
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Notifications that a job keeps up to date, at most one for each recipient, for as long as there is something to tell.
#[derive(Debug, Clone)]
pub(crate) struct Digest {
    /// Its name, which nobody sees.
    pub(crate) name: &'static str,
    /// What is the matter.
    pub(crate) verb: &'static str,
    /// Who is told what, each recipient once.
    pub(crate) told: Vec<Told>,
}

/// What a digest tells somebody.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) recipient: Id,
    /// How much there is of it. With none nobody keeps a digest.
    pub(crate) count: i64,
    /// What of, for people: the description after the count.
    pub(crate) of: String,
}

/// Keeps the digest with these recipients and nobody else; unread again when the count has grown. What already says so
/// is not written. Whoever calls sees to it that nobody else keeps this digest at the same time.
///
/// # Errors
/// The database's failure.
pub(crate) async fn keep_digest(tx: &mut PgConnection, digest: &Digest) -> sqlx::Result<()> {
    let told: Vec<&Told> = digest.told.iter().filter(|told| told.count > 0).collect();
    let recipients: Vec<i64> = told.iter().map(|told| told.recipient.0).collect();
    let counts: Vec<i64> = told.iter().map(|told| told.count).collect();
    let descriptions: Vec<String> = told.iter().map(|told| format!("{} {}", told.count, told.of)).collect();
    sqlx::query!(
        "update notifications
            set deleted_at = rule_now(),
                updated_at = rule_now()
          where digest = $1
            and deleted_at is null
            and recipient_id <> all($2)",
        digest.name,
        &recipients
    )
    .execute(&mut *tx)
    .await?;
    // The description begins with the count: what it was is read from there.
    sqlx::query!(
        r#"update notifications n
              set verb = $3,
                  description = is_now.description,
                  unread = n.unread or is_now.was < is_now.count,
                  position = case when is_now.was < is_now.count then pg_current_xact_id() else n.position end,
                  updated_at = rule_now()
             from (select kept.id,
                          coalesce(substring(kept.description from '^(\d{1,18}) ')::bigint, 0) as was,
                          told.description,
                          told.count
                     from unnest($2::bigint[], $4::text[], $5::bigint[]) as told (recipient, description, count)
                     join notifications kept on kept.recipient_id = told.recipient
                    where kept.digest = $1
                      and kept.deleted_at is null) is_now
            where is_now.id = n.id
              and (n.verb, n.description) is distinct from ($3, is_now.description)"#,
        digest.name,
        &recipients,
        digest.verb,
        &descriptions,
        &counts
    )
    .execute(&mut *tx)
    .await?;
    // One that ended begins anew, so that they do not pile up.
    sqlx::query!(
        "with without as (
            select recipient, description
              from unnest($2::bigint[], $4::text[]) as told (recipient, description)
             where not exists (select
                                 from notifications
                                where recipient_id = recipient
                                  and digest = $1
                                  and deleted_at is null)
         ),
         revived as (
            update notifications n
               set verb = $3,
                   description = last.description,
                   unread = true,
                   position = pg_current_xact_id(),
                   created_at = rule_now(),
                   updated_at = rule_now(),
                   deleted_at = null
              from (select max(ended.id) as id, without.description
                      from without
                      join notifications ended on ended.recipient_id = without.recipient
                     where ended.digest = $1
                     group by ended.recipient_id, without.description) last
             where n.id = last.id
            returning n.recipient_id
         )
         insert into notifications (recipient_id, verb, description, digest)
         select recipient, $3, description, $1
           from without
          where recipient not in (select recipient_id from revived)
          order by recipient",
        digest.name,
        &recipients,
        digest.verb,
        &descriptions
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether this is somebody with an active account, and unless `anyone` will do, one of those whom everybody may write
/// to.
pub(super) async fn can_be_told(tx: &mut PgConnection, recipient: Id, anyone: bool) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select
               from users
              where id = $1
                and is_active
                and ($2 or user_type in ('staff', 'unit_convenor', 'admin'))) as "can!""#,
        recipient.0,
        anyone
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn add(tx: &mut PgConnection, author: Id, recipient: Id, new: &NewNotification) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into notifications (recipient_id, actor_id, verb, description, target_content_type, target_object_id,
                                      created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $2, $2)
           returning id as "id: Id""#,
        recipient.0,
        author.0,
        new.verb,
        new.description,
        new.target_content_type,
        new.target_object_id.map(|id| id.0)
    )
    .fetch_one(tx)
    .await
}

/// Tells everybody who sits in the offering and has an active account, but for the author; returns how many.
pub(super) async fn add_for_class(
    tx: &mut PgConnection,
    author: Id,
    offering: Id,
    new: &NewNotification,
) -> sqlx::Result<u64> {
    let told = sqlx::query!(
        "insert into notifications (recipient_id, actor_id, verb, description, target_content_type, target_object_id,
                                    created_by, updated_by)
         select e.student_id, $1, $3, $4, 'offering', $2, $1, $1
           from enrollments e
           join users s on s.id = e.student_id
          where e.offering_id = $2
            and e.status = 'ENROLLED'
            and e.deleted_at is null
            and s.is_active
            and s.id <> $1
          order by e.student_id",
        author.0,
        offering.0,
        new.verb,
        new.description
    )
    .execute(tx)
    .await?;
    Ok(told.rows_affected())
}

pub(super) async fn count_unread(from: impl PgExecutor<'_>, recipient: Id) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from notifications
            where recipient_id = $1
              and unread
              and deleted_at is null"#,
        recipient.0
    )
    .fetch_one(from)
    .await
}

/// Marks all of this person's as read; returns how many were not.
pub(super) async fn mark_all_read(tx: &mut PgConnection, recipient: Id) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"with held as (
              select id
                from notifications
               where recipient_id = $1
                 and unread
                 and deleted_at is null
               order by id
                 for no key update
           ),
           marked as (
              update notifications
                 set unread = false,
                     updated_at = rule_now(),
                     updated_by = $1
               where id in (select id from held)
              returning id
           )
           select count(*) as "count!" from marked"#,
        recipient.0
    )
    .fetch_one(tx)
    .await
}

/// Holds a row until the transaction ends.
pub(super) async fn lock(tx: &mut PgConnection, id: Id) -> sqlx::Result<()> {
    sqlx::query!("select id from notifications where id = $1 for no key update", id.0).fetch_optional(tx).await?;
    Ok(())
}

pub(super) async fn mark(tx: &mut PgConnection, author: Id, id: Id, unread: bool) -> sqlx::Result<()> {
    sqlx::query!(
        "update notifications
            set unread = $2,
                updated_at = rule_now(),
                updated_by = $3
          where id = $1",
        id.0,
        unread,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn remove(tx: &mut PgConnection, author: Id, id: Id) -> sqlx::Result<()> {
    sqlx::query!(
        "update notifications
            set deleted_at = rule_now(),
                updated_at = rule_now(),
                updated_by = $2
          where id = $1",
        id.0,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// What can be seen now. Transactions before its `from` have all ended, so that nothing more can come of them.
pub(super) async fn now(conn: &mut PgConnection) -> sqlx::Result<Seen> {
    let snapshot = sqlx::query!(
        r#"select snapshot::text as "text!",
                  pg_snapshot_xmin(snapshot)::text as "from!",
                  pg_snapshot_xmax(snapshot)::text as "until!"
             from pg_current_snapshot() snapshot"#
    );
    let snapshot = snapshot.fetch_one(conn).await?;
    Ok(Seen { from: number(&snapshot.from)?, until: number(&snapshot.until)?, snapshot: snapshot.text })
}

fn number(transaction: &str) -> sqlx::Result<u64> {
    transaction.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Those of the sessions that are live and whose owners are active.
pub(super) async fn live(conn: &mut PgConnection, sessions: &[Id]) -> sqlx::Result<Vec<Id>> {
    sqlx::query_scalar!(
        r#"select s.id as "id: Id"
             from sessions s
             join users u on u.id = s.user_id
            where s.id = any($1)
              and s.revoked_at is null
              and s.expires_at > rule_now()
              and u.is_active"#,
        sessions as _
    )
    .fetch_all(conn)
    .await
}

/// A notification for a listener.
#[derive(FromRow)]
pub(super) struct Heard {
    pub(super) listener: i64,
    position: String,
    #[sqlx(flatten)]
    pub(super) notification: Notification,
}

impl Heard {
    /// The transaction that told it.
    pub(super) fn transaction(&self) -> sqlx::Result<u64> {
        number(&self.position)
    }
}

/// What was told to these listeners after each one's position and before `until`, in its order; at most a batch each.
pub(super) async fn heard(conn: &mut PgConnection, asking: &[Asking], until: Position) -> sqlx::Result<Vec<Heard>> {
    let numbers: Vec<i64> = asking.iter().map(|one| one.listener).collect();
    let people: Vec<i64> = asking.iter().map(|one| one.person.0).collect();
    let transactions: Vec<String> = asking.iter().map(|one| one.after.transaction.to_string()).collect();
    let ids: Vec<i64> = asking.iter().map(|one| one.after.id).collect();
    let seen: Vec<Option<&str>> = asking.iter().map(|one| one.seen.as_ref().map(|seen| &*seen.snapshot)).collect();
    let mut sql = QueryBuilder::new("select w.listener, told.* from unnest(");
    sql.push_bind(numbers).push(", ").push_bind(people).push(", ").push_bind(transactions).push(", ").push_bind(ids);
    sql.push(", ").push_bind(seen);
    sql.push(
        ") as w (listener, person, position, id, seen)
         cross join lateral (select n.position::text as position,
                                    n.id,
                                    n.recipient_id as recipient,
                                    n.actor_id as actor,
                                    n.verb,
                                    n.description,
                                    n.target_content_type,
                                    n.target_object_id,
                                    n.unread,
                                    n.created_at,
                                    n.updated_at,
                                    (select concat_ws(', ', nullif(trim(u.first_name || ' ' || u.last_name), ''), u.email)
                                       from users u
                                      where u.id = n.created_by) as sender
                               from notifications n
                              where n.recipient_id = w.person
                                and (n.position, n.id) > (w.position::xid8, w.id)
                                and (w.seen is null or not pg_visible_in_snapshot(n.position, w.seen::pg_snapshot))
                                and n.position < ",
    );
    sql.push_bind(until.transaction.to_string());
    sql.push("::xid8 and n.deleted_at is null order by n.position, n.id limit ");
    sql.push_bind(i64::from(BATCH)).push(") told order by w.listener, told.position::xid8, told.id");
    sql.build_query_as().fetch_all(conn).await
}
