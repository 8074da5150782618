//! Every SQL statement of courses.

use sqlx::PgConnection;

use super::handlers::CourseFields;
use crate::ids::Id;

/// The columns of a course.
pub(super) const SELECT: &str = "
select c.id,
       c.code,
       c.name,
       c.description,
       c.duration_years,
       c.credit_points,
       c.department,
       c.is_active,
       c.created_at,
       c.updated_at,
       c.created_by,
       c.updated_by,
       c.deleted_at,
       c.is_deleted
from courses c";

pub(super) async fn add(tx: &mut PgConnection, author: Id, course: &CourseFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into courses (code, name, description, duration_years, credit_points, department, is_active,
                                created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $8)
           returning id as "id: Id""#,
        course.code,
        course.name,
        course.description,
        course.duration_years,
        course.credit_points,
        course.department,
        course.is_active,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, course: &CourseFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update courses
            set code = $2,
                name = $3,
                description = $4,
                duration_years = $5,
                credit_points = $6,
                department = $7,
                is_active = $8,
                updated_at = rule_now(),
                updated_by = $9
          where id = $1",
        id.0,
        course.code,
        course.name,
        course.description,
        course.duration_years,
        course.credit_points,
        course.department,
        course.is_active,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How many students are in a course.
pub(super) async fn students(tx: &mut PgConnection, id: Id) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from student_profiles p
             join users u on u.id = p.user_id
            where p.course_id = $1
              and p.deleted_at is null
              and u.is_active"#,
        id.0
    )
    .fetch_one(tx)
    .await
}
