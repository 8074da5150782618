//! What a role is on the wire.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Grants, Permission, Reach, UserType, Viewer, may, parse};
use crate::http::{Answer, Faults, Listed, Listing, Ordering, Problem, Refusal, Resource, Search, Target, Writable};
use crate::ids::{Id, Moment};

/// A named set of permissions.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(super) struct Role {
    id: Id,
    name: String,
    description: String,
    permissions: Vec<String>,
    created_at: Moment,
    updated_at: Moment,
}

/// What administrators write of a role.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct RoleFields {
    /// Unique without regard to case.
    #[schema(required)]
    pub(super) name: String,
    pub(super) description: String,
    /// Each `code` or `code:scope`, scope being own, children, `own_units` or all; without a scope it reaches everything.
    pub(super) permissions: Vec<String>,
}

/// `GET /api/users/permissions/`
pub(super) async fn permissions(_: Actor<may::ManageRoles>) -> Answer<Listed<String>> {
    Listed::whole(&Permission::ALL.iter().map(|permission| permission.code().to_owned()).collect::<Vec<_>>())
}

/// Whether this is a permission, and its scope one that some user type has it with. Handlers tell no other scope from
/// everything: a `roles.manage:own` would write all roles.
fn is_known(spelt: &str) -> bool {
    let narrower = [UserType::Student, UserType::Staff, UserType::UnitConvenor, UserType::Auditor, UserType::Parent]
        .map(|user_type| Grants::of(user_type, false, false));
    parse(spelt).is_some_and(|(permission, scope)| {
        scope == Reach::ALL
            || narrower.iter().map(|grants| grants.reach(permission)).any(|has| !has.is_all() && has.covers(scope))
    })
}

impl Resource for Role {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ManageRoles>;

    const NAME: &'static str = "role";
    const TABLE: &'static str = "roles";
    const ALIAS: &'static str = "r";
    const LIVE: &'static str = "r.deleted_at is null";
    const SELECT: &'static str = store::ROLE;
    const LISTING: Listing = Listing {
        filters: &[],
        orderings: &[
            Ordering::named("name", "r.name collate \"vi-x-icu\""),
            Ordering::new("created_at", "r.created_at", "timestamptz"),
        ],
        default: "id",
        search: Some(Search::Anywhere("r.search_text")),
        updated_at: Some("r.updated_at"),
    };

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for Role {
    type Fields = RoleFields;
    type Write = may::ManageRoles;

    const REFUSALS: &'static [Refusal] =
        &[Refusal::taken("roles_name_is_unique", "name", "A role with this name already exists.")];
    const REFERRED_BY: &'static [(&'static str, &'static str)] =
        &[("user_roles", "select count(*) from user_roles where role_id = $1 and deleted_at is null")];

    fn fields(row: &Self) -> RoleFields {
        RoleFields {
            name: row.name.clone(),
            description: row.description.clone(),
            permissions: row.permissions.clone(),
        }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(_: &mut PgConnection, fields: &RoleFields, _: Option<(Id, &RoleFields)>) -> Answer<()> {
        let mut faults = Faults::default();
        faults.name("name", &fields.name, 255);
        faults.text("description", &fields.description, 20_000);
        for spelt in &fields.permissions {
            faults.unless(is_known(spelt), "permissions", format!("There is no permission `{spelt}`."));
        }
        faults.unless(fields.permissions.len() <= 200, "permissions", "At most 200 permissions fit into a role.");
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &RoleFields) -> Answer<Id> {
        Ok(store::add_role(tx, actor.id(), fields).await?)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &RoleFields) -> Answer<()> {
        let mut new = Grants::default();
        fields.permissions.iter().for_each(|spelt| new.add_named(spelt));
        if actor.lacks(&new).is_some() && store::is_held_by(tx, id, actor.id()).await? {
            let says = "You have this role yourself, and cannot give yourself rights; ask another administrator.";
            return Err(Problem::forbidden(says));
        }
        Ok(store::replace_role(tx, actor.id(), id, fields).await?)
    }
}
