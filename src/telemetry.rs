//! Logging: text in dev, JSON in prod, the request id in every line of a request, never a secret.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{Config, LogFormat};

/// Starts logging to standard error.
pub fn start(config: &Config) {
    let filter = EnvFilter::try_new(&config.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_span_events(FmtSpan::NONE).with_writer(std::io::stderr);
    // Colours are for people, not for files.
    let lines = if std::io::stderr().is_terminal() { lines } else { lines.with_ansi(false) };
    // A second start, as in tests, changes nothing.
    let _already = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Text => lines.with_target(false).try_init(),
    };
}
