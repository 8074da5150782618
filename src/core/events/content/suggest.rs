//! Working on one text in small steps: suggestions, which write nothing, and taking one over.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::generate::LONGEST_PROMPT;
use super::refine::to_refine;
use super::texts::{self, Texts};
use super::wishes::{Wish, Wishes};
use super::{Editor, facts, store, wishes, writer};
use crate::app::AppState;
use crate::http::{Answer, Done, Faults, Json, Posted};

/// The text that is meant when none is named.
const USUAL: &str = "social_post";

/// What somebody says about a text.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ChatTurn {
    refinement_type: RefinementType,
    /// How the text should change, at most 4,000 characters; or the text itself.
    content: String,
    /// Which text; left out, `social_post`.
    #[serde(default)]
    field: Option<String>,
}

/// What a turn of the chat has in `content`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RefinementType {
    /// How the text should change.
    Prompt,
    /// The text as it should be.
    DirectEdit,
}

/// What can be taken over with `apply-suggestion`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ChatAnswer {
    /// Texts to choose from.
    Suggestions {
        message: String,
        field: String,
        /// The text as it is.
        current: String,
        suggestions: Vec<String>,
    },
    /// The text that was sent, beside the one that it would replace.
    Confirmation {
        message: String,
        field: String,
        /// The text as it is.
        current: String,
        suggestion: String,
    },
}

/// `POST /{id}/refine-chatbot/`
pub(super) async fn refine_chatbot(
    Editor { event, .. }: Editor,
    State(app): State<AppState>,
    Json(turn): Json<ChatTurn>,
) -> Answer<Done<ChatAnswer>> {
    let mut faults = Faults::default();
    match turn.refinement_type {
        RefinementType::Prompt => faults.name("content", &turn.content, LONGEST_PROMPT),
        RefinementType::DirectEdit => text_of_its_own(&mut faults, "content", &turn.content),
    }
    let mut conn = app.db.acquire().await?;
    let stored = store::read(&mut conn, event.id).await?.state.content;
    let field = known_field(&mut faults, turn.field, &stored);
    faults.check()?;
    let content = to_refine(&stored, &Texts::new(), &facts::facts(&mut conn, &event, app.config.time_zone).await?)?;
    let text = |content: &Texts| content.get(&field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let current = text(&content);
    if turn.refinement_type == RefinementType::DirectEdit {
        return Done::with(&ChatAnswer::Confirmation {
            message: "This text would replace the present one.".to_owned(),
            field,
            current,
            suggestion: turn.content,
        });
    }
    let one = Texts::from_iter([(field.clone(), json!(current))]);
    let as_asked = writer::refine(&one, &wishes::understood("content", &turn.content)?);
    let variants = [Wish::Shorter, Wish::Friendly];
    let variants = variants.map(|wish| writer::refine(&as_asked, &Wishes { changes: vec![wish], ..Wishes::default() }));
    let mut suggestions = vec![text(&as_asked)];
    for variant in &variants {
        let variant = text(variant);
        if !suggestions.contains(&variant) {
            suggestions.push(variant);
        }
    }
    Done::with(&ChatAnswer::Suggestions {
        message: "The first is as you asked, the others vary it.".to_owned(),
        field,
        current,
        suggestions,
    })
}

/// A text to take over.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Suggestion {
    suggestion: String,
    /// Which text it replaces; left out, `social_post`.
    #[serde(default)]
    field: Option<String>,
}

/// The text was taken over.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SuggestionApplied {
    message: String,
    field: String,
    suggestion: String,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    generated_content: Texts,
    /// Whether every text that belongs to an event is there.
    ready_to_publish: bool,
}

/// `POST /{id}/apply-suggestion/`
pub(super) async fn apply_suggestion(
    Editor { actor, event }: Editor,
    State(app): State<AppState>,
    Posted { body: wanted, repeat }: Posted<Suggestion>,
) -> Answer<Done<SuggestionApplied>> {
    let mut faults = Faults::default();
    text_of_its_own(&mut faults, "suggestion", &wanted.suggestion);
    faults.check()?;
    let (actor, id, wanted) = (&actor, event.id, &wanted);
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let held = store::hold(tx, id).await?;
                let mut after = held.state.clone();
                let mut faults = Faults::default();
                let field = known_field(&mut faults, wanted.field.clone(), &after.content);
                after.content.insert(field.clone(), json!(wanted.suggestion));
                let whole = Value::Object(after.content);
                after.content = texts::of_field(&mut faults, "suggestion", &whole, texts::content);
                faults.check()?;
                after.rest();
                let kept = store::keep(tx, actor, id, "apply_suggestion", &held, after).await?;
                let is_there = |name: &str| {
                    kept.content.get(name).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty())
                };
                Done::with(&SuggestionApplied {
                    message: "The text was taken over; it waits to be confirmed.".to_owned(),
                    field,
                    suggestion: wanted.suggestion.clone(),
                    ready_to_publish: writer::needed().all(is_there),
                    generated_content: kept.content,
                })
            })
        })
        .await
}

fn text_of_its_own(faults: &mut Faults, field: &str, text: &str) {
    faults.unless(!text.trim().is_empty(), field, "This field is required and may not be blank.");
}

/// The text that is named: one that the content has, or that belongs to every event.
fn known_field(faults: &mut Faults, named: Option<String>, content: &Texts) -> String {
    let field = named.filter(|field| !field.is_empty()).unwrap_or_else(|| USUAL.to_owned());
    let mut known: Vec<&str> = writer::names().collect();
    known.extend(content.keys().map(String::as_str).filter(|name| writer::names().all(|known| known != *name)));
    faults.unless(known.contains(&field.as_str()), "field", format!("One of {} is expected.", known.join(", ")));
    field
}
