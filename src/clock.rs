//! The time of the process, for tokens and whatever else does not live in a transaction.
//!
//! Rules that are decided in the database use the database's clock, so that every server process agrees; what is
//! signed or checked in the process alone uses a [`Clock`], so that a test can stand at any moment it likes.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

/// What the time is; copies made with `clone` show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Fixed(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `now` until it is [set](Self::set).
    #[must_use]
    pub fn fixed(now: DateTime<Utc>) -> Self {
        Self(Source::Fixed(Arc::new(Mutex::new(now))))
    }

    /// The time now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now(),
            Source::Fixed(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a fixed clock, and all its copies, to `now`. The machine's clock is not ours to set: it stays as it is.
    pub fn set(&self, now: DateTime<Utc>) {
        if let Source::Fixed(held) = &self.0 {
            *held.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use chrono::DateTime;

    #[test]
    fn copies_of_a_fixed_clock_move_together() {
        let clock = Clock::fixed(DateTime::UNIX_EPOCH);
        let copy = clock.clone();
        let later = DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(1);
        assert_eq!(copy.now(), DateTime::UNIX_EPOCH);
        clock.set(later);
        assert_eq!(copy.now(), later);
    }
}
