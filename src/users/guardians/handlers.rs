//! What a guardian is on the wire.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::{grants, store};
use crate::access::{Actor, Permission, Viewer, may};
use crate::app::AppState;
use crate::audit;
use crate::db::{self, Reading};
use crate::http::{
    self, Answer, Asked, Faults, Filter, IfMatch, Kind, Listed, Listing, NoContent, Ordering, PathId, Problem,
    Resource, Target, Writable,
};
use crate::ids::{Id, Moment, or_null};

/// The most students of a guardian.
const MOST: usize = 50;

/// A row of [`store::SELECT`].
#[derive(Debug, FromRow)]
pub(super) struct GuardianRow {
    pub(super) id: Id,
    pub(super) user: Id,
    first_name: String,
    last_name: String,
    #[sqlx(json)]
    pub(super) children: Vec<Child>,
    relationship: String,
    is_emergency_contact: bool,
    is_financial_responsible: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// What a guardian sees of a student without any grant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Child {
    pub(super) id: Id,
    first_name: String,
    last_name: String,
}

/// A parent of students.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Guardian {
    id: Id,
    /// The parent's account.
    user: Id,
    /// The parent's.
    first_name: String,
    /// The parent's.
    last_name: String,
    /// Students see themselves alone.
    students: Vec<Id>,
    /// The same with their names.
    children: Vec<Child>,
    relationship: String,
    is_emergency_contact: bool,
    is_financial_responsible: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// What administrators write of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct GuardianFields {
    /// A parent's account. With another one all grants end.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub(super) user: Option<Id>,
    /// At most 50.
    pub(super) students: Vec<Id>,
    /// Such as Mother; at most 255 characters.
    pub(super) relationship: String,
    pub(super) is_emergency_contact: bool,
    pub(super) is_financial_responsible: bool,
}

impl Resource for Guardian {
    type Row = GuardianRow;
    type Shown = Self;
    type Reader = Actor<may::ReadGuardians>;

    const NAME: &'static str = "guardian";
    const TABLE: &'static str = "guardians";
    const ALIAS: &'static str = "g";
    const LIVE: &'static str = "g.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("user", "g.user_id", Kind::Id),
            Filter::new(
                "student",
                "g.id = any(array(select guardian_id from guardian_students where student_id = {}))",
                Kind::Where,
            ),
        ],
        orderings: &[Ordering::new("updated_at", "g.updated_at", "timestamptz")],
        default: "id",
        search: None,
        updated_at: Some("g.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        if viewer.reach(Permission::ReadGuardians).is_all() {
            return;
        }
        sql.push(" and (g.user_id = ").push_bind(viewer.caller_id());
        sql.push(" or g.id = any(array(select guardian_id from guardian_students where student_id = ");
        sql.push_bind(viewer.caller_id()).push(")))");
    }

    fn shown(row: GuardianRow, viewer: &Viewer) -> Self {
        let mut children = row.children;
        // A student does not learn here who else is a child of the guardian.
        if !viewer.reach(Permission::ReadGuardians).is_all() && viewer.caller_id() != Some(row.user) {
            children.retain(|child| viewer.caller_id() == Some(child.id));
        }
        Self {
            id: row.id,
            user: row.user,
            first_name: row.first_name,
            last_name: row.last_name,
            students: children.iter().map(|child| child.id).collect(),
            children,
            relationship: row.relationship,
            is_emergency_contact: row.is_emergency_contact,
            is_financial_responsible: row.is_financial_responsible,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Writable for Guardian {
    type Fields = GuardianFields;
    type Write = may::WriteGuardians;

    fn fields(row: &GuardianRow) -> GuardianFields {
        GuardianFields {
            user: Some(row.user),
            students: row.children.iter().map(|child| child.id).collect(),
            relationship: row.relationship.clone(),
            is_emergency_contact: row.is_emergency_contact,
            is_financial_responsible: row.is_financial_responsible,
        }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    /// Who is there already stays, also when they are no parent or student any more.
    async fn check(
        tx: &mut PgConnection,
        fields: &GuardianFields,
        before: Option<(Id, &GuardianFields)>,
    ) -> Answer<()> {
        let before = before.map(|(_, before)| before);
        let mut faults = Faults::default();
        match fields.user {
            None => faults.add("user", "This field is required."),
            user if before.is_some_and(|before| before.user == user) => {}
            Some(user) => {
                let found = store::hold(tx, &[user], "parent").await?;
                faults.unless(found.contains(&user), "user", format!("There is no parent with the id {user}."));
            }
        }
        let is_new = |student: &&Id| before.is_none_or(|before| !before.students.contains(student));
        let new: Vec<Id> = fields.students.iter().filter(is_new).copied().collect();
        let found = store::hold(tx, &new, "student").await?;
        for student in new.iter().filter(|student| !found.contains(student)) {
            faults.add("students", format!("There is no student with the id {student}."));
        }
        faults.unless(fields.students.len() <= MOST, "students", format!("A guardian has at most {MOST} students."));
        faults.text("relationship", &fields.relationship, 255);
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &GuardianFields) -> Answer<Id> {
        let id = store::add(tx, actor.id(), fields).await?;
        store::link(tx, id, &fields.students).await?;
        Ok(id)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &GuardianFields) -> Answer<()> {
        let parent = store::parent(tx, id).await?;
        let ended = store::drop_grants_of_others(tx, id, &fields.students).await?;
        grants::have_ended(tx, actor, id, parent, "delete", &ended).await?;
        if fields.user != Some(parent) {
            let ended = store::revoke_all(tx, id).await?;
            grants::have_ended(tx, actor, id, parent, "revoke", &ended).await?;
        }
        store::replace(tx, actor.id(), id, fields).await?;
        store::unlink_others(tx, id, &fields.students).await?;
        Ok(store::link(tx, id, &fields.students).await?)
    }
}

/// `GET /`
pub(super) async fn list(
    actor: Actor<may::ReadGuardians>,
    mut conn: Reading,
    mut asked: Asked<Guardian>,
) -> Answer<Listed<Guardian>> {
    // Else a student would learn who else is a child of the guardian.
    let another = asked.asked_for("student").is_some_and(|student| student != actor.id());
    if another && !actor.scope().is_all() {
        asked.confine(Filter::new("own", "g.user_id", Kind::Id), actor.id());
    }
    asked.page(&mut conn, &actor).await
}

/// `DELETE /{id}/`
pub(super) async fn remove(
    actor: Actor<may::WriteGuardians>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
) -> Answer<NoContent> {
    let (actor, condition) = (&actor, &condition);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = http::locked::<Guardian>(tx, actor, id, condition).await?;
            // Else restoring the guardian would open again what nobody has granted since.
            let ended = store::revoke_all(tx, id).await?;
            grants::have_ended(tx, actor, id, row.user, "revoke", &ended).await?;
            http::set_deleted::<Guardian>(tx, actor, id, true).await?;
            let before = serde_json::to_value(Guardian::fields(&row)).map_err(Problem::internal)?;
            audit::record(tx, actor, "delete", Guardian::NAME, Some(id), &before, &Value::Null).await?;
            Ok(NoContent)
        })
    })
    .await
}
