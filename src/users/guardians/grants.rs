//! What a guardian may see of a student.
//!
//! An adult alone grants and revokes; for a minor (by the birth date) an administrator does, and what an administrator
//! grants ends on the 18th birthday at the latest. Several grants for one student add up, and each is revoked by itself.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::handlers::Guardian;
use super::store::{self, Ended};
use crate::access::{Actor, Permission, Viewer, may};
use crate::app::AppState;
use crate::audit;
use crate::core::notifications::{Notice, tell};
use crate::db::{self, Reading};
use crate::http::{
    Answer, Asked, Created, Describe, Faults, Filter, IfMatch, Kind, Listed, Listing, NoContent, Notes, Ordering,
    PathId, Posted, Problem, Resource, Schemas, Shown, Sight, find, path_text,
};
use crate::ids::{Id, Moment, end_or_null, or_null};

/// What can be granted.
const SCOPES: [&str; 4] = ["enrolments", "transcripts", "attendance", "gold"];

const GRANTED: &str = "Guardian access granted";
const REVOKED: &str = "Guardian access revoked";

/// A row of [`store::GRANT`].
#[derive(Debug, FromRow)]
pub(super) struct GrantRow {
    id: Id,
    guardian: Id,
    student: Id,
    student_name: String,
    parent: Id,
    scopes: Vec<String>,
    granted_at: Moment,
    granted_by: Option<Id>,
    valid_until: Option<Moment>,
    revoked_at: Option<Moment>,
    holds: bool,
}

/// What a guardian may see of one student.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardianGrant)]
pub(super) struct Grant {
    id: Id,
    guardian: Id,
    student: Id,
    /// Some of enrolments, transcripts, attendance and gold.
    scopes: Vec<String>,
    granted_at: Moment,
    /// The student, or an administrator.
    granted_by: Option<Id>,
    /// Null when it has no end.
    valid_until: Option<Moment>,
    revoked_at: Option<Moment>,
    /// Whether it is neither over nor revoked.
    holds: bool,
}

/// A new grant.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = NewGuardianGrant)]
pub(super) struct NewGrant {
    /// A student of the guardian: oneself, or for an administrator a minor.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    student: Option<Id>,
    /// Some of enrolments, transcripts, attendance and gold.
    #[schema(required)]
    scopes: Vec<String>,
    /// In the future; null for no end.
    #[serde(deserialize_with = "end_or_null")]
    valid_until: Option<Moment>,
}

/// The guardian and the grant of the path. What is not an id names nothing: 404.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathGrant {
    guardian: Id,
    grant: Id,
}

impl FromRequestParts<AppState> for PathGrant {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        let PathId(guardian) = PathId::from_request_parts(head, app).await?;
        let grant = path_text(head, app, "grant").await?.parse().map_err(|_| Problem::absent())?;
        Ok(Self { guardian, grant })
    }
}

impl Describe for PathGrant {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        PathId::describe(notes, schemas);
        notes.parameter("path", "grant", json!({ "type": "integer", "format": "int64", "minimum": 1 }), "");
    }
}

impl Resource for Grant {
    type Row = GrantRow;
    type Shown = Self;
    type Reader = Actor<may::ReadGuardians>;

    const NAME: &'static str = "guardian_grant";
    const TABLE: &'static str = "guardian_grants";
    const ALIAS: &'static str = "gg";
    const LIVE: &'static str = "gu.deleted_at is null";
    const SELECT: &'static str = store::GRANT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("student", "gg.student_id", Kind::Id),
            Filter::new(
                "holds",
                "(gg.revoked_at is null and (gg.valid_until is null or gg.valid_until > rule_now()))",
                Kind::Flag,
            ),
        ],
        orderings: &[Ordering::new("granted_at", "gg.granted_at", "timestamptz")],
        default: "id",
        search: None,
        updated_at: None,
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        if viewer.reach(Permission::ReadGuardians).is_all() {
            return;
        }
        sql.push(" and (gg.student_id = ").push_bind(viewer.caller_id());
        sql.push(" or gu.user_id = ").push_bind(viewer.caller_id()).push(")");
    }

    fn shown(row: GrantRow, _: &Viewer) -> Self {
        Self {
            id: row.id,
            guardian: row.guardian,
            student: row.student,
            scopes: row.scopes,
            granted_at: row.granted_at,
            granted_by: row.granted_by,
            valid_until: row.valid_until,
            revoked_at: row.revoked_at,
            holds: row.holds,
        }
    }
}

/// `GET /{id}/grants/`
pub(super) async fn list(
    actor: Actor<may::ReadGuardians>,
    mut conn: Reading,
    PathId(guardian): PathId,
    mut asked: Asked<Grant>,
) -> Answer<Listed<Grant>> {
    find::<Guardian>(&mut conn, &actor, guardian, Sight::Visible).await?;
    asked.confine(Filter::new("guardian", "gg.guardian_id", Kind::Id), guardian);
    asked.page(&mut conn, &actor).await
}

/// `GET /{id}/grants/{grant}/`
pub(super) async fn show(actor: Actor<may::ReadGuardians>, mut conn: Reading, path: PathGrant) -> Answer<Shown<Grant>> {
    Shown::with(&Grant::shown(of_guardian(&mut conn, &actor, path).await?, &actor))
}

/// `POST /{id}/grants/`
pub(super) async fn create(
    actor: Actor<may::GrantGuardians>,
    State(app): State<AppState>,
    PathId(guardian): PathId,
    Posted { body, repeat }: Posted<NewGrant>,
) -> Answer<Created<Grant>> {
    let (actor, new, zone) = (&actor, &body, app.config.time_zone.name());
    repeat
        .write(
            &app,
            Some(actor.id()),
            |tx, _| Box::pin(async move { find::<Guardian>(tx, actor, guardian, Sight::Visible).await.map(|_| ()) }),
            |tx, _| Box::pin(async move { Created::with(&grant(tx, actor, guardian, new, zone).await?) }),
        )
        .await
}

async fn grant(
    tx: &mut PgConnection,
    actor: &Actor<may::GrantGuardians>,
    guardian: Id,
    new: &NewGrant,
    zone: &str,
) -> Answer<Grant> {
    store::lock(tx, guardian).await?;
    let linked = find::<Guardian>(tx, actor, guardian, Sight::Visible).await?.children;
    let student = new.student.ok_or_else(|| Problem::invalid("student", "This field is required."))?;
    // To a student the others are nobody.
    let is_theirs = linked.iter().any(|child| child.id == student);
    if !is_theirs || !(actor.scope().is_all() || student == actor.id()) {
        return Err(Problem::invalid("student", format!("The guardian has no student with the id {student}.")));
    }
    let age = store::age(tx, student, zone).await?;
    refuse_strangers(actor, student, age.minor_until)?;

    let mut faults = Faults::default();
    let mut scopes = new.scopes.clone();
    scopes.sort_unstable();
    scopes.dedup();
    faults.unless(!scopes.is_empty(), "scopes", format!("Name at least one of {}.", SCOPES.join(", ")));
    for unknown in scopes.iter().filter(|scope| !SCOPES.contains(&scope.as_str())) {
        faults.add("scopes", format!("`{unknown}` is none of {}.", SCOPES.join(", ")));
    }
    let in_time = new.valid_until.is_none_or(|until| until > age.now);
    faults.unless(in_time, "valid_until", "A moment in the future is expected.");
    faults.check()?;

    // Whoever comes of age decides anew.
    let valid_until = new.valid_until.into_iter().chain(age.minor_until).min();
    let id = store::grant(tx, actor.id(), guardian, student, &scopes, valid_until).await?;
    let row = find::<Grant>(tx, actor, id, Sight::Any).await?;
    let after = json!({ "guardian": guardian, "student": student, "scopes": scopes, "valid_until": valid_until });
    audit::record(tx, actor, "create", Grant::NAME, Some(id), &Value::Null, &after).await?;
    let end = valid_until.map(|until| format!(", until {}", until.for_people())).unwrap_or_default();
    let says = format!("{}: {}{end}", row.student_name, scopes.join(", "));
    tell_both(tx, actor, guardian, GRANTED, row.parent, student, &says).await?;
    Ok(Grant::shown(row, actor))
}

/// `DELETE /{id}/grants/{grant}/`
pub(super) async fn revoke(
    actor: Actor<may::GrantGuardians>,
    State(app): State<AppState>,
    path: PathGrant,
    condition: IfMatch,
) -> Answer<NoContent> {
    let (actor, condition, zone) = (&actor, &condition, app.config.time_zone.name());
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            store::lock(tx, path.guardian).await?;
            let row = of_guardian(tx, actor, path).await?;
            let age = store::age(tx, row.student, zone).await?;
            refuse_strangers(actor, row.student, age.minor_until)?;
            if !row.holds {
                return Err(Problem::absent());
            }
            let ended = Ended {
                id: row.id,
                student: row.student,
                student_name: row.student_name.clone(),
                scopes: row.scopes.clone(),
                held: true,
            };
            let parent = row.parent;
            condition.holds_for(&Grant::shown(row, actor))?;
            let at = store::revoke(tx, ended.id).await?;
            let (before, after) = (json!({ "revoked_at": null }), json!({ "revoked_at": at }));
            audit::record(tx, actor, "revoke", Grant::NAME, Some(ended.id), &before, &after).await?;
            tell_ended(tx, actor, path.guardian, parent, &ended).await?;
            Ok(NoContent)
        })
    })
    .await
}

/// The grant, if it is one of the path's guardian and the viewer may see it.
async fn of_guardian(conn: &mut PgConnection, viewer: &Viewer, path: PathGrant) -> Answer<GrantRow> {
    let row = find::<Grant>(conn, viewer, path.grant, Sight::Visible).await?;
    if row.guardian == path.guardian { Ok(row) } else { Err(Problem::absent()) }
}

/// An adult decides alone what guardians see; for a minor an administrator does.
fn refuse_strangers(actor: &Actor<may::GrantGuardians>, student: Id, minor_until: Option<Moment>) -> Answer<()> {
    match (student == actor.id(), minor_until) {
        (true, None) => Ok(()),
        (true, Some(_)) => {
            Err(Problem::forbidden("Until you are 18 years old an administrator decides what your guardians may see."))
        }
        (false, Some(_)) if actor.scope().is_all() => Ok(()),
        (false, None) if actor.scope().is_all() => {
            Err(Problem::forbidden("This student is an adult, and alone decides what guardians may see."))
        }
        (false, _) => Err(Problem::forbidden("Only the student decides what guardians may see.")),
    }
}

/// Audits grants that have ended because of something else, and tells of those that held.
pub(super) async fn have_ended(
    tx: &mut PgConnection,
    actor: &Viewer,
    guardian: Id,
    parent: Id,
    action: &str,
    ended: &[Ended],
) -> Answer<()> {
    let changes: Vec<_> = ended
        .iter()
        .map(|grant| (grant.id, json!({ "student": grant.student, "scopes": grant.scopes }), Value::Null))
        .collect();
    audit::record_all(tx, actor, action, Grant::NAME, &changes).await?;
    for grant in ended.iter().filter(|grant| grant.held) {
        tell_ended(tx, actor, guardian, parent, grant).await?;
    }
    Ok(())
}

async fn tell_ended(
    tx: &mut PgConnection,
    actor: &Viewer,
    guardian: Id,
    parent: Id,
    ended: &Ended,
) -> sqlx::Result<()> {
    let says = format!("{}: {}", ended.student_name, ended.scopes.join(", "));
    tell_both(tx, actor, guardian, REVOKED, parent, ended.student, &says).await
}

/// Tells the parent, and the student unless it was the student's own doing.
async fn tell_both(
    tx: &mut PgConnection,
    actor: &Viewer,
    guardian: Id,
    verb: &'static str,
    parent: Id,
    student: Id,
    says: &str,
) -> sqlx::Result<()> {
    let told = [parent, student].into_iter().filter(|recipient| Some(*recipient) != actor.caller_id());
    let notices: Vec<Notice> = told
        .map(|recipient| Notice {
            recipient,
            actor: actor.caller_id(),
            verb,
            description: says.to_owned(),
            target: (Guardian::NAME, guardian),
        })
        .collect();
    tell(tx, &notices).await
}
