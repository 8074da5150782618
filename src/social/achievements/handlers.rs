//! What an achievement is on the wire.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::{grants, store};
use crate::access::{Actor, Viewer, may};
use crate::app::AppState;
use crate::audit;
use crate::http::{
    Answer, Bare, Done, Faults, Filter, Kind, Listing, Ordering, PathId, Problem, Refusal, Resource, Search, Sight,
    Target, Writable, find, lock, place_file, set_deleted,
};
use crate::ids::{Id, Moment};

/// The most points an achievement may need: a JavaScript number holds them exactly.
const MOST_POINTS: i64 = (1 << 53) - 1;

/// What a student earns.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct Achievement {
    id: Id,
    name: String,
    description: String,
    /// It is granted when a student's `lifetime_earned` reaches this.
    points_required: i64,
    /// An absolute URL.
    badge_image: Option<String>,
    is_active: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// What staff write of an achievement. The badge is sent by a call of its own.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AchievementFields {
    /// Unique without regard to case; at most 255 characters.
    #[schema(required)]
    pub name: String,
    /// At most 20,000 characters.
    pub description: String,
    /// More than 0.
    #[schema(required)]
    pub points_required: Option<i64>,
    /// Whether it is granted.
    pub is_active: bool,
}

impl Default for AchievementFields {
    fn default() -> Self {
        Self { name: String::new(), description: String::new(), points_required: None, is_active: true }
    }
}

impl Resource for Achievement {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::BeSignedIn>;

    const NAME: &'static str = "achievement";
    const TABLE: &'static str = "achievements";
    const ALIAS: &'static str = "t";
    const LIVE: &'static str = "t.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[Filter::new("is_active", "t.is_active", Kind::Flag)],
        orderings: &[
            Ordering::new("points_required", "t.points_required", "int8"),
            Ordering::named("name", "t.name collate \"vi-x-icu\""),
            Ordering::new("updated_at", "t.updated_at", "timestamptz"),
        ],
        default: "id",
        search: Some(Search::Anywhere("t.search_text")),
        updated_at: Some("t.updated_at"),
    };

    fn shown(row: Self, viewer: &Viewer) -> Self {
        Self { badge_image: row.badge_image.map(|name| viewer.public_url(&name)), ..row }
    }
}

impl Writable for Achievement {
    type Fields = AchievementFields;
    type Write = may::WriteAchievements;

    const HAS_PUBLIC_FILE: bool = true;

    const REFUSALS: &'static [Refusal] =
        &[Refusal::taken("achievements_name_is_unique", "name", "An achievement with this name already exists.")];
    const REFERRED_BY: &'static [(&'static str, &'static str)] = &[(
        "student_achievements",
        "select count(*) from student_achievements where achievement_id = $1 and deleted_at is null",
    )];

    fn fields(row: &Self) -> AchievementFields {
        AchievementFields {
            name: row.name.clone(),
            description: row.description.clone(),
            points_required: Some(row.points_required),
            is_active: row.is_active,
        }
    }

    async fn allowed(tx: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        // Every write comes by here before it looks at anything.
        grants::while_changing(tx).await
    }

    async fn check(
        _: &mut PgConnection,
        fields: &AchievementFields,
        _: Option<(Id, &AchievementFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        faults.name("name", &fields.name, 255);
        faults.text("description", &fields.description, 20_000);
        match fields.points_required {
            None => faults.add("points_required", "This field is required."),
            Some(points) => {
                let says = format!("A whole number from 1 to {MOST_POINTS} is expected.");
                faults.unless((1..=MOST_POINTS).contains(&points), "points_required", says);
            }
        }
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &AchievementFields) -> Answer<Id> {
        let id = store::add(tx, actor.id(), fields).await?;
        grants::to_all(tx, actor, id).await?;
        Ok(id)
    }

    async fn update(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        id: Id,
        fields: &AchievementFields,
    ) -> Answer<()> {
        store::replace(tx, actor.id(), id, fields).await?;
        grants::to_all(tx, actor, id).await
    }
}

/// `POST /{id}/restore/`
pub(super) async fn restore(
    actor: Actor<may::RestoreDeleted>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Bare { repeat }: Bare,
) -> Answer<Done<Achievement>> {
    let actor = &actor;
    let done = repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                lock::<Achievement>(tx, id).await?;
                grants::while_changing(tx).await?;
                let row = find::<Achievement>(tx, actor, id, Sight::Deleted).await?;
                let restored = set_deleted::<Achievement>(tx, actor, id, false).await;
                restored.map_err(|problem: Problem| problem.explained(Achievement::REFUSALS))?;
                let fields = serde_json::to_value(Achievement::fields(&row)).map_err(Problem::internal)?;
                audit::record(tx, actor, "restore", Achievement::NAME, Some(id), &Value::Null, &fields).await?;
                grants::to_all(tx, actor, id).await?;
                let row = find::<Achievement>(tx, actor, id, Sight::Any).await?;
                Done::with(&Achievement::shown(row, actor))
            })
        })
        .await?;
    place_file::<Achievement>(&app).await;
    Ok(done)
}
