//! What an event is on the wire, and who sees what of it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::{content, store};
use crate::academic::offerings::Offering;
use crate::academic::semester::Semester;
use crate::academic::units::Unit;
use crate::access::{Actor, Permission, Reach, UserType, Viewer, Visitor, may};
use crate::http::{
    Answer, Audited, Faults, Filter, Kind, Listing, Ordering, Problem, Refusal, Resource, Search, Sight, Target,
    Writable, find,
};
use crate::ids::{Id, Moment, end_or_null, moment_or_null, or_null};

/// Whom an event can be for at all.
pub(super) const VISIBILITIES: &[&str] = &["public", "unit", "staff"];

/// Why an event cannot be published to a unit.
pub(super) const NO_AUDIENCE: &str = "The event belongs to no unit; choose its audience first.";

/// How far its generated content can be.
pub(super) const GENERATION_STATUSES: &[&str] = &["idle", "pending", "ready", "failed"];

/// Something that is on.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct Event {
    pub(super) id: Id,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) start: Moment,
    pub(super) end: Option<Moment>,
    pub(super) location: String,
    /// `public`, `unit` or `staff`.
    pub(super) visibility: String,
    /// Who comes; for those who may not edit events only themselves.
    attendees: Vec<Id>,
    pub(super) target_all_students: bool,
    /// For those who may not edit events only themselves.
    pub(super) target_students: Vec<Id>,
    pub(super) target_offerings: Vec<Id>,
    #[schema(value_type = Vec<TargetIntake>)]
    pub(super) target_intakes: Json<Vec<TargetIntake>>,
    related_unit: Option<Id>,
    related_offering: Option<Id>,
    /// Empty for those who may not edit events until it was confirmed.
    #[schema(value_type = Object)]
    pub(super) generated_content: Value,
    /// `idle`, `pending`, `ready` or `failed`.
    pub(super) generation_status: String,
    /// Empty for those who may not edit events.
    #[schema(value_type = Object)]
    pub(super) generation_meta: Value,
    pub(super) last_generated_at: Option<Moment>,
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub(super) audited: Audited,
}

/// A cohort that an event is for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct TargetIntake {
    pub(super) id: Id,
    semester: Semester,
    year: i32,
}

/// What those who may edit events write of one. Lists take ids, or objects with an `id`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EventFields {
    /// At most 255 characters.
    #[schema(required)]
    pub title: String,
    /// At most 20,000 characters.
    pub description: String,
    /// When it begins.
    #[schema(required)]
    #[serde(deserialize_with = "moment_or_null")]
    pub start: Option<Moment>,
    /// Not before `start`; null when that is not said.
    #[serde(deserialize_with = "end_or_null")]
    pub end: Option<Moment>,
    /// At most 255 characters.
    pub location: String,
    /// `public`, `unit` or `staff`.
    pub visibility: String,
    /// Who comes.
    #[serde(deserialize_with = "ids")]
    pub attendees: Vec<Id>,
    /// Whether it is for every student.
    pub target_all_students: bool,
    /// The students whom it is for.
    #[serde(deserialize_with = "ids")]
    pub target_students: Vec<Id>,
    /// The offerings whose students it is for.
    #[serde(deserialize_with = "ids")]
    pub target_offerings: Vec<Id>,
    /// The intakes whose students it is for.
    #[serde(deserialize_with = "ids")]
    pub target_intakes: Vec<Id>,
    /// The unit that it is about.
    #[serde(deserialize_with = "or_null")]
    pub related_unit: Option<Id>,
    /// The offering that it is about.
    #[serde(deserialize_with = "or_null")]
    pub related_offering: Option<Id>,
}

impl Default for EventFields {
    fn default() -> Self {
        Self {
            title: String::new(),
            description: String::new(),
            start: None,
            end: None,
            location: String::new(),
            visibility: "public".to_owned(),
            attendees: Vec::new(),
            target_all_students: false,
            target_students: Vec::new(),
            target_offerings: Vec::new(),
            target_intakes: Vec::new(),
            related_unit: None,
            related_offering: None,
        }
    }
}

/// An id, plain or as the `id` of an object.
struct Named(Id);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Sent {
            Plain(Id),
            Within { id: Id },
        }
        match Sent::deserialize(from) {
            Ok(Sent::Plain(id) | Sent::Within { id }) => Ok(Self(id)),
            Err(_) => Err(D::Error::custom("an id (a positive integer) is expected")),
        }
    }
}

/// Reads ids, each plain or as the `id` of an object, so that what was read can be sent back.
fn ids<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Id>, D::Error> {
    let mut ids: Vec<Id> = Vec::<Named>::deserialize(from)?.into_iter().map(|Named(id)| id).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

impl Event {
    /// Who created it.
    pub(super) fn created_by(&self) -> Option<Id> {
        self.audited.created_by
    }

    /// Whether it is to be shown to a unit, but to none that is named, and to nobody else.
    pub(super) fn reaches_no_student(&self) -> bool {
        self.visibility == "unit"
            && self.related_unit.is_none()
            && self.related_offering.is_none()
            && !self.target_all_students
            && self.target_students.is_empty()
            && self.target_offerings.is_empty()
            && self.target_intakes.0.is_empty()
    }
}

impl Resource for Event {
    type Row = Self;
    type Shown = Self;
    type Reader = Visitor;

    const NAME: &'static str = "event";
    const TABLE: &'static str = "events";
    const ALIAS: &'static str = "e";
    const LIVE: &'static str = "e.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("from", "coalesce(e.\"end\", e.start)", Kind::From),
            Filter::new("to", "e.start", Kind::To),
            Filter::new("visibility", "e.visibility", Kind::OneOf(VISIBILITIES)),
            Filter::new("generation_status", "e.generation_status", Kind::OneOf(GENERATION_STATUSES)),
            Filter::new("related_unit", "e.related_unit_id", Kind::Id),
            Filter::new("related_offering", "e.related_offering_id", Kind::Id),
            Filter::new("created_by", "e.created_by", Kind::Id),
        ],
        orderings: &[
            Ordering::new("start", "e.start", "timestamptz"),
            Ordering::named("title", "e.title collate \"vi-x-icu\""),
            Ordering::new("created_at", "e.created_at", "timestamptz"),
            Ordering::new("updated_at", "e.updated_at", "timestamptz"),
        ],
        default: "-start",
        search: Some(Search::Anywhere("e.search_text")),
        updated_at: Some("e.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        if viewer.reach(Permission::ReadEvents).is_all() {
            return;
        }
        let is_student = viewer.caller().is_some_and(|caller| caller.user_type == UserType::Student);
        store::push_audience(sql, viewer.caller_id(), is_student);
    }

    fn shown(row: Self, viewer: &Viewer) -> Self {
        if content::sees_whole(viewer) {
            return row;
        }
        let own = |ids: Vec<Id>| ids.into_iter().filter(|id| Some(*id) == viewer.caller_id()).collect();
        let confirmed = row.generation_meta.get("confirmed_at").is_some_and(|at| !at.is_null());
        Self {
            attendees: own(row.attendees),
            target_students: own(row.target_students),
            generated_content: if confirmed { row.generated_content } else { json!({}) },
            generation_meta: json!({}),
            ..row
        }
    }
}

impl Writable for Event {
    type Fields = EventFields;
    type Write = may::WriteEvents;

    const REFUSALS: &'static [Refusal] =
        &[Refusal::invalid("events_end_after_they_start", "end", "The end cannot be before the start.")];

    fn fields(row: &Self) -> EventFields {
        EventFields {
            title: row.title.clone(),
            description: row.description.clone(),
            start: Some(row.start),
            end: row.end,
            location: row.location.clone(),
            visibility: row.visibility.clone(),
            attendees: row.attendees.clone(),
            target_all_students: row.target_all_students,
            target_students: row.target_students.clone(),
            target_offerings: row.target_offerings.clone(),
            target_intakes: row.target_intakes.0.iter().map(|intake| intake.id).collect(),
            related_unit: row.related_unit,
            related_offering: row.related_offering,
        }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(tx: &mut PgConnection, fields: &EventFields, _: Option<(Id, &EventFields)>) -> Answer<()> {
        let mut faults = Faults::default();
        faults.name("title", &fields.title, 255);
        faults.text("description", &fields.description, 20_000);
        faults.text("location", &fields.location, 255);
        faults.unless(fields.start.is_some(), "start", "This field is required.");
        if let (Some(start), Some(end)) = (fields.start, fields.end) {
            faults.unless(start <= end, "end", "The end cannot be before the start.");
        }
        let known = VISIBILITIES.contains(&fields.visibility.as_str());
        faults.unless(known, "visibility", format!("One of {} is expected.", VISIBILITIES.join(", ")));
        if fields.related_unit.is_some() {
            faults.refers::<Unit>(tx, "related_unit", fields.related_unit).await?;
        }
        if fields.related_offering.is_some() {
            faults.refers::<Offering>(tx, "related_offering", fields.related_offering).await?;
        }
        let unknown = store::unknown(tx, fields).await?;
        for (field, what, ids) in [
            ("attendees", "user", unknown.attendees),
            ("target_students", "student", unknown.target_students),
            ("target_offerings", "offering", unknown.target_offerings),
            ("target_intakes", "intake", unknown.target_intakes),
        ] {
            for id in ids {
                faults.add(field, format!("There is no {what} with the id {id}."));
            }
        }
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &EventFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &EventFields) -> Answer<()> {
        let before = Self::fields(&find::<Self>(tx, actor, id, Sight::Any).await?);
        let is_another = reaches(&before) != reaches(fields);
        if is_another {
            refuse_publishing_for_others(tx, actor, id).await?;
        }
        store::replace(tx, actor.id(), id, fields).await?;
        // The row as it becomes gives the right no more than the one that was there.
        if is_another { refuse_publishing_for_others(tx, actor, id).await } else { Ok(()) }
    }
}

/// Whom an event reaches, and whose it is.
fn reaches(fields: &EventFields) -> impl PartialEq {
    (
        fields.visibility.clone(),
        fields.related_unit,
        fields.related_offering,
        fields.target_all_students,
        (fields.target_students.clone(), fields.target_offerings.clone(), fields.target_intakes.clone()),
    )
}

/// 403 unless the actor may delete the event as it stands: who is shown an event, and whose it is, is decided by those who
/// publish and delete it, not by everybody who edits its text.
pub(super) async fn refuse_publishing_for_others(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteEvents>,
    id: Id,
) -> Answer<()> {
    let scope = actor.reach(Permission::DeleteEvents);
    let row = find::<Event>(tx, actor, id, Sight::Any).await?;
    let own = scope.covers(Reach::OWN) && row.created_by() == Some(actor.id());
    if scope.is_all() || own || (scope.covers(Reach::OWN_UNITS) && store::is_of_unit_of(tx, id, actor.id()).await?) {
        return Ok(());
    }
    Err(Problem::forbidden(
        "Only who created the event, the unit's convenor and staff decide whom it is shown to and which unit it belongs to.",
    ))
}
