//! The body that a new resource comes in.

use axum::extract::{FromRequest, Request, State};
use serde_json::json;

use super::handlers::{LibraryResource, LibraryResourceFields};
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::core::uploads;
use crate::files::Upload;
use crate::http::{Answer, Created, Describe, Notes, Problem, Schemas};

/// A new resource: multipart with its fields as text and the file as `file`.
pub(super) struct NewLibraryResource {
    fields: LibraryResourceFields,
    upload: Upload,
}

impl FromRequest<AppState> for NewLibraryResource {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Answer<Self> {
        let upload = Upload::from_request(request, app).await?;
        Ok(Self { fields: upload.typed()?, upload })
    }
}

impl Describe for NewLibraryResource {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        Upload::describe(notes, schemas);
        let text = json!({ "type": "string" });
        let file = json!({ "type": "string", "contentMediaType": "application/octet-stream" });
        notes.body(
            "multipart/form-data",
            true,
            json!({
                "type": "object",
                "required": ["title", "file"],
                "properties": { "title": text, "unit": text, "file": file },
            }),
        );
    }
}

/// `POST /`
pub(super) async fn create(
    actor: Actor<may::WriteResources>,
    State(app): State<AppState>,
    NewLibraryResource { fields, upload }: NewLibraryResource,
) -> Answer<Created<LibraryResource>> {
    let with = |file| LibraryResourceFields { file, ..fields.clone() };
    uploads::create::<LibraryResource>(&app, &actor, &upload, with).await
}
