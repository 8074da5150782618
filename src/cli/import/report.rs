//! What an import says: what is wrong, what was done, and how far it has come.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::http;

/// All that is wrong with a file, by row and field.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fault {
    row: usize,
    label: String,
    field: String,
    says: String,
}

impl Faults {
    /// One more broken rule of a row.
    pub(crate) fn add(&mut self, row: &Place, field: impl Into<String>, says: impl Into<String>) {
        let (field, says) = (field.into(), says.into());
        self.0.push(Fault { row: row.number, label: row.label.clone(), field, says });
    }

    /// The faults of one object of a row; `within` is where it stands, such as `offerings[0].`.
    pub(crate) fn merge(&mut self, row: &Place, within: &str, found: http::Faults) {
        let Err(problem) = found.check() else { return };
        for (field, says) in problem.errors() {
            for says in says {
                self.add(row, format!("{within}{field}"), says);
            }
        }
    }

    /// All of another list.
    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one message of an import that is refused: every broken row, with its fields.
    pub(crate) fn into_error(mut self, rows: usize) -> anyhow::Error {
        self.0.sort();
        self.0.dedup();
        let broken = self.0.iter().map(|fault| fault.row).collect::<BTreeSet<_>>().len();
        let verb = if broken == 1 { "is" } else { "are" };
        let mut text = format!("{broken} of {rows} {} {verb} broken; nothing was written", noun("row", rows));
        for Fault { row, label, field, says } in &self.0 {
            let label = if label.is_empty() { String::new() } else { format!(" ({label})") };
            text.extend(["\n  row ", &row.to_string(), &label, ", ", field, ": ", says]);
        }
        anyhow::Error::msg(text)
    }
}

/// Where a row stands in its file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) number: usize,
    /// What people know it by: the unit's code, the student's user name.
    pub(crate) label: String,
}

/// What became of a row, or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Created,
    Updated,
    Unchanged,
}

/// How many were created, updated and left as they were.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) created: usize,
    pub(crate) updated: usize,
    pub(crate) unchanged: usize,
}

impl Tally {
    fn json(self) -> Value {
        json!({ "created": self.created, "updated": self.updated, "unchanged": self.unchanged })
    }
}

impl AddAssign<Change> for Tally {
    fn add_assign(&mut self, change: Change) {
        match change {
            Change::Created => self.created += 1,
            Change::Updated => self.updated += 1,
            Change::Unchanged => self.unchanged += 1,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} created, {} updated, {} unchanged", self.created, self.updated, self.unchanged)
    }
}

/// What became of a row and of its parts.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) place: Place,
    pub(crate) change: Change,
    pub(crate) parts: Tally,
}

/// What an import did, or with `--dry-run` would do.
#[derive(Debug)]
pub(crate) struct Report {
    /// What a row is, such as `unit`.
    pub(crate) row_is: &'static str,
    /// What its parts are, such as `offering`.
    pub(crate) part_is: &'static str,
    pub(crate) lines: Vec<Line>,
}

impl Report {
    /// How many rows, and how many parts of rows.
    pub(crate) fn tallies(&self) -> (Tally, Tally) {
        let (mut rows, mut parts) = (Tally::default(), Tally::default());
        for line in &self.lines {
            rows += line.change;
            parts += line.parts;
        }
        (rows, parts)
    }

    /// The details of the audit log's row.
    pub(crate) fn details(&self, file: &str) -> Value {
        let (rows, parts) = self.tallies();
        let mut details = json!({ "file": file, "rows": self.lines.len() });
        if let Some(members) = details.as_object_mut() {
            members.insert(noun(self.row_is, 2), rows.json());
            members.insert(noun(self.part_is, 2), parts.json());
        }
        details
    }

    /// A line for each row unless `quiet`, then the sums.
    pub(crate) fn text(&self, quiet: bool) -> String {
        let (rows, parts) = self.tallies();
        let sums = format!("{}: {rows}\n{}: {parts}\n", noun(self.row_is, 2), noun(self.part_is, 2));
        if quiet {
            return sums;
        }
        let number = self.lines.len().to_string().len();
        let label = self.lines.iter().map(|line| line.place.label.chars().count()).max().unwrap_or(0);
        let mut text: String =
            self.lines.iter().flat_map(|line| [self.line(line, number, label), "\n".to_owned()]).collect();
        text.push_str(&sums);
        text
    }

    /// A row's line; `number` and `label` are the widths of its columns.
    fn line(&self, line: &Line, number: usize, label: usize) -> String {
        let Line { place, change, parts } = line;
        let says = match change {
            Change::Created => "created",
            Change::Updated => "updated",
            Change::Unchanged => "unchanged",
        };
        let part = |count: usize, says: &str| match count {
            0 => String::new(),
            count => format!(", {count} {} {says}", noun(self.part_is, count)),
        };
        let (created, updated) = (part(parts.created, "created"), part(parts.updated, "updated"));
        format!("row {:>number$}  {:label$}  {says}{created}{updated}", place.number, place.label)
    }
}

/// The noun for so many.
pub(crate) fn noun(one: &str, count: usize) -> String {
    if count == 1 { one.to_owned() } else { format!("{one}s") }
}

/// A bar on the terminal; none when standard error is no terminal.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    stretch: Arc<Mutex<Stretch>>,
}

/// The stretch that began last.
#[derive(Clone, Copy)]
struct Stretch {
    began: Instant,
    steps: usize,
}

/// How long a command took, and how much of it the last stretch, which is the writing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) all: Duration,
    pub(crate) writing: Duration,
    /// Rows that were written.
    pub(crate) rows: usize,
}

impl Progress {
    /// Not begun.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(0);
        let look = "{msg:>20} {bar:40} {human_pos}/{human_len} {per_sec} {eta}";
        bar.set_style(ProgressStyle::with_template(look).unwrap_or_else(|_| ProgressStyle::default_bar()));
        let stretch = Stretch { began: Instant::now(), steps: 0 };
        Self { bar, started: Instant::now(), stretch: Arc::new(Mutex::new(stretch)) }
    }

    /// Begins a stretch of so many steps.
    pub(crate) fn begin(&self, what: &'static str, steps: usize) {
        *self.stretch.lock().unwrap_or_else(PoisonError::into_inner) = Stretch { began: Instant::now(), steps };
        self.bar.reset();
        self.bar.set_message(what);
        self.bar.set_length(steps.try_into().unwrap_or(u64::MAX));
    }

    /// So many steps further.
    pub(crate) fn advance(&self, steps: usize) {
        self.bar.inc(steps.try_into().unwrap_or(u64::MAX));
    }

    /// Takes the bar away, and says how long all took.
    pub(crate) fn end(&self) -> Took {
        self.bar.finish_and_clear();
        let last = *self.stretch.lock().unwrap_or_else(PoisonError::into_inner);
        Took { all: self.started.elapsed(), writing: last.began.elapsed(), rows: last.steps }
    }
}

#[cfg(test)]
mod tests {
    use super::{Faults, Place};

    #[test]
    fn every_broken_row_is_named_in_the_order_of_the_file() {
        let mut faults = Faults::default();
        faults.add(&Place { number: 7, label: "COS10009".into() }, "name", "is missing");
        faults.add(&Place { number: 2, label: String::new() }, "code", "is missing");
        faults.add(&Place { number: 7, label: "COS10009".into() }, "code", "is taken");
        assert_eq!(
            faults.into_error(9).to_string(),
            "2 of 9 rows are broken; nothing was written\
             \n  row 2, code: is missing\
             \n  row 7 (COS10009), code: is taken\
             \n  row 7 (COS10009), name: is missing"
        );
    }
}
