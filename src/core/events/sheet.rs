//! Events as rows: a sheet in either of its shapes, or the same columns as JSON.
//!
//! Nothing here asks the database. A row that breaks a rule is a fault of its own, so that a caller learns of all of them
//! at once.

use std::collections::BTreeSet;

use chrono::NaiveTime;
use serde_json::{Map, Value, json};

use super::times::{self, DateOrder, moment, time};
use crate::http::sheet::{Cells, Place, RowFault, Shape, Table, cell, column};
use crate::http::{Answer, Faults, Problem, never_read};
use crate::ids::{Id, Moment};

/// An event that a row describes.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Where it stands.
    pub(super) place: Place,
    pub(super) title: String,
    pub(super) start: Moment,
    pub(super) end: Option<Moment>,
    pub(super) description: String,
    pub(super) location: String,
    pub(super) visibility: String,
    pub(super) target_all_students: bool,
    pub(super) related_unit: Option<Id>,
    pub(super) generation_meta: Value,
}

/// What was read: the rows that break no rule, and what is wrong with the others.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub(super) rows: Vec<Row>,
    pub(super) faults: Vec<RowFault>,
    /// The columns of a file that nothing reads.
    pub(super) unread: Vec<String>,
}

/// `title,start` and, if there, `description,end,location,visibility,related_unit_id`.
static PLAIN: Shape = Shape {
    needed: &["title", "start"],
    others: &["description", "end", "location", "visibility", "related_unit_id"],
    telling: ("start", times::is_like_one),
};

/// `Event_Title,Event_Date` and, if there, the other columns of a campus calendar.
static RICH: Shape = Shape {
    needed: &["Event_Title", "Event_Date"],
    others: &[
        "start_time",
        "location",
        "target_audience",
        "notify_rule",
        "channels",
        "dept_filter",
        "content_remarks",
        "assets_url",
    ],
    telling: ("event_date", times::is_like_one),
};

/// How rows of a shape are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Rich,
}

impl Kind {
    /// The shape of a row by its columns; of one that has the columns of both, the one that says something.
    fn of(cells: &Cells) -> Option<Self> {
        let says = |names: &[&str]| names.iter().all(|name| !cell(cells, name).is_empty());
        let has = |names: &[&str]| names.iter().any(|name| cells.contains_key(*name));
        let (plain, rich) = (&["title", "start"], &["event_title", "event_date"]);
        match (has(plain), has(rich)) {
            (true, true) if says(rich) && !says(plain) => Some(Self::Rich),
            (true, _) => Some(Self::Plain),
            (false, true) => Some(Self::Rich),
            (false, false) => None,
        }
    }

    fn shape(self) -> &'static Shape {
        match self {
            Self::Plain => &PLAIN,
            Self::Rich => &RICH,
        }
    }

    /// The columns with dates.
    fn dates(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["start", "end"],
            Self::Rich => &["event_date"],
        }
    }

    fn read(self, place: Place, cells: &Cells, order: DateOrder) -> Result<Row, Faults> {
        match self {
            Self::Plain => plain_row(place, cells, order),
            Self::Rich => rich_row(place, cells, order),
        }
    }
}

/// Reads a file.
///
/// # Errors
/// 400 on `field` when it is none or has neither of the two headers.
pub(super) fn of_file(field: &str, bytes: &[u8]) -> Answer<Sheet> {
    let table = Table::of_file(field, bytes, &[&PLAIN, &RICH])?;
    let kind = if std::ptr::eq(table.shape, &raw const RICH) { Kind::Rich } else { Kind::Plain };
    let rows = table.rows.into_iter().map(|(place, cells)| (place, kind, cells)).collect::<Vec<_>>();
    Ok(Sheet { unread: table.unread, ..read(field, &rows, table.faults)? })
}

/// Reads rows that came as JSON objects, each with the columns of either shape.
///
/// # Errors
/// 400 on `field` when they have the columns of neither, or when a row has a column twice.
pub(super) fn of_json(field: &str, objects: &[Map<String, Value>]) -> Answer<Sheet> {
    let (mut rows, mut faults) = (Vec::with_capacity(objects.len()), Vec::new());
    // A column is told once, of the first row that has it.
    let (mut unread, mut known_unread) = (Vec::new(), BTreeSet::new());
    for (index, object) in objects.iter().enumerate() {
        let place = Place { row: index + 1, sheet_row: None };
        let mut cells = Cells::new();
        let mut wrong = Faults::default();
        for (name, value) in object {
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text.trim().to_owned(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    wrong.add(name, "A text or a number is expected.");
                    String::new()
                }
            };
            if cells.insert(column(name), text).is_some() {
                let says =
                    format!("Row {} has `{}` twice, in two spellings; which of them counts?", place.row, column(name));
                return Err(Problem::about(field, says));
            }
        }
        match Kind::of(&cells) {
            _ if !wrong.is_empty() => faults.extend(wrong.of_row(place)),
            Some(kind) => {
                let shape = kind.shape();
                cells.retain(|name, _| {
                    let is_read = shape.reads(name);
                    if !is_read && unread.len() < MOST_UNREAD && known_unread.insert(name.clone()) {
                        unread.push(format!("{field}[{index}].{name}"));
                    }
                    is_read
                });
                rows.push((place, kind, cells));
            }
            None => faults.push(RowFault::at(place, "row", NEEDED)),
        }
    }
    never_read(unread);
    if rows.is_empty() && faults.iter().all(|fault| fault.error == NEEDED) {
        return Err(Problem::about(field, NEEDED));
    }
    read(field, &rows, faults)
}

/// As many columns that nothing reads are told.
const MOST_UNREAD: usize = 100;

const NEEDED: &str = "The columns `title` and `start`, or `Event_Title` and `Event_Date`, are needed.";

fn read(field: &str, rows: &[(Place, Kind, Cells)], faults: Vec<RowFault>) -> Answer<Sheet> {
    let order = date_order(field, rows)?;
    let mut sheet = Sheet { rows: Vec::new(), faults, unread: Vec::new() };
    for (place, kind, cells) in rows {
        match kind.read(*place, cells, order) {
            Ok(row) => sheet.rows.push(row),
            Err(faults) => sheet.faults.extend(faults.of_row(*place)),
        }
    }
    sheet.faults.sort_by_key(|fault| fault.row);
    Ok(sheet)
}

/// Day first, unless a row fits only the other way; then the whole file is read that way.
fn date_order(field: &str, rows: &[(Place, Kind, Cells)]) -> Answer<DateOrder> {
    let (mut only_day, mut only_month) = (None, None);
    for (place, kind, cells) in rows {
        for found in kind.dates().iter().filter_map(|column| times::order_of(cell(cells, column))) {
            match found {
                DateOrder::DayFirst => only_day.get_or_insert(*place),
                DateOrder::MonthFirst => only_month.get_or_insert(*place),
            };
        }
    }
    match (only_day, only_month) {
        (Some(day), Some(month)) => Err(Problem::about(
            field,
            format!("The date of {day} only fits day first, that of {month} only month first."),
        )),
        (None, Some(_)) => Ok(DateOrder::MonthFirst),
        (Some(_) | None, None) => Ok(DateOrder::DayFirst),
    }
}

fn plain_row(place: Place, cells: &Cells, order: DateOrder) -> Result<Row, Faults> {
    let mut faults = Faults::default();
    let at = |faults: &mut Faults, name: &str, edge: times::Edge| match cell(cells, name) {
        "" => None,
        text => times::moment_in(text, order, edge).map_err(|says| faults.add(name, says)).ok(),
    };
    let (start, end) = (at(&mut faults, "start", str::parse), at(&mut faults, "end", Moment::end));
    if cell(cells, "start").is_empty() {
        faults.add("start", "This field is required.");
    }
    if let (Some(start), Some(end)) = (start, end) {
        faults.unless(start <= end, "end", "The end cannot be before the start.");
    }
    let visibility = match cell(cells, "visibility").to_lowercase() {
        given if given.is_empty() => "public".to_owned(),
        given => given,
    };
    if !["public", "unit", "staff"].contains(&visibility.as_str()) {
        faults.add("visibility", "One of public, unit, staff is expected.");
    }
    let related_unit = match cell(cells, "related_unit_id") {
        "" => None,
        text => text.parse().map_err(|says: &str| faults.add("related_unit_id", says)).ok(),
    };
    checked(faults, ("title", "description", "location"), cells, |title, description, location| {
        start.map(|start| Row {
            place,
            title,
            start,
            end,
            description,
            location,
            visibility,
            target_all_students: false,
            related_unit,
            generation_meta: json!({}),
        })
    })
}

/// What of a campus calendar is kept beside the event.
const KEPT: [&str; 6] = ["notify_rule", "channels", "target_audience", "dept_filter", "content_remarks", "assets_url"];

fn rich_row(place: Place, cells: &Cells, order: DateOrder) -> Result<Row, Faults> {
    let mut faults = Faults::default();
    let date = match cell(cells, "event_date") {
        "" => {
            faults.add("Event_Date", "This field is required.");
            None
        }
        text => times::day(text, order).map_err(|says| faults.add("Event_Date", says)).ok().map(|(day, _)| day),
    };
    let begins = match cell(cells, "start_time") {
        "" => NaiveTime::from_hms_opt(8, 0, 0),
        text => time(text).map_err(|says| faults.add("Start_Time", says)).ok(),
    };
    let start = date
        .zip(begins)
        .and_then(|(date, begins)| moment(date, begins).map_err(|says| faults.add("Start_Time", says)).ok());
    let audience = cell(cells, "target_audience").to_lowercase();
    let for_staff = audience.contains("staff") && !audience.contains("student") && !audience.contains("parent");
    let mut kept: Map<String, Value> = KEPT.iter().map(|name| ((*name).to_owned(), json!(cell(cells, name)))).collect();
    kept.insert("source".to_owned(), json!(if place.sheet_row.is_some() { "csv" } else { "webhook" }));
    checked(faults, ("Event_Title", "Content_Remarks", "Location"), cells, |title, description, location| {
        start.map(|start| Row {
            place,
            title,
            start,
            end: None,
            description: topic_of(&description).unwrap_or(description),
            location: if location.eq_ignore_ascii_case("n/a") { String::new() } else { location },
            visibility: if for_staff { "staff" } else { "public" }.to_owned(),
            target_all_students: !for_staff,
            related_unit: None,
            generation_meta: json!({ "csv_meta": kept }),
        })
    })
}

/// Of remarks for whoever writes the texts, such as `Tone: friendly; topic: remind students to bring a card`, the topic as a
/// sentence: that is what people are to read. Other remarks are for people as they are.
fn topic_of(remarks: &str) -> Option<String> {
    let parts = remarks.split(';').map(|part| part.split_once(':').map(|(name, value)| (column(name), value.trim())));
    let parts: Vec<(String, &str)> = parts.collect::<Option<_>>()?;
    let part = |wanted: &str| parts.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    let (Some(_), Some(topic)) = (part("tone"), part("topic").filter(|topic| !topic.is_empty())) else { return None };
    let mut letters = topic.chars();
    let mut sentence: String = letters.next()?.to_uppercase().chain(letters).collect();
    if !sentence.ends_with(['.', '!', '?', '…']) {
        sentence.push('.');
    }
    Some(sentence)
}

/// Looks at the texts, whatever they are called, and makes the row if nothing is wrong.
fn checked(
    mut faults: Faults,
    (title, description, location): (&str, &str, &str),
    cells: &Cells,
    make: impl FnOnce(String, String, String) -> Option<Row>,
) -> Result<Row, Faults> {
    let text = |name: &str| cell(cells, &name.to_lowercase()).to_owned();
    faults.name(title, &text(title), 255);
    faults.text(description, &text(description), 20_000);
    faults.text(location, &text(location), 255);
    match make(text(title), text(description), text(location)) {
        Some(row) if faults.is_empty() => Ok(row),
        _ => Err(faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(csv: &str) -> Vec<String> {
        of_file("data", csv.as_bytes()).unwrap().rows.iter().map(|row| row.start.rfc3339()).collect()
    }

    #[test]
    fn days_stand_first_unless_a_row_fits_only_the_other_way() {
        assert_eq!(starts("title,start\na,03/04/2026"), ["2026-04-03T00:00:00.000000Z"]);
        assert_eq!(
            starts("title,start\na,03/04/2026 9:30 PM\nb,3.31.2026"),
            ["2026-03-04T21:30:00.000000Z", "2026-03-31T00:00:00.000000Z"]
        );
        assert_eq!(starts("title;start\r\na;2026-04-03T10:00:00+10:00"), ["2026-04-03T00:00:00.000000Z"]);
        let both = of_file("data", b"title,start\na,31/03/2026\nb,03/31/2026").unwrap_err();
        assert!(
            both.detail()
                .contains("row 2 of the sheet only fits day first, that of row 3 of the sheet only month first"),
            "{both}"
        );
    }

    #[test]
    fn quotes_marks_and_missing_fields_are_understood() {
        let sheet =
            of_file("data", "\u{feff}Title,START,description\r\n\"a, \"\"b\"\"\",2026-04-03\r\n,,\r\n".as_bytes());
        let sheet = sheet.unwrap();
        assert_eq!((sheet.rows[0].title.as_str(), sheet.rows[0].description.as_str()), ("a, \"b\"", ""));
        assert_eq!((sheet.rows.len(), sheet.faults.len()), (1, 0));
    }
}
