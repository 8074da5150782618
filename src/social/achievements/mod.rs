//! Achievements: what students earn when all the gold that they were ever awarded reaches its points.

mod badge;
pub(in crate::social) mod grants;
mod handlers;
mod mine;
mod store;

use crate::http::{Routes, change, create, list, remove, replace, show};

pub use handlers::Achievement;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/social/achievements")
        .get("/", list::<Achievement>, "Lists achievements.")
        .post("/", create::<Achievement>, "Creates an achievement; who has the points gets it at once.")
        .get("/my/", mine::mine, "Lists what the caller has earned.")
        .get("/{id}/", show::<Achievement>, "Shows an achievement.")
        .put("/{id}/", replace::<Achievement>, "Replaces an achievement; who has the points gets it at once.")
        .patch("/{id}/", change::<Achievement>, "Changes an achievement; who has the points gets it at once.")
        .delete("/{id}/", remove::<Achievement>, "Deletes an achievement that nobody has earned.")
        .post(
            "/{id}/restore/",
            handlers::restore,
            "Brings a deleted achievement back; who has the points gets it at once.",
        )
        .post("/{id}/badge_image/", badge::set, "Sets an achievement's badge.")
}
