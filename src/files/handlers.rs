//! Serves files. In production nginx does the sending: public files by itself, private ones by `X-Accel-Redirect`.

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio_util::io::ReaderStream;

use super::kinds::{may_be_shown, of_ending};
use crate::access::Public;
use crate::app::AppState;
use crate::http::{Answer, Answers, Describe, Notes, PathId, Problem, Schemas, name_file, path_text, query_pairs};

/// A file's bytes.
pub(super) struct FileAnswer(Response);

impl IntoResponse for FileAnswer {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Answers for FileAnswer {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.answers(
            200,
            "The file.",
            "application/octet-stream",
            Some(json!({ "type": "string", "contentMediaType": "application/octet-stream" })),
        );
    }
}

/// The `{name}` of the path.
pub(super) struct FileName(String);

impl FromRequestParts<AppState> for FileName {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        path_text(head, app, "name").await.map(Self)
    }
}

impl Describe for FileName {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter("path", "name", json!({ "type": "string" }), "");
        notes.refuses(404, "There is no such file.");
    }
}

/// The signature of a link.
pub(super) struct Signature {
    until: i64,
    signature: String,
}

impl FromRequestParts<AppState> for Signature {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let mut found = Self { until: 0, signature: String::new() };
        for (name, value) in query_pairs(head)? {
            match name.as_str() {
                "exp" => found.until = value.parse().unwrap_or(0),
                "sig" => found.signature = value,
                _ => {}
            }
        }
        Ok(found)
    }
}

impl Describe for Signature {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter(
            "query",
            "exp",
            json!({ "type": "integer" }),
            "When the link ends, in seconds of the Unix epoch.",
        );
        notes.parameter("query", "sig", json!({ "type": "string" }), "The signature.");
        notes.refuses(400, "The query string is malformed.");
        notes.refuses(403, "The link is not ours or its time is over.");
    }
}

/// `GET /media/{name}`
pub(super) async fn public(_: Public, State(app): State<AppState>, FileName(name): FileName) -> Answer<FileAnswer> {
    let path = app.files.public(&name).ok_or_else(Problem::absent)?;
    let mut answer = send(&path, of_ending(&name), &name).await?;
    // The bytes behind a name never change, but they may be deleted.
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    Ok(FileAnswer(answer))
}

/// `GET /api/files/{id}/`
pub(super) async fn private(
    _: Public,
    State(app): State<AppState>,
    PathId(id): PathId,
    link: Signature,
) -> Answer<FileAnswer> {
    if !app.links.holds(id, link.until, &link.signature, app.clock.now()) {
        return Err(Problem::forbidden(
            "This link is not valid or its time is over. Ask for the object again to get a new one.",
        ));
    }
    let mut conn = app.db.acquire().await?;
    let file = app.files.private(&mut conn, id).await?;
    drop(conn);
    let mut answer = match &app.config.accel_redirect {
        Some(location) => {
            let mut response = Response::new(Body::empty());
            describe(response.headers_mut(), &file.content_type, &file.original_name);
            let place = HeaderValue::from_str(&format!("{location}{}", file.name)).map_err(Problem::internal)?;
            response.headers_mut().insert("x-accel-redirect", place);
            response
        }
        None => send(&file.path, &file.content_type, &file.original_name).await?,
    };
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(FileAnswer(answer))
}

async fn send(path: &std::path::Path, content_type: &str, name: &str) -> Answer<Response> {
    let file = tokio::fs::File::open(path).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound { Problem::absent() } else { Problem::internal(error) }
    })?;
    let known = file.metadata().await.map_err(Problem::internal)?;
    // A folder can be opened too.
    if !known.is_file() {
        return Err(Problem::absent());
    }
    let mut response = Response::new(Body::from_stream(ReaderStream::new(file)));
    describe(response.headers_mut(), content_type, name);
    response.headers_mut().insert(header::CONTENT_LENGTH, known.len().into());
    Ok(response)
}

/// The headers that keep a browser from taking a file for anything but what it is.
fn describe(headers: &mut HeaderMap, content_type: &str, name: &str) {
    let place = if may_be_shown(content_type) { "inline" } else { "attachment" };
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    name_file(headers, place, name);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
}
