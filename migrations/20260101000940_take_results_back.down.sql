alter table enrollment_history
    drop constraint enrollment_history_follows_the_state_machine,
    add constraint enrollment_history_follows_the_state_machine
        check (
            (from_status = '' and to_status in ('PENDING', 'ENROLLED', 'WITHDRAWN', 'COMPLETED', 'FAILED'))
            or (from_status = to_status and from_status in ('PENDING', 'ENROLLED', 'WITHDRAWN', 'COMPLETED', 'FAILED'))
            or (from_status = 'PENDING' and to_status in ('ENROLLED', 'WITHDRAWN'))
            or (from_status = 'ENROLLED' and to_status in ('COMPLETED', 'FAILED', 'WITHDRAWN'))
            or (from_status = 'COMPLETED' and to_status = 'FAILED')
            or (from_status = 'FAILED' and to_status = 'COMPLETED')
            or (from_status = 'WITHDRAWN' and to_status in ('PENDING', 'ENROLLED'))
        );
