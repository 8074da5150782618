drop index workflow_executions_running_by_message_id;
drop index workflow_executions_by_trigger_event_created_at_id;
drop index webhook_outbox_by_object_key_created_at_id;
drop index webhook_outbox_by_trigger_event_created_at_id;
drop index webhook_outbox_by_state_created_at_id;
drop index webhook_outbox_pending_by_give_up_at;
drop index webhook_outbox_due_by_workflow_id_next_at_id;
create index webhook_outbox_due_by_next_at_id
    on webhook_outbox (next_at, id)
    where state = 'pending';

alter table webhook_outbox
    drop column replayed_at,
    drop column give_up_at;
