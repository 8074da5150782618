//! Reads the values of a body as types of ours: forms' spellings of numbers and flags are taken, what does not fit is named by its
//! path and told in the words of whoever typed it, and members that nothing reads are noted.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Expected, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::{Number, Value};

use super::judge::Place;
use super::list::boolean;
use super::problem::Problem;
use crate::decimals::with_point;

/// Where it does not fit.
#[derive(Debug)]
enum Where {
    /// Not known yet.
    Here,
    /// In this member of what is being read.
    Member(String),
    /// There.
    At(String),
    /// The body as a whole.
    Body,
}

/// What does not fit.
#[derive(Debug)]
pub(super) struct Misfit {
    place: Where,
    says: String,
}

impl Misfit {
    fn says(says: impl Into<String>) -> Self {
        Self { place: Where::Here, says: says.into() }
    }

    fn of_member(name: &str, says: &str) -> Self {
        Self { place: Where::Member(name.to_owned()), says: says.to_owned() }
    }

    /// The same of a value that stands there, unless a place within it is named already.
    fn at(self, place: &Place<'_>) -> Self {
        let place = match self.place {
            Where::Here if matches!(place, Place::Body) => Where::Body,
            Where::Here => Where::At(place.spelt()),
            Where::Member(name) => Where::At(Place::Member(place, &name).spelt()),
            known @ (Where::At(_) | Where::Body) => known,
        };
        Self { place, says: self.says }
    }
}

impl From<Misfit> for Problem {
    fn from(misfit: Misfit) -> Self {
        match misfit.place {
            Where::At(path) | Where::Member(path) => Self::invalid(path, misfit.says),
            Where::Here | Where::Body => Self::malformed(format!("The body does not fit: {}", misfit.says)),
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl std::error::Error for Misfit {}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(says: T) -> Self {
        Self::says(sentence(&says.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::says(in_words(&wanted.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::says(in_words(&wanted.to_string()))
    }

    fn invalid_length(_: usize, wanted: &dyn Expected) -> Self {
        Self::says(in_words(&wanted.to_string()))
    }

    fn unknown_variant(_: &str, words: &'static [&'static str]) -> Self {
        Self::says(one_of(words))
    }

    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        Self::of_member(name, "There is no such field.")
    }

    fn missing_field(name: &'static str) -> Self {
        Self::of_member(name, "This field is required.")
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self::of_member(name, "This name stands twice.")
    }
}

/// Which words are possible.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => "No value is possible here.".to_owned(),
        [word] => format!("{word} is expected."),
        [most @ .., last] => format!("{} or {last} is expected.", most.join(", ")),
    }
}

/// With a capital, and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let mut sentence: String = letters.next().map(|c| c.to_uppercase().chain(letters).collect()).unwrap_or_default();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// What is wanted, from what readers of types call it among themselves.
fn in_words(wanted: &str) -> String {
    let says = match wanted {
        "i8" | "i16" | "i32" | "i64" | "isize" | "u8" | "u16" | "u32" | "u64" | "usize" => {
            "A whole number is expected."
        }
        "f32" | "f64" => "A number is expected.",
        "a boolean" => "`true` or `false` is expected.",
        "a string" | "a borrowed string" | "a character" => "Text is expected.",
        "a sequence" => "A list is expected.",
        "a map" => "An object is expected.",
        "a formatted date string" => "A day such as 2026-06-20 is expected.",
        "a formatted time string" => "A time such as 14:30 is expected.",
        _ if wanted.contains("Decimal") => "A number such as 12.5 is expected.",
        _ if wanted.starts_with("struct ") => "An object is expected.",
        _ if wanted.starts_with("tuple ") || wanted.starts_with("an array") => "A list is expected.",
        _ if wanted.starts_with("enum ") || wanted.contains("variant") => "One of the words for it is expected.",
        _ => return sentence(&format!("{wanted} is expected")),
    };
    says.to_owned()
}

/// What a reader of types says of a value that does not fit, in the words of whoever wrote it.
pub(crate) fn said_in_words(says: &str) -> String {
    says.rsplit_once(", expected ").map_or_else(|| sentence(says), |(_, wanted)| in_words(wanted))
}

/// A reader's own name for what it wants.
struct Wanted<'a, V>(&'a V);

impl<'de, V: Visitor<'de>> fmt::Display for Wanted<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

/// The paths of members that nothing reads.
type Unread = RefCell<Vec<String>>;

/// Reads a value as `T`. The paths of members that `T` does not have are added to `unread`.
pub(super) fn read<T: DeserializeOwned>(value: Value, unread: &mut Vec<String>) -> Result<T, Problem> {
    let found = RefCell::new(std::mem::take(unread));
    let done = T::deserialize(Reader { value, place: Place::Body, unread: &found });
    *unread = found.into_inner();
    Ok(done?)
}

/// As many paths are noted.
const MOST_UNREAD: usize = 200;

/// A value, to be read as something.
struct Reader<'a> {
    value: Value,
    place: Place<'a>,
    unread: &'a Unread,
}

impl Reader<'_> {
    fn wrong<'de, V: Visitor<'de>>(&self, visitor: &V) -> Misfit {
        Misfit::says(in_words(&Wanted(visitor).to_string())).at(&self.place)
    }
}

/// What a form's text stands for, if it is a number.
fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok()
}

/// The text as it is, unless a decimal is wanted and the text is one with a comma.
fn number_of_people<'de, V: Visitor<'de>>(text: String, visitor: &V) -> Result<String, &'static str> {
    let is_number = text.contains(',') && Wanted(visitor).to_string().contains("Decimal");
    if is_number { with_point(text.trim()).map(Cow::into_owned) } else { Ok(text) }
}

macro_rules! whole_numbers {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            let number = match &self.value {
                Value::String(text) => number(text),
                Value::Number(number) => Some(number.clone()),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            };
            let Some(number) = number else { return Err(self.wrong(&visitor)) };
            let wrong = self.wrong(&visitor);
            let read = match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => visitor.visit_i64::<Misfit>(number),
                (None, Some(number)) => visitor.visit_u64::<Misfit>(number),
                (None, None) => return Err(wrong),
            };
            // What fails is the size of the number.
            read.map_err(|_| wrong)
        }
    )*};
}

macro_rules! as_it_is {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            self.deserialize_any(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let Self { value, place, unread } = self;
        let read = match value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_i64(number),
                (_, Some(number), _) => visitor.visit_u64(number),
                (.., Some(number)) => visitor.visit_f64(number),
                (None, None, None) => visitor.visit_unit(),
            },
            Value::String(text) => match number_of_people(text, &visitor) {
                Ok(text) => visitor.visit_string(text),
                Err(says) => Err(Misfit::says(says)),
            },
            Value::Array(items) => visitor.visit_seq(Items { items: items.into_iter(), nth: 0, place: &place, unread }),
            Value::Object(members) => {
                visitor.visit_map(Members { members: members.into_iter(), next: None, place: &place, unread })
            }
        };
        read.map_err(|misfit| misfit.at(&place))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let flag = match &self.value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => boolean(text),
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match flag {
            Some(flag) => visitor.visit_bool(flag),
            None => Err(self.wrong(&visitor)),
        }
    }

    whole_numbers!(
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    );

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let wrong = self.wrong(&visitor);
        match self.value {
            // What a library says of a text that it cannot read is not for people; our own types have `deserialize_string`.
            Value::String(text) => visitor.visit_string::<Misfit>(text).map_err(|_| wrong),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(wrong),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let read = match self.value {
            Value::String(word) => visitor.visit_enum(StringDeserializer::new(word)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err(Misfit::says(one_of(words)))
            }
        };
        read.map_err(|misfit| misfit.at(&self.place))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        let mut unread = self.unread.borrow_mut();
        if unread.len() < MOST_UNREAD {
            unread.push(self.place.spelt());
        }
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        // A list would be taken for the members in their order.
        if self.value.is_object() { self.deserialize_any(visitor) } else { Err(self.wrong(&visitor)) }
    }

    as_it_is!(
        deserialize_f32 deserialize_f64 deserialize_char deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_unit deserialize_seq deserialize_map deserialize_identifier
    );
}

/// The items of a list.
struct Items<'a> {
    items: std::vec::IntoIter<Value>,
    nth: usize,
    place: &'a Place<'a>,
    unread: &'a Unread,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misfit> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let place = Place::Item(self.place, self.nth);
        self.nth += 1;
        seed.deserialize(Reader { value, place, unread: self.unread }).map(Some).map_err(|misfit| misfit.at(&place))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The members of an object.
struct Members<'a> {
    members: serde_json::map::IntoIter,
    next: Option<(String, Value)>,
    place: &'a Place<'a>,
    unread: &'a Unread,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        self.next = self.members.next();
        let Some((name, _)) = &self.next else { return Ok(None) };
        seed.deserialize(StringDeserializer::new(name.clone())).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Misfit> {
        let (name, value) = self.next.take().unwrap_or_default();
        let place = Place::Member(self.place, &name);
        seed.deserialize(Reader { value, place, unread: self.unread }).map_err(|misfit| misfit.at(&place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_without_the_names_of_types() {
        for (says, told) in [
            ("invalid type: integer `5`, expected a string", "Text is expected."),
            ("invalid type: string \"x, expected y\", expected i64", "A whole number is expected."),
            ("invalid type: map, expected a sequence", "A list is expected."),
            ("invalid type: sequence, expected struct EnrollmentRow", "An object is expected."),
            ("a date such as 2026-06-20 is expected", "A date such as 2026-06-20 is expected."),
        ] {
            assert_eq!(said_in_words(says), told);
        }
    }
}
