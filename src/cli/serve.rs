//! `swincms serve`

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::database;
use crate::app::{AppState, router};
use crate::clock::Clock;
use crate::config::Config;
use crate::serve::Limits;
use crate::telemetry::LogLevel;
use crate::{background, db, health, metrics, migrate, serve};

/// Brings the schema up to date, serves until SIGTERM or SIGINT, and drains.
///
/// # Errors
/// When the database, the file store or the address cannot be had.
pub(super) async fn run(config: Config, log_level: LogLevel) -> anyhow::Result<()> {
    let started = Instant::now();
    log_level.follow_signals()?;
    for warning in &config.file_warnings {
        tracing::warn!(".env, {warning}");
    }
    let database = database::open(&config).await?;
    if config.run_migrations {
        let owner = config.migration.clone().unwrap_or_else(|| database.options());
        migrate::up(&owner).await?;
    }
    let (bind, metrics_bind) = (config.bind, config.metrics_bind);
    let drain = config.drain;
    let limits = Limits { connections: config.max_connections, drain: config.drain, ..Limits::default() };
    let pool = db::pool(&config, database.options())?;
    let app = AppState::new(config, pool.clone(), Clock::system())?;
    // Before the first request, so that none is answered that would fail, and the log says at the start what is missing.
    health::Watch::default().look(&app).await;
    let listener = TcpListener::bind(bind).await.with_context(|| format!("cannot listen on {bind} (BIND)"))?;
    let address = listener.local_addr()?;
    // Until the last request has been answered: a drain can be watched.
    let (measured, drained) = (TaskTracker::new(), CancellationToken::new());
    if let Some(bind) = metrics_bind {
        let listener =
            TcpListener::bind(bind).await.with_context(|| format!("cannot listen on {bind} (METRICS_BIND)"))?;
        tracing::info!(address = %listener.local_addr()?, "metrics");
        measured.spawn(metrics::serve(app.clone(), listener, drained.clone()));
    }

    let stop = CancellationToken::new();
    let background = background::start(&app, &stop);
    ignore_hangups()?;
    let (told, told_at) = (stop.clone(), Arc::new(OnceLock::new()));
    let at = told_at.clone();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _first = at.set(tokio::time::Instant::now());
        told.cancel();
    });
    tracing::info!(%address, ms = started.elapsed().as_millis(), "ready");
    serve::serve(listener, router(&app), limits, stop).await;
    // What runs beside the requests has as long as they have, and a second to say that it has not come to its end.
    let began = told_at.get().copied().unwrap_or_else(tokio::time::Instant::now);
    let late = background.wait(began + drain + Duration::from_secs(1)).await;
    if !late.is_empty() {
        tracing::warn!(
            what = late.join(", "),
            "not at its end after {} s; the next process goes on with it",
            drain.as_secs()
        );
    }
    drained.cancel();
    measured.close();
    measured.wait().await;
    if let Some(traces) = &app.traces {
        traces.stop().await;
    }
    pool.close();
    database.close().await
}

/// SIGHUP ends nothing: it comes from a closed terminal, from logrotate, and from habit. Settings are read at a start alone.
fn ignore_hangups() -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP changes nothing here; settings and certificates are read when the server starts");
        }
    });
    Ok(())
}
