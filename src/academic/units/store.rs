//! Every SQL statement of units.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::brief::courses_of_unit;
use super::handlers::UnitFields;
use crate::ids::Id;

/// The columns of a unit, with this expression for `is_elective`.
macro_rules! columns {
    ($is_elective:literal) => {
        concat!(
            "
select u.id,
       u.code,
       u.name,
       u.description,
       u.credit_points,
       u.department,
       u.convenor_id as convenor,
       ",
            $is_elective,
            " as is_elective,
       ",
            courses_of_unit!(),
            " as core_in,
       ",
            courses_of_unit!(elective),
            " as elective_in,
       array(select p.prerequisite_id
               from unit_prerequisites p
              where p.unit_id = u.id
              order by p.prerequisite_id) as prerequisites,
       array(select other.id
               from (select x.upper_unit_id as id
                       from unit_anti_requisites x
                      where x.lower_unit_id = u.id
                      union all
                     select x.lower_unit_id
                       from unit_anti_requisites x
                      where x.upper_unit_id = u.id) pair
               join units other on other.id = pair.id and other.deleted_at is null
              order by other.id) as anti_requisites,
       u.is_active,
       u.created_at,
       u.updated_at"
        )
    };
}

/// A unit.
pub(super) const SELECT: &str = concat!(
    columns!("null::boolean"),
    "
from units u"
);

/// A unit in a course.
pub(super) const SELECT_OF_COURSE: &str = concat!(
    columns!("cu.is_elective"),
    "
from units u
join course_units cu on cu.unit_id = u.id and cu.deleted_at is null"
);

pub(super) async fn add(tx: &mut PgConnection, author: Id, unit: &UnitFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into units (code, name, description, credit_points, department, convenor_id, is_active,
                              created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $8)
           returning id as "id: Id""#,
        unit.code,
        unit.name,
        unit.description,
        unit.credit_points,
        unit.department,
        unit.convenor.map(|id| id.0),
        unit.is_active,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, unit: &UnitFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update units
            set code = $2,
                name = $3,
                description = $4,
                credit_points = $5,
                department = $6,
                convenor_id = $7,
                is_active = $8,
                updated_at = rule_now(),
                updated_by = $9
          where id = $1",
        id.0,
        unit.code,
        unit.name,
        unit.description,
        unit.credit_points,
        unit.department,
        unit.convenor.map(|id| id.0),
        unit.is_active,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Marks units as changed.
pub(super) async fn touch(tx: &mut PgConnection, author: Id, ids: &[Id]) -> sqlx::Result<()> {
    sqlx::query!(
        "update units
            set updated_at = rule_now(),
                updated_by = $2
          where id = any($1)",
        ids as &[Id],
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(in crate::academic) async fn can_convene(tx: &mut PgConnection, user: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select
               from users
              where id = $1
                and is_active
                and user_type in ('unit_convenor', 'staff', 'admin')) as "can!""#,
        user.0
    )
    .fetch_one(tx)
    .await
}

/// Whether this user convenes a live unit; `None` when there is no such unit.
pub(super) async fn convenes(tx: &mut PgConnection, user: Id, unit: Id) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar!(
        r#"select convenor_id is not distinct from $2 as "convenes!"
             from units
            where id = $1
              and deleted_at is null"#,
        unit.0,
        user.0
    )
    .fetch_optional(tx)
    .await
}

/// Whether anybody has been enrolled in an offering of the unit.
pub(super) async fn has_enrollments(tx: &mut PgConnection, unit: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select
               from offerings o
               join enrollments e on e.offering_id = o.id
              where o.unit_id = $1) as "has!""#,
        unit.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn is_live(tx: &mut PgConnection, unit: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select
               from units
              where id = $1
                and deleted_at is null) as "is_live!""#,
        unit.0
    )
    .fetch_one(tx)
    .await
}

/// Those of `ids` that are live units, locked against deletion until the transaction ends.
pub(super) async fn hold_live(tx: &mut PgConnection, ids: &[Id]) -> sqlx::Result<Vec<Id>> {
    sqlx::query_scalar!(
        r#"select id as "id: Id"
             from units
            where id = any($1)
              and deleted_at is null
            order by id
              for share"#,
        ids as &[Id]
    )
    .fetch_all(tx)
    .await
}

/// Takes the right to change requisites, until the transaction ends; one has it at a time.
pub(super) async fn hold_requisites(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('change the requisites of units', 0))")
        .execute(tx)
        .await?;
    Ok(())
}

/// What the `starts` need, and what that needs, and so on, as pairs of a unit and its prerequisite; except what
/// `unit` itself needs, which is about to change.
pub(super) async fn requisites_behind(tx: &mut PgConnection, unit: Id, starts: &[Id]) -> sqlx::Result<Vec<(Id, Id)>> {
    let edges = sqlx::query!(
        r#"with recursive behind (id) as (
               select unnest($2::bigint[])
               union
               select p.prerequisite_id
                 from behind b
                 join unit_prerequisites p on p.unit_id = b.id
                where b.id <> $1
           )
           select p.unit_id as "unit_id: Id",
                  p.prerequisite_id as "prerequisite_id: Id"
             from behind b
             join unit_prerequisites p on p.unit_id = b.id
            where b.id <> $1
            order by p.unit_id, p.prerequisite_id"#,
        unit.0,
        starts as &[Id]
    )
    .fetch_all(tx)
    .await?;
    Ok(edges.into_iter().map(|edge| (edge.unit_id, edge.prerequisite_id)).collect())
}

pub(super) async fn codes(tx: &mut PgConnection, ids: &[Id]) -> sqlx::Result<HashMap<Id, String>> {
    let rows = sqlx::query!(
        r#"select id as "id: Id",
                  code
             from units
            where id = any($1)
            order by id"#,
        ids as &[Id]
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.code)).collect())
}

pub(super) async fn set_prerequisites(tx: &mut PgConnection, unit: Id, wanted: &[Id]) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from unit_prerequisites
          where unit_id = $1
            and prerequisite_id <> all($2)",
        unit.0,
        wanted as &[Id]
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into unit_prerequisites (unit_id, prerequisite_id)
         select $1, unnest($2::bigint[])
         on conflict do nothing",
        unit.0,
        wanted as &[Id]
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns the units on the other side of the pairs that came or went. A pair with a deleted unit is not shown, so it
/// stays, and holds again when that unit is restored.
pub(super) async fn set_anti_requisites(tx: &mut PgConnection, unit: Id, wanted: &[Id]) -> sqlx::Result<Vec<Id>> {
    let mut touched = sqlx::query_scalar!(
        r#"delete from unit_anti_requisites x
            using units other
            where $1 in (x.lower_unit_id, x.upper_unit_id)
              and other.id = x.lower_unit_id + x.upper_unit_id - $1
              and other.deleted_at is null
              and other.id <> all($2)
           returning other.id as "other!: Id""#,
        unit.0,
        wanted as &[Id]
    )
    .fetch_all(&mut *tx)
    .await?;
    touched.extend(
        sqlx::query_scalar!(
            r#"insert into unit_anti_requisites (lower_unit_id, upper_unit_id)
               select least($1, other), greatest($1, other)
                 from unnest($2::bigint[]) other
               on conflict do nothing
               returning lower_unit_id + upper_unit_id - $1 as "other!: Id""#,
            unit.0,
            wanted as &[Id]
        )
        .fetch_all(tx)
        .await?,
    );
    Ok(touched)
}

/// How many offerings of a unit students could enrol in at this moment, but for the unit.
pub(super) async fn open_offerings(tx: &mut PgConnection, id: Id) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from offerings o
            where o.unit_id = $1
              and o.deleted_at is null
              and o.is_active
              and rule_now() < o.enrollment_end
              and not exists (select from offerings_over v where v.offering_id = o.id)"#,
        id.0
    )
    .fetch_one(tx)
    .await
}
