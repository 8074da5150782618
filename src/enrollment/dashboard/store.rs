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
    /// Whether they can enrol at all; else nothing is available.
    pub(super) is_student: bool,
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
    /// Whether the caller sits in or has completed a unit that excludes this one.
    pub(super) is_excluded: bool,
    pub(super) requires_approval: bool,
    /// How many offerings are available, if this is one of them.
    pub(super) available: Option<i64>,
}

/// A unit that must be completed first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = MissingPrerequisite)]
pub(super) struct Missing {
    code: String,
    name: String,
}

/// The offerings that the student has been enrolled in, and those that are available, by unit code.
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
                      row_number() over (order by u.code, o.year, o.semester, o.id) as nth,
                      count(*) over () as of_them
                 from offerings o
                 join units u on u.id = o.unit_id
                where $4
                  and o.is_active
                  and o.deleted_at is null
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
                where available.nth <= $5
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
               select x.upper_unit_id as unit_id
                 from taken
                 join unit_anti_requisites x on x.lower_unit_id = taken.unit_id
                union all
               select x.lower_unit_id
                 from taken
                 join unit_anti_requisites x on x.upper_unit_id = taken.unit_id
           )
           select o.id as "id: Id",
                  o.year,
                  o.semester as "semester: Semester",
                  o.notes,
                  u.id as "unit: Id",
                  u.code,
                  u.name,
                  u.credit_points::float8 as "credit_points!",
                  u.convenor_id as "convenor: Id",
                  place.is_elective as "is_elective?",
                  coalesce(missing.units, '[]') as "missing!: Json<Vec<Missing>>",
                  o.capacity = 0 or o.current_enrollment < o.capacity as "has_room!",
                  u.id in (select excluded.unit_id from excluded) as "is_excluded!",
                  o.requires_approval,
                  available.of_them as "available?"
             from card
             join offerings o on o.id = card.offering_id
             join units u on u.id = o.unit_id
             left join place on place.unit_id = u.id and $3 is not null
             left join missing on missing.offering_id = o.id
             left join available on available.id = o.id
            order by u.code, o.year, o.semester, o.id"#,
        &seats,
        statuses as _,
        student.course as Option<Id>,
        student.is_student,
        i64::try_from(MOST_CARDS).unwrap_or(i64::MAX)
    )
    .fetch_all(conn)
    .await
}

/// The classes of an offering at one time of the week with one instructor, and how the student attended them.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) offering: Id,
    pub(super) first_date: NaiveDate,
    pub(super) start_time: NaiveTime,
    pub(super) end_time: Option<NaiveTime>,
    pub(super) instructor: Option<Id>,
    pub(super) sessions: i32,
    /// Those that have begun; only of these is attendance counted.
    pub(super) held: i32,
    pub(super) present: i32,
    pub(super) late: i32,
    pub(super) absent: i32,
    pub(super) excused: i32,
}

/// The classes of these offerings that take place, by weekday and time. Dates and times are those of `zone`.
pub(super) async fn classes(
    conn: &mut PgConnection,
    offerings: &[Id],
    student: Id,
    zone: &str,
) -> sqlx::Result<HashMap<Id, Vec<Slot>>> {
    let rows = sqlx::query_as!(
        Slot,
        r#"select class.offering_id as "offering: Id",
                  min(class.date) as "first_date!",
                  class.start_time,
                  class.end_time,
                  class.instructor_id as "instructor: Id",
                  count(*)::int as "sessions!",
                  (count(*) filter (where class.is_held))::int as "held!",
                  (count(*) filter (where a.status = 'present'))::int as "present!",
                  (count(*) filter (where a.status = 'late'))::int as "late!",
                  (count(*) filter (where a.status = 'absent'))::int as "absent!",
                  (count(*) filter (where a.status = 'excused'))::int as "excused!"
             from (select s.id,
                          s.offering_id,
                          s.date,
                          date_part('isodow', s.date) as weekday,
                          s.start_time,
                          s.end_time,
                          s.instructor_id,
                          s.date + s.start_time <= (select rule_now() at time zone $3) as is_held
                     from class_sessions s
                    where s.offering_id = any($1)
                      and s.status = 'scheduled'
                      and s.deleted_at is null) class
             left join attendance_records a on a.session_id = class.id
                                           and a.student_id = $2
                                           and a.deleted_at is null
                                           and class.is_held
            group by class.offering_id, class.weekday, class.start_time, class.end_time, class.instructor_id
            order by class.offering_id, class.weekday, class.start_time, class.end_time, class.instructor_id"#,
        offerings as &[Id],
        student.0,
        zone
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
