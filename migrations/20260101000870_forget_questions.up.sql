-- Why:   what people asked the advisor is taken out of the log of calls after a day; the sweep finds it by this index.
-- Locks: writes to workflow_executions wait while the index is built; the table has a row for each call.
-- Order: before or after the release that sweeps.
-- Undo:  the down file drops the index.

create index workflow_executions_questions_by_created_at
    on workflow_executions (created_at)
    where trigger_event = 'student.ask' and input_data ? 'message';
