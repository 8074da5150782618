//! The body that a new resource comes in.

use axum::extract::{FromRequest, Request};
use axum::http::header;
use serde_json::json;

use super::handlers::UnitResourceFields;
use crate::app::AppState;
use crate::files::{Upload, UploadedFile};
use crate::http::{Answer, Describe, Notes, Posted, Problem, Repeat, Schemas};

/// A new resource: JSON, or multipart with the same fields as text and the file as `file`.
pub(super) struct NewResource {
    pub(super) fields: UnitResourceFields,
    pub(super) file: Option<UploadedFile>,
    pub(super) repeat: Repeat,
}

impl FromRequest<AppState> for NewResource {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Answer<Self> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data")) {
            let Posted { body: fields, repeat } = Posted::from_request(request, app).await?;
            return Ok(Self { fields, file: None, repeat });
        }
        let upload = Upload::from_request(request, app).await?;
        let file = match &upload.file {
            Some(sent) if sent.field != "file" => {
                return Err(Problem::invalid(sent.field.clone(), "Send the file as `file`."));
            }
            Some(_) => Some(upload.file("file")?.clone()),
            None => None,
        };
        let fields = upload.typed()?;
        Ok(Self { fields, file, repeat: upload.repeat })
    }
}

impl Describe for NewResource {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        Posted::<UnitResourceFields>::describe(notes, schemas);
        let text = json!({ "type": "string" });
        let file = json!({ "type": "string", "contentMediaType": "application/octet-stream" });
        notes.body(
            "multipart/form-data",
            true,
            json!({
                "type": "object",
                "required": ["unit", "title"],
                "properties": {
                    "unit": text, "title": text, "resource_type": text, "description": text, "url": text,
                    "is_required": text, "file": file,
                },
            }),
        );
    }
}
