//! Every SQL statement of the overview of one's own classes.

use std::collections::HashMap;

use chrono::{NaiveDate, NaiveTime};
use serde::Serialize;
use sqlx::{PgConnection, QueryBuilder};
use utoipa::ToSchema;

use crate::academic::offerings::Offering;
use crate::http::Resource;
use crate::ids::Id;

/// When an offering is, as far as its classes, its window and its results tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub(super) enum Time {
    /// Under way.
    Current,
    /// Still to begin.
    Coming,
    /// Over, or everybody in it has a result.
    Past,
}

/// An offering that somebody teaches.
#[derive(Debug)]
pub(super) struct Taught {
    pub(super) id: Id,
    pub(super) time: Time,
    /// Whether its year is past, or its last class has ended.
    pub(super) is_over: bool,
}

/// The offerings that the person convenes, and those with a class that they instruct: all that are active or have students.
/// Those under way first, then what is to come, the next first, then the past, the latest first, each by unit code; at most 500.
pub(super) async fn taught(conn: &mut PgConnection, person: Id) -> sqlx::Result<Vec<Taught>> {
    sqlx::query_as!(
        Taught,
        r#"select mine.id as "id!: Id",
                  mine.time as "time!: Time",
                  mine.is_over as "is_over!"
             from (select o.id,
                          u.code,
                          o.year,
                          o.semester,
                          v.offering_id is not null as is_over,
                          case when v.offering_id is not null or (o.current_enrollment > 0 and not sits.someone) then 'past'
                               when o.enrollment_end <= rule_now() or class.has_begun then 'current'
                               else 'coming' end as time
                     from offerings o
                     join units u on u.id = o.unit_id
                     left join offerings_over v on v.offering_id = o.id
                    cross join lateral (select exists (select
                                                         from enrollments e
                                                        where e.offering_id = o.id
                                                          and e.status in ('PENDING', 'ENROLLED')
                                                          and e.deleted_at is null) as someone) sits
                    cross join lateral (select exists (select
                                                         from class_sessions s
                                                        where s.offering_id = o.id
                                                          and s.status = 'scheduled'
                                                          and s.deleted_at is null
                                                          and s.date + s.start_time <= local_time_of(rule_now()))
                                               as has_begun) class
                    where o.deleted_at is null
                      and (o.is_active or o.current_enrollment > 0)
                      and o.id = any(array(select x.id
                                             from offerings x
                                            where x.convenor_id = $1
                                            union
                                           select s.offering_id
                                             from class_sessions s
                                            where s.deleted_at is null
                                              and s.instructor_id = $1))) mine
            order by array_position(array['current', 'coming'], mine.time) nulls last,
                     case when mine.time = 'past' then -mine.year end,
                     case when mine.time = 'past' then mine.semester end desc,
                     case when mine.time = 'coming' then mine.year end,
                     case when mine.time = 'coming' then mine.semester end,
                     mine.code,
                     mine.year desc,
                     mine.semester,
                     mine.id
            limit 500"#,
        person.0
    )
    .fetch_all(conn)
    .await
}

/// These offerings, in this order.
pub(super) async fn offerings(conn: &mut PgConnection, ids: &[Id]) -> sqlx::Result<Vec<Offering>> {
    let mut sql = QueryBuilder::new(Offering::SELECT);
    sql.push(" where o.id = any(").push_bind(ids).push(") order by array_position(").push_bind(ids).push(", o.id)");
    sql.build_query_as().fetch_all(conn).await
}

/// What these offerings are called, in this order.
pub(super) async fn names(conn: &mut PgConnection, ids: &[Id]) -> sqlx::Result<Vec<(Id, String)>> {
    let rows = sqlx::query!(
        r#"select o.id as "id: Id", u.code || ' ' || u.name || ', ' || o.semester || ' ' || o.year as "name!"
             from offerings o
             join units u on u.id = o.unit_id
            where o.id = any($1)
            order by array_position($1, o.id)"#,
        ids as &[Id]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// How many different people sit in these offerings, or wait for a seat.
pub(super) async fn people(conn: &mut PgConnection, offerings: &[Id]) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        r#"select count(distinct student_id)::int as "people!"
             from enrollments
            where offering_id = any($1)
              and status in ('PENDING', 'ENROLLED')
              and deleted_at is null"#,
        offerings as &[Id]
    )
    .fetch_one(conn)
    .await
}

/// How many enrolments of an offering are in each state.
#[derive(Debug, Default)]
pub(super) struct Seats {
    pub(super) pending: i32,
    pub(super) enrolled: i32,
    pub(super) withdrawn: i32,
    pub(super) completed: i32,
    pub(super) failed: i32,
}

pub(super) async fn seats(conn: &mut PgConnection, offerings: &[Id]) -> sqlx::Result<HashMap<Id, Seats>> {
    let rows = sqlx::query!(
        r#"select offering_id as "offering: Id",
                  (count(*) filter (where status = 'PENDING'))::int as "pending!",
                  (count(*) filter (where status = 'ENROLLED'))::int as "enrolled!",
                  (count(*) filter (where status = 'WITHDRAWN'))::int as "withdrawn!",
                  (count(*) filter (where status = 'COMPLETED'))::int as "completed!",
                  (count(*) filter (where status = 'FAILED'))::int as "failed!"
             from enrollments
            where offering_id = any($1)
              and deleted_at is null
            group by offering_id"#,
        offerings as &[Id]
    )
    .fetch_all(conn)
    .await?;
    let seats = rows.into_iter().map(|row| {
        let seats = Seats {
            pending: row.pending,
            enrolled: row.enrolled,
            withdrawn: row.withdrawn,
            completed: row.completed,
            failed: row.failed,
        };
        (row.offering, seats)
    });
    Ok(seats.collect())
}

/// The class that comes next; date and times are the university's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UpcomingSession)]
pub(super) struct Upcoming {
    date: NaiveDate,
    start_time: NaiveTime,
    end_time: Option<NaiveTime>,
    location: String,
}

/// For each offering the next class that has not begun.
pub(super) async fn upcoming(conn: &mut PgConnection, offerings: &[Id]) -> sqlx::Result<HashMap<Id, Upcoming>> {
    let rows = sqlx::query!(
        r#"select o.id as "offering!: Id",
                  next.date,
                  next.start_time,
                  next.end_time,
                  next.location
             from unnest($1::bigint[]) o (id)
            cross join lateral (select s.date, s.start_time, s.end_time, s.location
                                  from class_sessions s
                                 where s.offering_id = o.id
                                   and s.status = 'scheduled'
                                   and s.deleted_at is null
                                   and s.date + s.start_time > local_time_of(rule_now())
                                 order by s.date, s.start_time, s.id
                                 limit 1) next"#,
        offerings as &[Id]
    )
    .fetch_all(conn)
    .await?;
    let upcoming = rows.into_iter().map(|row| {
        let upcoming =
            Upcoming { date: row.date, start_time: row.start_time, end_time: row.end_time, location: row.location };
        (row.offering, upcoming)
    });
    Ok(upcoming.collect())
}
