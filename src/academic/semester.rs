//! The parts of an academic year.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A part of the academic year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub enum Semester {
    /// First semester.
    S1,
    /// Second semester.
    S2,
    /// Third semester.
    S3,
    /// Summer semester.
    Ss,
    /// Winter semester.
    Ws,
}

impl Semester {
    /// All of them, as they are spelt.
    pub const NAMES: &'static [&'static str] = &["S1", "S2", "S3", "SS", "WS"];

    /// As it is spelt.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::S1 => "S1",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::Ss => "SS",
            Self::Ws => "WS",
        }
    }
}
