//! The body that a new application comes in.

use axum::extract::{FromRequest, Request};
use axum::http::header;
use serde_json::json;

use super::handlers::ApplicationFields;
use crate::app::AppState;
use crate::files::{Upload, UploadedFile};
use crate::http::{Answer, Describe, Notes, Posted, Problem, Repeat, Schemas};

/// A new application: JSON, or multipart with the same fields as text and a document as `file`.
pub(super) struct NewApplication {
    pub(super) fields: ApplicationFields,
    pub(super) file: Option<UploadedFile>,
    pub(super) repeat: Repeat,
}

impl FromRequest<AppState> for NewApplication {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Answer<Self> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data")) {
            let Posted { body: fields, repeat } = Posted::from_request(request, app).await?;
            return Ok(Self { fields, file: None, repeat });
        }
        let upload = Upload::from_request(request, app).await?;
        let file = if upload.file.is_some() { Some(upload.file("file")?.clone()) } else { None };
        let fields = upload.typed()?;
        Ok(Self { fields, file, repeat: upload.repeat })
    }
}

impl Describe for NewApplication {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        Posted::<ApplicationFields>::describe(notes, schemas);
        let file = json!({ "type": "string", "contentMediaType": "application/octet-stream" });
        notes.body(
            "multipart/form-data",
            true,
            json!({
                "type": "object",
                "required": ["scholarship"],
                "properties": { "scholarship": { "type": "string" }, "file": file },
            }),
        );
    }
}
