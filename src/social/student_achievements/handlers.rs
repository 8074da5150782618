//! What an achievement is that a student has earned, on the wire.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Viewer, may};
use crate::http::{Answer, Faults, Filter, Kind, Listing, Ordering, Problem, Resource, Target, Writable};
use crate::ids::{Id, Moment};
use crate::social::achievements::Achievement;
use crate::social::push_visible;

/// An achievement that a student has earned.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct StudentAchievement {
    id: Id,
    student: Id,
    achievement: Id,
    earned_at: Moment,
    /// The student's `lifetime_earned` at that moment.
    points_at_earning: i64,
}

/// What it is made of; the server writes it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StudentAchievementFields {
    student: Id,
    achievement: Id,
}

impl Resource for StudentAchievement {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadGold>;

    const NAME: &'static str = "student_achievement";
    const TABLE: &'static str = "student_achievements";
    const ALIAS: &'static str = "s";
    const LIVE: &'static str = "s.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("student", "s.student_id", Kind::Id),
            Filter::new("achievement", "s.achievement_id", Kind::Id),
        ],
        orderings: &[Ordering::new("updated_at", "s.updated_at", "timestamptz")],
        default: "id",
        search: None,
        updated_at: Some("s.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        push_visible(sql, viewer, "s.student_id");
    }

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for StudentAchievement {
    type Fields = StudentAchievementFields;
    type Write = may::WriteAchievements;

    fn fields(row: &Self) -> StudentAchievementFields {
        StudentAchievementFields { student: row.student, achievement: row.achievement }
    }

    async fn allowed(_: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        match target {
            Target::Row(row) => actor.decide_on(row.student),
            Target::New(fields) => actor.decide_on(fields.student),
        }
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &StudentAchievementFields,
        _: Option<(Id, &StudentAchievementFields)>,
    ) -> Answer<()> {
        // To be given back, the achievement must still be there.
        let mut faults = Faults::default();
        faults.refers::<Achievement>(tx, "achievement", Some(fields.achievement)).await?;
        faults.check()
    }

    async fn insert(_: &mut PgConnection, _: &Actor<Self::Write>, _: &StudentAchievementFields) -> Answer<Id> {
        // There is no route to it: only the server grants.
        Err(Problem::absent())
    }

    async fn update(_: &mut PgConnection, _: &Actor<Self::Write>, _: Id, _: &StudentAchievementFields) -> Answer<()> {
        // Nor to this: nothing of it can be written.
        Ok(())
    }
}
