//! The OpenAPI document and its interactive page, which is in the binary and works offline.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::access::Visitor;
use crate::app::AppState;
use crate::http::{Answer, Answers, Describe, Notes, Page, Problem, Routes, Schemas, path_text, query_pairs};

/// The endpoints of this module.
pub fn routes() -> Routes {
    Routes::under("/api")
        .get("/schema/", schema, "The OpenAPI document: JSON, or YAML by `?format=yaml`.")
        .get("/docs/", page, "The interactive page.")
        .get("/docs/{asset}", asset, "A part of the interactive page.")
        .get("/redoc/", elsewhere, "Leads to the interactive page.")
}

struct Document(Response);

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Answers for Document {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.answers(200, "The document.", "application/json", Some(json!({})));
        notes.also(200, "application/yaml", json!({}));
    }
}

struct Elsewhere;

impl IntoResponse for Elsewhere {
    fn into_response(self) -> Response {
        (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "/api/docs/")]).into_response()
    }
}

impl Answers for Elsewhere {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.answers(308, "It is elsewhere.", "", None);
    }
}

/// `?format=`
enum Format {
    Json,
    Yaml,
}

impl FromRequestParts<AppState> for Format {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        match query_pairs(head)?.iter().find(|(name, _)| name == "format").map(|(_, value)| value.as_str()) {
            None | Some("json") => Ok(Self::Json),
            Some("yaml") => Ok(Self::Yaml),
            Some(_) => Err(Problem::invalid("format", "`json` or `yaml` is expected.")),
        }
    }
}

impl Describe for Format {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter("query", "format", json!({ "type": "string", "enum": ["json", "yaml"] }), "");
        notes.refuses(400, "Another format was asked for.");
    }
}

struct Asset(String);

impl FromRequestParts<AppState> for Asset {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        path_text(head, app, "asset").await.map(Self)
    }
}

impl Describe for Asset {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter("path", "asset", json!({ "type": "string" }), "");
        notes.refuses(404, "There is no such part.");
    }
}

async fn schema(_: Visitor, State(app): State<AppState>, format: Format) -> Answer<Document> {
    let (media_type, text) = match format {
        Format::Json => ("application/json", serde_json::to_string(&*app.openapi).map_err(Problem::internal)?),
        Format::Yaml => ("application/yaml", yaml_serde::to_string(&*app.openapi).map_err(Problem::internal)?),
    };
    Ok(Document(([(header::CONTENT_TYPE, media_type)], text).into_response()))
}

async fn page(_: Visitor) -> Answer<Page> {
    serve("index.html")
}

async fn asset(_: Visitor, Asset(name): Asset) -> Answer<Page> {
    serve(&name)
}

async fn elsewhere(_: Visitor) -> Answer<Elsewhere> {
    Ok(Elsewhere)
}

fn serve(name: &str) -> Answer<Page> {
    let config = Arc::new(utoipa_swagger_ui::Config::from("/api/schema/").validator_url("none"));
    let file = utoipa_swagger_ui::serve(name, config).map_err(|error| Problem::internal(anyhow::anyhow!("{error}")))?;
    let file = file.ok_or_else(Problem::absent)?;
    let mut bytes = file.bytes.into_owned();
    if name == "index.html" {
        // Its parts are named relative to the page, whose address may come without the final slash.
        let html = String::from_utf8_lossy(&bytes).replacen("<head>", "<head><base href=\"/api/docs/\">", 1);
        bytes = html.into_bytes();
    }
    let mut response = ([(header::CONTENT_TYPE, file.content_type)], bytes).into_response();
    // Nothing but our own origin: the page works, and can only work, offline.
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
             connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'",
        ),
    );
    Ok(Page::of(response))
}
