//! Every SQL statement of the queue but those of the workers.

use serde_json::Value;
use sqlx::PgConnection;

use crate::ids::Id;

/// The columns of a message.
pub(super) const SELECT: &str = "
select m.id,
       m.trigger_event,
       m.workflow_id as workflow,
       m.object_key,
       m.payload,
       m.state,
       m.attempts,
       m.next_at,
       m.give_up_at,
       m.last_error,
       m.created_at,
       m.delivered_at,
       m.replayed_at
from webhook_outbox m";

/// Locks a message; its state.
pub(super) async fn hold(tx: &mut PgConnection, id: Id) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select state
           from webhook_outbox
          where id = $1
            for no key update",
        id.0
    )
    .fetch_optional(tx)
    .await
}

/// Puts a held message into the queue again, with all its time; not when its workflow is gone.
pub(super) async fn send_again(tx: &mut PgConnection, id: Id) -> sqlx::Result<bool> {
    let sent = sqlx::query!(
        "update webhook_outbox m
            set state = 'pending',
                attempts = 0,
                next_at = rule_now(),
                give_up_at = rule_now() + interval '48 hours',
                replayed_at = rule_now(),
                delivered_at = null
          where id = $1
            and not exists (select from workflows w where w.id = m.workflow_id and w.deleted_at is not null)",
        id.0
    )
    .execute(tx)
    .await?;
    Ok(sent.rows_affected() > 0)
}

/// Puts a message into the queue; without a workflow it goes to the receiver of event files.
pub(crate) async fn queue(
    tx: &mut PgConnection,
    trigger: &str,
    workflow: Option<Id>,
    object_key: &str,
    payload: &Value,
) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into webhook_outbox (trigger_event, workflow_id, object_key, payload)
           values ($1, $2, $3, $4)
           returning id as "id: Id""#,
        trigger,
        workflow as Option<Id>,
        object_key,
        payload
    )
    .fetch_one(tx)
    .await
}
