//! People who send requests, and what they get back.

use std::ops::Deref;
use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode};
use chrono::TimeDelta;
use serde::Serialize;
use serde_json::{Value, json};
use swincms::access::tokens::{self, Kind};
use swincms::ids::Id;

use super::app::{TestApp, TestServer};
use super::documented::undocumented;
use super::probes::{self, PROBE};

/// Everybody's password.
pub(crate) const PASSWORD: &str = "violet-Kettle-58";

/// Its hash by argon2id with the server's own parameters; making one takes as long as a whole test.
const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$B7XpReQdXcRZaEPH0KbMPQ$hNHlGrOCSqBoAye5P8v/5KtikRR1f3SG9+5OoR0W1r0";

/// Somebody with an account.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: Id,
    pub(crate) email: String,
    pub(crate) username: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) user_type: String,
    /// The log-in session behind the tokens.
    pub(crate) session: Id,
    /// The access token.
    pub(crate) access: String,
    /// The refresh token.
    pub(crate) refresh: String,
    sender: Sender,
}

/// Sends requests to one server, with the same headers each time.
#[derive(Clone)]
pub(crate) struct Sender {
    client: reqwest::Client,
    base: String,
    headers: Vec<(String, Vec<u8>)>,
}

/// What came back.
///
/// What holds for all replies has been checked: a failure is a whole problem that leaks nothing of the server's
/// inside, a success has no member `error`, and the request has an id.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body; null when it is not JSON.
    pub(crate) body: Value,
    /// The body as it came.
    pub(crate) bytes: Vec<u8>,
}

/// A `multipart/form-data` body.
pub(crate) struct Upload(reqwest::multipart::Form);

impl Upload {
    /// A file.
    pub(crate) fn of(field: &str, file_name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let part = reqwest::multipart::Part::bytes(bytes.into()).file_name(file_name.to_owned());
        Self(reqwest::multipart::Form::new().part(field.to_owned(), part))
    }

    /// One more field with text.
    #[expect(clippy::needless_pass_by_value, reason = "ids and texts are written in place")]
    pub(crate) fn and(self, field: &str, text: impl ToString) -> Self {
        Self(self.0.text(field.to_owned(), text.to_string()))
    }
}

impl Person {
    /// Inserts the user and logs in, without the server.
    pub(super) async fn create(app: &TestApp, user_type: &str, number: u32) -> Self {
        let username = format!("{user_type}{number}");
        let email = format!("{username}@example.edu");
        let (first_name, last_name) = (format!("First{number}"), format!("Last{number}"));
        let id = sqlx::query_scalar!(
            "insert into users (email, username, password_hash, first_name, last_name, user_type)
             values ($1, $2, $3, $4, $5, $6)
             returning id",
            email,
            username,
            PASSWORD_HASH,
            first_name,
            last_name,
            user_type
        );
        let id = Id(id.fetch_one(&app.db).await.unwrap());
        if user_type == "student" {
            let number = format!("S-{number:06}");
            let profile =
                sqlx::query!("insert into student_profiles (user_id, student_id) values ($1, $2)", id.0, number);
            profile.execute(&app.db).await.unwrap();
            let account = sqlx::query!("insert into gold_accounts (student_id) values ($1)", id.0);
            account.execute(&app.db).await.unwrap();
        }
        let person = Self {
            id,
            email,
            username,
            first_name,
            last_name,
            user_type: user_type.to_owned(),
            session: Id(0),
            access: String::new(),
            refresh: String::new(),
            sender: app.anonymous(),
        };
        person.new_session(app).await
    }

    /// The same person, logged in once more.
    pub(crate) async fn new_session(&self, app: &TestApp) -> Self {
        let now = app.clock.now();
        let session = sqlx::query_scalar!(
            "insert into sessions (user_id, refresh_hash, expires_at, ip_address)
             values ($1, sha256(''), $2, '127.0.0.1')
             returning id",
            self.id.0,
            now + TimeDelta::hours(tokens::REFRESH_HOURS)
        );
        let session = Id(session.fetch_one(&app.db).await.unwrap());
        let access = app.state.tokens.make(Kind::Access, self.id, session, now).unwrap();
        let refresh = app.state.tokens.make(Kind::Refresh, self.id, session, now).unwrap();
        let hash = tokens::hash(&refresh);
        let known = sqlx::query!("update sessions set refresh_hash = $2 where id = $1", session.0, hash);
        known.execute(&app.db).await.unwrap();
        let sender = Sender { headers: Vec::new(), ..self.sender.clone() };
        let sender = sender.with("Authorization", format!("Bearer {access}"));
        Self { session, access, refresh, sender, ..self.clone() }
    }

    /// Logs in by mail address and password, as people do.
    pub(crate) async fn log_in(&self) -> Reply {
        let nobody = Sender { headers: Vec::new(), ..self.sender.clone() };
        let reply = nobody.post("/api/token/", &json!({ "email": self.email, "password": PASSWORD })).await;
        assert_eq!(reply.status, StatusCode::OK, "{} cannot log in: {}", self.email, reply.body);
        reply
    }

    /// The same person at another server.
    pub(crate) fn at(&self, server: &TestServer) -> Self {
        Self { sender: self.sender.at(server), ..self.clone() }
    }
}

impl Deref for Person {
    type Target = Sender;
    fn deref(&self) -> &Sender {
        &self.sender
    }
}

tokio::task_local! {
    /// Within it each JSON object that is sent has a member more, which nothing reads. First it is sent strictly, which must be
    /// refused and change nothing; then as it is, and the answer must tell of it.
    pub(crate) static MISSPELT: bool;
}

/// The request with a misspelt member, to be refused and to be taken.
fn misspelt(request: &reqwest::Request) -> Option<(reqwest::Request, reqwest::Request)> {
    let mut body: Value = serde_json::from_slice(request.body()?.as_bytes()?).ok()?;
    body.as_object_mut()?.insert("misspelt".to_owned(), json!(1));
    let with = |name: &str, value: &'static str| {
        let mut other = request.try_clone().unwrap();
        *other.body_mut() = Some(serde_json::to_vec(&body).unwrap().into());
        other.headers_mut().remove("content-length");
        other
            .headers_mut()
            .insert(reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        other
    };
    Some((with("prefer", "handling=strict"), with("prefer", "handling=lenient")))
}

impl Sender {
    /// Sends to this address, without a token.
    pub(super) fn new(base: &str) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(30))
            .build()
            .unwrap();
        Self { client, base: base.to_owned(), headers: Vec::new() }
    }

    /// With one more header in each request.
    pub(crate) fn with(&self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let mut other = self.clone();
        other.headers.push((name.to_owned(), value.as_ref().to_vec()));
        other
    }

    /// The same at another server.
    pub(crate) fn at(&self, server: &TestServer) -> Self {
        Self { base: server.base.clone(), ..self.clone() }
    }

    /// `GET`
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.request(Method::GET, path, |request| request).await
    }

    /// `HEAD`
    pub(crate) async fn head(&self, path: &str) -> Reply {
        self.request(Method::HEAD, path, |request| request).await
    }

    /// `POST` with JSON.
    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Reply {
        self.request(Method::POST, path, |request| request.json(body)).await
    }

    /// `POST` without a body and its type.
    pub(crate) async fn post_bare(&self, path: &str) -> Reply {
        self.request(Method::POST, path, |request| request).await
    }

    /// `PUT` with JSON.
    pub(crate) async fn put(&self, path: &str, body: &impl Serialize) -> Reply {
        self.request(Method::PUT, path, |request| request.json(body)).await
    }

    /// `PATCH` with JSON.
    pub(crate) async fn patch(&self, path: &str, body: &impl Serialize) -> Reply {
        self.request(Method::PATCH, path, |request| request.json(body)).await
    }

    /// `DELETE`
    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.request(Method::DELETE, path, |request| request).await
    }

    /// `POST` with a form and its files.
    pub(crate) async fn upload(&self, path: &str, form: Upload) -> Reply {
        self.request(Method::POST, path, |request| request.multipart(form.0)).await
    }

    /// Any method without a body.
    pub(crate) async fn call(&self, method: Method, path: &str) -> Reply {
        self.request(method, path, |request| request).await
    }

    /// Any bytes as the body, of any type; no type when it is empty.
    pub(crate) async fn send(&self, method: Method, path: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        let typed = |request: reqwest::RequestBuilder| {
            if media_type.is_empty() { request } else { request.header("Content-Type", media_type) }
        };
        self.request(method, path, |request| typed(request).body(body.into())).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        fill: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Reply {
        // A `Link` is absolute.
        let address = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = fill(self.client.request(method.clone(), address));
        for (name, value) in &self.headers {
            request = request.header(name, value.as_slice());
        }
        let request = request.build().unwrap();
        if let Ok(probe) = PROBE.try_with(Arc::clone) {
            probes::probe(&probe, self, &request, path).await;
        }
        match MISSPELT.try_with(|on| on.then(|| misspelt(&request)).flatten()) {
            Ok(Some((strict, lax))) => {
                let strictly = self.answered(&method, path, strict).await;
                let reply = self.answered(&method, path, lax).await;
                if reply.status.is_success() {
                    let ignored = reply.header("X-Ignored-Fields").unwrap_or_default();
                    assert!(ignored.split(", ").any(|name| name == "misspelt"), "{method} {path}: {ignored}");
                    assert_eq!(strictly.refusal(), (400, "invalid"), "{method} {path}: {}", strictly.body);
                    assert_eq!(strictly.errors("misspelt").len(), 1, "{method} {path}: {}", strictly.body);
                }
                reply
            }
            Ok(None) | Err(_) => self.answered(&method, path, request).await,
        }
    }

    pub(super) async fn answered(&self, method: &Method, path: &str, request: reqwest::Request) -> Reply {
        let response = self.client.execute(request).await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}")).to_vec();
        let is_json = headers.get("content-type").is_some_and(|of| of.to_str().unwrap().contains("json"));
        let is_json = is_json && !headers.contains_key("content-encoding");
        let body = if is_json && !bytes.is_empty() { serde_json::from_slice(&bytes).unwrap() } else { Value::Null };
        let reply = Reply { status, headers, body, bytes };
        reply.check(method, path);
        reply
    }
}

impl Reply {
    /// The body, when the status is this one.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> &Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        &self.body
    }

    /// The status as a number and the problem's code.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// What the problem says of a field; empty when nothing.
    pub(crate) fn errors(&self, field: &str) -> Vec<&str> {
        let says = self.body["errors"][field].as_array();
        says.map(|says| says.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    /// The address of the next page.
    pub(crate) fn next_page(&self) -> Option<String> {
        let link = self.header("link")?;
        let (address, rest) = link.strip_prefix('<').and_then(|link| link.split_once('>')).expect("a Link header");
        assert_eq!(rest, r#"; rel="next""#);
        Some(address.to_owned())
    }

    /// The ids of a list.
    pub(crate) fn ids(&self) -> Vec<Id> {
        self.expect(200).as_array().expect("a list").iter().map(|row| Id(row["id"].as_i64().unwrap())).collect()
    }

    fn check(&self, method: &Method, path: &str) {
        let json = Some(&self.body).filter(|body| !body.is_null());
        if let Some(fault) = undocumented(method, path, self.status, json) {
            panic!("{fault}: {}", String::from_utf8_lossy(&self.bytes));
        }
        let says = || format!("{method} {path} → {} {}", self.status, String::from_utf8_lossy(&self.bytes));
        let id = self.header("x-request-id").unwrap_or_default();
        assert!(!id.is_empty(), "no request id: {}", says());
        if self.status.is_success() {
            assert!(self.body.get("error").is_none(), "a success with `error`: {}", says());
        }
        if !(self.status.is_client_error() || self.status.is_server_error()) || method == Method::HEAD {
            return;
        }
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", says());
        let text = |member: &str| self.body[member].as_str().unwrap_or_else(|| panic!("no {member}: {}", says()));
        for member in ["type", "title", "detail", "code"] {
            assert!(!text(member).is_empty(), "empty {member}: {}", says());
        }
        assert_eq!(self.body["status"], json!(self.status.as_u16()), "{}", says());
        assert_eq!(text("error"), text("detail"), "{}", says());
        assert_eq!(text("request_id"), id, "{}", says());
        assert!(text("code").bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b)), "{}", says());
        if let Some(errors) = self.body.get("errors") {
            let lists = errors.as_object().unwrap_or_else(|| panic!("errors is no object: {}", says())).values();
            let texts =
                |list: &Value| list.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(Value::is_string));
            assert!(lists.clone().count() > 0 && lists.clone().all(texts), "errors are no lists of texts: {}", says());
        }
        let lower = String::from_utf8_lossy(&self.bytes).to_lowercase();
        for inside in ["sqlx", "panicked", "insert into ", "violates ", "relation \\\"", ".rs:", "stack backtrace"] {
            assert!(!lower.contains(inside), "`{inside}` leaks: {}", says());
        }
        match self.status.as_u16() {
            401 => assert_eq!(self.header("www-authenticate"), Some("Bearer realm=\"api\""), "{}", says()),
            405 => assert!(self.header("allow").is_some(), "{}", says()),
            413 => assert_eq!(self.header("connection"), Some("close"), "{}", says()),
            429 | 503 => assert!(self.header("retry-after").is_some(), "{}", says()),
            _ => {}
        }
    }
}
