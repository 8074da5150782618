//! Request bodies.
//!
//! Every JSON body is first read whole into a [`Value`] by the [`Judge`], so that depth, UTF-8, lone surrogates and number
//! ranges are judged also in fields that we then ignore, and NUL, which PostgreSQL cannot store, is refused by name.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt as _;
use serde::de::{DeserializeOwned, DeserializeSeed as _};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::describe::{Describe, Notes, Schemas};
use super::judge::{Judge, Place};
use super::problem::{Answer, Problem};
use super::repeat::Repeat;
use super::schemas::{body_of, change_of};
use super::{read, unread};
use crate::app::AppState;
use crate::ids::Id;

/// A JSON body of a `PUT`, or of a `POST` that may come without a token.
pub struct Json<T>(pub T);

/// A JSON body of a workflow, as [`item_of`] takes it.
pub struct FromWorkflow<T>(pub T);

/// A JSON body of an authenticated `POST`, with its `Idempotency-Key` if it has one.
pub struct Posted<T> {
    /// What was sent.
    pub body: T,
    /// Performs the effect once for each key.
    pub repeat: Repeat,
}

/// A JSON body of an authenticated `POST` that may also come without one, and then has all the defaults.
pub struct Optional<T> {
    /// What was sent.
    pub body: T,
    /// Performs the effect once for each key.
    pub repeat: Repeat,
}

/// An authenticated `POST` that needs no body: it may be empty and of any type.
pub struct Bare {
    /// Performs the effect once for each key.
    pub repeat: Repeat,
}

/// The body of a `PATCH`: its members, to be laid over what is there.
pub struct Changes<T> {
    members: Map<String, Value>,
    fields: std::marker::PhantomData<T>,
}

/// The body of a `PUT` that is laid over defaults like a change; what it needs is what `D` says of itself in the OpenAPI document.
pub struct Replacement<T, D> {
    /// Its members.
    pub members: Changes<T>,
    described: std::marker::PhantomData<D>,
}

impl<T> Changes<T> {
    /// The value of this member, when it is the only one.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|_| self.members.len() == 1)
    }

    /// Whether the body names this member.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The fields, or a part of them, after the change. A member that `now` does not have is ignored; null is a value, absence is none.
    ///
    /// # Errors
    /// 400 naming the field, for a wrong type.
    pub fn onto<P: DeserializeOwned + serde::Serialize>(&self, now: &P) -> Answer<P> {
        let mut whole = serde_json::to_value(now).map_err(Problem::internal)?;
        if let Some(whole) = whole.as_object_mut() {
            for (name, value) in &self.members {
                if let Some(place) = whole.get_mut(name) {
                    *place = value.clone();
                }
            }
            unread::part(self.members.keys().map(|name| (name.clone(), whole.contains_key(name))));
        }
        typed(whole)
    }
}

impl<T: DeserializeOwned + 'static> FromRequest<AppState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AppState) -> Answer<Self> {
        let (value, _) = value_of(request).await?;
        typed(value).map(Self)
    }
}

impl<T: DeserializeOwned + 'static> FromRequest<AppState> for FromWorkflow<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AppState) -> Answer<Self> {
        let (value, _) = value_of(request).await?;
        typed(item_of(&value).clone()).map(Self)
    }
}

/// What a workflow means when one of its nodes is wired one step off: the item of a list that has one, and what n8n puts under
/// `body` or `json` of an item.
#[must_use]
pub fn item_of(sent: &Value) -> &Value {
    let inner = match sent {
        Value::Array(items) if items.len() == 1 => items.first(),
        Value::Object(members) => ["body", "json"].iter().find_map(|name| members.get(*name)),
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    inner.filter(|inner| inner.is_object() || inner.is_array()).map_or(sent, item_of)
}

impl<T: DeserializeOwned + 'static> FromRequest<AppState> for Posted<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AppState) -> Answer<Self> {
        let (mut head, body) = request.into_parts();
        let repeat = Repeat::asked(&mut head)?;
        let (value, bytes) = value_of(Request::from_parts(head, body)).await?;
        Ok(Self { body: typed(value)?, repeat: repeat.of(&bytes) })
    }
}

impl<T: DeserializeOwned + Default + 'static> FromRequest<AppState> for Optional<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AppState) -> Answer<Self> {
        let (mut head, body) = request.into_parts();
        let repeat = Repeat::asked(&mut head)?;
        let headers = head.headers.clone();
        let bytes = bytes_of(Request::from_parts(head, body)).await?;
        let repeat = repeat.of(&bytes);
        if bytes.is_empty() {
            return Ok(Self { body: T::default(), repeat });
        }
        refuse_other_types(&headers)?;
        Ok(Self { body: typed(parsed(&bytes)?)?, repeat })
    }
}

impl FromRequest<AppState> for Bare {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AppState) -> Answer<Self> {
        let (mut head, body) = request.into_parts();
        let repeat = Repeat::asked(&mut head)?;
        let is_json = is_json(&head.headers);
        let bytes = bytes_of(Request::from_parts(head, body)).await?;
        if is_json && let Ok(Value::Object(members)) = parsed(&bytes) {
            unread::left_unread(members.keys());
        }
        Ok(Self { repeat: repeat.of(&bytes) })
    }
}

impl<T: 'static> FromRequest<AppState> for Changes<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AppState) -> Answer<Self> {
        let Value::Object(members) = value_of(request).await?.0 else {
            return Err(Problem::malformed("The body must be a JSON object."));
        };
        Ok(Self { members, fields: std::marker::PhantomData })
    }
}

impl<T: 'static, D: 'static> FromRequest<AppState> for Replacement<T, D> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Answer<Self> {
        let members = Changes::from_request(request, app).await?;
        Ok(Self { members, described: std::marker::PhantomData })
    }
}

/// The largest JSON body, in bytes.
const LARGEST: usize = 1024 * 1024;

/// How much of a body that is too large is still read, and for how long: a client that is cut off while it sends does
/// not see the answer.
const READ_ON: (usize, Duration) = (8 * 1024 * 1024, Duration::from_secs(1));

async fn bytes_of(request: Request) -> Answer<Bytes> {
    let mut sent = request.into_body().into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = sent.next().await {
        let chunk = chunk.map_err(|_| Problem::malformed("The body could not be read to its end."))?;
        if bytes.len() + chunk.len() > LARGEST {
            drop(bytes);
            let rest = async {
                let mut left = READ_ON.0;
                while let Some(Ok(chunk)) = sent.next().await {
                    left = left.saturating_sub(chunk.len());
                    if left == 0 {
                        break;
                    }
                }
            };
            // Over time or not, the answer is the same.
            let _over = tokio::time::timeout(READ_ON.1, rest).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// 413; the connection closes, since the rest of the body will not be read.
pub(crate) fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is larger than this endpoint accepts.").closing()
}

async fn value_of(request: Request) -> Answer<(Value, Bytes)> {
    refuse_other_types(request.headers())?;
    let bytes = bytes_of(request).await?;
    Ok((parsed(&bytes)?, bytes))
}

fn refuse_other_types(headers: &HeaderMap) -> Answer<()> {
    if is_json(headers) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "Send the body as JSON, with the header Content-Type: application/json.",
    ))
}

fn parsed(bytes: &[u8]) -> Answer<Value> {
    let mut judge = Judge::of(bytes);
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let read = judge.value(&Place::Body).deserialize(&mut text).and_then(|value| text.end().map(|()| value));
    if judge.is_too_much {
        return Err(Problem::malformed("The body has more values than can be read at once. Send it in parts."));
    }
    let value = read.map_err(|error| Problem::malformed(format!("The body is not valid JSON: {error}.")))?;
    judge.faults.check()?;
    Ok(value)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// Reads a value as `T`; what does not fit is named by its path, and what `T` does not have is told to the caller.
///
/// # Errors
/// 400 with `errors`.
pub fn typed<T: DeserializeOwned>(value: Value) -> Answer<T> {
    refuse_other_than_objects(&value)?;
    let mut unread = Vec::new();
    let read = read::read(value, &mut unread);
    // Also where something else is wrong with it: what is misspelt may be what is missing.
    unread::never(unread);
    read
}

/// The same of a part of a value, of which other parts read other members.
///
/// # Errors
/// 400 with `errors`.
pub fn typed_part<T: DeserializeOwned>(value: &Value) -> Answer<T> {
    refuse_other_than_objects(value)?;
    let mut unread = Vec::new();
    let read = read::read(value.clone(), &mut unread)?;
    let left: HashSet<String> = unread.into_iter().collect();
    let members = value.as_object().into_iter().flat_map(Map::keys);
    unread::part(members.map(|name| (name.clone(), !left.contains(name))));
    Ok(read)
}

fn refuse_other_than_objects(value: &Value) -> Answer<()> {
    if value.is_object() { Ok(()) } else { Err(Problem::malformed("The body must be a JSON object.")) }
}

/// A part of the path, by its name in the route.
///
/// # Errors
/// 404 when it is not text.
#[expect(clippy::disallowed_types, reason = "what axum finds is what our own extractors are made of")]
pub(crate) async fn path_text(head: &mut Parts, app: &AppState, name: &str) -> Answer<String> {
    let found = axum::extract::Path::<BTreeMap<String, String>>::from_request_parts(head, app).await;
    let axum::extract::Path(mut parts) = found.map_err(|_| Problem::absent())?;
    parts.remove(name).ok_or_else(Problem::absent)
}

/// The `{id}` of the path. What is not an id names nothing: 404.
#[derive(Debug, Clone, Copy)]
pub struct PathId(pub Id);

impl FromRequestParts<AppState> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        path_text(head, app, "id").await?.parse().map(Self).map_err(|_| Problem::absent())
    }
}

impl Describe for PathId {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter("path", "id", json!({ "type": "integer", "format": "int64", "minimum": 1 }), "");
        notes.refuses(404, "Not there, or not visible to the caller.");
    }
}

fn json_refusals(notes: &mut Notes) {
    notes.refuses(400, "Malformed or invalid; `errors` names every field.");
    notes.refuses(413, "The body is too large.");
    notes.refuses(415, "The body is not JSON.");
}

impl<T: ToSchema> Describe for Json<T> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        let schema = body_of::<T>(schemas);
        notes.body("application/json", true, schema);
        json_refusals(notes);
        notes.refuses(409, "A value is taken, or the state does not allow it.");
    }
}

impl<T: ToSchema> Describe for FromWorkflow<T> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        Json::<T>::describe(notes, schemas);
    }
}

impl<T: ToSchema> Describe for Posted<T> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        let schema = body_of::<T>(schemas);
        notes.body("application/json", true, schema);
        json_refusals(notes);
        Repeat::describe(notes, schemas);
    }
}

impl<T: ToSchema> Describe for Optional<T> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        let schema = body_of::<T>(schemas);
        notes.body("application/json", false, schema);
        json_refusals(notes);
        Repeat::describe(notes, schemas);
    }
}

impl Describe for Bare {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        notes.refuses(400, "Malformed.");
        notes.refuses(413, "The body is too large.");
        Repeat::describe(notes, schemas);
    }
}

impl<T: ToSchema> Describe for Changes<T> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        let schema = change_of::<T>(schemas);
        notes.body("application/json", true, schema);
        json_refusals(notes);
        notes.refuses(409, "A value is taken, or the state does not allow it.");
    }
}

impl<T, D: ToSchema> Describe for Replacement<T, D> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        <Json<D> as Describe>::describe(notes, schemas);
    }
}
