//! What a unit is on the wire.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::brief::Courses;
use super::{requisites, store};
use crate::access::{Actor, Reach, Viewer, Visitor, may};
use crate::core::notifications::{Notice, tell};
use crate::decimals::one_place;
use crate::http::{
    Answer, Faults, Filter, Kind, Listing, Ordering, Problem, Refusal, Resource, Search, Sight, Target, Writable, find,
};
use crate::ids::{Id, Moment, or_null};

/// A subject.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct Unit {
    id: Id,
    code: String,
    name: String,
    description: String,
    #[schema(value_type = String, example = "12.5")]
    #[serde(serialize_with = "one_place")]
    credit_points: Decimal,
    department: String,
    convenor: Option<Id>,
    /// In the units of a course whether it is an elective there, elsewhere for the caller's major; null without one.
    is_elective: Option<bool>,
    #[sqlx(flatten)]
    #[serde(skip)]
    courses: Courses,
    prerequisites: Vec<Id>,
    anti_requisites: Vec<Id>,
    is_active: bool,
    created_at: Moment,
    updated_at: Moment,
    /// What to mind after a change; left out when there is nothing.
    #[sqlx(skip)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
}

/// What staff and the unit's convenor write of a unit.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UnitFields {
    /// Unique without regard to case, at most 32 characters.
    #[schema(required)]
    pub code: String,
    /// At most 255 characters.
    #[schema(required)]
    pub name: String,
    /// At most 20,000 characters.
    pub description: String,
    /// Not negative, one decimal.
    #[schema(value_type = String, example = "12.5")]
    #[serde(serialize_with = "one_place")]
    pub credit_points: Decimal,
    /// At most 255 characters.
    pub department: String,
    /// An active convenor, member of staff or administrator; only staff change it.
    #[serde(deserialize_with = "or_null")]
    pub convenor: Option<Id>,
    /// Units that must have been completed before.
    pub prerequisites: Vec<Id>,
    /// Units that may not be taken beside or after this one; each of them then names this one too.
    pub anti_requisites: Vec<Id>,
    /// Whether it is taught.
    pub is_active: bool,
}

impl Default for UnitFields {
    fn default() -> Self {
        Self {
            code: String::new(),
            name: String::new(),
            description: String::new(),
            credit_points: Decimal::new(125, 1),
            department: String::new(),
            convenor: None,
            prerequisites: Vec::new(),
            anti_requisites: Vec::new(),
            is_active: true,
        }
    }
}

const ORDERINGS: &[Ordering] = &[
    Ordering::new("code", "u.code", "text"),
    Ordering::named("name", "u.name collate \"vi-x-icu\""),
    Ordering::new("credit_points", "u.credit_points", "numeric"),
    Ordering::new("created_at", "u.created_at", "timestamptz"),
    Ordering::new("updated_at", "u.updated_at", "timestamptz"),
];
const SEARCH: Option<Search> = Some(Search::Anywhere("u.search_text"));

impl Resource for Unit {
    type Row = Self;
    type Shown = Self;
    type Reader = Visitor;

    const NAME: &'static str = "unit";
    const TABLE: &'static str = "units";
    const ALIAS: &'static str = "u";
    const LIVE: &'static str = "u.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("code", "u.code", Kind::Text),
            Filter::new("department", "u.department", Kind::Text),
            Filter::new("convenor", "u.convenor_id", Kind::Id),
            Filter::new("is_active", "u.is_active", Kind::Flag),
            Filter::new(
                "course",
                "exists (select from course_units cu where cu.unit_id = u.id and cu.deleted_at is null and cu.course_id = {})",
                Kind::Where,
            ),
        ],
        orderings: ORDERINGS,
        default: "code",
        search: SEARCH,
        updated_at: Some("u.updated_at"),
    };

    fn shown(row: Self, viewer: &Viewer) -> Self {
        let major = viewer.caller().and_then(|caller| caller.course);
        Self { is_elective: row.courses.is_elective_for(major), ..row }
    }
}

/// A unit in a course: it is known whether it is an elective there.
pub(in crate::academic) struct UnitOfCourse;

impl Resource for UnitOfCourse {
    type Row = Unit;
    type Shown = Unit;
    type Reader = Visitor;

    const NAME: &'static str = Unit::NAME;
    const TABLE: &'static str = Unit::TABLE;
    const ALIAS: &'static str = Unit::ALIAS;
    const LIVE: &'static str = Unit::LIVE;
    const SELECT: &'static str = store::SELECT_OF_COURSE;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("course", "cu.course_id", Kind::Id),
            Filter::new("is_elective", "cu.is_elective", Kind::Flag),
            Filter::new("department", "u.department", Kind::Text),
            Filter::new("is_active", "u.is_active", Kind::Flag),
        ],
        orderings: ORDERINGS,
        default: "code",
        search: SEARCH,
        updated_at: None,
    };

    fn shown(row: Unit, _: &Viewer) -> Unit {
        row
    }
}

/// Whom nobody can put in charge.
pub(in crate::academic) const NO_CONVENOR: &str =
    "A convenor is an active user who is a unit convenor, staff or an administrator.";

/// Tells somebody that they are in charge now.
pub(in crate::academic) async fn tell_convenor(
    tx: &mut PgConnection,
    actor: &Viewer,
    convenor: Id,
    of: String,
    target: (&'static str, Id),
) -> Answer<()> {
    let (actor, verb) = (actor.caller_id(), "You are the convenor");
    Ok(tell(tx, &[Notice { recipient: convenor, actor, verb, description: of, target }]).await?)
}

/// 403 with the fields that differ: once students are enrolled, teachers no longer write what their records and the rules of
/// enrolling rest on.
pub(in crate::academic) fn refuse_registrars(same: &[(&str, bool)]) -> Answer<()> {
    const SAYS: &str = "Students have been enrolled; only staff change this now.";
    let changed = same.iter().filter(|(_, is_same)| !is_same);
    let problem = changed.fold(None, |problem: Option<Problem>, (field, _)| {
        Some(problem.unwrap_or_else(|| Problem::forbidden(SAYS)).on(*field, SAYS))
    });
    problem.map_or(Ok(()), Err)
}

impl Writable for Unit {
    type Fields = UnitFields;
    type Write = may::WriteUnits;

    const REFUSALS: &'static [Refusal] = &[
        Refusal::taken("units_code_is_unique", "code", "A unit with this code already exists."),
        Refusal::taken("units_code_key_is_unique", "code", "A unit with this code already exists."),
    ];
    const REFERRED_BY: &'static [(&'static str, &'static str)] = &[
        ("offerings", "select count(*) from offerings where unit_id = $1 and deleted_at is null"),
        ("course_units", "select count(*) from course_units where unit_id = $1 and deleted_at is null"),
        (
            "prerequisites",
            "select count(*) from unit_prerequisites p join units u on u.id = p.unit_id where p.prerequisite_id = $1 and u.deleted_at is null",
        ),
        ("unit_resources", "select count(*) from unit_resources where unit_id = $1 and deleted_at is null"),
        ("events", "select count(*) from events where related_unit_id = $1 and deleted_at is null"),
        ("tickets", "select count(*) from tickets where related_unit_id = $1 and deleted_at is null"),
        ("resources", "select count(*) from resources where unit_id = $1 and deleted_at is null"),
        ("pages", "select count(*) from pages where unit_id = $1 and deleted_at is null"),
    ];

    fn fields(row: &Self) -> UnitFields {
        UnitFields {
            code: row.code.clone(),
            name: row.name.clone(),
            description: row.description.clone(),
            credit_points: row.credit_points,
            department: row.department.clone(),
            convenor: row.convenor,
            prerequisites: row.prerequisites.clone(),
            anti_requisites: row.anti_requisites.clone(),
            is_active: row.is_active,
        }
    }

    async fn allowed(_: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        let (convenor, says) = match target {
            Target::New(fields) => {
                (fields.convenor, "Only staff decide who convenes a unit; name yourself as its `convenor`.")
            }
            Target::Row(row) => (row.convenor, "Only the unit's convenor and staff may change it."),
        };
        // The row's convenor and the new one must both be the actor, so the field stays what it was.
        let own = actor.scope().covers(Reach::OWN_UNITS) && convenor == Some(actor.id());
        if actor.scope().is_all() || own { Ok(()) } else { Err(Problem::forbidden(says)) }
    }

    async fn check(tx: &mut PgConnection, fields: &UnitFields, before: Option<(Id, &UnitFields)>) -> Answer<()> {
        let mut faults = Faults::default();
        faults.name("code", &fields.code, 32);
        faults.name("name", &fields.name, 255);
        faults.text("description", &fields.description, 20_000);
        faults.text("department", &fields.department, 255);
        faults.decimal("credit_points", fields.credit_points, 1, Decimal::ZERO..=Decimal::new(99_999, 1));
        // A unit whose convenor has left can still be changed.
        let appointed = fields.convenor.filter(|_| before.is_none_or(|(_, before)| before.convenor != fields.convenor));
        if let Some(convenor) = appointed
            && !store::can_convene(tx, convenor).await?
        {
            faults.add("convenor", NO_CONVENOR);
        }
        requisites::check(tx, &mut faults, fields, before).await?;
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &UnitFields) -> Answer<Id> {
        let id = store::add(tx, actor.id(), fields).await?;
        requisites::set(tx, actor.id(), id, fields).await?;
        Ok(id)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &UnitFields) -> Answer<()> {
        let before = Self::fields(&find::<Self>(tx, actor, id, Sight::Any).await?);
        if !actor.scope().is_all() && store::has_enrollments(tx, id).await? {
            let same = |one: &[Id], other: &[Id]| one.len() == other.len() && one.iter().all(|id| other.contains(id));
            refuse_registrars(&[
                ("code", before.code == fields.code),
                ("credit_points", before.credit_points == fields.credit_points),
                ("prerequisites", same(&before.prerequisites, &fields.prerequisites)),
                ("anti_requisites", same(&before.anti_requisites, &fields.anti_requisites)),
            ])?;
        }
        store::replace(tx, actor.id(), id, fields).await?;
        requisites::set(tx, actor.id(), id, fields).await?;
        match fields.convenor.filter(|convenor| before.convenor != Some(*convenor) && *convenor != actor.id()) {
            Some(convenor) => tell_convenor(tx, actor, convenor, fields.code.clone(), (Self::NAME, id)).await,
            None => Ok(()),
        }
    }

    async fn remark(
        tx: &mut PgConnection,
        id: Id,
        before: &UnitFields,
        after: &UnitFields,
        shown: &mut Self,
    ) -> Answer<()> {
        if before.is_active && !after.is_active {
            let open = store::open_offerings(tx, id).await?;
            if open > 0 {
                shown.remarks.push(format!(
                    "{} still open for enrolment: nobody new can enrol there. Who sits in a class stays.",
                    if open == 1 { "1 offering is".to_owned() } else { format!("{open} offerings are") }
                ));
            }
        }
        Ok(())
    }
}
