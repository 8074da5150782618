//! The OpenAPI document and its interactive page, which is in the binary and works offline; and the way there from `/`.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::json;
use tokio::sync::OnceCell;
use utoipa::ToSchema;

use crate::access::{Public, Visitor};
use crate::app::AppState;
use crate::http::{
    self, Answer, Answers, Describe, NoContent, Notes, Page, Problem, Routes, Schemas, Shown, etag, path_text,
    query_pairs,
};

/// The endpoints of this module.
pub fn routes() -> Routes {
    Routes::under("/api")
        .get("/schema/", schema, "The OpenAPI document: JSON, or YAML by `?format=yaml`.")
        .get("/docs/", page, "The interactive page.")
        .get("/docs/{asset}", asset, "A part of the interactive page.")
        .get("/redoc/", elsewhere, "Leads to the interactive page.")
        .and(Routes::under("").get("/", start, "Where things are; a browser is sent to the interactive page.").get(
            "/favicon.ico",
            favicon,
            "No icon: browsers ask for one by themselves.",
        ))
}

/// Where things are.
#[derive(Serialize, ToSchema)]
struct Places {
    /// `SwinCMS`.
    name: &'static str,
    /// The interactive page.
    docs: &'static str,
    /// The OpenAPI document.
    schema: &'static str,
    /// Where one logs in.
    token: &'static str,
    /// Whether the server can serve.
    health: &'static str,
}

const PLACES: Places = Places {
    name: "SwinCMS",
    docs: "/api/docs/",
    schema: "/api/schema/",
    token: "/api/token/",
    health: "/health/ready",
};

/// What stands at `/`.
enum Start {
    Page,
    Places(Shown<Places>),
}

impl IntoResponse for Start {
    fn into_response(self) -> Response {
        let mut response = match self {
            Self::Page => (StatusCode::SEE_OTHER, [(header::LOCATION, PLACES.docs)]).into_response(),
            Self::Places(places) => places.into_response(),
        };
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
        response
    }
}

impl Answers for Start {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        Shown::<Places>::describe(notes, schemas);
        notes.answers(303, "The interactive page, for who asks for `text/html`.", "", None);
    }
}

/// Whether a page is wanted, rather than something for programs.
struct WantsPage(bool);

/// How much this media type is wanted by name, from 0 to 1; none when it is not named.
fn wanted(accept: &str, media_type: &str) -> Option<f32> {
    let named = accept.split(',').map(|range| range.split(';').map(str::trim));
    let mut of_type = named.filter_map(|mut parts| {
        parts.next().filter(|name| name.eq_ignore_ascii_case(media_type))?;
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        Some(quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
    });
    of_type.next()
}

impl FromRequestParts<AppState> for WantsPage {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let accepts = head.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let accepts = accepts.collect::<Vec<_>>().join(",");
        let page = wanted(&accepts, "text/html").unwrap_or(0.0);
        Ok(Self(page > 0.0 && page >= wanted(&accepts, "application/json").unwrap_or(0.0)))
    }
}

impl Describe for WantsPage {
    fn describe(_: &mut Notes, _: &mut Schemas) {}
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

/// The OpenAPI document, made when it is first asked for. It is large: only its tenth, compressed, is kept.
#[derive(Default)]
pub struct Documents {
    json: OnceCell<Published>,
    yaml: OnceCell<Published>,
}

/// A text as it is sent to nearly everybody.
struct Published {
    compressed: Bytes,
    tag: String,
}

impl Published {
    fn of(text: &str) -> std::io::Result<Self> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text.as_bytes())?;
        let tag = etag(text.as_bytes());
        Ok(Self { compressed: encoder.finish()?.into(), tag: tag.trim_matches('"').to_owned() })
    }

    /// For whoever takes no compressed answer.
    fn plain(&self) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        GzDecoder::new(&*self.compressed).read_to_end(&mut text)?;
        Ok(text)
    }
}

impl Documents {
    async fn of(&self, format: &Format) -> Answer<&Published> {
        let (cell, is_json) = match format {
            Format::Json => (&self.json, true),
            Format::Yaml => (&self.yaml, false),
        };
        // Here and not on a thread of its own, whose memory would be another heap's.
        cell.get_or_try_init(|| async move {
            let document = http::openapi::document(&crate::app::routes());
            let text = if is_json {
                serde_json::to_string(&document).map_err(Problem::internal)?
            } else {
                yaml_serde::to_string(&document).map_err(Problem::internal)?
            };
            Published::of(&text).map_err(Problem::internal)
        })
        .await
    }
}

/// Whether the answer may be compressed.
struct TakesGzip(bool);

impl FromRequestParts<AppState> for TakesGzip {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let accepts = head.headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        Ok(Self(wanted(&accepts.collect::<Vec<_>>().join(","), "gzip").is_some_and(|wanted| wanted > 0.0)))
    }
}

impl Describe for TakesGzip {
    fn describe(_: &mut Notes, _: &mut Schemas) {}
}

async fn schema(
    _: Visitor,
    State(app): State<AppState>,
    TakesGzip(compressed): TakesGzip,
    format: Format,
) -> Answer<Document> {
    let published = app.documents.of(&format).await?;
    let media_type = match format {
        Format::Json => "application/json",
        Format::Yaml => "application/yaml",
    };
    // It is the same until another release is started; a look whether it is costs nothing.
    let tag = format!("\"{}{}\"", published.tag, if compressed { "-gzip" } else { "" });
    let always = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CACHE_CONTROL, "public, max-age=300, must-revalidate".to_owned()),
        (header::VARY, "accept-encoding".to_owned()),
        (header::ETAG, tag),
    ];
    Ok(Document(if compressed {
        (always, [(header::CONTENT_ENCODING, "gzip")], published.compressed.clone()).into_response()
    } else {
        (always, published.plain().map_err(Problem::internal)?).into_response()
    }))
}

async fn page(_: Visitor) -> Answer<Page> {
    serve("index.html")
}

async fn asset(_: Visitor, Asset(name): Asset) -> Answer<Page> {
    serve(&name)
}

async fn start(_: Public, WantsPage(page): WantsPage) -> Answer<Start> {
    if page { Ok(Start::Page) } else { Shown::with(&PLACES).map(Start::Places) }
}

async fn favicon(_: Public) -> Answer<NoContent> {
    Ok(NoContent)
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
