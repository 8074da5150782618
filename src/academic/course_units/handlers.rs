//! What a unit's place in a course is on the wire.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::store;
use crate::academic::courses::Course;
use crate::academic::units::Unit;
use crate::access::{Actor, Viewer, Visitor, may};
use crate::http::{Answer, Faults, Filter, Kind, Listing, Ordering, Refusal, Resource, Target, Writable};
use crate::ids::{Id, Moment, or_null};

/// A unit's place in a course.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct CourseUnit {
    id: Id,
    course: Id,
    unit: Id,
    is_elective: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// What staff write of a unit's place in a course.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CourseUnitFields {
    /// The course.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub course: Option<Id>,
    /// The unit; once in a course.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub unit: Option<Id>,
    /// Whether students of the course may leave it out.
    pub is_elective: bool,
}

impl Resource for CourseUnit {
    type Row = Self;
    type Shown = Self;
    type Reader = Visitor;

    const NAME: &'static str = "course_unit";
    const TABLE: &'static str = "course_units";
    const ALIAS: &'static str = "cu";
    const LIVE: &'static str = "cu.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("course", "cu.course_id", Kind::Id),
            Filter::new("unit", "cu.unit_id", Kind::Id),
            Filter::new("is_elective", "cu.is_elective", Kind::Flag),
        ],
        orderings: &[
            Ordering::new("course", "cu.course_id", "int8"),
            Ordering::new("unit", "cu.unit_id", "int8"),
            Ordering::new("created_at", "cu.created_at", "timestamptz"),
            Ordering::new("updated_at", "cu.updated_at", "timestamptz"),
        ],
        default: "id",
        search: None,
        updated_at: Some("cu.updated_at"),
    };

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for CourseUnit {
    type Fields = CourseUnitFields;
    type Write = may::WriteCourseUnits;

    const REFUSALS: &'static [Refusal] =
        &[Refusal::taken("course_units_are_listed_once", "unit", "The course already has this unit.")];

    fn fields(row: &Self) -> CourseUnitFields {
        CourseUnitFields { course: Some(row.course), unit: Some(row.unit), is_elective: row.is_elective }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(tx: &mut PgConnection, fields: &CourseUnitFields, _: Option<(Id, &CourseUnitFields)>) -> Answer<()> {
        let mut faults = Faults::default();
        faults.refers::<Course>(tx, "course", fields.course).await?;
        faults.refers::<Unit>(tx, "unit", fields.unit).await?;
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &CourseUnitFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        id: Id,
        fields: &CourseUnitFields,
    ) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}
