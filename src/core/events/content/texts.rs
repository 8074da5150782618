//! What is taken as content: an object whose values are texts, or JSON text of one.

use serde_json::{Map, Value};

use crate::http::{Faults, item_of};

/// The most that an event's content may be, in bytes of JSON.
const LONGEST_CONTENT: usize = 256 * 1024;

/// The most that is kept of how it came about, in bytes of JSON.
const LONGEST_META: usize = 64 * 1024;

/// Texts by name.
pub(super) type Texts = Map<String, Value>;

/// What was sent as `generated_content`: an object, or JSON text of one. Values that are no text become text.
pub(super) fn content(sent: &Value) -> Result<Texts, String> {
    let mut members = object(sent)?;
    // A model that was shown the whole report writes the whole report.
    while let Some(inner) = members.get("generated_content").filter(|_| members.len() == 1) {
        members = object(inner)?;
    }
    let texts: Texts = members.into_iter().map(|(name, value)| (name, Value::String(text_of(value)))).collect();
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

/// An object, or the one that a text is JSON of. Models put JSON into fences, between other words, and real line breaks
/// into its strings.
pub(super) fn object(sent: &Value) -> Result<Map<String, Value>, String> {
    let read = sent.as_str().map_or_else(|| Some(sent.clone()), json_of);
    let Some(Value::Object(members)) = read.map(|read| item_of(&read).clone()) else {
        return Err("A JSON object is expected, or JSON text of one.".to_owned());
    };
    // The body was looked at for these, but not what is JSON within its texts.
    if members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)) {
        return Err("Null characters are not allowed.".to_owned());
    }
    Ok(members)
}

/// The JSON of a text: all of it, or what stands in a fence.
fn json_of(text: &str) -> Option<Value> {
    let fenced = || {
        let (_, rest) = text.split_once("```")?;
        // The language stands behind the fence.
        let rest = rest.split_once(['\n', '{', '[']).map(|(language, _)| rest.get(language.len()..))??;
        Some(rest.rsplit_once("```").map_or(rest, |(inside, _)| inside))
    };
    let read = |text: &str| {
        let text = text.trim();
        serde_json::from_str(text).or_else(|_| serde_json::from_str(&escaped(text))).ok()
    };
    read(text).or_else(|| read(fenced()?))
}

/// JSON with the line breaks and tabs within its strings as JSON has them.
fn escaped(json: &str) -> String {
    let (mut escaped, mut in_string, mut is_escape) = (String::with_capacity(json.len()), false, false);
    for letter in json.chars() {
        match letter {
            '\n' if in_string => escaped.push_str("\\n"),
            '\r' if in_string => escaped.push_str("\\r"),
            '\t' if in_string => escaped.push_str("\\t"),
            _ => escaped.push(letter),
        }
        in_string ^= letter == '"' && !is_escape;
        is_escape = in_string && letter == '\\' && !is_escape;
    }
    escaped
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn content_is_read_as_models_and_workflows_give_it() {
        let expected = json!({ "social_post": "Chào\n\"bạn\" \\ {a}" });
        let text = expected.to_string();
        let broken = "{\"social_post\": \"Chào\n\\\"bạn\\\" \\\\ {a}\"}";
        for sent in [
            expected.clone(),
            json!(text),
            json!(format!("```json\n{text}\n```")),
            json!(format!("```\n{text}\n```\n")),
            json!(format!("```{text}```")),
            json!(format!("Here you are:\n\n```JSON\r\n{text}\r\n```\nDo you like it?")),
            json!(broken),
            json!(format!("```json\n{broken}\n```")),
            json!([{ "generated_content": expected }]),
            json!({ "generated_content": format!("```json\n{broken}\n```") }),
            json!(format!("[{{\"generated_content\": {text}}}]")),
            json!({ "body": { "generated_content": expected } }),
        ] {
            assert_eq!(content(&sent).map(Value::Object), Ok(expected.clone()), "{sent}");
        }
        for sent in
            [json!("``` no JSON ```"), json!("```"), json!("[]"), json!("{\"a\": \"b"), json!([{}, {}]), json!(7)]
        {
            assert!(content(&sent).is_err(), "{sent}");
        }
    }
}
