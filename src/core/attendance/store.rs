//! Every SQL statement of attendance.

use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::handlers::{AttendanceFields, AttendanceStatus};
use super::summary::{Attended, Attendee};
use crate::academic::semester::Semester;
use crate::access::Reach;
use crate::ids::{Id, Moment};
use crate::users::accounts::user_brief;
use crate::users::guardians;

/// The columns of a record.
pub(super) const SELECT: &str = "
select a.id,
       a.session_id as session,
       a.student_id as student,
       a.status,
       a.marked_by_id as marked_by,
       a.notes,
       a.created_at,
       a.updated_at,
       a.created_by,
       a.updated_by,
       a.deleted_at,
       a.is_deleted
from attendance_records a
join class_sessions s on s.id = a.session_id
join offerings o on o.id = s.offering_id";

/// Adds the condition that this reader may see the record `a`: with the reach `own` those of themselves and of classes
/// that they instruct, with `own_units` those of units that they convene, with `children` those that a child lets
/// them see.
pub(super) fn push_visible(sql: &mut QueryBuilder<Postgres>, reader: Option<Id>, reach: Reach) {
    if reach.is_all() {
        return;
    }
    // All ways end in a column of `a`, and an array is computed once, so that its indexes serve.
    sql.push(" and (false");
    if reach.covers(Reach::OWN) {
        sql.push(" or a.student_id = ").push_bind(reader);
        sql.push(
            " or a.session_id = any(array(select x.id
                                            from class_sessions x
                                           where x.deleted_at is null
                                             and x.instructor_id = ",
        );
        sql.push_bind(reader).push("))");
    }
    if reach.covers(Reach::OWN_UNITS) {
        sql.push(
            " or a.session_id = any(array(select x.id
                                            from class_sessions x
                                            join offerings y on y.id = x.offering_id
                                           where y.convenor_id = ",
        );
        sql.push_bind(reader).push("))");
    }
    if reach.covers(Reach::CHILDREN) {
        sql.push(" or ");
        guardians::push_granted(sql, reader, "a.student_id", "attendance");
    }
    sql.push(")");
}

/// What somebody is to a class.
pub(super) struct Teaching {
    pub(super) instructs: bool,
    pub(super) convenes: bool,
}

/// What this user is to a live class; none when there is no such class.
pub(super) async fn teaching(tx: &mut PgConnection, session: Id, user: Id) -> sqlx::Result<Option<Teaching>> {
    sqlx::query_as!(
        Teaching,
        r#"select s.instructor_id is not distinct from $2 as "instructs!",
                  o.convenor_id is not distinct from $2 as "convenes!"
             from class_sessions s
             join offerings o on o.id = s.offering_id
            where s.id = $1
              and s.deleted_at is null"#,
        session.0,
        user.0
    )
    .fetch_optional(tx)
    .await
}

pub(super) async fn is_deleted(tx: &mut PgConnection, id: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select is_deleted as "is_deleted!" from attendance_records where id = $1"#, id.0)
        .fetch_one(tx)
        .await
}

/// What decides whether a student can be marked in a class.
pub(super) struct Standing {
    pub(super) is_cancelled: bool,
    /// The local day and time, while it has not begun.
    pub(super) begins_later: Option<String>,
    pub(super) is_in_the_class: bool,
}

pub(super) async fn standing(tx: &mut PgConnection, session: Id, student: Id) -> sqlx::Result<Option<Standing>> {
    sqlx::query_as!(
        Standing,
        r#"select s.status = 'cancelled' as "is_cancelled!",
                  case when s.date + s.start_time > local_time_of(rule_now())
                       then to_char(s.date + s.start_time, 'YYYY-MM-DD "at" HH24:MI') end as begins_later,
                  exists (select
                            from enrollments e
                           where e.offering_id = s.offering_id
                             and e.student_id = $2
                             and e.status in ('ENROLLED', 'COMPLETED', 'FAILED')
                             and e.deleted_at is null) as "is_in_the_class!"
             from class_sessions s
            where s.id = $1"#,
        session.0,
        student.0
    )
    .fetch_optional(tx)
    .await
}

pub(super) async fn add(tx: &mut PgConnection, author: Id, record: &AttendanceFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into attendance_records (session_id, student_id, status, notes, marked_by_id, created_by, updated_by)
           values ($1, $2, $3, $4, $5, $5, $5)
           returning id as "id: Id""#,
        record.session as Option<Id>,
        record.student as Option<Id>,
        record.status as Option<AttendanceStatus>,
        record.notes,
        author.0
    )
    .fetch_one(tx)
    .await
}

/// Writes status and notes, and returns the status before.
pub(super) async fn replace(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    record: &AttendanceFields,
) -> sqlx::Result<AttendanceStatus> {
    sqlx::query_scalar!(
        r#"update attendance_records a
              set status = $2,
                  notes = $3,
                  marked_by_id = $4,
                  updated_at = rule_now(),
                  updated_by = $4
             from (select id, status
                     from attendance_records
                    where id = $1) before
            where a.id = before.id
           returning before.status as "before: AttendanceStatus""#,
        id.0,
        record.status as Option<AttendanceStatus>,
        record.notes,
        author.0
    )
    .fetch_one(tx)
    .await
}

/// Tells the workflows that listen for it who was present; where none listens, that is written too.
pub(super) async fn announce(tx: &mut PgConnection, records: &[Id]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into webhook_outbox (trigger_event, workflow_id, object_key, payload, state)
         select 'attendance.marked',
                f.id,
                'attendance:' || a.id,
                jsonb_build_object('student_id', a.student_id, 'student_email', p.email,
                                   'student_name', trim(p.first_name || ' ' || p.last_name),
                                   'attendance_status', a.status, 'session_id', s.id, 'offering_id', s.offering_id,
                                   'unit_code', u.code, 'unit_name', u.name, 'event_date', s.date),
                case when f.id is null then 'skipped' else 'pending' end
           from attendance_records a
           join users p on p.id = a.student_id
           join class_sessions s on s.id = a.session_id
           join offerings o on o.id = s.offering_id
           join units u on u.id = o.unit_id
           left join workflows f
                  on f.trigger_event = 'attendance.marked'
                 and f.is_active
                 and f.deleted_at is null
          where a.id = any($1)
          order by a.id, f.id",
        records as &[Id]
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A class that is locked: nobody is marked in it for the first time meanwhile.
pub(super) struct HeldClass {
    pub(super) offering: Id,
    pub(super) is_cancelled: bool,
    /// The local day and time, while it has not begun.
    pub(super) begins_later: Option<String>,
}

/// Locks a live class.
pub(super) async fn hold_class(tx: &mut PgConnection, session: Id) -> sqlx::Result<Option<HeldClass>> {
    sqlx::query_as!(
        HeldClass,
        r#"select offering_id as "offering: Id",
                  case when date + start_time > local_time_of(rule_now())
                       then to_char(date + start_time, 'YYYY-MM-DD "at" HH24:MI') end as begins_later,
                  status = 'cancelled' as "is_cancelled!"
             from class_sessions
            where id = $1
              and deleted_at is null
              for no key update"#,
        session.0
    )
    .fetch_optional(tx)
    .await
}

/// The students who can be marked in the classes of an offering.
pub(super) async fn class_of(tx: &mut PgConnection, offering: Id) -> sqlx::Result<Vec<Id>> {
    sqlx::query_scalar!(
        r#"select student_id as "student: Id"
             from enrollments
            where offering_id = $1
              and status in ('ENROLLED', 'COMPLETED', 'FAILED')
              and deleted_at is null
            order by student_id"#,
        offering.0
    )
    .fetch_all(tx)
    .await
}

/// A record that is locked.
pub(super) struct HeldRecord {
    pub(super) id: Id,
    pub(super) student: Id,
    pub(super) status: AttendanceStatus,
    pub(super) notes: String,
}

/// Locks all live records of a class.
pub(super) async fn hold_records(tx: &mut PgConnection, session: Id) -> sqlx::Result<Vec<HeldRecord>> {
    sqlx::query_as!(
        HeldRecord,
        r#"select id as "id: Id",
                  student_id as "student: Id",
                  status as "status: AttendanceStatus",
                  notes
             from attendance_records
            where session_id = $1
              and deleted_at is null
            order by id
              for no key update"#,
        session.0
    )
    .fetch_all(tx)
    .await
}

/// What a student's record becomes.
pub(super) struct Marked {
    pub(super) student: Id,
    pub(super) status: AttendanceStatus,
    pub(super) notes: String,
}

/// Writes records of a class that is locked, as are its records; returns which became whose.
pub(super) async fn put(
    tx: &mut PgConnection,
    author: Id,
    session: Id,
    marks: &[&Marked],
) -> sqlx::Result<Vec<(Id, Id)>> {
    let students: Vec<i64> = marks.iter().map(|mark| mark.student.0).collect();
    let statuses: Vec<&str> = marks.iter().map(|mark| mark.status.name()).collect();
    let notes: Vec<&str> = marks.iter().map(|mark| mark.notes.as_str()).collect();
    let rows = sqlx::query!(
        r#"insert into attendance_records (session_id, student_id, status, notes, marked_by_id, created_by, updated_by)
           select $1, mark.student, mark.status, mark.notes, $5, $5, $5
             from unnest($2::bigint[], $3::text[], $4::text[]) mark (student, status, notes)
            order by mark.student
               on conflict (session_id, student_id) where deleted_at is null do update
              set status = excluded.status,
                  notes = excluded.notes,
                  marked_by_id = excluded.marked_by_id,
                  updated_at = rule_now(),
                  updated_by = excluded.updated_by
           returning id as "id: Id",
                     student_id as "student: Id""#,
        session.0,
        &students,
        statuses as _,
        notes as _,
        author.0
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.student, row.id)).collect())
}

/// Whether this is a student whom the viewer may see as a whole: by the grant that the student has given.
pub(super) async fn has_granted(conn: &mut PgConnection, guardian: Option<Id>, student: Id) -> sqlx::Result<bool> {
    let mut sql = QueryBuilder::<Postgres>::new("select exists (select from users p where p.id = ");
    sql.push_bind(student).push(" and ");
    guardians::push_granted(&mut sql, guardian, "p.id", "attendance");
    sql.push(")").build_query_scalar().fetch_one(conn).await
}

pub(super) async fn is_student(conn: &mut PgConnection, user: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select
               from users
              where id = $1
                and user_type = 'student') as "is!""#,
        user.0
    )
    .fetch_one(conn)
    .await
}

/// The offerings that a student sits or sat in, the latest first; of this convenor alone, if one is named.
pub(super) async fn attended(
    conn: &mut PgConnection,
    student: Id,
    convenor: Option<Id>,
) -> sqlx::Result<Vec<Attended>> {
    sqlx::query_as!(
        Attended,
        r#"select o.id as "offering: Id",
                  u.id as "unit: Id",
                  u.code as unit_code,
                  u.name as unit_name,
                  o.year,
                  o.semester as "semester: Semester",
                  e.enrolled_at as "since: Moment"
             from enrollments e
             join offerings o on o.id = e.offering_id
             join units u on u.id = o.unit_id
            where e.student_id = $1
              and e.status in ('ENROLLED', 'COMPLETED', 'FAILED')
              and e.deleted_at is null
              and ($2::bigint is null or o.convenor_id = $2)
            order by o.year desc, o.semester, u.code, o.id"#,
        student.0,
        convenor as Option<Id>
    )
    .fetch_all(conn)
    .await
}

/// Whether this user convenes the offering, or instructs one of its classes; none when there is no such offering.
pub(super) async fn teaches(conn: &mut PgConnection, offering: Id, user: Id) -> sqlx::Result<Option<Teaching>> {
    sqlx::query_as!(
        Teaching,
        r#"select o.convenor_id is not distinct from $2 as "convenes!",
                  exists (select
                            from class_sessions s
                           where s.offering_id = o.id
                             and s.instructor_id = $2
                             and s.deleted_at is null) as "instructs!"
             from offerings o
            where o.id = $1
              and o.deleted_at is null"#,
        offering.0,
        user.0
    )
    .fetch_optional(conn)
    .await
}

/// How each who holds a granted seat in the offering attended, the lowest rate first; below a rate alone, if one is named.
pub(super) async fn class(
    conn: &mut PgConnection,
    offering: Id,
    below: Option<f64>,
    most: i64,
) -> sqlx::Result<Vec<Attendee>> {
    let mut sql = QueryBuilder::<Postgres>::new(concat!(
        "select ",
        user_brief!("s", "f"),
        " as student,
       coalesce(sp.student_id, '') as student_number,
       e.enrolled_at as since,
       counted.*
  from enrollments e
  join users s on s.id = e.student_id
  left join stored_files f on f.id = s.profile_image_id and f.deleted_at is null
  left join student_profiles sp on sp.user_id = e.student_id and sp.deleted_at is null
 cross join lateral (select count(*)::int as held,
                            (count(*) filter (where c.status = 'present'))::int as present,
                            (count(*) filter (where c.status = 'late'))::int as late,
                            (count(*) filter (where c.status = 'absent'))::int as absent,
                            (count(*) filter (where c.status = 'excused'))::int as excused
                       from counted_classes c
                      where c.enrollment_id = e.id
                        and c.offering_id = e.offering_id) counted
 where e.status in ('ENROLLED', 'COMPLETED', 'FAILED')
   and e.deleted_at is null
   and e.offering_id = "
    ));
    sql.push_bind(offering);
    if let Some(rate) = below {
        sql.push(" and (counted.present + counted.late + counted.excused) * 100.0 < counted.held * ").push_bind(rate);
    }
    sql.push(
        " order by (counted.present + counted.late + counted.excused)::float8 / nullif(counted.held, 0),
       s.last_name collate \"vi-x-icu\", s.first_name collate \"vi-x-icu\", s.id
 limit ",
    );
    sql.push_bind(most).build_query_as().fetch_all(conn).await
}
