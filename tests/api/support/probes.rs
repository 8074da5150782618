//! What else is sent beside the requests of a test: bodies that lack something, and bodies with something of a wrong type.
//!
//! All of it is sent strictly and with a member that nothing reads, so nothing of it is ever done: a body that is refused for
//! that member alone is one that would have been taken.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::documented::{Asked, asked};
use super::people::{Reply, Sender};

/// What is sent beside the requests.
pub(crate) enum Probe {
    /// Bodies that lack one of the members that the document requires, or have nothing in it; and those with no other members.
    Incomplete(Seen),
    /// Bodies with a value of another type in each of their members.
    WrongTypes(Seen),
}

/// The operations that were asked already, and what was found.
#[derive(Default)]
pub(crate) struct Seen {
    asked: Mutex<HashSet<(String, String)>>,
    /// What was wrong.
    found: Mutex<BTreeSet<String>>,
    /// How many requests were sent.
    sent: Mutex<usize>,
}

impl Seen {
    pub(crate) fn found(&self) -> Vec<String> {
        self.found.lock().unwrap().iter().cloned().collect()
    }

    /// The operations, and how many requests they were asked with.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.asked.lock().unwrap().len(), *self.sent.lock().unwrap())
    }

    fn is_new(&self, method: &Method, template: &str) -> bool {
        self.asked.lock().unwrap().insert((method.to_string(), template.to_owned()))
    }
}

tokio::task_local! {
    /// Within it, this is sent before the first request to each operation with a JSON body.
    pub(crate) static PROBE: Arc<Probe>;
}

/// Words of the implementation's that are no words for people.
const INSIDE: [&str; 34] = [
    "i16",
    "i32",
    "i64",
    "u8",
    "u16",
    "u32",
    "u64",
    "usize",
    "f32",
    "f64",
    "variant",
    "missing field",
    "unknown field",
    "invalid type",
    "invalid value",
    "invalid length",
    "expected a",
    "expected an",
    "expected one of",
    "expected i",
    "expected u",
    "Premature end",
    "Trailing input",
    "trailing input",
    "Input contains",
    "Input is",
    "Decimal type",
    "struct ",
    "enum ",
    "tuple",
    "newtype",
    "null value in column",
    "serde",
    "deserializ",
];

/// Those that a refusal has.
pub(crate) fn words_of_the_inside(reply: &Reply) -> Vec<String> {
    let mut says = vec![reply.body["detail"].as_str().unwrap_or_default()];
    let lists = reply.body["errors"].as_object().into_iter().flat_map(Map::values);
    says.extend(lists.filter_map(Value::as_array).flatten().filter_map(Value::as_str));
    let is_one = |text: &&str| INSIDE.iter().any(|word| text.contains(word)) || text.contains("::");
    says.into_iter().filter(is_one).map(str::to_owned).collect()
}

/// Where what is needed depends on the rest of the body, on the row or on the caller, which descriptions say.
const IT_DEPENDS: [(&str, &str); 12] = [
    ("/api/academic/unit-resources/", "a url, or in multipart a file"),
    ("/api/academic/unit-resources/{id}/", "a url, unless there is a file"),
    ("/api/core/events/{id}/generation_callback/", "an id in the calendar, or content"),
    ("/api/core/notifications/", "a recipient, or an offering"),
    ("/api/core/sessions/series/{series}/", "a first day, where a change of one thing requires nothing"),
    ("/api/core/sessions/{id}/attendance/", "records, or a default"),
    ("/api/enrollment/enrollments/{id}/", "a grade, for COMPLETED and FAILED"),
    ("/api/token/", "an email or a username"),
    ("/api/token/compat/", "an email or a username"),
    ("/api/users/n8n-workflows/", "a url, if it is active"),
    ("/api/users/n8n-workflows/{id}/", "a url, if it is active"),
    ("/api/users/users/{id}/", "email and username, which only administrators write"),
];

/// Bodies are sent by these methods.
const WITH_BODIES: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];

/// A request beside which others are sent.
struct Beside<'a> {
    sender: &'a Sender,
    request: &'a reqwest::Request,
    path: &'a str,
    seen: &'a Seen,
    asked: Asked,
    body: Map<String, Value>,
}

/// Sends what is sent beside a request.
pub(super) async fn probe(probe: &Probe, sender: &Sender, request: &reqwest::Request, path: &str) {
    let method = request.method();
    let body = request.body().and_then(|body| serde_json::from_slice::<Value>(body.as_bytes()?).ok());
    let (true, Some(Value::Object(body))) = (WITH_BODIES.contains(method), body) else { return };
    let Some(asked) = asked(method, path) else { return };
    let (Probe::Incomplete(seen) | Probe::WrongTypes(seen)) = probe;
    let beside = Beside { sender, request, path, seen, asked, body };
    // What is refused whatever it has says nothing of its members.
    if beside.send(&beside.body).await.errors("misspelt").len() != 1 || !seen.is_new(method, &beside.asked.template) {
        return;
    }
    match probe {
        Probe::Incomplete(_) => beside.incomplete().await,
        Probe::WrongTypes(_) => beside.wrong_types().await,
    }
}

impl Beside<'_> {
    /// The answer to another body, which is refused at the latest for a member that nothing reads.
    async fn send(&self, body: &Map<String, Value>) -> Reply {
        let mut body = body.clone();
        body.insert("misspelt".to_owned(), json!(1));
        let mut other = self.request.try_clone().unwrap();
        for name in ["content-length", "idempotency-key"] {
            other.headers_mut().remove(name);
        }
        other.headers_mut().insert("prefer", "handling=strict".parse().unwrap());
        *other.body_mut() = Some(serde_json::to_vec(&body).unwrap().into());
        *self.seen.sent.lock().unwrap() += 1;
        self.sender.answered(self.request.method(), self.path, other).await
    }

    fn add(&self, what: &str) {
        let operation = format!("{} {}", self.request.method(), self.asked.template);
        self.seen.found.lock().unwrap().insert(format!("{operation} {what}"));
    }

    async fn incomplete(&self) {
        let Self { asked, body, .. } = self;
        for name in &asked.required {
            if !body.contains_key(name) {
                self.add(&format!("is taken without `{name}`, which the document requires"));
            }
            let member = &asked.members[name];
            let told = [
                (member.get("type").is_some() || member.get("$ref").is_some(), json!(null)),
                (member["minLength"] == 1, json!("")),
                (member["minItems"] == 1, json!([])),
            ];
            let mut lacking = body.clone();
            lacking.remove(name);
            let mut bodies = vec![("nothing".to_owned(), lacking)];
            for (_, value) in told.into_iter().filter(|(is_told, _)| *is_told) {
                let mut empty = body.clone();
                empty.insert(name.clone(), value.clone());
                bodies.push((value.to_string(), empty));
            }
            for (has, body) in bodies {
                let reply = self.send(&body).await;
                // What is no token is not told from a token that is not there.
                let refused = reply.status == 400 && !reply.errors(name).is_empty();
                if !refused && reply.refusal() != (401, "token_not_valid") {
                    self.add(&format!("with {has} for `{name}` is {} {}", reply.status, reply.body));
                }
            }
        }
        if IT_DEPENDS.iter().any(|(path, _)| *path == asked.template) {
            return;
        }
        let minimal = body.iter().filter(|(name, _)| asked.required.contains(*name));
        let reply = self.send(&minimal.map(|(name, value)| (name.clone(), value.clone())).collect()).await;
        let faults = reply.body["errors"].as_object().map_or(0, Map::len);
        if faults != 1 || reply.errors("misspelt").is_empty() {
            self.add(&format!("with only what the document requires is {} {}", reply.status, reply.body));
        }
    }

    async fn wrong_types(&self) {
        let template = &self.asked.template;
        let mut values =
            vec![json!(null), json!(true), json!(-1.5), json!(1e30), json!([1]), json!([[]]), json!({ "a": 1 })];
        // A wrong password is not of a wrong type, and counts.
        if !template.contains("/token/") && !template.contains("password") {
            values.extend([json!(""), json!("x"), json!("31/12/2005"), json!("12,5"), json!("2005-12-31T00:00:00Zx")]);
        }
        for place in places(&self.asked, &self.body) {
            for value in &values {
                let mut changed = Value::Object(self.body.clone());
                put(&mut changed, &place, value.clone());
                let Value::Object(changed) = changed else { continue };
                let reply = self.send(&changed).await;
                let with = format!("with {}: {value}", place.join("."));
                if reply.status.is_server_error() {
                    self.add(&format!("{with} is {}", reply.status));
                }
                for says in words_of_the_inside(&reply) {
                    self.add(&format!("{with} says: {says}"));
                }
            }
        }
    }
}

/// Where in a body a value stands.
type Path = Vec<String>;

/// The places of all members that a body has or may have.
fn places(asked: &Asked, body: &Map<String, Value>) -> Vec<Path> {
    let mut places: BTreeSet<Path> = asked.members.keys().map(|name| vec![name.clone()]).collect();
    within(&Value::Object(body.clone()), &mut Vec::new(), &mut places);
    places.into_iter().collect()
}

fn within(value: &Value, at: &mut Path, places: &mut BTreeSet<Path>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.first().map(|item| ("0".to_owned(), item)).into_iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (name, value) in members {
        at.push(name);
        places.insert(at.clone());
        // What lies deeper is free of form.
        if at.len() < 3 {
            within(value, at, places);
        }
        at.pop();
    }
}

fn put(within: &mut Value, place: &[String], value: Value) {
    let [name, rest @ ..] = place else {
        *within = value;
        return;
    };
    match within {
        Value::Array(items) => put(&mut items[0], rest, value),
        Value::Object(members) => put(members.entry(name.clone()).or_insert(Value::Null), rest, value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
