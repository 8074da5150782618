//! Every SQL statement of roles and of who has them.

use sqlx::PgConnection;

use super::handlers::RoleFields;
use super::holders::UserRoleFields;
use crate::access::{Grants, Permission, UserType};
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

/// The active users whose permission reaches everything now: by user type, by `is_staff` or `is_superuser`, by a role.
///
/// # Errors
/// The database's failure.
pub(crate) async fn everyone_who_may(conn: &mut PgConnection, permission: Permission) -> sqlx::Result<Vec<Id>> {
    let has = |user_type| Grants::of(user_type, false, false).reach(permission).is_all();
    let named = UserType::NAMED.into_iter().filter(|(_, user_type)| has(*user_type));
    let user_types: Vec<String> = named.map(|(name, _)| name.to_owned()).collect();
    let codes = [permission.code().to_owned(), format!("{}:all", permission.code())];
    sqlx::query_scalar!(
        r#"select u.id as "id: Id"
             from users u
            where u.is_active
              and (u.user_type = any($1)
                   or (u.is_staff and $2)
                   or (u.is_superuser and $3)
                   or exists (select
                                from user_roles ur
                                join roles r on r.id = ur.role_id
                               where ur.user_id = u.id
                                 and r.permissions && $4
                                 and ur.deleted_at is null
                                 and r.deleted_at is null
                                 and (ur.valid_from is null or ur.valid_from <= rule_now())
                                 and (ur.valid_until is null or ur.valid_until > rule_now())))
            order by u.id"#,
        &user_types,
        has(UserType::Staff),
        has(UserType::Admin),
        &codes
    )
    .fetch_all(conn)
    .await
}

/// Whether this person has the role, or will have it.
pub(super) async fn is_held_by(tx: &mut PgConnection, role: Id, user: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from user_roles
                           where role_id = $1
                             and user_id = $2
                             and deleted_at is null
                             and (valid_until is null or valid_until > rule_now())) as "held!""#,
        role.0,
        user.0
    )
    .fetch_one(tx)
    .await
}
