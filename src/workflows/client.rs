//! One signed call of a workflow, and what became of it.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::guard::{Guard, bare};
use super::sign;
use crate::config::Config;
use crate::ids::Moment;
use crate::traces;

/// The longest it may take to connect.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// The most of an answer that is read.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// A client that is made when it is first needed.
type Lazy = LazyLock<Result<Client, String>, Box<dyn FnOnce() -> Result<Client, String> + Send>>;

/// Calls to the outside.
pub struct Outbound {
    guard: Guard,
    // Reads the system's certificates, which most processes at their start can do without.
    client: Lazy,
    api_key: Option<SecretString>,
    api_key_hosts: Vec<String>,
}

/// What is sent to a workflow.
pub(super) struct Message<'a> {
    /// Where to.
    pub(super) url: &'a str,
    /// The same each time the message is sent.
    pub(super) id: &'a str,
    /// The object's id.
    pub(super) event_id: &'a str,
    /// When it came about.
    pub(super) timestamp: Moment,
    /// What there is to say.
    pub(super) payload: &'a Value,
    /// The secrets that are valid now.
    pub(super) secrets: &'a [Vec<u8>],
}

/// Why a call failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// For people.
    pub(super) says: String,
    /// Whether it was a matter of time.
    pub(super) is_time_out: bool,
    /// What was answered, if anything.
    pub(super) answered: Option<Value>,
}

impl Failure {
    fn new(says: impl Into<String>) -> Self {
        Self { says: says.into(), is_time_out: false, answered: None }
    }

    fn of(error: reqwest::Error) -> Self {
        let is_time_out = error.is_timeout();
        // The address is the operator's to know, and may hold a token.
        let error = anyhow::Error::new(error.without_url());
        Self {
            says: if is_time_out { "No answer in time.".into() } else { format!("{error:#}") },
            is_time_out,
            answered: None,
        }
    }
}

impl Outbound {
    pub(crate) fn new(config: &Config) -> Self {
        let guard = Guard::new(&config.webhook_allowed_hosts);
        let resolver = guard.clone();
        Self {
            guard,
            client: LazyLock::new(Box::new(move || {
                Client::builder()
                    .user_agent(concat!("swincms/", env!("CARGO_PKG_VERSION")))
                    .redirect(reqwest::redirect::Policy::none())
                    .no_proxy()
                    .dns_resolver(std::sync::Arc::new(resolver))
                    .connect_timeout(CONNECT_PATIENCE)
                    .build()
                    .map_err(|error| error.to_string())
            })),
            api_key: config.n8n_api_key.clone(),
            api_key_hosts: config.n8n_api_key_hosts.iter().map(|host| bare(host)).collect(),
        }
    }

    /// Which targets are taken.
    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Sends a message once.
    pub(super) async fn send(
        &self,
        message: &Message<'_>,
        now: DateTime<Utc>,
        patience: Duration,
    ) -> Result<Value, Failure> {
        let url = self.guard.target(message.url).map_err(Failure::new)?;
        let client = self.client.as_ref().map_err(Failure::new)?;
        let body = json!({ "event_id": message.event_id, "timestamp": message.timestamp, "payload": message.payload });
        let body = body.to_string().into_bytes();
        let timestamp = now.timestamp();
        let mut request = client
            .post(url.clone())
            .timeout(patience)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", timestamp);
        if !message.secrets.is_empty() {
            let signatures = sign::signatures(message.secrets, message.id, timestamp, &body);
            request = request.header("webhook-signature", signatures);
        }
        if let Some(key) = self.api_key_for(&url) {
            request = request.header(AUTHORIZATION, format!("Bearer {key}")).header("X-N8N-API-KEY", key);
        }
        let mut response = traces::send(request.body(body)).await.map_err(Failure::of)?;
        let status = response.status();
        let answered = read(&mut response).await?;
        if status.is_success() {
            return Ok(answered);
        }
        let redirected = if status.is_redirection() { " Redirects are not followed." } else { "" };
        Err(Failure {
            says: format!("The workflow answered {}.{redirected}", status.as_u16()),
            is_time_out: false,
            answered: Some(answered),
        })
    }

    fn api_key_for(&self, url: &Url) -> Option<&str> {
        let host = bare(url.host_str().unwrap_or_default());
        let key = self.api_key.as_ref().filter(|_| self.api_key_hosts.contains(&host))?;
        Some(key.expose_secret())
    }
}

/// The body as JSON; text that is none as a string, nothing as null.
async fn read(response: &mut Response) -> Result<Value, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::of)? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            return Err(Failure::new("The workflow's answer is longer than 1 MiB."));
        }
    }
    if body.is_empty() {
        return Ok(Value::Null);
    }
    // PostgreSQL stores no NUL.
    Ok(serde_json::from_slice(&body)
        .ok()
        .filter(|_| !body.windows(6).any(|six| six == b"\\u0000"))
        .unwrap_or_else(|| Value::String(String::from_utf8_lossy(&body).replace(['\0'], "\u{fffd}"))))
}
