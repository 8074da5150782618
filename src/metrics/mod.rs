//! What Prometheus is told, on an address of its own (`METRICS_BIND`): counters that the server adds to as it works, and
//! gauges that are looked up when somebody asks.
//!
//! Labels have few values: a route is its template, and what no route has is one of them. Nothing here takes a lock on
//! the way of a request.

mod page;
mod requests;
mod scrape;
mod store;

use std::sync::atomic::{AtomicU64, Ordering};

pub use requests::{InFlight, Requests};
pub use scrape::serve;

use crate::http::Routes;

/// What is counted in this process since it started.
#[derive(Debug)]
pub struct Metrics {
    /// HTTP requests.
    pub requests: Requests,
    /// Log-ins, by what came of them.
    pub log_ins: Tally<4>,
    /// Requests for a seat, by what came of them.
    pub enrolments: Tally<5>,
    /// One scrape at a time looks into the database.
    scrape: tokio::sync::Mutex<()>,
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(routes: &Routes) -> Self {
        Self {
            requests: Requests::new(routes),
            log_ins: Tally::of(["ok", "refused", "throttled", "failed"]),
            enrolments: Tally::of(["enrolled", "pending", "repeated", "refused", "failed"]),
            scrape: tokio::sync::Mutex::default(),
        }
    }
}

/// A counter for each of some outcomes.
#[derive(Debug)]
pub struct Tally<const N: usize>([(&'static str, AtomicU64); N]);

impl<const N: usize> Tally<N> {
    fn of(outcomes: [&'static str; N]) -> Self {
        Self(outcomes.map(|outcome| (outcome, AtomicU64::new(0))))
    }

    /// One more of this outcome, which is one of those that the tally was made with.
    pub fn count(&self, outcome: &str) {
        let counter = self.0.iter().find(|(name, _)| *name == outcome);
        debug_assert!(counter.is_some(), "{outcome} is not counted");
        if let Some((_, count)) = counter {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(outcome, count)| (*outcome, count.load(Ordering::Relaxed)))
    }
}
