//! Submitting, changing and deleting tickets.

use axum::extract::State;
use serde_json::Value;
use sqlx::PgConnection;

use super::fields::{NewTicket, TicketFields};
use super::handlers::{Ticket, TicketRow};
use super::parties::Parties;
use super::{notices, store};
use crate::access::{Actor, Permission, may};
use crate::app::AppState;
use crate::audit;
use crate::db;
use crate::http::{
    self, Answer, Changes, Created, IfMatch, NoContent, PathId, Posted, Problem, Replacement, Resource, Shown, Writable,
};
use crate::ids::Id;

/// `POST /`
pub(super) async fn create(
    actor: Actor<may::CreateTickets>,
    State(app): State<AppState>,
    Posted { body, repeat }: Posted<NewTicket>,
) -> Answer<Created<Ticket>> {
    let fields = body.fields(&actor)?;
    let writer = actor.require::<may::WriteTickets>()?;
    let (actor, fields) = (&writer, &fields);
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let row = http::insert::<Ticket>(tx, actor, fields).await?;
                notices::of_submission(tx, actor.id(), &row).await?;
                Created::with(&Ticket::shown(row, actor))
            })
        })
        .await
}

/// `PUT /{id}/`
pub(super) async fn replace(
    actor: Actor<may::WriteTickets>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    sent: Replacement<TicketFields, NewTicket>,
) -> Answer<Shown<Ticket>> {
    let (actor, condition, sent) = (&actor, &condition, &sent.members);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = http::locked::<Ticket>(tx, actor, id, condition).await?;
            let fields = Ticket::fields(&row).replaced(sent, &row.parties, actor)?;
            update(tx, actor, &row, &fields).await
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
    changes: Changes<TicketFields>,
) -> Answer<Shown<Ticket>> {
    let (actor, condition, changes) = (&actor, &condition, &changes);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = http::locked::<Ticket>(tx, actor, id, condition).await?;
            let fields = Ticket::fields(&row).changed(changes, &row.parties, actor)?;
            update(tx, actor, &row, &fields).await
        })
    })
    .await
}

/// `DELETE /{id}/`
pub(super) async fn remove(
    actor: Actor<may::ManageTickets>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
) -> Answer<NoContent> {
    let writer = actor.require::<may::WriteTickets>()?;
    let (actor, condition) = (&writer, &condition);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = http::locked::<Ticket>(tx, actor, id, condition).await?;
            if !row.parties.within(actor, Permission::ManageTickets) {
                return Err(Problem::forbidden("Only staff may delete a ticket."));
            }
            http::set_deleted::<Ticket>(tx, actor, id, true).await?;
            let before = serde_json::to_value(Ticket::fields(&row)).map_err(Problem::internal)?;
            audit::record(tx, actor, "delete", Ticket::NAME, Some(id), &before, &Value::Null).await?;
            Ok(NoContent)
        })
    })
    .await
}

async fn update(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteTickets>,
    row: &TicketRow,
    fields: &TicketFields,
) -> Answer<Shown<Ticket>> {
    refuse_handing_away(tx, actor, &row.parties, row.id, fields).await?;
    let shown = http::update::<Ticket>(tx, actor, row.id, row, fields).await?;
    notices::of_change(tx, actor.id(), row, fields).await?;
    Ok(shown)
}

/// Who writes a ticket because it is about a unit of theirs does not make it one about another's.
async fn refuse_handing_away(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteTickets>,
    parties: &Parties,
    id: Id,
    fields: &TicketFields,
) -> Answer<()> {
    let text = &fields.text;
    let convenors = store::convenors(tx, text.related_unit, text.related_offering).await?;
    let after = Parties { submitter: parties.submitter, assigned_to: fields.handling.assigned_to, convenors };
    if after.within(actor, Permission::WriteTickets) {
        return Ok(());
    }
    Err(Problem::forbidden(format!("With this change ticket {id} would be out of your reach.")))
}
