//! Enrolments as they stand in a file, below their student: what is taken as decided, and what is asked all the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::offerings::semester;
use super::report::{Change, Faults, Place};
use super::rows::{day, decimal, given, line, whole};
use super::store::enrollments::{Known, Place as Class, State};
use crate::enrollment::{Status, grades};
use crate::http;
use crate::http::text::code_key;

/// An enrolment of a student.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct EnrollmentRow {
    #[serde(deserialize_with = "line")]
    unit: Option<String>,
    #[serde(deserialize_with = "whole")]
    year: Option<i32>,
    #[serde(deserialize_with = "line")]
    semester: Option<String>,
    #[serde(deserialize_with = "line")]
    status: Option<String>,
    #[serde(deserialize_with = "line")]
    grade: Option<String>,
    #[serde(deserialize_with = "decimal")]
    marks: Option<Decimal>,
    #[serde(deserialize_with = "day")]
    completion_date: Option<NaiveDate>,
}

/// An enrolment that breaks no rule by itself.
#[derive(Debug, Clone)]
pub(super) struct Enrollment {
    /// Its place in the row, such as `enrollments[0]`.
    field: String,
    unit: String,
    year: i32,
    semester: &'static str,
    state: State,
}

const STATUSES: [&str; 5] = ["PENDING", "ENROLLED", "WITHDRAWN", "COMPLETED", "FAILED"];

impl State {
    /// A state with its grade's points; none when there is no such grade.
    pub(crate) fn of(
        status: &'static str,
        grade: &str,
        marks: Option<Decimal>,
        completion_date: Option<NaiveDate>,
    ) -> Option<Self> {
        let (grade, grade_point) =
            if grade.is_empty() { ("", Decimal::ZERO) } else { (grades::known(grade)?, grades::point(grade)?) };
        Some(Self { status, grade, grade_point, marks, completion_date })
    }

    fn is(&self, now: &Known) -> bool {
        let same_day = self.completion_date.is_none_or(|day| Some(day) == now.completion_date);
        !now.is_deleted && (self.status, self.grade, self.marks) == (&*now.status, &*now.grade, now.marks) && same_day
    }
}

/// Whether a file may bring an enrolment from one state to another; the same state with another result is a correction.
fn may_become(from: &str, to: &str) -> bool {
    let (from, to) = (Status::named(from), Status::named(to));
    let again = from == Some(Status::Withdrawn) && matches!(to, Some(Status::Pending | Status::Enrolled));
    from == to || again || from.zip(to).is_some_and(|(from, to)| from.leads_to(to))
}

/// The enrolments of a row; those that break a rule are faults.
pub(super) fn checked(row: &Place, enrollments: &[EnrollmentRow], faults: &mut Faults) -> Vec<Enrollment> {
    let mut seen = HashSet::new();
    let mut good = Vec::with_capacity(enrollments.len());
    for (index, enrollment) in enrollments.iter().enumerate() {
        let field = format!("enrollments[{index}]");
        let mut found = http::Faults::default();
        let checked = check(enrollment, field.clone(), &mut found);
        if let Some(checked) = &checked
            && !seen.insert((code_key(&checked.unit), checked.year, checked.semester))
        {
            found.add("unit", format!("{} in {} {} stands twice here.", checked.unit, checked.year, checked.semester));
        }
        if found.is_empty() {
            good.extend(checked);
        }
        faults.merge(row, &format!("{field}."), found);
    }
    good
}

fn check(row: &EnrollmentRow, field: String, faults: &mut http::Faults) -> Option<Enrollment> {
    const NEEDED: &str = "This field is required.";
    let unit = given(row.unit.as_deref());
    faults.unless(unit.is_some(), "unit", NEEDED);
    faults.unless(row.year.is_some(), "year", NEEDED);
    let semester = semester(row.semester.as_deref(), faults);
    let status = given(row.status.as_deref());
    let known = status.and_then(|status| STATUSES.into_iter().find(|name| name.eq_ignore_ascii_case(status)));
    match (status, known) {
        (None, _) => faults.add("status", NEEDED),
        (Some(status), None) => {
            faults.add("status", format!("`{status}` is not a status; write {}.", STATUSES.join(", ")));
        }
        (Some(_), Some(_)) => {}
    }
    let grade = given(row.grade.as_deref()).unwrap_or_default().to_uppercase();
    if let Some(marks) = row.marks {
        faults.decimal("marks", marks, 2, Decimal::ZERO..=Decimal::from(100));
    }
    let state = State::of(known.unwrap_or_default(), &grade, row.marks, row.completion_date);
    if state.is_none() {
        faults.add("grade", format!("`{grade}` is not a grade."));
    } else if let Some(says) = known.and_then(|status| disagreement(status, &grade)) {
        faults.add("grade", says);
    }
    if known.is_some_and(|status| matches!(status, "PENDING" | "WITHDRAWN")) {
        faults.unless(row.marks.is_none(), "marks", "An enrolment that is pending or withdrawn has no marks.");
    }
    if known.is_some_and(|status| !matches!(status, "COMPLETED" | "FAILED")) {
        faults.unless(row.completion_date.is_none(), "completion_date", "Only a result has a date of completion.");
    }
    let (Some(_), state) = (known, state?) else { return None };
    Some(Enrollment { field, unit: unit?.to_owned(), year: row.year?, semester: semester?, state })
}

/// Why a grade does not go with a status.
fn disagreement(status: &str, grade: &str) -> Option<&'static str> {
    let fails = matches!(grade, "N" | "F");
    match status {
        "COMPLETED" if grade.is_empty() || fails => Some("COMPLETED needs a pass grade."),
        "FAILED" if !fails => Some("FAILED needs N or F."),
        "PENDING" | "WITHDRAWN" if !grade.is_empty() => Some("An enrolment that is pending or withdrawn has no grade."),
        _ => None,
    }
}

/// The units, years and semesters that these enrolments name.
pub(super) fn named<'r>(enrollments: impl Iterator<Item = &'r Enrollment>) -> Vec<(String, i32, &'static str)> {
    let named: HashSet<_> = enrollments.map(|e| (code_key(&e.unit), e.year, e.semester)).collect();
    named.into_iter().collect()
}

/// Everything in the database that enrolments are held against.
pub(super) struct Records {
    classes: HashMap<(String, i32, String), Class>,
    units: HashSet<String>,
    of_student: HashMap<i64, Vec<Known>>,
    exclude: HashSet<(i64, i64)>,
}

impl Records {
    /// From what the store found.
    pub(super) fn new(classes: Vec<Class>, known: Vec<Known>, pairs: Vec<(i64, i64)>) -> Self {
        let units = classes.iter().map(|class| code_key(&class.unit_code)).collect();
        let key = |class: &Class| (code_key(&class.unit_code), class.year, class.semester.clone());
        let mut of_student: HashMap<i64, Vec<Known>> = HashMap::new();
        for enrollment in known {
            of_student.entry(enrollment.student_id).or_default().push(enrollment);
        }
        let exclude = pairs.into_iter().flat_map(|(a, b)| [(a, b), (b, a)]).collect();
        Self { classes: classes.into_iter().map(|class| (key(&class), class)).collect(), units, of_student, exclude }
    }
}

/// What becomes of one student's enrolments.
pub(super) struct Studies {
    /// To be made: the offering and the state.
    pub(super) new: Vec<(i64, State)>,
    /// To be brought into this state.
    pub(super) changed: Vec<(i64, State)>,
    /// How many stay as they are.
    pub(super) unchanged: usize,
}

/// Seats that the file takes and frees, by offering.
#[derive(Default)]
pub(super) struct Seats(BTreeMap<i64, Room>);

#[derive(Default)]
struct Room {
    free: Option<i32>,
    change: i32,
    takers: Vec<(Place, String)>,
}

impl Seats {
    /// So many more, or fewer, in each offering.
    pub(super) fn changes(&self) -> Vec<(i64, i32)> {
        self.0.iter().filter(|(_, room)| room.change != 0).map(|(id, room)| (*id, room.change)).collect()
    }

    /// Adds a fault for every seat that is taken beyond the capacity; the last in the file are the ones too many.
    pub(super) fn refuse_too_many(&self, faults: &mut Faults) {
        for room in self.0.values() {
            let beyond = room.free.map_or(0, |free| room.change - free.max(0));
            let beyond = usize::try_from(beyond).unwrap_or(0);
            for (place, field) in room.takers.iter().rev().take(beyond) {
                faults.add(place, format!("{field}.unit"), "The offering is full.");
            }
        }
    }

    fn of(&mut self, class: &Class, offering: i64) -> &mut Room {
        let free = (class.capacity > 0).then_some(class.capacity - class.seats_taken);
        self.0.entry(offering).or_insert(Room { free, ..Room::default() })
    }
}

/// What a student's enrolments come to, in one unit.
struct Standing<'a> {
    unit_id: i64,
    unit_code: &'a str,
    status: &'a str,
    /// Its place in the row; none for what the row leaves alone.
    field: Option<&'a str>,
}

/// Holds one row's enrolments against what is there; what cannot be is a fault.
pub(super) fn plan(
    row: &Place,
    student: Option<i64>,
    wanted: &[Enrollment],
    records: &Records,
    seats: &mut Seats,
    faults: &mut Faults,
) -> Studies {
    let none = Vec::new();
    let known = student.and_then(|id| records.of_student.get(&id)).unwrap_or(&none);
    let mut studies = Studies { new: Vec::new(), changed: Vec::new(), unchanged: 0 };
    let mut standing: BTreeMap<i64, Standing> = known
        .iter()
        .filter(|now| !now.is_deleted)
        .map(|now| {
            let before = Standing { unit_id: now.unit_id, unit_code: &now.unit_code, status: &now.status, field: None };
            (now.offering_id, before)
        })
        .collect();
    for enrollment in wanted {
        let Enrollment { field, unit, year, semester, state } = enrollment;
        let Some((class, offering)) = class_of(enrollment, records) else {
            let known = records.units.contains(&code_key(unit));
            let says = if known {
                format!("{unit} is not offered in {year} {semester}.")
            } else {
                format!("There is no unit `{unit}`.")
            };
            faults.add(row, format!("{field}.unit"), says);
            continue;
        };
        let now = known.iter().find(|now| now.offering_id == offering);
        if now.is_some_and(|now| state.is(now)) {
            studies.unchanged += 1;
            continue;
        }
        if let Some(now) = now.filter(|now| !may_become(&now.status, state.status)) {
            let says = format!("The enrolment is {} and cannot become {}.", now.status, state.status);
            faults.add(row, format!("{field}.status"), says);
            continue;
        }
        let sat = now.is_some_and(|now| !now.is_deleted && now.status != "WITHDRAWN");
        match (sat, state.status != "WITHDRAWN") {
            (false, true) => {
                let room = seats.of(class, offering);
                room.change += 1;
                room.takers.push((row.clone(), field.clone()));
            }
            (true, false) => seats.of(class, offering).change -= 1,
            (true, true) | (false, false) => {}
        }
        match now {
            Some(now) => studies.changed.push((now.id, state.clone())),
            None => studies.new.push((offering, state.clone())),
        }
        let becomes =
            Standing { unit_id: class.unit_id, unit_code: &class.unit_code, status: state.status, field: Some(field) };
        standing.insert(offering, becomes);
    }
    refuse_conflicts(row, &standing.into_values().collect::<Vec<_>>(), records, faults);
    studies
}

fn class_of<'r>(enrollment: &Enrollment, records: &'r Records) -> Option<(&'r Class, i64)> {
    let key = (code_key(&enrollment.unit), enrollment.year, enrollment.semester.to_owned());
    let class = records.classes.get(&key)?;
    Some((class, class.offering_id?))
}

/// Adds faults for two current enrolments in one unit, and for units that exclude each other, where the row is the
/// cause.
fn refuse_conflicts(row: &Place, standing: &[Standing], records: &Records, faults: &mut Faults) {
    let is_current = |one: &Standing| matches!(one.status, "PENDING" | "ENROLLED");
    let counts = |one: &Standing| is_current(one) || one.status == "COMPLETED";
    for (index, one) in standing.iter().enumerate() {
        for other in standing.iter().skip(index + 1) {
            let says = if one.unit_id == other.unit_id && is_current(one) && is_current(other) {
                format!("The student is pending or enrolled in {} twice.", one.unit_code)
            } else if records.exclude.contains(&(one.unit_id, other.unit_id)) && counts(one) && counts(other) {
                format!("{} and {} exclude each other.", one.unit_code, other.unit_code)
            } else {
                continue;
            };
            if let Some(field) = other.field.or(one.field) {
                faults.add(row, format!("{field}.unit"), says);
            }
        }
    }
}

/// What became of an enrolment, for the report.
pub(super) fn tally(studies: &Studies) -> super::report::Tally {
    let mut tally = super::report::Tally { unchanged: studies.unchanged, ..Default::default() };
    studies.new.iter().for_each(|_| tally += Change::Created);
    studies.changed.iter().for_each(|_| tally += Change::Updated);
    tally
}

#[cfg(test)]
mod tests {
    use super::super::report::Faults;
    use super::super::store::enrollments::{Known, Place as Class};
    use super::{EnrollmentRow, Place, Records, Seats, checked, plan};

    fn row(unit: &str, status: &str, grade: &str) -> EnrollmentRow {
        EnrollmentRow {
            unit: Some(unit.into()),
            year: Some(2026),
            semester: Some("S1".into()),
            status: Some(status.into()),
            grade: Some(grade.into()),
            ..EnrollmentRow::default()
        }
    }

    fn class(id: i64, code: &str, capacity: i32) -> Class {
        Class {
            unit_id: id,
            unit_code: code.into(),
            year: 2026,
            semester: "S1".into(),
            offering_id: Some(id + 100),
            capacity,
            seats_taken: 1,
        }
    }

    fn known(unit: i64, code: &str, status: &str) -> Known {
        Known {
            id: unit + 1000,
            student_id: 7,
            offering_id: unit + 100,
            unit_id: unit,
            unit_code: code.into(),
            status: status.into(),
            grade: String::new(),
            marks: None,
            completion_date: None,
            is_deleted: false,
        }
    }

    fn refusals(wanted: &[EnrollmentRow], now: Vec<Known>) -> String {
        let classes = vec![class(1, "AAA10001", 0), class(2, "BBB10001", 2), class(3, "CCC10001", 1)];
        let records = Records::new(classes, now, vec![(1, 2)]);
        let (mut faults, mut seats) = (Faults::default(), Seats::default());
        let place = Place { number: 1, label: String::new() };
        let wanted = checked(&place, wanted, &mut faults);
        plan(&place, Some(7), &wanted, &records, &mut seats, &mut faults);
        seats.refuse_too_many(&mut faults);
        if faults.is_empty() { String::new() } else { faults.into_error(1).to_string() }
    }

    #[test]
    fn a_result_needs_a_grade_that_goes_with_it() {
        for (status, grade) in
            [("COMPLETED", "N"), ("COMPLETED", ""), ("FAILED", "P"), ("PENDING", "HD"), ("ENROLLED", "Z")]
        {
            assert!(
                refusals(&[row("AAA10001", status, grade)], vec![]).contains("enrollments[0].grade: "),
                "{status} {grade}"
            );
        }
        assert_eq!(refusals(&[row("aaa10001", "completed", "hd")], vec![]), "");
    }

    #[test]
    fn states_follow_their_order() {
        let now = |status| vec![known(1, "AAA10001", status)];
        assert_eq!(refusals(&[row("AAA10001", "COMPLETED", "P")], now("ENROLLED")), "");
        let says = refusals(&[row("AAA10001", "COMPLETED", "P")], now("PENDING"));
        assert!(
            says.contains("enrollments[0].status: The enrolment is PENDING and cannot become COMPLETED."),
            "{says}"
        );
    }

    #[test]
    fn units_that_exclude_each_other_are_refused_also_against_what_is_there() {
        let says = refusals(&[row("BBB10001", "ENROLLED", "")], vec![known(1, "AAA10001", "ENROLLED")]);
        assert!(says.contains("enrollments[0].unit: AAA10001 and BBB10001 exclude each other."), "{says}");
        let leaves = [row("AAA10001", "WITHDRAWN", ""), row("BBB10001", "ENROLLED", "")];
        assert_eq!(refusals(&leaves, vec![known(1, "AAA10001", "ENROLLED")]), "");
    }

    #[test]
    fn a_full_offering_takes_nobody() {
        let says = refusals(&[row("CCC10001", "PENDING", "")], vec![]);
        assert!(says.contains("enrollments[0].unit: The offering is full."), "{says}");
        assert_eq!(refusals(&[row("CCC10001", "WITHDRAWN", "")], vec![]), "");
    }
}
