//! Every SQL statement of events.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::handlers::EventFields;
use super::sheet::Row;
use crate::ids::Id;

/// The columns of an event.
pub(super) const SELECT: &str = "
select e.id,
       e.title,
       e.description,
       e.start,
       e.\"end\",
       e.location,
       e.visibility,
       array(select a.user_id from event_attendees a where a.event_id = e.id order by a.user_id) as attendees,
       e.target_all_students,
       array(select t.student_id from event_target_students t where t.event_id = e.id order by t.student_id)
           as target_students,
       array(select t.offering_id from event_target_offerings t where t.event_id = e.id order by t.offering_id)
           as target_offerings,
       (select coalesce(jsonb_agg(jsonb_build_object('id', i.id, 'semester', i.semester, 'year', i.year) order by i.id),
                        '[]')
          from event_target_intakes t
          join intakes i on i.id = t.intake_id
         where t.event_id = e.id) as target_intakes,
       e.related_unit_id as related_unit,
       e.related_offering_id as related_offering,
       e.generated_content,
       e.generation_status,
       case
           when jsonb_typeof(e.generation_meta -> 'confirmed_by') = 'number'
           then e.generation_meta || jsonb_build_object('confirmed_by', (select u.email
                                                                          from users u
                                                                         where u.id = (e.generation_meta ->> 'confirmed_by')::bigint))
           else e.generation_meta
       end as generation_meta,
       e.last_generated_at,
       e.created_at,
       e.updated_at,
       e.created_by,
       e.updated_by,
       e.deleted_at,
       e.is_deleted
from events e";

/// Adds ` and …` with the events that concern this person: not those of staff, and of the others those for all
/// students, for the person, for an offering or intake that they are in, of the unit or offering that they are in, and
/// public ones that are for all students or for nobody in particular, which anyone sees. Nobody in particular is `None`.
pub(crate) fn push_audience(sql: &mut QueryBuilder<Postgres>, person: Option<Id>, is_student: bool) {
    sql.push(" and e.visibility <> 'staff'");
    let Some(person) = person else {
        sql.push(" and ").push(FOR_ANYONE_BEGINS).push(HAS_TARGETS).push("))");
        return;
    };
    // Arrays are computed once: what a person is in is little, whatever there is.
    let offerings = |sql: &mut QueryBuilder<Postgres>, column: &str| {
        sql.push("array(select ").push(column);
        sql.push(" from enrollments m join offerings o on o.id = m.offering_id where m.student_id = ");
        sql.push_bind(person).push(" and m.status <> 'WITHDRAWN' and m.deleted_at is null)");
    };
    sql.push(" and (");
    if is_student {
        sql.push("e.target_all_students or ");
    }
    sql.push("exists (select from event_target_students t where t.event_id = e.id and t.student_id = ");
    sql.push_bind(person);
    sql.push(") or exists (select from event_target_offerings t where t.event_id = e.id and t.offering_id = any(");
    offerings(sql, "o.id");
    sql.push(")) or exists (select from event_target_intakes t where t.event_id = e.id and t.intake_id = any(");
    offerings(sql, "o.intake_id");
    sql.push(")) or (e.visibility = 'unit' and (e.related_offering_id = any(");
    offerings(sql, "o.id");
    sql.push(") or e.related_unit_id = any(");
    offerings(sql, "o.unit_id");
    sql.push("))) or ").push(FOR_ANYONE_BEGINS).push(HAS_TARGETS).push(")))");
}

/// What anyone may see, up to [`HAS_TARGETS`] and two brackets.
const FOR_ANYONE_BEGINS: &str = "(e.visibility = 'public' and (e.target_all_students or not ";

/// Whether the event is for somebody in particular.
const HAS_TARGETS: &str = "(exists (select from event_target_students t where t.event_id = e.id)
    or exists (select from event_target_offerings t where t.event_id = e.id)
    or exists (select from event_target_intakes t where t.event_id = e.id))";

/// Whether the event is of a unit that the person convenes.
pub(super) async fn is_of_unit_of(conn: &mut PgConnection, event: Id, person: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select
                            from events e
                            left join offerings o on o.id = e.related_offering_id
                            left join units u on u.id = e.related_unit_id
                           where e.id = $1
                             and $2 in (o.convenor_id, u.convenor_id)) as "is!""#,
        event.0,
        person.0
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn add(tx: &mut PgConnection, author: Id, event: &EventFields) -> sqlx::Result<Id> {
    let id = sqlx::query_scalar!(
        r#"insert into events (title, description, start, "end", location, visibility, target_all_students,
                               related_unit_id, related_offering_id, created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
           returning id as "id: Id""#,
        event.title,
        event.description,
        event.start as _,
        event.end as _,
        event.location,
        event.visibility,
        event.target_all_students,
        event.related_unit as _,
        event.related_offering as _,
        author.0
    )
    .fetch_one(&mut *tx)
    .await?;
    set_people(tx, id, event).await?;
    Ok(id)
}

pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, event: &EventFields) -> sqlx::Result<()> {
    sqlx::query!(
        r#"update events
              set title = $2,
                  description = $3,
                  start = $4,
                  "end" = $5,
                  location = $6,
                  visibility = $7,
                  target_all_students = $8,
                  related_unit_id = $9,
                  related_offering_id = $10,
                  updated_at = rule_now(),
                  updated_by = $11
            where id = $1"#,
        id.0,
        event.title,
        event.description,
        event.start as _,
        event.end as _,
        event.location,
        event.visibility,
        event.target_all_students,
        event.related_unit as _,
        event.related_offering as _,
        author.0
    )
    .execute(&mut *tx)
    .await?;
    set_people(tx, id, event).await
}

/// Brings attendees and targets to what the event says; what is so already is not written.
async fn set_people(tx: &mut PgConnection, id: Id, event: &EventFields) -> sqlx::Result<()> {
    let ids = |of: &[Id]| of.iter().map(|id| id.0).collect::<Vec<i64>>();
    sqlx::query!(
        "with a as (
            delete from event_attendees where event_id = $1 and user_id <> all($2)
         ),
         s as (
            delete from event_target_students where event_id = $1 and student_id <> all($3)
         ),
         o as (
            delete from event_target_offerings where event_id = $1 and offering_id <> all($4)
         ),
         i as (
            delete from event_target_intakes where event_id = $1 and intake_id <> all($5)
         ),
         more_a as (
            insert into event_attendees (event_id, user_id)
            select distinct $1::bigint, id from unnest($2::bigint[]) id
                on conflict do nothing
         ),
         more_s as (
            insert into event_target_students (event_id, student_id)
            select distinct $1::bigint, id from unnest($3::bigint[]) id
                on conflict do nothing
         ),
         more_o as (
            insert into event_target_offerings (event_id, offering_id)
            select distinct $1::bigint, id from unnest($4::bigint[]) id
                on conflict do nothing
         )
         insert into event_target_intakes (event_id, intake_id)
         select distinct $1::bigint, id from unnest($5::bigint[]) id
             on conflict do nothing",
        id.0,
        &ids(&event.attendees),
        &ids(&event.target_students),
        &ids(&event.target_offerings),
        &ids(&event.target_intakes)
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Those of the ids that are in none of these live rows, each list apart.
pub(super) async fn unknown(tx: &mut PgConnection, event: &EventFields) -> sqlx::Result<Unknown> {
    let ids = |of: &[Id]| of.iter().map(|id| id.0).collect::<Vec<i64>>();
    sqlx::query_as!(
        Unknown,
        r#"select array(select named from unnest($1::bigint[]) named
                         where not exists (select from users u where u.id = named)) as "attendees!",
                  array(select named from unnest($2::bigint[]) named
                         where not exists (select from users u where u.id = named and u.user_type = 'student'))
                      as "target_students!",
                  array(select named from unnest($3::bigint[]) named
                         where not exists (select from offerings o where o.id = named and o.deleted_at is null))
                      as "target_offerings!",
                  array(select named from unnest($4::bigint[]) named
                         where not exists (select from intakes i where i.id = named and i.deleted_at is null))
                      as "target_intakes!""#,
        &ids(&event.attendees),
        &ids(&event.target_students),
        &ids(&event.target_offerings),
        &ids(&event.target_intakes)
    )
    .fetch_one(tx)
    .await
}

/// Ids that name nothing.
pub(super) struct Unknown {
    pub(super) attendees: Vec<i64>,
    pub(super) target_students: Vec<i64>,
    pub(super) target_offerings: Vec<i64>,
    pub(super) target_intakes: Vec<i64>,
}

/// Puts the event aside for this person, or takes it up again; whether that changed anything.
pub(super) async fn dismiss(tx: &mut PgConnection, event: Id, person: Id, dismissed: bool) -> sqlx::Result<bool> {
    let done = if dismissed {
        sqlx::query!(
            "insert into event_dismissals (event_id, user_id) values ($1, $2) on conflict do nothing",
            event.0,
            person.0
        )
        .execute(tx)
        .await?
    } else {
        sqlx::query!("delete from event_dismissals where event_id = $1 and user_id = $2", event.0, person.0)
            .execute(tx)
            .await?
    };
    Ok(done.rows_affected() > 0)
}

/// Puts the person on the list of attendees, or takes them off it; whether that changed anything.
pub(super) async fn attend(tx: &mut PgConnection, event: Id, person: Id, attends: bool) -> sqlx::Result<bool> {
    let done = if attends {
        sqlx::query!(
            "insert into event_attendees (event_id, user_id) values ($1, $2) on conflict do nothing",
            event.0,
            person.0
        )
        .execute(tx)
        .await?
    } else {
        sqlx::query!("delete from event_attendees where event_id = $1 and user_id = $2", event.0, person.0)
            .execute(tx)
            .await?
    };
    Ok(done.rows_affected() > 0)
}

/// Creates events of rows; their ids are in the rows' order. They count as created in the order of their starts, a
/// microsecond apart: whoever shows the latest first does not begin with what is long over.
pub(super) async fn add_rows(tx: &mut PgConnection, author: Option<Id>, rows: &[&Row]) -> sqlx::Result<Vec<Id>> {
    let titles: Vec<&str> = rows.iter().map(|row| row.title.as_str()).collect();
    let descriptions: Vec<&str> = rows.iter().map(|row| row.description.as_str()).collect();
    let starts: Vec<DateTime<Utc>> = rows.iter().map(|row| row.start.0).collect();
    let ends: Vec<Option<DateTime<Utc>>> = rows.iter().map(|row| row.end.map(|end| end.0)).collect();
    let locations: Vec<&str> = rows.iter().map(|row| row.location.as_str()).collect();
    let visibilities: Vec<&str> = rows.iter().map(|row| row.visibility.as_str()).collect();
    let all: Vec<bool> = rows.iter().map(|row| row.target_all_students).collect();
    let units: Vec<Option<i64>> = rows.iter().map(|row| row.related_unit.map(|unit| unit.0)).collect();
    let meta: Vec<Value> = rows.iter().map(|row| row.generation_meta.clone()).collect();
    let mut ids = sqlx::query_scalar!(
        r#"insert into events (title, description, start, "end", location, visibility, target_all_students,
                               related_unit_id, generation_meta, created_by, updated_by, created_at)
           select title, description, start, "end", location, visibility, target_all, unit_id, meta, $10, $10,
                  rule_now() - (row_number() over (order by start desc, nth desc) - 1) * interval '1 microsecond'
             from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[],
                         $7::boolean[], $8::bigint[], $9::jsonb[])
                  with ordinality as r (title, description, start, "end", location, visibility, target_all, unit_id,
                                        meta, nth)
            order by nth
           returning id as "id: Id""#,
        titles as _,
        descriptions as _,
        &starts,
        ends as _,
        locations as _,
        visibilities as _,
        &all,
        units as _,
        &meta,
        author.map(|id| id.0)
    )
    .fetch_all(tx)
    .await?;
    // Ids are given in the order of insertion.
    ids.sort_unstable();
    Ok(ids)
}

/// Those of the units that there are not.
pub(super) async fn unknown_units(tx: &mut PgConnection, units: &[Id]) -> sqlx::Result<Vec<Id>> {
    sqlx::query_scalar!(
        r#"select distinct named as "id!: Id"
             from unnest($1::bigint[]) named
            where not exists (select from units u where u.id = named and u.deleted_at is null)"#,
        units as _
    )
    .fetch_all(tx)
    .await
}

/// The rows whose title and start no live event has, and of those that are alike the first.
pub(super) async fn without_known<'a>(tx: &mut PgConnection, rows: &[&'a Row]) -> sqlx::Result<Vec<&'a Row>> {
    let titles: Vec<&str> = rows.iter().map(|row| row.title.as_str()).collect();
    let starts: Vec<DateTime<Utc>> = rows.iter().map(|row| row.start.0).collect();
    let new = sqlx::query_scalar!(
        r#"select min(nth) as "nth!"
             from unnest($1::text[], $2::timestamptz[]) with ordinality as r (title, start, nth)
            where not exists (select
                                from events e
                               where e.title = r.title
                                 and e.start = r.start
                                 and e.deleted_at is null)
            group by title, start
            order by min(nth)"#,
        titles as _,
        &starts
    )
    .fetch_all(tx)
    .await?;
    let at = |nth: i64| usize::try_from(nth - 1).ok().and_then(|place| rows.get(place)).copied();
    Ok(new.into_iter().filter_map(at).collect())
}

/// An event that is locked.
pub(super) struct Held {
    pub(super) id: Id,
    pub(super) visibility: String,
    pub(super) generation_status: String,
    /// Whether it belongs to a unit or an offering, or is for somebody.
    pub(super) has_audience: bool,
    /// Whether it is of a unit of the person who was named; also when nobody was.
    pub(super) is_own: bool,
}

/// Locks these live events.
pub(super) async fn hold(tx: &mut PgConnection, ids: &[Id], convenor: Option<Id>) -> sqlx::Result<Vec<Held>> {
    sqlx::query_as!(
        Held,
        r#"select e.id as "id: Id",
                  e.visibility,
                  e.generation_status,
                  e.target_all_students
                      or e.related_unit_id is not null
                      or e.related_offering_id is not null
                      or exists (select from event_target_students t where t.event_id = e.id)
                      or exists (select from event_target_offerings t where t.event_id = e.id)
                      or exists (select from event_target_intakes t where t.event_id = e.id) as "has_audience!",
                  $2::bigint is null
                      or exists (select from units u where u.id = e.related_unit_id and u.convenor_id = $2)
                      or exists (select from offerings o where o.id = e.related_offering_id and o.convenor_id = $2)
                      as "is_own!"
             from events e
            where e.id = any($1)
              and e.deleted_at is null
            order by e.id
              for no key update of e"#,
        ids as _,
        convenor as _
    )
    .fetch_all(tx)
    .await
}

/// Sets whom events are shown to, and how far their content is when that is said.
pub(super) async fn publish(
    tx: &mut PgConnection,
    author: Id,
    ids: &[Id],
    visibility: &str,
    generation_status: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update events
            set visibility = $2,
                generation_status = coalesce($3, generation_status),
                generation_timeout_at = case
                    when coalesce($3, generation_status) = 'pending'
                    then coalesce(generation_timeout_at, rule_now() + interval '30 minutes')
                end,
                updated_at = rule_now(),
                updated_by = $4
          where id = any($1)",
        ids as _,
        visibility,
        generation_status,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}
