//! Every SQL statement of the overview of one's own classes.

use std::collections::HashMap;

use chrono::{NaiveDate, NaiveTime};
use serde::Serialize;
use sqlx::{PgConnection, QueryBuilder};
use utoipa::ToSchema;

use crate::academic::offerings::Offering;
use crate::http::Resource;
use crate::ids::Id;

/// The offerings of units that the person convenes, and those with a class that they instruct, the latest first: all
/// that are active or have students. At most 500.
pub(super) async fn offerings(conn: &mut PgConnection, person: Id) -> sqlx::Result<Vec<Offering>> {
    let mut sql = QueryBuilder::new(Offering::SELECT);
    sql.push(
        "
 where o.deleted_at is null
   and (o.is_active or o.current_enrollment > 0)
   and o.id = any(array(select x.id
                          from offerings x
                          join units y on y.id = x.unit_id
                         where y.convenor_id = ",
    );
    sql.push_bind(person);
    sql.push(
        "
                         union
                        select s.offering_id
                          from class_sessions s
                         where s.deleted_at is null
                           and s.instructor_id = ",
    );
    sql.push_bind(person);
    sql.push(
        "))
 order by o.year desc, o.semester, u.code, o.id
 limit 500",
    );
    sql.build_query_as().fetch_all(conn).await
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

/// How many attendance records of an offering say what.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) present: i32,
    pub(super) late: i32,
    pub(super) absent: i32,
    pub(super) excused: i32,
}

/// What was marked in classes that took place.
pub(super) async fn attendance(conn: &mut PgConnection, offerings: &[Id]) -> sqlx::Result<HashMap<Id, Records>> {
    let rows = sqlx::query!(
        r#"select s.offering_id as "offering: Id",
                  (count(*) filter (where a.status = 'present'))::int as "present!",
                  (count(*) filter (where a.status = 'late'))::int as "late!",
                  (count(*) filter (where a.status = 'absent'))::int as "absent!",
                  (count(*) filter (where a.status = 'excused'))::int as "excused!"
             from class_sessions s
             join attendance_records a on a.session_id = s.id and a.deleted_at is null
            where s.offering_id = any($1)
              and s.status = 'scheduled'
              and s.deleted_at is null
            group by s.offering_id"#,
        offerings as &[Id]
    )
    .fetch_all(conn)
    .await?;
    let records = rows.into_iter().map(|row| {
        (row.offering, Records { present: row.present, late: row.late, absent: row.absent, excused: row.excused })
    });
    Ok(records.collect())
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

/// For each offering the next class that has not begun. Dates and times are those of `zone`.
pub(super) async fn upcoming(
    conn: &mut PgConnection,
    offerings: &[Id],
    zone: &str,
) -> sqlx::Result<HashMap<Id, Upcoming>> {
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
                                   and (s.date, s.start_time) > ((rule_now() at time zone $2)::date,
                                                                 (rule_now() at time zone $2)::time)
                                 order by s.date, s.start_time, s.id
                                 limit 1) next"#,
        offerings as &[Id],
        zone
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
