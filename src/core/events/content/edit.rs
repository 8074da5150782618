//! Content as people write it: replacing, changing, confirming, clearing.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::state::{OF_THE_EVENT, State as Content};
use super::store::{self, Held};
use super::texts::{self, Texts, says_something};
use super::{Editor, Status, facts};
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::core::events::handlers::{Event, NO_AUDIENCE, VISIBILITIES, refuse_publishing_for_others};
use crate::db;
use crate::http::{Answer, Done, Faults, IfMatch, Json, Optional, Problem, Sight, find, locked};
use crate::ids::{Id, Moment};

/// Whom to show the content to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct Confirmation {
    /// `public`, `unit` or `staff`; left out, it stays.
    visibility: Option<String>,
}

/// The content was confirmed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContentConfirmed {
    detail: String,
    id: Id,
    title: String,
    visibility: String,
    generation_status: Status,
}

/// `POST /{id}/confirm-content/`
pub(super) async fn confirm(
    Editor { actor, event }: Editor,
    State(app): State<AppState>,
    Optional { body: wanted, repeat }: Optional<Confirmation>,
) -> Answer<Done<ContentConfirmed>> {
    let mut faults = Faults::default();
    let known = wanted.visibility.as_ref().is_none_or(|visibility| VISIBILITIES.contains(&visibility.as_str()));
    faults.unless(known, "visibility", format!("One of {} is expected.", VISIBILITIES.join(", ")));
    faults.check()?;
    let (actor, event, visibility, zone) = (&actor, &event, &wanted.visibility, app.config.time_zone);
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let held = store::hold(tx, event.id).await?;
                let mut after = held.state.clone();
                if visibility.as_ref().is_some_and(|visibility| *visibility != after.visibility) {
                    refuse_publishing_for_others(tx, actor, event.id).await?;
                }
                if !says_something(&after.content) {
                    return Err(Problem::new(
                        StatusCode::BAD_REQUEST,
                        "no_content",
                        "There is no content yet that could be confirmed.",
                    ));
                }
                after.confirm(actor.id(), held.now);
                if let Some(visibility) = visibility {
                    after.visibility.clone_from(visibility);
                }
                let kept = store::keep(tx, actor, event.id, "confirm_content", &held, after).await?;
                let event = find::<Event>(tx, actor, event.id, Sight::Visible).await?;
                if event.reaches_no_student() {
                    return Err(Problem::new(StatusCode::BAD_REQUEST, "no_audience", NO_AUDIENCE));
                }
                Done::with(&ContentConfirmed {
                    detail: confirmed(&kept, &facts::facts(tx, &event, zone).await?.audience),
                    id: event.id,
                    title: event.title.clone(),
                    visibility: kept.visibility,
                    generation_status: kept.status,
                })
            })
        })
        .await
}

/// What is said of content that was confirmed, for people. What the built-in writer wrote says whom the event was for then.
fn confirmed(content: &Content, audience: &str) -> String {
    let is_built_in = content.meta.get("source").is_some_and(|source| source == "built-in");
    let texts = content.content.values().filter_map(Value::as_str).filter(|_| is_built_in);
    let said = texts.flat_map(str::lines).find_map(|line| line.strip_prefix("Who: "));
    match said.map(str::trim).filter(|said| *said != audience) {
        Some(said) => format!(
            "The content is confirmed. It says that the event is for {said}, but the event is for {audience} now: \
             generate the content again, or edit it."
        ),
        None => "The content is confirmed.".to_owned(),
    }
}

/// The content as somebody wrote it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ContentFields {
    /// Texts by name, at most 256 KiB: an object, or JSON text of one.
    #[schema(value_type = Object)]
    generated_content: Value,
    /// How it came about, at most 64 KiB; left out, it stays. `confirmed_at` and `confirmed_by` are ignored.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    generation_meta: Option<Value>,
    /// Left out, `ready` with content and `idle` without.
    #[serde(default)]
    generation_status: Option<Status>,
}

/// What somebody changes of the content: the members that are sent; a null takes one away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct ContentPatch {
    /// Texts by name: an object, or JSON text of one.
    #[schema(value_type = Option<Object>)]
    generated_content: Option<Value>,
    /// How it came about. `confirmed_at` and `confirmed_by` are ignored.
    #[schema(value_type = Option<Object>)]
    generation_meta: Option<Value>,
    /// Left out, `ready` with content and `idle` without when the content is sent, or else as it is.
    generation_status: Option<Status>,
}

/// The content as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContentNow {
    id: Id,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    generated_content: Texts,
    #[schema(value_type = Object)]
    generation_meta: Map<String, Value>,
    generation_status: Status,
    last_generated_at: Option<Moment>,
}

impl ContentNow {
    pub(super) async fn of(conn: &mut PgConnection, id: Id, kept: Content) -> sqlx::Result<Self> {
        Ok(Self {
            id,
            generated_content: kept.content,
            generation_meta: store::named(conn, kept.meta).await?,
            generation_status: kept.status,
            last_generated_at: kept.last_generated_at,
        })
    }
}

/// Holds the event, which must still be as the caller's condition says.
async fn hold(tx: &mut PgConnection, actor: &Actor<may::WriteEvents>, id: Id, condition: &IfMatch) -> Answer<Held> {
    locked::<Event>(tx, actor, id, condition).await?;
    store::hold(tx, id).await
}

/// `PUT /{id}/update-content/`
pub(super) async fn update(
    Editor { actor, event }: Editor,
    State(app): State<AppState>,
    condition: IfMatch,
    Json(fields): Json<ContentFields>,
) -> Answer<Done<ContentNow>> {
    let mut faults = Faults::default();
    let content = texts::of_field(&mut faults, "generated_content", &fields.generated_content, texts::content);
    let meta = fields.generation_meta.filter(|meta| !meta.is_null());
    let meta = meta.map(|meta| texts::of_field(&mut faults, "generation_meta", &meta, texts::meta));
    faults.check()?;
    let (actor, condition, content, meta) = (&actor, &condition, &content, &meta);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let held = hold(tx, actor, event.id, condition).await?;
            let mut after = held.state.clone();
            after.content.clone_from(content);
            after.rest();
            if let Some(meta) = meta {
                after.explain(meta.clone());
            }
            after.status = fields.generation_status.unwrap_or(after.status);
            let kept = store::keep(tx, actor, event.id, "update_content", &held, after).await?;
            Done::with(&ContentNow::of(tx, event.id, kept).await?)
        })
    })
    .await
}

/// `PATCH /{id}/patch-content/`
pub(super) async fn patch(
    Editor { actor, event }: Editor,
    State(app): State<AppState>,
    condition: IfMatch,
    Json(sent): Json<ContentPatch>,
) -> Answer<Done<ContentNow>> {
    let mut faults = Faults::default();
    let mut members = |field: &str, sent: Option<Value>| {
        sent.filter(|sent| !sent.is_null()).map(|sent| texts::of_field(&mut faults, field, &sent, texts::object))
    };
    let content = members("generated_content", sent.generated_content);
    let meta = members("generation_meta", sent.generation_meta);
    faults.check()?;
    let (actor, condition, content, meta, status) = (&actor, &condition, &content, &meta, sent.generation_status);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let held = hold(tx, actor, event.id, condition).await?;
            let mut after = held.state.clone();
            let mut faults = Faults::default();
            if let Some(changes) = content {
                let merged = Value::Object(merged(&after.content, changes));
                after.content = texts::of_field(&mut faults, "generated_content", &merged, texts::content);
                after.rest();
            }
            if let Some(changes) = meta {
                let merged = Value::Object(merged(&after.meta, changes));
                after.explain(texts::of_field(&mut faults, "generation_meta", &merged, texts::meta));
            }
            faults.check()?;
            after.status = status.unwrap_or(after.status);
            let kept = store::keep(tx, actor, event.id, "update_content", &held, after).await?;
            Done::with(&ContentNow::of(tx, event.id, kept).await?)
        })
    })
    .await
}

/// The members of both, those of the change first; null takes a member away.
fn merged(now: &Map<String, Value>, changes: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = now.clone();
    for (name, value) in changes {
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged
}

/// The content is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContentCleared {
    detail: String,
    id: Id,
    generation_status: Status,
}

/// `DELETE /{id}/clear-content/`
pub(super) async fn clear(
    Editor { actor, event }: Editor,
    State(app): State<AppState>,
    condition: IfMatch,
) -> Answer<Done<ContentCleared>> {
    let (actor, condition) = (&actor, &condition);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let held = hold(tx, actor, event.id, condition).await?;
            let mut after = held.state.clone();
            after.content.clear();
            after.meta.retain(|name, _| name == OF_THE_EVENT);
            after.status = Status::Idle;
            let kept = store::keep(tx, actor, event.id, "clear_content", &held, after).await?;
            Done::with(&ContentCleared {
                detail: "The content is gone; it stays in the history.".to_owned(),
                id: event.id,
                generation_status: kept.status,
            })
        })
    })
    .await
}
