//! What a person writes of themselves.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;

use crate::http::Faults;
use crate::ids::day_or_null;

/// The fields that everyone writes of themselves, and administrators of anyone.
#[derive(Debug, Clone, Default, FromRow, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct Profile {
    /// At most 150 characters.
    pub(super) first_name: String,
    /// At most 150 characters.
    pub(super) last_name: String,
    /// At most 20,000 characters.
    pub(super) bio: String,
    /// Empty, or `+`, `1` and 9 to 15 digits.
    pub(super) phone_number: String,
    pub(super) address_line1: String,
    pub(super) address_line2: String,
    pub(super) city: String,
    pub(super) state: String,
    pub(super) postal_code: String,
    pub(super) country: String,
    /// In the past.
    #[serde(deserialize_with = "day_or_null")]
    pub(super) date_of_birth: Option<NaiveDate>,
    pub(super) emergency_contact_name: String,
    pub(super) emergency_contact_phone: String,
    /// Whether the name may stand on the leaderboard.
    pub(super) leaderboard_opt_in: bool,
}

impl Profile {
    /// Adds every rule that is broken.
    pub(super) fn check(&self, faults: &mut Faults, today: NaiveDate) {
        faults.text("first_name", &self.first_name, 150);
        faults.text("last_name", &self.last_name, 150);
        faults.text("bio", &self.bio, 20_000);
        faults.unless(
            is_dialable(&self.phone_number),
            "phone_number",
            "Enter 9 to 15 digits, with `+` in front if you like.",
        );
        for (field, text, most) in [
            ("address_line1", &self.address_line1, 255),
            ("address_line2", &self.address_line2, 255),
            ("city", &self.city, 255),
            ("state", &self.state, 255),
            ("postal_code", &self.postal_code, 32),
            ("country", &self.country, 255),
            ("emergency_contact_name", &self.emergency_contact_name, 255),
            ("emergency_contact_phone", &self.emergency_contact_phone, 32),
        ] {
            faults.text(field, text, most);
        }
        if let Some(day) = self.date_of_birth {
            let plausible = day < today && chrono::Datelike::year(&day) >= 1900;
            faults.unless(plausible, "date_of_birth", "A day between 1900 and today is expected.");
        }
    }
}

/// `^\+?1?\d{9,15}$`, or nothing.
fn is_dialable(number: &str) -> bool {
    let digits = number.strip_prefix('+').unwrap_or(number);
    let most = if digits.starts_with('1') { 16 } else { 15 };
    number.is_empty() || ((9..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
}
