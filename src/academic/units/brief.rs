//! A unit within another object.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;

use crate::ids::{Id, Moment};

/// The courses that a unit stands in.
#[derive(Debug, Clone, Default, Deserialize, FromRow)]
pub(super) struct Courses {
    core_in: Vec<Id>,
    elective_in: Vec<Id>,
}

impl Courses {
    /// Whether the unit is an elective for a student of this major: it is core there, or an elective of any course.
    /// Null without a major, and for a unit that the student could not take.
    pub(super) fn is_elective_for(&self, major: Option<Id>) -> Option<bool> {
        let major = major?;
        if self.core_in.contains(&major) {
            return Some(false);
        }
        (!self.elective_in.is_empty()).then_some(true)
    }
}

/// SQL for the columns of [`Courses`], where `u` is the row of `units`; for `concat!`.
macro_rules! courses_of_unit {
    () => {
        "array(select cu.course_id from course_units cu where cu.unit_id = u.id and cu.deleted_at is null and not cu.is_elective)"
    };
    (elective) => {
        "array(select cu.course_id from course_units cu where cu.unit_id = u.id and cu.deleted_at is null and cu.is_elective)"
    };
}
pub(crate) use courses_of_unit;

/// A unit as another object shows it: without its requisites, and also when it is deleted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UnitBrief {
    /// The unit's id.
    pub id: Id,
    /// Unique without regard to case.
    pub code: String,
    /// The subject.
    pub name: String,
    description: String,
    /// One decimal.
    #[schema(value_type = String, example = "12.5")]
    pub credit_points: Decimal,
    department: String,
    /// The academic in charge.
    pub convenor: Option<Id>,
    /// For the caller's major; null without one.
    is_elective: Option<bool>,
    is_active: bool,
    created_at: Moment,
    updated_at: Moment,
    #[serde(flatten, skip_serializing)]
    #[schema(ignore)]
    courses: Courses,
}

impl UnitBrief {
    /// The unit as a student of this major sees it.
    #[must_use]
    pub fn for_major(self, major: Option<Id>) -> Self {
        Self { is_elective: self.courses.is_elective_for(major), ..self }
    }
}

/// SQL for a column that `#[sqlx(json)] unit: UnitBrief` reads, where `u` is the row of `units`; for `concat!`.
macro_rules! unit_brief {
    () => {
        concat!(
            "jsonb_build_object(
           'id', u.id,
           'code', u.code,
           'name', u.name,
           'description', u.description,
           'credit_points', u.credit_points::text,
           'department', u.department,
           'convenor', u.convenor_id,
           'is_elective', null,
           'core_in', ",
            crate::academic::units::courses_of_unit!(),
            ",
           'elective_in', ",
            crate::academic::units::courses_of_unit!(elective),
            ",
           'is_active', u.is_active,
           'created_at', u.created_at,
           'updated_at', u.updated_at)"
        )
    };
}
pub(crate) use unit_brief;
