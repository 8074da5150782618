//! The documents of applications: private, fetched by signed links.

use axum::extract::State;
use serde_json::json;
use sqlx::PgConnection;

use super::handlers::{Application, Document};
use super::store;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::files::{Accepts, Admitted, Upload, Written};
use crate::http::{Answer, Created, PathId, Problem, Resource, Sight, find};
use crate::ids::Id;

/// The most documents of an application.
const MOST: usize = 20;

/// `POST /{id}/documents/`
pub(super) async fn add(
    actor: Actor<may::ApplyForScholarships>,
    State(app): State<AppState>,
    PathId(id): PathId,
    upload: Upload,
) -> Answer<Created<Document>> {
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
            |tx, _| Box::pin(async move { find::<Application>(tx, actor, id, Sight::Visible).await.map(|_| ()) }),
            |tx, _| {
                Box::pin(async move {
                    store::lock(tx, id).await?;
                    room_in(tx, actor, id).await?;
                    let stored = app.files.put(tx, actor.id(), file, false).await?;
                    let added = store::add_document(tx, actor.id(), id, stored.id).await?;
                    slot.hold(stored);
                    let after = json!({ "document": added.id, "name": added.name });
                    audit::record(tx, actor, "add_document", Application::NAME, Some(id), &json!({}), &after).await?;
                    Created::with(&added.seen(actor))
                })
            },
        )
        .await?;
    written.keep();
    Ok(created)
}

/// Refuses unless the application is the actor's, undecided, and has room for a document.
async fn room_in(tx: &mut PgConnection, actor: &Actor<may::ApplyForScholarships>, id: Id) -> Answer<()> {
    let row = find::<Application>(tx, actor, id, Sight::Visible).await?;
    row.refuse_unless_own_and_pending(actor)?;
    if row.documents.len() >= MOST {
        let says = format!("An application has at most {MOST} documents.");
        return Err(Problem::conflict("too_many_files", says));
    }
    Ok(())
}
