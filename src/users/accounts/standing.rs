//! What only administrators write of a person: who they are to the university, and whether they may log in.

use lettre::Address;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;

use crate::access::{Grants, Permission, UserType, Viewer};
use crate::http::{Answer, Faults, Problem};
use crate::users::names;

/// The fields that give rights, or that others know the person by.
#[derive(Debug, Clone, FromRow, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "the contract's flags")]
pub(super) struct Standing {
    /// Unique without regard to case.
    pub(super) email: String,
    /// Unique without regard to case; letters, digits and `@.+-_`.
    pub(super) username: String,
    pub(super) department: String,
    pub(super) position: String,
    /// Adds what staff may do.
    pub(super) is_staff: bool,
    /// Adds what administrators may do.
    pub(super) is_superuser: bool,
    /// Whether the person may log in.
    pub(super) is_active: bool,
    pub(super) user_type: UserType,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            email: String::new(),
            username: String::new(),
            department: String::new(),
            position: String::new(),
            is_staff: false,
            is_superuser: false,
            is_active: true,
            user_type: UserType::Student,
        }
    }
}

impl Standing {
    /// Whether anyone may write to the person; `store::RECIPIENT` says the same in SQL.
    pub(super) fn is_recipient(&self) -> bool {
        self.is_active && matches!(self.user_type, UserType::Staff | UserType::UnitConvenor | UserType::Admin)
    }

    /// Refuses a change of what gives rights to whoever may not give rights by roles either: 403. Else a role with
    /// `users.manage` would make its holder an administrator.
    pub(super) fn refuse_new_rights(&self, before: &Self, viewer: &Viewer) -> Answer<()> {
        let rights = |standing: &Self| (standing.user_type, standing.is_staff, standing.is_superuser);
        if rights(self) == rights(before) || viewer.reach(Permission::ManageRoles).is_all() {
            return Ok(());
        }
        Err(Problem::forbidden(
            "Changing `user_type`, `is_staff` or `is_superuser` needs the permission `roles.manage` too.",
        ))
    }

    /// Nobody gives themselves rights; whoever gives some up may: 403.
    pub(super) fn refuse_more_for_oneself(&self, before: &Self) -> Answer<()> {
        let rights = |standing: &Self| Grants::of(standing.user_type, standing.is_staff, standing.is_superuser);
        match rights(self).beyond(&rights(before)) {
            None => Ok(()),
            Some(_) => {
                Err(Problem::forbidden("You cannot give rights to your own account; ask another administrator."))
            }
        }
    }

    /// Adds every rule that is broken.
    pub(super) fn check(&self, faults: &mut Faults, before: Option<&Self>) {
        // Names that are there already stay, whatever the rules were.
        let names = |standing: &Self| (standing.email.clone(), standing.username.clone());
        if before.map(names) != Some(names(self)) {
            names::check(faults, &self.email, &self.username);
        }
        if before.is_none_or(|before| before.email != self.email) {
            names::check_reachable(faults, "email", &self.email);
        }

        faults.name("email", &self.email, 254);
        let is_address = self.email.parse::<Address>().is_ok();
        faults.unless(self.email.trim().is_empty() || is_address, "email", "Enter a valid email address.");
        faults.name("username", &self.username, 150);
        let plain = self.username.chars().all(|c| c.is_alphanumeric() || "@.+-_".contains(c));
        faults.unless(plain, "username", "Only letters, digits and @ . + - _ are allowed.");
        faults.text("department", &self.department, 255);
        faults.text("position", &self.position, 255);
    }
}
