//! The states of an enrolment, and the steps between them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an enrolment stands. All but WITHDRAWN hold a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub enum Status {
    /// Waits for a decision.
    Pending,
    /// Sits in the offering.
    Enrolled,
    /// Gave the seat back, or was refused one.
    Withdrawn,
    /// Passed.
    Completed,
    /// Did not pass.
    Failed,
}

impl Status {
    /// All of them, as they are spelt.
    pub const NAMES: &'static [&'static str] = &["PENDING", "ENROLLED", "WITHDRAWN", "COMPLETED", "FAILED"];

    /// As it is spelt.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Enrolled => "ENROLLED",
            Self::Withdrawn => "WITHDRAWN",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Pending, Self::Enrolled, Self::Withdrawn, Self::Completed, Self::Failed]
            .into_iter()
            .find(|status| status.name() == name)
    }

    /// Whether there is a result.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// Whether a failure, or a result that is taken back, stands in the way of other units again.
    #[must_use]
    pub fn counts_again(self, next: Self) -> bool {
        (self.is_finished() && next == Self::Enrolled) || (self == Self::Failed && next == Self::Completed)
    }

    /// Whether a change of status leads from here to there. Out of WITHDRAWN leads only enrolling again, which is no
    /// change of status but a new request.
    #[must_use]
    pub fn leads_to(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Enrolled | Self::Withdrawn),
            Self::Enrolled => matches!(next, Self::Completed | Self::Failed | Self::Withdrawn),
            Self::Completed => next == Self::Failed,
            Self::Failed => next == Self::Completed,
            Self::Withdrawn => false,
        }
    }
}
