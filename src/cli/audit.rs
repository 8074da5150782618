//! The audit log's rows for what is done at the command line, where there is no caller and no request.

use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::Id;

/// Writes what was done to what.
///
/// # Errors
/// The database's failure.
pub(super) async fn note(
    tx: &mut PgConnection,
    action: &str,
    resource_type: &str,
    resource_id: Option<Id>,
    details: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into audit_log (action, resource_type, resource_id, details, user_agent)
         values ($1, $2, $3, $4, 'swincms command line')",
        action,
        resource_type,
        resource_id.map(|id| id.0),
        details
    )
    .execute(tx)
    .await?;
    Ok(())
}
