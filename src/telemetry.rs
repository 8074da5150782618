//! Logging: text in dev, JSON in prod, the request id in every line of a request, never a secret.

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::reload;

use crate::config::{Config, LogFormat};

/// How much is logged, which can be changed while the server runs.
pub struct LogLevel {
    /// `LOG_LEVEL`.
    usual: String,
    set: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

/// Starts logging to standard error.
pub fn start(config: &Config) -> LogLevel {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.log_level))
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr);
    // Colours are for people, not for files.
    let lines = if std::io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    let usual = config.log_level.clone();
    // A second start, as in tests, changes nothing.
    match config.log_format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
            let lines = lines.with_filter_reloading();
            let handle = lines.reload_handle();
            let _already = lines.try_init();
            LogLevel { usual, set: Box::new(move |filter| handle.reload(filter)) }
        }
        LogFormat::Text => {
            let lines = lines.with_target(false).with_filter_reloading();
            let handle = lines.reload_handle();
            let _already = lines.try_init();
            LogLevel { usual, set: Box::new(move |filter| handle.reload(filter)) }
        }
    }
}

fn filter(text: &str) -> EnvFilter {
    EnvFilter::try_new(text).unwrap_or_else(|_| EnvFilter::new("info"))
}

impl LogLevel {
    /// From now on SIGUSR1 logs more, and SIGUSR2 as much as `LOG_LEVEL` says.
    ///
    /// # Errors
    /// When the signals cannot be had.
    pub fn follow_signals(self) -> std::io::Result<()> {
        let (mut more, mut usual) = (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = more.recv() => {
                        self.set("debug");
                        tracing::info!(to = "debug", "log level changed by SIGUSR1");
                    }
                    _ = usual.recv() => {
                        // Before, so that it is seen whatever the usual level is.
                        tracing::info!(to = self.usual, "log level changed by SIGUSR2");
                        self.set(&self.usual);
                    }
                }
            }
        });
        Ok(())
    }

    fn set(&self, level: &str) {
        if let Err(error) = (self.set)(filter(level)) {
            tracing::error!(%error, "the log level stays as it is");
        }
    }
}
