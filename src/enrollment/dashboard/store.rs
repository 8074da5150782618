//! Every SQL statement of the dashboard.

use std::collections::HashMap;

use chrono::{NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{PgConnection, QueryBuilder};
use utoipa::ToSchema;

use crate::academic::semester::Semester;
use crate::enrollment::enrollments::Enrollment;
use crate::http::Resource;
use crate::ids::Id;

/// The most cards that are shown.
pub(super) const MOST_CARDS: usize = 500;

/// The caller's enrolments, newest first.
pub(super) async fn enrollments(conn: &mut PgConnection, student: Id) -> sqlx::Result<Vec<Enrollment>> {
    let mut sql = QueryBuilder::new(Enrollment::SELECT);
    sql.push(" where e.student_id = ").push_bind(student);
    sql.push(" and e.deleted_at is null order by e.created_at desc, e.id desc");
    sql.build_query_as().fetch_all(conn).await
}

/// For whom offerings are looked up.
#[derive(Debug)]
pub(super) struct Student<'a> {
    pub(super) id: Id,
    /// Whether they can enrol at all; else nothing is available.
    pub(super) is_student: bool,
    /// Whether one more of their requests may wait for a decision.
    pub(super) may_wait: bool,
    /// The course on the profile.
    pub(super) course: Option<Id>,
    /// Where they have been enrolled.
    pub(super) enrollments: &'a [Enrollment],
}

/// An offering as the caller stands to it.
#[derive(Debug)]
pub(super) struct CardRow {
    pub(super) id: Id,
    pub(super) year: i32,
    pub(super) semester: Semester,
    pub(super) notes: String,
    pub(super) unit: Id,
    pub(super) code: String,
    pub(super) name: String,
    pub(super) credit_points: f64,
    pub(super) convenor: Option<Id>,
    /// For the caller's course.
    pub(super) is_elective: Option<bool>,
    /// Prerequisites that the caller has not completed.
    pub(super) missing: Json<Vec<Missing>>,
    pub(super) has_room: bool,
    /// The units that exclude this one and that the caller sits in or has completed.
    pub(super) excluded_by: Option<String>,
    /// Whether one more of the caller's requests may wait for a decision, if this would have to.
    pub(super) may_ask: bool,
    /// Whether students like the caller can enrol in it now.
    pub(super) is_available: bool,
    /// In how many different units the caller can enrol now; the same in all rows.
    pub(super) units_to_take: i64,
}

/// A unit that must be completed first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = MissingPrerequisite)]
pub(super) struct Missing {
    code: String,
    name: String,
}

/// The offerings that the student has been enrolled in, and those that are available, by unit code.
#[expect(clippy::too_many_lines, reason = "one statement, whatever the database holds")]
pub(super) async fn offerings(conn: &mut PgConnection, student: &Student<'_>) -> sqlx::Result<Vec<CardRow>> {
    let seats: Vec<i64> = student.enrollments.iter().map(|enrollment| enrollment.offering.id.0).collect();
    let statuses: Vec<&str> = student.enrollments.iter().map(|enrollment| enrollment.status.name()).collect();
    sqlx::query_as!(
        CardRow,
        r#"with own as materialized (
               select seat.offering_id, seat.status, o.unit_id
                 from unnest($1::bigint[], $2::text[]) seat (offering_id, status)
                 join offerings o on o.id = seat.offering_id
           ),
           taken as materialized (
               select own.unit_id
                 from own
                where own.status in ('PENDING', 'ENROLLED', 'COMPLETED')
           ),
           -- The units that the course allows.
           place as materialized (
               select cu.unit_id, bool_and(cu.course_id <> $3 or cu.is_elective) as is_elective
                 from course_units cu
                where cu.deleted_at is null
                  and (cu.course_id = $3 or cu.is_elective)
                group by cu.unit_id
           ),
           available as materialized (
               select o.id,
                      o.unit_id,
                      row_number() over (order by u.code, o.year, o.semester, o.id) as nth
                 from offerings o
                 join units u on u.id = o.unit_id
                where $4
                  and not exists (select
                                    from student_profiles sp
                                   where sp.user_id = $6
                                     and sp.deleted_at is null
                                     and sp.academic_status in ('suspended', 'graduated'))
                  and o.is_active
                  and u.is_active
                  and o.deleted_at is null
                  and not exists (select from offerings_over v where v.offering_id = o.id)
                  and o.enrollment_start <= rule_now()
                  and o.enrollment_end > rule_now()
                  and o.unit_id not in (select unit_id from taken)
                  and o.id not in (select own.offering_id from own where own.status <> 'WITHDRAWN')
                  and ($3 is null or o.unit_id in (select place.unit_id from place))
           ),
           card as materialized (
               select own.offering_id, own.unit_id
                 from own
                union
               select available.id, available.unit_id
                 from available
           ),
           missing as (
               select card.offering_id,
                      jsonb_agg(jsonb_build_object('code', u.code, 'name', u.name) order by u.code, u.id) as units
                 from card
                 join unit_prerequisites p on p.unit_id = card.unit_id
                 join units u on u.id = p.prerequisite_id
                where p.prerequisite_id not in (select own.unit_id from own where own.status = 'COMPLETED')
                group by card.offering_id
           ),
           excluded as (
               select x.upper_unit_id as unit_id, taken.unit_id as by_unit_id
                 from taken
                 join unit_anti_requisites x on x.lower_unit_id = taken.unit_id
                union all
               select x.lower_unit_id, taken.unit_id
                 from taken
                 join unit_anti_requisites x on x.upper_unit_id = taken.unit_id
           ),
           judged as materialized (
               select o.id,
                      o.unit_id,
                      available.nth,
                      missing.units as missing,
                      o.capacity = 0 or o.current_enrollment < o.capacity as has_room,
                      (select string_agg(distinct e.code, ', ')
                         from excluded x
                         join units e on e.id = x.by_unit_id
                        where x.unit_id = o.unit_id) as excluded_by,
                      not o.requires_approval or $7 as may_ask
                 from card
                 join offerings o on o.id = card.offering_id
                 left join missing on missing.offering_id = o.id
                 left join available on available.id = o.id
           )
           select o.id as "id: Id",
                  o.year,
                  o.semester as "semester: Semester",
                  o.notes,
                  u.id as "unit: Id",
                  u.code,
                  u.name,
                  u.credit_points::float8 as "credit_points!",
                  o.convenor_id as "convenor: Id",
                  place.is_elective as "is_elective?",
                  coalesce(judged.missing, '[]') as "missing!: Json<Vec<Missing>>",
                  judged.has_room as "has_room!",
                  judged.excluded_by,
                  judged.may_ask as "may_ask!",
                  judged.nth is not null as "is_available!",
                  (select count(distinct j.unit_id)
                     from judged j
                    where j.nth is not null
                      and j.missing is null
                      and j.has_room
                      and j.excluded_by is null
                      and j.may_ask) as "units_to_take!"
             from judged
             join offerings o on o.id = judged.id
             join units u on u.id = judged.unit_id
             left join place on place.unit_id = u.id and $3 is not null
            where judged.nth <= $5
               or judged.id in (select own.offering_id from own)
            order by u.code, o.year, o.semester, o.id"#,
        &seats,
        statuses as _,
        student.course as Option<Id>,
        student.is_student,
        i64::try_from(MOST_CARDS).unwrap_or(i64::MAX),
        student.id.0,
        student.may_wait
    )
    .fetch_all(conn)
    .await
}

/// The classes of an offering at one time of the week with one instructor.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) offering: Id,
    pub(super) first_date: NaiveDate,
    pub(super) start_time: NaiveTime,
    pub(super) end_time: Option<NaiveTime>,
    pub(super) instructor: Option<Id>,
    pub(super) sessions: i32,
    /// Those that have not begun.
    pub(super) to_come: i32,
}

/// The classes of these offerings that take place, by weekday and time.
pub(super) async fn classes(conn: &mut PgConnection, offerings: &[Id]) -> sqlx::Result<HashMap<Id, Vec<Slot>>> {
    let rows = sqlx::query_as!(
        Slot,
        r#"select s.offering_id as "offering: Id",
                  min(s.date) as "first_date!",
                  s.start_time,
                  s.end_time,
                  s.instructor_id as "instructor: Id",
                  count(*)::int as "sessions!",
                  (count(*) filter (where s.date + s.start_time > local_time_of(rule_now())))::int as "to_come!"
             from class_sessions s
            where s.offering_id = any($1)
              and s.status = 'scheduled'
              and s.deleted_at is null
            group by s.offering_id, date_part('isodow', s.date), s.start_time, s.end_time, s.instructor_id
            order by s.offering_id, date_part('isodow', s.date), s.start_time, s.end_time, s.instructor_id"#,
        offerings as &[Id]
    )
    .fetch_all(conn)
    .await?;
    let mut classes: HashMap<Id, Vec<Slot>> = HashMap::new();
    for row in rows {
        classes.entry(row.offering).or_default().push(row);
    }
    Ok(classes)
}

/// Who teaches.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CardInstructor)]
pub(super) struct Instructor {
    id: Id,
    email: String,
    /// First and last name.
    name: String,
    position: String,
}

pub(super) async fn instructors(conn: &mut PgConnection, ids: &[Id]) -> sqlx::Result<HashMap<Id, Instructor>> {
    let rows = sqlx::query_as!(
        Instructor,
        r#"select id as "id: Id",
                  email,
                  trim(first_name || ' ' || last_name) as "name!",
                  position
             from users
            where id = any($1)"#,
        ids as &[Id]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|person| (person.id, person)).collect())
}
