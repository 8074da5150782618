//! What a JSON body may be, decided while it is read: how many values it has, how long its names are, that no name stands
//! twice in an object, that its numbers are kept as they are, and that there is no NUL. Texts are read as they are kept ([`Text`]).
//!
//! A megabyte of text can stand for a hundred megabytes of values, and each of them can be at fault. So values are weighed
//! as they come, reading stops at the first that is too much, and a path is spelt out only for faults that will be told.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::numbers::altered;
use super::problem::Faults;
use super::text::Text;

/// What the values of a body may weigh together, in bytes of memory: 20,000 small objects, or half a million numbers.
const HEAVIEST: usize = 16 * 1024 * 1024;

/// A value by itself.
const VALUE: usize = size_of::<Value>();

/// An object that is not empty: the map keeps its members in nodes for eleven, whatever of that they take themselves.
const OBJECT: usize = 512;

/// A list that is not empty: it begins with room for four.
const LIST: usize = 4 * VALUE;

/// A text beside its letters.
const TEXT: usize = 32;

/// The longest name of a member, in characters. No field of ours comes near it.
const LONGEST_NAME: usize = 255;

/// Where in a body a value stands; spelt like `rows[3].title`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Body,
    Item(&'a Self, usize),
    Member(&'a Self, &'a str),
}

/// What is found while a body is read.
#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) faults: Faults,
    /// Reading stopped because there is more than may be read.
    pub(super) is_too_much: bool,
    weight: usize,
    /// How many numbers were read.
    numbers: usize,
    /// Which of them have more digits than are kept.
    altered: VecDeque<usize>,
}

/// Reads the value at a place.
pub(super) struct Judged<'a> {
    judge: &'a mut Judge,
    place: &'a Place<'a>,
}

impl Judge {
    /// To read this text.
    pub(super) fn of(text: &[u8]) -> Self {
        Self { altered: altered(text).into(), ..Self::default() }
    }

    /// A number is read there.
    fn count(&mut self, place: &Place<'_>) {
        if self.altered.front() == Some(&self.numbers) {
            self.altered.pop_front();
            self.refuse(place, "This number has more digits than can be kept; send it as text.");
        }
        self.numbers += 1;
    }

    pub(super) fn value<'a>(&'a mut self, place: &'a Place<'a>) -> Judged<'a> {
        Judged { judge: self, place }
    }

    fn weigh<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.weight = self.weight.saturating_add(bytes);
        if self.weight <= HEAVIEST {
            return Ok(());
        }
        self.is_too_much = true;
        Err(E::custom("there is too much in it"))
    }

    fn refuse(&mut self, place: &Place<'_>, says: &str) {
        self.faults.add_at(|| place.spelt(), says);
    }
}

/// As much of a path as is told, and a little more, so that it shows that there is more.
const LONGEST_PATH: usize = 1500;

struct Beginning(String);

impl fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        if self.0.len() > LONGEST_PATH { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Place<'_> {
    /// The name of the member that it is, or is in a list of.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Body => None,
            Self::Item(within, _) => within.name(),
            Self::Member(_, name) => Some(name),
        }
    }

    pub(super) fn spelt(&self) -> String {
        let mut beginning = Beginning(String::new());
        // It fails where enough is spelt.
        let _enough = write!(beginning, "{self}");
        beginning.0
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("body"),
            Self::Item(Self::Body, index) => write!(f, "[{index}]"),
            Self::Item(within, index) => write!(f, "{within}[{index}]"),
            Self::Member(within, name) => {
                if !matches!(within, Self::Body) {
                    write!(f, "{within}.")?;
                }
                name.chars().filter(|c| *c != '\0').try_for_each(|c| f.write_char(c))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Judged<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.judge.weigh(VALUE)?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Judged<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        self.judge.count(self.place);
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        self.judge.count(self.place);
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        self.judge.count(self.place);
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.judge.weigh(TEXT + value.len())?;
        if value.contains('\0') {
            self.judge.refuse(self.place, "Null characters are not allowed.");
        }
        let text = self.place.name().map_or(Text::Lines, Text::of);
        Ok(Value::String(text.kept(value).into_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self.judge.value(&Place::Item(self.place, items.len())))? {
            if items.is_empty() {
                self.judge.weigh(LIST)?;
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let Self { judge, place } = self;
        let mut members = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            judge.weigh(TEXT + name.len() + if members.is_empty() { OBJECT } else { 0 })?;
            if name.len() > LONGEST_NAME && name.chars().count() > LONGEST_NAME {
                judge.refuse(place, &format!("A name in it has more than {LONGEST_NAME} characters."));
                from.next_value::<IgnoredAny>()?;
                continue;
            }
            if name.contains('\0') {
                judge.refuse(place, "Null characters are not allowed.");
            }
            let value = from.next_value_seed(judge.value(&Place::Member(place, &name)))?;
            match members.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(value);
                }
                Entry::Occupied(twice) => judge.refuse(&Place::Member(place, twice.key()), "This name stands twice."),
            }
        }
        Ok(Value::Object(members))
    }
}
