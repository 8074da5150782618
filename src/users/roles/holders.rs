//! Who has a role, and when.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::handlers::Role;
use super::store;
use crate::access::{Actor, Viewer, may};
use crate::http::{Answer, Faults, Filter, Kind, Listing, Ordering, Problem, Refusal, Resource, Target, Writable};
use crate::ids::{Id, Moment, end_or_null, moment_or_null, or_null};
use crate::users::accounts::User;

/// A role in somebody's hands.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(super) struct UserRole {
    id: Id,
    user: Id,
    role: Id,
    /// Null: since ever.
    valid_from: Option<Moment>,
    /// Null: for ever.
    valid_until: Option<Moment>,
    created_at: Moment,
    updated_at: Moment,
}

/// What administrators write of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct UserRoleFields {
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub(super) user: Option<Id>,
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub(super) role: Option<Id>,
    #[serde(deserialize_with = "moment_or_null")]
    pub(super) valid_from: Option<Moment>,
    /// After `valid_from`.
    #[serde(deserialize_with = "end_or_null")]
    pub(super) valid_until: Option<Moment>,
}

impl Resource for UserRole {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ManageRoles>;

    const NAME: &'static str = "user_role";
    const TABLE: &'static str = "user_roles";
    const ALIAS: &'static str = "ur";
    const LIVE: &'static str = "ur.deleted_at is null";
    const SELECT: &'static str = store::HOLDER;
    const LISTING: Listing = Listing {
        filters: &[Filter::new("user", "ur.user_id", Kind::Id), Filter::new("role", "ur.role_id", Kind::Id)],
        orderings: &[Ordering::new("created_at", "ur.created_at", "timestamptz")],
        default: "id",
        search: None,
        updated_at: Some("ur.updated_at"),
    };

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for UserRole {
    type Fields = UserRoleFields;
    type Write = may::ManageRoles;

    const REFUSALS: &'static [Refusal] = &[
        Refusal::taken("user_roles_are_held_once", "role", "This user already has this role."),
        Refusal::invalid("user_roles_end_after_they_start", "valid_until", "The end must be after the start."),
    ];

    fn fields(row: &Self) -> UserRoleFields {
        UserRoleFields {
            user: Some(row.user),
            role: Some(row.role),
            valid_from: row.valid_from,
            valid_until: row.valid_until,
        }
    }

    /// Nobody gives a role to themselves. Whoever has one may lose it.
    async fn allowed(_: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        match target {
            Target::New(fields) if fields.user == Some(actor.id()) => {
                Err(Problem::forbidden("You cannot give a role to your own account; ask another administrator."))
            }
            Target::New(_) | Target::Row(_) => Ok(()),
        }
    }

    async fn check(tx: &mut PgConnection, fields: &UserRoleFields, _: Option<(Id, &UserRoleFields)>) -> Answer<()> {
        let mut faults = Faults::default();
        faults.refers::<User>(tx, "user", fields.user).await?;
        faults.refers::<Role>(tx, "role", fields.role).await?;
        let in_order = !matches!((fields.valid_from, fields.valid_until), (Some(from), Some(until)) if until <= from);
        faults.unless(in_order, "valid_until", "The end must be after the start.");
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &UserRoleFields) -> Answer<Id> {
        Ok(store::add_holder(tx, actor.id(), fields).await?)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &UserRoleFields) -> Answer<()> {
        Ok(store::replace_holder(tx, actor.id(), id, fields).await?)
    }
}
