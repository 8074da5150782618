//! Decimals with a fixed number of places, as their columns keep them: the database sends a zero without any.

use std::borrow::Cow;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Serialize, Serializer};

/// The decimal with at least these places. What has more is about to be refused, and is not rounded before.
pub(crate) fn with_places(mut value: Decimal, places: u32) -> Decimal {
    value.rescale(value.scale().max(places));
    value
}

/// What is said of a comma that may stand between thousands or before decimals.
pub(crate) const THOUSANDS_OR_DECIMALS: &str =
    "A comma before three digits may mean thousands or decimals: write 1234, or 1.234 with a point.";

/// A number as people type it with a comma before its decimals, with a point instead. The same text when it has no such comma.
///
/// # Errors
/// [`THOUSANDS_OR_DECIMALS`] when the comma may as well stand between thousands.
pub(crate) fn with_point(text: &str) -> Result<Cow<'_, str>, &'static str> {
    let Some((whole, decimals)) = text.split_once(',') else { return Ok(text.into()) };
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if !are_digits(digits) || !are_digits(decimals) {
        return Ok(text.into());
    }
    if decimals.len() == 3 && digits.len() <= 3 && !digits.starts_with('0') {
        return Err(THOUSANDS_OR_DECIMALS);
    }
    Ok(format!("{whole}.{decimals}").into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_stands_before_decimals_unless_it_may_stand_between_thousands() {
        for (typed, read) in
            [("49,5", "49.5"), ("-0,25", "-0.25"), ("0,125", "0.125"), ("12,5000", "12.5000"), ("1234,567", "1234.567")]
        {
            assert_eq!(with_point(typed).as_deref(), Ok(read));
        }
        for typed in ["1,234", "-12,500", "100,000"] {
            assert_eq!(with_point(typed), Err(THOUSANDS_OR_DECIMALS), "{typed}");
        }
        for typed in ["12.5", "", "1,234,567", "1.234,5", "1,234.5", ",5", "5,", "1 2,5", "x,5"] {
            assert_eq!(with_point(typed).as_deref(), Ok(typed));
        }
    }
}
