//! Having content generated, and how far that is.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::state::PATIENCE_MINUTES;
use super::texts::Texts;
use super::{Editor, Insider, Status, facts, store, wishes, writer};
use crate::app::AppState;
use crate::http::{Accepted, Answer, Answers, Done, Faults, Kept, Notes, Optional, Problem, Schemas, Shown};
use crate::ids::{Id, Moment};
use crate::workflows::{Question, ask};

/// The longest prompt, in characters.
pub(super) const LONGEST_PROMPT: usize = 4000;

/// What the content should be like.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct GenerationWish {
    /// At most 4,000 characters.
    prompt: Option<String>,
}

/// What the built-in writer wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Generated {
    /// `social_post`, `email_newsletter`, `long_article`, `recruitment_ad`, `vietnamese_version`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    generated_content: Texts,
    #[schema(value_type = Object)]
    generation_meta: Map<String, Value>,
}

/// A workflow is at it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GenerationUnderway {
    detail: String,
}

/// 200 with the content, or 202 when a workflow will deliver it.
pub(super) enum Generation {
    Here(Done<Generated>),
    Underway(Accepted<GenerationUnderway>),
}

impl Kept for Generation {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Here(done) => done.bytes(),
            Self::Underway(accepted) => accepted.bytes(),
        }
    }

    fn again(bytes: Vec<u8>) -> Self {
        let is_here = serde_json::from_slice::<Value>(&bytes).is_ok_and(|body| body.get("generated_content").is_some());
        if is_here { Self::Here(Done::again(bytes)) } else { Self::Underway(Accepted::again(bytes)) }
    }
}

impl IntoResponse for Generation {
    fn into_response(self) -> Response {
        match self {
            Self::Here(done) => done.into_response(),
            Self::Underway(accepted) => accepted.into_response(),
        }
    }
}

impl Answers for Generation {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        Done::<Generated>::describe(notes, schemas);
        Accepted::<GenerationUnderway>::describe(notes, schemas);
        notes.refuses(502, "The workflow failed; the event is unchanged.");
        notes.refuses(504, "The workflow did not answer in time; the event is unchanged.");
    }
}

/// `POST /{id}/generate_content/`
pub(super) async fn generate_content(
    Editor { actor, event }: Editor,
    State(app): State<AppState>,
    Optional { body: wish, repeat }: Optional<GenerationWish>,
) -> Answer<Generation> {
    let prompt = wish.prompt.unwrap_or_default();
    let mut faults = Faults::default();
    faults.text("prompt", &prompt, LONGEST_PROMPT);
    faults.check()?;
    if let Some(kept) = repeat.answered(&app, actor.id()).await? {
        return Ok(kept);
    }
    let (payload, asked_at) = {
        let mut conn = app.db.acquire().await?;
        (facts::to_generate(&mut conn, &event, &prompt, actor.id()).await?, store::read(&mut conn, event.id).await?)
    };
    let question = Question { trigger: "event.generate", event_id: event.id, payload: &payload, by: actor.id() };
    let is_asked = ask(&app, &question).await?.is_some();
    let (actor, event, prompt, asked_at) = (&actor, &event, prompt.trim(), &asked_at.state);
    let zone = app.config.time_zone;
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let held = store::hold(tx, event.id).await?;
                let mut after = held.state.clone();
                if is_asked {
                    // What was delivered while the workflow was called is its answer.
                    let is_answered = after.status == Status::Ready
                        && (&after.content, &after.meta, after.last_generated_at)
                            != (&asked_at.content, &asked_at.meta, asked_at.last_generated_at);
                    if !is_answered {
                        after.wait(None, held.now);
                    }
                    store::keep(tx, actor, event.id, "request_content", &held, after).await?;
                    let detail = format!(
                        "The workflow has been asked for the content. It is pending, and fails after {PATIENCE_MINUTES} \
                         minutes unless the workflow asks for more time."
                    );
                    return Ok(Generation::Underway(Accepted::with(&GenerationUnderway { detail })?));
                }
                let wishes = wishes::understood("prompt", prompt)?;
                let facts = facts::facts(tx, event, zone).await?;
                let mut meta = Map::from_iter([("source".to_owned(), json!("built-in"))]);
                if !prompt.is_empty() {
                    meta.insert("prompt".to_owned(), json!(prompt));
                }
                after.deliver(writer::write(&facts, &wishes)?, meta, held.now);
                after.last_generated_at = Some(held.now);
                let kept = store::keep(tx, actor, event.id, "generate_content", &held, after).await?;
                let generated = Generated { generated_content: kept.content, generation_meta: store::named(tx, kept.meta).await? };
                Ok(Generation::Here(Done::with(&generated)?))
            })
        })
        .await
}

/// How far an event's content is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GenerationProgress {
    id: Id,
    title: String,
    generation_status: Status,
    visibility: String,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    generated_content: Value,
    /// How the content came about; `error` says why it failed, `confirmed_at` and `confirmed_by` who confirmed it.
    #[schema(value_type = Object)]
    generation_meta: Value,
    created_at: Moment,
    updated_at: Moment,
    last_generated_at: Option<Moment>,
    /// The e-mail address of who created the event.
    created_by: Option<String>,
}

/// `GET /{id}/get_generation_status/`
pub(super) async fn get_generation_status(
    Insider { event, .. }: Insider,
    State(app): State<AppState>,
) -> Answer<Shown<GenerationProgress>> {
    let mut conn = app.db.acquire().await?;
    let created_by = match event.created_by() {
        Some(author) => store::email_of(&mut conn, author).await?,
        None => None,
    };
    Shown::with(&GenerationProgress {
        id: event.id,
        title: event.title,
        generation_status: serde_json::from_value(json!(event.generation_status)).map_err(Problem::internal)?,
        visibility: event.visibility,
        generated_content: event.generated_content,
        generation_meta: event.generation_meta,
        created_at: event.audited.created_at,
        updated_at: event.audited.updated_at,
        last_generated_at: event.last_generated_at,
        created_by,
    })
}
