//! What becomes of the seats of somebody whose account ends.

use sqlx::PgConnection;

use super::steps::{Held, Step, carry_out};
use super::store;
use crate::access::{Permission, Viewer};
use crate::core::notifications::{Notice, tell};
use crate::enrollment::Status;
use crate::http::Answer;
use crate::ids::Id;
use crate::users::roles::everyone_who_may;

/// What is to become of seats that were granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Granted {
    /// They stay, and staff are told which.
    Stay,
    /// They are given back.
    Withdrawn,
}

/// Withdraws the requests of this student that wait for a decision, since nobody waits any more, and does with granted seats as is
/// said. The account is locked.
pub(crate) async fn end_seats(tx: &mut PgConnection, author: &Viewer, student: Id, granted: Granted) -> Answer<()> {
    let seats = store::seats_of(tx, student).await?;
    let held = store::hold(tx, &seats).await?;
    let ends = |held: &&Held| match held.status {
        Status::Pending => true,
        Status::Enrolled => granted == Granted::Withdrawn,
        Status::Withdrawn | Status::Completed | Status::Failed => false,
    };
    let withdrawn = |held: &Held| Step {
        id: held.id,
        status: Status::Withdrawn,
        grade: String::new(),
        marks: None,
        reason: "The account was deactivated.".to_owned(),
        decision: None,
        day: None,
    };
    let steps: Vec<(&Held, Step)> = held.iter().filter(ends).map(|held| (held, withdrawn(held))).collect();
    carry_out(tx, Some(author), "withdraw", &steps).await?;
    let stay: Vec<String> =
        held.iter().filter(|held| held.status == Status::Enrolled && !ends(held)).map(Held::class).collect();
    if stay.is_empty() {
        return Ok(());
    }
    // By number: what is erased is not written down again.
    let who = store::number_of(tx, student).await?;
    let description =
        format!("The account of student {who} was deactivated, and its seats stay taken: {}.", stay.join(", "));
    let staff = everyone_who_may(tx, Permission::ApproveEnrollments).await?;
    let notices: Vec<Notice> = staff
        .into_iter()
        .map(|recipient| Notice {
            recipient,
            actor: author.caller_id(),
            verb: "Seats of a deactivated account",
            description: description.clone(),
            target: ("user", student),
        })
        .collect();
    Ok(tell(tx, &notices).await?)
}
