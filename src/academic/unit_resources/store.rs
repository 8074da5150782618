//! Every SQL statement of the resources of units.

use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::handlers::{ResourceType, UnitResourceFields};
use crate::access::Reach;
use crate::ids::Id;

/// The columns of a resource.
pub(super) const SELECT: &str = "
select r.id,
       r.unit_id as unit,
       r.title,
       r.resource_type,
       r.description,
       r.file_id as file,
       r.url,
       r.is_required,
       r.created_at,
       r.updated_at
from unit_resources r";

/// Adds the condition that this reader may see the resource `r`: everyone whom the permission reaches sees those of
/// units that they teach; with the reach `own` also of those that they are or were in, with `own_units` of those that
/// they convene.
pub(super) fn push_visible(sql: &mut QueryBuilder<Postgres>, reader: Option<Id>, reach: Reach) {
    if reach.is_all() {
        return;
    }
    sql.push(
        " and (exists (select
                         from class_sessions s
                         join offerings o on o.id = s.offering_id
                        where o.unit_id = r.unit_id
                          and o.deleted_at is null
                          and s.deleted_at is null
                          and s.instructor_id = ",
    );
    sql.push_bind(reader).push(")");
    if reach.covers(Reach::OWN) {
        sql.push(
            " or exists (select
                           from enrollments e
                           join offerings o on o.id = e.offering_id
                          where o.unit_id = r.unit_id
                            and e.deleted_at is null
                            and e.status in ('ENROLLED', 'COMPLETED')
                            and e.student_id = ",
        );
        sql.push_bind(reader).push(")");
    }
    if reach.covers(Reach::OWN_UNITS) {
        sql.push(" or exists (select from units u where u.id = r.unit_id and u.convenor_id = ");
        sql.push_bind(reader).push(")");
    }
    sql.push(")");
}

pub(super) async fn add(tx: &mut PgConnection, author: Id, resource: &UnitResourceFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into unit_resources (unit_id, title, resource_type, description, file_id, url, is_required,
                                       created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $8)
           returning id as "id: Id""#,
        resource.unit as Option<Id>,
        resource.title,
        resource.resource_type as ResourceType,
        resource.description,
        resource.file as Option<Id>,
        resource.url,
        resource.is_required,
        author.0
    )
    .fetch_one(tx)
    .await
}

/// Writes all but the file, which stays.
pub(super) async fn replace(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    resource: &UnitResourceFields,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update unit_resources
            set unit_id = $2,
                title = $3,
                resource_type = $4,
                description = $5,
                url = $6,
                is_required = $7,
                updated_at = rule_now(),
                updated_by = $8
          where id = $1",
        id.0,
        resource.unit as Option<Id>,
        resource.title,
        resource.resource_type as ResourceType,
        resource.description,
        resource.url,
        resource.is_required,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}
