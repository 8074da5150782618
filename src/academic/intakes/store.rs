//! Every SQL statement of intakes.

use sqlx::PgConnection;

use super::handlers::IntakeFields;
use crate::academic::semester::Semester;
use crate::ids::Id;

/// The columns of an intake.
pub(super) const SELECT: &str = "
select i.id,
       i.semester,
       i.year,
       i.created_at,
       i.updated_at
from intakes i";

pub(super) async fn add(tx: &mut PgConnection, author: Id, intake: &IntakeFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into intakes (semester, year, created_by, updated_by)
           values ($1, $2, $3, $3)
           returning id as "id: Id""#,
        intake.semester as Option<Semester>,
        intake.year,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, intake: &IntakeFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update intakes
            set semester = $2,
                year = $3,
                made_for_offering = false,
                updated_at = rule_now(),
                updated_by = $4
          where id = $1",
        id.0,
        intake.semester as Option<Semester>,
        intake.year,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The intake of a semester and year, and whether it was made now.
///
/// When another transaction makes the same one at once, this waits for it and takes that one, locked.
pub(super) async fn add_if_missing(
    tx: &mut PgConnection,
    author: Option<Id>,
    semester: Semester,
    year: i32,
) -> sqlx::Result<(Id, bool)> {
    let row = sqlx::query!(
        r#"insert into intakes (semester, year, made_for_offering, created_by, updated_by)
           values ($1, $2, true, $3, $3)
           on conflict (year, semester) where deleted_at is null do update
              set year = excluded.year
           returning id as "id: Id", (xmax = 0) as "is_new!""#,
        semester as Semester,
        year,
        author as Option<Id>
    )
    .fetch_one(tx)
    .await?;
    Ok((row.id, row.is_new))
}

/// The live intake of a semester and year, locked against deletion and change until the transaction ends.
pub(super) async fn hold_of(tx: &mut PgConnection, semester: Semester, year: i32) -> sqlx::Result<Option<Id>> {
    sqlx::query_scalar!(
        r#"select id as "id: Id"
             from intakes
            where semester = $1
              and year = $2
              and deleted_at is null
              for share"#,
        semester as Semester,
        year
    )
    .fetch_optional(tx)
    .await
}

/// The semester and year of a live intake, locked against deletion and change until the transaction ends.
pub(super) async fn hold(tx: &mut PgConnection, id: Id) -> sqlx::Result<Option<(Semester, i32)>> {
    let found = sqlx::query!(
        r#"select semester as "semester: Semester",
                  year
             from intakes
            where id = $1
              and deleted_at is null
              for share"#,
        id.0
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.map(|intake| (intake.semester, intake.year)))
}

/// How many live offerings an intake has.
pub(super) async fn offerings(tx: &mut PgConnection, id: Id) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from offerings
            where intake_id = $1
              and deleted_at is null"#,
        id.0
    )
    .fetch_one(tx)
    .await
}

/// Deletes an intake that was made for an offering and in which there is none any more, deleted or not; what it was.
pub(super) async fn drop_if_unused(
    tx: &mut PgConnection,
    author: Option<Id>,
    id: Id,
) -> sqlx::Result<Option<(Semester, i32)>> {
    // Whoever puts an offering into it at the same time holds it; then it is in use, and nobody waits for anybody.
    let free = sqlx::query!("select id from intakes where id = $1 for update skip locked", id.0);
    if free.fetch_optional(&mut *tx).await?.is_none() {
        return Ok(None);
    }
    let gone = sqlx::query!(
        r#"update intakes i
              set deleted_at = rule_now(),
                  updated_at = rule_now(),
                  updated_by = $2
            where id = $1
              and deleted_at is null
              and made_for_offering
              and not exists (select from offerings o where o.intake_id = i.id)
              and not exists (select from event_target_intakes t where t.intake_id = i.id)
            returning semester as "semester: Semester", year"#,
        id.0,
        author as Option<Id>
    )
    .fetch_optional(tx)
    .await?;
    Ok(gone.map(|intake| (intake.semester, intake.year)))
}
