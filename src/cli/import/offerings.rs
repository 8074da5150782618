//! Offerings as they stand in a file, below their unit.

use std::collections::HashSet;

use chrono::{DateTime, NaiveTime, SubsecRound, Utc};
use rust_decimal::Decimal;
use serde::Deserialize;

use super::report::{Faults, Place};
use super::rows::{decimal, given, line, whole};
use crate::academic::semester::Semester;
use crate::http;
use crate::ids::{Moment, end_or_null, moment_or_null};

/// An offering of a unit. What is left out keeps what is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OfferingRow {
    #[serde(deserialize_with = "whole")]
    pub(crate) year: Option<i32>,
    #[serde(deserialize_with = "line")]
    pub(crate) semester: Option<String>,
    #[serde(deserialize_with = "moment_or_null")]
    pub(crate) enrollment_start: Option<Moment>,
    #[serde(deserialize_with = "end_or_null")]
    pub(crate) enrollment_end: Option<Moment>,
    #[serde(deserialize_with = "whole")]
    pub(crate) capacity: Option<i32>,
    #[serde(deserialize_with = "decimal")]
    pub(crate) class_hours: Option<Decimal>,
    #[serde(deserialize_with = "line")]
    pub(crate) meeting_day: Option<String>,
    #[serde(deserialize_with = "line")]
    pub(crate) meeting_time: Option<String>,
}

/// An offering that breaks no rule by itself.
#[derive(Debug, Clone)]
pub(super) struct Offering {
    /// Its place in the row, such as `offerings[0]`.
    pub(super) field: String,
    pub(super) year: i32,
    pub(super) semester: &'static str,
    pub(super) enrollment_start: DateTime<Utc>,
    pub(super) enrollment_end: DateTime<Utc>,
    pub(super) capacity: Option<i32>,
    class: Option<String>,
    meeting: Option<String>,
}

/// The offerings of a row; those that break a rule are faults.
pub(super) fn checked(row: &Place, offerings: &[OfferingRow], faults: &mut Faults) -> Vec<Offering> {
    let mut seen = HashSet::new();
    let mut good = Vec::with_capacity(offerings.len());
    for (index, offering) in offerings.iter().enumerate() {
        let mut found = http::Faults::default();
        let checked = check(offering, format!("offerings[{index}]"), &mut found);
        if let Some(offering) = &checked
            && !seen.insert((offering.year, offering.semester))
        {
            found.add("semester", format!("{} {} stands twice here.", offering.year, offering.semester));
        }
        if found.is_empty() {
            good.extend(checked);
        }
        faults.merge(row, &format!("offerings[{index}]."), found);
    }
    good
}

fn check(row: &OfferingRow, field: String, faults: &mut http::Faults) -> Option<Offering> {
    const NEEDED: &str = "This field is required.";
    let year = row.year.filter(|year| (1900..=2200).contains(year));
    if year.is_none() {
        faults.add("year", if row.year.is_none() { NEEDED } else { "A year from 1900 to 2200 is expected." });
    }
    let semester = semester(row.semester.as_deref(), faults);
    let moment = |moment: Option<Moment>| moment.map(|Moment(moment)| moment.trunc_subsecs(6));
    let (start, end) = (moment(row.enrollment_start), moment(row.enrollment_end));
    faults.unless(start.is_some(), "enrollment_start", NEEDED);
    faults.unless(end.is_some(), "enrollment_end", NEEDED);
    if let (Some(start), Some(end)) = (start, end) {
        faults.unless(end > start, "enrollment_end", "The window must close after it opens.");
    }
    faults.unless(row.capacity.is_none_or(|seats| seats >= 0), "capacity", "0 (unlimited) or more seats are expected.");
    if let Some(hours) = row.class_hours {
        faults.decimal("class_hours", hours, 1, Decimal::new(1, 1)..=Decimal::from(60));
    }
    let meeting = meeting(row, faults);
    Some(Offering {
        field,
        year: year?,
        semester: semester?,
        enrollment_start: start?,
        enrollment_end: end?,
        capacity: row.capacity,
        class: row.class_hours.map(|hours| format!("Class {}h/week", hours.normalize())),
        meeting,
    })
}

/// A semester as it is spelt here.
pub(super) fn semester(text: Option<&str>, faults: &mut http::Faults) -> Option<&'static str> {
    let Some(text) = given(text) else {
        faults.add("semester", "This field is required.");
        return None;
    };
    let known = Semester::NAMES.iter().find(|name| name.eq_ignore_ascii_case(text)).copied();
    if known.is_none() {
        faults.add("semester", format!("`{text}` is not a semester; write {}.", Semester::NAMES.join(", ")));
    }
    known
}

/// The weekly meeting, such as `Mon 09:00`.
fn meeting(row: &OfferingRow, faults: &mut http::Faults) -> Option<String> {
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let (day, time) = (given(row.meeting_day.as_deref()), given(row.meeting_time.as_deref()));
    if day.is_some() != time.is_some() {
        let missing = if day.is_none() { "meeting_day" } else { "meeting_time" };
        faults.add(missing, "A meeting needs a day and a time.");
    }
    let short = day.and_then(|day| {
        let known = DAYS.iter().filter_map(|name| name.get(..3).map(|short| (*name, short)));
        let named =
            known.into_iter().find(|(name, short)| day.eq_ignore_ascii_case(name) || day.eq_ignore_ascii_case(short));
        if named.is_none() {
            faults.add("meeting_day", format!("`{day}` is not a day of the week; write Mon, Tue, Wed …"));
        }
        named.map(|(_, short)| short)
    });
    let clock = time.and_then(|time| {
        let known = ["%H:%M", "%H:%M:%S"].iter().find_map(|form| NaiveTime::parse_from_str(time, form).ok());
        if known.is_none() {
            faults.add("meeting_time", format!("`{time}` is not a time of day; write it as 09:00."));
        }
        known
    });
    Some(format!("{} {}", short?, clock?.format("%H:%M")))
}

impl Offering {
    /// The offering's notes, with the class hours and the meeting of the file in the place of those that are there.
    ///
    /// Notes read `Major: …; Category: …; Class 3h/week; Mon 09:00`, and calendars read them.
    pub(super) fn notes(&self, before: &str) -> String {
        let replaced = |part: &str| {
            (self.class.is_some() && is_class(part)) || (self.meeting.is_some() && is_meeting(part)) || part.is_empty()
        };
        let kept = before.split(';').map(str::trim).filter(|part| !replaced(part)).map(str::to_owned);
        kept.chain(self.class.clone()).chain(self.meeting.clone()).collect::<Vec<_>>().join("; ")
    }
}

fn is_class(part: &str) -> bool {
    part.strip_prefix("Class ").is_some_and(|hours| hours.ends_with("h/week"))
}

fn is_meeting(part: &str) -> bool {
    let Some((day, time)) = part.split_once(' ') else { return false };
    ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&day) && NaiveTime::parse_from_str(time, "%H:%M").is_ok()
}

#[cfg(test)]
mod tests {
    use super::{OfferingRow, Place, checked};
    use crate::cli::import::report::Faults;
    use crate::ids::Moment;

    fn row() -> OfferingRow {
        OfferingRow {
            year: Some(2026),
            semester: Some("s1".into()),
            enrollment_start: Some("2026-01-12T00:00:00Z".parse::<Moment>().unwrap()),
            enrollment_end: Some("2026-03-13T00:00:00Z".parse::<Moment>().unwrap()),
            class_hours: Some("3.0".parse().unwrap()),
            meeting_day: Some("monday".into()),
            meeting_time: Some("9:00".into()),
            ..OfferingRow::default()
        }
    }

    #[test]
    fn class_times_take_their_own_place_in_the_notes() {
        let mut faults = Faults::default();
        let offering = checked(&Place::default(), &[row()], &mut faults).remove(0);
        assert!(faults.is_empty());
        assert_eq!(offering.notes(""), "Class 3h/week; Mon 09:00");
        assert_eq!(
            offering.notes("Major: Computing; Category: Core; Class 4h/week; Tue 13:00"),
            "Major: Computing; Category: Core; Class 3h/week; Mon 09:00"
        );
    }

    #[test]
    fn every_broken_field_of_an_offering_is_named() {
        let broken = OfferingRow {
            year: None,
            semester: Some("Q1".into()),
            enrollment_end: row().enrollment_start,
            capacity: Some(-1),
            meeting_day: None,
            ..row()
        };
        let mut faults = Faults::default();
        assert!(checked(&Place { number: 4, label: String::new() }, &[row(), broken, row()], &mut faults).len() == 1);
        let says = faults.into_error(4).to_string();
        for field in
            ["[1].year", "[1].semester", "[1].enrollment_end", "[1].capacity", "[1].meeting_day", "[2].semester"]
        {
            assert!(says.contains(&format!("row 4, offerings{field}: ")), "{field} is missing in {says}");
        }
    }
}
