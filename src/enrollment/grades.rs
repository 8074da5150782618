//! The scale of grades.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

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

/// SQL for the grade point average over rows `t` of [`results!`]: sum(grade point × credit points) / sum(credit points) of
/// those that count, to two decimals, null when nothing counts.
macro_rules! gpa {
    () => {
        "round(sum(t.grade_point * t.credit_points) filter (where t.counts)
             / nullif(sum(t.credit_points) filter (where t.counts), 0), 2)"
    };
}
pub(crate) use gpa;

/// SQL that begins a subquery over transcript rows and ends before a condition on `t` and `e`: each row, whether it earns
/// credit, and whether it counts for the average. Every average and every sum of credit is made from it.
///
/// Every row has a grade: it is a completed or a failed unit. `GPA_REPEATS` comes with the session ([`crate::db::session`]).
macro_rules! results {
    () => {
        "(select t.*,
             -- A unit gives credit once, whatever its repeats: by the first time that it was completed.
             t.status = 'COMPLETED'
             and row_number() over (partition by t.student_id, o.unit_id, t.status
                                    order by t.year, t.semester, t.id) = 1 as earns_credit,
             case current_setting('swincms.gpa_repeats', true)
                 when 'best' then row_number() over (partition by t.student_id, o.unit_id
                                                     order by t.grade_point desc, t.marks desc nulls last,
                                                              t.completion_date desc, t.id desc) = 1
                 when 'latest' then row_number() over (partition by t.student_id, o.unit_id
                                                       order by t.completion_date desc, t.year desc, t.semester desc,
                                                                t.id desc) = 1
                 else true
             end as counts
        from transcripts t
        join enrollments e on e.id = t.enrollment_id
        join offerings o on o.id = e.offering_id
       where t.deleted_at is null
         and "
    };
}
pub(crate) use results;

/// Which of several results in one unit count for the average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Repeats {
    /// All of them.
    All,
    /// The best.
    Best,
    /// The latest by the day on which it was completed.
    Latest,
}

impl Repeats {
    pub(crate) const SPELT: &[(&str, Self)] = &[("all", Self::All), ("best", Self::Best), ("latest", Self::Latest)];

    /// As the setting spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Best => "best",
            Self::Latest => "latest",
        }
    }

    /// For people, after what the average is of.
    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::All => "every result counts, repeats too",
            Self::Best => "of several results in one unit the best counts",
            Self::Latest => "of several results in one unit the latest counts",
        }
    }
}

/// From which marks on which grade is given, the highest first; none where nothing is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boundaries(Vec<(&'static str, Decimal)>);

impl FromStr for Boundaries {
    type Err = String;

    /// Such as `HD=80,D=70,C=60,P=50,N=0`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut boundaries: Vec<(&'static str, Decimal)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, marks) = part.split_once('=').ok_or(format!("`{part}` is no boundary such as HD=80"))?;
            let grade = known(name.trim()).ok_or(format!("`{}` is not a grade; known are {}", name.trim(), all()))?;
            let marks: Decimal = marks.trim().parse().map_err(|_| format!("the marks of {grade} are not a number"))?;
            if !(Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&marks) {
                return Err(format!("the marks of {grade} are not from 0 to 100"));
            }
            if boundaries.iter().any(|(other, least)| *other == grade || *least == marks) {
                return Err(format!("{grade}, or its marks, stand twice"));
            }
            boundaries.push((grade, marks));
        }
        boundaries.sort_by_key(|(_, marks)| std::cmp::Reverse(*marks));
        let points: Vec<_> = boundaries.iter().map(|(grade, _)| point(grade)).collect();
        if !points.is_sorted_by(|higher, lower| higher >= lower) {
            return Err("a better grade needs fewer marks than a worse one".to_owned());
        }
        Ok(Self(boundaries))
    }
}

impl Boundaries {
    /// The grade that these marks are; none where they are below all boundaries, or there are none.
    pub(crate) fn grade_of(&self, marks: Decimal) -> Option<&'static str> {
        self.0.iter().find(|(_, least)| marks >= *least).map(|(grade, _)| *grade)
    }

    /// The grade that these marks are, where it is another than this one, and both are of the boundaries.
    pub(crate) fn contradict(&self, grade: &str, marks: Decimal) -> Option<&'static str> {
        let is_named = self.0.iter().any(|(name, _)| *name == grade);
        self.grade_of(marks).filter(|other| is_named && *other != grade)
    }
}

/// The grade as it is spelt, whatever its case; none when there is no such grade.
pub(crate) fn known(grade: &str) -> Option<&'static str> {
    GRADES.iter().find(|(name, _)| name.eq_ignore_ascii_case(grade)).map(|(name, _)| *name)
}

/// Reads a grade as the scale spells it. What is none is about to be refused, and stays as it was sent.
///
/// # Errors
/// The deserializer's.
pub(crate) fn spelt<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let grade = String::deserialize(from)?;
    Ok(known(&grade).map_or(grade, str::to_owned))
}

/// The same, or null.
///
/// # Errors
/// The deserializer's.
pub(crate) fn spelt_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let grade = Option::<String>::deserialize(from)?;
    Ok(grade.map(|grade| known(&grade).map_or(grade, str::to_owned)))
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
