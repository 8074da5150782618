//! Tables that people send to be taken in: what a CSV file says, row by row, and how its faults are told.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Answer, Faults, MOST_FAULTS, Problem};

/// The most rows that are taken at once.
pub const MOST_ROWS: usize = 20_000;

/// The most columns of a table: a cell is kept for each of them in every row, also where a row is short.
const MOST_COLUMNS: usize = 100;

/// A row's columns by their names in lower case.
pub type Cells = BTreeMap<String, String>;

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RowFault {
    /// The place among the rows, from 1; the header is none.
    pub row: usize,
    /// The column.
    pub field: String,
    /// What is wrong, for people.
    pub error: String,
}

/// A CSV file as it was read.
#[derive(Debug, Default)]
pub struct Table {
    /// The names of the columns, in lower case.
    pub names: Vec<String>,
    /// The rows that are not empty, each with its place among all, from 1.
    pub rows: Vec<(usize, Cells)>,
    /// The rows that are no rows.
    pub faults: Vec<RowFault>,
}

const NO_CSV: &str = "A CSV file in UTF-8 is expected.";

/// The text of a file in UTF-8, without a byte order mark.
///
/// # Errors
/// 400 on `field` when it is none.
pub fn text_of<'a>(field: &str, bytes: &'a [u8]) -> Answer<&'a str> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| Problem::invalid(field, NO_CSV))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

impl Table {
    /// Reads a CSV file in UTF-8, with or without a byte order mark, with commas or semicolons.
    ///
    /// # Errors
    /// 400 on `field` when it is no such file, or has more than [`MOST_ROWS`].
    pub fn of_csv(field: &str, bytes: &[u8]) -> Answer<Self> {
        let text = text_of(field, bytes)?;
        let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let delimiter = if header.matches(';').count() > header.matches(',').count() { b';' } else { b',' };
        let mut file = csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(text.as_bytes());
        let names = file.headers().map_err(|_| Problem::invalid(field, NO_CSV))?;
        let names: Vec<String> = names.iter().map(|name| name.trim().to_lowercase()).collect();
        if names.len() > MOST_COLUMNS {
            let says = format!("At most {MOST_COLUMNS} columns are taken; the first line has {}.", names.len());
            return Err(Problem::invalid(field, says));
        }
        let (mut rows, mut faults) = (Vec::new(), Vec::new());
        for (index, record) in file.records().enumerate() {
            let number = index + 1;
            let record = record.map_err(|_| Problem::invalid(field, NO_CSV))?;
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            if record.iter().skip(names.len()).any(|cell| !cell.trim().is_empty()) {
                let error = format!("The row has {} fields, the header {}.", record.len(), names.len());
                faults.push(RowFault { row: number, field: "row".to_owned(), error });
                continue;
            }
            // Missing trailing fields are empty.
            let cell = |place: usize| record.get(place).unwrap_or_default().trim().to_owned();
            rows.push((number, names.iter().enumerate().map(|(place, name)| (name.clone(), cell(place))).collect()));
            if rows.len() > MOST_ROWS {
                return Err(Problem::invalid(field, format!("At most {MOST_ROWS} rows are taken at once.")));
            }
        }
        Ok(Self { names, rows, faults })
    }

    /// Whether there is a column of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

/// What stands in a column; nothing where there is none.
#[must_use]
pub fn cell<'a>(cells: &'a Cells, name: &str) -> &'a str {
    cells.get(name).map_or("", String::as_str)
}

impl Faults {
    /// All that is wrong with this row.
    pub fn of_row(self, row: usize) -> impl Iterator<Item = RowFault> {
        self.into_pairs().map(move |(field, error)| RowFault { row, field, error })
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
        named.add_at(|| format!("rows[{}].{}", fault.row, fault.field), fault.error.clone());
    }
    let says = format!("{} rows break a rule, so {outcome}; see row_errors.", rejected(faults));
    let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid", says)
        .with("row_errors", serde_json::to_value(told(faults)).map_err(Problem::internal)?);
    named.refuse_with(problem)
}

/// As many of the faults as an answer tells.
#[must_use]
pub fn told(faults: &[RowFault]) -> &[RowFault] {
    faults.get(..MOST_FAULTS).unwrap_or(faults)
}
