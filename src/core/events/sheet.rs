//! Events as rows: a CSV file in either of its shapes, or the same columns as JSON.
//!
//! Nothing here asks the database. A row that breaks a rule is a fault of its own, so that a caller learns of all of them
//! at once.

use chrono::{NaiveDate, NaiveTime};
use serde_json::{Map, Value, json};

use crate::http::sheet::{Cells, RowFault, Table, cell};
use crate::http::{Answer, Faults, Problem};
use crate::ids::{Id, Moment};

/// An event that a row describes.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The place among the rows, from 1; the header is none.
    pub(super) number: usize,
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
}

/// How a row of one of the shapes is read.
type ReadRow = fn(usize, &Cells, DateOrder) -> Result<Row, Faults>;

/// Which way round days and months stand in dates like 03/04/2026.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DateOrder {
    DayFirst,
    MonthFirst,
}

/// Reads a CSV file.
///
/// # Errors
/// 400 on `field` when it is none or has neither of the two headers.
pub(super) fn of_csv(field: &str, bytes: &[u8]) -> Answer<Sheet> {
    read(field, Table::of_csv(field, bytes)?)
}

/// Reads rows that came as JSON objects with the columns of either shape.
///
/// # Errors
/// 400 on `field` when they have the columns of neither.
pub(super) fn of_json(field: &str, rows: &[Map<String, Value>]) -> Answer<Sheet> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    };
    let cells = |row: &Map<String, Value>| -> Cells {
        row.iter().map(|(name, value)| (name.trim().to_lowercase(), text(value))).collect()
    };
    let rows: Vec<(usize, Cells)> = rows.iter().enumerate().map(|(index, row)| (index + 1, cells(row))).collect();
    let names = rows.iter().flat_map(|(_, cells)| cells.keys().cloned()).collect();
    read(field, Table { names, rows, faults: Vec::new() })
}

fn read(field: &str, table: Table) -> Answer<Sheet> {
    let (date_column, of_row): (&str, ReadRow) = if table.has("event_title") && table.has("event_date") {
        ("event_date", rich_row)
    } else if table.has("title") && table.has("start") {
        ("start", plain_row)
    } else {
        let says = "The columns `title` and `start`, or `Event_Title` and `Event_Date`, are needed.";
        return Err(Problem::invalid(field, says));
    };
    let order = date_order(field, date_column, &table.rows)?;
    let mut sheet = Sheet { rows: Vec::new(), faults: table.faults };
    for (number, cells) in &table.rows {
        match of_row(*number, cells, order) {
            Ok(row) => sheet.rows.push(row),
            Err(faults) => sheet.faults.extend(faults.of_row(*number)),
        }
    }
    sheet.faults.sort_by_key(|fault| fault.row);
    Ok(sheet)
}

/// Day first, unless a row fits only the other way; then the whole file is read that way.
fn date_order(field: &str, column: &str, table: &[(usize, Cells)]) -> Answer<DateOrder> {
    let mut columns = vec![column];
    if column == "start" {
        columns.push("end");
    }
    let (mut only_day, mut only_month) = (None, None);
    for (number, cells) in table {
        for column in &columns {
            let Some((first, second, _)) = cells.get(*column).and_then(|text| slashed(text)) else { continue };
            if first > 12 && second <= 12 {
                only_day.get_or_insert(*number);
            } else if second > 12 && first <= 12 {
                only_month.get_or_insert(*number);
            }
        }
    }
    match (only_day, only_month) {
        (Some(day), Some(month)) => Err(Problem::invalid(
            field,
            format!("The date of row {day} only fits day first, that of row {month} only month first."),
        )),
        (None, Some(_)) => Ok(DateOrder::MonthFirst),
        (Some(_) | None, None) => Ok(DateOrder::DayFirst),
    }
}

/// The two numbers and the year that a date like 3/4/2026, 3.4.2026 or 3-4-2026 begins with.
fn slashed(text: &str) -> Option<(u32, u32, i32)> {
    let date = text.split([' ', 'T']).next()?;
    let mut parts = date.split(['/', '.', '-']);
    let (first, second, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 || first.len() > 2 || second.len() > 2 {
        return None;
    }
    Some((first.parse().ok()?, second.parse().ok()?, year.parse().ok()?))
}

const DATE_SAYS: &str = "A date such as 2026-03-31 or 31/03/2026 is expected.";

/// A day, and what stands after it.
fn day(text: &str, order: DateOrder) -> Option<(NaiveDate, &str)> {
    let (date, rest) = text.split_once([' ', 'T']).unwrap_or((text, ""));
    let day = match slashed(date) {
        Some((first, second, year)) => {
            let (day, month) = if order == DateOrder::DayFirst { (first, second) } else { (second, first) };
            NaiveDate::from_ymd_opt(year, month, day)?
        }
        None => date.parse().ok()?,
    };
    Some((day, rest.trim()))
}

/// A time of day, in 24 hours or with am and pm.
fn time(text: &str) -> Option<NaiveTime> {
    let text = text.to_uppercase();
    ["%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M%p"].iter().find_map(|form| NaiveTime::parse_from_str(&text, form).ok())
}

/// The moment of a local day and time.
fn moment(day: NaiveDate, time: NaiveTime) -> Result<Moment, &'static str> {
    format!("{day}T{time}").parse()
}

/// How a moment is read: as a beginning, or as an end.
type Edge = fn(&str) -> Result<Moment, &'static str>;

/// A moment as one column has it: RFC 3339, or a day with or without a time.
fn moment_in(text: &str, order: DateOrder, edge: Edge) -> Result<Moment, &'static str> {
    if let Ok(exact) = edge(text) {
        return Ok(exact);
    }
    let (day, rest) = day(text, order).ok_or(DATE_SAYS)?;
    if rest.is_empty() {
        return edge(&day.to_string());
    }
    moment(day, time(rest).ok_or("A time such as 14:30 is expected.")?)
}

/// `title,start` and, if there, `description,end,location,visibility,related_unit_id`.
fn plain_row(number: usize, cells: &Cells, order: DateOrder) -> Result<Row, Faults> {
    let mut faults = Faults::default();
    let at = |faults: &mut Faults, name: &str, edge: Edge| match cell(cells, name) {
        "" => None,
        text => moment_in(text, order, edge).map_err(|says| faults.add(name, says)).ok(),
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
            number,
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

/// `Event_Title,Event_Date` and, if there, the other columns of a campus calendar.
fn rich_row(number: usize, cells: &Cells, order: DateOrder) -> Result<Row, Faults> {
    const KEPT: [&str; 5] = ["Notify_Rule", "Channels", "Target_Audience", "Dept_Filter", "Assets_URL"];
    let mut faults = Faults::default();
    let date = match cell(cells, "event_date") {
        "" => {
            faults.add("Event_Date", "This field is required.");
            None
        }
        text => {
            let found = day(text, order).map(|(day, _)| day);
            faults.unless(found.is_some(), "Event_Date", DATE_SAYS);
            found
        }
    };
    let begins = match cell(cells, "start_time") {
        "" => NaiveTime::from_hms_opt(8, 0, 0),
        text => {
            let found = time(text);
            faults.unless(found.is_some(), "Start_Time", "A time such as 14:30 is expected.");
            found
        }
    };
    let start = date
        .zip(begins)
        .and_then(|(date, begins)| moment(date, begins).map_err(|says| faults.add("Start_Time", says)).ok());
    let audience = cell(cells, "target_audience").to_lowercase();
    let for_staff = audience.contains("staff") && !audience.contains("student") && !audience.contains("parent");
    let kept: Map<String, Value> =
        KEPT.iter().map(|name| ((*name).to_owned(), json!(cell(cells, &name.to_lowercase())))).collect();
    checked(faults, ("Event_Title", "Content_Remarks", "Location"), cells, |title, description, location| {
        start.map(|start| Row {
            number,
            title,
            start,
            end: None,
            description,
            location: if location.eq_ignore_ascii_case("n/a") { String::new() } else { location },
            visibility: if for_staff { "staff" } else { "public" }.to_owned(),
            target_all_students: !for_staff,
            related_unit: None,
            generation_meta: json!({ "csv_meta": kept }),
        })
    })
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
        of_csv("data", csv.as_bytes()).unwrap().rows.iter().map(|row| row.start.rfc3339()).collect()
    }

    #[test]
    fn days_stand_first_unless_a_row_fits_only_the_other_way() {
        assert_eq!(starts("title,start\na,03/04/2026"), ["2026-04-03T00:00:00.000000Z"]);
        assert_eq!(
            starts("title,start\na,03/04/2026 9:30 PM\nb,3.31.2026"),
            ["2026-03-04T21:30:00.000000Z", "2026-03-31T00:00:00.000000Z"]
        );
        assert_eq!(starts("title;start\r\na;2026-04-03T10:00:00+10:00"), ["2026-04-03T00:00:00.000000Z"]);
        let both = of_csv("data", b"title,start\na,31/03/2026\nb,03/31/2026").unwrap_err();
        assert!(both.detail().contains("row 1 only fits day first, that of row 2 only month first"), "{both}");
    }

    #[test]
    fn quotes_marks_and_missing_fields_are_understood() {
        let sheet =
            of_csv("data", "\u{feff}Title,START,description\r\n\"a, \"\"b\"\"\",2026-04-03\r\n,,\r\n".as_bytes());
        let sheet = sheet.unwrap();
        assert_eq!((sheet.rows[0].title.as_str(), sheet.rows[0].description.as_str()), ("a, \"b\"", ""));
        assert_eq!((sheet.rows.len(), sheet.faults.len()), (1, 0));
    }
}
