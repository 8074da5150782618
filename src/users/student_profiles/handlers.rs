//! What a student profile is on the wire.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::academic::courses::Course;
use crate::access::{Actor, Permission, Reach, Viewer, may};
use crate::decimals::two_places;
use crate::http::{
    Answer, Faults, Filter, Kind, Listing, Ordering, Problem, Refusal, Resource, Search, Target, Writable,
};
use crate::ids::{Id, Moment, day_or_null, or_null};
use crate::users::accounts::Student;

const STATUSES: &[&str] = &["good", "probation", "suspended", "graduated"];

/// The academic side of a student.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(super) struct StudentProfile {
    id: Id,
    user: Id,
    /// The number on the student card.
    student_id: String,
    enrollment_date: NaiveDate,
    expected_graduation: Option<NaiveDate>,
    course: Option<Id>,
    /// Over completed and failed units with a grade; null when there are none.
    #[serde(serialize_with = "two_places")]
    #[schema(value_type = Option<String>, example = "3.25")]
    current_gpa: Option<Decimal>,
    academic_status: String,
    created_at: Moment,
    updated_at: Moment,
}

/// What staff write of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct StudentProfileFields {
    /// A student; one profile each.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub(super) user: Option<Id>,
    /// Unique; one is made when it is empty.
    pub(super) student_id: String,
    /// Today when null.
    #[serde(deserialize_with = "day_or_null")]
    pub(super) enrollment_date: Option<NaiveDate>,
    /// Not before `enrollment_date`.
    #[serde(deserialize_with = "day_or_null")]
    pub(super) expected_graduation: Option<NaiveDate>,
    #[serde(deserialize_with = "or_null")]
    pub(super) course: Option<Id>,
    /// good, probation, suspended or graduated.
    pub(super) academic_status: String,
}

impl Default for StudentProfileFields {
    fn default() -> Self {
        Self {
            user: None,
            student_id: String::new(),
            enrollment_date: None,
            expected_graduation: None,
            course: None,
            academic_status: "good".to_owned(),
        }
    }
}

/// What is known of a student when the account is made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(in crate::users) struct StudentRecord {
    /// Unique; one is made when it is empty.
    pub(super) student_id: String,
    #[serde(deserialize_with = "or_null")]
    pub(super) course: Option<Id>,
    /// Today when null.
    #[serde(deserialize_with = "day_or_null")]
    pub(super) enrollment_date: Option<NaiveDate>,
    /// Not before `enrollment_date`.
    #[serde(deserialize_with = "day_or_null")]
    pub(super) expected_graduation: Option<NaiveDate>,
}

impl StudentRecord {
    /// Puts it into the profile that was made with the account.
    pub(in crate::users) async fn put(&self, tx: &mut PgConnection, user: Id) -> Answer<()> {
        if *self == Self::default() {
            return Ok(());
        }
        let mut faults = Faults::default();
        faults.text("student_id", &self.student_id, 32);
        check_course(tx, &mut faults, self.course, None).await?;
        faults.check()?;
        let put = store::put(tx, user, self).await;
        put.map_err(|error| Problem::from(error).explained(StudentProfile::REFUSALS))
    }
}

/// A course that is closed takes nobody new; who is in it may finish.
async fn check_course(
    tx: &mut PgConnection,
    faults: &mut Faults,
    course: Option<Id>,
    before: Option<Id>,
) -> Answer<()> {
    let Some(new) = course.filter(|_| course != before) else { return Ok(()) };
    faults.refers::<Course>(tx, "course", Some(new)).await?;
    faults.unless(!store::is_closed(tx, new).await?, "course", "This course takes no new students.");
    Ok(())
}

impl Resource for StudentProfile {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadStudentProfiles>;

    const NAME: &'static str = "student_profile";
    const TABLE: &'static str = "student_profiles";
    const ALIAS: &'static str = "sp";
    const LIVE: &'static str = "sp.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("user", "sp.user_id", Kind::Id),
            Filter::new("student_id", "sp.student_id", Kind::Text),
            Filter::new("course", "sp.course_id", Kind::Id),
            Filter::new("academic_status", "sp.academic_status", Kind::OneOf(STATUSES)),
        ],
        orderings: &[
            Ordering::new("student_id", "sp.student_id", "text"),
            Ordering::new("enrollment_date", "sp.enrollment_date", "date"),
            Ordering::new("created_at", "sp.created_at", "timestamptz"),
        ],
        default: "id",
        search: Some(Search::Names("u.search_text")),
        updated_at: Some("sp.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        let reach = viewer.reach(Permission::ReadStudentProfiles);
        if reach.is_all() {
            return;
        }
        sql.push(" and (sp.user_id = ").push_bind(viewer.caller_id());
        if reach.covers(Reach::OWN_UNITS) {
            sql.push(store::STUDENT_OF_UNITS_CONVENED_BY).push_bind(viewer.caller_id()).push(")");
        }
        sql.push(")");
    }

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for StudentProfile {
    type Fields = StudentProfileFields;
    type Write = may::WriteStudentProfiles;

    const REFUSALS: &'static [Refusal] = &[
        Refusal::taken("student_profiles_are_one_per_user", "user", "This student already has a profile."),
        Refusal::taken("student_profiles_student_id_is_unique", "student_id", "Another student has this number."),
        Refusal::invalid(
            "student_profiles_end_after_they_begin",
            "expected_graduation",
            "The graduation cannot be before the enrolment.",
        ),
    ];

    fn fields(row: &Self) -> StudentProfileFields {
        StudentProfileFields {
            user: Some(row.user),
            student_id: row.student_id.clone(),
            enrollment_date: Some(row.enrollment_date),
            expected_graduation: row.expected_graduation,
            course: row.course,
            academic_status: row.academic_status.clone(),
        }
    }

    async fn allowed(_: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        match target {
            Target::Row(row) => actor.decide_on(row.user),
            Target::New(fields) => fields.user.map_or(Ok(()), |user| actor.decide_on(user)),
        }
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &StudentProfileFields,
        before: Option<(Id, &StudentProfileFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        faults.refers::<Student>(tx, "user", fields.user).await?;
        faults.text("student_id", &fields.student_id, 32);
        check_course(tx, &mut faults, fields.course, before.and_then(|(_, before)| before.course)).await?;
        let known = STATUSES.contains(&fields.academic_status.as_str());
        faults.unless(known, "academic_status", format!("One of {} is expected.", STATUSES.join(", ")));
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &StudentProfileFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        id: Id,
        fields: &StudentProfileFields,
    ) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}
