//! Roles: named sets of permissions, and who has them when.

mod handlers;
mod holders;
mod store;

use crate::http::{Routes, change, create, list, remove, replace, restore, show};

use handlers::Role;
use holders::UserRole;
pub(crate) use store::everyone_who_may;

/// The endpoints of roles and of who has them.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users/permissions")
        .get("/", handlers::permissions, "Lists all permission codes.")
        .and(
            Routes::under("/api/users/roles")
                .get("/", list::<Role>, "Lists roles.")
                .post("/", create::<Role>, "Creates a role.")
                .get("/{id}/", show::<Role>, "Shows a role.")
                .put("/{id}/", replace::<Role>, "Replaces a role.")
                .patch("/{id}/", change::<Role>, "Changes a role.")
                .delete("/{id}/", remove::<Role>, "Deletes a role that nobody has.")
                .post("/{id}/restore/", restore::<Role>, "Brings a deleted role back."),
        )
        .and(
            Routes::under("/api/users/user-roles")
                .get("/", list::<UserRole>, "Lists who has which role.")
                .post("/", create::<UserRole>, "Gives a role to a user.")
                .get("/{id}/", show::<UserRole>, "Shows a user's role.")
                .put("/{id}/", replace::<UserRole>, "Replaces a user's role.")
                .patch("/{id}/", change::<UserRole>, "Changes a user's role.")
                .delete("/{id}/", remove::<UserRole>, "Takes a role from a user.")
                .post("/{id}/restore/", restore::<UserRole>, "Gives a taken role back."),
        )
}
