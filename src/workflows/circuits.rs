//! Hosts that do not answer are left alone for a while, so that their messages do not take the turns of others.
//!
//! Each process keeps its own count, in memory: what it protects is this process's calls.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many failures in a row open a host's circuit.
const FAILURES: u32 = 10;
/// How long it stays open at first; each time it opens again doubles it.
const FIRST: Duration = Duration::from_secs(10);
/// The longest it stays open.
const LONGEST: Duration = Duration::from_mins(10);

/// What is known of the hosts.
#[derive(Debug)]
pub(super) struct Circuits {
    hosts: Mutex<HashMap<String, Circuit>>,
    speed: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Circuit {
    failures: u32,
    openings: u32,
    open_until: Option<Instant>,
}

/// Whether a host may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// As often as there is something to say.
    Closed,
    /// Once, to see whether it answers again.
    HalfOpen,
    /// Not now.
    Open,
}

impl Circuits {
    /// None is open; times run `speed` times faster than life.
    pub(super) fn new(speed: u32) -> Self {
        Self { hosts: Mutex::default(), speed }
    }

    /// Whether the host may be called now.
    pub(super) fn state(&self, host: &str, now: Instant) -> State {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        match hosts.get(host).and_then(|circuit| circuit.open_until) {
            None => State::Closed,
            Some(until) if until <= now => State::HalfOpen,
            Some(_) => State::Open,
        }
    }

    /// The host answered.
    pub(super) fn answered(&self, host: &str) {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).remove(host);
    }

    /// The host failed.
    pub(super) fn failed(&self, host: &str, now: Instant) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let circuit = hosts.entry(host.to_owned()).or_default();
        circuit.failures = circuit.failures.saturating_add(1);
        // Calls that were under way when it opened say nothing new.
        if circuit.failures >= FAILURES && circuit.open_until.is_none_or(|until| until <= now) {
            let doubled = FIRST.saturating_mul(1 << circuit.openings.min(10)).min(LONGEST);
            circuit.openings = circuit.openings.saturating_add(1);
            circuit.open_until = Some(now + doubled / self.speed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ten_failures_in_a_row_open_a_circuit_for_ten_seconds_then_one_call_is_let_through() {
        let (circuits, now) = (Circuits::new(1), Instant::now());
        for _ in 0..9 {
            circuits.failed("h", now);
        }
        assert_eq!(circuits.state("h", now), State::Closed);
        circuits.failed("h", now);
        assert_eq!(circuits.state("h", now + 9 * SECOND), State::Open);
        assert_eq!(circuits.state("other", now), State::Closed);
        let later = now + 10 * SECOND;
        assert_eq!(circuits.state("h", later), State::HalfOpen);
        circuits.failed("h", later);
        assert_eq!(circuits.state("h", later + 19 * SECOND), State::Open);
        assert_eq!(circuits.state("h", later + 20 * SECOND), State::HalfOpen);
        circuits.answered("h");
        assert_eq!(circuits.state("h", later), State::Closed);
    }

    #[test]
    fn failures_of_calls_that_were_under_way_do_not_prolong_it() {
        let (circuits, now) = (Circuits::new(1), Instant::now());
        for _ in 0..18 {
            circuits.failed("h", now);
        }
        let later = now + 10 * SECOND;
        assert_eq!(circuits.state("h", later), State::HalfOpen);
        circuits.failed("h", later);
        assert_eq!(circuits.state("h", later + 20 * SECOND), State::HalfOpen);
    }

    #[test]
    fn an_answer_in_between_begins_the_count_again() {
        let (circuits, now) = (Circuits::new(1), Instant::now());
        for _ in 0..9 {
            circuits.failed("h", now);
        }
        circuits.answered("h");
        circuits.failed("h", now);
        assert_eq!(circuits.state("h", now), State::Closed);
    }
}
