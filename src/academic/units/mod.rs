//! Units: single subjects, with what must and what must not have been taken before.
//!
//! Whoever reads may be anyone; convenors write the units that they convene themselves, and only staff decide who
//! convenes. What belongs to a unit asks [`refuse_foreign`] who may write it, and shows it as a [`UnitBrief`].

mod brief;
mod handlers;
mod requisites;
mod store;

use sqlx::PgConnection;

use crate::access::{Actor, Reach};
use crate::http::{Answer, Problem, Routes, change, create, list, remove, replace, restore, show};
use crate::ids::Id;

pub use brief::UnitBrief;
pub(crate) use brief::{courses_of_unit, unit_brief};
pub(in crate::academic) use handlers::{NO_CONVENOR, UnitOfCourse, refuse_registrars, tell_convenor};
pub use handlers::{Unit, UnitFields};
pub(in crate::academic) use store::can_convene;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/academic/units")
        .get("/", list::<Unit>, "Lists units.")
        .post("/", create::<Unit>, "Creates a unit.")
        .get("/{id}/", show::<Unit>, "Shows a unit.")
        .put("/{id}/", replace::<Unit>, "Replaces a unit.")
        .patch("/{id}/", change::<Unit>, "Changes a unit.")
        .delete("/{id}/", remove::<Unit>, "Deletes a unit that nothing refers to.")
        .post("/{id}/restore/", restore::<Unit>, "Brings a deleted unit back.")
}

/// 403 unless the actor's permission reaches this unit. A unit that is not there is left to the rules.
pub(crate) async fn refuse_foreign<P>(tx: &mut PgConnection, actor: &Actor<P>, unit: Option<Id>) -> Answer<()> {
    let Some(unit) = unit.filter(|_| !actor.scope().is_all()) else { return Ok(()) };
    let Some(own) = store::convenes(tx, actor.id(), unit).await? else { return Ok(()) };
    if own && actor.scope().covers(Reach::OWN_UNITS) {
        return Ok(());
    }
    Err(Problem::forbidden("Only the unit's convenor and staff may do this."))
}
