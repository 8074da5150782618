//! Days and times as spreadsheets and people write them.

use chrono::{Datelike as _, NaiveDate, NaiveTime};

use crate::ids::Moment;

/// Which way round days and months stand in dates like 03/04/2026.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DateOrder {
    DayFirst,
    MonthFirst,
}

/// What is wrong with a text, for people.
type Says = std::borrow::Cow<'static, str>;

/// Years in which events are. Others are typing errors (206 for 2026) or what a program writes for an empty cell (1900).
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2100;

const DATE_SAYS: &str = "A date such as 2026-03-31 or 31/03/2026 is expected.";
const TIME_SAYS: &str = "A time such as 14:30 or 2:30 PM is expected.";

/// A day and the text of the time behind it, which any white space, a comma or a `T` separates.
fn parts(text: &str) -> (&str, &str) {
    let separates = |letter: char| letter.is_whitespace() || matches!(letter, ',' | 'T');
    match text.find(separates).and_then(|at| text.split_at_checked(at)) {
        Some((day, rest)) => (day, rest.trim_start_matches(separates).trim_end()),
        None => (text, ""),
    }
}

/// The three numbers of a date, and whether the year stands first.
fn numbers(date: &str) -> Option<([u32; 3], bool)> {
    let mut parts = date.split(['/', '.', '-']);
    let [first, second, third] = [parts.next()?, parts.next()?, parts.next()?];
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || ![first, second, third].into_iter().all(is_number) {
        return None;
    }
    let year_first = match (first.len(), second.len(), third.len()) {
        (4, 1..=2, 1..=2) => true,
        (1..=2, 1..=2, 4) => false,
        _ => return None,
    };
    Some(([first.parse().ok()?, second.parse().ok()?, third.parse().ok()?], year_first))
}

/// The one way round in which a date can be read that a text begins with, if there is but one.
pub(super) fn order_of(text: &str) -> Option<DateOrder> {
    let ([first, second, _], year_first) = numbers(parts(text).0)?;
    match (year_first, first > 12, second > 12) {
        (false, true, false) => Some(DateOrder::DayFirst),
        (false, false, true) => Some(DateOrder::MonthFirst),
        _ => None,
    }
}

/// A day, and what stands after it.
pub(super) fn day(text: &str, order: DateOrder) -> Result<(NaiveDate, &str), Says> {
    let (date, rest) = parts(text);
    let ([first, second, third], year_first) = numbers(date).ok_or(DATE_SAYS)?;
    let (year, month, day) = match (year_first, order) {
        (true, _) => (first, second, third),
        (false, DateOrder::DayFirst) => (third, second, first),
        (false, DateOrder::MonthFirst) => (third, first, second),
    };
    let day = i32::try_from(year).ok().and_then(|year| NaiveDate::from_ymd_opt(year, month, day)).ok_or(DATE_SAYS)?;
    likely(day.year())?;
    Ok((day, rest))
}

fn likely(year: i32) -> Result<(), Says> {
    if YEARS.contains(&year) {
        return Ok(());
    }
    Err(format!("The year {year} is surely a mistake; {} to {} are taken.", YEARS.start(), YEARS.end()).into())
}

/// A time of day: `14:30`, `14:30:00`, `14h30`, `2:30 PM`, and with the Vietnamese SA and CH for AM and PM.
pub(super) fn time(text: &str) -> Result<NaiveTime, Says> {
    read_time(text).ok_or(TIME_SAYS.into())
}

fn read_time(text: &str) -> Option<NaiveTime> {
    let spelt: String = text.chars().filter(|letter| !letter.is_whitespace()).flat_map(char::to_uppercase).collect();
    let halves = [("AM", 0), ("A.M.", 0), ("SA", 0), ("PM", 12), ("P.M.", 12), ("CH", 12)];
    let half = halves.iter().find_map(|(mark, plus)| spelt.strip_suffix(mark).map(|clock| (clock, *plus)));
    let clock = half.map_or(spelt.as_str(), |(clock, _)| clock);
    // `8h` is a time, a bare 8 is not.
    let clock = clock.strip_suffix('H').map_or_else(|| clock.to_owned(), |hour| format!("{hour}:00"));
    let mut parts = clock.split([':', 'H']).map(|part| {
        let is_number = part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        // In `8:5` a digit is missing.
        part.parse::<u32>().ok().filter(|_| is_number).map(|number| (number, part.len() == 2))
    });
    let ((hour, _), (minute, true)) = (parts.next()??, parts.next()??) else { return None };
    let (second, true) = parts.next().unwrap_or(Some((0, true)))? else { return None };
    let hour = match half {
        Some((_, plus)) if (1..=12).contains(&hour) => hour % 12 + plus,
        Some(_) => return None,
        None => hour,
    };
    NaiveTime::from_hms_opt(hour, minute, second).filter(|_| parts.next().is_none())
}

/// The moment of a local day and time.
pub(super) fn moment(day: NaiveDate, time: NaiveTime) -> Result<Moment, &'static str> {
    format!("{day}T{time}").parse()
}

/// How a moment is read: as a beginning, or as an end.
pub(super) type Edge = fn(&str) -> Result<Moment, &'static str>;

/// A moment as one column has it: RFC 3339, or a day with or without a time.
pub(super) fn moment_in(text: &str, order: DateOrder, edge: Edge) -> Result<Moment, Says> {
    if let Ok(exact) = edge(text) {
        likely(exact.0.year())?;
        return Ok(exact);
    }
    let (day, rest) = day(text, order)?;
    if rest.is_empty() {
        return Ok(edge(&day.to_string())?);
    }
    Ok(moment(day, time(rest)?)?)
}

/// Whether a text begins with a date, in whatever order.
pub(super) fn is_like_one(text: &str) -> bool {
    numbers(parts(text).0).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_spreadsheets_write_them() {
        for (text, read) in [
            ("14:30", "14:30:00"),
            ("9:05:07", "09:05:07"),
            ("8:00:00 AM", "08:00:00"),
            ("12:00 am", "00:00:00"),
            ("12:15\u{202f}PM", "12:15:00"),
            ("2:30 p.m.", "14:30:00"),
            ("9:30 SA", "09:30:00"),
            ("2:30 CH", "14:30:00"),
            ("08h30", "08:30:00"),
            ("14H", "14:00:00"),
        ] {
            assert_eq!(time(text).map(|time| time.to_string()), Ok(read.to_owned()), "{text}");
        }
        for text in [
            "", "8", "8:5:6:7", "25:00", "14:30 PM", "0:30 AM", "8:60", "0.333", "noon", "-8:00", "123:00", "8:", "8:5",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_and_times_stand_apart_by_any_white_space_or_a_comma() {
        for text in [
            "31/03/2026 09:30",
            "31/03/2026  09:30:00",
            "31/03/2026\u{a0}9:30 AM",
            "31/03/2026, 09:30",
            "31.3.2026\t9h30",
            "2026/03/31 09:30",
            "2026-03-31T09:30",
            "2026.3.31 09:30",
        ] {
            let read = moment_in(text, DateOrder::DayFirst, str::parse).map(Moment::rfc3339);
            assert_eq!(read, Ok("2026-03-31T09:30:00.000000Z".to_owned()), "{text}");
        }
        for text in [
            "31/3/26",
            "31-Mar-26",
            "2026/31/03",
            "45000",
            "2026-03-31 soon",
            "1/1/1900",
            "0206-03-31",
            "1900-01-01T00:00Z",
        ] {
            assert!(moment_in(text, DateOrder::DayFirst, str::parse).is_err(), "{text}");
        }
    }
}
