//! A feed as text, by RFC 5545.

use chrono::{DateTime, Utc};
use icalendar::{Calendar, Component, EventLike, EventStatus, Property};
use sqlx::FromRow;

use crate::ids::Id;

/// How many characters of a description are shown; the whole is in the application.
const LONGEST: usize = 2000;

/// Something in a calendar.
#[derive(Debug, FromRow)]
pub(super) struct Entry {
    /// `session` or `event`; with the id it is the entry's name for ever.
    pub(super) kind: String,
    pub(super) id: Id,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) location: String,
    pub(super) starts: DateTime<Utc>,
    pub(super) ends: Option<DateTime<Utc>>,
    pub(super) cancelled: bool,
    pub(super) created_at: DateTime<Utc>,
    pub(super) changed_at: DateTime<Utc>,
}

/// The calendar. Equal entries make equal text, so that its `ETag` stays.
///
/// Times are instants in UTC: what is shown is right on either side of a change of the clocks, whatever the program
/// knows of time zones.
pub(super) fn text(entries: &[Entry]) -> String {
    let mut calendar = Calendar::empty();
    for (name, value) in [
        ("VERSION", "2.0"),
        ("PRODID", "-//SwinCMS//Calendar feed//EN"),
        ("CALSCALE", "GREGORIAN"),
        ("METHOD", "PUBLISH"),
        ("X-WR-CALNAME", "Classes and events"),
        ("X-PUBLISHED-TTL", "PT1H"),
    ] {
        calendar.append_property(Property::new(name, value));
    }
    for entry in entries {
        calendar.push(event(entry));
    }
    calendar.to_string()
}

fn event(entry: &Entry) -> icalendar::Event {
    // Grows with every change, and is 0 for what was never changed.
    let sequence = u32::try_from((entry.changed_at - entry.created_at).num_seconds()).unwrap_or_default();
    let mut event = icalendar::Event::new();
    event
        .uid(&format!("{}-{}@swincms", entry.kind, entry.id))
        .summary(&plain(&entry.title))
        .starts(entry.starts)
        .timestamp(entry.changed_at)
        .last_modified(entry.changed_at)
        .created(entry.created_at)
        .sequence(sequence)
        .status(if entry.cancelled { EventStatus::Cancelled } else { EventStatus::Confirmed });
    // The end must be later than the start; without one it takes no time.
    if let Some(ends) = entry.ends.filter(|ends| *ends > entry.starts) {
        event.ends(ends);
    }
    if !entry.description.is_empty() {
        event.description(&shortened(&plain(&entry.description)));
    }
    if !entry.location.is_empty() {
        event.location(&plain(&entry.location));
    }
    event.done()
}

/// The text with every line break as `\n`, which is escaped, and without other control characters, which RFC 5545 does
/// not allow: what stays raw could begin a line of its own.
fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{b}', '\u{c}'], "\n");
    text.chars().filter(|sign| matches!(sign, '\n' | '\t') || !sign.is_control()).collect()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
