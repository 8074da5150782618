//! `?dry_run=true`: what a request would be answered with, and nothing written.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer::Done;
use super::describe::{Answers, Describe, Notes, Schemas, schema_of};
use super::list::{boolean, query_pairs};
use super::problem::{Answer, Problem};
use crate::app::AppState;

/// Whether the caller only wants to know.
#[derive(Debug, Clone, Copy)]
pub struct DryRun(pub bool);

/// A rule that is broken, where a refusal names all of them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Reason {
    /// Permanent, such as `offering_full`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
    /// What the rule was held against; the members depend on the code.
    #[schema(value_type = Object)]
    pub facts: Value,
}

/// What a request would be answered with.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trial {
    /// Whether all of it would be done.
    ok: bool,
    /// The status of the answer that it would get.
    status: u16,
    /// Why not; empty when it would be done.
    reasons: Vec<Reason>,
    /// The body of the answer that it would get, where a request does many things at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    answer: Option<Value>,
}

impl Trial {
    /// It would be answered with this status, for these reasons if it would be refused.
    #[must_use]
    pub fn of(status: StatusCode, reasons: Vec<Reason>) -> Self {
        Self { ok: status.is_success(), status: status.as_u16(), reasons, answer: None }
    }

    /// The same with the body of that answer.
    ///
    /// # Errors
    /// 500 when it is no JSON.
    pub fn answering<T: Serialize>(self, body: &T) -> Answer<Self> {
        Ok(Self { answer: Some(serde_json::to_value(body).map_err(Problem::internal)?), ..self })
    }

    /// It would be answered with 200, and leave out what these reasons are against.
    #[must_use]
    pub fn of_each(reasons: Vec<Reason>) -> Self {
        Self { ok: reasons.is_empty(), status: StatusCode::OK.as_u16(), reasons, answer: None }
    }
}

/// The answer of an endpoint that can be tried out.
pub enum Tried<A> {
    /// It was done.
    Done(A),
    /// It was only asked about.
    Asked(Done<Trial>),
}

impl FromRequestParts<AppState> for DryRun {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let pairs = query_pairs(head)?;
        let asked = pairs.iter().rfind(|(name, _)| name == "dry_run").map(|(_, value)| value.as_str());
        asked.map_or(Ok(Self(false)), |value| {
            let says = "`true` or `false` is expected.";
            boolean(value).map(Self).ok_or_else(|| Problem::invalid("dry_run", says))
        })
    }
}

impl Describe for DryRun {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter("query", "dry_run", json!({ "type": "boolean" }), "Only asks: nothing is written.");
    }
}

impl<A: IntoResponse> IntoResponse for Tried<A> {
    fn into_response(self) -> Response {
        match self {
            Self::Done(answer) => answer.into_response(),
            Self::Asked(answer) => answer.into_response(),
        }
    }
}

impl<A: Answers> Answers for Tried<A> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        A::describe(notes, schemas);
        let trial = schema_of::<Trial>(schemas);
        notes.or_answers(200, "What the answer would be, with `dry_run`.", trial);
    }
}
