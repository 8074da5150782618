-- Why:   staff take a result back that was put into the wrong row, with a reason: from COMPLETED and FAILED to ENROLLED, or to
--        WITHDRAWN when a student is let go without a result.
-- Locks: enrollment_history, against writes, while its rows are looked at.
-- Order: before the release that takes results back.
-- Undo:  the down file, once no such step is in the history.

alter table enrollment_history
    drop constraint enrollment_history_follows_the_state_machine,
    add constraint enrollment_history_follows_the_state_machine
        check (
            (from_status = '' and to_status in ('PENDING', 'ENROLLED', 'WITHDRAWN', 'COMPLETED', 'FAILED'))
            or (from_status = to_status and from_status in ('PENDING', 'ENROLLED', 'WITHDRAWN', 'COMPLETED', 'FAILED'))
            or (from_status = 'PENDING' and to_status in ('ENROLLED', 'WITHDRAWN'))
            or (from_status = 'ENROLLED' and to_status in ('COMPLETED', 'FAILED', 'WITHDRAWN'))
            or (from_status = 'COMPLETED' and to_status in ('FAILED', 'ENROLLED', 'WITHDRAWN'))
            or (from_status = 'FAILED' and to_status in ('COMPLETED', 'ENROLLED', 'WITHDRAWN'))
            or (from_status = 'WITHDRAWN' and to_status in ('PENDING', 'ENROLLED'))
        );
