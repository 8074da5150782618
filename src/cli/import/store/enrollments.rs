//! Enrolments, with all that belongs to them: the seat, the history, the transcript, and what others are told.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use sqlx::{PgConnection, PgExecutor};

use super::{CHUNK, column};
use crate::cli::import::report::Progress;
use crate::enrollment::announce;
use crate::ids::Id;

/// A unit that a file names, and the offering if there is one.
pub(crate) struct Place {
    pub(crate) unit_id: i64,
    pub(crate) unit_code: String,
    pub(crate) year: i32,
    pub(crate) semester: String,
    pub(crate) offering_id: Option<i64>,
    /// 0 = unlimited.
    pub(crate) capacity: i32,
    pub(crate) seats_taken: i32,
}

/// An enrolment that is there.
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) student_id: i64,
    pub(crate) offering_id: i64,
    pub(crate) unit_id: i64,
    pub(crate) unit_code: String,
    pub(crate) status: String,
    pub(crate) grade: String,
    pub(crate) marks: Option<Decimal>,
    pub(crate) completion_date: Option<NaiveDate>,
    pub(crate) is_deleted: bool,
}

/// What an enrolment is to be.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) status: &'static str,
    pub(crate) grade: &'static str,
    /// By the scale, for transcripts.
    pub(crate) grade_point: Decimal,
    pub(crate) marks: Option<Decimal>,
    /// Of results; without one the day of the import.
    pub(crate) completion_date: Option<NaiveDate>,
}

/// An enrolment that is to be made.
pub(crate) struct New {
    pub(crate) student_id: i64,
    pub(crate) offering_id: i64,
    pub(crate) state: State,
}

/// The units and offerings with these codes, years and semesters.
pub(crate) async fn places(db: impl PgExecutor<'_>, wanted: &[(String, i32, &str)]) -> sqlx::Result<Vec<Place>> {
    sqlx::query_as!(
        Place,
        r#"select u.id as unit_id,
                  u.code as unit_code,
                  w.year as "year!",
                  w.semester as "semester!",
                  o.id as "offering_id?",
                  coalesce(o.capacity, 0) as "capacity!",
                  coalesce(o.current_enrollment, 0) as "seats_taken!"
             from (select distinct code_key(code) as key, year, semester
                     from unnest($1::text[], $2::int[], $3::text[]) as w (code, year, semester)) w
             join units u on u.code_key = w.key and u.deleted_at is null
             left join offerings o
                    on o.unit_id = u.id
                   and o.year = w.year
                   and o.semester = w.semester
                   and o.deleted_at is null"#,
        column(wanted, |place| place.0.as_str()) as _,
        column(wanted, |place| place.1) as _,
        column(wanted, |place| place.2) as _
    )
    .fetch_all(db)
    .await
}

/// All enrolments of these students, deleted ones too.
pub(crate) async fn of_students(db: impl PgExecutor<'_>, students: &[i64]) -> sqlx::Result<Vec<Known>> {
    sqlx::query_as!(
        Known,
        r#"select e.id, e.student_id, e.offering_id, o.unit_id, u.code as unit_code, e.status, e.grade, e.marks,
                  e.completion_date, e.is_deleted as "is_deleted!"
             from enrollments e
             join offerings o on o.id = e.offering_id
             join units u on u.id = o.unit_id
            where e.student_id = any($1)
            order by e.id"#,
        students
    )
    .fetch_all(db)
    .await
}

/// All pairs of units that exclude each other.
pub(crate) async fn anti_requisites(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<(i64, i64)>> {
    let pairs = sqlx::query!(
        "select lower_unit_id, upper_unit_id
           from unit_anti_requisites
          order by lower_unit_id, upper_unit_id"
    )
    .fetch_all(db)
    .await?;
    Ok(pairs.into_iter().map(|pair| (pair.lower_unit_id, pair.upper_unit_id)).collect())
}

/// Locks the enrolments of these students, then these offerings, until the transaction ends.
pub(crate) async fn hold(tx: &mut PgConnection, students: &[i64], offerings: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "select id
           from enrollments
          where student_id = any($1)
          order by id
            for no key update",
        students
    )
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query!(
        "select id
           from offerings
          where id = any($1)
          order by id
            for no key update",
        offerings
    )
    .fetch_all(tx)
    .await?;
    Ok(())
}

/// Makes enrolments in the state they are to be in, with their history and the transcripts of results.
pub(crate) async fn add(
    tx: &mut PgConnection,
    enrollments: &[New],
    reason: &str,
    progress: &Progress,
) -> sqlx::Result<()> {
    for enrollments in enrollments.chunks(CHUNK) {
        sqlx::query!(
            "with wanted as (
                select *
                  from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::numeric[], $6::numeric[], $7::date[])
                       as w (student_id, offering_id, status, grade, grade_point, marks, completion_date)
             ),
             made as (
                insert into enrollments (student_id, offering_id, status, grade, marks, withdrawn_date, completion_date)
                select student_id, offering_id, status, grade, marks,
                       case when status = 'WITHDRAWN' then local_day() end,
                       case when status in ('COMPLETED', 'FAILED') then coalesce(completion_date, local_day()) end
                  from wanted
                returning id, student_id, offering_id, status, grade, marks, completion_date
             ),
             history as (
                insert into enrollment_history (enrollment_id, from_status, to_status, to_grade, to_marks, reason)
                select id, '', status, grade, marks, $8
                  from made
             )
             insert into transcripts (enrollment_id, student_id, unit_code, unit_name, semester, year, credit_points,
                                      status, grade, marks, grade_point, completion_date)
             select e.id, e.student_id, u.code, u.name, o.semester, o.year, u.credit_points, e.status, e.grade, e.marks,
                    w.grade_point, e.completion_date
               from made e
               join wanted w on w.student_id = e.student_id and w.offering_id = e.offering_id
               join offerings o on o.id = e.offering_id
               join units u on u.id = o.unit_id
              where e.status in ('COMPLETED', 'FAILED')",
            column(enrollments, |e| e.student_id) as _,
            column(enrollments, |e| e.offering_id) as _,
            column(enrollments, |e| e.state.status) as _,
            column(enrollments, |e| e.state.grade) as _,
            column(enrollments, |e| e.state.grade_point) as _,
            column(enrollments, |e| e.state.marks) as _,
            column(enrollments, |e| e.state.completion_date) as _,
            reason
        )
        .execute(&mut *tx)
        .await?;
        progress.advance(enrollments.len());
    }
    Ok(())
}

/// Brings enrolments that are there into the state they are to be in.
///
/// The history continues where it ended, transcripts follow the results, and what the API tells on the same change is
/// told: workflows hear of who is enrolled, students of what became of their enrolment.
pub(crate) async fn change(
    tx: &mut PgConnection,
    enrollments: &[(i64, State)],
    reason: &str,
    progress: &Progress,
) -> sqlx::Result<()> {
    for enrollments in enrollments.chunks(CHUNK) {
        let enrolled = sqlx::query_scalar!(
            r#"with wanted as (
                select *
                  from unnest($1::bigint[], $2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::date[])
                       as w (id, status, grade, grade_point, marks, completion_date)
             ),
             before as (
                select e.id, e.status, e.grade, e.marks
                  from enrollments e
                  join wanted w on w.id = e.id
             ),
             changed as (
                update enrollments e
                   set status = w.status,
                       grade = w.grade,
                       marks = w.marks,
                       requested_at = case when b.status = 'WITHDRAWN' and w.status <> 'WITHDRAWN' then rule_now()
                                           else e.requested_at end,
                       enrolled_at = case when b.status not in ('PENDING', 'WITHDRAWN') then e.enrolled_at end,
                       withdrawn_date = case when w.status = 'WITHDRAWN' then coalesce(e.withdrawn_date, local_day()) end,
                       completion_date = case when w.status in ('COMPLETED', 'FAILED')
                                              then coalesce(w.completion_date, e.completion_date, local_day()) end,
                       deleted_at = null,
                       updated_at = rule_now(),
                       updated_by = null
                  from wanted w
                  join before b on b.id = w.id
                 where e.id = w.id
                returning e.id, e.student_id, e.offering_id, e.status, e.grade, e.marks, e.completion_date,
                          w.grade_point, b.status as from_status, b.grade as from_grade, b.marks as from_marks
             ),
             history as (
                insert into enrollment_history (enrollment_id, from_status, to_status, from_grade, to_grade, from_marks,
                                                to_marks, reason)
                select id, from_status, status, from_grade, grade, from_marks, marks, $7
                  from changed
             ),
             transcript as (
                insert into transcripts (enrollment_id, student_id, unit_code, unit_name, semester, year, credit_points,
                                         status, grade, marks, grade_point, completion_date)
                select c.id, c.student_id, u.code, u.name, o.semester, o.year, u.credit_points, c.status, c.grade,
                       c.marks, c.grade_point, c.completion_date
                  from changed c
                  join offerings o on o.id = c.offering_id
                  join units u on u.id = o.unit_id
                 where c.status in ('COMPLETED', 'FAILED')
                    on conflict (enrollment_id) do update
                   set status = excluded.status,
                       grade = excluded.grade,
                       marks = excluded.marks,
                       grade_point = excluded.grade_point,
                       completion_date = excluded.completion_date,
                       deleted_at = null,
                       updated_at = rule_now(),
                       updated_by = null
             ),
             told as (
                insert into notifications (recipient_id, verb, description, target_content_type, target_object_id)
                select c.student_id,
                       case c.status when 'ENROLLED' then 'Enrolment confirmed' else 'Enrolment withdrawn' end,
                       case c.status when 'ENROLLED' then 'You are enrolled in ' else 'Your enrolment in ' end
                           || u.code || ' ' || u.name || ', ' || o.semester || ' ' || o.year
                           || case c.status when 'ENROLLED' then '.' else ' was withdrawn.' end,
                       'enrollment', c.id
                  from changed c
                  join offerings o on o.id = c.offering_id
                  join units u on u.id = o.unit_id
                 where c.status in ('ENROLLED', 'WITHDRAWN')
                   and c.status <> c.from_status
             )
             select id as "id: Id"
               from changed
              where status = 'ENROLLED'
                and from_status in ('PENDING', 'WITHDRAWN')"#,
            column(enrollments, |e| e.0) as _,
            column(enrollments, |e| e.1.status) as _,
            column(enrollments, |e| e.1.grade) as _,
            column(enrollments, |e| e.1.grade_point) as _,
            column(enrollments, |e| e.1.marks) as _,
            column(enrollments, |e| e.1.completion_date) as _,
            reason
        )
        .fetch_all(&mut *tx)
        .await?;
        announce(tx, &enrolled).await?;
        progress.advance(enrollments.len());
    }
    Ok(())
}

/// Takes and frees seats: so many more, or fewer, in each offering.
pub(crate) async fn take_seats(tx: &mut PgConnection, seats: &[(i64, i32)]) -> sqlx::Result<()> {
    sqlx::query!(
        "update offerings o
            set current_enrollment = o.current_enrollment + w.seats
           from unnest($1::bigint[], $2::int[]) as w (offering_id, seats)
          where o.id = w.offering_id",
        column(seats, |seat| seat.0) as _,
        column(seats, |seat| seat.1) as _
    )
    .execute(tx)
    .await?;
    Ok(())
}
