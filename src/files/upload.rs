//! Multipart bodies.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::bytes::BytesMut;

use super::memory::Share;
use super::names;
use crate::app::AppState;
use crate::http::text::Text;
use crate::http::{Answer, Describe, Notes, Problem, Repeat, Schemas, left_unread, too_large, typed_part};

/// A multipart body: at most one file, and text fields.
#[derive(Debug)]
pub struct Upload {
    /// The file, if one was sent.
    pub file: Option<UploadedFile>,
    /// The text fields; of a repeated one the last.
    fields: BTreeMap<String, String>,
    /// Performs the effect once for each key.
    pub repeat: Repeat,
}

/// A file as it was sent.
#[derive(Debug, Clone)]
pub struct UploadedFile {
    /// The part's name.
    pub field: String,
    /// What the sender calls the file, which may be anything; [`Accepted`](super::Accepted) has a name to show.
    pub name: String,
    /// The bytes.
    pub bytes: Bytes,
    /// Their share of what bodies may hold.
    #[allow(dead_code, reason = "held for its drop")]
    share: Arc<Option<Share>>,
}

impl UploadedFile {
    /// A file that did not come over the wire.
    pub fn new(field: &str, name: &str, bytes: impl Into<Bytes>) -> Self {
        Self { field: field.to_owned(), name: name.to_owned(), bytes: bytes.into(), share: Arc::default() }
    }
}

/// The most text fields in one body.
const MOST_FIELDS: usize = 50;

/// What a body may have beside the file, in bytes: text fields, and what stands between the parts.
const BESIDE_THE_FILE: usize = 1024 * 1024;

impl FromRequest<AppState> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Answer<Self> {
        let (mut head, body) = request.into_parts();
        let media_type =
            head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !media_type.to_ascii_lowercase().starts_with("multipart/form-data") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send the file as multipart/form-data.",
            ));
        }
        let repeat = Repeat::asked(&mut head)?;
        let largest_file = app.config.max_upload_bytes;
        let largest = largest_file.saturating_add(BESIDE_THE_FILE);
        // Who says that more is coming is refused before it comes.
        let announced = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|announced: usize| announced > largest) {
            return Err(too_large());
        }
        let mut request = Request::from_parts(head, body);
        // In the place of the limit that all other bodies have.
        DefaultBodyLimit::max(largest).apply(&mut request);
        let mut parts = Multipart::from_request(request, app)
            .await
            .map_err(|_| Problem::malformed("The multipart body has no boundary."))?;
        let mut upload = Self { file: None, fields: BTreeMap::new(), repeat: Repeat::default() };
        let mut whole = Vec::new();
        while let Some(mut part) = parts.next_field().await.map_err(broken)? {
            let disposition = part.headers().get(header::CONTENT_DISPOSITION);
            let (field, name) = names::of_part(disposition.map(HeaderValue::as_bytes).unwrap_or_default());
            let (mut share, mut bytes) = (None, BytesMut::new());
            while let Some(chunk) = part.chunk().await.map_err(broken)? {
                if name.is_some() && bytes.len() + chunk.len() > largest_file {
                    return Err(too_large());
                }
                app.files.memory.for_body(&mut share, chunk.len()).await?;
                bytes.extend_from_slice(&chunk);
            }
            let bytes = bytes.freeze();
            if field.contains('\0') || name.as_ref().is_some_and(|name| name.contains('\0')) {
                return Err(Problem::invalid(field.replace('\0', ""), "Null characters are not allowed."));
            }
            whole.extend_from_slice(field.as_bytes());
            whole.extend_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref());
            match name {
                Some(_) if upload.file.is_some() => {
                    return Err(Problem::invalid(field, "Only one file can be sent at a time."));
                }
                Some(name) => {
                    upload.file = Some(UploadedFile { field, name, bytes, share: Arc::new(share) });
                }
                None => {
                    if upload.fields.len() == MOST_FIELDS {
                        return Err(Problem::malformed("The body has too many fields."));
                    }
                    let text = String::from_utf8(bytes.to_vec()).ok().filter(|text| !text.contains('\0'));
                    let text = text.ok_or_else(|| {
                        Problem::invalid(field.clone(), "This field must be text in UTF-8, without null characters.")
                    })?;
                    let text = Text::of(&field).kept(&text).into_owned();
                    upload.fields.insert(field, text);
                }
            }
        }
        upload.repeat = repeat.of(&whole);
        left_unread(upload.fields.keys());
        Ok(upload)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
fn broken(error: MultipartError) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large();
    }
    Problem::malformed("The multipart body is malformed or was cut off.")
}

impl Upload {
    /// The text fields, as a body of JSON has them; an empty one is as good as none.
    ///
    /// # Errors
    /// 400 naming what does not fit.
    pub fn typed<T: DeserializeOwned>(&self) -> Answer<T> {
        let given = self.fields.iter().filter(|(_, text)| !text.is_empty());
        typed_part(&Value::Object(given.map(|(name, text)| (name.clone(), Value::String(text.clone()))).collect()))
    }

    /// The file that was sent as `field`.
    ///
    /// # Errors
    /// 400 naming `field` when there is none, or an empty one.
    pub fn file(&self, field: &str) -> Answer<&UploadedFile> {
        match self.file.as_ref().filter(|file| file.field == field) {
            Some(file) if file.bytes.is_empty() => Err(Problem::about(field, "The file is empty.")),
            Some(file) => Ok(file),
            None => Err(Problem::about(field, "A file is required.")),
        }
    }
}

impl Describe for Upload {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        notes.body(
            "multipart/form-data",
            true,
            json!({ "type": "object", "properties": { "file": { "type": "string", "contentMediaType": "application/octet-stream" } } }),
        );
        notes.refuses(400, "Malformed or invalid; `errors` names every field.");
        notes.refuses(413, "The file is too large.");
        notes.refuses(415, "The body is not multipart/form-data.");
        notes.refuses(503, "Too many files are being worked on; see Retry-After.");
        notes.refuses(507, "There is no room left for files.");
        Repeat::describe(notes, schemas);
    }
}
