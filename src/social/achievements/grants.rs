//! Granting achievements: once to each student, when the points are reached.
//!
//! Either side can come later: the points (an award) or the achievement (a new one, a lower one, one that is active
//! again). So that of an award and a change that meet one sees what the other does, awards share a lock that a change
//! has for itself: a change waits for the awards under way, and then grants to everybody who has the points; the next
//! award sees the change.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::handlers::Achievement;
use super::store::{self, Granted};
use crate::access::Viewer;
use crate::audit;
use crate::core::notifications::{Notice, tell};
use crate::http::{Answer, Resource as _};
use crate::ids::Id;

/// No achievement changes until the transaction ends.
pub(in crate::social) async fn while_awarding(tx: &mut PgConnection) -> Answer<()> {
    Ok(store::share(tx).await?)
}

/// Nobody is awarded anything until the transaction ends.
pub(super) async fn while_changing(tx: &mut PgConnection) -> Answer<()> {
    Ok(store::exclude(tx).await?)
}

/// Grants these students what they have reached.
pub(in crate::social) async fn to_students(tx: &mut PgConnection, by: Option<&Viewer>, students: &[Id]) -> Answer<()> {
    let granted = store::grant(tx, by.and_then(Viewer::caller_id), Some(students), None).await?;
    announce(tx, by, &granted).await
}

/// Grants an achievement to all who have reached it.
pub(super) async fn to_all(tx: &mut PgConnection, by: &Viewer, achievement: Id) -> Answer<()> {
    let granted = store::grant(tx, by.caller_id(), None, Some(achievement)).await?;
    announce(tx, Some(by), &granted).await
}

/// Tells the students, and the audit log.
async fn announce(tx: &mut PgConnection, by: Option<&Viewer>, granted: &[Granted]) -> Answer<()> {
    let notice = |granted: &Granted| Notice {
        recipient: granted.student,
        actor: None,
        verb: "Achievement earned",
        description: format!("{}, with {} points.", granted.name, granted.points),
        target: (Achievement::NAME, granted.achievement),
    };
    tell(tx, &granted.iter().map(notice).collect::<Vec<_>>()).await?;
    let change = |granted: &Granted| {
        let after = json!({
            "student": granted.student, "achievement": granted.achievement, "points_at_earning": granted.points,
        });
        (granted.id, Value::Null, after)
    };
    let changes: Vec<(Id, Value, Value)> = granted.iter().map(change).collect();
    match by {
        Some(by) => audit::record_all(tx, by, "grant", "student_achievement", &changes).await,
        None => audit::of_a_job(tx, "grant", "student_achievement", &changes).await,
    }
}
