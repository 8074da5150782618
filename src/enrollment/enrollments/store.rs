//! Every SQL statement of enrolments.

use std::collections::HashMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::rules::{Facts, Here, Standing, UnitFact};
use super::steps::{Held, Step};
use crate::academic::offerings::offering_json;
use crate::enrollment::{Status, grades};
use crate::ids::Id;
use crate::users::accounts::user_brief;

/// The columns of an enrolment.
pub(super) const SELECT: &str = concat!(
    "
select e.id,
       ",
    user_brief!("s", "f"),
    " as student,
       ",
    offering_json!(),
    " as offering,
       e.status,
       e.grade,
       e.marks,
       e.withdrawn_date,
       e.completion_date,
       e.requested_at,
       e.created_at,
       e.updated_at
from enrollments e
join users s on s.id = e.student_id
left join stored_files f on f.id = s.profile_image_id and f.deleted_at is null
join offerings o on o.id = e.offering_id
join units u on u.id = o.unit_id"
);

/// The columns of a step. What was decided is a row of its own, made in the same transaction as the step.
pub(super) const SELECT_STEP: &str = "
select h.id,
       h.from_status,
       h.to_status,
       h.from_grade,
       h.to_grade,
       h.from_marks,
       h.to_marks,
       h.deleted,
       coalesce(d.decision, '') as decision,
       h.reason,
       h.changed_by_id as changed_by,
       h.created_at
from enrollment_history h
left join enrollment_decisions d
       on d.enrollment_id = h.enrollment_id
      and d.decided_at = h.created_at
      and h.from_status = 'PENDING'";

/// Locks the student, if there is one.
pub(super) async fn lock_student(tx: &mut PgConnection, id: Id) -> sqlx::Result<()> {
    sqlx::query!("select id from users where id = $1 for no key update", id.0).fetch_optional(tx).await?;
    Ok(())
}

/// Whether there is such a user.
pub(super) async fn is_user(conn: &mut PgConnection, id: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select exists (select from users where id = $1) as "is!""#, id.0).fetch_one(conn).await
}

/// What decides whether the student may enrol; none when there is no such offering.
#[expect(clippy::too_many_lines, reason = "one statement, so that all facts are of one moment")]
pub(super) async fn facts(conn: &mut PgConnection, student: Id, offering: Id) -> sqlx::Result<Option<Facts>> {
    let row = sqlx::query!(
        r#"with mine as (
              select e.id, e.offering_id, e.status, o.unit_id, o.year, o.semester, u.code,
                     jsonb_build_object('enrollment', e.id, 'offering', o.id, 'unit_code', u.code, 'year', o.year,
                                        'semester', o.semester, 'status', e.status) as standing
                from enrollments e
                join offerings o on o.id = e.offering_id
                join units u on u.id = o.unit_id
               where e.student_id = $1
                 and e.deleted_at is null
           )
           select s.user_type = 'student' and s.is_active as "is_active_student!",
                  trim(s.first_name || ' ' || s.last_name) as "student_name!",
                  coalesce((select sp.academic_status
                              from student_profiles sp
                             where sp.user_id = s.id
                               and sp.deleted_at is null), '') as "academic_status!",
                  u.code as unit_code,
                  u.name as unit_name,
                  o.year,
                  o.semester,
                  (select c.id from users c where c.id = o.convenor_id and c.is_active) as "convenor: Id",
                  o.is_active,
                  u.is_active as unit_is_active,
                  exists (select from offerings_over v where v.offering_id = o.id) as "is_over!",
                  o.enrollment_start,
                  o.enrollment_end,
                  rule_now() as "now!",
                  o.capacity,
                  o.current_enrollment,
                  o.requires_approval,
                  (select coalesce(jsonb_agg(jsonb_build_object('id', n.id, 'code', n.code, 'name', n.name)
                                             order by n.code), '[]')
                     from unit_prerequisites p
                     join units n on n.id = p.prerequisite_id
                    where p.unit_id = u.id
                      and not exists (select
                                        from mine m
                                       where m.unit_id = n.id
                                         and m.status = 'COMPLETED')) as "missing!: Json<Vec<UnitFact>>",
                  (select coalesce(jsonb_agg(m.standing order by m.code, m.id), '[]')
                     from mine m
                    where m.status in ('PENDING', 'ENROLLED', 'COMPLETED')
                      and exists (select
                                    from unit_anti_requisites x
                                   where x.lower_unit_id = least(u.id, m.unit_id)
                                     and x.upper_unit_id = greatest(u.id, m.unit_id)))
                      as "excluding!: Json<Vec<Standing>>",
                  (select jsonb_build_object('id', e.id, 'status', e.status, 'is_deleted', e.is_deleted)
                     from enrollments e
                    where e.student_id = $1
                      and e.offering_id = o.id) as "here: Json<Here>",
                  (select coalesce(jsonb_agg(m.standing order by m.id), '[]')
                     from mine m
                    where m.unit_id = u.id
                      and m.offering_id <> o.id
                      and m.status in ('PENDING', 'ENROLLED')) as "elsewhere!: Json<Vec<Standing>>",
                  (select coalesce(jsonb_agg(m.standing order by m.id), '[]')
                     from mine m
                    where m.unit_id = u.id
                      and m.status = 'COMPLETED') as "completed!: Json<Vec<Standing>>",
                  (select jsonb_build_object('id', c.id, 'code', c.code, 'name', c.name)
                     from student_profiles sp
                     join courses c on c.id = sp.course_id
                    where sp.user_id = $1
                      and sp.deleted_at is null
                      and not exists (select
                                        from course_units cu
                                       where cu.unit_id = u.id
                                         and cu.deleted_at is null
                                         and (cu.course_id = c.id or cu.is_elective)))
                      as "foreign_course: Json<UnitFact>",
                  (select count(*) from mine m where m.status = 'PENDING') as "pending!"
             from offerings o
             join units u on u.id = o.unit_id
             join users s on s.id = $1
            where o.id = $2
              and o.deleted_at is null"#,
        student.0,
        offering.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Facts {
        is_active_student: row.is_active_student,
        unit_code: row.unit_code,
        unit_name: row.unit_name,
        year: row.year,
        semester: row.semester,
        convenor: row.convenor,
        student_name: row.student_name,
        academic_status: row.academic_status,
        is_active: row.is_active,
        unit_is_active: row.unit_is_active,
        is_over: row.is_over,
        enrollment_start: row.enrollment_start,
        enrollment_end: row.enrollment_end,
        now: row.now,
        capacity: row.capacity,
        current_enrollment: row.current_enrollment,
        requires_approval: row.requires_approval,
        missing: row.missing.0,
        excluding: row.excluding.0,
        here: row.here.map(|here| here.0),
        elsewhere: row.elsewhere.0,
        completed: row.completed.0,
        foreign_course: row.foreign_course.map(|course| course.0),
        pending: row.pending,
    }))
}

/// Takes a seat for the student, whom the caller has locked; none when the offering has no seat or is not open.
///
/// One statement, so that the seat counted is the seat given: the offering's row decides, whoever else asks at once. A
/// row that was withdrawn or deleted is revived; `from` is the state that its history continues from, empty for none, and `reason`
/// why the seat is taken.
pub(super) async fn take_seat(
    tx: &mut PgConnection,
    author: Id,
    (student, offering): (Id, Id),
    (from, reason): (&str, &str),
    by_staff: bool,
) -> sqlx::Result<Option<(Id, Status)>> {
    let taken = sqlx::query!(
        r#"with seat as (
              update offerings
                 set current_enrollment = current_enrollment + 1
               where id = $2
                 and deleted_at is null
                 and is_active
                 and ($5 or (enrollment_start <= rule_now() and rule_now() < enrollment_end))
                 and (capacity = 0 or current_enrollment < capacity)
              returning id, requires_approval
           ),
           taken as (
              insert into enrollments (student_id, offering_id, status, enrolled_at, created_by, updated_by)
              select $1, id, case when requires_approval then 'PENDING' else 'ENROLLED' end,
                     case when not requires_approval then rule_now() end, $3, $3
                from seat
                  on conflict (student_id, offering_id) do update
                 set status = excluded.status,
                     enrolled_at = excluded.enrolled_at,
                     grade = '',
                     marks = null,
                     requested_at = rule_now(),
                     withdrawn_date = null,
                     completion_date = null,
                     deleted_at = null,
                     updated_at = rule_now(),
                     updated_by = excluded.updated_by
              returning id, status
           ),
           history as (
              insert into enrollment_history (enrollment_id, from_status, to_status, reason, changed_by_id)
              select id, $4, status, $6, $3
                from taken
           )
           select id as "id: Id",
                  status as "status: Status"
             from taken"#,
        student.0,
        offering.0,
        author.0,
        from,
        by_staff,
        reason
    )
    .fetch_optional(tx)
    .await?;
    Ok(taken.map(|taken| (taken.id, taken.status)))
}

/// Tells the workflows that listen for it who is enrolled now; where none listens, that is written too.
///
/// # Errors
/// The database's failure.
pub(crate) async fn announce(tx: &mut PgConnection, enrollments: &[Id]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into webhook_outbox (trigger_event, workflow_id, object_key, payload, state)
         select 'enrollment.confirmed',
                f.id,
                'enrollment:' || e.id,
                jsonb_build_object('enrollment_id', e.id, 'student_id', e.student_id, 'student_email', s.email,
                                   'student_name', trim(s.first_name || ' ' || s.last_name), 'unit_code', u.code,
                                   'unit_name', u.name, 'semester', o.semester, 'year', o.year),
                case when f.id is null then 'skipped' else 'pending' end
           from enrollments e
           join users s on s.id = e.student_id
           join offerings o on o.id = e.offering_id
           join units u on u.id = o.unit_id
           left join workflows f
                  on f.trigger_event = 'enrollment.confirmed'
                 and f.is_active
                 and f.deleted_at is null
          where e.id = any($1)
          order by e.id, f.id",
        enrollments as _
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Locks these enrolments, their students first; deleted ones are left out. The order is that of the ids.
pub(super) async fn hold(tx: &mut PgConnection, enrollments: &[Id]) -> sqlx::Result<Vec<Held>> {
    sqlx::query!(
        "select id
           from users
          where id in (select student_id from enrollments where id = any($1))
          order by id
            for no key update",
        enrollments as _
    )
    .fetch_all(&mut *tx)
    .await?;
    // What is joined is not locked, and is of no matter to who waits for what.
    let held = sqlx::query_as!(
        Held,
        r#"select e.id as "id: Id",
                  e.student_id as "student: Id",
                  e.offering_id as "offering: Id",
                  o.convenor_id as "convenor: Id",
                  u.code as unit_code,
                  u.name as unit_name,
                  o.year,
                  o.semester,
                  coalesce(o.withdraw_until <= rule_now(), false) as "is_too_late_to_withdraw!",
                  exists (select from offerings_over v where v.offering_id = o.id) as "is_over!",
                  e.status as "status: Status",
                  e.grade,
                  e.marks,
                  case e.status when 'WITHDRAWN' then e.withdrawn_date
                                else e.completion_date end as day,
                  coalesce((select h.to_status in ('COMPLETED', 'FAILED')
                              from enrollment_history h
                             where h.enrollment_id = e.id
                               and (h.to_status in ('COMPLETED', 'FAILED') or h.from_status in ('COMPLETED', 'FAILED'))
                             order by h.id desc
                             limit 1), false) as "had_result!",
                  local_day() as "today!"
             from enrollments e
             join offerings o on o.id = e.offering_id
             join units u on u.id = o.unit_id
            where e.id = any($1)
              and e.deleted_at is null
            order by e.id
              for no key update of e"#,
        enrollments as _
    )
    .fetch_all(tx)
    .await?;
    Ok(held)
}

/// The seats that a student holds or has asked for.
pub(super) async fn seats_of(tx: &mut PgConnection, student: Id) -> sqlx::Result<Vec<Id>> {
    sqlx::query_scalar!(
        r#"select id as "id: Id"
             from enrollments
            where student_id = $1
              and status in ('PENDING', 'ENROLLED')
              and deleted_at is null"#,
        student.0
    )
    .fetch_all(tx)
    .await
}

/// The number on the student card, or without one the id.
pub(super) async fn number_of(tx: &mut PgConnection, student: Id) -> sqlx::Result<String> {
    sqlx::query_scalar!(
        r#"select coalesce((select student_id from student_profiles where user_id = $1 and deleted_at is null),
                           $1::bigint::text) as "number!""#,
        student.0
    )
    .fetch_one(tx)
    .await
}

/// Locks the offerings of these enrolments.
pub(super) async fn lock_offerings_of(tx: &mut PgConnection, enrollments: &[Id]) -> sqlx::Result<()> {
    sqlx::query!(
        "select id
           from offerings
          where id in (select offering_id from enrollments where id = any($1))
          order by id
            for no key update",
        enrollments as _
    )
    .fetch_all(tx)
    .await?;
    Ok(())
}

/// Moves enrolments that the caller has locked, with all that goes along: the row of history, the decision, the
/// transcript of a result, and the seat of one that is withdrawn.
#[expect(clippy::too_many_lines, reason = "one statement, so that nothing of a step is missing")]
pub(super) async fn move_on(tx: &mut PgConnection, author: Option<Id>, steps: &[Step]) -> sqlx::Result<()> {
    let ids: Vec<Id> = steps.iter().map(|step| step.id).collect();
    let statuses: Vec<&str> = steps.iter().map(|step| step.status.name()).collect();
    let grades: Vec<&str> = steps.iter().map(|step| step.grade.as_str()).collect();
    let points: Vec<Decimal> = steps.iter().map(|step| grades::point(&step.grade).unwrap_or_default()).collect();
    let marks: Vec<Option<Decimal>> = steps.iter().map(|step| step.marks).collect();
    let reasons: Vec<&str> = steps.iter().map(|step| step.reason.as_str()).collect();
    let decisions: Vec<Option<&str>> = steps.iter().map(|step| step.decision).collect();
    let days: Vec<Option<NaiveDate>> = steps.iter().map(|step| step.day).collect();
    sqlx::query!(
        "with wanted as (
            select *
              from unnest($1::bigint[], $2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::text[], $7::text[],
                          $9::date[])
                   as w (id, status, grade, grade_point, marks, reason, decision, day)
         ),
         before as (
            select e.id, e.status, e.grade, e.marks
              from enrollments e
              join wanted w on w.id = e.id
         ),
         moved as (
            update enrollments e
               set status = w.status,
                   grade = w.grade,
                   marks = w.marks,
                   enrolled_at = case when b.status = 'PENDING' and w.status = 'ENROLLED' then rule_now()
                                      else e.enrolled_at end,
                   withdrawn_date = case when w.status = 'WITHDRAWN'
                                         then coalesce(w.day, e.withdrawn_date, local_day()) end,
                   completion_date = case when w.status in ('COMPLETED', 'FAILED')
                                          then coalesce(w.day, e.completion_date, local_day()) end,
                   updated_at = rule_now(),
                   updated_by = $8
              from wanted w
              join before b on b.id = w.id
             where e.id = w.id
            returning e.id, e.student_id, e.offering_id, e.status, e.grade, e.marks, e.completion_date, w.grade_point,
                      w.reason, w.decision, b.status as from_status, b.grade as from_grade, b.marks as from_marks
         ),
         history as (
            insert into enrollment_history (enrollment_id, from_status, to_status, from_grade, to_grade, from_marks,
                                            to_marks, reason, changed_by_id)
            select id, from_status, status, from_grade, grade, from_marks, marks, reason, $8
              from moved
         ),
         decided as (
            insert into enrollment_decisions (enrollment_id, decision, decided_by_id, notes)
            select id, decision, $8, reason
              from moved
             where decision is not null
         ),
         taken_back as (
            update transcripts t
               set deleted_at = rule_now(), updated_at = rule_now(), updated_by = $8
              from moved m
             where t.enrollment_id = m.id
               and t.deleted_at is null
               and m.status not in ('COMPLETED', 'FAILED')
         ),
         transcript as (
            -- A trigger adds the course.
            insert into transcripts (enrollment_id, student_id, unit_code, unit_name, semester, year, credit_points,
                                     status, grade, marks, grade_point, completion_date, created_by, updated_by)
            select m.id, m.student_id, u.code, u.name, o.semester, o.year, u.credit_points, m.status, m.grade, m.marks,
                   m.grade_point, m.completion_date, $8, $8
              from moved m
              join offerings o on o.id = m.offering_id
              join units u on u.id = o.unit_id
             where m.status in ('COMPLETED', 'FAILED')
                on conflict (enrollment_id) do update
               set status = excluded.status,
                   grade = excluded.grade,
                   marks = excluded.marks,
                   grade_point = excluded.grade_point,
                   completion_date = excluded.completion_date,
                   deleted_at = null,
                   updated_at = rule_now(),
                   updated_by = excluded.updated_by
         )
         update offerings o
            set current_enrollment = o.current_enrollment - freed.seats
           from (select offering_id, count(*)::int as seats
                   from moved
                  where status = 'WITHDRAWN'
                    and from_status <> 'WITHDRAWN'
                  group by offering_id) freed
          where o.id = freed.offering_id",
        &ids as _,
        statuses as _,
        grades as _,
        &points,
        marks as _,
        reasons as _,
        decisions as _,
        author.map(|id| id.0),
        days as _
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The enrolments that these students have in these offerings, pair by pair.
pub(super) async fn ids_of(tx: &mut PgConnection, pairs: &[(Id, Id)]) -> sqlx::Result<HashMap<(Id, Id), Id>> {
    let (students, offerings): (Vec<Id>, Vec<Id>) = pairs.iter().copied().unzip();
    let rows = sqlx::query!(
        r#"select e.id as "id: Id",
                  e.student_id as "student: Id",
                  e.offering_id as "offering: Id"
             from unnest($1::bigint[], $2::bigint[]) asked (student_id, offering_id)
             join enrollments e on e.student_id = asked.student_id and e.offering_id = asked.offering_id
            where e.deleted_at is null"#,
        students as _,
        offerings as _
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| ((row.student, row.offering), row.id)).collect())
}

/// Of these enrolments, those that are COMPLETED while their student holds or asks for a seat in another offering of the unit.
pub(super) async fn open_repeats(
    tx: &mut PgConnection,
    enrollments: &[Id],
) -> sqlx::Result<HashMap<Id, Vec<Standing>>> {
    let rows = sqlx::query!(
        r#"select e.id as "id: Id",
                  jsonb_agg(jsonb_build_object('enrollment', r.id, 'offering', other.id, 'unit_code', u.code,
                                               'year', other.year, 'semester', other.semester, 'status', r.status)
                            order by r.id) as "repeats!: Json<Vec<Standing>>"
             from enrollments e
             join offerings o on o.id = e.offering_id
             join units u on u.id = o.unit_id
             join enrollments r on r.student_id = e.student_id and r.deleted_at is null
             join offerings other on other.id = r.offering_id and other.unit_id = o.unit_id
            where e.id = any($1)
              and e.status = 'COMPLETED'
              and r.status in ('PENDING', 'ENROLLED')
            group by e.id"#,
        enrollments as _
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.repeats.0)).collect())
}

/// The codes of units that exclude this offering's and that the student sits in or has completed.
pub(super) async fn excluding(conn: &mut PgConnection, student: Id, offering: Id) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select u.code
           from offerings o
           join unit_anti_requisites x on o.unit_id in (x.lower_unit_id, x.upper_unit_id)
           join units u on u.id = x.lower_unit_id + x.upper_unit_id - o.unit_id
           join offerings other on other.unit_id = u.id
           join enrollments e on e.offering_id = other.id
          where o.id = $2
            and e.student_id = $1
            and e.status in ('PENDING', 'ENROLLED', 'COMPLETED')
            and e.deleted_at is null
          group by u.code
          order by u.code",
        student.0,
        offering.0
    )
    .fetch_all(conn)
    .await
}

/// Marks an enrolment as deleted, which frees its seat; its transcript goes with it.
pub(super) async fn erase(tx: &mut PgConnection, author: Id, held: &Held) -> sqlx::Result<()> {
    sqlx::query!(
        "with gone as (
            update enrollments
               set deleted_at = rule_now(),
                   updated_at = rule_now(),
                   updated_by = $2
             where id = $1
            returning id, offering_id, status, grade, marks
         ),
         history as (
            insert into enrollment_history (enrollment_id, from_status, to_status, from_grade, to_grade, from_marks,
                                            to_marks, deleted, changed_by_id)
            select id, status, status, grade, grade, marks, marks, true, $2
              from gone
         ),
         transcript as (
            update transcripts t
               set deleted_at = rule_now(),
                   updated_at = rule_now(),
                   updated_by = $2
              from gone
             where t.enrollment_id = gone.id
               and t.deleted_at is null
         )
         update offerings o
            set current_enrollment = o.current_enrollment - 1
           from gone
          where o.id = gone.offering_id
            and gone.status <> 'WITHDRAWN'",
        held.id.0,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Brings a deleted enrolment back, with its seat and its transcript; false when the offering has no seat for it.
pub(super) async fn bring_back(tx: &mut PgConnection, author: Id, id: Id) -> sqlx::Result<bool> {
    let back = sqlx::query_scalar!(
        "with wanted as (
            select id, offering_id, status
              from enrollments
             where id = $1
               and deleted_at is not null
         ),
         seat as (
            update offerings o
               set current_enrollment = o.current_enrollment + 1
              from wanted w
             where o.id = w.offering_id
               and w.status <> 'WITHDRAWN'
               and o.deleted_at is null
               and (o.capacity = 0 or o.current_enrollment < o.capacity)
            returning o.id
         ),
         back as (
            update enrollments e
               set deleted_at = null,
                   updated_at = rule_now(),
                   updated_by = $2
              from wanted w
             where e.id = w.id
               and (w.status = 'WITHDRAWN' or exists (select from seat))
            returning e.id, e.status, e.grade, e.marks
         ),
         transcript as (
            update transcripts t
               set deleted_at = null,
                   updated_at = rule_now(),
                   updated_by = $2
              from back
             where t.enrollment_id = back.id
               and back.status in ('COMPLETED', 'FAILED')
         )
         insert into enrollment_history (enrollment_id, from_status, to_status, from_grade, to_grade, from_marks,
                                         to_marks, changed_by_id)
         select id, status, status, grade, grade, marks, marks, $2
           from back
         returning enrollment_id",
        id.0,
        author.0
    )
    .fetch_optional(tx)
    .await?;
    Ok(back.is_some())
}

/// The student and offering of a deleted enrolment, whose row and student are locked.
pub(super) async fn hold_deleted(tx: &mut PgConnection, id: Id) -> sqlx::Result<Option<(Id, Id)>> {
    sqlx::query!(
        "select id
           from users
          where id = (select student_id from enrollments where id = $1)
            for no key update",
        id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    let row = sqlx::query!(
        r#"select student_id as "student: Id",
                  offering_id as "offering: Id"
             from enrollments
            where id = $1
              and deleted_at is not null
              for no key update"#,
        id.0
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| (row.student, row.offering)))
}

/// Up to 500 enrolments that have been pending for this many days, oldest first; of these alone, if any are named.
pub(super) async fn overdue(conn: &mut PgConnection, days: u32, among: Option<&[Id]>) -> sqlx::Result<Vec<Id>> {
    sqlx::query_scalar!(
        r#"select id as "id: Id"
             from enrollments
            where status = 'PENDING'
              and deleted_at is null
              and requested_at <= rule_now() - make_interval(days => $1)
              and ($2::bigint[] is null or id = any($2))
            order by requested_at, id
            limit 500"#,
        i32::try_from(days).unwrap_or(i32::MAX),
        among as _
    )
    .fetch_all(conn)
    .await
}
