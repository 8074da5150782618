//! `swincms serve`

use std::time::Instant;

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
use crate::{background, db, metrics, migrate, serve};

/// Brings the schema up to date, serves until SIGTERM or SIGINT, and drains.
///
/// # Errors
/// When the database, the file store or the address cannot be had.
pub(super) async fn run(config: Config, log_level: LogLevel) -> anyhow::Result<()> {
    let started = Instant::now();
    log_level.follow_signals()?;
    let database = database::open(&config).await?;
    if config.run_migrations {
        let owner = config.migration.clone().unwrap_or_else(|| database.options());
        migrate::up(&owner).await?;
    }
    let (bind, metrics_bind) = (config.bind, config.metrics_bind);
    let limits = Limits { connections: config.max_connections, drain: config.drain, ..Limits::default() };
    let pool = db::pool(&config, database.options())?;
    let app = AppState::new(config, pool.clone(), Clock::system())?;
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
    let told = stop.clone();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    tracing::info!(%address, ms = started.elapsed().as_millis(), "ready");
    serve::serve(listener, router(&app), limits, stop).await;
    background.wait().await;
    drained.cancel();
    measured.close();
    measured.wait().await;
    if let Some(traces) = &app.traces {
        traces.stop().await;
    }
    pool.close();
    database.close().await
}
