//! Every refusal and failure a client can see: `application/problem+json` (RFC 9457).
//!
//! A handler returns a [`Problem`]; it becomes a body only in [`render`], one layer near the outside, because the
//! request id belongs to it and because a failure of the server is logged there, once. What a source error says
//! (SQL, paths, versions) goes to the log and never to the client: the two texts are separate fields.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::origin::Origin;
use super::text::is_blank;

/// What PostgreSQL says when its disk is full.
const DISK_FULL: &str = "53100";

/// What a handler answers.
pub type Answer<T> = Result<T, Problem>;

/// A refusal or a failure, with what the client is told and, apart from it, what only the log is told.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    errors: Faults,
    more: Map<String, Value>,
    retry_after: Option<u64>,
    close: bool,
    source: Option<anyhow::Error>,
    constraint: Option<String>,
    again: bool,
    broken: bool,
}

/// How a named constraint of the database is told to the client.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// The constraint's or unique index's name.
    pub constraint: &'static str,
    /// 409 for a taken value or a state, 400 for a value that can never be.
    pub status: StatusCode,
    /// The body's field.
    pub field: &'static str,
    /// What is wrong with it, for people.
    pub says: &'static str,
}

impl Refusal {
    /// The value is taken: 409.
    pub const fn taken(constraint: &'static str, field: &'static str, says: &'static str) -> Self {
        Self { constraint, status: StatusCode::CONFLICT, field, says }
    }

    /// The value can never be accepted: 400.
    pub const fn invalid(constraint: &'static str, field: &'static str, says: &'static str) -> Self {
        Self { constraint, status: StatusCode::BAD_REQUEST, field, says }
    }
}

impl Problem {
    /// A problem with a permanent `snake_case` code and a sentence for people.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Faults::default(),
            more: Map::new(),
            retry_after: None,
            close: false,
            source: None,
            constraint: None,
            again: false,
            broken: false,
        }))
    }

    /// 400: the request is malformed.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// 400 on one field or parameter.
    pub fn invalid(field: impl Into<String>, says: impl Into<String>) -> Self {
        let mut faults = Faults::default();
        faults.add(field, says);
        faults.into_problem()
    }

    /// 400 on one field, in a sentence that names what it is about: people read it as it is.
    pub fn about(field: impl Into<String>, says: impl Into<String>) -> Self {
        let says = says.into();
        Self::new(StatusCode::BAD_REQUEST, "invalid", says.clone()).on(field, says)
    }

    /// 401: no credentials.
    pub fn not_authenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_authenticated", "Authentication credentials were not provided.")
    }

    /// 401: a credential that is bad, expired or revoked.
    pub fn bad_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "token_not_valid", "The token is invalid, expired or revoked.")
    }

    /// 403: a known caller who may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_denied", detail)
    }

    /// 404: not there, or not visible to the caller; the two read alike.
    pub fn absent() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is no such resource, or you may not see it.")
    }

    /// 409: the state of things does not allow it.
    pub fn conflict(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 429, with the seconds to wait.
    pub fn throttled(seconds: u64) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "throttled",
            format!("Too many attempts. Try again in {} seconds.", seconds.max(1)),
        )
        .retry_after(seconds.max(1))
    }

    /// 503: the database or a queue is away or full.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(1)
    }

    /// 500: our fault; `source` is for the log alone.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        let mut problem =
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed. The failure has been logged.");
        problem.0.source = Some(source.into());
        problem
    }

    /// The same, with what it comes from, for the log alone.
    #[must_use]
    pub fn because(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// 503, and a reason to doubt the sessions of the pool.
    fn broken_session(source: sqlx::Error) -> Self {
        crate::db::doubt();
        let mut problem = Self::unavailable("The database cannot be reached right now. Try again shortly.");
        problem.0.broken = true;
        problem.0.source = Some(source.into());
        problem
    }

    /// 503: reading goes on.
    pub fn read_only() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "read_only",
            "Nothing can be changed right now: the database can only be read. Reading goes on; try again later.",
        )
        .retry_after(10)
    }

    /// With `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// With an error on one field.
    #[must_use]
    pub fn on(mut self, field: impl Into<String>, says: impl Into<String>) -> Self {
        self.0.errors.add(field, says);
        self
    }

    /// With one more member in the body.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// The connection is closed after this answer: the rest of the body is not read.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.0.close = true;
        self
    }

    /// The status that the client sees.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Whether the database asks to run the whole transaction again (serialisation failure, deadlock).
    #[must_use]
    pub fn asks_for_another_try(&self) -> bool {
        self.0.again
    }

    /// Whether the session that it happened on may be broken.
    #[must_use]
    pub fn doubts_the_session(&self) -> bool {
        self.0.broken
    }

    /// What the database called the failure, if it is one of its.
    #[must_use]
    pub fn sqlstate(&self) -> Option<String> {
        let failure = self.0.source.as_ref()?.downcast_ref::<sqlx::Error>()?.as_database_error()?;
        failure.code().map(Cow::into_owned)
    }

    /// Whether the database can be read and cannot be written.
    #[must_use]
    pub fn cannot_write(&self) -> bool {
        self.0.code == "read_only" || self.sqlstate().as_deref() == Some(DISK_FULL)
    }

    /// A violated constraint in the words of the resource that knows it.
    #[must_use]
    pub fn explained(self, refusals: &[Refusal]) -> Self {
        let known = self.0.constraint.as_deref().and_then(|name| refusals.iter().find(|r| r.constraint == name));
        match known {
            Some(refusal) if refusal.status == StatusCode::CONFLICT => {
                Self::conflict("already_taken", refusal.says).on(refusal.field, refusal.says)
            }
            Some(refusal) => Self::invalid(refusal.field, refusal.says),
            None => self,
        }
    }

    /// The permanent code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The sentence for people.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The errors by field.
    #[must_use]
    pub fn errors(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0.errors.told
    }

    fn body(&self, request_id: &str) -> Value {
        let parts = &self.0;
        let detail = shortened(&parts.detail, LONGEST_DETAIL);
        let mut body = json!({
            "type": "about:blank",
            "title": parts.status.canonical_reason().unwrap_or("Error"),
            "status": parts.status.as_u16(),
            "detail": detail,
            "error": detail,
            "code": parts.code,
            "request_id": request_id,
        });
        if let Some(members) = body.as_object_mut() {
            if !parts.errors.is_empty() {
                members.insert("errors".to_owned(), json!(parts.errors.told));
            }
            if parts.errors.left_out > 0 {
                members.insert("errors_left_out".to_owned(), parts.errors.left_out.into());
            }
            members.extend(parts.more.clone());
        }
        body
    }
}

impl fmt::Display for Problem {
    /// For the command line and the log: the sentence, each field's errors, and the cause if the server failed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)?;
        for (field, says) in &self.0.errors.told {
            write!(f, "\n  {field}: {}", says.join(" "))?;
        }
        match &self.0.source {
            Some(source) => write!(f, "\n  cause: {source:#}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl From<sqlx::Error> for Problem {
    /// The class of a database error decides its status; its text stays in the log.
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, RowNotFound, Tls};

        if matches!(error, RowNotFound) {
            return Self::absent();
        }
        if matches!(error, PoolTimedOut | PoolClosed | Io(_) | Tls(_)) {
            return Self::broken_session(error);
        }
        let Some(failure) = error.as_database_error() else {
            let mut problem = Self::internal(error);
            problem.0.broken = true;
            return problem;
        };
        let constraint = failure.constraint().map(str::to_owned);
        let state = failure.code().unwrap_or_default().into_owned();
        if state == DISK_FULL {
            let mut full = Self::unavailable(
                "The server cannot write now: its database has no room left. Reading goes on; try again later.",
            )
            .retry_after(10);
            full.0.source = Some(error.into());
            return full;
        }
        // What is not wrong with the server is a line of the probe's and no more.
        if state == "25006" {
            return Self::read_only();
        }
        if ["08", "53", "57P", "25P03"].iter().any(|class| state.starts_with(class)) {
            return Self::broken_session(error);
        }
        // Whichever write it is that would take the last one.
        if constraint.as_deref() == Some("users_keep_an_administrator") {
            return Self::conflict(
                "last_administrator",
                "This is the last account that can manage accounts. Give another account these rights first.",
            );
        }
        let mut problem = match state.as_str() {
            // The caller's text or number cannot be stored: NUL, too long, out of range, not a date, not a number …
            "22021" | "22P05" | "22001" | "22003" | "22007" | "22008" | "22P02" | "23502" | "54001" => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid",
                "A value in the request cannot be stored: it is malformed, too long or out of range.",
            ),
            "23514" => Self::new(StatusCode::BAD_REQUEST, "invalid", "A value in the request breaks a rule."),
            "23503" => {
                Self::new(StatusCode::BAD_REQUEST, "invalid", "The request refers to something that does not exist.")
            }
            "23505" | "23P01" => Self::conflict("already_taken", "A value in the request is already taken."),
            "40001" | "40P01" => {
                let mut busy = Self::unavailable("The server is busy with a conflicting request. Try again.");
                busy.0.again = true;
                busy
            }
            "55P03" | "57014" => Self::unavailable("The database took too long to answer. Try again shortly."),
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The server failed. The failure has been logged.",
            ),
        };
        problem.0.constraint = constraint;
        problem.0.source = Some(error.into());
        problem
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem; [`render`] writes the body.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The most fields whose broken rules a refusal names; the rest are counted.
pub(super) const MOST_FAULTS: usize = 100;

/// The most bytes of fields and texts together that a refusal names.
const MOST_TOLD: usize = 20 * 1024;

/// The longest path of a field, and the longest text about it, in characters.
const LONGEST: usize = 300;

/// The longest `detail`, in characters.
const LONGEST_DETAIL: usize = 1000;

/// What is wrong with an input, by field: as much of it as an answer may tell, and how much there is beyond that.
///
/// Fields and texts can hold what the caller sent, and there can be as many as the caller likes. How large a refusal
/// becomes is decided here and not by them.
#[derive(Debug, Default)]
pub struct Faults {
    told: BTreeMap<String, Vec<String>>,
    bytes: usize,
    left_out: usize,
}

impl Faults {
    /// One more broken rule.
    pub fn add(&mut self, field: impl Into<String>, says: impl Into<String>) {
        self.add_at(|| field.into(), says);
    }

    /// One more broken rule, at a place that is only spelt out if it will be told.
    pub fn add_at(&mut self, field: impl FnOnce() -> String, says: impl Into<String>) {
        if self.bytes >= MOST_TOLD {
            self.left_out += 1;
            return;
        }
        let (field, says) = (shortened(&field(), LONGEST), shortened(&says.into(), LONGEST));
        let is_full = self.told.len() >= MOST_FAULTS;
        match self.told.entry(field) {
            Entry::Vacant(_) if is_full => self.left_out += 1,
            Entry::Vacant(place) => {
                self.bytes += place.key().len() + says.len();
                place.insert(vec![says]);
            }
            Entry::Occupied(mut place) => {
                self.bytes += says.len();
                place.get_mut().push(says);
            }
        }
    }

    /// A broken rule unless `holds`.
    pub fn unless(&mut self, holds: bool, field: &str, says: impl Into<String>) {
        if !holds {
            self.add(field, says);
        }
    }

    /// Text that may be empty but has at most `most` characters.
    pub fn text(&mut self, field: &str, value: &str, most: usize) {
        let length = value.chars().count();
        if length > most {
            self.add(field, format!("Ensure this field has no more than {most} characters (it has {length})."));
        }
    }

    /// Text that must say something, in at most `most` characters.
    pub fn name(&mut self, field: &str, value: &str, most: usize) {
        if is_blank(value) {
            self.add(field, "This field is required and may not be blank.");
        }
        self.text(field, value, most);
    }

    /// A decimal in a range, with at most `scale` decimals.
    pub fn decimal(&mut self, field: &str, value: Decimal, scale: u32, range: RangeInclusive<Decimal>) {
        if value.normalize().scale() > scale {
            self.add(field, format!("Ensure that there are no more than {scale} decimal places."));
        }
        if !range.contains(&value) {
            self.add(
                field,
                format!("Ensure this value is from {} to {}.", range.start().normalize(), range.end().normalize()),
            );
        }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Each field with each thing that is wrong with it.
    pub fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        self.told.into_iter().flat_map(|(field, says)| says.into_iter().map(move |says| (field.clone(), says)))
    }

    /// A problem of this status with everything that is wrong, if anything is.
    ///
    /// # Errors
    /// `problem` with `errors`.
    pub fn refuse_with(self, problem: Problem) -> Answer<()> {
        if self.is_empty() {
            return Ok(());
        }
        let mut problem = problem;
        problem.0.errors.left_out += self.left_out;
        Err(self.into_pairs().fold(problem, |problem, (field, says)| problem.on(field, says)))
    }

    /// An error with everything that is wrong, if anything is.
    ///
    /// # Errors
    /// 400 with `errors`.
    pub fn check(self) -> Answer<()> {
        if self.is_empty() { Ok(()) } else { Err(self.into_problem()) }
    }

    fn into_problem(self) -> Problem {
        let mut detail =
            self.told.iter().map(|(field, says)| format!("{field}: {}", says.join(" "))).collect::<Vec<_>>().join(" ");
        if self.left_out > 0 {
            detail = shortened(&detail, LONGEST_DETAIL - 50);
            let _ = write!(detail, " There are {} more errors.", self.left_out);
        }
        let mut problem = Problem::new(StatusCode::BAD_REQUEST, "invalid", detail);
        problem.0.errors = self;
        problem
    }
}

/// The beginning of a text that may be the caller's. Control characters, which JSON spells with six letters, are
/// replaced.
fn shortened(text: &str, most: usize) -> String {
    let is_fine = text.len() <= most && !text.contains(char::is_control);
    if is_fine {
        return text.to_owned();
    }
    let plain = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    let mut letters = text.chars().map(plain);
    let mut short: String = letters.by_ref().take(most - 1).collect();
    if let Some(last) = letters.next() {
        short.push(if letters.next().is_some() { '…' } else { last });
    }
    short
}

/// The layer that gives every failed answer its body, adds the headers that belong to its status, and logs what is our fault.
pub async fn render(request: Request, next: Next) -> Response {
    let request_id = request.extensions().get::<Origin>().map(|origin| origin.told_id().to_owned()).unwrap_or_default();
    let response = next.run(request).await;
    if !(response.status().is_client_error() || response.status().is_server_error()) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let problem = head.extensions.remove::<Arc<Problem>>().unwrap_or_else(|| Arc::new(of_status(head.status)));
    drop(body);
    if problem.0.status.is_server_error() {
        let status = problem.0.status.as_u16();
        if let Some(source) = &problem.0.source {
            tracing::error!(status, error = format!("{source:#}"), "request failed");
        } else {
            tracing::warn!(status, code = %problem.0.code, "request failed");
        }
    }
    let headers = &mut head.headers;
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if problem.0.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"api\""));
    }
    if let Some(seconds) = problem.0.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if problem.0.close || problem.0.status == StatusCode::PAYLOAD_TOO_LARGE {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Response::from_parts(head, Body::from(problem.body(&request_id).to_string()))
}

/// A problem for a failed answer that a library gave without one.
fn of_status(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::absent(),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "method_not_allowed", "This method is not allowed here; see the Allow header.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "too_large", "The request is larger than allowed.").closing()
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Problem::unavailable("The request took too long. Try again shortly.")
        }
        StatusCode::INTERNAL_SERVER_ERROR => {
            Problem::new(status, "internal", "The server failed. The failure has been logged.")
        }
        other => Problem::new(other, "refused", other.canonical_reason().unwrap_or("The request was refused.")),
    }
}
