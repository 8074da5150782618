//! Seeing and revoking sessions.

use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Permission, Viewer, may};
use crate::app::AppState;
use crate::audit;
use crate::db::{self, Reading};
use crate::http::{Answer, Asked, Filter, Kind, Listed, Listing, NoContent, Ordering, PathId, Problem, Resource};
use crate::ids::{Id, Moment};

/// A live session.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(super) struct Session {
    id: Id,
    user: Id,
    created_at: Moment,
    /// When a token was last made for it.
    last_used_at: Moment,
    expires_at: Moment,
    /// The address it was opened from.
    ip: String,
    /// The program it was opened with.
    agent: String,
    /// Whether it is the one that asks.
    #[sqlx(default)]
    current: bool,
}

impl Resource for Session {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ManageSessions>;

    const NAME: &'static str = "session";
    const TABLE: &'static str = "sessions";
    const ALIAS: &'static str = "s";
    const LIVE: &'static str = "s.revoked_at is null and s.expires_at > rule_now()
        and s.security_version = (select u.security_version from users u where u.id = s.user_id)";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[Filter::new("user", "s.user_id", Kind::Id)],
        orderings: &[Ordering::new("created_at", "s.created_at", "timestamptz")],
        default: "-created_at",
        search: None,
        updated_at: None,
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        if !viewer.reach(Permission::ManageSessions).is_all() {
            sql.push(" and s.user_id = ").push_bind(viewer.caller_id());
        }
    }

    fn shown(row: Self, viewer: &Viewer) -> Self {
        let current = viewer.caller().is_some_and(|caller| caller.session == row.id);
        Self { current, ..row }
    }
}

/// `GET /api/users/sessions/`
pub(super) async fn list(
    actor: Actor<may::ManageSessions>,
    mut conn: Reading,
    mut asked: Asked<Session>,
) -> Answer<Listed<Session>> {
    asked.narrow("user", actor.id());
    asked.page(&mut conn, &actor).await
}

/// `DELETE /api/users/sessions/{id}/`
pub(super) async fn remove(
    actor: Actor<may::ManageSessions>,
    State(app): State<AppState>,
    PathId(id): PathId,
) -> Answer<NoContent> {
    let actor = &actor;
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let owner = (!actor.scope().is_all()).then(|| actor.id());
            if !store::revoke(tx, id, owner).await? {
                return Err(Problem::absent());
            }
            audit::note(tx, actor.caller_id(), &actor.origin, "revoke", "session", Some(id), &json!({})).await?;
            Ok(NoContent)
        })
    })
    .await
}
