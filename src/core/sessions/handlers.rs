//! What a class is on the wire.

use chrono::{Datelike, Days, NaiveDate, NaiveTime};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use super::clashes::{self, Place};
use super::{notices, store};
use crate::academic::offerings::{self, Offering};
use crate::access::{Actor, Permission, Viewer, may};
use crate::http::{
    Answer, Audited, Faults, Filter, Kind, Listing, Ordering, Refusal, Resource, Sight, Target, Writable, find,
};
use crate::ids::{Id, day_or_null, or_null};

/// How many days before and after its year an offering may have classes.
const DAYS_BEYOND_THE_YEAR: u64 = 31;

/// What kind of class it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum SessionType {
    /// For the whole offering.
    #[default]
    Lecture,
    /// In small groups.
    Tutorial,
    /// With equipment.
    Lab,
    /// Anything else.
    Other,
}

/// Whether a class takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum SessionStatus {
    /// It does.
    #[default]
    Scheduled,
    /// It does not: it takes no room, and its attendance does not count.
    Cancelled,
}

/// A class of an offering.
#[derive(Debug, Clone, FromRow, Serialize, ToSchema)]
pub struct ClassSession {
    pub(in crate::core) id: Id,
    /// The offering's.
    pub(super) unit: Id,
    pub(super) offering: Id,
    pub(super) session_type: SessionType,
    /// The day in `TIME_ZONE`, as are the times.
    pub(super) date: NaiveDate,
    pub(super) start_time: NaiveTime,
    pub(super) end_time: Option<NaiveTime>,
    pub(super) location: String,
    pub(super) instructor: Option<Id>,
    pub(super) status: SessionStatus,
    /// Shared by the classes that were generated in one go; null for one that was made by itself.
    series: Option<Uuid>,
    #[sqlx(flatten)]
    #[serde(flatten)]
    audited: Audited,
}

/// What staff and the unit's convenor write of a class.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ClassSessionFields {
    /// The offering; a class stays in it.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub offering: Option<Id>,
    /// What kind of class it is.
    pub session_type: SessionType,
    /// The day in `TIME_ZONE`.
    #[schema(required)]
    #[serde(deserialize_with = "day_or_null")]
    pub date: Option<NaiveDate>,
    /// `HH:MM` or `HH:MM:SS`.
    #[serde(deserialize_with = "time_of_day")]
    #[schema(required)]
    pub start_time: Option<NaiveTime>,
    /// After `start_time`; null when it is not known.
    #[serde(deserialize_with = "time_of_day")]
    pub end_time: Option<NaiveTime>,
    /// The room, which has one class at a time; empty for none. At most 255 characters.
    pub location: String,
    /// An active user, who holds one class at a time.
    #[serde(deserialize_with = "or_null")]
    pub instructor: Option<Id>,
    /// Who sits in the class is told when it is cancelled.
    pub status: SessionStatus,
}

/// Reads a time to the second; `""` counts as null.
pub(super) fn time_of_day<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NaiveTime>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    // A leap second and fractions of a second are no times of a timetable.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') && !text.ends_with(":60");
    ["%H:%M:%S", "%H:%M"]
        .iter()
        .filter(|_| is_plain)
        .find_map(|form| NaiveTime::parse_from_str(&text, form).ok())
        .map(Some)
        .ok_or_else(|| D::Error::custom("a time such as 09:00 or 09:00:00 is expected"))
}

impl Resource for ClassSession {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadClassSessions>;

    const NAME: &'static str = "class_session";
    const TABLE: &'static str = "class_sessions";
    const ALIAS: &'static str = "s";
    const LIVE: &'static str = "s.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("offering", "s.offering_id", Kind::Id),
            Filter::new("unit", "o.unit_id", Kind::Id),
            Filter::new("date_from", "s.date", Kind::FromDay),
            Filter::new("date_to", "s.date", Kind::ToDay),
            Filter::new("instructor", "s.instructor_id", Kind::Id),
            Filter::new("status", "s.status", Kind::OneOf(&["scheduled", "cancelled"])),
            Filter::new("session_type", "s.session_type", Kind::OneOf(&["lecture", "tutorial", "lab", "other"])),
        ],
        orderings: &[
            Ordering::new("date", "s.date", "date"),
            Ordering::new("start_time", "s.start_time", "time"),
            Ordering::new("created_at", "s.created_at", "timestamptz"),
            Ordering::new("updated_at", "s.updated_at", "timestamptz"),
        ],
        default: "id",
        search: None,
        updated_at: Some("s.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        store::push_visible(sql, viewer.caller_id(), viewer.reach(Permission::ReadClassSessions));
    }

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for ClassSession {
    type Fields = ClassSessionFields;
    type Write = may::WriteClassSessions;

    const REFUSALS: &'static [Refusal] = &[
        Refusal::taken("class_sessions_share_no_room", "location", "The room is taken at that time."),
        Refusal::taken("class_sessions_share_no_instructor", "instructor", "The instructor is taken at that time."),
    ];
    const REFERRED_BY: &'static [(&'static str, &'static str)] = &[(
        "attendance_records",
        "select count(*) from attendance_records where session_id = $1 and deleted_at is null",
    )];

    fn fields(row: &Self) -> ClassSessionFields {
        ClassSessionFields {
            offering: Some(row.offering),
            session_type: row.session_type,
            date: Some(row.date),
            start_time: Some(row.start_time),
            end_time: row.end_time,
            location: row.location.clone(),
            instructor: row.instructor,
            status: row.status,
        }
    }

    async fn allowed(tx: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        match target {
            Target::New(fields) => refuse_foreign(tx, actor, fields.offering).await,
            Target::Row(row) => refuse_foreign(tx, actor, Some(row.offering)).await,
        }
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &ClassSessionFields,
        before: Option<(Id, &ClassSessionFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        check_day(&mut faults, "date", fields.date);
        if before.is_some_and(|(_, before)| before.offering != fields.offering) {
            faults.add("offering", "A class stays in its offering; delete it and make another.");
        }
        check_all_but_the_day(tx, &mut faults, fields, before.map(|(_, before)| before)).await?;
        // A class that is on such a day already can still be changed.
        if before.is_none_or(|(_, before)| before.date != fields.date) {
            check_year(tx, &mut faults, fields.offering, &[("date", fields.date)]).await?;
        }
        faults.check()?;
        match (fields.date, Place::of(fields)) {
            (Some(date), Some(place)) if fields.status == SessionStatus::Scheduled => {
                place.hold(tx).await?;
                clashes::refuse(&place, &place.clashes(tx, &[date], before.map(|(id, _)| id)).await?)
            }
            _ => Ok(()),
        }
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &ClassSessionFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        id: Id,
        fields: &ClassSessionFields,
    ) -> Answer<()> {
        let before = find::<Self>(tx, actor, id, Sight::Any).await?;
        store::replace(tx, actor.id(), id, fields).await?;
        let after = find::<Self>(tx, actor, id, Sight::Any).await?;
        notices::tell_classes(tx, actor, &[(before, after)], "").await?;
        Ok(())
    }
}

/// 403 unless the actor may write classes of this offering. One that is not there is left to the rules.
pub(super) async fn refuse_foreign(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteClassSessions>,
    offering: Option<Id>,
) -> Answer<()> {
    offerings::refuse_foreign(tx, actor, offering).await
}

/// A day must be given, and be of our age.
pub(super) fn check_day(faults: &mut Faults, field: &str, day: Option<NaiveDate>) {
    match day {
        None => faults.add(field, "This field is required."),
        Some(day) => faults.unless((1900..=2200).contains(&day.year()), field, "A year from 1900 to 2200 is expected."),
    }
}

/// A class is in the year of its offering, or so near it that its semester can run over the year's end.
pub(super) async fn check_year(
    tx: &mut PgConnection,
    faults: &mut Faults,
    offering: Option<Id>,
    days: &[(&str, Option<NaiveDate>)],
) -> Answer<()> {
    let Some(offering) = offering else { return Ok(()) };
    let Some(year) = store::year_of(tx, offering).await? else { return Ok(()) };
    let margin = Days::new(DAYS_BEYOND_THE_YEAR);
    let first = NaiveDate::from_ymd_opt(year, 1, 1).and_then(|day| day.checked_sub_days(margin));
    let last = NaiveDate::from_ymd_opt(year, 12, 31).and_then(|day| day.checked_add_days(margin));
    let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
    for (field, day) in days {
        let is_near = day.is_none_or(|day| (first..=last).contains(&day));
        faults.unless(
            is_near,
            field,
            format!("The offering is one of {year}; a day from {first} to {last} is expected."),
        );
    }
    Ok(())
}

/// What a class and the classes of a pattern have in common.
pub(super) async fn check_all_but_the_day(
    tx: &mut PgConnection,
    faults: &mut Faults,
    fields: &ClassSessionFields,
    before: Option<&ClassSessionFields>,
) -> Answer<()> {
    faults.refers::<Offering>(tx, "offering", fields.offering).await?;
    faults.unless(fields.start_time.is_some(), "start_time", "This field is required.");
    if let (Some(start), Some(end)) = (fields.start_time, fields.end_time) {
        faults.unless(start < end, "end_time", "A class must end after it starts, on the same day.");
    }
    faults.text("location", &fields.location, 255);
    // A class whose instructor has left can still be changed.
    let appointed = fields.instructor.filter(|_| before.is_none_or(|before| before.instructor != fields.instructor));
    if let Some(instructor) = appointed
        && !store::can_instruct(tx, instructor).await?
    {
        faults.add("instructor", format!("There is no active user with the id {instructor}."));
    }
    Ok(())
}
