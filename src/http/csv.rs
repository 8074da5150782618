//! Tables as CSV files to keep: UTF-8, a header row, quoted by RFC 4180, and safe to open in a spreadsheet.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::json;

use super::answer::etag;
use super::describe::{Answers, Describe, Notes, Schemas};
use super::disposition::name_file;
use super::list::{Asked, query_pairs};
use super::problem::{Answer, Faults, Problem};
use super::text::one_line;
use super::verbs::Resource;
use crate::app::AppState;
use crate::ids::{Id, Moment};

/// A CSV file, sent to be saved.
#[derive(Debug)]
pub struct Csv {
    file_name: String,
    bytes: Vec<u8>,
}

/// A field of a CSV file. Text comes in by [`From`] alone, so none is written that a spreadsheet would calculate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell(String);

/// What a table is asked for as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// JSON.
    #[default]
    Json,
    /// A CSV file.
    Csv,
}

/// An answer in JSON, or the CSV file that `?format=csv` asked for.
pub enum OrCsv<A> {
    /// The answer.
    Json(A),
    /// The file.
    Csv(Csv),
}

/// A list's checked query string, and the format that is asked for in it.
#[derive(Debug)]
pub struct AskedAs<R> {
    /// What the list is asked for.
    pub asked: Asked<R>,
    /// And as what.
    pub format: Format,
}

impl Csv {
    /// The file of this name: a header, and rows with as many cells.
    ///
    /// # Errors
    /// 500 when a row has more or fewer cells than the header.
    pub fn with(file_name: &str, head: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> Answer<Self> {
        let mut file = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(MARK.to_vec());
        file.write_record(head).map_err(Problem::internal)?;
        for row in rows {
            file.write_record(row.iter().map(|cell| &cell.0)).map_err(Problem::internal)?;
        }
        let bytes = file.into_inner().map_err(|error| Problem::internal(anyhow::anyhow!("{error}")))?;
        Ok(Self { file_name: plain(file_name), bytes })
    }
}

/// Says that UTF-8 follows: Excel takes a file without it for one in the letters of the machine.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A name that is a file's on any system.
fn plain(name: &str) -> String {
    let is_plain = |sign: char| sign.is_alphanumeric() || "._-".contains(sign);
    one_line(name).chars().map(|sign| if is_plain(sign) { sign } else { '_' }).collect()
}

impl From<Moment> for Cell {
    /// In local time (`TIME_ZONE`), as spreadsheets take it for a moment.
    fn from(moment: Moment) -> Self {
        Self(moment.local().format("%Y-%m-%d %H:%M:%S").to_string())
    }
}

impl From<&str> for Cell {
    /// A leading apostrophe keeps a spreadsheet from taking the text for a formula, whoever wrote it.
    fn from(text: &str) -> Self {
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            Self(format!("'{text}"))
        } else {
            Self(text.to_owned())
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

macro_rules! cells_that_are_no_text {
    ($($of:ty),+) => {
        $(impl From<$of> for Cell {
            fn from(value: $of) -> Self {
                Self(value.to_string())
            }
        })+
    };
}
cells_that_are_no_text!(Id, NaiveDate, Decimal, i32, i64);

impl<T: Into<Cell>> From<Option<T>> for Cell {
    /// An absent value is an empty cell.
    fn from(value: Option<T>) -> Self {
        value.map_or_else(|| Self(String::new()), Into::into)
    }
}

impl IntoResponse for Csv {
    fn into_response(self) -> Response {
        let tag = etag(&self.bytes);
        let mut response = ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], self.bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        name_file(headers, "attachment", &self.file_name);
        response
    }
}

impl Answers for Csv {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.answers(200, "The file.", "text/csv", Some(json!({ "type": "string" })));
    }
}

impl<A: IntoResponse> IntoResponse for OrCsv<A> {
    fn into_response(self) -> Response {
        match self {
            Self::Json(answer) => answer.into_response(),
            Self::Csv(file) => file.into_response(),
        }
    }
}

impl<A: Answers> Answers for OrCsv<A> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        A::describe(notes, schemas);
        notes.also(200, "text/csv", json!({ "type": "string" }));
    }
}

impl Format {
    /// The format of that name.
    ///
    /// # Errors
    /// What is wrong with the name, for people.
    pub fn named(name: &str) -> Result<Self, &'static str> {
        match name {
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            _ => Err("`json` or `csv` is expected."),
        }
    }

    /// Adds the parameter to an endpoint's description.
    pub fn describe(notes: &mut Notes) {
        notes.parameter("query", "format", json!({ "type": "string", "enum": ["json", "csv"], "default": "json" }), "");
    }
}

impl<R: Resource> FromRequestParts<AppState> for AskedAs<R> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        let mut faults = Faults::default();
        let mut format = Format::default();
        let (formats, pairs): (Vec<_>, Vec<_>) = query_pairs(head)?.into_iter().partition(|(name, _)| name == "format");
        for (name, value) in formats {
            match Format::named(&value) {
                Ok(named) => format = named,
                Err(says) => faults.add(name, says),
            }
        }
        Ok(Self { asked: Asked::of(&pairs, faults, head, app)?, format })
    }
}

impl<R: Resource> Describe for AskedAs<R> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        Asked::<R>::describe(notes, schemas);
        Format::describe(notes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_a_spreadsheet_would_calculate_gets_an_apostrophe() {
        for (text, written) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("a=1", "a=1"),
            ("'=1", "'=1"),
            ("", ""),
        ] {
            assert_eq!(Cell::from(text), Cell(written.to_owned()));
        }
        assert_eq!(Cell::from(-1), Cell("-1".to_owned()), "a number is one");
    }

    #[test]
    fn a_file_name_cannot_leave_its_header() {
        assert_eq!(plain("class-COS\"; x=\"/../é\r\n.csv"), "class-COS___x___.._é_.csv");
    }

    #[test]
    fn every_row_has_the_cells_of_the_header() {
        assert!(Csv::with("a.csv", &["a", "b"], [vec!["1".into()]]).is_err());
        let file = Csv::with("a.csv", &["a", "b"], [vec!["1,\"2\"".into(), "x\ny".into()]]).unwrap();
        assert_eq!(String::from_utf8(file.bytes).unwrap(), "\u{feff}a,b\r\n\"1,\"\"2\"\"\",\"x\ny\"\r\n");
    }
}
