//! JSON Schemas of forms: which are accepted, and what fits them.
//!
//! Compiling and checking are done on threads that may block: both are bounded, and still too long for a thread that
//! serves others.

use std::collections::BTreeMap;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::survey::Survey;
use crate::http::{Answer, Faults, Problem};

/// The largest schema, as compact JSON.
const LARGEST: usize = 64 * 1024;
/// The largest submission, as compact JSON.
const LARGEST_DATA: usize = 256 * 1024;
/// The largest compiled pattern, in bytes.
const LARGEST_PATTERN: usize = 512 * 1024;
/// How much a check may cost: the schema's steps for one value, times the values.
const DEAREST: u64 = 20_000_000;
/// Up to which cost all that is wrong is told: the library gathers every error first, and each takes room.
const DEAREST_IN_FULL: u64 = 500_000;
/// How many places of a submission are told, and how many texts for each.
const MOST: (usize, usize) = (100, 5);
/// How long a text is at most.
const LONGEST: usize = 300;

/// What is said of a schema that is too large.
pub(super) const TOO_LARGE: &str = "Ensure the schema has no more than 64 KiB.";
/// What is said of a submission that is too large.
pub(super) const TOO_LARGE_DATA: &str = "Ensure the data have no more than 256 KiB.";

/// What is wrong with a schema; empty when a form may have it.
///
/// # Errors
/// 500 when the check itself fails.
pub(super) async fn faults(schema: &Value) -> Answer<Vec<String>> {
    let schema = schema.clone();
    elsewhere(move || faults_of(&schema)).await
}

/// Checks what was sent in against a schema that has been accepted.
///
/// # Errors
/// 400 with the errors by JSON pointer, under `data`.
pub(super) async fn validate(schema: Value, data: Value) -> Answer<()> {
    elsewhere(move || fits(&schema, &data)).await?
}

async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)
}

fn faults_of(schema: &Value) -> Vec<String> {
    if schema.is_null() {
        return vec!["This field is required.".to_owned()];
    }
    if !schema.is_object() {
        return vec!["A JSON Schema is expected, as an object.".to_owned()];
    }
    if size_of(schema) > LARGEST {
        return vec![TOO_LARGE.to_owned()];
    }
    // Only what has been surveyed is compiled: the other way round a few lines could keep the compiler busy for long.
    match Survey::of(schema) {
        Err(faults) => faults,
        Ok(_) => compile(schema).err().map(|fault| vec![said_of_schema(&fault)]).unwrap_or_default(),
    }
}

fn said_of_schema(fault: &ValidationError<'_>) -> String {
    let place = format!("#{}", fault.instance_path());
    if matches!(fault.kind(), ValidationErrorKind::Format { format } if format == "regex") {
        return format!(
            "{place}: this is not a regular expression that matches in linear time, or it is too large; there is no \
             look-around and no backreference."
        );
    }
    shortened(format!("{place}: {}.", fault.masked()))
}

fn compile(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    // Its own name would be where its references lead from; they all stay within it.
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut() {
        members.remove("$id");
        members.remove("id");
    }
    let patterns = PatternOptions::regex().size_limit(LARGEST_PATTERN).dfa_size_limit(LARGEST_PATTERN);
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .should_validate_formats(true)
        // It would compile patterns of whoever fills in the form.
        .with_format("regex", |_: &str| true)
        .build(&schema)
}

fn fits(schema: &Value, data: &Value) -> Answer<()> {
    let bytes = size_of(data);
    if bytes > LARGEST_DATA {
        return Err(Problem::invalid("data", TOO_LARGE_DATA));
    }
    // A schema of earlier times may know other bounds, and is then checked as long as it takes.
    let steps = Survey::of(schema).unwrap_or(1);
    let values = values_in(data);
    let in_full = steps.saturating_mul(values) <= DEAREST_IN_FULL;
    let values = values.saturating_add(u64::try_from(bytes / 16).unwrap_or(u64::MAX));
    if steps.saturating_mul(values) > DEAREST {
        return Err(Problem::invalid("data", "There is more in it than can be checked for this form."));
    }
    let form = compile(schema).map_err(|fault| Problem::internal(anyhow::anyhow!("a form's schema: {fault}")))?;
    let mut errors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let first = form.validate(data).err();
    let all = (first.is_some() && in_full).then(|| form.iter_errors(data));
    for error in first.into_iter().filter(|_| !in_full).chain(all.into_iter().flatten()) {
        for (pointer, says) in said(&error) {
            if errors.len() == MOST.0 && !errors.contains_key(&pointer) {
                continue;
            }
            let texts = errors.entry(pointer).or_default();
            if texts.len() < MOST.1 && !texts.contains(&says) {
                texts.push(says);
            }
        }
    }
    let mut faults = Faults::default();
    for (pointer, texts) in errors {
        for says in texts {
            faults.add(pointer.clone(), says);
        }
    }
    faults.check()
}

/// An error's place and text; what lacks or is too much is told at its own place.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library has some forty kinds, and says most of them well")]
fn said(error: &ValidationError<'_>) -> Vec<(String, String)> {
    let place = format!("data{}", error.instance_path());
    let within = |name: &str| format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
    match error.kind() {
        ValidationErrorKind::Required { property: Value::String(name) } => {
            vec![(within(name), "This field is required.".to_owned())]
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let few = unexpected.iter().take(MOST.0);
            few.map(|name| (within(name), "There is no such field in this form.".to_owned())).collect()
        }
        // The library tells this at the object when the schema names no fields at all, and then only once.
        ValidationErrorKind::FalseSchema if error.schema_path().to_string().ends_with("/additionalProperties") => {
            vec![(place, "There are no fields in this form.".to_owned())]
        }
        _ => {
            let says = format!("{}.", error.masked());
            let mut letters = says.chars();
            let first = letters.next().map(char::to_uppercase);
            vec![(place, shortened(first.into_iter().flatten().chain(letters).collect()))]
        }
    }
}

fn shortened(text: String) -> String {
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn size_of(value: &Value) -> usize {
    value.to_string().len()
}

fn values_in(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(values_in).fold(1, u64::saturating_add),
        Value::Object(members) => members.values().map(values_in).fold(1, u64::saturating_add),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}
