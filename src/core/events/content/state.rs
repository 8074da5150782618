//! The states of an event's content, and the steps between them; the table is in the module above.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::texts::{Texts, says_something};
use crate::ids::{Id, Moment};

/// How long a workflow may take when it does not say so itself, in minutes.
pub(super) const PATIENCE_MINUTES: i64 = 30;

/// Why the time-out sweep gave up.
pub(super) const TIMED_OUT: &str = "The workflow did not deliver the content in time.";

/// What is said of the event itself, whatever its content.
pub(super) const OF_THE_EVENT: &str = "csv_meta";

/// What only confirming sets.
const CONFIRMATION: [&str; 2] = ["confirmed_at", CONFIRMED_BY];

/// The id of who confirmed the content; everybody who is shown it is shown their address.
pub(super) const CONFIRMED_BY: &str = "confirmed_by";

/// How far an event's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = GenerationStatus)]
pub(super) enum Status {
    /// Nobody has asked for any.
    Idle,
    /// A workflow is at it.
    Pending,
    /// It is there.
    Ready,
    /// It did not come in time.
    Failed,
}

/// All that generating and editing content writes of an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) status: Status,
    pub(super) content: Texts,
    /// How the content came about.
    pub(super) meta: Map<String, Value>,
    pub(super) visibility: String,
    /// The event's id in another calendar.
    pub(super) gcal_event_id: String,
    /// Until when it may be pending.
    pub(super) timeout_at: Option<Moment>,
    pub(super) last_generated_at: Option<Moment>,
}

impl State {
    /// A workflow has taken it on, or has said so again; it may name the time that it needs.
    pub(super) fn wait(&mut self, until: Option<Moment>, now: Moment) {
        let still = self.timeout_at.filter(|at| self.status == Status::Pending && *at > now);
        self.timeout_at = until.or(still);
        self.status = Status::Pending;
        self.meta.remove("error");
    }

    /// New content is there, written by whoever `meta` says.
    pub(super) fn deliver(&mut self, content: Texts, meta: Map<String, Value>, now: Moment) {
        let before = self.clone();
        self.status = Status::Ready;
        self.content = content;
        self.explain(meta);
        // The same again is no news.
        if before.status != Status::Ready || before.content != self.content || !before.is_explained_by(&self.meta) {
            self.last_generated_at = Some(now);
        }
    }

    /// Lays down how the content came about in place of what was said before.
    pub(super) fn explain(&mut self, meta: Map<String, Value>) {
        let kept = |name: &str| name == OF_THE_EVENT || CONFIRMATION.contains(&name);
        self.meta.retain(|name, _| kept(name));
        self.meta.extend(meta.into_iter().filter(|(name, _)| !CONFIRMATION.contains(&name.as_str())));
    }

    fn is_explained_by(&self, meta: &Map<String, Value>) -> bool {
        let told = |meta: &Map<String, Value>| {
            let told = meta.iter().filter(|(name, _)| !CONFIRMATION.contains(&name.as_str()));
            told.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>()
        };
        told(&self.meta) == told(meta)
    }

    /// Somebody has read the content and answers for it.
    pub(super) fn confirm(&mut self, by: Id, now: Moment) {
        self.meta.insert(CONFIRMED_BY.to_owned(), json!(by));
        self.meta.insert("confirmed_at".to_owned(), json!(now));
    }

    /// The status of content that nobody waits for.
    pub(super) fn rest(&mut self) {
        self.status = if says_something(&self.content) { Status::Ready } else { Status::Idle };
        self.meta.remove("error");
    }

    /// What follows from the change: a confirmation is of the content that was confirmed, and a time-out of what is pending.
    pub(super) fn settle(&mut self, before: &Self, now: Moment) {
        if self.content != before.content {
            self.meta.retain(|name, _| !CONFIRMATION.contains(&name.as_str()));
        }
        if self.status == Status::Pending {
            let patience = TimeDelta::minutes(PATIENCE_MINUTES);
            self.timeout_at.get_or_insert(Moment(now.0 + patience));
        } else {
            self.timeout_at = None;
        }
    }

    /// What the audit log says of it beside another one: all but the texts that both have.
    pub(super) fn beside(&self, other: &Self) -> Value {
        let changed: std::collections::BTreeMap<&String, &Value> =
            self.content.iter().filter(|(name, text)| other.content.get(*name) != Some(*text)).collect();
        json!({
            "generation_status": self.status,
            "generated_content": changed,
            "generation_meta": self.meta,
            "visibility": self.visibility,
            "gcal_event_id": self.gcal_event_id,
            "generation_timeout_at": self.timeout_at,
            "last_generated_at": self.last_generated_at,
        })
    }
}
