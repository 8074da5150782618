//! Every SQL statement of the log of calls.

use sqlx::PgConnection;

use crate::ids::Id;

/// The columns of a call.
pub(super) const SELECT: &str = "
select x.id,
       x.execution_id,
       x.workflow_id as workflow,
       coalesce(w.name, '') as workflow_name,
       x.trigger_event,
       u.email as triggered_by_email,
       x.message_id as message,
       x.start_time,
       x.end_time,
       x.status,
       x.input_data,
       x.output_data,
       x.error_details
from workflow_executions x
left join workflows w on w.id = x.workflow_id
left join users u on u.id = x.triggered_by_id";

/// What a call was about, when it can be told again: it came from the queue, or asked for content that is brought later.
pub(super) async fn object_key(tx: &mut PgConnection, id: Id) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        r#"select coalesce(m.object_key, 'event:' || (x.input_data ->> 'event_id')) as "key!"
             from workflow_executions x
             left join webhook_outbox m on m.id = x.message_id
            where x.id = $1
              and (m.id is not null or x.trigger_event = 'event.generate')"#,
        id.0
    )
    .fetch_optional(tx)
    .await
}
