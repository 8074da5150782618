//! Liveness, and readiness: whether a request would be served, or what keeps it from being. [`watch`] finds out.

mod fault;
mod files;
mod store;
mod watch;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

pub use fault::Fault;
pub(crate) use files::fault as fault_of_files;
pub use files::look_after as look_after_files;
pub(crate) use watch::writable;
pub use watch::{Watch, look_after};

use crate::access::Public;
use crate::app::AppState;
use crate::http::{Answer, Done, Problem, Routes};

/// How long the database is taken to be full after it has said so: whoever tries to write says it again.
const FULL_FOR: Duration = Duration::from_secs(15);

/// What is known of the database and of the folder for files; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Database(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    // What requests ask, beside what it follows from.
    away: AtomicBool,
    behind: AtomicBool,
    read_only: AtomicBool,
    faults: Mutex<BTreeMap<Part, Vec<Fault>>>,
    full: Mutex<Option<Instant>>,
    suspect: AtomicBool,
}

/// What is looked at by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Whether the database answers.
    Answer,
    /// Whether it can be written.
    Mode,
    /// Its schema, and the rights of the role.
    Schema,
    /// The folder for files.
    Files,
}

impl Database {
    fn is_away(&self) -> bool {
        self.0.away.load(Ordering::Relaxed)
    }

    fn is_behind(&self) -> bool {
        self.0.behind.load(Ordering::Relaxed)
    }

    /// Whether it is known that nothing can be written: a job that would only fail waits.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.read_only.load(Ordering::Relaxed)
    }

    /// Whether the database's disk was full a moment ago.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let full = *self.0.full.lock().unwrap_or_else(PoisonError::into_inner);
        full.is_some_and(|at| at.elapsed() < FULL_FOR)
    }

    /// All that keeps requests from being served.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let faults = self.0.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let full = self.is_full().then_some(Fault::Full);
        faults.values().flatten().cloned().chain(full).collect()
    }

    /// Takes in what was found of a part, and says in the log what has changed.
    fn found(&self, part: Part, now: &[Fault]) {
        match part {
            Part::Answer => self.0.away.store(!now.is_empty(), Ordering::Relaxed),
            Part::Mode => self.0.read_only.store(!now.is_empty(), Ordering::Relaxed),
            Part::Schema => {
                let behind = now.iter().any(|fault| matches!(fault, Fault::Behind(_)));
                self.0.behind.store(behind, Ordering::Relaxed);
            }
            Part::Files => {}
        }
        let before = {
            let mut faults = self.0.faults.lock().unwrap_or_else(PoisonError::into_inner);
            faults.insert(part, now.to_vec()).unwrap_or_default()
        };
        for fault in now.iter().filter(|fault| !before.contains(fault)) {
            tracing::error!("not ready: {fault}");
        }
        for fault in before.iter().filter(|fault| !now.contains(fault)) {
            tracing::info!("no longer: {fault}");
        }
    }

    /// Learns from a request that failed: what is missing is looked for, and a full disk is remembered.
    fn learn_from(&self, problem: &Problem) {
        match problem.sqlstate().as_deref() {
            // A right, a table, a column or a function that is not there.
            Some("42501" | "42P01" | "42703" | "42883") => self.0.suspect.store(true, Ordering::Relaxed),
            Some("53100") => {
                if !self.is_full() {
                    tracing::error!("not ready: {}", Fault::Full);
                }
                *self.0.full.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            _ => {}
        }
    }

    /// Whether something has failed since as it does when a right or a table is missing.
    fn take_suspicion(&self) -> bool {
        self.0.suspect.swap(false, Ordering::Relaxed)
    }
}

/// The server's health.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
}

/// The endpoints of this module.
pub fn routes() -> Routes {
    Routes::under("/health").get("/live", live, "Whether the process runs.").get(
        "/ready",
        ready,
        "Whether every request would be served: else 503, with what keeps it from being.",
    )
}

async fn live(_: Public) -> Answer<Done<Health>> {
    Done::with(&Health { status: "ok" })
}

async fn ready(_: Public, State(app): State<AppState>) -> Answer<Done<Health>> {
    if app.database.is_away() {
        return Err(away());
    }
    let faults = app.database.faults();
    if faults.is_empty() {
        return Done::with(&Health { status: "ok" });
    }
    let says: Vec<&str> = faults.iter().map(Fault::says).collect();
    let reasons: Vec<_> = faults.iter().map(|fault| json!({ "code": fault.code(), "detail": fault.says() })).collect();
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", says.join(" ")).with("reasons", reasons);
    Err(problem.retry_after(5))
}

/// The layer that answers at once while the database is away or waits for its migrations, and learns from what fails.
pub async fn refuse_while_away(State(app): State<AppState>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/api/") {
        if app.database.is_away() {
            return away().into_response();
        }
        if app.database.is_behind() {
            let says = "The server waits for its database to be brought up to date. Try again shortly.";
            return Problem::unavailable(says).retry_after(5).into_response();
        }
    }
    let response = next.run(request).await;
    if let Some(problem) = response.extensions().get::<Arc<Problem>>() {
        app.database.learn_from(problem);
    }
    response
}

fn away() -> Problem {
    Problem::unavailable("The database cannot be reached right now. Try again shortly.")
}
