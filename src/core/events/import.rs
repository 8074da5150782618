//! Many events at once: from a file, or from a workflow.

use std::fmt::Write as _;

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::handlers::Event;
use super::sheet::{self, Row, Sheet};
use super::store;
use crate::access::{Actor, Permission, Viewer, may};
use crate::app::AppState;
use crate::audit;
use crate::files::{Upload, UploadedFile};
use crate::http::sheet::{MOST_ROWS, RowFault, first_of, refuse, rejected, says_of_unread, sheet_text, told, trial};
use crate::http::{
    Accepted, Answer, Created, Describe, Done, DryRun, Faults, Notes, NowOrLater, Posted, Problem, Resource, Schemas,
    Tried, flag, query_pairs,
};
use crate::ids::{Id, Moment};
use crate::workflows::queue;

/// How a file is to be imported.
pub(super) struct Wanted {
    /// `?partial=true`: rows that break a rule are left out instead of refusing all.
    partial: bool,
    /// `?local=true`: here, also when there is a workflow for it.
    local: bool,
}

/// The file was passed on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Forwarded {
    message: String,
    /// True.
    forwarded: bool,
}

/// What an import did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventImport {
    message: String,
    created_count: usize,
    /// Those whose title and start an event had already, or an earlier row.
    skipped_count: usize,
    error_count: usize,
    events: Vec<EventMade>,
    /// What was left out, with `?partial=true`.
    errors: Vec<RowFault>,
}

/// What a batch did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventBatch {
    created_count: usize,
    /// Those whose title and start an event had already.
    skipped_count: usize,
    error_count: usize,
    created_events: Vec<EventMade>,
    /// Null when nothing is wrong.
    errors: Option<Vec<RowFault>>,
}

/// An event that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventMade {
    id: Id,
    title: String,
    start: Moment,
    visibility: String,
}

/// Events from a workflow: the columns of either shape of file, as JSON.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Batch {
    /// At most 20,000.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Map<String, Value>>,
}

impl FromRequestParts<AppState> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let (mut faults, mut wanted) = (Faults::default(), Self { partial: false, local: false });
        for (name, value) in query_pairs(head)? {
            match name.as_str() {
                "partial" => flag(&mut faults, &name, &value, &mut wanted.partial),
                "local" => flag(&mut faults, &name, &value, &mut wanted.local),
                _ => {}
            }
        }
        faults.check().map(|()| wanted)
    }
}

impl Describe for Wanted {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        let says = "Leaves out rows that break a rule instead of refusing all.";
        notes.parameter("query", "partial", json!({ "type": "boolean" }), says);
        let says = "Imports the file here, also when `N8N_IMPORT_WEBHOOK` is set.";
        notes.parameter("query", "local", json!({ "type": "boolean" }), says);
    }
}

/// `POST /import-csv/`
pub(super) async fn import_csv(
    actor: Actor<may::WriteEvents>,
    State(app): State<AppState>,
    Wanted { partial, local }: Wanted,
    DryRun(only_asked): DryRun,
    upload: Upload,
) -> Answer<Tried<NowOrLater<Done<EventImport>, Forwarded>>> {
    let file = upload.file("file").or_else(|_| upload.file("data"))?;
    // A file that is passed on is not looked at here, so what it would lead to can only be told of the import itself.
    if !only_asked
        && app.config.n8n_import_webhook.is_some()
        && !local
        && actor.reach(Permission::ImportDirectly).is_none()
    {
        return forward(&app, &actor, &upload, file).await.map(NowOrLater::Later).map(Tried::Done);
    }
    let sheet = sheet::of_file(&file.field, &file.bytes)?;
    let (actor, sheet) = (&actor, &sheet);
    if only_asked {
        let mut conn = app.db.acquire().await?;
        let (_, faults) = known_units(&mut conn, sheet).await?;
        let refused = if partial { &[][..] } else { &faults };
        return Done::with(&trial(StatusCode::OK, refused)).map(Tried::Asked);
    }
    upload
        .repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let (rows, faults) = known_units(tx, sheet).await?;
                if !partial {
                    refuse(&faults, "no event was created")?;
                }
                let new = store::without_known(tx, &rows).await?;
                let events = make(tx, actor, &new).await?;
                let skipped_count = rows.len() - new.len();
                Done::with(&EventImport {
                    message: message(&new, skipped_count, &faults) + &says_of_unread(&sheet.unread),
                    created_count: events.len(),
                    skipped_count,
                    error_count: rejected(&faults),
                    events,
                    errors: told(&faults).to_vec(),
                })
            })
        })
        .await
        .map(NowOrLater::Now)
        .map(Tried::Done)
}

/// What an import did, for people; what it did not do is left unsaid when there is none of it.
fn message(made: &[&Row], skipped: usize, faults: &[RowFault]) -> String {
    let mut says = match made.len() {
        0 => "No event was created".to_owned(),
        1 => "1 event was created".to_owned(),
        many => format!("{many} events were created"),
    };
    let _ = match skipped {
        0 => Ok(()),
        1 => write!(says, "; 1 was there already"),
        many => write!(says, "; {many} were there already"),
    };
    let _ = match rejected(faults) {
        0 => write!(says, "."),
        1 => write!(says, "; 1 row was left out. {}", first_of(faults)),
        many => write!(says, "; {many} rows were left out. {}", first_of(faults)),
    };
    let for_no_unit = made.iter().filter(|row| row.visibility == "unit" && row.related_unit.is_none());
    let places: Vec<String> = for_no_unit.map(|row| row.place.number().to_string()).collect();
    if !places.is_empty() {
        let more = places.len().saturating_sub(SHOWN);
        let named = places.get(..SHOWN).unwrap_or(&places).join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let rows = if places.len() == 1 { "row" } else { "rows" };
        let _ = write!(
            says,
            " No student sees the event of {rows} {named}{more} of the sheet: the visibility is `unit`, but no \
             related_unit_id says which."
        );
    }
    says
}

/// So many rows are named in a message.
const SHOWN: usize = 10;

/// Queues the file for the workflow that imports it, and calls us back as a service account.
async fn forward(
    app: &AppState,
    actor: &Actor<may::WriteEvents>,
    upload: &Upload,
    file: &UploadedFile,
) -> Answer<Accepted<Forwarded>> {
    let text = sheet_text(&file.field, &file.bytes)?;
    let import = Uuid::now_v7();
    let payload = &json!({ "file_name": file.name, "content": text, "uploaded_by": actor.id() });
    upload
        .repeat
        .once(app, actor.id(), |tx, _| {
            Box::pin(async move {
                let message = queue(tx, "events.import", None, &format!("import:{import}"), payload).await?;
                let what = json!({ "file_name": file.name, "bytes": file.bytes.len() });
                audit::note(tx, Some(actor.id()), &actor.origin, "forward", "webhook_message", Some(message), &what)
                    .await?;
                let message = "The file was passed on; its events appear when it has been worked on.".to_owned();
                Accepted::with(&Forwarded { message, forwarded: true })
            })
        })
        .await
}

/// `POST /batch-create-webhook/`
pub(super) async fn batch_create(
    actor: Actor<may::AutomateEvents>,
    State(app): State<AppState>,
    Posted { body: Batch { events }, repeat }: Posted<Batch>,
) -> Answer<Created<EventBatch>> {
    if events.is_empty() || events.len() > MOST_ROWS {
        return Err(Problem::invalid("events", format!("From 1 to {MOST_ROWS} events are expected.")));
    }
    let (actor, sheet) = (&actor, &sheet::of_json("events", &events)?);
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let (rows, faults) = known_units(tx, sheet).await?;
                let new = store::without_known(tx, &rows).await?;
                let created_events = make(tx, actor, &new).await?;
                let errors = told(&faults).to_vec();
                Created::with(&EventBatch {
                    created_count: created_events.len(),
                    skipped_count: rows.len() - new.len(),
                    error_count: rejected(&faults),
                    created_events,
                    errors: Some(errors).filter(|errors| !errors.is_empty()),
                })
            })
        })
        .await
}

/// The rows whose unit there is, and all that is wrong with the others.
async fn known_units<'a>(tx: &mut PgConnection, sheet: &'a Sheet) -> Answer<(Vec<&'a Row>, Vec<RowFault>)> {
    let wanted: Vec<Id> = sheet.rows.iter().filter_map(|row| row.related_unit).collect();
    let unknown = store::unknown_units(tx, &wanted).await?;
    let is_unknown = |row: &&Row| row.related_unit.is_some_and(|unit| unknown.contains(&unit));
    let (lost, rows): (Vec<&Row>, Vec<&Row>) = sheet.rows.iter().partition(is_unknown);
    let says = |row: &Row| format!("There is no unit with the id {}.", row.related_unit.unwrap_or_default());
    let fault = |row: &Row| RowFault::at(row.place, "related_unit_id", says(row));
    let mut faults: Vec<RowFault> = sheet.faults.iter().cloned().chain(lost.into_iter().map(fault)).collect();
    faults.sort_by_key(|fault| fault.row);
    Ok((rows, faults))
}

/// Creates the events, each with its row in the audit log.
async fn make(tx: &mut PgConnection, actor: &Viewer, rows: &[&Row]) -> Answer<Vec<EventMade>> {
    let ids = store::add_rows(tx, actor.caller_id(), rows).await?;
    let written = |row: &Row| {
        json!({
            "title": row.title, "start": row.start, "end": row.end, "description": row.description,
            "location": row.location, "visibility": row.visibility,
            "target_all_students": row.target_all_students, "related_unit": row.related_unit,
        })
    };
    let changes: Vec<(Id, Value, Value)> =
        ids.iter().zip(rows).map(|(id, row)| (*id, Value::Null, written(row))).collect();
    audit::record_all(tx, actor, "create", Event::NAME, &changes).await?;
    let made = |(id, row): (Id, &&Row)| EventMade {
        id,
        title: row.title.clone(),
        start: row.start,
        visibility: row.visibility.clone(),
    };
    Ok(ids.into_iter().zip(rows).map(made).collect())
}
