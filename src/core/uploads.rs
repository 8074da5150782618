//! How a thing is made that is a public file.

use crate::access::Actor;
use crate::app::AppState;
use crate::files::{Accepts, Admitted, Upload, Written};
use crate::http::{self, Answer, Created, Target, Writable};
use crate::ids::Id;

/// Stores the file of `upload` and makes an `R` with it, in one transaction; `fields` are those of an `R` with this file.
pub(super) async fn create<R: Writable>(
    app: &AppState,
    actor: &Actor<R::Write>,
    upload: &Upload,
    fields: impl Fn(Option<Id>) -> R::Fields + Send + Sync,
) -> Answer<Created<R::Shown>> {
    let without = fields(None);
    let mut conn = app.db.acquire().await?;
    let admitted = Admitted::after(R::allowed(&mut conn, actor, Target::New(&without))).await?;
    drop(conn);
    let file = app.files.accept(&admitted, upload.file("file")?, Accepts::Documents).await?;
    let written = Written::default();
    let (file, slot, fields, without) = (&file, &written, &fields, &without);
    let created = upload
        .repeat
        .write(
            app,
            Some(actor.id()),
            |tx, _| Box::pin(R::allowed(tx, actor, Target::New(without))),
            |tx, _| {
                Box::pin(async move {
                    let stored = app.files.put(tx, actor.id(), file, true).await?;
                    let fields = fields(Some(stored.id));
                    slot.hold(stored);
                    let row = http::insert::<R>(tx, actor, &fields).await?;
                    Created::with(&R::shown(row, actor))
                })
            },
        )
        .await?;
    written.keep();
    Ok(created)
}
