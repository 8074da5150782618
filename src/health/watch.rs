//! The probe: asks the database twice a second on a connection of its own, beside the pool, so that a busy pool does not look
//! like a dead database. Now and then, and whenever something has failed for it, it looks whether schema and rights are
//! what this program needs.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::store::{self, Mode};
use super::{Fault, Part};
use crate::app::AppState;
use crate::{migrate, rights};

/// How often the database is asked, and how long it may take.
const EVERY: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(1);

/// How soon schema and rights are looked at again when they were not as they must be, and how long that may take.
const AGAIN: Duration = Duration::from_secs(2);
const PATIENCE_WITH_SCHEMA: Duration = Duration::from_secs(10);

/// What the probe remembers from one look to the next.
#[derive(Debug, Default)]
pub struct Watch {
    /// The session, and the settings that it began with.
    kept: Option<(PgConnection, String)>,
    /// Whether schema and rights were as they must be, and when they were looked at.
    settled: bool,
    looked: Option<Instant>,
    /// Migrations that this program does not know, as they were told in the log.
    told: Vec<i64>,
}

/// Looks until `stop`.
pub async fn look_after(app: AppState, stop: CancellationToken) {
    let mut watch = Watch::default();
    while !stop.is_cancelled() {
        watch.look(&app).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

impl Watch {
    /// Looks once.
    pub async fn look(&mut self, app: &AppState) {
        let asked = timeout(PATIENCE, ask(app, self.kept.take())).await;
        let Ok(Ok((mut session, mode))) = asked else {
            app.database.found(Part::Answer, &[Fault::Away]);
            // Whatever comes back may be another one.
            (self.settled, self.looked) = (false, None);
            return;
        };
        if app.database.is_away() {
            crate::db::doubt();
        }
        app.database.found(Part::Answer, &[]);
        app.database.found(Part::Mode, fault_of(&mode).as_slice());
        let suspicious = app.database.take_suspicion();
        let due = !self.settled && self.looked.is_none_or(|at| at.elapsed() >= AGAIN);
        if due || suspicious {
            let looking = timeout(PATIENCE_WITH_SCHEMA, schema(&mut session)).await;
            self.looked = Some(Instant::now());
            match looking.unwrap_or_else(|_| Err(anyhow::anyhow!("it takes too long"))) {
                Ok((faults, unknown)) => {
                    self.settled = faults.is_empty();
                    self.tell_unknown(unknown);
                    app.database.found(Part::Schema, &faults);
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the database's schema could not be looked at");
                    self.settled = false;
                    // Half an answer may be left on the session.
                    return;
                }
            }
        }
        self.kept = Some((session, mode.settings));
    }

    /// The way back from an upgrade: migrations stay, and each works with the version before, too.
    fn tell_unknown(&mut self, unknown: Vec<i64>) {
        if !unknown.is_empty() && self.told != unknown {
            let which: Vec<String> = unknown.iter().map(ToString::to_string).collect();
            tracing::warn!(
                "the schema is that of a newer program ({}); this one runs with it as it is",
                which.join(", ")
            );
        }
        self.told = unknown;
    }
}

/// A session and what it says, a new one if new ones would be otherwise: then the pool's are made anew as well.
async fn ask(app: &AppState, kept: Option<(PgConnection, String)>) -> sqlx::Result<(PgConnection, Mode)> {
    if let Some((mut session, began_with)) = kept {
        let mode = store::mode(&mut session).await?;
        if mode.settings == began_with {
            return Ok((session, mode));
        }
        app.db.renew();
    }
    let mut session = PgConnection::connect_with(&app.db.connect_options()).await?;
    let mode = store::mode(&mut session).await?;
    Ok((session, mode))
}

fn fault_of(mode: &Mode) -> Option<Fault> {
    match mode {
        Mode { standby: true, .. } => Some(Fault::Standby),
        Mode { read_only: true, .. } => Some(Fault::ReadOnly),
        Mode { .. } => None,
    }
}

/// What keeps a new session from writing.
///
/// # Errors
/// The database's failure.
pub(crate) async fn writable(conn: &mut PgConnection) -> sqlx::Result<Option<Fault>> {
    Ok(fault_of(&store::mode(conn).await?))
}

/// What of the schema and the rights is not as this program needs it, and the migrations that it does not know.
///
/// # Errors
/// The database's failure.
async fn schema(conn: &mut PgConnection) -> anyhow::Result<(Vec<Fault>, Vec<i64>)> {
    let lacking = rights::lacking(conn).await?;
    // Who may not read the list of migrations is told of that, and no more.
    if lacking.rights.iter().any(|right| right.ends_with("_sqlx_migrations") || right.contains("schema")) {
        return Ok((vec![Fault::Lacking(lacking)], Vec::new()));
    }
    let standing = migrate::standing(conn).await?;
    let mut faults = Vec::new();
    if !standing.changed.is_empty() {
        faults.push(Fault::Changed(standing.changed));
    }
    if standing.waiting.is_empty() {
        if !lacking.is_nothing() {
            faults.push(Fault::Lacking(lacking));
        }
    } else {
        // What they would make is missing, of course.
        faults.push(Fault::Behind(standing.waiting));
    }
    Ok((faults, standing.unknown))
}
