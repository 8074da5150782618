//! What a user is on the wire, and who sees whom.

use chrono::NaiveDate;
use serde::Serialize;
use sqlx::{FromRow, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::profile::Profile;
use super::standing::Standing;
use super::store;
use crate::academic::semester::Semester;
use crate::access::{Actor, Permission, Reach, UserType, Viewer, may};
use crate::http::{Filter, Kind, Listing, Ordering, Resource, Search};
use crate::ids::{Id, Moment};
use crate::users::guardians;

/// A person.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    id: Id,
    email: String,
    username: String,
    first_name: String,
    last_name: String,
    is_staff: bool,
    user_type: UserType,
    department: String,
    position: String,
    bio: String,
    /// An absolute URL.
    profile_image: Option<String>,
    created_at: Moment,
    updated_at: Moment,
    /// Only for the person and for holders of `users.read_private`.
    #[serde(flatten)]
    private: Option<Private>,
}

/// What only the person and holders of `users.read_private` see.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Private {
    /// Given name as it stands on transcripts; staff write it with the name, and a person's own change leaves it.
    official_first_name: String,
    /// Family name as it stands on transcripts.
    official_last_name: String,
    phone_number: String,
    address_line1: String,
    address_line2: String,
    city: String,
    state: String,
    postal_code: String,
    country: String,
    date_of_birth: Option<NaiveDate>,
    emergency_contact_name: String,
    emergency_contact_phone: String,
    leaderboard_opt_in: bool,
    is_active: bool,
    is_superuser: bool,
    last_login: Option<Moment>,
    /// The address that will count once it is confirmed.
    pending_email: Option<String>,
}

/// The name on documents.
#[derive(Debug, Clone, FromRow)]
pub(super) struct OfficialName {
    pub(super) official_first_name: String,
    pub(super) official_last_name: String,
}

/// A row of [`store::SELECT`].
#[derive(Debug, Clone, FromRow)]
pub struct UserRow {
    pub(super) id: Id,
    #[sqlx(flatten)]
    pub(super) standing: Standing,
    #[sqlx(flatten)]
    pub(super) official: OfficialName,
    #[sqlx(flatten)]
    pub(super) profile: Profile,
    profile_image: Option<String>,
    pending_email: Option<String>,
    last_login: Option<Moment>,
    created_at: Moment,
    updated_at: Moment,
}

const FILTERS: &[Filter] = &[
    Filter::new(
        "user_type",
        "u.user_type",
        Kind::OneOf(&["student", "staff", "unit_convenor", "auditor", "parent", "admin"]),
    ),
    Filter::new("is_active", "u.is_active", Kind::Flag),
    Filter::new("department", "u.department", Kind::Text),
];

/// What a list of students is narrowed by that is of their profile or their enrolments.
pub(super) const OF_RECORDS: &[&str] = &["course", "not_enrolled_in"];

/// Of students also what is of their profile and their enrolments.
const STUDENT_FILTERS: &[Filter] = &[
    Filter::new("user_type", "u.user_type", Kind::OneOf(&["student"])),
    Filter::new("is_active", "u.is_active", Kind::Flag),
    Filter::new("department", "u.department", Kind::Text),
    Filter::new(
        "course",
        "u.id in (select sp.user_id from student_profiles sp where sp.deleted_at is null and sp.course_id = {})",
        Kind::Where,
    ),
    Filter::new(
        "not_enrolled_in",
        "not exists (select
                       from enrollments e
                       join offerings o on o.id = e.offering_id
                      where e.student_id = u.id
                        and e.deleted_at is null
                        and e.status <> 'WITHDRAWN'
                        and o.year || '-' || o.semester = {})",
        Kind::Term(Semester::NAMES),
    ),
];

const ORDERINGS: &[Ordering] = &[
    Ordering::named("last_name", "u.last_name collate \"vi-x-icu\""),
    Ordering::named("first_name", "u.first_name collate \"vi-x-icu\""),
    Ordering::new("email", "u.email", "text"),
    Ordering::new("username", "u.username", "text"),
    Ordering::new("created_at", "u.created_at", "timestamptz"),
    Ordering::new("updated_at", "u.updated_at", "timestamptz"),
];

const SEARCH: Option<Search> = Some(Search::Names("u.search_text"));

/// What the rows of a parent's list can be narrowed or ordered by without telling more of a child than is shown.
pub(super) const KNOWN_OF_CHILDREN: &[&str] = &["user_type", "first_name", "last_name", "created_at", "updated_at"];

impl User {
    /// The row as the guardian of a student sees it without any grant.
    fn by_name_alone(row: UserRow) -> Self {
        Self {
            id: row.id,
            email: String::new(),
            username: String::new(),
            first_name: row.profile.first_name,
            last_name: row.profile.last_name,
            is_staff: row.standing.is_staff,
            user_type: row.standing.user_type,
            department: String::new(),
            position: String::new(),
            bio: String::new(),
            profile_image: None,
            created_at: row.created_at,
            updated_at: row.updated_at,
            private: None,
        }
    }

    /// The row as this viewer sees it.
    pub(super) fn seen(row: UserRow, viewer: &Viewer) -> Self {
        let own = viewer.caller_id() == Some(row.id);
        let UserRow {
            id,
            standing,
            official,
            profile,
            profile_image,
            pending_email,
            last_login,
            created_at,
            updated_at,
        } = row;
        let private = (own || viewer.reach(Permission::ReadPrivate).is_all()).then_some(Private {
            official_first_name: official.official_first_name,
            official_last_name: official.official_last_name,
            phone_number: profile.phone_number,
            address_line1: profile.address_line1,
            address_line2: profile.address_line2,
            city: profile.city,
            state: profile.state,
            postal_code: profile.postal_code,
            country: profile.country,
            date_of_birth: profile.date_of_birth,
            emergency_contact_name: profile.emergency_contact_name,
            emergency_contact_phone: profile.emergency_contact_phone,
            leaderboard_opt_in: profile.leaderboard_opt_in,
            is_active: standing.is_active,
            is_superuser: standing.is_superuser,
            last_login,
            pending_email,
        });
        Self {
            id,
            email: standing.email,
            username: standing.username,
            first_name: profile.first_name,
            last_name: profile.last_name,
            is_staff: standing.is_staff,
            user_type: standing.user_type,
            department: standing.department,
            position: standing.position,
            bio: profile.bio,
            profile_image: profile_image.map(|name| viewer.public_url(&name)),
            created_at,
            updated_at,
            private,
        }
    }
}

impl Resource for User {
    type Row = UserRow;
    type Shown = Self;
    type Reader = Actor<may::ReadUsers>;

    const NAME: &'static str = "user";
    const TABLE: &'static str = "users";
    const ALIAS: &'static str = "u";
    // A deactivated user stays visible to those who see everyone; lists narrow by `is_active`.
    const LIVE: &'static str = "true";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: FILTERS,
        orderings: ORDERINGS,
        default: "id",
        search: SEARCH,
        updated_at: Some("u.updated_at"),
    };

    /// Everyone, or oneself, a parent's children and, in lists, those one may write to. Another's object is absent for
    /// students.
    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, in_a_list: bool) {
        if viewer.reach(Permission::ReadUsers).is_all() {
            return;
        }
        sql.push(" and (u.id = ").push_bind(viewer.caller_id());
        if in_a_list {
            sql.push(" or ").push(store::RECIPIENT);
        }
        if viewer.reach(Permission::ReadUsers).covers(Reach::CHILDREN) {
            sql.push(" or ");
            guardians::push_children(sql, viewer.caller_id(), "u.id");
        }
        sql.push(")");
    }

    fn shown(row: UserRow, viewer: &Viewer) -> Self {
        let reach = viewer.reach(Permission::ReadUsers);
        let is_child = !reach.is_all()
            && reach.covers(Reach::CHILDREN)
            && viewer.caller_id() != Some(row.id)
            && !row.standing.is_recipient();
        if is_child { Self::by_name_alone(row) } else { Self::seen(row, viewer) }
    }
}

/// Someone one may write to.
#[derive(Debug)]
pub struct Recipient;

impl Resource for Recipient {
    type Row = UserRow;
    type Shown = User;
    type Reader = Actor<may::BeSignedIn>;

    const NAME: &'static str = "user";
    const TABLE: &'static str = "users";
    const ALIAS: &'static str = "u";
    const LIVE: &'static str = store::RECIPIENT;
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: FILTERS,
        orderings: ORDERINGS,
        default: "last_name,first_name",
        search: SEARCH,
        updated_at: Some("u.updated_at"),
    };

    /// Also for administrators who list deleted rows, nobody else.
    fn visible(sql: &mut QueryBuilder<Postgres>, _: &Viewer, _: bool) {
        sql.push(" and ").push(store::RECIPIENT);
    }

    fn shown(row: UserRow, viewer: &Viewer) -> User {
        User::seen(row, viewer)
    }
}

/// A user who is a student.
#[derive(Debug)]
pub struct Student;

impl Resource for Student {
    type Row = UserRow;
    type Shown = User;
    type Reader = Actor<may::ReadStudents>;

    const NAME: &'static str = "user";
    const TABLE: &'static str = "users";
    const ALIAS: &'static str = "u";
    const LIVE: &'static str = "u.user_type = 'student'";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: STUDENT_FILTERS,
        orderings: ORDERINGS,
        default: "id",
        search: SEARCH,
        updated_at: Some("u.updated_at"),
    };

    /// Also for administrators who list deleted rows, students alone.
    fn visible(sql: &mut QueryBuilder<Postgres>, _: &Viewer, _: bool) {
        sql.push(" and u.user_type = 'student'");
    }

    fn shown(row: UserRow, viewer: &Viewer) -> User {
        User::seen(row, viewer)
    }
}
