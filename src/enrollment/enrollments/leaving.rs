//! What becomes of the requests of somebody whose account ends.

use sqlx::PgConnection;

use super::steps::{Held, Step, carry_out};
use super::store;
use crate::access::Viewer;
use crate::enrollment::Status;
use crate::http::Answer;
use crate::ids::Id;

/// Withdraws the requests of this student that wait for a decision: nobody waits any more. The account is locked. Seats that were
/// granted stay until staff decide.
pub(crate) async fn end_requests(tx: &mut PgConnection, author: &Viewer, student: Id) -> Answer<()> {
    let pending = store::pending_of(tx, student).await?;
    let held = store::hold(tx, &pending).await?;
    let withdrawn = |held: &Held| Step {
        id: held.id,
        status: Status::Withdrawn,
        grade: String::new(),
        marks: None,
        reason: "The account was deactivated.".to_owned(),
        decision: None,
    };
    let steps: Vec<(&Held, Step)> =
        held.iter().filter(|held| held.status == Status::Pending).map(|held| (held, withdrawn(held))).collect();
    carry_out(tx, Some(author), "withdraw", &steps).await
}
