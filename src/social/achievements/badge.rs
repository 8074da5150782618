//! The picture of an achievement.

use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use serde_json::json;

use super::handlers::Achievement;
use super::store;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::files::{Accepts, Admitted, Upload};
use crate::http::{Answer, Done, PathId, Resource as _, Sight, find, lock};

/// `POST /{id}/badge_image/`
pub(super) async fn set(
    actor: Actor<may::WriteAchievements>,
    State(app): State<AppState>,
    PathId(id): PathId,
    upload: Upload,
) -> Answer<Done<Achievement>> {
    let mut conn = app.db.acquire().await?;
    let admitted = Admitted::after(find::<Achievement>(&mut conn, &actor, id, Sight::Visible)).await?;
    drop(conn);
    let file = app.files.accept(&admitted, upload.file("file")?, Accepts::Images).await?;
    // The bytes stay only when their row does; the picture before goes only then.
    let kept = Mutex::new(None);
    let (actor, state, file, slot) = (&actor, &app, &file, &kept);
    let answer = upload
        .repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                lock::<Achievement>(tx, id).await?;
                find::<Achievement>(tx, actor, id, Sight::Visible).await?;
                let stored = state.files.put(tx, actor.id(), file, true).await?;
                let before = store::set_badge(tx, actor.id(), id, stored.id).await?;
                let old = json!({ "badge_image": before.as_ref().map(|before| before.id) });
                let new = json!({ "badge_image": stored.id });
                audit::record(tx, actor, "set_badge_image", Achievement::NAME, Some(id), &old, &new).await?;
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((stored, before));
                Done::with(&Achievement::shown(find::<Achievement>(tx, actor, id, Sight::Any).await?, actor))
            })
        })
        .await?;
    if let Some((stored, before)) = kept.into_inner().unwrap_or_else(PoisonError::into_inner) {
        stored.keep();
        if let Some(before) = before {
            app.files.discard_public(&before.name).await;
        }
    }
    Ok(answer)
}
