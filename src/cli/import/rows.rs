//! Files of rows: a JSON array of objects.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use chrono::NaiveDate;
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::report::{Faults, Place};
use crate::decimals::with_point;
use crate::http::said_in_words;
use crate::http::sheet::text_of;
use crate::http::text::{code_key, composed, one_line};
use crate::ids::LOCAL_ZONE;

/// A file that was read to its end.
pub(super) struct File {
    /// Its name without the folder; the audit log keeps it.
    pub(super) name: String,
    bytes: Vec<u8>,
}

/// What stands in a file.
pub(super) struct Rows<T> {
    /// The rows that fit their type.
    pub(super) read: Vec<Row<T>>,
    /// What the others are known by, as codes are compared, so that a row that refers to one is not called broken for it.
    pub(super) unread: HashSet<String>,
    /// Members that mean nothing here, and how often each was met.
    pub(super) ignored: BTreeMap<String, usize>,
    /// How many rows there are in all.
    pub(super) count: usize,
}

/// A row and where it stands.
#[derive(Clone)]
pub(crate) struct Row<T> {
    pub(crate) place: Place,
    pub(crate) value: T,
}

impl File {
    /// Reads the file, or standard input for `-`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn read(path: &Path) -> anyhow::Result<Self> {
        let wanted: PathBuf = path.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            if wanted.as_os_str() == "-" {
                let mut bytes = Vec::new();
                std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
            } else {
                std::fs::read(wanted)
            }
        });
        let bytes = read.await?.with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().map_or_else(|| "-".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Self { name: if name == "-" { "standard input".to_owned() } else { name }, bytes })
    }

    /// Reads its rows; `label` names the members that people know a row by, the best first.
    ///
    /// # Errors
    /// When it is no JSON array. Rows of a wrong shape are faults.
    pub(super) fn rows<T>(&self, label: &[&str], zone: Tz, faults: &mut Faults) -> anyhow::Result<Rows<T>>
    where
        T: DeserializeOwned,
    {
        let text = text_of(&self.bytes).map_err(|no_text| {
            anyhow::anyhow!("{}: {no_text} Save it as JSON in UTF-8; nothing was written", self.name)
        })?;
        let raw: Vec<&RawValue> = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a JSON array of objects; nothing was written", self.name))?;
        let mut found = Rows {
            read: Vec::with_capacity(raw.len()),
            unread: HashSet::new(),
            ignored: BTreeMap::new(),
            count: raw.len(),
        };
        for (index, raw) in raw.into_iter().enumerate() {
            let mut place = Place { number: index + 1, label: String::new() };
            let read = LOCAL_ZONE.sync_scope(zone, || typed(raw.get(), &mut found.ignored));
            let labels = labels(raw, label);
            place.label = labels.first().cloned().unwrap_or_default();
            match read {
                Ok(value) => found.read.push(Row { place, value }),
                Err((field, says)) => {
                    found.unread.extend(labels.iter().map(|label| code_key(label)));
                    faults.add(&place, field, says);
                }
            }
        }
        Ok(found)
    }
}

/// Reads one row; what does not fit is named by its path.
fn typed<T: DeserializeOwned>(text: &str, ignored: &mut BTreeMap<String, usize>) -> Result<T, (String, String)> {
    if !text.starts_with('{') {
        return Err(("row".to_owned(), "A row must be a JSON object.".to_owned()));
    }
    if text.contains("\\u0000") && serde_json::from_str::<Value>(text).is_ok_and(|value| has_nul(&value)) {
        return Err(("row".to_owned(), "Null characters are not allowed.".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let read = serde_ignored::deserialize(tracked, |path| {
        let path = path.to_string();
        let steps: Vec<&str> = path.split('.').filter(|step| !is_position(step)).collect();
        *ignored.entry(steps.join(".")).or_default() += 1;
    });
    read.map_err(|error| {
        let path = track.path().to_string();
        let says = error.to_string();
        // The text of a type error shows the value.
        if path == "password" {
            return (path, "A text is expected.".to_owned());
        }
        let says = says.rsplit_once(" at line ").map_or(says.as_str(), |(says, _)| says);
        (if path == "." { "row".to_owned() } else { path }, said_in_words(says))
    })
}

/// Whether a step of `serde_ignored`'s path is an index, or its mark for an optional value.
fn is_position(step: &str) -> bool {
    step == "?" || step.bytes().all(|b| b.is_ascii_digit())
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, member)| name.contains('\0') || has_nul(member)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What the row is known by, also when the rest of it cannot be read.
fn labels(raw: &RawValue, names: &[&str]) -> Vec<String> {
    let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get()) else { return Vec::new() };
    let texts = names.iter().filter_map(|name| serde_json::from_str::<String>(members.get(*name)?.get()).ok());
    texts.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

/// Reads a text that is one line.
pub(super) fn line<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(|text| one_line(&text).into_owned()))
}

/// Reads texts that are one line each.
pub(super) fn line_each<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let texts = Option::<Vec<String>>::deserialize(from)?;
    Ok(texts.map(|texts| texts.iter().map(|text| one_line(text).into_owned()).collect()))
}

/// Reads a text of any number of lines.
pub(super) fn lines<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(|text| composed(&text).into_owned()))
}

/// Reads a whole number, also from a numeric text; `""` is none.
pub(super) fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i32>, D::Error> {
    read(from, "a whole number is expected")
}

/// Reads a decimal number, also from a numeric text; `""` is none.
pub(super) fn decimal<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Decimal>, D::Error> {
    let read = read::<Typed, D>(from, "a number such as 12.5 is expected");
    read.map(|number| number.map(|Typed(number)| number))
}

/// Reads a day; `""` is none.
pub(super) fn day<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NaiveDate>, D::Error> {
    read(from, "a date such as 2026-06-20 is expected")
}

fn read<'de, T: FromStr, D: Deserializer<'de>>(from: D, expected: &str) -> Result<Option<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sent {
        Number(serde_json::Number),
        Text(String),
    }
    let sent = Option::<Sent>::deserialize(from).map_err(|_| D::Error::custom(expected))?;
    let text = match sent {
        None => return Ok(None),
        Some(Sent::Number(number)) => number.to_string(),
        Some(Sent::Text(text)) => text,
    };
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| D::Error::custom(expected)),
    }
}

/// A number as people type it, also with a comma before its decimals.
struct Typed(Decimal);

impl FromStr for Typed {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        with_point(text).map_err(drop)?.parse().map(Self).map_err(drop)
    }
}

/// A text without blanks at its ends; none when nothing is left.
pub(super) fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}
