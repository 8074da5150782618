//! Every SQL statement of generated content.

use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::state::{CONFIRMED_BY, State, Status, TIMED_OUT};
use crate::access::Viewer;
use crate::audit;
use crate::core::events::handlers::Event;
use crate::http::{Answer, Problem, Resource as _};
use crate::ids::{Id, Moment};

/// How many revisions an event has at most.
pub(super) const MOST_REVISIONS: i32 = 50;

/// An event's content as it was found, and when.
pub(super) struct Held {
    pub(super) state: State,
    pub(super) now: Moment,
}

/// The content of a live event, whose row is held until the transaction ends.
///
/// # Errors
/// 404.
pub(super) async fn hold(tx: &mut PgConnection, id: Id) -> Answer<Held> {
    let held = sqlx::query!("select id from events where id = $1 and deleted_at is null for no key update", id.0);
    held.fetch_optional(&mut *tx).await?.ok_or_else(Problem::absent)?;
    read(tx, id).await
}

/// The content of a live event.
///
/// # Errors
/// 404.
pub(super) async fn read(conn: &mut PgConnection, id: Id) -> Answer<Held> {
    let row = sqlx::query!(
        r#"select generation_status as "status: Status",
                  generated_content as "content: Json<Map<String, Value>>",
                  generation_meta as "meta: Json<Map<String, Value>>",
                  visibility,
                  gcal_event_id,
                  generation_timeout_at as "timeout_at: Moment",
                  last_generated_at as "last_generated_at: Moment",
                  rule_now() as "now!: Moment"
             from events
            where id = $1
              and deleted_at is null"#,
        id.0
    )
    .fetch_optional(conn)
    .await?
    .ok_or_else(Problem::absent)?;
    Ok(Held {
        state: State {
            status: row.status,
            content: row.content.0,
            meta: row.meta.0,
            visibility: row.visibility,
            gcal_event_id: row.gcal_event_id,
            timeout_at: row.timeout_at,
            last_generated_at: row.last_generated_at,
        },
        now: row.now,
    })
}

/// Writes what has become of a held event's content, keeps the content that was there as a revision, and says so in the
/// audit log. What is so already is not written.
pub(super) async fn keep(
    tx: &mut PgConnection,
    who: &Viewer,
    id: Id,
    action: &str,
    held: &Held,
    mut after: State,
) -> Answer<State> {
    let before = &held.state;
    after.settle(before, held.now);
    if after == *before {
        return Ok(after);
    }
    if after.content != before.content && !before.content.is_empty() {
        add_revision(tx, who.caller_id(), id, before).await?;
    }
    write(tx, who.caller_id(), id, &after).await?;
    audit::record(tx, who, action, Event::NAME, Some(id), &before.beside(&after), &after.beside(before)).await?;
    Ok(after)
}

async fn write(tx: &mut PgConnection, by: Option<Id>, id: Id, state: &State) -> sqlx::Result<()> {
    sqlx::query!(
        "update events
            set generation_status = $2,
                generated_content = $3,
                generation_meta = $4,
                visibility = $5,
                gcal_event_id = $6,
                generation_timeout_at = $7,
                last_generated_at = $8,
                updated_at = rule_now(),
                updated_by = $9
          where id = $1",
        id.0,
        state.status as _,
        Json(&state.content) as _,
        Json(&state.meta) as _,
        state.visibility,
        state.gcal_event_id,
        state.timeout_at as _,
        state.last_generated_at as _,
        by as _
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn add_revision(tx: &mut PgConnection, by: Option<Id>, id: Id, of: &State) -> sqlx::Result<()> {
    let revision = sqlx::query_scalar!(
        r#"insert into event_content_revisions (event_id, revision, generated_content, generation_meta, generation_status,
                                                created_by)
           select $1, coalesce(max(revision), 0) + 1, $2, $3, $4, $5
             from event_content_revisions
            where event_id = $1
           returning revision"#,
        id.0,
        Json(&of.content) as _,
        Json(&of.meta) as _,
        of.status as _,
        by as _
    )
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query!(
        "delete from event_content_revisions where event_id = $1 and revision <= $2",
        id.0,
        revision - MOST_REVISIONS
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A revision's content and what was said of it.
pub(super) async fn revision(
    tx: &mut PgConnection,
    id: Id,
    revision: i32,
) -> sqlx::Result<Option<(Map<String, Value>, Map<String, Value>)>> {
    let found = sqlx::query!(
        r#"select generated_content as "content: Json<Map<String, Value>>",
                  generation_meta as "meta: Json<Map<String, Value>>"
             from event_content_revisions
            where event_id = $1
              and revision = $2"#,
        id.0,
        revision
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.map(|found| (found.content.0, found.meta.0)))
}

/// Somebody's address.
pub(super) async fn email_of(conn: &mut PgConnection, person: Id) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!("select email from users where id = $1", person.0).fetch_optional(conn).await
}

/// What is said of the content, with the address of who confirmed it in the place of their id.
pub(super) async fn named(conn: &mut PgConnection, mut meta: Map<String, Value>) -> sqlx::Result<Map<String, Value>> {
    if let Some(by) = meta.get_mut(CONFIRMED_BY)
        && let Some(id) = by.as_i64()
    {
        *by = json!(email_of(conn, Id(id)).await?);
    }
    Ok(meta)
}

/// The code and name of the unit that an event is about, by itself or by its offering.
pub(super) async fn unit_of(conn: &mut PgConnection, id: Id) -> sqlx::Result<Option<(String, String)>> {
    let unit = sqlx::query!(
        "select u.code, u.name
           from events e
           left join offerings o on o.id = e.related_offering_id
           join units u on u.id = coalesce(e.related_unit_id, o.unit_id)
          where e.id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(unit.map(|unit| (unit.code, unit.name)))
}

/// Gives up on at most 500 contents that did not come in time; what they were before. Those that somebody holds are left
/// for the next time.
pub(super) async fn expire(tx: &mut PgConnection) -> sqlx::Result<Vec<Expired>> {
    sqlx::query_as!(
        Expired,
        r#"with due as (
               select id, generation_meta, generation_timeout_at
                 from events
                where generation_status = 'pending'
                  and generation_timeout_at <= rule_now()
                  and deleted_at is null
                order by generation_timeout_at
                limit 500
                  for no key update
                 skip locked
           )
           update events e
              set generation_status = 'failed',
                  generation_meta = e.generation_meta || jsonb_build_object('error', $1::text),
                  generation_timeout_at = null,
                  updated_at = rule_now(),
                  updated_by = null
             from due
            where e.id = due.id
           returning e.id as "id: Id",
                     due.generation_meta as "meta_before",
                     e.generation_meta as "meta_after",
                     due.generation_timeout_at as "timeout_at: Moment""#,
        TIMED_OUT
    )
    .fetch_all(tx)
    .await
}

/// An event whose content did not come in time.
pub(super) struct Expired {
    pub(super) id: Id,
    pub(super) meta_before: Value,
    pub(super) meta_after: Value,
    pub(super) timeout_at: Option<Moment>,
}
