//! Whether an answer is one that the OpenAPI document has. Every answer that a test gets is held against it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use axum::http::{Method, StatusCode};
use jsonschema::Validator;
use serde_json::Value;
use swincms::app::routes;
use swincms::http::openapi;

/// What the accept loop and the layers answer before a route is known, or for every route alike.
const ANYWHERE: [u16; 6] = [304, 400, 404, 405, 408, 500];

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi::document(&routes()));

/// The document.
pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

/// The validator of each answer that was asked for; none when it has no JSON.
type Validators = HashMap<(String, String, u16), Option<Arc<Validator>>>;
static VALIDATORS: LazyLock<Mutex<Validators>> = LazyLock::new(Mutex::default);

/// What is wrong with this answer to a request, by the document; `json` is its body, if it is JSON.
pub(super) fn undocumented(method: &Method, path: &str, status: StatusCode, json: Option<&Value>) -> Option<String> {
    let path = path.split_once("://").map_or(path, |(_, rest)| &rest[rest.find('/').unwrap_or(rest.len())..]);
    let (template, item) = path_item(path.split('?').next().unwrap_or_default())?;
    let method = method.as_str().to_ascii_lowercase();
    let responses = item.get(&method)?.get("responses")?;
    let Some(response) = responses.get(status.as_str()) else {
        return (!ANYWHERE.contains(&status.as_u16()))
            .then(|| format!("{method} {template} does not document {status}"));
    };
    let key = (method, template.clone(), status.as_u16());
    let validator = VALIDATORS.lock().unwrap().entry(key).or_insert_with(|| validator(response)).clone()?;
    let faults: Vec<String> =
        validator.iter_errors(json?).map(|fault| format!("{}: {fault}", fault.instance_path())).take(3).collect();
    (!faults.is_empty()).then(|| format!("{template} {status}: {}", faults.join("; ")))
}

/// The template that this path fits, and what the document says of it. Words go before variables.
fn path_item(path: &str) -> Option<(&String, &'static Value)> {
    let asked: Vec<&str> = path.trim_matches('/').split('/').collect();
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.trim_matches('/').split('/').collect();
        parts.len() == asked.len()
            && parts.iter().zip(&asked).all(|(part, asked)| part == asked || part.starts_with('{'))
    };
    paths.iter().filter(|(template, _)| fits(template)).min_by_key(|(template, _)| template.matches('{').count())
}

/// The JSON body that an operation asks for.
pub(super) struct Asked {
    pub(super) template: String,
    /// The schema of each member.
    pub(super) members: BTreeMap<String, Value>,
    pub(super) required: BTreeSet<String>,
}

/// What the document says of the JSON body of this request, if it has one.
pub(super) fn asked(method: &Method, path: &str) -> Option<Asked> {
    let (template, item) = path_item(path.split('?').next().unwrap_or_default())?;
    let body = &item.get(method.as_str().to_ascii_lowercase())?["requestBody"];
    let schema = body["content"].get("application/json")?.get("schema")?;
    let mut asked = Asked { template: template.clone(), members: BTreeMap::new(), required: BTreeSet::new() };
    asked.add(schema);
    Some(asked)
}

impl Asked {
    fn add(&mut self, schema: &Value) {
        if let Some(target) = schema["$ref"].as_str() {
            return self.add(DOCUMENT.pointer(target.trim_start_matches('#')).unwrap());
        }
        schema["allOf"].as_array().into_iter().flatten().for_each(|part| self.add(part));
        // Of a part that says more of a member, what it says.
        let members = schema["properties"].as_object().into_iter().flatten();
        self.members.extend(members.map(|(name, member)| (name.clone(), member.clone())));
        let names = schema["required"].as_array().into_iter().flatten();
        self.required.extend(names.map(|name| name.as_str().unwrap().to_owned()));
    }
}

fn validator(response: &Value) -> Option<Arc<Validator>> {
    let content = response["content"].as_object()?;
    let (_, content) = content.iter().find(|(media_type, _)| media_type.ends_with("json"))?;
    let mut schema = content["schema"].as_object().cloned().unwrap_or_default();
    schema.insert("components".to_owned(), DOCUMENT["components"].clone());
    Some(Arc::new(jsonschema::validator_for(&Value::Object(schema)).unwrap()))
}
