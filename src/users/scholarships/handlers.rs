//! What a scholarship is on the wire.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Permission, Viewer, may};
use crate::decimals::two_decimals;
use crate::http::{
    Answer, Faults, Filter, Kind, Listing, Ordering, Problem, Refusal, Resource, Search, Target, Writable,
};
use crate::ids::{Id, Moment};

/// Money for students.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(in crate::users) struct Scholarship {
    id: Id,
    name: String,
    description: String,
    #[schema(value_type = String, example = "5000.00")]
    #[serde(serialize_with = "two_decimals")]
    amount: Decimal,
    duration_semesters: i32,
    requirements: String,
    /// 0 is any number.
    max_awards: i32,
    /// Whether it takes applications.
    is_active: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// What staff write of a scholarship.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(in crate::users) struct ScholarshipFields {
    /// Unique without regard to case, at most 255 characters.
    #[schema(required)]
    pub(super) name: String,
    /// At most 20,000 characters.
    pub(super) description: String,
    /// Not negative, two decimals.
    #[schema(value_type = String, example = "5000.00")]
    #[serde(serialize_with = "two_decimals")]
    pub(super) amount: Decimal,
    /// 1 to 40.
    pub(super) duration_semesters: i32,
    /// For people, at most 20,000 characters.
    pub(super) requirements: String,
    /// Not below what is awarded already; 0 is any number.
    pub(super) max_awards: i32,
    /// Whether it takes applications.
    pub(super) is_active: bool,
}

impl Default for ScholarshipFields {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            amount: Decimal::ZERO,
            duration_semesters: 1,
            requirements: String::new(),
            max_awards: 0,
            is_active: true,
        }
    }
}

impl Resource for Scholarship {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadScholarships>;

    const NAME: &'static str = "scholarship";
    const TABLE: &'static str = "scholarships";
    const ALIAS: &'static str = "s";
    const LIVE: &'static str = "s.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[Filter::new("is_active", "s.is_active", Kind::Flag)],
        orderings: &[
            Ordering::named("name", "s.name collate \"vi-x-icu\""),
            Ordering::new("updated_at", "s.updated_at", "timestamptz"),
        ],
        default: "id",
        search: Some(Search::Anywhere("s.search_text")),
        updated_at: Some("s.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        if viewer.reach(Permission::ReadScholarships).is_all() {
            return;
        }
        sql.push(
            " and (s.is_active
        or s.id = any(array(select scholarship_id
                              from scholarship_applications
                             where deleted_at is null
                               and student_id = ",
        );
        sql.push_bind(viewer.caller_id()).push(")))");
    }

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for Scholarship {
    type Fields = ScholarshipFields;
    type Write = may::WriteScholarships;

    const REFUSALS: &'static [Refusal] =
        &[Refusal::taken("scholarships_name_is_unique", "name", "A scholarship with this name already exists.")];
    const REFERRED_BY: &'static [(&'static str, &'static str)] = &[(
        "scholarship_applications",
        "select count(*) from scholarship_applications where scholarship_id = $1 and deleted_at is null",
    )];

    fn fields(row: &Self) -> ScholarshipFields {
        ScholarshipFields {
            name: row.name.clone(),
            description: row.description.clone(),
            amount: row.amount,
            duration_semesters: row.duration_semesters,
            requirements: row.requirements.clone(),
            max_awards: row.max_awards,
            is_active: row.is_active,
        }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &ScholarshipFields,
        before: Option<(Id, &ScholarshipFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        faults.name("name", &fields.name, 255);
        faults.text("description", &fields.description, 20_000);
        faults.text("requirements", &fields.requirements, 20_000);
        faults.decimal("amount", fields.amount, 2, Decimal::ZERO..=Decimal::new(999_999_999_999, 2));
        let semesters = 1..=40;
        faults.unless(
            semesters.contains(&fields.duration_semesters),
            "duration_semesters",
            "Ensure this value is from 1 to 40.",
        );
        faults.unless(fields.max_awards >= 0, "max_awards", "Ensure this value is not negative.");
        faults.check()?;
        if let Some((id, _)) = before.filter(|_| fields.max_awards > 0) {
            let awarded = store::awarded(tx, id).await?;
            if awarded > i64::from(fields.max_awards) {
                let says = format!("It has been awarded {awarded} times already.");
                return Err(Problem::conflict("awards_exhausted", says.clone()).on("max_awards", says));
            }
        }
        Ok(())
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &ScholarshipFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        id: Id,
        fields: &ScholarshipFields,
    ) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}
