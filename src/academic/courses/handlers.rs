//! What a course is on the wire.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Viewer, Visitor, may};
use crate::decimals::one_place;
use crate::http::{
    Answer, Audited, Faults, Filter, Kind, Listing, Ordering, Refusal, Resource, Search, Target, Writable,
};
use crate::ids::Id;

/// A programme of study.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct Course {
    id: Id,
    code: String,
    name: String,
    description: String,
    #[schema(value_type = String, example = "3.0")]
    #[serde(serialize_with = "one_place")]
    duration_years: Decimal,
    #[schema(value_type = String, example = "300.0")]
    #[serde(serialize_with = "one_place")]
    credit_points: Decimal,
    department: String,
    is_active: bool,
    #[sqlx(flatten)]
    #[serde(flatten)]
    audited: Audited,
    /// What to mind after a change; left out when there is nothing.
    #[sqlx(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
}

/// What staff write of a course.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct CourseFields {
    /// Unique without regard to case.
    #[schema(required)]
    pub code: String,
    /// At most 255 characters.
    #[schema(required)]
    pub name: String,
    /// At most 20,000 characters.
    pub description: String,
    /// More than 0, one decimal.
    #[schema(value_type = String, example = "3.0")]
    #[serde(serialize_with = "one_place")]
    pub duration_years: Decimal,
    /// Not negative, one decimal.
    #[schema(value_type = String, example = "300.0")]
    #[serde(serialize_with = "one_place")]
    pub credit_points: Decimal,
    /// At most 255 characters.
    pub department: String,
    /// Whether it is offered to students.
    pub is_active: bool,
}

impl Default for CourseFields {
    fn default() -> Self {
        Self {
            code: String::new(),
            name: String::new(),
            description: String::new(),
            duration_years: Decimal::new(30, 1),
            credit_points: Decimal::new(0, 1),
            department: String::new(),
            is_active: true,
        }
    }
}

impl Resource for Course {
    type Row = Self;
    type Shown = Self;
    type Reader = Visitor;

    const NAME: &'static str = "course";
    const TABLE: &'static str = "courses";
    const ALIAS: &'static str = "c";
    const LIVE: &'static str = "c.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("code", "c.code", Kind::Text),
            Filter::new("department", "c.department", Kind::Text),
            Filter::new("is_active", "c.is_active", Kind::Flag),
        ],
        orderings: &[
            Ordering::new("code", "c.code", "text"),
            Ordering::named("name", "c.name collate \"vi-x-icu\""),
            Ordering::new("created_at", "c.created_at", "timestamptz"),
            Ordering::new("updated_at", "c.updated_at", "timestamptz"),
        ],
        default: "code",
        search: Some(Search::Anywhere("c.search_text")),
        updated_at: Some("c.updated_at"),
    };

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for Course {
    type Fields = CourseFields;
    type Write = may::WriteCourses;

    const REFUSALS: &'static [Refusal] = &[
        Refusal::taken("courses_code_is_unique", "code", "A course with this code already exists."),
        Refusal::taken("courses_code_key_is_unique", "code", "A course with this code already exists."),
    ];
    const REFERRED_BY: &'static [(&'static str, &'static str)] = &[
        ("course_units", "select count(*) from course_units where course_id = $1 and deleted_at is null"),
        ("student_profiles", "select count(*) from student_profiles where course_id = $1 and deleted_at is null"),
    ];

    fn fields(row: &Self) -> CourseFields {
        CourseFields {
            code: row.code.clone(),
            name: row.name.clone(),
            description: row.description.clone(),
            duration_years: row.duration_years,
            credit_points: row.credit_points,
            department: row.department.clone(),
            is_active: row.is_active,
        }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(_: &mut PgConnection, fields: &CourseFields, _: Option<(Id, &CourseFields)>) -> Answer<()> {
        let mut faults = Faults::default();
        faults.name("code", &fields.code, 32);
        faults.name("name", &fields.name, 255);
        faults.text("description", &fields.description, 20_000);
        faults.text("department", &fields.department, 255);
        faults.decimal("duration_years", fields.duration_years, 1, Decimal::new(1, 1)..=Decimal::new(200, 1));
        faults.decimal("credit_points", fields.credit_points, 1, Decimal::ZERO..=Decimal::from(9999));
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &CourseFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &CourseFields) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }

    async fn remark(
        tx: &mut PgConnection,
        id: Id,
        before: &CourseFields,
        after: &CourseFields,
        shown: &mut Self,
    ) -> Answer<()> {
        if before.is_active && !after.is_active {
            let students = store::students(tx, id).await?;
            if students > 0 {
                shown.remarks.push(format!(
                    "{} in this course and may go on; nobody new can be put into it.",
                    if students == 1 { "1 student is".to_owned() } else { format!("{students} students are") }
                ));
            }
        }
        Ok(())
    }
}
