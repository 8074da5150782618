//! `GET /metrics`, on a listener of its own.

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::page::{Kind, Page};
use super::store::{self, Queues};
use crate::app::AppState;
use crate::backups;
use crate::serve::{self, Limits};

/// How long the database may take; Prometheus itself waits ten seconds.
const PATIENCE: Duration = Duration::from_secs(2);

const LIMITS: Limits = Limits {
    connections: 16,
    head: Duration::from_secs(5),
    pause: Duration::from_secs(5),
    drain: Duration::from_secs(1),
};

/// Serves the metrics until `stop`.
pub async fn serve(app: AppState, listener: TcpListener, stop: CancellationToken) {
    let router = Router::new().route("/metrics", get(show)).with_state(app);
    serve::serve(listener, router, LIMITS, stop).await;
}

async fn show(State(app): State<AppState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page(&app).await)
}

async fn page(app: &AppState) -> String {
    let queues = timeout(PATIENCE, queues(app)).await;
    let queues = queues.map_err(anyhow::Error::from).and_then(|found| found.map_err(anyhow::Error::from));
    if let Err(error) = &queues {
        tracing::warn!(%error, "the queues could not be looked at for the metrics");
    }
    let mut page = Page::default();
    page.family("swincms_build_info", Kind::Gauge, "Which build this is.");
    page.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Memory that the process holds.", bytes);
    }
    if let Some(bytes) = free_bytes(&app.config.media_root) {
        page.gauge("swincms_media_free_bytes", "Room that is left in MEDIA_ROOT.", bytes);
    }
    if let Some(folder) = &app.config.backup_dir {
        let newest = backups::all(folder).ok().and_then(|all| all.into_iter().max());
        if let Some(newest) = &newest {
            let age = (app.clock.now() - newest.made).num_seconds();
            page.gauge("swincms_backup_age_seconds", "Age of the newest backup in BACKUP_DIR.", age);
        }
        let is_good = newest.is_some_and(|newest| newest.is_good());
        page.gauge(
            "swincms_backup_good",
            "Whether there is one that lacks no file and was not found bad.",
            u8::from(is_good),
        );
    }
    app.metrics.requests.write(&mut page);
    page.family("swincms_log_ins_total", Kind::Counter, "Log-ins by what came of them.");
    for (outcome, count) in app.metrics.log_ins.counts() {
        page.sample("", &[("outcome", outcome)], count);
    }
    page.family("swincms_enrolments_total", Kind::Counter, "Requests for a seat by what came of them.");
    for (outcome, count) in app.metrics.enrolments.counts() {
        page.sample("", &[("outcome", outcome)], count);
    }
    let hashing = app.hasher.load();
    page.gauge("swincms_password_hashes_working", "Passwords that are being hashed.", hashing.working);
    page.gauge("swincms_password_hashes_waiting", "Passwords that wait for a core.", hashing.waiting);
    page.gauge("swincms_sse_streams", "Open streams of notifications.", app.streams.open());
    let pool = app.db.load();
    page.gauge("swincms_pool_sessions_max", "The most database sessions of this process.", pool.most);
    page.gauge("swincms_pool_sessions", "Database sessions that are open.", pool.open);
    page.gauge("swincms_pool_sessions_idle", "Open sessions that nobody holds.", pool.idle);
    page.gauge("swincms_pool_waiting", "Requests that wait for a session.", pool.waiting);
    page.gauge("swincms_database_up", "Whether the database answered this scrape.", u8::from(queues.is_ok()));
    if let Ok(queues) = queues {
        write_queues(&mut page, &queues);
    }
    page.into_text()
}

fn write_queues(page: &mut Page, queues: &Queues) {
    page.gauge("swincms_outbox_pending", "Webhooks that wait to be delivered.", queues.webhooks_pending);
    page.gauge("swincms_outbox_dead", "Webhooks that were given up.", queues.webhooks_dead);
    page.gauge("swincms_outbox_oldest_seconds", "Age of the oldest webhook that waits.", queues.webhooks_oldest);
    page.gauge("swincms_mail_queued", "Mails that wait to be sent.", queues.mails_queued);
    page.gauge("swincms_mail_dead", "Mails of the last seven days that were given up.", queues.mails_dead);
    page.gauge("swincms_mail_oldest_seconds", "Age of the oldest mail that waits.", queues.mails_oldest);
    page.gauge("swincms_audit_seal_lag_seconds", "Age of the oldest audit row without a seal.", queues.seal_lag);
}

/// On a session beside the pool, so that a busy pool does not look like a dead database.
async fn queues(app: &AppState) -> sqlx::Result<Queues> {
    let _alone = app.metrics.scrape.lock().await;
    let mut conn = PgConnection::connect_with(&impatient(app.db.connect_options())).await?;
    let queues = store::queues(&mut conn).await?;
    conn.close().await?;
    Ok(queues)
}

/// Nobody waits for the answer any longer than this; the database need not work on it.
fn impatient(options: PgConnectOptions) -> PgConnectOptions {
    options.options([("statement_timeout", PATIENCE.as_millis().to_string())])
}

/// Nothing where the file system does not say.
fn free_bytes(folder: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(folder).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// As Linux says it; nothing elsewhere.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
