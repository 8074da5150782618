//! Commenting, and changing what one said.

use axum::extract::State;
use sqlx::PgConnection;

use super::handlers::{CommentRow, TicketComment, TicketCommentFields, TicketCommentReplacement};
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::core::tickets::{Ticket, notices};
use crate::db;
use crate::http::{
    self, Answer, Changes, Created, IfMatch, PathId, Posted, Problem, Replacement, Resource, Shown, Sight, Target,
    Writable, find,
};

/// `POST /`
pub(super) async fn create(
    actor: Actor<may::WriteTickets>,
    State(app): State<AppState>,
    Posted { body, repeat }: Posted<TicketCommentFields>,
) -> Answer<Created<TicketComment>> {
    let (actor, sent) = (&actor, &body);
    repeat
        .write(
            &app,
            Some(actor.id()),
            |tx, _| Box::pin(TicketComment::allowed(tx, actor, Target::New(sent))),
            |tx, _| {
                Box::pin(async move {
                    // Without a ticket there is nothing to note, and the rules refuse it.
                    let ticket = match sent.ticket {
                        Some(id) => Some(find::<Ticket>(tx, actor, id, Sight::Visible).await?),
                        None => None,
                    };
                    let notes = ticket.as_ref().is_some_and(|ticket| ticket.parties.takes_notes_of(actor));
                    let fields = TicketCommentFields { internal: sent.internal && notes, ..sent.clone() };
                    let row = http::insert::<TicketComment>(tx, actor, &fields).await?;
                    if let Some(ticket) = &ticket {
                        notices::of_comment(tx, actor.id(), ticket, row.internal).await?;
                    }
                    Created::with(&TicketComment::shown(row, actor))
                })
            },
        )
        .await
}

/// `PUT /{id}/`
pub(super) async fn replace(
    actor: Actor<may::WriteTickets>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    sent: Replacement<TicketCommentFields, TicketCommentReplacement>,
) -> Answer<Shown<TicketComment>> {
    let (actor, condition, sent) = (&actor, &condition, &sent.members);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = http::locked::<TicketComment>(tx, actor, id, condition).await?;
            let wanted = sent.onto(&TicketCommentFields::default())?;
            update(tx, actor, &row, wanted).await
        })
    })
    .await
}

/// `PATCH /{id}/`
pub(super) async fn change(
    actor: Actor<may::WriteTickets>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    changes: Changes<TicketCommentFields>,
) -> Answer<Shown<TicketComment>> {
    let (actor, condition, changes) = (&actor, &condition, &changes);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = http::locked::<TicketComment>(tx, actor, id, condition).await?;
            let wanted = changes.onto(&TicketComment::fields(&row))?;
            update(tx, actor, &row, wanted).await
        })
    })
    .await
}

async fn update(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteTickets>,
    row: &CommentRow,
    wanted: TicketCommentFields,
) -> Answer<Shown<TicketComment>> {
    if row.commenter != actor.id() {
        return Err(Problem::forbidden("Only who wrote a comment may change it."));
    }
    let notes = row.parties.takes_notes_of(actor);
    let internal = if notes { wanted.internal } else { row.internal };
    let fields = TicketCommentFields { ticket: Some(row.ticket), internal, ..wanted };
    http::update::<TicketComment>(tx, actor, row.id, row, &fields).await
}
