//! The OpenAPI document, read off the route table.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::describe::{Notes, Schemas};
use super::routes::Routes;
use super::tags;

/// The document of these routes, as version 3.1.
#[must_use]
pub fn document(routes: &Routes) -> Value {
    let mut schemas = Schemas::new();
    schemas.insert("Problem".to_owned(), problem());
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for route in routes.lines() {
        let mut notes = Notes::default();
        (route.notes)(&mut notes, &mut schemas);
        if route.cost().0 > 0.0 && !matches!(route.access, "public" | "n8n") {
            notes.refuses(
                429,
                "The caller, a student or parent, has changed a lot within a short time; see Retry-After.",
            );
        }
        for (status, says) in &route.refusals {
            notes.refuses(*status, says);
        }
        let variables: Vec<&str> = variables(&route.path).collect();
        for name in &variables {
            notes.path_parameter(name);
        }
        // One handler may stand behind several routes.
        let method = route.method.as_str().to_ascii_lowercase();
        let further = std::iter::once(variables.join(".")).chain([method.clone()]);
        let further = further.filter(|more| !more.is_empty()).map(|more| format!("{}.{more}", route.name));
        let mut candidates = std::iter::once(route.name.clone()).chain(further);
        let id = candidates.find(|id| ids.insert(id.clone())).unwrap_or_else(|| route.name.clone());
        paths
            .entry(&route.path)
            .or_default()
            .insert(method, notes.operation(tags::tag_of(&route.path), &id, route.says));
    }
    let paths = json!(paths);
    keep_what_is_used(&mut schemas, &paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "SwinCMS",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Course management for a university. Conventions: docs/api.md.",
            "license": { "name": "Proprietary", "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "tags": tags::all(),
        "x-tagGroups": tags::groups(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    })
}

/// Leaves out schemas that nothing refers to, such as those of types of which only a change can be sent.
fn keep_what_is_used(schemas: &mut Schemas, paths: &Value) {
    let mut used = BTreeSet::new();
    let mut next = Vec::new();
    referred_to(paths, &mut next);
    while let Some(name) = next.pop() {
        if used.insert(name.clone())
            && let Some(schema) = schemas.get(&name)
        {
            referred_to(schema, &mut next);
        }
    }
    schemas.retain(|name, _| used.contains(name));
}

/// Adds the names of the schemas that a part of the document refers to.
fn referred_to(part: &Value, names: &mut Vec<String>) {
    match part {
        Value::Array(items) => items.iter().for_each(|item| referred_to(item, names)),
        Value::Object(members) => {
            let target = members.get("$ref").and_then(Value::as_str);
            names.extend(target.and_then(|target| target.strip_prefix("#/components/schemas/")).map(str::to_owned));
            members.values().for_each(|member| referred_to(member, names));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names in a path's braces.
fn variables(path: &str) -> impl Iterator<Item = &str> {
    let inside = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    inside.map(|name| name.trim_start_matches('*'))
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "detail", "error", "code", "request_id"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "For people." },
            "error": { "type": "string", "description": "Repeats `detail`." },
            "code": { "type": "string", "description": "Permanent, snake_case." },
            "request_id": { "type": "string" },
            "errors": {
                "type": "object",
                "description": "What is wrong, by field: at most 100 fields, each text of at most 300 characters.",
                "additionalProperties": { "type": "array", "items": { "type": "string" } },
            },
            "errors_left_out": {
                "type": "integer",
                "description": "How many more errors there are than `errors` has; absent when it has all.",
            },
        },
    })
}
