//! Decimals with a fixed number of places.

use rust_decimal::Decimal;
use serde::Serializer;

/// Writes a decimal as its column keeps it, with one place. The database sends a zero without any.
///
/// # Errors
/// The serializer's.
pub(crate) fn one_place<S: Serializer>(value: &Decimal, to: S) -> Result<S::Ok, S::Error> {
    let mut value = *value;
    // What has more places is about to be refused, and is not rounded before.
    value.rescale(value.scale().max(1));
    to.collect_str(&value)
}
