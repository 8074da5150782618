-- Why:   webhooks are delivered by workers: found by receiver, given up after a time, and sent again when asked to.
-- Locks: webhook_outbox briefly for two columns without a rewrite that matters, and while its indexes are made.
-- Order: before the release whose workers deliver; nothing has read the queue before.
-- Undo:  the down file; what was given up or sent again is then no longer told apart.

alter table webhook_outbox
    -- Not tried any more after this.
    add column give_up_at timestamptz not null default rule_now() + interval '48 hours',
    -- When an administrator had it sent again.
    add column replayed_at timestamptz;

drop index webhook_outbox_due_by_next_at_id;
create index webhook_outbox_due_by_workflow_id_next_at_id
    on webhook_outbox (workflow_id, next_at, id)
    where state = 'pending';
create index webhook_outbox_pending_by_give_up_at
    on webhook_outbox (give_up_at)
    where state = 'pending';
create index webhook_outbox_by_state_created_at_id
    on webhook_outbox (state, created_at desc, id desc);
create index webhook_outbox_by_trigger_event_created_at_id
    on webhook_outbox (trigger_event, created_at desc, id desc);
create index webhook_outbox_by_object_key_created_at_id
    on webhook_outbox (object_key, created_at desc, id desc);

create index workflow_executions_by_trigger_event_created_at_id
    on workflow_executions (trigger_event, created_at desc, id desc);
-- What a worker that died has left.
create index workflow_executions_running_by_message_id
    on workflow_executions (message_id)
    where status = 'running';
