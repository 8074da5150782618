//! Every SQL statement of achievements.

use sqlx::PgConnection;

use super::handlers::AchievementFields;
use crate::ids::Id;

/// The columns of an achievement.
pub(super) const SELECT: &str = "
select t.id,
       t.name,
       t.description,
       t.points_required,
       f.name as badge_image,
       t.is_active,
       t.created_at,
       t.updated_at
from achievements t
left join stored_files f on f.id = t.badge_image_id and f.deleted_at is null";

pub(super) async fn add(tx: &mut PgConnection, author: Id, achievement: &AchievementFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into achievements (name, description, points_required, is_active, created_by, updated_by)
           values ($1, $2, $3, $4, $5, $5)
           returning id as "id: Id""#,
        achievement.name,
        achievement.description,
        achievement.points_required,
        achievement.is_active,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    achievement: &AchievementFields,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update achievements
            set name = $2,
                description = $3,
                points_required = $4,
                is_active = $5,
                updated_at = rule_now(),
                updated_by = $6
          where id = $1",
        id.0,
        achievement.name,
        achievement.description,
        achievement.points_required,
        achievement.is_active,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The badge that another took the place of.
pub(super) struct FormerBadge {
    pub(super) id: Id,
    /// On the disk.
    pub(super) name: String,
}

/// Puts a badge in the place of the one before, which it returns.
pub(super) async fn set_badge(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    file: Id,
) -> sqlx::Result<Option<FormerBadge>> {
    let before = sqlx::query_as!(
        FormerBadge,
        r#"update stored_files f
              set deleted_at = rule_now()
             from achievements t
            where t.id = $1
              and f.id = t.badge_image_id
              and f.deleted_at is null
           returning f.id as "id: Id",
                     f.name"#,
        id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    sqlx::query!(
        "update achievements
            set badge_image_id = $2,
                updated_at = rule_now(),
                updated_by = $3
          where id = $1",
        id.0,
        file.0,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(before)
}

/// The lock that awards share.
pub(super) async fn share(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock_shared(hashtextextended('social.achievements', 0))")
        .fetch_one(tx)
        .await?;
    Ok(())
}

/// The lock that awards share, for oneself.
pub(super) async fn exclude(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('social.achievements', 0))").fetch_one(tx).await?;
    Ok(())
}

/// An achievement that a student has just been granted.
pub(super) struct Granted {
    pub(super) id: Id,
    pub(super) student: Id,
    pub(super) achievement: Id,
    pub(super) name: String,
    pub(super) points: i64,
}

/// Grants what is reached and was never granted, of all or of these students and of all or of this achievement.
pub(super) async fn grant(
    tx: &mut PgConnection,
    author: Option<Id>,
    students: Option<&[Id]>,
    achievement: Option<Id>,
) -> sqlx::Result<Vec<Granted>> {
    sqlx::query_as!(
        Granted,
        r#"with granted as (
              insert into student_achievements (student_id, achievement_id, points_at_earning, created_by, updated_by)
              select a.student_id,
                     t.id,
                     a.lifetime_earned,
                     $1,
                     $1
                from gold_accounts a
                join achievements t on t.points_required <= a.lifetime_earned
               where ($2::bigint[] is null or a.student_id = any($2))
                 and ($3::bigint is null or t.id = $3)
                 and t.is_active
                 and t.deleted_at is null
                 and a.deleted_at is null
                 and not exists (select
                                   from student_achievements s
                                  where s.student_id = a.student_id
                                    and s.achievement_id = t.id)
               order by a.student_id, t.points_required, t.id
                  on conflict on constraint student_achievements_are_earned_once do nothing
              returning id, student_id, achievement_id, points_at_earning
           )
           select g.id as "id: Id",
                  g.student_id as "student: Id",
                  g.achievement_id as "achievement: Id",
                  t.name,
                  g.points_at_earning as points
             from granted g
             join achievements t on t.id = g.achievement_id
            order by g.id"#,
        author.map(|id| id.0),
        students as Option<&[Id]>,
        achievement as Option<Id>
    )
    .fetch_all(tx)
    .await
}
