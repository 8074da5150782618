//! What an offering is on the wire.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::store::{self, Standing};
use crate::academic::intakes;
use crate::academic::semester::Semester;
use crate::academic::units::{self, Unit, UnitBrief};
use crate::access::{Actor, Viewer, Visitor, may};
use crate::http::{
    Answer, Faults, Filter, Kind, Listing, Ordering, Problem, Refusal, Resource, Search, Sight, Target, Writable, find,
};
use crate::ids::{Id, Moment, end_or_null, moment_or_null, or_null};

/// A unit in a semester and year.
#[derive(Debug, Clone, FromRow, Serialize, Deserialize, ToSchema)]
pub struct Offering {
    pub(crate) id: Id,
    #[sqlx(json)]
    pub(crate) unit: UnitBrief,
    pub(crate) year: i32,
    pub(crate) semester: Semester,
    intake: Id,
    /// Who decides and grades in it; the unit's, unless staff put another in charge. Kept when the unit changes hands later.
    pub(crate) convenor: Option<Id>,
    enrollment_start: Moment,
    enrollment_end: Moment,
    withdraw_until: Option<Moment>,
    capacity: i32,
    current_enrollment: i32,
    requires_approval: bool,
    is_active: bool,
    notes: String,
    created_at: Moment,
    updated_at: Moment,
}

/// What staff and the unit's convenor write of an offering.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct OfferingFields {
    /// The unit; once in a semester and year.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub unit: Option<Id>,
    /// From 1900 to 2200.
    #[schema(required)]
    pub year: Option<i32>,
    /// The part of the year.
    #[schema(required)]
    pub semester: Option<Semester>,
    /// The intake of this semester and year; null finds it, and makes it when it is missing.
    #[serde(deserialize_with = "or_null")]
    pub intake: Option<Id>,
    /// Staff may put somebody in charge; null is the unit's convenor.
    #[serde(deserialize_with = "or_null")]
    pub convenor: Option<Id>,
    /// Students can enrol from here on.
    #[schema(required)]
    #[serde(deserialize_with = "moment_or_null")]
    pub enrollment_start: Option<Moment>,
    /// Students can enrol until here.
    #[schema(required)]
    #[serde(deserialize_with = "end_or_null")]
    pub enrollment_end: Option<Moment>,
    /// Students can withdraw until here; null until the results are in.
    #[serde(deserialize_with = "end_or_null")]
    pub withdraw_until: Option<Moment>,
    /// Seats; 0 for any number.
    pub capacity: i32,
    /// Whether who enrols waits for a decision.
    pub requires_approval: bool,
    /// Whether students can enrol at all.
    pub is_active: bool,
    /// At most 20,000 characters.
    pub notes: String,
}

impl Default for OfferingFields {
    fn default() -> Self {
        Self {
            unit: None,
            year: None,
            semester: None,
            intake: None,
            convenor: None,
            enrollment_start: None,
            enrollment_end: None,
            withdraw_until: None,
            capacity: 0,
            requires_approval: true,
            is_active: true,
            notes: String::new(),
        }
    }
}

impl Offering {
    /// The offering as a student of this major sees it.
    #[must_use]
    pub(crate) fn for_major(self, major: Option<Id>) -> Self {
        Self { unit: self.unit.for_major(major), ..self }
    }
}

impl Resource for Offering {
    type Row = Self;
    type Shown = Self;
    type Reader = Visitor;

    const NAME: &'static str = "offering";
    const TABLE: &'static str = "offerings";
    const ALIAS: &'static str = "o";
    const LIVE: &'static str = "o.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("year", "o.year", Kind::Number),
            Filter::new("semester", "o.semester", Kind::OneOf(Semester::NAMES)),
            Filter::new("unit", "o.unit_id", Kind::Id),
            Filter::new("intake", "o.intake_id", Kind::Id),
            Filter::new("convenor", "o.convenor_id", Kind::Id),
            Filter::new("department", "u.department", Kind::Text),
            Filter::new("open", store::OPEN, Kind::Flag),
            Filter::new("has_seats", store::HAS_SEATS, Kind::Flag),
            Filter::new("is_active", "o.is_active", Kind::Flag),
        ],
        orderings: &[
            Ordering::new("year", "o.year", "int4"),
            Ordering::new("semester", "o.semester", "text"),
            Ordering::new("unit_code", "u.code", "text"),
            Ordering::new("enrollment_start", "o.enrollment_start", "timestamptz"),
            Ordering::new("enrollment_end", "o.enrollment_end", "timestamptz"),
            Ordering::new("current_enrollment", "o.current_enrollment", "int4"),
            Ordering::new("created_at", "o.created_at", "timestamptz"),
            Ordering::new("updated_at", "o.updated_at", "timestamptz"),
        ],
        default: "-year,semester,unit_code",
        search: Some(Search::Anywhere("u.search_text")),
        updated_at: Some("o.updated_at"),
    };

    fn shown(row: Self, viewer: &Viewer) -> Self {
        row.for_major(viewer.caller().and_then(|caller| caller.course))
    }
}

impl Writable for Offering {
    type Fields = OfferingFields;
    type Write = may::WriteOfferings;

    const REFUSALS: &'static [Refusal] = &[
        Refusal::taken("offerings_are_unique", "unit", "This unit already has an offering in this semester and year."),
        Refusal::taken("offerings_not_overbooked", "capacity", "More seats than that are taken."),
    ];
    const REFERRED_BY: &'static [(&'static str, &'static str)] = &[
        (
            "enrollments",
            "select count(*) from enrollments where offering_id = $1 and status <> 'WITHDRAWN' and deleted_at is null",
        ),
        ("class_sessions", "select count(*) from class_sessions where offering_id = $1 and deleted_at is null"),
        ("events", store::COUNT_EVENTS),
        ("tickets", "select count(*) from tickets where related_offering_id = $1 and deleted_at is null"),
    ];

    /// The intake follows the semester and year, so that a change of these alone can be sent.
    fn fields(row: &Self) -> OfferingFields {
        OfferingFields {
            unit: Some(row.unit.id),
            year: Some(row.year),
            semester: Some(row.semester),
            intake: None,
            convenor: row.convenor,
            enrollment_start: Some(row.enrollment_start),
            enrollment_end: Some(row.enrollment_end),
            withdraw_until: row.withdraw_until,
            capacity: row.capacity,
            requires_approval: row.requires_approval,
            is_active: row.is_active,
            notes: row.notes.clone(),
        }
    }

    async fn allowed(tx: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        match target {
            Target::New(fields) => {
                // Who was put in charge of this offering need not convene its unit.
                if !store::convenes_term(tx, actor.id(), fields).await? {
                    units::refuse_foreign(tx, actor, fields.unit).await?;
                }
                refuse_handing_over(actor, fields.convenor.is_none_or(|convenor| convenor == actor.id()))
            }
            Target::Row(row) => super::refuse_foreign(tx, actor, Some(row.id)).await,
        }
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &OfferingFields,
        before: Option<(Id, &OfferingFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        faults.refers::<Unit>(tx, "unit", fields.unit).await?;
        intakes::check_term(&mut faults, fields.semester, fields.year);
        for (field, moment) in
            [("enrollment_start", fields.enrollment_start), ("enrollment_end", fields.enrollment_end)]
        {
            faults.unless(moment.is_some(), field, "This field is required.");
        }
        if let (Some(start), Some(end)) = (fields.enrollment_start, fields.enrollment_end) {
            faults.unless(start < end, "enrollment_end", "Enrolment must end after it starts.");
        }
        // An offering that says so already can still be changed.
        let is_new = before.is_none_or(|(_, before)| {
            (before.withdraw_until, before.enrollment_start) != (fields.withdraw_until, fields.enrollment_start)
        });
        if let (true, Some(start), Some(until)) = (is_new, fields.enrollment_start, fields.withdraw_until) {
            let says = "The last day to withdraw cannot be before enrolment starts: nobody could ever withdraw.";
            faults.unless(start <= until, "withdraw_until", says);
        }
        faults.unless(fields.capacity >= 0, "capacity", "Ensure this value is not negative; 0 means any number.");
        faults.text("notes", &fields.notes, 20_000);

        // An offering whose convenor has left can still be changed.
        let appointed = fields.convenor.filter(|_| before.is_none_or(|(_, before)| before.convenor != fields.convenor));
        if let Some(convenor) = appointed
            && !units::can_convene(tx, convenor).await?
        {
            faults.add("convenor", units::NO_CONVENOR);
        }

        let standing = match before {
            Some((id, _)) => Some(store::standing(tx, id).await?),
            None => None,
        };
        // The intake of a live offering is live; that of a deleted one may be gone.
        let kept = standing.as_ref().filter(|standing| standing.is_deleted).map(|standing| standing.intake);
        if let Some(intake) = fields.intake.or(kept) {
            check_intake(tx, &mut faults, intake, fields).await?;
        }
        faults.check()?;
        match (standing, before) {
            (Some(standing), Some((_, before))) => check_seats(&standing, fields, before),
            _ => Ok(()),
        }
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &OfferingFields) -> Answer<Id> {
        let intake = intake_of(tx, actor, fields).await?;
        Ok(store::add(tx, actor.id(), fields, intake).await?)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &OfferingFields) -> Answer<()> {
        let row = find::<Self>(tx, actor, id, Sight::Any).await?;
        let before = Self::fields(&row);
        if !actor.scope().is_all() {
            refuse_handing_over(actor, before.convenor == fields.convenor.or(row.unit.convenor))?;
            if store::has_enrollments(tx, id).await? {
                units::refuse_registrars(&[
                    ("enrollment_start", before.enrollment_start == fields.enrollment_start),
                    ("enrollment_end", before.enrollment_end == fields.enrollment_end),
                    ("withdraw_until", before.withdraw_until == fields.withdraw_until),
                ])?;
            }
        }
        let intake = intake_of(tx, actor, fields).await?;
        store::replace(tx, actor.id(), id, fields, intake).await?;
        if row.intake != intake {
            intakes::leave(tx, actor, row.intake).await?;
        }
        match fields.convenor.filter(|convenor| before.convenor != Some(*convenor) && *convenor != actor.id()) {
            Some(convenor) => {
                let class = format!("{} {} {}", row.unit.code, row.year, row.semester.name());
                units::tell_convenor(tx, actor, convenor, class, (Self::NAME, id)).await
            }
            None => Ok(()),
        }
    }
}

/// Only staff decide who convenes.
fn refuse_handing_over<P>(actor: &Actor<P>, stays: bool) -> Answer<()> {
    const SAYS: &str = "Only staff decide who convenes an offering.";
    if stays || actor.scope().is_all() {
        return Ok(());
    }
    Err(Problem::forbidden(SAYS).on("convenor", SAYS))
}

async fn check_intake(
    tx: &mut PgConnection,
    faults: &mut Faults,
    intake: Id,
    fields: &OfferingFields,
) -> sqlx::Result<()> {
    match intakes::held(tx, intake).await? {
        None => faults.add("intake", format!("There is no intake with the id {intake}.")),
        Some((semester, year)) => faults.unless(
            (Some(semester), Some(year)) == (fields.semester, fields.year),
            "intake",
            format!("This is the intake of {} {year}; leave it out to use that of the offering.", semester.name()),
        ),
    }
    Ok(())
}

/// What seats that are taken forbid. The offering is locked, so none is taken meanwhile.
fn check_seats(standing: &Standing, fields: &OfferingFields, before: &OfferingFields) -> Answer<()> {
    let taken = standing.current_enrollment;
    if fields.capacity > 0 && fields.capacity < taken {
        let says = format!("{taken} seats are taken; the capacity cannot be lower.");
        return Err(Problem::conflict("capacity_below_taken", says.clone()).on("capacity", says));
    }
    if taken > 0 && fields.unit != before.unit {
        let says = "Students are enrolled in this offering; it cannot become one of another unit.";
        return Err(Problem::conflict("offering_has_students", says).on("unit", says));
    }
    // Results carry the year and semester, and classes have their days in it.
    let moved = [("year", fields.year != before.year), ("semester", fields.semester != before.semester)];
    if let (true, Some((field, _))) = (standing.is_used, moved.into_iter().find(|(_, differs)| *differs)) {
        let says = "This offering has enrolments or classes; it stays in its year and semester. Make another offering instead.";
        return Err(Problem::conflict("offering_has_students", says).on(field, says));
    }
    Ok(())
}

async fn intake_of(tx: &mut PgConnection, author: &Viewer, fields: &OfferingFields) -> Answer<Id> {
    match (fields.intake, fields.semester, fields.year) {
        (Some(intake), ..) => Ok(intake),
        (None, Some(semester), Some(year)) => intakes::intake_of(tx, author, semester, year).await,
        (None, ..) => Err(Problem::invalid("semester", "This field is required.")),
    }
}
