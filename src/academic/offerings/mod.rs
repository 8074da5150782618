//! Offerings: units in a semester and year, with a window to enrol in and a number of seats.
//!
//! The seats taken (`current_enrollment`) are counted by enrolment and only read here. An offering is of the intake of
//! its semester and year, which is made when it is missing.

mod handlers;
mod store;

use sqlx::PgConnection;

use crate::access::{Actor, Reach};
use crate::http::{Answer, Problem, Routes, change, create, list, remove, replace, restore, show};

use crate::ids::Id;

pub use handlers::{Offering, OfferingFields};
pub(crate) use store::offering_json;

/// 403 unless the actor's permission reaches this offering: who convenes a unit now does not convene its past. One that is not there
/// is left to the rules.
pub(crate) async fn refuse_foreign<P>(tx: &mut PgConnection, actor: &Actor<P>, offering: Option<Id>) -> Answer<()> {
    let Some(offering) = offering.filter(|_| !actor.scope().is_all()) else { return Ok(()) };
    let Some(own) = store::convenes(tx, actor.id(), offering).await? else { return Ok(()) };
    if own && actor.scope().covers(Reach::OWN_UNITS) {
        return Ok(());
    }
    Err(Problem::forbidden("Only the unit's convenor and staff may do this."))
}

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/academic/offerings")
        .get("/", list::<Offering>, "Lists offerings.")
        .post("/", create::<Offering>, "Creates an offering.")
        .get("/{id}/", show::<Offering>, "Shows an offering.")
        .put("/{id}/", replace::<Offering>, "Replaces an offering.")
        .patch("/{id}/", change::<Offering>, "Changes an offering.")
        .delete("/{id}/", remove::<Offering>, "Deletes an offering that nothing refers to.")
        .post("/{id}/restore/", restore::<Offering>, "Brings a deleted offering back.")
}
