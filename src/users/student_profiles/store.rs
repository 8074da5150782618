//! Every SQL statement of student profiles.

use sqlx::PgConnection;

use super::handlers::{StudentProfileFields, StudentRecord};
use crate::enrollment::grades::{gpa, results};
use crate::ids::Id;

/// The columns of a student profile.
pub(super) const SELECT: &str = concat!(
    "
select sp.id,
       sp.user_id as \"user\",
       sp.student_id,
       sp.enrollment_date,
       sp.expected_graduation,
       sp.course_id as course,
       (select ",
    gpa!(),
    "
          from ",
    results!(),
    "t.student_id = sp.user_id) t) as current_gpa,
       sp.academic_status,
       sp.created_at,
       sp.updated_at
from student_profiles sp
join users u on u.id = sp.user_id"
);

/// ` or exists (…` that ends before the convenor's id and its bracket.
pub(super) const STUDENT_OF_UNITS_CONVENED_BY: &str = " or exists (select
          from enrollments e
          join offerings o on o.id = e.offering_id
         where e.student_id = sp.user_id
           and e.deleted_at is null
           and e.status <> 'WITHDRAWN'
           and o.convenor_id = ";

pub(super) async fn add(tx: &mut PgConnection, author: Id, profile: &StudentProfileFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into student_profiles (user_id, student_id, enrollment_date, expected_graduation, course_id,
                                         academic_status, created_by, updated_by)
           values ($1,
                   coalesce(nullif($2, ''), 'S-' || lpad($1::bigint::text, greatest(8, length($1::bigint::text)), '0')),
                   coalesce($3, local_day()), $4, $5, $6, $7, $7)
           returning id as "id: Id""#,
        profile.user as _,
        profile.student_id,
        profile.enrollment_date,
        profile.expected_graduation,
        profile.course as _,
        profile.academic_status,
        author.0
    )
    .fetch_one(tx)
    .await
}

/// What is known of a student whose profile was made with the account.
pub(super) async fn put(tx: &mut PgConnection, user: Id, record: &StudentRecord) -> sqlx::Result<()> {
    sqlx::query!(
        "update student_profiles
            set student_id = coalesce(nullif($2, ''), student_id),
                enrollment_date = coalesce($3, enrollment_date),
                expected_graduation = $4,
                course_id = $5
          where user_id = $1
            and deleted_at is null",
        user.0,
        record.student_id,
        record.enrollment_date,
        record.expected_graduation,
        record.course as _
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn replace(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    profile: &StudentProfileFields,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update student_profiles
            set user_id = $2,
                student_id = coalesce(nullif($3, ''), student_id),
                enrollment_date = coalesce($4, enrollment_date),
                expected_graduation = $5,
                course_id = $6,
                academic_status = $7,
                updated_at = rule_now(),
                updated_by = $8
          where id = $1",
        id.0,
        profile.user as _,
        profile.student_id,
        profile.enrollment_date,
        profile.expected_graduation,
        profile.course as _,
        profile.academic_status,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether this course is there and not active.
pub(super) async fn is_closed(tx: &mut PgConnection, course: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select
                            from courses
                           where id = $1
                             and not is_active
                             and deleted_at is null) as "is!""#,
        course.0
    )
    .fetch_one(tx)
    .await
}
