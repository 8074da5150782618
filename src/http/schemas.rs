//! The schemas of the OpenAPI document, made of what the types say of themselves.
//!
//! A generated client takes a member with a `default` as given, and one that may be null as one that may be left empty. So defaults
//! are told in words, and of what is sent each member is what it must be: what is `required` is not null and, if it is a text or a
//! list, not empty. That a member is required is said once, by its `#[schema(required)]`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// The schemas that the document's operations refer to.
pub type Schemas = BTreeMap<String, Value>;

/// The types' own schemas, this one's and those that it refers to.
fn found<T: ToSchema>() -> Vec<(String, Value)> {
    let mut found = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut found);
    found.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())).collect()
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The reference to a type's schema, which is added to `schemas` with all that it refers to.
pub fn schema_of<T: ToSchema>(schemas: &mut Schemas) -> Value {
    for (name, mut schema) in found::<T>() {
        put_defaults_into_words(&mut schema, true);
        add(schemas, name, schema);
    }
    reference(&T::name())
}

/// The same of a type that is sent.
pub(super) fn body_of<T: ToSchema>(schemas: &mut Schemas) -> Value {
    let name = T::name();
    for (found, mut schema) in found::<T>() {
        if found == name {
            need_what_is_required(&mut schema);
        }
        put_defaults_into_words(&mut schema, true);
        add(schemas, found, schema);
    }
    reference(&name)
}

/// A change of such a type: any of its members, and what is left out stays.
pub(super) fn change_of<T: ToSchema>(schemas: &mut Schemas) -> Value {
    let found: Schemas = found::<T>().into_iter().collect();
    let name = add_change(&found, &T::name(), schemas);
    let parts = |name: &str| found.get(name).is_some_and(|schema| schema.get("allOf").is_some());
    for (part, mut schema) in found.clone() {
        if part != T::name() && !parts(&part) {
            put_defaults_into_words(&mut schema, true);
            add(schemas, part, schema);
        }
    }
    reference(&name)
}

/// Adds the change of a type that was found, and of the parts that it consists of.
fn add_change(found: &Schemas, name: &str, schemas: &mut Schemas) -> String {
    let mut change = found.get(name).cloned().unwrap_or_default();
    need_what_is_required(&mut change);
    put_defaults_into_words(&mut change, false);
    if let Some(members) = change.as_object_mut() {
        members.remove("required");
        let parts = members.get_mut("allOf").and_then(Value::as_array_mut);
        for part in parts.into_iter().flatten() {
            let known = part.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            if let Some(known) = known.filter(|known| found.contains_key(*known)).map(str::to_owned) {
                *part = reference(&add_change(found, &known, schemas));
            }
        }
    }
    let name = format!("{name}Change");
    add(schemas, name.clone(), change);
    name
}

/// Adds a schema under its name. Of two types with one name the second would silently be described as the first, so
/// it shows as `Name (another)`, a name that the document's test refuses.
fn add(schemas: &mut Schemas, name: String, mut schema: Value) {
    members_may_be_missing(&mut schema);
    match schemas.get(&name) {
        Some(known) if *known == schema => {}
        Some(_) => {
            schemas.insert(format!("{name} (another)"), schema);
        }
        None => {
            schemas.insert(name, schema);
        }
    }
}

/// What a flattened `Option` holds is described as "this or null"; but where it is missing its members are, too.
fn members_may_be_missing(schema: &mut Value) {
    let parts = schema.get_mut("allOf").and_then(Value::as_array_mut);
    for part in parts.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(Value::Array(mut alternatives)) = part.remove("oneOf") {
            if let Some(null) = alternatives.iter_mut().find(|schema| is_null(schema)) {
                *null = json!({ "type": "object" });
            }
            part.insert("anyOf".to_owned(), Value::Array(alternatives));
        }
    }
}

fn is_null(schema: &Value) -> bool {
    *schema == json!({ "type": "null" })
}

/// The names of the members that must be there.
fn required(schema: &Value) -> Vec<String> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// A member that must be there is not null, and says something.
fn need_what_is_required(schema: &mut Value) {
    let parts = schema.get_mut("allOf").and_then(Value::as_array_mut);
    parts.into_iter().flatten().for_each(need_what_is_required);
    for name in required(schema) {
        let member = schema.get_mut("properties").and_then(|members| members.get_mut(&name));
        if let Some(member) = member {
            forbid_null(member);
            let Some(member) = member.as_object_mut() else { continue };
            let is = |of: &Map<String, Value>, kind: &str| of.get("type").is_some_and(|known| known == kind);
            if is(member, "string") && !member.contains_key("format") {
                member.entry("minLength").or_insert_with(|| json!(1));
            } else if is(member, "array") {
                member.entry("minItems").or_insert_with(|| json!(1));
            }
        }
    }
}

fn forbid_null(member: &mut Value) {
    if let Some(Value::Array(types)) = member.get("type")
        && let [one] = types.iter().filter(|kind| *kind != "null").collect::<Vec<_>>().as_slice()
    {
        let one = (*one).clone();
        if let Some(member) = member.as_object_mut() {
            member.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(alternatives)) = member.get("oneOf")
        && let [one] = alternatives.iter().filter(|schema| !is_null(schema)).collect::<Vec<_>>().as_slice()
    {
        *member = (*one).clone();
    }
}

/// Takes defaults out, and says those that are not simply nothing in the description, if `say` wants it so.
fn put_defaults_into_words(schema: &mut Value, say: bool) {
    let required = required(schema);
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(|schema| put_defaults_into_words(schema, say)),
        Value::Object(members) => {
            if let Some(default) = members.remove("default").filter(|default| say && says_something(default)) {
                let known = members.get("description").and_then(Value::as_str).unwrap_or_default();
                let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
                let says = format!("{known} `{default}` when left out.").trim_start().to_owned();
                members.insert("description".to_owned(), json!(says));
            }
            for (name, member) in members.iter_mut() {
                match (name.as_str(), member) {
                    // A member may well be called like this. One that must be there has no default.
                    ("properties", Value::Object(members)) => {
                        for (name, member) in members {
                            put_defaults_into_words(member, say && !required.contains(name));
                        }
                    }
                    ("example" | "examples" | "enum" | "const", _) => {}
                    (_, member) => put_defaults_into_words(member, say),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether a default is more than nothing.
fn says_something(default: &Value) -> bool {
    match default {
        Value::Null | Value::Object(_) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}
