//! The files of tickets: private, fetched by signed links.

use axum::extract::State;
use serde_json::json;
use sqlx::PgConnection;

use super::handlers::{FileRow, Ticket, TicketFile, TicketRow};
use super::{notices, store};
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::files::{Accepts, Admitted, Upload, Written};
use crate::http::{Answer, Created, PathId, Problem, Resource, Sight, Target, Writable, find};
use crate::ids::Id;

/// The most files of a ticket.
const MOST: usize = 20;

/// `POST /{id}/files/`
pub(super) async fn add(
    actor: Actor<may::WriteTickets>,
    State(app): State<AppState>,
    PathId(id): PathId,
    upload: Upload,
) -> Answer<Created<TicketFile>> {
    let mut conn = app.db.acquire().await?;
    let admitted = Admitted::after(room_in(&mut conn, &actor, id)).await?;
    drop(conn);
    let file = app.files.accept(&admitted, upload.file("file")?, Accepts::Documents).await?;
    let written = Written::default();
    let (app, actor, file, slot) = (&app, &actor, &file, &written);
    let created = upload
        .repeat
        .write(
            app,
            Some(actor.id()),
            |tx, _| Box::pin(async move { writable(tx, actor, id).await.map(|_| ()) }),
            |tx, _| {
                Box::pin(async move {
                    store::lock(tx, id).await?;
                    let row = room_in(tx, actor, id).await?;
                    let stored = app.files.put(tx, actor.id(), file, false).await?;
                    let added: FileRow = store::add_file(tx, actor.id(), id, stored.id).await?;
                    slot.hold(stored);
                    let after = json!({ "file": added.id, "name": added.name });
                    audit::record(tx, actor, "add_file", Ticket::NAME, Some(id), &json!({}), &after).await?;
                    notices::of_file(tx, actor.id(), &row).await?;
                    Created::with(&added.seen(actor))
                })
            },
        )
        .await?;
    written.keep();
    Ok(created)
}

/// The ticket, if the actor may write to it and it has room for a file.
async fn room_in(tx: &mut PgConnection, actor: &Actor<may::WriteTickets>, id: Id) -> Answer<TicketRow> {
    let row = writable(tx, actor, id).await?;
    if row.files.len() >= MOST {
        return Err(Problem::conflict("too_many_files", format!("A ticket has at most {MOST} files.")));
    }
    Ok(row)
}

async fn writable(tx: &mut PgConnection, actor: &Actor<may::WriteTickets>, id: Id) -> Answer<TicketRow> {
    let row = find::<Ticket>(tx, actor, id, Sight::Visible).await?;
    Ticket::allowed(tx, actor, Target::Row(&row)).await?;
    Ok(row)
}
