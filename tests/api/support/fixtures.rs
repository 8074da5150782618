//! Files for the imports, made to any size and always the same for the same arguments.
//!
//! The two fit each other: every enrolment of [`students_file`] names an offering of [`units_file`], has the
//! prerequisites it needs, meets no anti-requisite and sits in an offering without a capacity, so that a file is
//! refused only for what a test breaks in it.

use serde_json::{Value, json};

/// The courses, code and name, that students name as their major; a test creates them first.
pub(crate) const MAJORS: [(&str, &str); 2] =
    [("BA-CS", "Bachelor of Computer Science"), ("BA-BUS", "Bachelor of Business")];

/// The password of every imported student.
pub(crate) const PASSWORD: &str = "harbour-Quilt-77";

/// Units come in blocks of five: 0 ← 1 ← 2 is a chain of prerequisites, 3 and 4 exclude each other.
const BLOCK: usize = 5;

const DAYS: [&str; 5] = ["Mon", "Tue", "Wed", "Thu", "Fri"];
const FIRST_NAMES: [&str; 7] = ["Amara", "Liam", "Mei", "Sofía", "Yusuf", "Minh Anh", "Zoë"];
const LAST_NAMES: [&str; 5] = ["Okafor", "O'Brien", "Nguyễn", "Al-Sayed", "Kowalczyk"];
const PASSES: [(&str, &str); 4] = [("HD", "91.00"), ("D", "78.50"), ("C", "65.25"), ("P", "50.00")];

/// `n` units in the shape `import units` reads, with three offerings each: 2025 S1 and 2026 S1 without a
/// capacity, 2026 S2 with one.
///
/// A unit refers to earlier ones only, so a shorter file is the beginning of a longer one.
pub(crate) fn units_file(n: usize) -> Value {
    (0..n).map(unit).collect()
}

/// `n` students in the shape `import students` reads, for a database that holds `units_file(units_available)`.
///
/// Majors are named by code and by name in turn. With whole blocks of units (a multiple of five) a student has
/// three enrolments, and three students show every status. With no units nobody is enrolled.
pub(crate) fn students_file(n: usize, units_available: usize) -> Value {
    (0..n).map(|i| student(i, units_available)).collect()
}

/// The code of the unit at `index` of [`units_file`].
pub(crate) fn unit_code(index: usize) -> String {
    format!("TST{:05}", 10_000 + index)
}

fn unit(index: usize) -> Value {
    let before = || vec![unit_code(index - 1)];
    let (prerequisites, anti_requisites) = match index % BLOCK {
        1 | 2 => (before(), vec![]),
        4 => (vec![], before()),
        _ => (vec![], vec![]),
    };
    let offering = |year: u16, semester: &str, opens: &str, closes: &str, capacity: usize| {
        json!({
            "year": year,
            "semester": semester,
            "enrollment_start": format!("{year}-{opens}T00:00:00Z"),
            "enrollment_end": format!("{year}-{closes}T00:00:00Z"),
            "capacity": capacity,
            "class_hours": 2 + index % 3,
            "meeting_day": pick(&DAYS, index),
            "meeting_time": format!("{:02}:30", 8 + index % 9),
        })
    };
    json!({
        "code": unit_code(index),
        "name": format!("Imported Unit {}", index + 1),
        "description": format!("Unit {} of the file.", index + 1),
        "credit_points": if index % 10 == 9 { "25.0" } else { "12.5" },
        "prerequisites": prerequisites,
        "anti_requisites": anti_requisites,
        "offerings": [
            offering(2025, "S1", "01-13", "03-14", 0),
            offering(2026, "S1", "01-12", "03-13", 0),
            offering(2026, "S2", "06-15", "08-14", 20 + index % 5 * 10),
        ],
    })
}

fn student(index: usize, units_available: usize) -> Value {
    let login = format!("s{}", 100_000_001 + index);
    let (code, name) = pick(&MAJORS, index / 2);
    json!({
        "full_name": format!("{} {}", pick(&LAST_NAMES, index), pick(&FIRST_NAMES, index)),
        "username": login,
        "email": format!("{login}@swin.edu.au"),
        "password": PASSWORD,
        "major": if index.is_multiple_of(2) { code } else { name },
        "enrollments": enrollments(index, units_available),
    })
}

/// The student's block: its first unit passed, the second under way, the fourth in one of the other states.
fn enrollments(index: usize, units_available: usize) -> Vec<Value> {
    let Some(last_block) = units_available.checked_sub(1).map(|last| last / BLOCK) else {
        return Vec::new();
    };
    let first = index % (last_block + 1) * BLOCK;
    let (grade, marks) = pick(&PASSES, index);
    let fourth = match index % 3 {
        0 => (2025, "FAILED", "N", Some("38.50")),
        1 => (2026, "PENDING", "", None),
        _ => (2025, "WITHDRAWN", "", None),
    };
    [(first, (2025, "COMPLETED", grade, Some(marks))), (first + 1, (2026, "ENROLLED", "", None)), (first + 3, fourth)]
        .into_iter()
        .filter(|(unit, _)| *unit < units_available)
        .map(|(unit, (year, status, grade, marks))| {
            json!({
                "unit": unit_code(unit),
                "year": year,
                "semester": "S1",
                "status": status,
                "grade": grade,
                "marks": marks,
            })
        })
        .collect()
}

/// The item at `index`, counted round and round.
#[allow(clippy::indexing_slicing, reason = "the remainder is below N")]
fn pick<T: Copy, const N: usize>(items: &[T; N], index: usize) -> T {
    items[index % N]
}
