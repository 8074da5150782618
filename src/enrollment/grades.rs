//! The scale of grades.

use rust_decimal::Decimal;

/// Grades and their points, in tenths.
const GRADES: [(&str, i64); 15] = [
    ("HD", 40),
    ("D", 30),
    ("C", 20),
    ("P", 10),
    ("N", 0),
    ("F", 0),
    ("A+", 40),
    ("A", 40),
    ("A-", 37),
    ("B+", 33),
    ("B", 30),
    ("B-", 27),
    ("C+", 23),
    ("C-", 17),
    ("D+", 13),
];

/// SQL for the grade point average over rows `t` of `transcripts`: sum(grade point × credit points) / sum(credit
/// points), to two decimals, null when nothing counts. A row is a completed or failed unit, and every one has a grade.
macro_rules! gpa {
    () => {
        "round(sum(t.grade_point * t.credit_points) / nullif(sum(t.credit_points), 0), 2)"
    };
}
pub(crate) use gpa;

/// The grade as it is spelt; none when there is no such grade.
pub(crate) fn known(grade: &str) -> Option<&'static str> {
    GRADES.iter().find(|(name, _)| *name == grade).map(|(name, _)| *name)
}

/// Its points; none when there is no such grade.
pub(crate) fn point(grade: &str) -> Option<Decimal> {
    GRADES.iter().find(|(name, _)| *name == grade).map(|(_, tenths)| Decimal::new(*tenths, 1))
}

/// Whether it is a pass: every grade but N and F.
pub(crate) fn passes(grade: &str) -> bool {
    known(grade).is_some_and(|grade| !matches!(grade, "N" | "F"))
}

/// All of them, for people.
pub(crate) fn all() -> String {
    GRADES.map(|(name, _)| name).join(", ")
}
