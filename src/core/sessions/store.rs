//! Every SQL statement of classes.

use chrono::NaiveDate;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::clashes::{Overlap, Place};
use super::handlers::{ClassSession, ClassSessionFields, SessionStatus, SessionType};
use crate::access::Reach;
use crate::ids::Id;

/// The columns of a class.
pub(super) const SELECT: &str = "
select s.id,
       o.unit_id as unit,
       s.offering_id as offering,
       s.session_type,
       s.date,
       s.start_time,
       s.end_time,
       s.location,
       s.instructor_id as instructor,
       s.status,
       s.series,
       s.created_at,
       s.updated_at,
       s.created_by,
       s.updated_by,
       s.deleted_at,
       s.is_deleted
from class_sessions s
join offerings o on o.id = s.offering_id";

/// Adds the condition that this reader may see the class `s`: with the reach `own` those of offerings in which they
/// hold a seat or instruct, with `own_units` those of units that they convene.
pub(super) fn push_visible(sql: &mut QueryBuilder<Postgres>, reader: Option<Id>, reach: Reach) {
    if reach.is_all() {
        return;
    }
    // An array is computed once, so that the index by offering serves.
    sql.push(" and (false");
    if reach.covers(Reach::OWN) {
        sql.push(
            " or s.offering_id = any(array(select e.offering_id
                                             from enrollments e
                                            where e.deleted_at is null
                                              and e.status <> 'WITHDRAWN'
                                              and e.student_id = ",
        );
        sql.push_bind(reader);
        sql.push(
            "
                                           union
                                           select x.offering_id
                                             from class_sessions x
                                            where x.deleted_at is null
                                              and x.instructor_id = ",
        );
        sql.push_bind(reader).push("))");
    }
    if reach.covers(Reach::OWN_UNITS) {
        sql.push(
            " or s.offering_id = any(array(select x.id
                                             from offerings x
                                            where x.convenor_id = ",
        );
        sql.push_bind(reader).push("))");
    }
    sql.push(")");
}

/// The codes of the units of offerings.
pub(super) async fn unit_codes(conn: &mut PgConnection, offerings: &[Id]) -> sqlx::Result<Vec<(Id, String)>> {
    let found = sqlx::query!(
        r#"select o.id as "offering: Id",
                  u.code
             from offerings o
             join units u on u.id = o.unit_id
            where o.id = any($1)"#,
        offerings as _
    );
    Ok(found.fetch_all(conn).await?.into_iter().map(|found| (found.offering, found.code)).collect())
}

/// Those who sit in offerings or wait for a decision on their seat, and in which of these: student and offering.
pub(super) async fn seated(conn: &mut PgConnection, offerings: &[Id]) -> sqlx::Result<Vec<(Id, Id)>> {
    let found = sqlx::query!(
        r#"select student_id as "student: Id",
                  offering_id as "offering: Id"
             from enrollments
            where offering_id = any($1)
              and status in ('PENDING', 'ENROLLED')
              and deleted_at is null
            order by student_id, offering_id"#,
        offerings as _
    );
    Ok(found.fetch_all(conn).await?.into_iter().map(|found| (found.student, found.offering)).collect())
}

/// The year of an offering.
pub(super) async fn year_of(conn: &mut PgConnection, offering: Id) -> sqlx::Result<Option<i32>> {
    sqlx::query_scalar!("select year from offerings where id = $1", offering.0).fetch_optional(conn).await
}

/// Which classes are locked to be changed together.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'a> {
    /// Those of a series, cancelled ones too.
    Series(Uuid),
    /// Those that take place on a day.
    On(NaiveDate),
    /// Those of these offerings that take place on a day.
    OnIn(NaiveDate, &'a [Id]),
    /// Those of an offering that have not begun by now, in the zone of this name, and take place.
    Coming(Id, &'a str),
}

/// Locks live classes that this reach covers, by their ids.
pub(super) async fn hold_classes(
    tx: &mut PgConnection,
    which: Which<'_>,
    reader: Option<Id>,
    reach: Reach,
) -> sqlx::Result<Vec<ClassSession>> {
    let mut sql = QueryBuilder::new(SELECT);
    sql.push(" where s.deleted_at is null");
    match which {
        Which::Series(series) => sql.push(" and s.series = ").push_bind(series),
        Which::On(day) => sql.push(" and s.status = 'scheduled' and s.date = ").push_bind(day),
        Which::OnIn(day, offerings) => {
            sql.push(" and s.status = 'scheduled' and s.date = ").push_bind(day);
            sql.push(" and s.offering_id = any(")
                .push_bind(offerings.iter().map(|id| id.0).collect::<Vec<_>>())
                .push(")")
        }
        Which::Coming(offering, zone) => {
            sql.push(" and s.status = 'scheduled' and s.offering_id = ").push_bind(offering);
            sql.push(" and s.date + s.start_time > rule_now() at time zone ").push_bind(zone.to_owned())
        }
    };
    push_visible(&mut sql, reader, reach);
    sql.push(" order by s.id for no key update of s");
    sql.build_query_as().fetch_all(tx).await
}

/// These classes, by date.
pub(super) async fn classes(conn: &mut PgConnection, ids: &[Id]) -> sqlx::Result<Vec<ClassSession>> {
    let mut sql = QueryBuilder::new(SELECT);
    sql.push(" where s.id = any(").push_bind(ids.iter().map(|id| id.0).collect::<Vec<_>>());
    sql.push(") order by s.date, s.start_time, s.id");
    sql.build_query_as().fetch_all(conn).await
}

/// Cancels classes.
pub(super) async fn cancel(tx: &mut PgConnection, author: Option<Id>, ids: &[Id]) -> sqlx::Result<()> {
    sqlx::query!(
        "update class_sessions
            set status = 'cancelled',
                updated_at = rule_now(),
                updated_by = $2
          where id = any($1)",
        ids as _,
        author as Option<Id>
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn can_instruct(conn: &mut PgConnection, user: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select
               from users
              where id = $1
                and is_active) as "can!""#,
        user.0
    )
    .fetch_one(conn)
    .await
}

/// Holds a name, however its case, its blanks and invisible signs are spelt, until the transaction ends; one has it at a time.
pub(super) async fn hold(tx: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('classes: ' || same_text($1), 0))", name)
        .execute(tx)
        .await?;
    Ok(())
}

/// Classes that take place on these days and overlap with the place in time and in room or instructor, at most 100. One
/// without an end overlaps with what its start falls into.
pub(super) async fn overlaps(
    conn: &mut PgConnection,
    place: &Place<'_>,
    days: &[NaiveDate],
    itself: Option<Id>,
) -> sqlx::Result<Vec<Overlap>> {
    sqlx::query_as!(
        Overlap,
        r#"select s.id as "id: Id",
                  s.date,
                  s.start_time,
                  s.end_time,
                  u.code as unit_code,
                  shared.room as "in_the_room!",
                  shared.instructor as "by_the_instructor!"
             from class_sessions s
             join offerings o on o.id = s.offering_id
             join units u on u.id = o.unit_id
            cross join lateral (select coalesce(s.room = room_of($4), false) as room,
                                       coalesce(s.instructor_id = $5, false) as instructor) shared
            where s.date = any($1)
              and s.status = 'scheduled'
              and s.deleted_at is null
              and (s.start_time, coalesce(s.end_time, s.start_time)) overlaps ($2::time, coalesce($3::time, $2::time))
              and (shared.room or shared.instructor)
              and s.id is distinct from $6
            order by s.date, s.start_time, s.id
            limit 100"#,
        days,
        place.start_time,
        place.end_time,
        place.location,
        place.instructor as Option<Id>,
        itself as Option<Id>
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn add(tx: &mut PgConnection, author: Id, class: &ClassSessionFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into class_sessions (offering_id, session_type, date, start_time, end_time, location, instructor_id,
                                       status, created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
           returning id as "id: Id""#,
        class.offering as Option<Id>,
        class.session_type as SessionType,
        class.date,
        class.start_time,
        class.end_time,
        class.location,
        class.instructor as Option<Id>,
        class.status as SessionStatus,
        author.0
    )
    .fetch_one(tx)
    .await
}

/// Adds the same class on each of these days; they share the series.
pub(super) async fn add_series(
    tx: &mut PgConnection,
    author: Id,
    class: &ClassSessionFields,
    days: &[NaiveDate],
    series: Uuid,
) -> sqlx::Result<Vec<ClassSession>> {
    sqlx::query!(
        "insert into class_sessions (offering_id, session_type, date, start_time, end_time, location, instructor_id,
                                     series, created_by, updated_by)
         select $1, $2, day, $4, $5, $6, $7, $8, $9, $9
           from unnest($3::date[]) day
          order by day",
        class.offering as Option<Id>,
        class.session_type as SessionType,
        days,
        class.start_time,
        class.end_time,
        class.location,
        class.instructor as Option<Id>,
        series,
        author.0
    )
    .execute(&mut *tx)
    .await?;
    let mut sql = QueryBuilder::new(SELECT);
    sql.push(" where s.series = ").push_bind(series).push(" order by s.date, s.id");
    sql.build_query_as().fetch_all(tx).await
}

pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, class: &ClassSessionFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update class_sessions
            set session_type = $2,
                date = $3,
                start_time = $4,
                end_time = $5,
                location = $6,
                instructor_id = $7,
                status = $8,
                updated_at = rule_now(),
                updated_by = $9
          where id = $1",
        id.0,
        class.session_type as SessionType,
        class.date,
        class.start_time,
        class.end_time,
        class.location,
        class.instructor as Option<Id>,
        class.status as SessionStatus,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}
