//! What each part of an endpoint says about itself for the OpenAPI document.
//!
//! An extractor names its parameters and the refusals it can give, an answer its status and schema. The document is
//! the sum over the route table, so it cannot name an endpoint, a field or a status that the code does not have.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use super::schemas::{Schemas, schema_of};

/// What is known about one endpoint.
#[derive(Debug, Default)]
pub struct Notes {
    parameters: Vec<Value>,
    body: Option<Value>,
    responses: BTreeMap<u16, Value>,
    signed_in: Option<bool>,
    access: String,
}

/// Implemented by every extractor a handler may take.
pub trait Describe {
    /// Adds what this part asks for and how it refuses.
    fn describe(notes: &mut Notes, schemas: &mut Schemas);
}

/// Implemented by everything a handler may answer with.
pub trait Answers {
    /// Adds the status and the body.
    fn describe(notes: &mut Notes, schemas: &mut Schemas);
}

impl Notes {
    /// A parameter in `query`, `path` or `header`.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the schema in place")]
    pub fn parameter(&mut self, place: &str, name: &str, schema: Value, says: &str) {
        let mut parameter = json!({ "name": name, "in": place, "required": place == "path", "schema": schema });
        if let (Some(members), false) = (parameter.as_object_mut(), says.is_empty()) {
            members.insert("description".to_owned(), json!(says));
        }
        self.parameters.push(parameter);
    }

    /// Whether one of the parts reads this parameter of the query string.
    pub(super) fn reads(&self, name: &str) -> bool {
        let is =
            |parameter: &Value, member: &str, value: &str| parameter.get(member).is_some_and(|known| known == value);
        self.parameters.iter().any(|parameter| is(parameter, "in", "query") && is(parameter, "name", name))
    }

    /// A part of the path that no extractor has spoken of.
    pub(super) fn path_parameter(&mut self, name: &str) {
        let known = |parameter: &Value| {
            parameter.get("in").is_some_and(|place| place == "path")
                && parameter.get("name").is_some_and(|known| known == name)
        };
        if !self.parameters.iter().any(known) {
            self.parameter("path", name, json!({ "type": "string" }), "");
        }
    }

    /// The request body.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the schema in place")]
    pub fn body(&mut self, media_type: &str, required: bool, schema: Value) {
        let body = self.body.get_or_insert_with(|| json!({ "required": required, "content": {} }));
        if let Some(content) = body.get_mut("content").and_then(Value::as_object_mut) {
            content.insert(media_type.to_owned(), json!({ "schema": schema }));
        }
    }

    /// An answer with a body, or without when `schema` is `None`.
    pub fn answers(&mut self, status: u16, says: &str, media_type: &str, schema: Option<Value>) {
        let mut response = json!({ "description": says });
        if let (Some(members), Some(schema)) = (response.as_object_mut(), schema) {
            members.insert("content".to_owned(), json!({ media_type: { "schema": schema } }));
        }
        self.responses.insert(status, response);
    }

    /// An answer in JSON that may also be what was described for this status before.
    pub fn or_answers(&mut self, status: u16, says: &str, schema: Value) {
        let known =
            self.responses.get_mut(&status).and_then(|response| response.pointer_mut("/content/application~1json"));
        match known.and_then(|content| content.get_mut("schema")) {
            Some(known) => *known = json!({ "oneOf": [known.take(), schema] }),
            None => self.answers(status, says, "application/json", Some(schema)),
        }
    }

    /// Another media type of an answer that has been given.
    #[expect(clippy::needless_pass_by_value, reason = "callers write the schema in place")]
    pub fn also(&mut self, status: u16, media_type: &str, schema: Value) {
        let content = self.responses.get_mut(&status).and_then(|response| response.get_mut("content"));
        if let Some(content) = content.and_then(Value::as_object_mut) {
            content.insert(media_type.to_owned(), json!({ "schema": schema }));
        }
    }

    /// Adds response headers to the answers given so far.
    pub fn header(&mut self, name: &str, says: &str) {
        for (_, response) in self.responses.iter_mut().filter(|(status, _)| **status < 300) {
            if let Some(members) = response.as_object_mut() {
                let headers = members.entry("headers").or_insert_with(|| json!({}));
                if let Some(headers) = headers.as_object_mut() {
                    headers.insert(name.to_owned(), json!({ "description": says, "schema": { "type": "string" } }));
                }
            }
        }
    }

    /// A refusal with a problem as its body.
    pub fn refuses(&mut self, status: u16, says: &str) {
        self.responses.entry(status).or_insert_with(|| {
            json!({
                "description": says,
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            })
        });
    }

    /// Who may call: the name in the matrix, and whether a token is needed, optional (`Some(false)`) or ignored.
    pub fn access(&mut self, name: &str, signed_in: Option<bool>) {
        name.clone_into(&mut self.access);
        self.signed_in = signed_in;
    }

    /// The operation as the document shows it.
    pub fn operation(mut self, tag: &str, id: &str, summary: &str) -> Value {
        self.refuses(
            503,
            "The database or a queue is away or full, or the database can only be read (`read_only`); see Retry-After.",
        );
        let mut operation = json!({
            "tags": [tag],
            "operationId": id,
            "summary": summary,
            "description": format!("Access: `{}`.", self.access),
            "responses": self.responses.into_iter().map(|(status, body)| (status.to_string(), body)).collect::<Map<_, _>>(),
        });
        if let Some(members) = operation.as_object_mut() {
            if !self.parameters.is_empty() {
                members.insert("parameters".to_owned(), json!(self.parameters));
            }
            if let Some(body) = self.body {
                members.insert("requestBody".to_owned(), body);
            }
            members.insert(
                "security".to_owned(),
                match self.signed_in {
                    Some(true) => json!([{ "bearer": [] }]),
                    Some(false) => json!([{}, { "bearer": [] }]),
                    None => json!([]),
                },
            );
        }
        operation
    }
}

impl Describe for axum::extract::State<crate::app::AppState> {
    fn describe(_: &mut Notes, _: &mut Schemas) {}
}
