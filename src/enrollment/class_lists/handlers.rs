//! What a class list is on the wire, and who sees it.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::store;
use crate::academic::offerings::Offering;
use crate::access::{Actor, Reach, Viewer, may};
use crate::db::Reading;
use crate::decimals::{two_places, with_places};
use crate::enrollment::Status;
use crate::http::{
    Answer, AskedAs, Cell, Csv, Filter, Format, Kind, Listed, Listing, OrCsv, Ordering, PathId, Problem, Resource,
    Search, Sight, find,
};
use crate::ids::{Id, Moment};
use crate::users::accounts::UserBrief;

/// A student in a class.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(super) struct ClassMember {
    /// The enrolment's id.
    enrollment: Id,
    #[sqlx(json)]
    student: UserBrief,
    /// The number on the student card; empty without a profile.
    student_number: String,
    /// Whether the account is in use.
    is_active: bool,
    status: Status,
    /// By the scale; empty until there is one.
    grade: String,
    /// 0 to 100, with two decimals.
    #[serde(serialize_with = "two_places")]
    #[schema(value_type = Option<String>, example = "78.00")]
    marks: Option<Decimal>,
    requested_at: Moment,
    withdrawn_date: Option<NaiveDate>,
    completion_date: Option<NaiveDate>,
    updated_at: Moment,
}

impl Resource for ClassMember {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadClassLists>;

    const NAME: &'static str = "enrollment";
    const TABLE: &'static str = "enrollments";
    const ALIAS: &'static str = "e";
    const LIVE: &'static str = "e.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[Filter::new("status", "e.status", Kind::OneOf(Status::NAMES))],
        orderings: &[
            Ordering::named("last_name", "s.last_name collate \"vi-x-icu\""),
            Ordering::named("first_name", "s.first_name collate \"vi-x-icu\""),
            Ordering::new("student_number", "coalesce(sp.student_id, '')", "text"),
            Ordering::new("status", "e.status", "text"),
            Ordering::new("requested_at", "e.requested_at", "timestamptz"),
        ],
        default: "last_name,first_name",
        search: Some(Search::Names("s.search_text")),
        updated_at: Some("e.updated_at"),
    };

    fn shown(row: Self, viewer: &Viewer) -> Self {
        Self { student: row.student.seen(viewer), ..row }
    }
}

/// What every class list is confined by; no parameter of the caller's.
const OFFERING: Filter = Filter::new("offering", "e.offering_id", Kind::Id);

/// `GET /{id}/students/`
pub(super) async fn students(
    reader: Actor<may::ReadClassLists>,
    mut conn: Reading,
    PathId(id): PathId,
    AskedAs { mut asked, format }: AskedAs<ClassMember>,
) -> Answer<OrCsv<Listed<ClassMember>>> {
    let offering = find::<Offering>(&mut conn, &reader, id, Sight::Visible).await?;
    refuse_others(&mut conn, &reader, &offering).await?;
    asked.confine(OFFERING, id);
    Ok(match format {
        Format::Json => OrCsv::Json(asked.page(&mut conn, &reader).await?),
        Format::Csv => OrCsv::Csv(file(&offering, asked.whole(&mut conn, &reader).await?)?),
    })
}

/// Anyone sees that there is the offering, so whose class it is not gets 403.
async fn refuse_others(
    conn: &mut PgConnection,
    reader: &Actor<may::ReadClassLists>,
    offering: &Offering,
) -> Answer<()> {
    if knows_class(conn, reader, offering).await? {
        return Ok(());
    }
    Err(Problem::forbidden("Only who convenes or instructs this offering may see its class list."))
}

/// Whether the class list is theirs to see.
pub(crate) async fn knows_class(
    conn: &mut PgConnection,
    reader: &Actor<may::ReadClassLists>,
    offering: &Offering,
) -> Answer<bool> {
    let reach = reader.scope();
    Ok(reach.is_all()
        || (reach.covers(Reach::OWN_UNITS) && offering.convenor == Some(reader.id()))
        || (reach.covers(Reach::OWN) && store::instructs(conn, reader.id(), offering.id).await?))
}

fn file(offering: &Offering, class: Vec<ClassMember>) -> Answer<Csv> {
    let name = format!("class-{}-{}-{}.csv", offering.unit.code, offering.year, offering.semester.name());
    let head = [
        "enrollment",
        "student",
        "student_number",
        "last_name",
        "first_name",
        "email",
        "status",
        "grade",
        "marks",
        "requested_at",
        "withdrawn_date",
        "completion_date",
        "is_active",
    ];
    let rows = class.into_iter().map(|member| -> Vec<Cell> {
        vec![
            member.enrollment.into(),
            member.student.id.into(),
            member.student_number.into(),
            member.student.last_name.into(),
            member.student.first_name.into(),
            member.student.email.into(),
            member.status.name().into(),
            member.grade.into(),
            member.marks.map(|marks| with_places(marks, 2)).into(),
            member.requested_at.into(),
            member.withdrawn_date.into(),
            member.completion_date.into(),
            (if member.is_active { "true" } else { "false" }).into(),
        ]
    });
    Csv::with(&name, &head, rows)
}
