//! What is taken as content: an object whose values are texts, or JSON text of one.

use serde_json::{Map, Value};

use crate::http::Faults;

/// The most that an event's content may be, in bytes of JSON.
const LONGEST_CONTENT: usize = 256 * 1024;

/// The most that is kept of how it came about, in bytes of JSON.
const LONGEST_META: usize = 64 * 1024;

/// Texts by name.
pub(super) type Texts = Map<String, Value>;

/// What was sent as `generated_content`: an object, or JSON text of one. Values that are no text become text.
pub(super) fn content(sent: &Value) -> Result<Texts, String> {
    let texts: Texts = object(sent)?.into_iter().map(|(name, value)| (name, Value::String(text_of(value)))).collect();
    bounded(texts, LONGEST_CONTENT)
}

/// What was sent as `generation_meta`: an object, or JSON text of one.
pub(super) fn meta(sent: &Value) -> Result<Map<String, Value>, String> {
    bounded(object(sent)?, LONGEST_META)
}

/// `read` of what was sent in a field; what is wrong with it is added to the faults.
pub(super) fn of_field(
    faults: &mut Faults,
    field: &str,
    sent: &Value,
    read: fn(&Value) -> Result<Map<String, Value>, String>,
) -> Map<String, Value> {
    read(sent).unwrap_or_else(|says| {
        faults.add(field, says);
        Map::new()
    })
}

/// Whether there is anything to read.
pub(super) fn says_something(content: &Texts) -> bool {
    content.values().any(|text| text.as_str().is_some_and(|text| !text.trim().is_empty()))
}

/// An object, or the one that a text is JSON of.
pub(super) fn object(sent: &Value) -> Result<Map<String, Value>, String> {
    let read = sent.as_str().map_or_else(|| sent.clone(), |text| serde_json::from_str(text).unwrap_or_default());
    let Value::Object(members) = read else {
        return Err("A JSON object is expected, or JSON text of one.".to_owned());
    };
    // The body was looked at for these, but not what is JSON within its texts.
    if members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)) {
        return Err("Null characters are not allowed.".to_owned());
    }
    Ok(members)
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn bounded(members: Map<String, Value>, most: usize) -> Result<Map<String, Value>, String> {
    let length = serde_json::to_string(&members).map_or(usize::MAX, |json| json.len());
    if length > most {
        return Err(format!("Ensure this field has no more than {} KiB as JSON.", most / 1024));
    }
    Ok(members)
}
