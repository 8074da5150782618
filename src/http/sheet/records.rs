//! A text split into rows and cells by RFC 4180, and not one step further: a quote that nothing closes, or text after a closing
//! one, is an error here and not a guess, since either can hide rows.

use std::borrow::Cow;

use super::MOST_COLUMNS;

/// A row of the sheet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'t> {
    /// The number that a spreadsheet program shows beside it: empty rows count, and a cell with line breaks is in one row.
    pub(super) number: usize,
    /// Its cells, up to the last column that is taken.
    pub(super) cells: Vec<Cow<'t, str>>,
    /// How many cells there are up to the last that says something.
    pub(super) width: usize,
}

/// Where a text cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// A quote opens in this row that nothing closes.
    Unclosed(usize),
    /// In this row there is text between a closing quote and the end of its cell.
    AfterQuote(usize),
}

/// The rows of a text.
#[derive(Debug, Clone)]
pub(super) struct Records<'t> {
    rest: &'t str,
    delimiter: char,
    number: usize,
}

/// What ends a cell.
#[derive(PartialEq)]
enum End {
    Cell,
    Row,
}

impl<'t> Records<'t> {
    pub(super) fn of(text: &'t str, delimiter: char) -> Self {
        Self { rest: text, delimiter, number: 0 }
    }

    /// The rows of another text that is written alike.
    pub(super) fn over<'o>(&self, text: &'o str) -> Records<'o> {
        Records::of(text, self.delimiter)
    }

    /// Takes the next cell, and what ends it.
    fn cell(&mut self) -> Result<(Cow<'t, str>, End), Broken> {
        // Blanks around a quoted cell are none of its text: `a, "b, c"` has two cells.
        let blank = |letter: char| matches!(letter, ' ' | '\t' | '\u{a0}') && letter != self.delimiter;
        let Some(quoted) = self.rest.trim_start_matches(blank).strip_prefix('"') else {
            let end = self.rest.find([self.delimiter, '\r', '\n']).unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
            let end = self.end(rest).unwrap_or(End::Row);
            return Ok((Cow::Borrowed(text), end));
        };
        let (first, mut rest) = quoted.split_once('"').ok_or(Broken::Unclosed(self.number))?;
        let mut text = Cow::Borrowed(first);
        while let Some(more) = rest.strip_prefix('"') {
            let (next, after) = more.split_once('"').ok_or(Broken::Unclosed(self.number))?;
            let text = text.to_mut();
            text.push('"');
            text.push_str(next);
            rest = after;
        }
        let end = self.end(rest.trim_start_matches(blank)).ok_or(Broken::AfterQuote(self.number))?;
        Ok((text, end))
    }

    /// Steps over what ends a cell; none when the rest begins with something else.
    fn end(&mut self, rest: &'t str) -> Option<End> {
        if let Some(rest) = rest.strip_prefix(self.delimiter) {
            self.rest = rest;
            return Some(End::Cell);
        }
        let line = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(['\r', '\n']));
        self.rest = line.or_else(|| rest.is_empty().then_some(""))?;
        Some(End::Row)
    }
}

impl<'t> Iterator for Records<'t> {
    type Item = Result<Record<'t>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let mut record = Record { number: self.number, cells: Vec::new(), width: 0 };
        for place in 1.. {
            let (cell, end) = match self.cell() {
                Ok(found) => found,
                Err(broken) => {
                    self.rest = "";
                    return Some(Err(broken));
                }
            };
            if !cell.trim().is_empty() {
                record.width = place;
            }
            if place <= MOST_COLUMNS {
                record.cells.push(cell);
            }
            if end == End::Row {
                break;
            }
        }
        Some(Ok(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(usize, Vec<String>)>, Broken> {
        let plain = |record: Record| (record.number, record.cells.into_iter().map(Cow::into_owned).collect());
        Records::of(text, ',').map(|record| record.map(plain)).collect()
    }

    #[test]
    fn cells_are_split_as_spreadsheets_write_them() {
        let rows = |rows: &[(usize, &[&str])]| {
            Ok(rows
                .iter()
                .map(|(number, cells)| (*number, cells.iter().map(|cell| (*cell).to_owned()).collect()))
                .collect())
        };
        assert_eq!(read(""), rows(&[]));
        assert_eq!(read("a,b\r\nc\rd,\n"), rows(&[(1, &["a", "b"]), (2, &["c"]), (3, &["d", ""])]));
        assert_eq!(
            read("\"a\r\nb\",\"c\"\"d\"\n\n,\ne"),
            rows(&[(1, &["a\r\nb", "c\"d"]), (2, &[""]), (3, &["", ""]), (4, &["e"])])
        );
        assert_eq!(read("a, \"b, c\" ,\"\",3.5\" disk"), rows(&[(1, &["a", "b, c", "", "3.5\" disk"])]));
    }

    #[test]
    fn quotes_that_do_not_match_are_told_where_they_open() {
        assert_eq!(read("a\n\nb,\"c\nd,e\n"), Err(Broken::Unclosed(3)));
        assert_eq!(read("a\nb,\"c\"\"\nd,e\n"), Err(Broken::Unclosed(2)));
        assert_eq!(read("a\nb,\"3.5\" disk\n"), Err(Broken::AfterQuote(2)));
    }
}
