//! Every SQL statement of forms and of submissions.

use serde_json::Value;
use sqlx::PgConnection;

use super::handlers::FormFields;
use crate::ids::Id;

/// The columns of a form.
pub(super) const FORMS: &str = "
select f.id,
       f.name,
       f.slug,
       f.description,
       v.schema,
       f.version as schema_version,
       f.is_active,
       f.created_at,
       f.updated_at,
       f.created_by,
       f.updated_by,
       f.deleted_at,
       f.is_deleted
from forms f
join form_versions v on v.form_id = f.id and v.version = f.version";

/// The columns of a submission.
pub(super) const SUBMISSIONS: &str = "
select s.id,
       s.form_id as form,
       s.submitter_id as submitter,
       s.data,
       s.version as schema_version,
       s.created_at,
       s.updated_at,
       s.created_by,
       s.updated_by,
       s.deleted_at,
       s.is_deleted
from form_submissions s";

/// Creates a form with its first version.
pub(super) async fn add(tx: &mut PgConnection, author: Id, form: &FormFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"with form as (
              insert into forms (name, slug, description, is_active, created_by, updated_by)
              values ($1, $2, $3, $4, $6, $6)
              returning id, version
           ),
           version as (
              insert into form_versions (form_id, version, schema, created_by)
              select id, version, $5, $6
                from form
           )
           select id as "id!: Id"
             from form"#,
        form.name,
        form.slug,
        form.description,
        form.is_active,
        form.schema,
        author.0
    )
    .fetch_one(tx)
    .await
}

/// Writes a form that is locked; another schema becomes the next version.
pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, form: &FormFields) -> sqlx::Result<()> {
    sqlx::query!(
        "with next as (
            insert into form_versions (form_id, version, schema, created_by)
            select f.id, f.version + 1, $6, $7
              from forms f
              join form_versions v on v.form_id = f.id and v.version = f.version
             where f.id = $1
               and v.schema <> $6
            returning version
         )
         update forms
            set name = $2,
                slug = $3,
                description = $4,
                is_active = $5,
                version = coalesce((select version from next), version),
                updated_at = rule_now(),
                updated_by = $7
          where id = $1",
        id.0,
        form.name,
        form.slug,
        form.description,
        form.is_active,
        form.schema,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A form as it is filled in now.
pub(super) struct Current {
    pub(super) version: i32,
    pub(super) schema: Value,
    pub(super) is_active: bool,
}

/// The form as it is filled in now.
pub(super) async fn current(tx: &mut PgConnection, form: Id) -> sqlx::Result<Current> {
    sqlx::query_as!(
        Current,
        "select f.version,
                v.schema,
                f.is_active
           from forms f
           join form_versions v on v.form_id = f.id and v.version = f.version
          where f.id = $1",
        form.0
    )
    .fetch_one(tx)
    .await
}

/// Keeps what was sent in.
pub(super) async fn submit(
    tx: &mut PgConnection,
    submitter: Id,
    form: Id,
    version: i32,
    data: &Value,
) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into form_submissions (form_id, version, submitter_id, data, created_by, updated_by)
           values ($1, $2, $3, $4, $3, $3)
           returning id as "id: Id""#,
        form.0,
        version,
        submitter.0,
        data
    )
    .fetch_one(tx)
    .await
}
