//! Logging: text in dev, JSON in prod, the request id in every line of a request, never a secret. Traces hear with it.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, reload};

use crate::config::{Config, LogFormat};
use crate::traces;

/// How much is logged, which can be changed while the server runs.
pub struct LogLevel {
    /// `LOG_LEVEL`.
    usual: String,
    set: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

/// Starts logging to standard error, and listens for what traces are made of if they are recorded.
pub fn start(config: &Config) -> LogLevel {
    // Colours are for people, not for files.
    let ansi = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_span_events(FmtSpan::NONE).with_writer(std::io::stderr).with_ansi(ansi);
    let lines = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        LogFormat::Text => lines.with_target(false).boxed(),
    };
    let (usual, level) = (config.log_level.clone(), filter(&config.log_level));
    // A second start, as in tests, changes nothing.
    if config.otlp.is_none() {
        let (level, handle) = reload::Layer::new(level);
        let _already = tracing_subscriber::registry().with(lines).with(level).try_init();
        return LogLevel { usual, set: Box::new(move |filter| handle.reload(filter)) };
    }
    // Each its own: a log that says little takes nothing from the traces.
    let (level, handle) = reload::Layer::new(level);
    let lines = lines.with_filter(level);
    let _already = tracing_subscriber::registry().with(lines).with(traces::layer()).try_init();
    LogLevel { usual, set: Box::new(move |filter| handle.reload(filter)) }
}

/// A warning that may come each second: it is told at first, and then once a minute with how often it came.
#[derive(Debug, Default)]
pub struct Repeated {
    told: Option<Instant>,
    untold: u64,
}

impl Repeated {
    /// It came once more; if it is to be told, how often it came since it was told last.
    pub fn again(&mut self) -> Option<u64> {
        self.again_at(Instant::now())
    }

    fn again_at(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < Duration::from_mins(1)) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// An error and what it comes from, each once: many say in their own text what their source says again. Without the line of
/// PostgreSQL's C code, which is read for one of ours.
#[must_use]
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let text = text.rsplit_once(" at line ").filter(|(_, line)| line.bytes().all(|byte| byte.is_ascii_digit()));
        let text = text.map_or_else(|| error.to_string(), |(text, _)| text.to_owned());
        if !said.contains(&text) {
            if !said.is_empty() {
                said.push_str(": ");
            }
            said.push_str(&text);
        }
        next = error.source();
    }
    said
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Repeated, causes};

    #[test]
    fn what_comes_each_second_is_told_once_a_minute_with_its_number() {
        let (mut told, begin) = (Repeated::default(), Instant::now());
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(told.again_at(after(0)), Some(1));
        assert!((1..60).all(|second| told.again_at(after(second)).is_none()));
        assert_eq!(told.again_at(after(60)), Some(60));
        assert_eq!(told.again_at(after(61)), None);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{says}")]
    struct Cause {
        says: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn a_cause_is_told_once() {
        let deep = Cause { says: "permission denied for table units at line 948", source: None };
        let error = Cause {
            says: "the page cannot be read: permission denied for table units",
            source: Some(Box::new(Cause { says: "error returned from database", source: Some(Box::new(deep)) })),
        };
        assert_eq!(
            causes(&error),
            "the page cannot be read: permission denied for table units: error returned from database"
        );
        assert_eq!(causes(&Cause { says: "look at line by line", source: None }), "look at line by line");
    }
}
