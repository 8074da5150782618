//! What the demo's students have done so far: results of two semesters, classes of this one, requests for it.
//!
//! Everything keeps the rules of enrolment, so that the demo could have come about: prerequisites before what needs
//! them, nothing that excludes another, no seat beyond a capacity.

use std::collections::{BTreeMap, HashMap, HashSet};

use rust_decimal::Decimal;

use super::calendar::Semester;
use crate::cli::import::store::enrollments::{New, State};
use crate::cli::import::units::UnitRow;

/// An offering.
pub(super) struct Class {
    pub(super) id: i64,
    pub(super) code: String,
    pub(super) year: i32,
    pub(super) semester: String,
    /// None: unlimited.
    pub(super) free: Option<i32>,
}

/// What can be studied.
pub(super) struct Catalogue<'c> {
    needs: HashMap<&'c str, Vec<&'c str>>,
    excludes: HashSet<(&'c str, &'c str)>,
    courses: HashMap<&'c str, Vec<&'c str>>,
    classes: HashMap<(String, i32, String), Class>,
    taken: BTreeMap<i64, i32>,
}

/// Results that take turns: grade and marks in hundredths.
const RESULTS: [(&str, i64); 9] = [
    ("D", 7850),
    ("HD", 9100),
    ("C", 6525),
    ("D", 7400),
    ("P", 5000),
    ("HD", 8625),
    ("C", 6800),
    ("P", 5775),
    ("D", 7125),
];

/// The year of study that a unit's code stands for: its first digit.
pub(super) fn level(code: &str) -> u32 {
    code.chars().find_map(|letter| letter.to_digit(10)).unwrap_or(0)
}

impl<'c> Catalogue<'c> {
    /// From the units, the courses with their units (the core ones first) and the offerings.
    pub(super) fn new(
        units: impl Iterator<Item = &'c UnitRow>,
        courses: impl Iterator<Item = (&'c str, Vec<&'c str>)>,
        classes: impl Iterator<Item = Class>,
    ) -> Self {
        let (mut needs, mut excludes) = (HashMap::new(), HashSet::new());
        for unit in units {
            let Some(code) = unit.code.as_deref() else { continue };
            needs.insert(code, unit.prerequisites.iter().flatten().map(String::as_str).collect());
            for other in unit.anti_requisites.iter().flatten() {
                excludes.insert((code, other.as_str()));
                excludes.insert((other.as_str(), code));
            }
        }
        let classes = classes.map(|class| ((class.code.clone(), class.year, class.semester.clone()), class)).collect();
        Self { needs, excludes, courses: courses.collect(), classes, taken: BTreeMap::new() }
    }

    /// How many seats each offering has given.
    pub(super) fn seats_taken(&self) -> Vec<(i64, i32)> {
        self.taken.iter().map(|(id, seats)| (*id, *seats)).collect()
    }

    /// The enrolments of the student with this place in the list, who takes this course.
    pub(super) fn of_student(&mut self, place: usize, id: i64, course: &str, semesters: &[Semester; 4]) -> Vec<New> {
        let [before_last, last, current, _] = *semesters;
        let mut chosen = Vec::new();
        let (mut passed, mut met): (HashSet<&str>, HashSet<&str>) = (HashSet::new(), HashSet::new());
        // Every fourth student has just begun.
        if place % 4 != 3 {
            for (semester, most) in [(before_last, 4), (last, 3)] {
                let units = self.choose(course, semester, most, &passed, &met);
                for (index, code) in units.iter().copied().enumerate() {
                    let day = Some(semester.last_day());
                    // Now and then the last unit of a semester is failed, and is not tried again in the demo.
                    let fails = semester == last && index + 1 == units.len() && matches!(place % 5, 0 | 2);
                    let (grade, marks) =
                        RESULTS.get((place * 2 + index) % RESULTS.len()).copied().unwrap_or(("P", 5000));
                    let state = if fails {
                        State::of("FAILED", "N", Some(Decimal::new(3850, 2)), day)
                    } else {
                        passed.insert(code);
                        State::of("COMPLETED", grade, Some(Decimal::new(marks, 2)), day)
                    };
                    met.insert(code);
                    chosen.extend(self.take(id, code, semester, state));
                }
            }
        }
        for (index, code) in self.choose(course, current, 4, &passed, &met).into_iter().enumerate() {
            let status = match (index, place % 3) {
                // So that each convenor has somebody to decide on: courses begin with units of no convenor or of one alone.
                (1, _) if place % 2 == 1 => "PENDING",
                (0 | 1, _) => "ENROLLED",
                (2, _) => "PENDING",
                (_, 0) => "WITHDRAWN",
                _ => continue,
            };
            chosen.extend(self.take(id, code, current, State::of(status, "", None, None)));
        }
        chosen
    }

    /// The first units of the course that the student may take in a semester.
    fn choose(
        &self,
        course: &str,
        semester: Semester,
        most: usize,
        passed: &HashSet<&str>,
        met: &HashSet<&str>,
    ) -> Vec<&'c str> {
        let mut chosen: Vec<&'c str> = Vec::with_capacity(most);
        for code in self.courses.get(course).into_iter().flatten().copied() {
            let class = self.classes.get(&(code.to_owned(), semester.year(), semester.name().to_owned()));
            let has_room = class.is_some_and(|class| class.free.is_none_or(|free| free > 0));
            let ready = self.needs.get(code).is_some_and(|needs| needs.iter().all(|need| passed.contains(need)));
            let clashes = |other: &&str| self.excludes.contains(&(code, *other));
            let open = !met.contains(code) && !met.iter().any(clashes) && !chosen.iter().any(clashes);
            if has_room && ready && open {
                chosen.push(code);
            }
            if chosen.len() == most {
                break;
            }
        }
        chosen
    }

    fn take(&mut self, student_id: i64, code: &str, semester: Semester, state: Option<State>) -> Option<New> {
        let class = self.classes.get_mut(&(code.to_owned(), semester.year(), semester.name().to_owned()))?;
        let state = state?;
        if state.status != "WITHDRAWN" {
            class.free = class.free.map(|free| free - 1);
            *self.taken.entry(class.id).or_default() += 1;
        }
        Some(New { student_id, offering_id: class.id, state })
    }
}
