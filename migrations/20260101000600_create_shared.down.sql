drop table job_runs;
drop table idempotency_keys;
drop table mail_outbox;
drop table workflow_executions;
drop table webhook_outbox;
drop table workflow_secrets;
drop table workflows;
