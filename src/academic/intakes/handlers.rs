//! What an intake is on the wire.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::store;
use crate::academic::semester::Semester;
use crate::access::{Actor, Viewer, may};
use crate::http::{Answer, Faults, Filter, Kind, Listing, Ordering, Problem, Refusal, Resource, Target, Writable};
use crate::ids::{Id, Moment};

/// The cohort of a semester and year.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct Intake {
    id: Id,
    semester: Semester,
    year: i32,
    created_at: Moment,
    updated_at: Moment,
}

/// What staff write of an intake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct IntakeFields {
    /// The part of the year.
    #[schema(required)]
    pub semester: Option<Semester>,
    /// From 1900 to 2200.
    #[schema(required)]
    pub year: Option<i32>,
}

impl Resource for Intake {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::BeSignedIn>;

    const NAME: &'static str = "intake";
    const TABLE: &'static str = "intakes";
    const ALIAS: &'static str = "i";
    const LIVE: &'static str = "i.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("year", "i.year", Kind::Number),
            Filter::new("semester", "i.semester", Kind::OneOf(Semester::NAMES)),
        ],
        orderings: &[
            Ordering::new("year", "i.year", "int4"),
            Ordering::new("semester", "i.semester", "text"),
            Ordering::new("created_at", "i.created_at", "timestamptz"),
            Ordering::new("updated_at", "i.updated_at", "timestamptz"),
        ],
        default: "id",
        search: None,
        updated_at: Some("i.updated_at"),
    };

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

/// Adds what is wrong with a semester and year.
pub(crate) fn check_term(faults: &mut Faults, semester: Option<Semester>, year: Option<i32>) {
    faults.unless(semester.is_some(), "semester", "This field is required.");
    match year {
        None => faults.add("year", "This field is required."),
        Some(year) => faults.unless((1900..=2200).contains(&year), "year", "Ensure this value is from 1900 to 2200."),
    }
}

impl Writable for Intake {
    type Fields = IntakeFields;
    type Write = may::WriteIntakes;

    const REFUSALS: &'static [Refusal] =
        &[Refusal::taken("intakes_are_unique", "semester", "There already is an intake of this semester and year.")];
    const REFERRED_BY: &'static [(&'static str, &'static str)] = &[
        ("offerings", "select count(*) from offerings where intake_id = $1 and deleted_at is null"),
        (
            "events",
            "select count(*) from event_target_intakes t join events e on e.id = t.event_id where t.intake_id = $1 and e.deleted_at is null",
        ),
    ];

    fn fields(row: &Self) -> IntakeFields {
        IntakeFields { semester: Some(row.semester), year: Some(row.year) }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(tx: &mut PgConnection, fields: &IntakeFields, before: Option<(Id, &IntakeFields)>) -> Answer<()> {
        let mut faults = Faults::default();
        check_term(&mut faults, fields.semester, fields.year);
        faults.check()?;
        if let Some((id, before)) = before
            && before != fields
        {
            let offerings = store::offerings(tx, id).await?;
            if offerings > 0 {
                return Err(Problem::conflict(
                    "intake_has_offerings",
                    format!("This intake has offerings ({offerings}), which are of its semester and year."),
                )
                .with("counts", serde_json::json!({ "offerings": offerings })));
            }
        }
        Ok(())
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &IntakeFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &IntakeFields) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}
