//! What people do with what they were told: mark it as read, and delete it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::handlers::Notification;
use super::store;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::db::{self, Reading};
use crate::http::{Answer, Bare, Changes, Done, IfMatch, Json, NoContent, PathId, Problem, Shown, Sight, find};
use crate::ids::Id;

/// What the recipient writes of a notification.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct NotificationFields {
    /// Whether it still has to be read.
    unread: bool,
}

impl Default for NotificationFields {
    fn default() -> Self {
        Self { unread: true }
    }
}

/// How many notifications wait to be read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UnreadCount {
    unread: i64,
}

/// How many notifications were unread, and no longer are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MarkedRead {
    marked: i64,
}

/// `GET /unread-count/`
pub(super) async fn unread_count(
    actor: Actor<may::ReadNotifications>,
    mut conn: Reading,
) -> Answer<Shown<UnreadCount>> {
    Shown::with(&UnreadCount { unread: store::count_unread(&mut *conn, actor.id()).await? })
}

/// `POST /mark-all-read/`
pub(super) async fn mark_all_read(
    actor: Actor<may::EditNotifications>,
    State(app): State<AppState>,
    Bare { repeat }: Bare,
) -> Answer<Done<MarkedRead>> {
    let actor = &actor;
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let marked = store::mark_all_read(tx, actor.id()).await?;
                let of = Some(actor.id());
                let details = json!({ "marked": marked });
                audit::note(tx, of, &actor.origin, "mark_notifications_read", "user", of, &details).await?;
                Done::with(&MarkedRead { marked })
            })
        })
        .await
}

/// `PUT /{id}/`
pub(super) async fn replace(
    actor: Actor<may::EditNotifications>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    Json(fields): Json<NotificationFields>,
) -> Answer<Shown<Notification>> {
    let (actor, condition) = (&actor, &condition);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = locked(tx, actor, id, condition).await?;
            mark(tx, actor, &row, fields).await
        })
    })
    .await
}

/// `PATCH /{id}/`
pub(super) async fn change(
    actor: Actor<may::EditNotifications>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    changes: Changes<NotificationFields>,
) -> Answer<Shown<Notification>> {
    let (actor, condition, changes) = (&actor, &condition, &changes);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = locked(tx, actor, id, condition).await?;
            let fields = changes.onto(&NotificationFields { unread: row.unread })?;
            mark(tx, actor, &row, fields).await
        })
    })
    .await
}

/// `DELETE /{id}/`
pub(super) async fn remove(
    actor: Actor<may::EditNotifications>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
) -> Answer<NoContent> {
    let (actor, condition) = (&actor, &condition);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = locked(tx, actor, id, condition).await?;
            store::remove(tx, actor.id(), id).await?;
            let before = json!({ "unread": row.unread, "verb": row.verb, "description": row.description });
            audit::record(tx, actor, "delete", "notification", Some(id), &before, &Value::Null).await?;
            Ok(NoContent)
        })
    })
    .await
}

/// The caller's own notification, locked.
async fn locked(
    tx: &mut PgConnection,
    actor: &Actor<may::EditNotifications>,
    id: Id,
    condition: &IfMatch,
) -> Answer<Notification> {
    store::lock(tx, id).await?;
    let row = find::<Notification>(tx, actor, id, Sight::Visible).await?;
    condition.holds_for(&row.clone().for_recipient())?;
    Ok(row)
}

async fn mark(
    tx: &mut PgConnection,
    actor: &Actor<may::EditNotifications>,
    row: &Notification,
    fields: NotificationFields,
) -> Answer<Shown<Notification>> {
    let json_of = |fields| serde_json::to_value(fields).map_err(Problem::internal);
    store::mark(tx, actor.id(), row.id, fields.unread).await?;
    let (before, after) = (json_of(NotificationFields { unread: row.unread })?, json_of(fields)?);
    audit::record(tx, actor, "update", "notification", Some(row.id), &before, &after).await?;
    Shown::with(&find::<Notification>(tx, actor, row.id, Sight::Any).await?.for_recipient())
}
