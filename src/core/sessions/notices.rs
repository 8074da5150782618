//! What a class is told when it moves, is cancelled, or takes place after all.

use sqlx::PgConnection;

use super::clashes::spoken;
use super::handlers::{ClassSession, SessionStatus, SessionType};
use super::store;
use crate::access::Viewer;
use crate::core::notifications::{Notice, tell};
use crate::http::{Answer, Resource};

/// Tells those who sit in the offering, or wait for a seat, what has become of a class of theirs.
pub(super) async fn tell_class(
    tx: &mut PgConnection,
    actor: &Viewer,
    before: &ClassSession,
    after: &ClassSession,
) -> Answer<()> {
    use SessionStatus::{Cancelled, Scheduled};

    let (was, is) = (place(before), place(after));
    let (verb, what) = match (before.status, after.status) {
        (Scheduled, Cancelled) => ("Class cancelled", was),
        (Cancelled, Scheduled) => ("Class reinstated", is),
        (Scheduled, Scheduled) if was != is => ("Class moved", format!("from {was} to {is}")),
        (Scheduled, Scheduled) | (Cancelled, Cancelled) => return Ok(()),
    };
    let Some(unit_code) = store::unit_code(tx, after.offering).await? else { return Ok(()) };
    let description = format!("{unit_code} {}: {what}.", spoken_type(after.session_type));
    let students = store::seated(tx, after.offering).await?;
    let notices: Vec<Notice> = students
        .into_iter()
        .map(|recipient| Notice {
            recipient,
            actor: actor.caller_id(),
            verb,
            description: description.clone(),
            target: (ClassSession::NAME, after.id),
        })
        .collect();
    Ok(tell(tx, &notices).await?)
}

/// When and where, for people.
fn place(class: &ClassSession) -> String {
    let time = spoken(class.date, class.start_time, class.end_time);
    if class.location.is_empty() { time } else { format!("{time}, {}", class.location) }
}

fn spoken_type(session_type: SessionType) -> &'static str {
    match session_type {
        SessionType::Lecture => "lecture",
        SessionType::Tutorial => "tutorial",
        SessionType::Lab => "lab",
        SessionType::Other => "class",
    }
}
