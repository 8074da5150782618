//! What attendance is on the wire.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Permission, Reach, Viewer, may};
use crate::app::AppState;
use crate::core::sessions::ClassSession;
use crate::http::{
    self, Answer, Audited, Created, Faults, Filter, Kind, Listing, Ordering, Posted, Problem, Refusal, Resource, Sight,
    Target, Writable, find,
};
use crate::ids::{Id, or_null};
use crate::users::naming::StudentRef;

/// How a student attended a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum AttendanceStatus {
    /// Came.
    Present,
    /// Did not come.
    Absent,
    /// Came late, which counts as attended.
    Late,
    /// Was excused, which counts as attended.
    Excused,
}

impl AttendanceStatus {
    /// As it is spelt.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Late => "late",
            Self::Excused => "excused",
        }
    }
}

/// The record of a student in a class.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct AttendanceRecord {
    id: Id,
    session: Id,
    student: Id,
    status: AttendanceStatus,
    /// Who marked it last; null when it was imported.
    marked_by: Option<Id>,
    notes: String,
    #[sqlx(flatten)]
    #[serde(flatten)]
    audited: Audited,
}

/// What those who mark write of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AttendanceFields {
    /// The class; a record stays with it.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub session: Option<Id>,
    /// A student of the class's offering; a record stays with them.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub student: Option<Id>,
    /// How the student attended.
    #[schema(required)]
    pub status: Option<AttendanceStatus>,
    /// At most 20,000 characters; the student can read them.
    pub notes: String,
}

/// A new record, as people write it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewRecord {
    /// The class.
    #[serde(default, deserialize_with = "or_null")]
    #[schema(required)]
    session: Option<Id>,
    /// A student of the class's offering, by id, student number or mail address.
    #[serde(default)]
    #[schema(required)]
    student: Option<StudentRef>,
    /// How the student attended.
    #[serde(default)]
    #[schema(required)]
    status: Option<AttendanceStatus>,
    /// At most 20,000 characters; the student can read them.
    #[serde(default)]
    notes: String,
}

impl NewRecord {
    /// Whom nobody knows is to a convenor like somebody who is not in the class.
    async fn fields(&self, tx: &mut PgConnection, actor: &Actor<may::WriteAttendance>) -> Answer<AttendanceFields> {
        let student = match self.student.as_ref().filter(|student| !student.is_blank()) {
            None => None,
            Some(named) => match named.resolve(tx).await {
                Err(problem) if problem.status().is_client_error() && !actor.scope().is_all() => {
                    return Err(Problem::invalid("student", NOT_IN_THE_CLASS));
                }
                resolved => Some(resolved?),
            },
        };
        Ok(AttendanceFields { session: self.session, student, status: self.status, notes: self.notes.clone() })
    }
}

/// `POST /`
pub(super) async fn create(
    actor: Actor<may::WriteAttendance>,
    State(app): State<AppState>,
    Posted { body, repeat }: Posted<NewRecord>,
) -> Answer<Created<AttendanceRecord>> {
    let (actor, body) = (&actor, &body);
    repeat
        .write(
            &app,
            Some(actor.id()),
            |tx, _| {
                Box::pin(async move {
                    let fields = body.fields(tx, actor).await?;
                    AttendanceRecord::allowed(tx, actor, Target::New(&fields)).await
                })
            },
            |tx, _| {
                Box::pin(async move {
                    let fields = body.fields(tx, actor).await?;
                    Created::with(&http::insert::<AttendanceRecord>(tx, actor, &fields).await?)
                })
            },
        )
        .await
}

impl Resource for AttendanceRecord {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadAttendance>;

    const NAME: &'static str = "attendance_record";
    const TABLE: &'static str = "attendance_records";
    const ALIAS: &'static str = "a";
    const LIVE: &'static str = "a.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("session", "a.session_id", Kind::Id),
            Filter::new("student", "a.student_id", Kind::Student),
            Filter::new("offering", "s.offering_id", Kind::Id),
            Filter::new("unit", "o.unit_id", Kind::Id),
            Filter::new("status", "a.status", Kind::OneOf(&["present", "absent", "late", "excused"])),
        ],
        orderings: &[
            Ordering::new("created_at", "a.created_at", "timestamptz"),
            Ordering::new("updated_at", "a.updated_at", "timestamptz"),
        ],
        default: "id",
        search: None,
        updated_at: Some("a.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        store::push_visible(sql, viewer.caller_id(), viewer.reach(Permission::ReadAttendance));
    }

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for AttendanceRecord {
    type Fields = AttendanceFields;
    type Write = may::WriteAttendance;

    const REFUSALS: &'static [Refusal] = &[Refusal::taken(
        "attendance_records_are_one_per_session_and_student",
        "student",
        "This student is marked in this class already.",
    )];

    fn fields(row: &Self) -> AttendanceFields {
        AttendanceFields {
            session: Some(row.session),
            student: Some(row.student),
            status: Some(row.status),
            notes: row.notes.clone(),
        }
    }

    async fn allowed(tx: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        match target {
            Target::Row(row) => {
                refuse_outsider(tx, actor, row.session).await?;
                actor.decide_on(row.student)
            }
            Target::New(fields) => {
                if let Some(student) = fields.student {
                    actor.decide_on(student)?;
                }
                let Some(session) = fields.session else { return Ok(()) };
                let Err(refusal) = refuse_outsider(tx, actor, session).await else { return Ok(()) };
                // A class that the caller cannot see is none that the body could name.
                let seen = find::<ClassSession>(tx, actor, session, Sight::Visible).await;
                seen.map_err(|problem| match problem.status() {
                    StatusCode::NOT_FOUND => {
                        Problem::invalid("session", format!("There is no class session with the id {session}."))
                    }
                    _ => problem,
                })?;
                Err(refusal)
            }
        }
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &AttendanceFields,
        before: Option<(Id, &AttendanceFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        faults.unless(fields.status.is_some(), "status", "This field is required.");
        faults.text("notes", &fields.notes, 20_000);
        if let Some((id, before)) = before {
            faults.unless(before.session == fields.session, "session", "A record stays with its class.");
            faults.unless(before.student == fields.student, "student", "A record stays with its student.");
            // The class of a live record is live; that of a deleted one may be gone.
            if store::is_deleted(tx, id).await? {
                faults.refers::<ClassSession>(tx, "session", fields.session).await?;
            }
            if let (true, Some(session), Some(student)) = (faults.is_empty(), fields.session, fields.student)
                && before.status != fields.status
                && let Some(standing) = store::standing(tx, session, student).await?
            {
                refuse_early(standing.begins_later.as_deref(), fields.status)?;
            }
            return faults.check();
        }
        faults.refers::<ClassSession>(tx, "session", fields.session).await?;
        faults.unless(fields.student.is_some(), "student", "This field is required.");
        if let (true, Some(session), Some(student)) = (faults.is_empty(), fields.session, fields.student) {
            let Some(standing) = store::standing(tx, session, student).await? else { return Err(Problem::absent()) };
            faults.unless(standing.is_in_the_class, "student", NOT_IN_THE_CLASS);
            if standing.is_cancelled && faults.is_empty() {
                return Err(cancelled());
            }
            if faults.is_empty() {
                refuse_early(standing.begins_later.as_deref(), fields.status)?;
            }
        }
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &AttendanceFields) -> Answer<Id> {
        let id = store::add(tx, actor.id(), fields).await?;
        if fields.status == Some(AttendanceStatus::Present) {
            store::announce(tx, &[id]).await?;
        }
        Ok(id)
    }

    async fn update(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        id: Id,
        fields: &AttendanceFields,
    ) -> Answer<()> {
        let before = store::replace(tx, actor.id(), id, fields).await?;
        if fields.status == Some(AttendanceStatus::Present) && before != AttendanceStatus::Present {
            store::announce(tx, &[id]).await?;
        }
        Ok(())
    }
}

pub(super) const NOT_IN_THE_CLASS: &str = "This student is not enrolled in the offering of the class.";

/// Nobody comes to a class that does not take place.
pub(super) fn cancelled() -> Problem {
    Problem::conflict("class_cancelled", "The class is cancelled; nobody can be marked in it.")
}

/// Nobody has come to a class, or missed it, before it begins; who will not come can be excused.
pub(super) fn refuse_early(begins_later: Option<&str>, status: Option<AttendanceStatus>) -> Answer<()> {
    match (begins_later, status) {
        (None, _) | (_, None | Some(AttendanceStatus::Excused)) => Ok(()),
        (Some(begins), _) => Err(Problem::conflict(
            "class_not_begun",
            format!("The class begins on {begins}. Until then students can only be excused."),
        )),
    }
}

/// 403 unless the caller may mark in the class. One that is not there is left to the rules.
pub(super) async fn refuse_outsider(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteAttendance>,
    session: Id,
) -> Answer<()> {
    let reach = actor.scope();
    if reach.is_all() {
        return Ok(());
    }
    let Some(by) = store::teaching(tx, session, actor.id()).await? else { return Ok(()) };
    if (by.instructs && reach.covers(Reach::OWN)) || (by.convenes && reach.covers(Reach::OWN_UNITS)) {
        return Ok(());
    }
    Err(Problem::forbidden("Only the class's instructor, the unit's convenor and staff may do this."))
}
