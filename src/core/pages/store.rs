//! Every SQL statement of pages.

use sqlx::{PgConnection, PgExecutor};

use super::handlers::PageFields;
use crate::ids::Id;

/// The columns of a page.
pub(super) const SELECT: &str = "
select p.id,
       p.title,
       p.slug,
       p.content,
       p.unit_id as unit,
       p.published,
       p.created_at,
       p.updated_at
from pages p";

pub(super) async fn add(tx: &mut PgConnection, author: Id, page: &PageFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into pages (title, slug, content, unit_id, published, created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $6)
           returning id as "id: Id""#,
        page.title,
        page.slug,
        page.content,
        page.unit.map(|id| id.0),
        page.published,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, page: &PageFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update pages
            set title = $2,
                slug = $3,
                content = $4,
                unit_id = $5,
                published = $6,
                updated_at = rule_now(),
                updated_by = $7
          where id = $1",
        id.0,
        page.title,
        page.slug,
        page.content,
        page.unit.map(|id| id.0),
        page.published,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The live page with this slug, without regard to case.
pub(super) async fn with_slug(from: impl PgExecutor<'_>, slug: &str) -> sqlx::Result<Option<Id>> {
    sqlx::query_scalar!(
        r#"select id as "id: Id"
             from pages
            where lower(slug) = lower($1)
              and deleted_at is null"#,
        slug
    )
    .fetch_optional(from)
    .await
}
