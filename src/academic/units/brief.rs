//! A unit within another object.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{Id, Moment};

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
    is_elective: Option<bool>,
    is_active: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// SQL for a column that `#[sqlx(json)] unit: UnitBrief` reads, where `u` is the row of `units`; for `concat!`.
///
/// Without a course there is no telling whether the unit is an elective, so that is null.
macro_rules! unit_brief {
    () => {
        "jsonb_build_object(
           'id', u.id,
           'code', u.code,
           'name', u.name,
           'description', u.description,
           'credit_points', u.credit_points::text,
           'department', u.department,
           'convenor', u.convenor_id,
           'is_elective', null,
           'is_active', u.is_active,
           'created_at', u.created_at,
           'updated_at', u.updated_at)"
    };
}
pub(crate) use unit_brief;
