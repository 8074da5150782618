//! Every SQL statement of workflows and their secrets.

use sqlx::PgConnection;
use sqlx::types::Json;

use super::handlers::{Configuration, WorkflowFields};
use crate::ids::{Id, Moment};

/// The columns of a workflow.
pub(super) const SELECT: &str = "
select w.id,
       w.workflow_id,
       w.name,
       w.description,
       w.trigger_event,
       w.configuration,
       w.is_active,
       w.last_run,
       w.error_count,
       w.created_at,
       w.updated_at,
       w.created_by,
       w.updated_by,
       w.deleted_at,
       w.is_deleted
from workflows w";

pub(super) async fn add(tx: &mut PgConnection, author: Id, fields: &WorkflowFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into workflows (name, description, trigger_event, configuration, is_active, created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $6)
           returning id as "id: Id""#,
        fields.name,
        fields.description,
        fields.trigger_event,
        Json(&fields.configuration) as Json<&Configuration>,
        fields.is_active,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, fields: &WorkflowFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update workflows
            set name = $2,
                description = $3,
                trigger_event = $4,
                configuration = $5,
                is_active = $6,
                updated_by = $7,
                updated_at = rule_now()
          where id = $1",
        id.0,
        fields.name,
        fields.description,
        fields.trigger_event,
        Json(&fields.configuration) as Json<&Configuration>,
        fields.is_active,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Signs with this secret from now on; the one before stays valid for a day. When that one ends, if there is one.
pub(super) async fn renew_secret(tx: &mut PgConnection, workflow: Id, secret: &[u8]) -> sqlx::Result<Option<Moment>> {
    let until = sqlx::query_scalar!(
        r#"update workflow_secrets
              set retired_at = rule_now()
            where workflow_id = $1
              and retired_at is null
           returning retired_at + interval '24 hours' as "until!: Moment""#,
        workflow.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    // Of those before only the last is still expected anywhere.
    sqlx::query!(
        "delete from workflow_secrets
          where workflow_id = $1
            and retired_at < rule_now()",
        workflow.0
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("insert into workflow_secrets (workflow_id, secret) values ($1, $2)", workflow.0, secret)
        .execute(tx)
        .await?;
    Ok(until)
}
