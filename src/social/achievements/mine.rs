//! What one has earned oneself.

use crate::access::{Actor, may};
use crate::db::Reading;
use crate::http::{Answer, Asked, Filter, Kind, Listed};
use crate::social::student_achievements::StudentAchievement;

/// `GET /my/`
pub(super) async fn mine(
    actor: Actor<may::ReadGold>,
    mut conn: Reading,
    mut asked: Asked<StudentAchievement>,
) -> Answer<Listed<StudentAchievement>> {
    asked.confine(Filter::new("caller", "s.student_id", Kind::Id), actor.id());
    asked.page(&mut conn, &actor).await
}
