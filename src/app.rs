//! The server's parts put together: state, routes, and the layers in their order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::timeout::TimeoutLayer;

use crate::access::guesses::Guesses;
use crate::access::passwords::Hasher;
use crate::access::tokens::Tokens;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Pool;
use crate::files::{FileStore, Links};
use crate::health::Database;
use crate::http::{self, Problem, Routes};
use crate::metrics::Metrics;
use crate::traces::Traces;
use crate::{
    academic, access, advisor, audit, core, docs, enrollment, files, health, privacy, social, users, workflows,
};

/// What every handler shares; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts behind [`AppState`].
pub struct Parts {
    /// The settings.
    pub config: Config,
    /// The shared pool.
    pub db: Pool,
    /// The time of tokens and links.
    pub clock: Clock,
    /// Signs and reads tokens.
    pub tokens: Tokens,
    /// Hashes passwords.
    pub hasher: Hasher,
    /// Counts guesses at passwords while the database cannot be written.
    pub guesses: Guesses,
    /// The file store.
    pub files: FileStore,
    /// Signs links to private files.
    pub links: Arc<Links>,
    /// Seals what is kept of the bodies of repeatable requests.
    pub bodies: aws_lc_rs::hmac::Key,
    /// Signs the cursors of lists.
    pub cursors: Arc<http::Cursors>,
    /// Whether the database answers.
    pub database: Database,
    /// What is counted for Prometheus.
    pub metrics: Metrics,
    /// Records traces, if somebody collects them.
    pub traces: Option<Traces>,
    /// Who listens for notifications.
    pub streams: core::notifications::Streams,
    /// The language model that the advisor asks, if there is one.
    pub advisor: Option<advisor::Endpoint>,
    /// Calls workflows.
    pub outbound: workflows::Outbound,
    /// The OpenAPI document.
    pub documents: docs::Documents,
}

impl std::ops::Deref for AppState {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl AppState {
    /// The parts, from the settings and a pool.
    ///
    /// # Errors
    /// When the file store cannot be prepared, passwords cannot be hashed, or traces cannot be sent.
    pub fn new(config: Config, db: Pool, clock: Clock) -> anyhow::Result<Self> {
        let files = FileStore::new(&config.media_root);
        files.prepare().with_context(|| {
            let root = config.media_root.display();
            format!("MEDIA_ROOT: {root} cannot be made; name a folder that the server may write")
        })?;
        Ok(Self(Arc::new(Parts {
            tokens: Tokens::new(&config.secret_key, config.access_token_lifetime),
            hasher: Hasher::new()?,
            guesses: Guesses::default(),
            files,
            links: Arc::new(Links::new(&config.secret_key)),
            cursors: Arc::new(http::Cursors::new(&config.secret_key)),
            bodies: access::keys::derived(&config.secret_key, "bodies of repeatable requests"),
            database: Database::default(),
            metrics: Metrics::new(&routes()),
            traces: Traces::of(&config)?,
            streams: core::notifications::Streams::default(),
            advisor: advisor::Endpoint::of(&config),
            outbound: workflows::Outbound::new(&config),
            documents: docs::Documents::default(),
            config,
            db,
            clock,
        })))
    }
}

/// Every endpoint.
#[must_use]
pub fn routes() -> Routes {
    health::routes()
        .and(users::routes())
        .and(audit::routes())
        .and(privacy::routes())
        .and(academic::routes())
        .and(enrollment::routes())
        .and(core::routes())
        .and(workflows::routes())
        .and(advisor::routes())
        .and(social::routes())
        .and(files::routes())
        .and(docs::routes())
}

/// The routes within their layers. A request meets the layers from the last line up to the first.
pub fn router(app: &AppState) -> Router {
    routes()
        .into_router()
        .fallback(http::nothing_here)
        .method_not_allowed_fallback(http::wrong_method)
        // Nothing below can be cancelled by a disconnect or a time-out.
        .layer(from_fn_with_state(app.clone(), http::own_task))
        // After the handler has made the body, before anything else looks at it.
        .layer(from_fn(http::not_modified))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, app.config.request_timeout))
        // A database that is known to be away is not waited for.
        .layer(from_fn_with_state(app.clone(), health::refuse_while_away))
        .layer(CatchPanicLayer::custom(|panic: Box<dyn std::any::Any + Send>| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Problem::internal(anyhow::anyhow!("a handler panicked: {}", text.unwrap_or_default())).into_response()
        }))
        .layer(from_fn_with_state(app.clone(), redirect_to_https))
        .layer(from_fn(http::refuse_foreign_hosts))
        .layer(from_fn(refuse_null_in_address))
        // All refusals from here inwards get their bodies.
        .layer(from_fn(http::render))
        .layer(from_fn_with_state(app.clone(), security_headers))
        .layer(cors(app))
        .layer(from_fn_with_state(app.clone(), log))
        // Everything else needs the request id and the client's address.
        .layer(from_fn_with_state(app.clone(), http::identify))
        .with_state(app.clone())
}

fn cors(app: &AppState) -> CorsLayer {
    let origins = &app.config.cors_allowed_origins;
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("prefer"),
        ])
        .expose_headers([
            header::ETAG,
            header::LINK,
            header::RETRY_AFTER,
            HeaderName::from_static("x-ignored-fields"),
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("x-total-count"),
        ])
        // Two hours: the most that browsers keep.
        .max_age(Duration::from_hours(2))
}

/// With `SECURE_SSL_REDIRECT`, what came in plain http is sent to the same address in https; probes are answered.
async fn redirect_to_https(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let origin = request.extensions().get::<http::Origin>();
    let secure = origin.is_some_and(|origin| origin.is_https) || request.uri().path().starts_with("/health/");
    if secure || !app.config.secure_ssl_redirect {
        return next.run(request).await;
    }
    let base = origin.map(|origin| origin.base_url.replacen("http://", "https://", 1)).unwrap_or_default();
    let address = request.uri().path_and_query().map(axum::http::uri::PathAndQuery::as_str).unwrap_or_default();
    match HeaderValue::from_str(&format!("{base}{address}")) {
        Ok(target) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, target)]).into_response(),
        Err(_) => Problem::malformed("This address cannot be redirected to.").into_response(),
    }
}

/// `%00` can stand in no address of ours: 400, before it is taken for an id that does not exist.
async fn refuse_null_in_address(request: Request, next: Next) -> Response {
    if request.uri().path_and_query().is_some_and(|address| address.as_str().contains("%00")) {
        return Problem::malformed("Null characters are not allowed in an address.").into_response();
    }
    next.run(request).await
}

async fn security_headers(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::X_FRAME_OPTIONS).or_insert(HeaderValue::from_static("DENY"));
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("same-origin"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    if app.config.is_prod() {
        let policy =
            if app.config.hsts_preload { "max-age=31536000; includeSubDomains; preload" } else { "max-age=31536000" };
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(policy));
    }
    response
}

/// Each request's line in the log, and its place in the metrics; the request's span names its route.
async fn log(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let started = std::time::Instant::now();
    let in_flight = app.metrics.requests.begin();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    drop(in_flight);
    let (status, took) = (response.status(), started.elapsed());
    app.metrics.requests.count(&method, route.as_ref().map(MatchedPath::as_str), status, took);
    let (status, ms) = (status.as_u16(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    let is_probe = route.is_some_and(|route| route.as_str().starts_with("/health/"));
    if took >= app.config.slow_request {
        tracing::warn!(status, ms, "answered slowly");
    } else if is_probe {
        // Every few seconds, from each that looks after the process.
        tracing::debug!(status, ms, "answered");
    } else {
        tracing::info!(status, ms, "answered");
    }
    response
}
