//! Every SQL statement of roles and of who has them.

use sqlx::PgConnection;

use super::handlers::RoleFields;
use super::holders::UserRoleFields;
use crate::ids::Id;

/// The columns of a role.
pub(super) const ROLE: &str = "
select r.id,
       r.name,
       r.description,
       r.permissions,
       r.created_at,
       r.updated_at
from roles r";

/// The columns of a role in somebody's hands.
pub(super) const HOLDER: &str = "
select ur.id,
       ur.user_id as \"user\",
       ur.role_id as role,
       ur.valid_from,
       ur.valid_until,
       ur.created_at,
       ur.updated_at
from user_roles ur";

pub(super) async fn add_role(tx: &mut PgConnection, author: Id, role: &RoleFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into roles (name, description, permissions, created_by, updated_by)
           values ($1, $2, $3, $4, $4)
           returning id as "id: Id""#,
        role.name,
        role.description,
        &role.permissions,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace_role(tx: &mut PgConnection, author: Id, id: Id, role: &RoleFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update roles
            set name = $2, description = $3, permissions = $4, updated_at = rule_now(), updated_by = $5
          where id = $1",
        id.0,
        role.name,
        role.description,
        &role.permissions,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn add_holder(tx: &mut PgConnection, author: Id, held: &UserRoleFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into user_roles (user_id, role_id, valid_from, valid_until, created_by, updated_by)
           values ($1, $2, $3, $4, $5, $5)
           returning id as "id: Id""#,
        held.user as _,
        held.role as _,
        held.valid_from as _,
        held.valid_until as _,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace_holder(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    held: &UserRoleFields,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update user_roles
            set user_id = $2,
                role_id = $3,
                valid_from = $4,
                valid_until = $5,
                updated_at = rule_now(),
                updated_by = $6
          where id = $1",
        id.0,
        held.user as _,
        held.role as _,
        held.valid_from as _,
        held.valid_until as _,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}
