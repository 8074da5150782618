//! Intakes: the cohorts of a semester and year.

mod handlers;
mod store;

use serde_json::Value;
use sqlx::PgConnection;

use crate::academic::semester::Semester;
use crate::access::Viewer;
use crate::audit;
use crate::http::{Answer, Problem, Routes, change, create, list, remove, replace, restore, show};
use crate::ids::Id;

pub(crate) use handlers::check_term;
pub use handlers::{Intake, IntakeFields};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/academic/intakes")
        .get("/", list::<Intake>, "Lists intakes.")
        .post("/", create::<Intake>, "Creates an intake.")
        .get("/{id}/", show::<Intake>, "Shows an intake.")
        .put("/{id}/", replace::<Intake>, "Replaces an intake.")
        .patch("/{id}/", change::<Intake>, "Changes an intake that has no offerings.")
        .delete("/{id}/", remove::<Intake>, "Deletes an intake that nothing refers to.")
        .post("/{id}/restore/", restore::<Intake>, "Brings a deleted intake back.")
}

/// The live intake of a semester and year, which stays live until this transaction ends; made when it is missing.
pub(crate) async fn intake_of(tx: &mut PgConnection, author: &Viewer, semester: Semester, year: i32) -> Answer<Id> {
    if let Some(intake) = store::hold_of(tx, semester, year).await? {
        return Ok(intake);
    }
    let (intake, is_new) = store::add_if_missing(tx, author.caller_id(), semester, year).await?;
    if is_new {
        let fields = IntakeFields { semester: Some(semester), year: Some(year) };
        let after = serde_json::to_value(fields).map_err(Problem::internal)?;
        audit::record(tx, author, "create", "intake", Some(intake), &Value::Null, &after).await?;
    }
    Ok(intake)
}

/// Lets an intake go that was made on the way to an offering, once the last offering has left it.
pub(crate) async fn leave(tx: &mut PgConnection, author: &Viewer, intake: Id) -> Answer<()> {
    let Some((semester, year)) = store::drop_if_unused(tx, author.caller_id(), intake).await? else { return Ok(()) };
    let fields = IntakeFields { semester: Some(semester), year: Some(year) };
    let before = serde_json::to_value(fields).map_err(Problem::internal)?;
    audit::record(tx, author, "delete", "intake", Some(intake), &before, &Value::Null).await
}

/// The semester and year of a live intake, which stays as it is until this transaction ends.
pub(crate) async fn held(tx: &mut PgConnection, intake: Id) -> sqlx::Result<Option<(Semester, i32)>> {
    store::hold(tx, intake).await
}
