//! Liveness, readiness, and the probe that finds a database that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::access::Public;
use crate::app::AppState;
use crate::http::{Answer, Done, Problem, Routes};

/// How often the database is asked, and how long it may take.
const EVERY: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the database answered the last probe.
#[derive(Debug, Clone, Default)]
pub struct Database(Arc<AtomicBool>);

impl Database {
    fn is_away(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn mark(&self, away: bool) {
        if self.0.swap(away, Ordering::Relaxed) != away {
            if away {
                tracing::error!("the database is away");
            } else {
                tracing::info!("the database is back");
                crate::db::doubt();
            }
        }
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
        "Whether the process can serve: 503 while the database is away.",
    )
}

async fn live(_: Public) -> Answer<Done<Health>> {
    Done::with(&Health { status: "ok" })
}

async fn ready(_: Public, State(app): State<AppState>) -> Answer<Done<Health>> {
    if app.database.is_away() {
        return Err(away());
    }
    Done::with(&Health { status: "ok" })
}

/// The layer that answers at once while the database is away.
pub async fn refuse_while_away(State(app): State<AppState>, request: Request, next: Next) -> Response {
    if app.database.is_away() && request.uri().path().starts_with("/api/") {
        return away().into_response();
    }
    next.run(request).await
}

fn away() -> Problem {
    Problem::unavailable("The database cannot be reached right now. Try again shortly.")
}

/// Asks the database on a connection of its own, beside the pool, so that a busy pool does not look like a dead database.
pub async fn probe(app: AppState, stop: CancellationToken) {
    let mut session: Option<PgConnection> = None;
    while !stop.is_cancelled() {
        let asked = timeout(PATIENCE, ask(&app, session.take())).await;
        app.database.mark(!matches!(asked, Ok(Ok(_))));
        session = asked.ok().and_then(Result::ok);
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

async fn ask(app: &AppState, session: Option<PgConnection>) -> sqlx::Result<PgConnection> {
    let mut session = match session {
        Some(session) => session,
        None => PgConnection::connect_with(&app.db.connect_options()).await?,
    };
    session.ping().await?;
    Ok(session)
}
