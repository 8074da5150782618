//! Ids and moments as they stand in JSON.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// The largest id: a JavaScript number holds it exactly.
const LARGEST: i64 = (1 << 53) - 1;

/// A resource's id: a positive integer below 2^53; read from a number or a numeric string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Id(pub i64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Id {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > 16 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err("An id is a positive integer.");
        }
        // It is of a student number that a spreadsheet has cut short, or of something else that is counted.
        if text.starts_with('0') && text != "0" {
            return Err("An id has no leading zeros.");
        }
        text.parse()
            .ok()
            .filter(|id| (1..=LARGEST).contains(id))
            .map(Self)
            .ok_or("An id is a positive integer below 2^53.")
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id (a positive integer)")
            }
            fn visit_i64<E: serde::de::Error>(self, id: i64) -> Result<Id, E> {
                if (1..=LARGEST).contains(&id) {
                    Ok(Id(id))
                } else {
                    Err(E::invalid_value(Unexpected::Signed(id), &Any))
                }
            }
            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<Id, E> {
                i64::try_from(id)
                    .map_or_else(|_| Err(E::invalid_value(Unexpected::Unsigned(id), &Any)), |id| self.visit_i64(id))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &Any))
            }
        }
        from.deserialize_any(Any)
    }
}

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(1))
            .into()
    }
}

impl ToSchema for Id {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Id")
    }
}

/// Reads an optional relation: `""` counts as null.
///
/// # Errors
/// When it is neither null, `""` nor an id.
pub fn or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Id>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sent {
        Id(Id),
        Text(String),
    }
    match Option::<Sent>::deserialize(from)
        .map_err(|_| D::Error::custom("an id (a positive integer) or null is expected"))?
    {
        None => Ok(None),
        Some(Sent::Id(id)) => Ok(Some(id)),
        Some(Sent::Text(text)) if text.is_empty() => Ok(None),
        Some(Sent::Text(text)) => Err(D::Error::custom(format!("`{text}` is not an id"))),
    }
}

tokio::task_local! {
    /// The zone of times that come without an offset: `TIME_ZONE`, set around every request and import.
    pub static LOCAL_ZONE: Tz;
}

/// A moment: written in RFC 3339, UTC, with microseconds and `Z`; read with any offset, without one as local time. A day stands
/// for its beginning, where an end is meant for its end: [`Moment::end`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct Moment(pub DateTime<Utc>);

/// The zone of times that come without an offset.
fn local_zone() -> Tz {
    LOCAL_ZONE.try_with(|zone| *zone).unwrap_or(Tz::UTC)
}

/// The first instant of a day: at midnight, or where the clock skips that, at the first time after it that there is.
fn beginning(day: NaiveDate) -> Option<DateTime<Utc>> {
    const QUARTER: TimeDelta = TimeDelta::minutes(15);
    let zone = local_zone();
    let midnight = day.and_time(NaiveTime::MIN);
    let mut times = (0..24 * 4).filter_map(|quarter| midnight.checked_add_signed(QUARTER * quarter));
    times.find_map(|time| zone.from_local_datetime(&time).earliest()).map(|first| first.to_utc())
}

/// A day as people write one to a program.
fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok()
}

impl Moment {
    /// Reads a moment that is an end: a day alone means the last microsecond of it.
    ///
    /// # Errors
    /// As [`Moment::from_str`].
    pub fn end(text: &str) -> Result<Self, &'static str> {
        let end = day(text)
            .and_then(|day| day.succ_opt())
            .and_then(beginning)
            .and_then(|next| next.checked_sub_signed(TimeDelta::microseconds(1)));
        end.map_or_else(|| text.parse(), |end| Self(end).plausible())
    }

    /// As programs read it.
    #[must_use]
    pub fn rfc3339(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// As people read it: `24 Dec 2026, 08:00 (Asia/Ho_Chi_Minh)`.
    #[must_use]
    pub fn for_people(self) -> String {
        let local = self.local();
        format!("{} ({})", local.format("%-d %b %Y, %H:%M"), local.timezone())
    }

    /// The same in the local zone.
    #[must_use]
    pub fn local(self) -> DateTime<Tz> {
        self.0.with_timezone(&local_zone())
    }

    /// Its day in the local zone.
    #[must_use]
    pub fn day(self) -> NaiveDate {
        self.local().date_naive()
    }

    fn plausible(self) -> Result<Self, &'static str> {
        if (1..=9999).contains(&chrono::Datelike::year(&self.0)) { Ok(self) } else { Err(A_MOMENT) }
    }
}

const A_MOMENT: &str = "a date and time such as 2026-11-22T09:45:00Z is expected";

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.rfc3339())
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // ISO 8601 has more spellings of an offset than RFC 3339: +0700, +07.
        const WITH_OFFSET: [&str; 4] =
            ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z"];
        const LOCAL: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
        let text = text.trim();
        let exact = DateTime::parse_from_rfc3339(text)
            .ok()
            .or_else(|| WITH_OFFSET.iter().find_map(|form| DateTime::parse_from_str(text, form).ok()));
        let moment = if let Some(exact) = exact {
            exact.to_utc()
        } else if let Some(day) = day(text) {
            beginning(day).ok_or(A_MOMENT)?
        } else {
            let local = LOCAL.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
            let Some(local) = local else { return Err(if lost_its_plus(text) { A_PLUS } else { A_MOMENT }) };
            // A time that the clock skips in spring has no instant; the one it repeats in autumn means the first.
            local_zone()
                .from_local_datetime(&local)
                .earliest()
                .ok_or("this local time does not exist: the clock skips it")?
                .to_utc()
        };
        Self(moment).plausible()
    }
}

const A_PLUS: &str = "a + in an address is a blank; write the one before the offset as %2B";

/// Whether this is a moment whose offset had a `+` before it came by way of an address.
fn lost_its_plus(text: &str) -> bool {
    text.contains('T') && text.rsplit_once(' ').is_some_and(|(_, offset)| offset.contains(':') && offset.len() == 5)
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Reads optional text; `""` counts as null, as forms send it.
fn blank_is_null<'de, D: Deserializer<'de>, T>(
    from: D,
    read: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(from)?;
    let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
    text.map(read).transpose().map_err(D::Error::custom)
}

/// Reads an optional moment; `""` counts as null.
///
/// # Errors
/// When it is neither null, `""` nor a moment.
pub fn moment_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Moment>, D::Error> {
    blank_is_null(from, str::parse)
}

/// Reads an optional moment that is an end: a day alone means its end; `""` counts as null.
///
/// # Errors
/// When it is neither null, `""` nor a moment.
pub fn end_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Moment>, D::Error> {
    blank_is_null(from, Moment::end)
}

/// Reads an optional day; `""` counts as null.
///
/// # Errors
/// When it is neither null, `""` nor a day.
pub fn day_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NaiveDate>, D::Error> {
    blank_is_null(from, |text| day(text).ok_or("a day such as 2026-06-20 is expected"))
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Moment {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Moment")
    }
}
