//! What only the demo data needs.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::column;

/// An offering.
pub(crate) struct Class {
    pub(crate) id: i64,
    pub(crate) code: String,
    pub(crate) year: i32,
    pub(crate) semester: String,
    pub(crate) capacity: i32,
    pub(crate) current_enrollment: i32,
}

/// The time of rules.
pub(crate) async fn now(tx: &mut PgConnection) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"select rule_now() as "now!""#).fetch_one(tx).await
}

/// The live units with these codes, as they are spelt here.
pub(crate) async fn units(tx: &mut PgConnection, codes: &[String]) -> sqlx::Result<Vec<(String, i64)>> {
    let found = sqlx::query!(
        r#"select w.code as "code!", u.id
             from unnest($1::text[]) as w (code)
             join units u on u.code_key = code_key(w.code) and u.deleted_at is null
            order by u.id"#,
        codes
    )
    .fetch_all(tx)
    .await?;
    Ok(found.into_iter().map(|unit| (unit.code, unit.id)).collect())
}

/// The live offerings of the units with these codes, locked against changes until the transaction ends.
pub(crate) async fn offerings(tx: &mut PgConnection, codes: &[String]) -> sqlx::Result<Vec<Class>> {
    sqlx::query_as!(
        Class,
        r#"select o.id, w.code as "code!", o.year, o.semester, o.capacity, o.current_enrollment
             from unnest($1::text[]) as w (code)
             join units u on u.code_key = code_key(w.code) and u.deleted_at is null
             join offerings o on o.unit_id = u.id and o.deleted_at is null
            order by o.id
              for no key update of o"#,
        codes
    )
    .fetch_all(tx)
    .await
}

/// The live course with this code.
pub(crate) async fn course(tx: &mut PgConnection, code: &str) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "select id
           from courses
          where code_key = code_key($1)
            and deleted_at is null
            for share",
        code
    )
    .fetch_optional(tx)
    .await
}

/// Makes a course; `numbers` are its years and credit points.
pub(crate) async fn add_course(
    tx: &mut PgConnection,
    code: &str,
    name: &str,
    description: &str,
    numbers: (Decimal, Decimal),
    department: &str,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "insert into courses (code, name, description, duration_years, credit_points, department)
         values ($1, $2, $3, $4, $5, $6)
         returning id",
        code,
        name,
        description,
        numbers.0,
        numbers.1,
        department
    )
    .fetch_one(tx)
    .await
}

/// Lists units, and whether each is an elective, under a course.
pub(crate) async fn add_course_units(tx: &mut PgConnection, course: i64, units: &[(i64, bool)]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into course_units (course_id, unit_id, is_elective)
         select $1, unit_id, is_elective
           from unnest($2::bigint[], $3::boolean[]) as w (unit_id, is_elective)",
        course,
        column(units, |unit| unit.0) as _,
        column(units, |unit| unit.1) as _
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Puts units into a convenor's charge, with those of their offerings that have nobody: also what is over.
pub(crate) async fn set_convenor(tx: &mut PgConnection, convenor: i64, units: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "update units
            set convenor_id = $1
          where id = any($2)",
        convenor,
        units
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update offerings
            set convenor_id = $1
          where unit_id = any($2)
            and convenor_id is null",
        convenor,
        units
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Links a parent to a child; what the parent may see is for the child to grant.
pub(crate) async fn add_guardian(tx: &mut PgConnection, parent: i64, child: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "with guardian as (
            insert into guardians (user_id, relationship, is_emergency_contact)
            values ($1, 'Parent', true)
            returning id
         )
         insert into guardian_students (guardian_id, student_id)
         select id, $2
           from guardian",
        parent,
        child
    )
    .execute(tx)
    .await?;
    Ok(())
}
