//! A span for each statement of a request that is recorded, made of what sqlx says of it when it has ended.

use std::fmt;
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanBuilder};
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Parent;

/// The most of a statement that is sent, in bytes; few are longer.
const LONGEST: usize = 2000;

/// Makes the spans, whatever is logged. Where nothing is recorded sqlx is told that nobody listens.
pub(crate) fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let is_request = |told: &Metadata<'_>| told.is_span() && told.target().starts_with("swincms::");
    let is_statement = |told: &Metadata<'_>| told.target() == "sqlx::query";
    let wanted = dynamic_filter_fn(move |told, cx: &Context<'_, S>| {
        is_request(told) || is_statement(told) && cx.lookup_current().is_some_and(|span| Parent::of(&span).is_some())
    });
    // Statements are events of this level, slow ones of another.
    let wanted = wanted.with_max_level_hint(LevelFilter::DEBUG).with_callsite_filter(move |told| {
        if is_request(told) || is_statement(told) { Interest::sometimes() } else { Interest::never() }
    });
    Statements.with_filter(wanted)
}

struct Statements;

impl<S> Layer<S> for Statements
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    #[expect(clippy::disallowed_methods, reason = "the time of traces is the machine's, whatever a test says it is")]
    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let Some(parent) = cx.event_span(event).and_then(|span| Parent::of(&span)) else { return };
        let (mut statement, end) = (Statement::default(), SystemTime::now());
        event.record(&mut statement);
        let Statement { summary, text, rows, took } = statement;
        // A short one stands in its summary alone.
        let text = if text.is_empty() { summary.as_str() } else { text.trim() };
        let name = name(text);
        let attributes = [
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.query.summary", name.clone()),
            // Values are never part of it, but bound to it.
            KeyValue::new(
                "db.query.text",
                text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default().to_owned(),
            ),
            KeyValue::new("db.response.returned_rows", i64::try_from(rows).unwrap_or(i64::MAX)),
        ];
        let begun = end.checked_sub(took).unwrap_or(end);
        let mut span = parent.begin(SpanBuilder::from_name(name).with_start_time(begun).with_attributes(attributes));
        span.end_with_timestamp(end);
    }
}

/// What sqlx says.
#[derive(Default)]
struct Statement {
    summary: String,
    text: String,
    rows: u64,
    took: Duration,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.text),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "rows_returned" {
            self.rows = value;
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.took = Duration::try_from_secs_f64(value).unwrap_or_default();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// What a statement does and the first table it names, such as `insert audit_log`.
fn name(sql: &str) -> String {
    let mut words = sql.split_whitespace();
    let operation = words.next().unwrap_or_default().to_ascii_lowercase();
    let is_name = |word: &&str| word.starts_with(|first: char| first.is_ascii_alphabetic());
    let table = if operation == "update" {
        words.next()
    } else {
        let mut follows = false;
        words.find(|word| {
            let leads = matches!(word.trim_start_matches('('), "from" | "into" | "update");
            std::mem::replace(&mut follows, leads) && is_name(word)
        })
    };
    let table = table.map(|table| table.split(|end: char| !(end.is_ascii_alphanumeric() || end == '_')).next());
    match table.flatten() {
        Some(table) => format!("{operation} {table}"),
        None => operation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_what_it_does_and_its_first_table() {
        for (sql, named) in [
            ("select id, (select 1)\n  from users\n where id = $1", "select users"),
            ("select a from (select b from units) u", "select units"),
            ("insert into audit_log (action) values ($1)", "insert audit_log"),
            ("update offerings set capacity = $1", "update offerings"),
            ("delete from sessions", "delete sessions"),
            ("with seat as (update offerings set x = 1) insert into enrollments values (1)", "with offerings"),
            ("COMMIT", "commit"),
            ("", ""),
        ] {
            assert_eq!(name(sql), named, "{sql}");
        }
    }
}
