//! Tables that people send to be taken in: what a file says, row by row, and how its faults are told.
//!
//! This is the one reader of every such file. Nothing in it guesses: a file that can be read in two ways is refused with what
//! to change, because what it brings in may be hard to take back.

mod records;
mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::json;
use unicode_normalization::UnicodeNormalization as _;
use utoipa::ToSchema;

use self::records::{Broken, Record, Records};
pub use self::text::{NoText, text_of};
use super::dry_run::{Reason, Trial};
use super::problem::{Answer, Faults, MOST_FAULTS, Problem};
use super::text::Text;
use super::unread::never as never_read;

/// The most rows that are taken at once.
pub const MOST_ROWS: usize = 20_000;

/// The most columns of a table: a cell is kept for each of them in every row, also where a row is short.
const MOST_COLUMNS: usize = 100;

/// The header is looked for in so many rows that say something.
const HEADER_WITHIN: usize = 20;

/// A row's columns by their names in lower case.
pub type Cells = BTreeMap<String, String>;

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The place among the rows below the header, from 1, empty ones counted.
    pub row: usize,
    /// The number that a spreadsheet program shows beside it; none of what did not come as a sheet.
    pub sheet_row: Option<usize>,
}

impl Place {
    /// The number by which people find it.
    #[must_use]
    pub fn number(self) -> usize {
        self.sheet_row.unwrap_or(self.row)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sheet_row {
            Some(number) => write!(f, "row {number} of the sheet"),
            None => write!(f, "row {}", self.row),
        }
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RowFault {
    /// The place among the rows below the header, from 1, empty ones counted.
    pub row: usize,
    /// The number that a spreadsheet program shows beside the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet_row: Option<usize>,
    /// The column.
    pub field: String,
    /// What is wrong, for people.
    pub error: String,
}

impl RowFault {
    /// What is wrong with a column of the row there.
    pub fn at(place: Place, field: impl Into<String>, error: impl Into<String>) -> Self {
        Self { row: place.row, sheet_row: place.sheet_row, field: field.into(), error: error.into() }
    }

    fn place(&self) -> Place {
        Place { row: self.row, sheet_row: self.sheet_row }
    }
}

/// What makes a table one of its kind.
#[derive(Debug)]
pub struct Shape {
    /// The columns that it cannot do without, as people write them.
    pub needed: &'static [&'static str],
    /// The other columns that are read, in lower case. What is not named is told to whoever sent it, and cannot be read.
    pub others: &'static [&'static str],
    /// One of these, in lower case, and whether a text is like what stands in it. By that a row is known inside of a cell.
    pub telling: (&'static str, fn(&str) -> bool),
}

/// A file as it was read.
#[derive(Debug)]
pub struct Table {
    /// Which of the shapes that were asked for it has.
    pub shape: &'static Shape,
    /// The rows that are not empty.
    pub rows: Vec<(Place, Cells)>,
    /// The rows that are no rows.
    pub faults: Vec<RowFault>,
    /// The columns that nothing reads.
    pub unread: Vec<String>,
}

impl Shape {
    /// Whether a column, by its name in lower case, is read.
    #[must_use]
    pub fn reads(&self, name: &str) -> bool {
        self.others.contains(&name) || self.needed.iter().any(|needed| needed.to_lowercase() == name)
    }
}

/// A header and the rows below it.
struct Found<'t> {
    shape: &'static Shape,
    names: Vec<String>,
    number: usize,
    below: Records<'t>,
}

/// What to do about a file that is no such text.
const SAVE_AS: &str = "In the spreadsheet program choose Save As, \"CSV UTF-8\", and send that file.";

/// The text of a sheet.
///
/// # Errors
/// 400 on `field` when it is none.
pub fn sheet_text<'a>(field: &str, bytes: &'a [u8]) -> Answer<Cow<'a, str>> {
    text_of(bytes).map_err(|no_text| Problem::about(field, format!("{no_text} {SAVE_AS}")))
}

/// A column's name as it is compared: in compatible letters (NFKC) and lower case, without blanks around it and without signs
/// that nobody sees.
#[must_use]
pub fn column(name: &str) -> String {
    let seen = |letter: &char| !matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}');
    name.chars().filter(seen).nfkc().collect::<String>().trim().to_lowercase()
}

impl Table {
    /// Reads a file: a text with commas, semicolons or tabs, and a header of one of these shapes.
    ///
    /// # Errors
    /// 400 on `field` when it is none, when a quote or a name leaves open what is meant, or for more than [`MOST_ROWS`] rows.
    pub fn of_file(field: &str, bytes: &[u8], shapes: &[&'static Shape]) -> Answer<Self> {
        let text = sheet_text(field, bytes)?;
        let (text, delimiters) = hinted(&text);
        let refuse = |says: String| Problem::about(field, says);
        let Found { shape, names, number: header, below } = found(text, &delimiters, shapes).map_err(refuse)?;
        let unread: Vec<String> = names.iter().filter(|name| !name.is_empty() && !shape.reads(name)).cloned().collect();
        never_read(unread.clone());
        let (mut rows, mut faults) = (Vec::new(), Vec::new());
        for record in below.clone() {
            let record = record.map_err(|broken| refuse(says_of(broken)))?;
            if record.width == 0 {
                continue;
            }
            let place = Place { row: record.number - header, sheet_row: Some(record.number) };
            if record.width > names.len() {
                let error = format!("The row has {} fields, the header {}.", record.width, names.len());
                faults.push(RowFault::at(place, "row", error));
                continue;
            }
            if let Some(name) = swallows_rows(&record, &names, shape, &below) {
                return Err(refuse(format!(
                    "The cell `{name}` in {place} runs over several lines that look like rows of their own. A quote (\") is \
                     probably not closed there. Close it, or write the cell without line breaks."
                )));
            }
            rows.push((place, cells_of(shape, &names, &record)));
            if rows.len() > MOST_ROWS {
                return Err(refuse(format!("At most {MOST_ROWS} rows are taken at once.")));
            }
        }
        if rows.is_empty() && faults.is_empty() {
            return Err(refuse("The file has no rows.".to_owned()));
        }
        Ok(Self { shape, rows, faults, unread })
    }
}

/// A first line such as `sep=;`, in which a program says what stands between cells, is none of the sheet.
fn hinted(text: &str) -> (&str, Vec<char>) {
    let (first, rest) = text.split_once(['\r', '\n']).unwrap_or((text, ""));
    let hint = first.trim().trim_matches('"').to_ascii_lowercase();
    match hint.strip_prefix("sep=").map(|said| (said.chars().next(), said.chars().count())) {
        Some((Some(delimiter), 1)) if !delimiter.is_alphanumeric() && delimiter != '"' => {
            (rest.strip_prefix('\n').unwrap_or(rest), vec![delimiter])
        }
        // A tab is trimmed away.
        Some((None, _)) => (rest.strip_prefix('\n').unwrap_or(rest), vec!['\t', ',', ';']),
        _ => (text, vec![',', ';', '\t']),
    }
}

/// The first row with the columns of a shape. Above it a title may stand, and nothing that could be a row.
fn found<'t>(text: &'t str, delimiters: &[char], shapes: &[&'static Shape]) -> Result<Found<'t>, String> {
    for delimiter in delimiters {
        let mut records = Records::of(text, *delimiter);
        let mut above = None;
        let mut looked_at = 0;
        while let Some(Ok(record)) = records.next() {
            let names: Vec<String> = record.cells.iter().take(record.width).map(|cell| column(cell)).collect();
            let has = |shape: &&&Shape| missing(shape, &names).is_empty();
            if let Some(shape) = shapes.iter().find(has) {
                if let Some(above) = above {
                    return Err(format!(
                        "The columns that are wanted stand in row {} of the sheet, but row {above} has several cells too. \
                         Remove what stands above the header.",
                        record.number
                    ));
                }
                refuse_too_wide(&record)?;
                refuse_twins(&names)?;
                return Ok(Found { shape, names, number: record.number, below: records });
            }
            if record.width > 0 {
                looked_at += 1;
                let says_something = record.cells.iter().filter(|cell| !cell.trim().is_empty()).count();
                above = above.or_else(|| (says_something > 1).then_some(record.number));
            }
            if looked_at == HEADER_WITHIN {
                break;
            }
        }
    }
    Err(no_header(text, delimiters, shapes))
}

/// Which of the columns that the shape needs are not there.
fn missing(shape: &Shape, names: &[String]) -> Vec<&'static str> {
    let is_there = |needed: &str| names.iter().any(|name| *name == needed.to_lowercase());
    shape.needed.iter().copied().filter(|needed| !is_there(needed)).collect()
}

/// What is wrong with a text in which no row has the columns of a shape.
fn no_header(text: &str, delimiters: &[char], shapes: &[&'static Shape]) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    // The last of those that are alike: commas, unless there is something else.
    let delimiter = delimiters.iter().rev().max_by_key(|delimiter| line.matches(**delimiter).count()).unwrap_or(&',');
    let mut first =
        Records::of(text, *delimiter).skip_while(|record| record.as_ref().is_ok_and(|record| record.width == 0));
    let first = match first.next() {
        Some(Ok(first)) => first,
        Some(Err(broken)) => return says_of(broken),
        None => return "The file has no rows.".to_owned(),
    };
    if let Err(says) = refuse_too_wide(&first) {
        return says;
    }
    let quoted = |names: &mut dyn Iterator<Item = &str>| names.map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let needed = |shape: &&Shape| listed(&quoted(&mut shape.needed.iter().copied()));
    let comma = if shapes.len() > 1 { "," } else { "" };
    let needed = shapes.iter().map(needed).collect::<Vec<_>>().join(", or ");
    let mut says = format!("The columns {needed}{comma} are needed. ");
    let found = quoted(&mut first.cells.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()).take(10));
    let _ = write!(says, "Row {} of the sheet has {}.", first.number, found.join(", "));
    let names: Vec<String> = first.cells.iter().map(|cell| column(cell)).collect();
    let nearest = shapes.iter().map(|shape| (shape, missing(shape, &names))).min_by_key(|(_, missing)| missing.len());
    if let Some((shape, missing)) = nearest
        && missing.len() < shape.needed.len()
    {
        let _ = write!(says, " Missing: {}.", quoted(&mut missing.into_iter()).join(", "));
    }
    says
}

fn refuse_too_wide(header: &Record<'_>) -> Result<(), String> {
    if header.width <= MOST_COLUMNS {
        return Ok(());
    }
    Err(format!("At most {MOST_COLUMNS} columns are taken; row {} of the sheet has {}.", header.number, header.width))
}

/// `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// Columns without a name say nothing, however many there are.
fn refuse_twins(names: &[String]) -> Result<(), String> {
    for (place, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if names.iter().take(place).any(|other| other == name) {
            return Err(format!("The column `{name}` stands twice in the header; which of them counts?"));
        }
    }
    Ok(())
}

fn says_of(broken: Broken) -> String {
    match broken {
        Broken::Unclosed(row) => format!(
            "In row {row} of the sheet a quote (\") opens that nothing closes, so it is not known where its cell ends. Close \
             it; a quote within a quoted cell is written twice (\"\")."
        ),
        Broken::AfterQuote(row) => format!(
            "In row {row} of the sheet there is text after a closing quote (\"). A quote within a quoted cell is written \
             twice (\"\")."
        ),
    }
}

fn cells_of(shape: &Shape, names: &[String], record: &Record<'_>) -> Cells {
    // Missing trailing fields are empty.
    let cell = |place: usize| record.cells.get(place).map_or("", |cell| cell.trim());
    let columns = names.iter().enumerate().filter(|(_, name)| shape.reads(name));
    columns.map(|(place, name)| (name.clone(), Text::of(name).kept(cell(place)).into_owned())).collect()
}

/// The column whose cell has lines that are rows of this shape: what a quote that is closed far too late leaves behind.
fn swallows_rows<'n>(record: &Record<'_>, names: &'n [String], shape: &Shape, like: &Records<'_>) -> Option<&'n str> {
    // So many lines of a cell are looked at.
    const LINES: usize = 1000;
    let place = |wanted: &str| names.iter().position(|name| *name == wanted.to_lowercase());
    let (telling, is_like_it) = shape.telling;
    let is_row = |line: &str| {
        let Some(Ok(record)) = like.over(line).next() else { return false };
        let in_column = |wanted: &str| {
            place(wanted)
                .and_then(|place| record.cells.get(place))
                .map(|cell| cell.trim())
                .filter(|cell| !cell.is_empty())
        };
        record.width <= names.len()
            && shape.needed.iter().all(|name| in_column(name).is_some())
            && in_column(telling).is_some_and(is_like_it)
    };
    let swallows = |text: &Cow<'_, str>| text.contains(['\n', '\r']) && text.lines().skip(1).take(LINES).any(is_row);
    record.cells.iter().zip(names).find_map(|(cell, name)| swallows(cell).then_some(name.as_str()))
}

/// A sentence about columns that nothing reads, to be set behind others; nothing where there are none.
#[must_use]
pub fn says_of_unread(columns: &[String]) -> String {
    // So many are named.
    const SHOWN: usize = 10;
    if columns.is_empty() {
        return String::new();
    }
    let mut named: Vec<String> = columns.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match columns.len().saturating_sub(SHOWN) {
        0 => {}
        1 => named.push("1 more".to_owned()),
        more => named.push(format!("{more} more")),
    }
    let (column, are) = if columns.len() == 1 { ("column", "was") } else { ("columns", "were") };
    format!(" The {column} {} {are} not read.", listed(&named))
}

/// What stands in a column; nothing where there is none.
#[must_use]
pub fn cell<'a>(cells: &'a Cells, name: &str) -> &'a str {
    cells.get(name).map_or("", String::as_str)
}

impl Faults {
    /// All that is wrong with this row.
    pub fn of_row(self, place: Place) -> impl Iterator<Item = RowFault> {
        self.into_pairs().map(move |(field, error)| RowFault::at(place, field, error))
    }
}

/// How many rows the faults are of, which stand in the order of the rows.
#[must_use]
pub fn rejected(faults: &[RowFault]) -> usize {
    let mut rows: Vec<usize> = faults.iter().map(|fault| fault.row).collect();
    rows.dedup();
    rows.len()
}

/// Refuses with every row and column, unless nothing is wrong.
///
/// # Errors
/// 400 with `errors` and `row_errors`; `outcome` says in it what was not done.
pub fn refuse(faults: &[RowFault], outcome: &str) -> Answer<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let mut named = Faults::default();
    for fault in faults {
        let says = match fault.sheet_row {
            Some(number) => format!("{} (Row {number} of the sheet.)", fault.error),
            None => fault.error.clone(),
        };
        named.add_at(|| format!("rows[{}].{}", fault.row, fault.field), says);
    }
    let rows = match rejected(faults) {
        1 => "1 row breaks a rule".to_owned(),
        rows => format!("{rows} rows break a rule"),
    };
    let problem =
        Problem::new(StatusCode::BAD_REQUEST, "invalid", format!("{rows}, so {outcome}. {}", first_of(faults)))
            .with("row_errors", serde_json::to_value(told(faults)).map_err(Problem::internal)?);
    named.refuse_with(problem)
}

/// The first three of the faults, for people.
#[must_use]
pub fn first_of(faults: &[RowFault]) -> String {
    const FIRST: usize = 3;
    let mut says = faults.iter().take(FIRST).map(in_words).collect::<Vec<_>>().join(" ");
    match faults.len().saturating_sub(FIRST) {
        0 => {}
        1 => says.push_str(" There is 1 more fault."),
        more => {
            let _ = write!(says, " There are {more} more faults.");
        }
    }
    says
}

fn in_words(fault: &RowFault) -> String {
    let place = fault.place().to_string().replacen("row", "Row", 1);
    // What is wrong with a whole row has no column.
    let field = if fault.field == "row" { String::new() } else { format!(", {}", fault.field) };
    format!("{place}{field}: {}", fault.error)
}

/// As many of the faults as an answer tells.
#[must_use]
pub fn told(faults: &[RowFault]) -> &[RowFault] {
    faults.get(..MOST_FAULTS).unwrap_or(faults)
}

/// What an import would be answered with: `done`, unless something is wrong.
#[must_use]
pub fn trial(done: StatusCode, faults: &[RowFault]) -> Trial {
    let status = if faults.is_empty() { done } else { StatusCode::BAD_REQUEST };
    let reason = |fault: &RowFault| Reason {
        code: "invalid",
        detail: in_words(fault),
        facts: json!({ "row": fault.row, "sheet_row": fault.sheet_row, "field": fault.field }),
    };
    Trial::of(status, told(faults).iter().map(reason).collect())
}
