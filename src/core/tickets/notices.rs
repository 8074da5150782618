//! Whom what happens to a ticket concerns: its submitter and its assignee, but not who did it.

use sqlx::PgConnection;

use super::fields::{TicketFields, TicketStatus};
use super::handlers::{Ticket, TicketRow};
use crate::access::Permission;
use crate::core::notifications::{Notice, tell};
use crate::http::Writable;
use crate::ids::Id;
use crate::users::roles::everyone_who_may;

const ASSIGNED: &str = "Ticket assigned";
const UPDATED: &str = "Ticket updated";
const COMMENTED: &str = "Ticket comment";

/// A ticket has been submitted, and perhaps assigned at once.
pub(super) async fn of_submission(tx: &mut PgConnection, actor: Id, row: &TicketRow) -> sqlx::Result<()> {
    tell_of(tx, actor, row, &row.title, &[(row.parties.assigned_to, ASSIGNED)]).await
}

/// The fields of a ticket have been written.
pub(super) async fn of_change(
    tx: &mut PgConnection,
    actor: Id,
    row: &TicketRow,
    after: &TicketFields,
) -> sqlx::Result<()> {
    let before = Ticket::fields(row);
    if before == *after {
        return Ok(());
    }
    let (was, is) = (&before.handling, &after.handling);
    let newly_assigned = is.assigned_to.is_some() && was.assigned_to != is.assigned_to;
    let verb = match is.status {
        status if status == was.status => {
            if newly_assigned {
                ASSIGNED
            } else {
                UPDATED
            }
        }
        TicketStatus::Open => "Ticket reopened",
        TicketStatus::InProgress => "Ticket in progress",
        TicketStatus::Closed => "Ticket closed",
    };
    let to_assignee = if newly_assigned { ASSIGNED } else { verb };
    tell_of(tx, actor, row, &after.text.title, &[(is.assigned_to, to_assignee), (Some(row.parties.submitter), verb)])
        .await
}

/// A file has come.
pub(super) async fn of_file(tx: &mut PgConnection, actor: Id, row: &TicketRow) -> sqlx::Result<()> {
    let told = [(row.parties.assigned_to, UPDATED), (Some(row.parties.submitter), UPDATED)];
    tell_of(tx, actor, row, &row.title, &told).await
}

/// Somebody has said something; an internal note is for those who may read it.
pub(in crate::core) async fn of_comment(
    tx: &mut PgConnection,
    actor: Id,
    row: &TicketRow,
    internal: bool,
) -> sqlx::Result<()> {
    let mut assignee = row.parties.assigned_to;
    if internal {
        let readers = everyone_who_may(tx, Permission::ReadTicketNotes).await?;
        assignee = assignee.filter(|assignee| readers.contains(assignee) && *assignee != row.parties.submitter);
    }
    let submitter = Some(row.parties.submitter).filter(|_| !internal);
    tell_of(tx, actor, row, &row.title, &[(assignee, COMMENTED), (submitter, COMMENTED)]).await
}

/// Tells each of these people once, by the first verb.
async fn tell_of(
    tx: &mut PgConnection,
    actor: Id,
    row: &TicketRow,
    title: &str,
    told: &[(Option<Id>, &'static str)],
) -> sqlx::Result<()> {
    let mut notices: Vec<Notice> = Vec::new();
    for (recipient, verb) in told {
        let Some(recipient) = recipient.filter(|recipient| *recipient != actor) else { continue };
        if notices.iter().all(|notice| notice.recipient != recipient) {
            let (description, target) = (title.to_owned(), (<Ticket as crate::http::Resource>::NAME, row.id));
            notices.push(Notice { recipient, actor: Some(actor), verb, description, target });
        }
    }
    tell(tx, &notices).await
}
