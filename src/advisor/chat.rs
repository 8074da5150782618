//! A question and its answer.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answers::{self, Rules};
use super::records;
use super::redact::Redaction;
use super::store;
use crate::access::throttle::{self, Bucket};
use crate::access::{Access, Actor, may};
use crate::app::AppState;
use crate::db;
use crate::http::{Answer, Done, Faults, Notes, Posted, Problem};
use crate::ids::Id;
use crate::workflows::{Question, STUDENT_ASK, ask};

/// The longest question, and the longest turn before it that is looked at, in characters.
const LONGEST: usize = 4000;
/// So many of the turns before the question are passed on.
const TURNS: usize = 20;
/// The most turns that are taken at all.
const MOST_TURNS: usize = 1000;
/// The longest answer, in characters; what is longer is cut.
const LONGEST_REPLY: usize = 20_000;

/// What is asked.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Chat {
    /// At most 4,000 characters.
    message: String,
    /// What was said before; the last 20 turns are passed on.
    #[serde(default)]
    history: Vec<Turn>,
}

/// What one side said.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Turn {
    /// `user`, or `assistant`, `model`, `bot`, `ai`; turns of any other, such as `error`, are dropped.
    role: String,
    text: String,
}

/// What is answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reply {
    /// Plain text or Markdown, never to be taken for HTML; at most 20,000 characters.
    reply: String,
    /// `workflow`, `openai`, `gemini`, or `records`: the server's own answer from the caller's records, without a model.
    source: &'static str,
}

/// A turn that is passed on.
#[derive(Debug)]
pub(super) struct Said {
    /// Whether the person said it, and not the advisor.
    pub(super) by_person: bool,
    pub(super) text: String,
}

impl Turn {
    fn said(self) -> Option<Said> {
        let by_person = match self.role.as_str() {
            "user" => true,
            "assistant" | "model" | "bot" | "ai" => false,
            _ => return None,
        };
        let text: String = self.text.trim().chars().take(LONGEST).collect();
        (!text.is_empty()).then_some(Said { by_person, text })
    }
}

/// Who asks. Whoever has not logged in is told so in words for the page, which shows them.
pub(super) struct Asker(Actor<may::AskAdvisor>);

impl FromRequestParts<AppState> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        let asker = Actor::from_request_parts(head, app).await;
        asker.map(Self).map_err(|problem: Problem| match problem.code() {
            code @ "not_authenticated" => {
                Problem::new(StatusCode::UNAUTHORIZED, code.to_owned(), "Please log in to ask the advisor.")
            }
            _ => problem,
        })
    }
}

impl Access for Asker {
    const NAME: &'static str = Actor::<may::AskAdvisor>::NAME;
    fn describe(notes: &mut Notes) {
        Actor::<may::AskAdvisor>::describe(notes);
    }
}

/// `POST /chat/`
pub(super) async fn chat(
    Asker(actor): Asker,
    State(app): State<AppState>,
    Posted { body: asked, repeat }: Posted<Chat>,
) -> Answer<Done<Reply>> {
    let message = asked.message.trim().to_owned();
    let mut faults = Faults::default();
    faults.name("message", &message, LONGEST);
    let turns = asked.history.len();
    faults.unless(turns <= MOST_TURNS, "history", format!("At most {MOST_TURNS} turns are taken, not {turns}."));
    faults.check()?;
    if let Some(kept) = repeat.answered(&app, actor.id()).await? {
        return Ok(kept);
    }
    db::write(&app.db, |tx, _| Box::pin(throttle::charge(tx, Bucket::of_advisor(actor.id())))).await?;

    let mut history = merged(asked.history.into_iter().filter_map(Turn::said));
    history.drain(..history.len().saturating_sub(TURNS));
    let reply = &reply(&app, &actor, message, history).await?;
    repeat.once(&app, actor.id(), |_, _| Box::pin(async move { Done::with(reply) })).await
}

/// Turns by turns: what one side said after itself, as after a turn that was dropped, is one turn. Some endpoints refuse others.
fn merged(turns: impl Iterator<Item = Said>) -> Vec<Said> {
    let mut merged: Vec<Said> = Vec::new();
    for turn in turns {
        match merged.last_mut().filter(|last| last.by_person == turn.by_person) {
            Some(last) => {
                last.text.push_str("\n\n");
                last.text.push_str(&turn.text);
            }
            None => merged.push(turn),
        }
    }
    merged
}

async fn reply(app: &AppState, actor: &Actor<may::AskAdvisor>, message: String, history: Vec<Said>) -> Answer<Reply> {
    let person = store::person(&mut *app.db.acquire().await?, actor.id()).await?;
    if let Some(answer) = ask_workflow(app, actor.id(), &person.email, &message, &history).await? {
        return Ok(answer);
    }
    let (repeats, max_pending) = (app.config.gpa_repeats, app.config.max_pending);
    let Some(endpoint) = app.advisor.as_ref() else {
        let mut conn = app.db.acquire().await?;
        let text = answers::answer(&mut conn, actor, Rules { repeats, max_pending }, &message).await?;
        return Ok(Reply { reply: presentable(&text)?, source: "records" });
    };
    // The session goes back before the endpoint is asked.
    let records = {
        let mut conn = app.db.acquire().await?;
        records::records(&mut conn, actor, repeats, max_pending).await?
    };
    let redaction = Redaction::of(&person)?;
    let mut history: Vec<Said> =
        history.into_iter().map(|turn| Said { text: redaction.clean(&turn.text), ..turn }).collect();
    let (records, message) = (redaction.clean(&records), redaction.clean(&message));
    // A question that was not answered is asked with this one: turns take turns.
    let message = match history.pop_if(|last| last.by_person) {
        Some(before) => format!("{}\n\n{message}", before.text),
        None => message,
    };
    let text = endpoint.ask(&records, &history, &message, app.config.workflow_timeout).await?;
    Ok(Reply { reply: presentable(&text)?, source: endpoint.source() })
}

/// The answer of the workflow that listens, if one does.
async fn ask_workflow(
    app: &AppState,
    person: Id,
    email: &str,
    message: &str,
    history: &[Said],
) -> Answer<Option<Reply>> {
    let turn = |turn: &Said| json!({ "role": if turn.by_person { "user" } else { "assistant" }, "text": turn.text });
    let payload = json!({
        "email": email,
        "message": message,
        "chat_history": history.iter().map(turn).collect::<Vec<Value>>(),
    });
    let question = Question { trigger: STUDENT_ASK, event_id: person, payload: &payload, by: person };
    let Some(answer) = ask(app, &question).await? else { return Ok(None) };
    // n8n answers with the item, or with a list of them.
    let answer = answer.get(0).unwrap_or(&answer);
    let text = ["reply", "output"].iter().find_map(|name| answer.get(name)).unwrap_or(answer);
    let text = text.as_str().ok_or_else(unusable)?;
    Ok(Some(Reply { reply: presentable(text)?, source: "workflow" }))
}

/// 502: what was answered is no answer.
pub(super) fn unusable() -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "advisor_failed",
        "The advisor did not give an answer that can be used. Try again later.",
    )
}

/// The text without what no screen shows, cut to its bound.
fn presentable(text: &str) -> Answer<String> {
    let shown = text.trim().chars().filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'));
    let text: String = shown.take(LONGEST_REPLY).collect();
    if text.is_empty() { Err(unusable()) } else { Ok(text) }
}
