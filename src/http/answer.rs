//! What handlers answer with. An answer holds its body's bytes: they are what `ETag` is computed over, what an
//! `Idempotency-Key` keeps, and what is sent.

use std::marker::PhantomData;

use aws_lc_rs::digest;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::describe::{Answers, Describe, Notes, Schemas, schema_of};
use super::problem::{Answer, Problem};
use crate::app::AppState;

/// 200 with the object and its strong `ETag`.
pub struct Shown<T>(Vec<u8>, PhantomData<T>, Option<String>);

/// 200 with a result, without an `ETag`.
pub struct Done<T>(Vec<u8>, PhantomData<T>);

/// 201 with the new object.
pub struct Created<T>(Vec<u8>, PhantomData<T>);

/// 202: it will be done.
pub struct Accepted<T>(Vec<u8>, PhantomData<T>);

/// 204.
pub struct NoContent;

/// An answer that an `Idempotency-Key` can keep and give again.
pub trait Kept: Sized {
    /// The body.
    fn bytes(&self) -> &[u8];
    /// The same answer again.
    fn again(bytes: Vec<u8>) -> Self;
}

fn json_response(status: StatusCode, bytes: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], bytes).into_response()
}

macro_rules! answer_with_body {
    ($name:ident, $status:ident, $number:literal, $says:literal) => {
        impl<T: Serialize> $name<T> {
            /// The answer with `body`.
            ///
            /// # Errors
            /// 500 when the body cannot be written as JSON.
            pub fn with(body: &T) -> Answer<Self> {
                serde_json::to_vec(body).map(|bytes| Self(bytes, PhantomData)).map_err(Problem::internal)
            }
        }
        impl<T> Kept for $name<T> {
            fn bytes(&self) -> &[u8] {
                &self.0
            }
            fn again(bytes: Vec<u8>) -> Self {
                Self(bytes, PhantomData)
            }
        }
        impl<T: ToSchema> Answers for $name<T> {
            fn describe(notes: &mut Notes, schemas: &mut Schemas) {
                let schema = schema_of::<T>(schemas);
                notes.answers($number, $says, "application/json", Some(schema));
            }
        }
    };
}
impl<T: Serialize> Shown<T> {
    /// The answer with `body`.
    ///
    /// # Errors
    /// 500 when the body cannot be written as JSON.
    pub fn with(body: &T) -> Answer<Self> {
        serde_json::to_vec(body).map(|bytes| Self(bytes, PhantomData, None)).map_err(Problem::internal)
    }

    /// The answer with `body`, which says more than the object does to readers: the tag stays theirs.
    ///
    /// # Errors
    /// 500 when it cannot be written as JSON.
    pub fn saying<M: Serialize>(self, body: &M) -> Answer<Shown<M>> {
        let tag = self.2.unwrap_or_else(|| etag(&self.0));
        serde_json::to_vec(body).map(|bytes| Shown(bytes, PhantomData, Some(tag))).map_err(Problem::internal)
    }
}

impl<T: ToSchema> Answers for Shown<T> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        let schema = schema_of::<T>(schemas);
        notes.answers(200, "The object.", "application/json", Some(schema));
    }
}

answer_with_body!(Done, OK, 200, "The result.");
answer_with_body!(Created, CREATED, 201, "The new object.");
answer_with_body!(Accepted, ACCEPTED, 202, "It will be done.");

impl<T> IntoResponse for Shown<T> {
    fn into_response(self) -> Response {
        let tag = self.2.unwrap_or_else(|| etag(&self.0));
        let mut response = json_response(StatusCode::OK, self.0);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

impl<T> IntoResponse for Done<T> {
    fn into_response(self) -> Response {
        json_response(StatusCode::OK, self.0)
    }
}

impl<T> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        json_response(StatusCode::CREATED, self.0)
    }
}

impl<T> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        json_response(StatusCode::ACCEPTED, self.0)
    }
}

/// What is answered when it is done, or 202 when it comes later.
pub enum NowOrLater<N, L> {
    /// It is done.
    Now(N),
    /// It will be.
    Later(Accepted<L>),
}

impl<N: IntoResponse, L> IntoResponse for NowOrLater<N, L> {
    fn into_response(self) -> Response {
        match self {
            Self::Now(done) => done.into_response(),
            Self::Later(accepted) => accepted.into_response(),
        }
    }
}

impl<N: Answers, L: ToSchema> Answers for NowOrLater<N, L> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        N::describe(notes, schemas);
        Accepted::<L>::describe(notes, schemas);
    }
}

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Answers for NoContent {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.answers(204, "Done.", "", None);
    }
}

impl Kept for NoContent {
    fn bytes(&self) -> &[u8] {
        &[]
    }
    fn again(_: Vec<u8>) -> Self {
        Self
    }
}

/// The strong entity tag of a body.
pub(crate) fn etag(body: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, body);
    let half = hash.as_ref().get(..16).unwrap_or_default();
    format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(half))
}

fn tags(headers: &HeaderMap, name: header::HeaderName) -> Option<Vec<String>> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    Some(
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim().to_owned())
            .collect(),
    )
}

/// The condition of a `PUT`, `PATCH` or `DELETE`.
#[derive(Debug)]
pub struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// No condition.
    #[must_use]
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Holds when there is no condition, or the object as the caller sees it now is one of those named.
    ///
    /// # Errors
    /// 412.
    pub fn holds_for<T: Serialize>(&self, shown: &T) -> Answer<()> {
        let Some(tags) = &self.0 else { return Ok(()) };
        let current = etag(&serde_json::to_vec(shown).map_err(Problem::internal)?);
        if tags.iter().any(|tag| *tag == current || tag == "*") {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "stale",
            "The object has changed since you read it. Read it again, then repeat the change.",
        ))
    }
}

impl FromRequestParts<AppState> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        Ok(Self(tags(&head.headers, header::IF_MATCH)))
    }
}

impl Describe for IfMatch {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter("header", "If-Match", json!({ "type": "string" }), "Change only what still has this ETag.");
        notes.refuses(409, "The state does not allow it, or other objects refer to this one.");
        notes.refuses(412, "The object has changed since.");
    }
}

/// The layer that answers 304 when the client already has this body.
pub async fn not_modified(request: Request, next: Next) -> Response {
    let known = match *request.method() {
        Method::GET | Method::HEAD => tags(request.headers(), header::IF_NONE_MATCH),
        _ => None,
    };
    let response = next.run(request).await;
    let Some(known) = known else { return response };
    let unchanged = response.status() == StatusCode::OK
        && response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).is_some_and(|tag| {
            known.iter().any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
        });
    if !unchanged {
        return response;
    }
    let (mut head, _) = response.into_parts();
    head.status = StatusCode::NOT_MODIFIED;
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::CONTENT_TYPE);
    Response::from_parts(head, Body::empty())
}
