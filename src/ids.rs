//! Ids and moments as they stand in JSON.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone, Utc};
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

/// A moment: written in RFC 3339, UTC, with microseconds and `Z`; read with any offset, without one as local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct Moment(pub DateTime<Utc>);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SAYS: &str = "a date and time such as 2026-11-22T09:45:00Z is expected";
        let moment = if let Ok(exact) = DateTime::parse_from_rfc3339(text) {
            exact.to_utc()
        } else {
            let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
                .iter()
                .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
                .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0)))
                .ok_or(SAYS)?;
            let zone = LOCAL_ZONE.try_with(|zone| *zone).unwrap_or(Tz::UTC);
            // A time that the clock skips in spring has no instant; the one it repeats in autumn means the first.
            zone.from_local_datetime(&local)
                .earliest()
                .ok_or("this local time does not exist: the clock skips it")?
                .to_utc()
        };
        let year = chrono::Datelike::year(&moment);
        if (1..=9999).contains(&year) { Ok(Self(moment)) } else { Err(SAYS) }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
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
