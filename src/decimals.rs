//! Decimals with a fixed number of places, as their columns keep them: the database sends a zero without any.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Serialize, Serializer};

/// The decimal with at least these places. What has more is about to be refused, and is not rounded before.
pub(crate) fn with_places(mut value: Decimal, places: u32) -> Decimal {
    value.rescale(value.scale().max(places));
    value
}

/// Writes a decimal with one place.
///
/// # Errors
/// The serializer's.
pub(crate) fn one_place<S: Serializer>(value: &Decimal, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&with_places(*value, 1))
}

/// Writes a decimal with two places.
///
/// # Errors
/// The serializer's.
pub(crate) fn two_decimals<S: Serializer>(value: &Decimal, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&with_places(*value, 2))
}

/// Writes a decimal with two places, or null.
///
/// # Errors
/// The serializer's.
#[expect(clippy::ref_option, reason = "serde hands a field over like this")]
pub(crate) fn two_places<S: Serializer>(value: &Option<Decimal>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(&with_places(*value, 2)),
        None => to.serialize_none(),
    }
}

/// Writes a decimal as a JSON number, as summaries have them.
///
/// # Errors
/// The serializer's.
pub(crate) fn as_number<S: Serializer>(value: &Decimal, to: S) -> Result<S::Ok, S::Error> {
    value.to_f64().serialize(to)
}

/// Writes a decimal as a JSON number, or null.
///
/// # Errors
/// The serializer's.
#[expect(clippy::ref_option, reason = "serde hands a field over like this")]
pub(crate) fn as_number_or_null<S: Serializer>(value: &Option<Decimal>, to: S) -> Result<S::Ok, S::Error> {
    value.and_then(|value| value.to_f64()).serialize(to)
}
