//! Rewriting content as somebody asks, by the workflow for `event.refine` or the built-in writer.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::facts::Facts;
use super::generate::LONGEST_PROMPT;
use super::texts::{self, Texts, says_something};
use super::wishes::Wishes;
use super::{Editor, Status, facts, store, wishes, writer};
use crate::app::AppState;
use crate::http::{Answer, Answers, Done, Faults, Notes, Posted, Problem, Schemas};
use crate::workflows::{Question, ask};

/// The most of a conversation that is passed on, in bytes of JSON.
const LONGEST_HISTORY: usize = 64 * 1024;

/// How the content should change.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RefinementWish {
    /// At most 4,000 characters.
    refinement_prompt: String,
    /// What is to be changed; what it leaves out is as the event has it. An object, or JSON text of one.
    #[schema(value_type = Option<Object>)]
    current_content: Option<Value>,
    /// What was said before, as the workflow understands it; at most 64 KiB.
    chat_history: Option<Vec<Value>>,
}

/// The content as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refined {
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    generated_content: Texts,
    #[schema(value_type = Object)]
    generation_meta: Map<String, Value>,
    generation_status: Status,
}

/// 200 with the content, which a workflow may have failed to give.
pub(super) struct Refinement(Done<Refined>);

impl IntoResponse for Refinement {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl Answers for Refinement {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        Done::<Refined>::describe(notes, schemas);
        notes.refuses(502, "The workflow failed, or its answer is unusable; the content is unchanged.");
        notes.refuses(504, "The workflow did not answer in time; the content is unchanged.");
    }
}

/// `POST /{id}/refine_content/`
pub(super) async fn refine_content(
    Editor { actor, event }: Editor,
    State(app): State<AppState>,
    Posted { body: wish, repeat }: Posted<RefinementWish>,
) -> Answer<Refinement> {
    let mut faults = Faults::default();
    faults.name("refinement_prompt", &wish.refinement_prompt, LONGEST_PROMPT);
    let sent = wish.current_content.as_ref().filter(|sent| !sent.is_null());
    let sent = sent.map(|sent| texts::of_field(&mut faults, "current_content", sent, texts::content));
    let sent = sent.unwrap_or_default();
    let history = Value::Array(wish.chat_history.unwrap_or_default());
    let fits = history.to_string().len() <= LONGEST_HISTORY;
    faults.unless(fits, "chat_history", "Ensure this field has no more than 64 KiB as JSON.");
    faults.check()?;
    if let Some(kept) = repeat.answered(&app, actor.id()).await? {
        return Ok(Refinement(kept));
    }
    let prompt = wish.refinement_prompt.trim();
    let (read, base, payload) = {
        let mut conn = app.db.acquire().await?;
        let read = store::read(&mut conn, event.id).await?.state;
        let base = to_refine(&read.content, &sent, &facts::facts(&mut conn, &event, app.config.time_zone).await?)?;
        let payload = json!({
            "event_id": event.id,
            "current_content": base,
            "refinement_prompt": prompt,
            "audience_context": facts::audience_context(&event),
            "chat_history": history,
            "triggered_by": store::email_of(&mut conn, actor.id()).await?,
        });
        (read, base, payload)
    };
    let question = Question { trigger: "event.refine", event_id: event.id, payload: &payload, by: actor.id() };
    let refined = match ask(&app, &question).await? {
        Some(answer) => Some(understood(&answer, base).ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_GATEWAY,
                "workflow_answer_unusable",
                "The workflow's answer has no content that can be used. The content is unchanged; try again later.",
            )
        })?),
        None => None,
    };
    let (actor, event, sent, read, refined) = (&actor, &event, &sent, &read, &refined);
    let zone = app.config.time_zone;
    let done = repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let held = store::hold(tx, event.id).await?;
                let mut after = held.state.clone();
                let (content, source, more) = match refined {
                    // What was written while the workflow was called is newer than what it was given.
                    Some(_) if after.content != read.content => {
                        return Err(Problem::conflict(
                            "content_changed",
                            "The content was changed while it was being refined. Look at it, then refine it again.",
                        ));
                    }
                    Some((content, meta)) => (content.clone(), "workflow", meta.clone()),
                    None => {
                        let wishes = wishes::understood("refinement_prompt", prompt)?;
                        let facts = facts::facts(tx, event, zone).await?;
                        let mut base = to_refine(&after.content, sent, &facts)?;
                        if wishes.is_none() {
                            base.extend(writer::write(&facts, &wishes)?);
                        }
                        (writer::refine(&base, &wishes), "built-in", Map::new())
                    }
                };
                let mut meta = more;
                meta.insert("source".to_owned(), json!(source));
                meta.insert("refinement_prompt".to_owned(), json!(prompt));
                after.deliver(texts::content(&Value::Object(content)).map_err(too_long)?, meta, held.now);
                let kept = store::keep(tx, actor, event.id, "refine_content", &held, after).await?;
                Done::with(&Refined {
                    generated_content: kept.content,
                    generation_meta: store::named(tx, kept.meta).await?,
                    generation_status: kept.status,
                })
            })
        })
        .await?;
    Ok(Refinement(done))
}

/// What is to be refined: what was sent, laid over what the event has; when neither says anything, what the built-in
/// writer writes.
pub(super) fn to_refine(stored: &Texts, sent: &Texts, facts: &Facts) -> Answer<Texts> {
    let mut base = stored.clone();
    base.extend(sent.clone());
    if says_something(&base) {
        return Ok(base);
    }
    base.extend(writer::write(facts, &Wishes::default())?);
    Ok(base)
}

/// The content that a workflow's answer makes of `base`, and what the answer says of it. The answer may be JSON, JSON
/// text, or a list with the one or the other, and have the content in `generated_content` or be it. `None` when there is
/// no text in it.
fn understood(answer: &Value, base: Texts) -> Option<(Texts, Map<String, Value>)> {
    let answer = if let Value::Array(items) = answer { items.first()? } else { answer };
    let answer = texts::object(answer).ok()?;
    let (content, meta) = match answer.get("generated_content") {
        Some(content) => (texts::content(content).ok()?, answer.get("generation_meta")),
        // Bare content has at least one of the texts that were to be refined.
        None if answer.keys().any(|name| base.contains_key(name)) => {
            (texts::content(&Value::Object(answer.clone())).ok()?, None)
        }
        None => return None,
    };
    let new: Texts =
        content.into_iter().filter(|(_, text)| text.as_str().is_some_and(|text| !text.trim().is_empty())).collect();
    if new.is_empty() {
        return None;
    }
    let mut refined = base;
    refined.extend(new);
    let meta = meta.and_then(|meta| texts::meta(meta).ok()).unwrap_or_default();
    Some((refined, meta))
}

/// What was refined has become longer than content may be.
fn too_long(says: String) -> Problem {
    Problem::invalid("generated_content", says)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Texts {
        Texts::from_iter([("a".to_owned(), "old a".into()), ("b".to_owned(), "old b".into())])
    }

    #[test]
    fn an_answer_is_understood_in_every_shape_that_workflows_give() {
        for answer in [
            json!({ "generated_content": { "a": "new" } }),
            json!({ "generated_content": "{\"a\": \"new\"}" }),
            json!("{\"generated_content\": {\"a\": \"new\", \"b\": null}}"),
            json!([{ "generated_content": { "a": "new", "b": " " } }]),
            json!(["{\"generated_content\": {\"a\": \"new\"}}"]),
            json!({ "a": "new" }),
        ] {
            let (content, _) = understood(&answer, base()).unwrap_or_else(|| panic!("{answer}"));
            assert_eq!(json!(content), json!({ "a": "new", "b": "old b" }), "{answer}");
        }
        let told =
            json!({ "generated_content": { "a": 7, "b": ["x"], "c": true }, "generation_meta": { "model": "m" } });
        let (content, meta) = understood(&told, base()).unwrap();
        assert_eq!(json!(content), json!({ "a": "7", "b": "[\"x\"]", "c": "true" }));
        assert_eq!(json!(meta), json!({ "model": "m" }));
    }

    #[test]
    fn an_answer_without_a_text_is_not() {
        for answer in [
            json!(null),
            json!(""),
            json!("Workflow was started"),
            json!([]),
            json!({}),
            json!([[]]),
            json!({ "message": "Workflow was started" }),
            json!({ "generated_content": null }),
            json!({ "generated_content": {} }),
            json!({ "generated_content": { "a": "", "b": null } }),
            json!({ "generated_content": "text" }),
            json!({ "generated_content": { "a": "x\u{0}" } }),
            json!("{\"generated_content\": {\"a\": \"x\\u0000\"}}"),
        ] {
            assert_eq!(understood(&answer, base()), None, "{answer}");
        }
    }
}
