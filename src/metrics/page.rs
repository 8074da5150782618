//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

/// What kind of numbers a family has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, says: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.family = name;
        self.write(format_args!("# HELP {name} {says}\n# TYPE {name} {kind}\n"));
    }

    /// A number of the family. Labels are ours: nothing in them needs an escape.
    pub(super) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let family = self.family;
        self.write(format_args!("{family}{suffix}{labels} {value}\n"));
    }

    /// A family with one number.
    pub(super) fn gauge(&mut self, name: &'static str, says: &str, value: impl Display) {
        self.family(name, Kind::Gauge, says);
        self.sample("", &[], value);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _written = self.text.write_fmt(text);
    }
}
