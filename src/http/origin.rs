//! Where a request comes from: its id, the client's address and program, and the address the client knows us by.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::describe::{Describe, Notes, Schemas};
use super::problem::{Answer, Problem};
use crate::app::AppState;
use crate::config::Config;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Facts about the request that every layer and handler may need.
#[derive(Debug, Clone)]
pub struct Origin {
    /// An id of ours: no two requests have the same, whatever clients send. It stands in the log and in the audit log.
    pub request_id: String,
    /// `X-Request-Id` as the client sent it, if it is short and plain; in the log it stands beside ours.
    pub client_id: Option<String>,
    /// The client's address; behind a trusted proxy the one that the proxy names.
    pub ip: IpAddr,
    /// `User-Agent`, cut to 255 characters.
    pub agent: String,
    /// Whether the client's side is https, by the word of a trusted proxy.
    pub is_https: bool,
    /// Whether `Host` names a host of ours (`ALLOWED_HOSTS`).
    pub host_is_ours: bool,
    /// Start of absolute URLs in answers, without a final slash: `PUBLIC_URL`, in dev the Host if it is allowed.
    pub base_url: Arc<str>,
}

impl Origin {
    /// The id that answers have: what the client calls the request, or else what we do.
    #[must_use]
    pub fn told_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or(&self.request_id)
    }
}

impl FromRequestParts<AppState> for Origin {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let found = head.extensions.get::<Self>().cloned();
        found.ok_or_else(|| Problem::internal(anyhow::anyhow!("the layer that finds the origin is missing")))
    }
}

impl Describe for Origin {
    fn describe(_: &mut Notes, _: &mut Schemas) {}
}

/// The layer that finds the [`Origin`], refuses a foreign `Host`, and puts the request id into every log line and answer.
pub async fn identify(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::from([127, 0, 0, 1]), |ConnectInfo(address)| address.ip());
    let headers = request.headers();
    let request_id = uuid::Uuid::now_v7().simple().to_string();
    let client_id = headers
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        })
        .map(str::to_owned);
    let host = request
        .uri()
        .authority()
        .map(|a| a.as_str().to_owned())
        .or_else(|| headers.get(header::HOST).and_then(|value| value.to_str().ok()).map(str::to_owned));
    let host = host.unwrap_or_default();
    let known_host = app.config.allows_host(&host);
    let is_https = app.config.trusted_proxies.iter().any(|net| net.contains(peer))
        && headers.get(&FORWARDED_PROTO).is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
    let origin = Origin {
        ip: client_address(&app.config, headers, peer),
        agent: headers
            .get(header::USER_AGENT)
            .map(|value| {
                String::from_utf8_lossy(value.as_bytes()).chars().filter(|c| !c.is_control()).take(255).collect()
            })
            .unwrap_or_default(),
        base_url: match &app.config.public_url {
            Some(url) => Arc::from(url.trim_end_matches('/')),
            None if known_host && !host.is_empty() => {
                Arc::from(format!("{}://{host}", if is_https { "https" } else { "http" }))
            }
            None => Arc::from(format!("http://localhost:{}", app.config.bind.port())),
        },
        is_https,
        host_is_ours: known_host,
        request_id,
        client_id,
    };
    let id = HeaderValue::from_str(origin.told_id()).ok();
    let traced = app.traces.as_ref().and_then(|traces| {
        let route = request.extensions().get::<MatchedPath>();
        let route = route.and_then(|route| app.metrics.requests.template(route.as_str()));
        traces.begin(&request, route, origin.is_https)
    });
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        id = %origin.request_id,
        client_id = origin.client_id,
        method = %request.method(),
        path = logged_path(route, request.uri().path()),
        route,
        trace_id = traced.as_ref().map(|traced| tracing::field::display(traced.trace_id())),
    );
    if let Some(traced) = &traced {
        traced.belongs_to(&span);
    }
    request.extensions_mut().insert(origin);
    let mut response = next.run(request).instrument(span).await;
    if let Some(traced) = traced {
        traced.end(response.status());
    }
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID.clone(), id);
    }
    response
}

/// The path as the log may have it: the link of a mail for a new password ends with a token.
fn logged_path<'a>(route: Option<&'a str>, path: &'a str) -> &'a str {
    route.filter(|route| route.contains("{token}")).unwrap_or(path)
}

/// The layer that refuses requests for a host that is not ours; probes of the container come with any Host.
pub async fn refuse_foreign_hosts(request: Request, next: Next) -> Response {
    let ours = request.extensions().get::<Origin>().is_some_and(|origin| origin.host_is_ours);
    if ours || request.uri().path().starts_with("/health/") {
        return next.run(request).await;
    }
    Problem::malformed("The Host header names a host that this server does not serve; see ALLOWED_HOSTS.")
        .into_response()
}

/// Walks `X-Forwarded-For` from our side and stops at the first address that is not a proxy of ours: what stands
/// further left was written by the client.
fn client_address(config: &Config, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let trusted = |ip: &IpAddr| config.trusted_proxies.iter().any(|net| net.contains(*ip));
    let mut client = peer;
    let hops =
        headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",");
    for hop in hops.rsplit(',').map(str::trim) {
        if !trusted(&client) {
            break;
        }
        match hop.parse::<IpAddr>() {
            Ok(ip) => client = ip.to_canonical(),
            Err(_) => break,
        }
    }
    client.to_canonical()
}
