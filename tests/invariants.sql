-- What always holds in the database, whatever ran at once or was killed in between.
-- Each query lists the rows that break the statement above it, so each must return none.
-- It may be run on a live database: every query sees one committed snapshot.

-- offerings.current_enrollment is the number of seats taken
select o.id, o.current_enrollment, count(e.id) as seats_taken
from offerings o
left join enrollments e
    on e.offering_id = o.id
    and e.status <> 'WITHDRAWN'
    and e.deleted_at is null
group by o.id
having o.current_enrollment <> count(e.id);

-- no offering holds more students than its capacity
select o.id, o.capacity, count(*) as seats_taken
from offerings o
join enrollments e
    on e.offering_id = o.id
    and e.status <> 'WITHDRAWN'
    and e.deleted_at is null
where o.capacity > 0
group by o.id
having count(*) > o.capacity;

-- a student is pending or enrolled in at most one offering of a unit
select e.student_id, o.unit_id, array_agg(e.id order by e.id) as enrollments
from enrollments e
join offerings o on o.id = e.offering_id
where e.status in ('PENDING', 'ENROLLED')
    and e.deleted_at is null
group by e.student_id, o.unit_id
having count(*) > 1;

-- no student sits in two units that exclude each other, unless the exclusion came later
select a.id, b.id as other_id
from unit_anti_requisites x
join offerings oa on oa.unit_id = x.lower_unit_id
join enrollments a on a.offering_id = oa.id
join offerings ob on ob.unit_id = x.upper_unit_id
join enrollments b
    on b.offering_id = ob.id
    and b.student_id = a.student_id
where a.status in ('PENDING', 'ENROLLED', 'COMPLETED')
    and b.status in ('PENDING', 'ENROLLED', 'COMPLETED')
    and a.deleted_at is null
    and b.deleted_at is null
    and greatest(a.requested_at, b.requested_at) > x.created_at;

-- every enrolment is in the state that its history ends in
select e.id, e.status, h.to_status
from enrollments e
left join lateral (
    select to_status, to_grade, to_marks, deleted
    from enrollment_history
    where enrollment_id = e.id
    order by id desc
    limit 1
) h on true
where (h.to_status, h.to_grade, h.to_marks, h.deleted)
    is distinct from (e.status, e.grade, e.marks, e.is_deleted);

-- every change of an enrolment starts where the one before it ended
select id, enrollment_id
from (
    select
        id,
        enrollment_id,
        (from_status, from_grade, from_marks) as begins,
        (
            lag(to_status, 1, '') over previous,
            lag(to_grade, 1, '') over previous,
            lag(to_marks) over previous
        ) as must_begin,
        -- A deleted enrolment that is asked for anew begins anew.
        from_status = '' and lag(deleted, 1, false) over previous as begins_anew
    from enrollment_history
    window previous as (partition by enrollment_id order by id)
) h
where begins is distinct from must_begin
    and not begins_anew;

-- every decision on an enrolment had its effect
select d.id, d.enrollment_id, d.decision
from enrollment_decisions d
where not exists (
    select from enrollment_history h
    where h.enrollment_id = d.enrollment_id
        and h.from_status = 'PENDING'
        and h.to_status = case d.decision when 'approved' then 'ENROLLED' else 'WITHDRAWN' end
);

-- every graded enrolment has one transcript row with the same result
select e.id
from enrollments e
left join transcripts t
    on t.enrollment_id = e.id
    and t.deleted_at is null
where e.status in ('COMPLETED', 'FAILED')
    and e.deleted_at is null
    and (t.student_id, t.status, t.grade, t.marks, t.completion_date)
        is distinct from (e.student_id, e.status, e.grade, e.marks, e.completion_date);

-- every transcript row belongs to a graded enrolment
select t.id, t.enrollment_id
from transcripts t
join enrollments e on e.id = t.enrollment_id
where t.deleted_at is null
    and (e.status not in ('COMPLETED', 'FAILED') or e.deleted_at is not null);

-- a grade stands beside a result alone
select id, status, grade
from enrollments
where status not in ('COMPLETED', 'FAILED')
    and deleted_at is null
    and grade <> '';

-- a result is of the term of its offering
select t.id, t.enrollment_id
from transcripts t
join enrollments e on e.id = t.enrollment_id
join offerings o on o.id = e.offering_id
where t.deleted_at is null
    and (t.year, t.semester) is distinct from (o.year, o.semester);

-- nobody waits for a seat whose account is not in use
select e.id, e.student_id
from enrollments e
join users u on u.id = e.student_id
where e.status = 'PENDING'
    and e.deleted_at is null
    and not u.is_active;

-- a result is taken back with a reason
select id, enrollment_id
from enrollment_history
where from_status in ('COMPLETED', 'FAILED')
    and to_status in ('ENROLLED', 'WITHDRAWN')
    and reason !~ '\S';

-- no unit is, through others, its own prerequisite
with recursive needs (unit_id, needed_id) as (
    select unit_id, prerequisite_id
    from unit_prerequisites
    union
    select n.unit_id, p.prerequisite_id
    from needs n
    join unit_prerequisites p on p.unit_id = n.needed_id
)
select unit_id
from needs
where unit_id = needed_id;

-- no live row stands on a deleted one
select 'offerings' as "table", o.id
from offerings o
join units u on u.id = o.unit_id
join intakes i on i.id = o.intake_id
where o.deleted_at is null
    and (u.deleted_at is not null or i.deleted_at is not null)
union all
select 'course_units', c.id
from course_units c
join courses k on k.id = c.course_id
join units u on u.id = c.unit_id
where c.deleted_at is null
    and (k.deleted_at is not null or u.deleted_at is not null)
union all
select 'enrollments', e.id
from enrollments e
join offerings o on o.id = e.offering_id
where e.deleted_at is null
    -- A withdrawn enrolment is history, and outlives its offering.
    and e.status <> 'WITHDRAWN'
    and o.deleted_at is not null
union all
select 'class_sessions', s.id
from class_sessions s
join offerings o on o.id = s.offering_id
where s.deleted_at is null
    and o.deleted_at is not null
union all
select 'student_profiles', p.id
from student_profiles p
join courses k on k.id = p.course_id
where p.deleted_at is null
    and k.deleted_at is not null;

-- every student has a gold account
select u.id
from users u
where u.user_type = 'student'
    and not exists (
        select from gold_accounts a
        where a.student_id = u.id
    );

-- no deactivated user has a session
select s.id, s.user_id
from sessions s
join users u on u.id = s.user_id
where not u.is_active
    and s.revoked_at is null
    and s.expires_at > now();

-- every gold account is the sum of its transactions
select a.student_id, a.current_balance, a.lifetime_earned, a.last_seq
from gold_accounts a
left join gold_transactions t on t.student_id = a.student_id
group by a.id
having a.current_balance <> coalesce(sum(t.amount), 0)
    or a.lifetime_earned <> coalesce(sum(t.amount) filter (where t.amount > 0), 0)
    or a.last_seq <> count(t.id);

-- every gold transaction continues the one before it
select id, student_id, seq
from (
    select
        id,
        student_id,
        seq,
        amount,
        balance_after,
        lag(seq, 1, 0::bigint) over previous as seq_before,
        lag(balance_after, 1, 0::bigint) over previous as balance_before
    from gold_transactions
    window previous as (partition by student_id order by seq)
) t
where seq <> seq_before + 1
    or balance_after <> balance_before + amount;

-- no achievement was earned with more points than the student ever had
select s.id, s.student_id
from student_achievements s
left join gold_accounts a on a.student_id = s.student_id
where s.points_at_earning > coalesce(a.lifetime_earned, 0);

-- only students of the offering stand in its attendance
select r.id, r.session_id, r.student_id
from attendance_records r
join class_sessions s on s.id = r.session_id
where r.deleted_at is null
    and not exists (
        select from enrollments e
        where e.student_id = r.student_id
            and e.offering_id = s.offering_id
    );

-- no live file is an orphan
select f.id, f.name
from stored_files f
where f.deleted_at is null
    and not exists (select from users where profile_image_id = f.id)
    and not exists (select from unit_resources where file_id = f.id)
    and not exists (select from scholarship_application_files where file_id = f.id)
    and not exists (select from ticket_files where file_id = f.id)
    and not exists (select from resources where file_id = f.id)
    and not exists (select from media_assets where file_id = f.id)
    and not exists (select from achievements where badge_image_id = f.id);

-- nothing refers to a deleted file
select f.id, r.owner, r.owner_id
from stored_files f
join (
    select profile_image_id as file_id, 'users' as owner, id as owner_id from users
    union all
    select file_id, 'unit_resources', id from unit_resources where deleted_at is null
    union all
    select file_id, 'scholarship_applications', application_id from scholarship_application_files
    union all
    select file_id, 'tickets', ticket_id from ticket_files
    union all
    select file_id, 'resources', id from resources where deleted_at is null
    union all
    select file_id, 'media_assets', id from media_assets where deleted_at is null
    union all
    select badge_image_id, 'achievements', id from achievements where deleted_at is null
) r on r.file_id = f.id
where f.deleted_at is not null;

-- every form is at its newest version
select f.id, f.version, max(v.version) as newest
from forms f
join form_versions v on v.form_id = f.id
group by f.id
having f.version <> max(v.version);

-- every webhook message has a committed cause
select w.id, w.trigger_event, w.object_key
from webhook_outbox w
where (
        w.trigger_event = 'enrollment.confirmed'
        and not exists (
            select from enrollment_history h
            where w.object_key = 'enrollment:' || h.enrollment_id
                and h.to_status = 'ENROLLED'
        )
    )
    or (
        w.trigger_event = 'attendance.marked'
        and not exists (
            select from attendance_records r
            where w.object_key = 'attendance:' || r.id
        )
    )
    or (
        w.trigger_event like 'event.%'
        and not exists (
            select from events e
            where w.object_key = 'event:' || e.id
        )
    );

-- every enrolment that a workflow must hear of is in the outbox once for each time
select h.enrollment_id, count(*) as times_enrolled
from enrollment_history h
where h.to_status = 'ENROLLED'
    and h.from_status in ('PENDING', 'WITHDRAWN')
group by h.enrollment_id
having count(*) > (
    select count(*)
    from webhook_outbox w
    where w.trigger_event = 'enrollment.confirmed'
        and w.object_key = 'enrollment:' || h.enrollment_id
);

-- every webhook message that was delivered has a call that succeeded
select w.id
from webhook_outbox w
where w.state = 'delivered'
    and not exists (
        select from workflow_executions x
        where x.message_id = w.id
            and x.status = 'completed'
    );

-- no webhook message went out before an older one about the same object, unless that is sent once more
select w.id, w.object_key, older.id as older_id
from webhook_outbox w
join webhook_outbox older
    on older.object_key = w.object_key
    and older.workflow_id = w.workflow_id
    and older.id < w.id
where w.state = 'delivered'
    and older.state = 'pending'
    and older.replayed_at is null;

-- every live workflow has a secret to sign with
select w.id
from workflows w
where w.deleted_at is null
    and not exists (
        select from workflow_secrets s
        where s.workflow_id = w.id
            and s.retired_at is null
    );

-- every idempotency key that was committed keeps a 2xx answer
select user_id, key, target, status
from idempotency_keys
where status is null
    or status not between 200 and 299
    or body is null;

-- every entry of the audit log has the digest of its details, unless they were erased
select a.id
from audit_log a
where a.details <> '{}'
    and a.details_digest <> sha256(a.salt || convert_to(a.details::text, 'UTF8'));

-- every audit seal covers as many rows as it says
select s.id, s.row_count, count(a.id) as rows_found
from audit_seals s
left join audit_log a
    on (a.position, a.id) >= (s.from_position, s.from_id)
    and (a.position, a.id) <= (s.to_position, s.to_id)
group by s.id
having s.row_count <> count(a.id);

-- every audit seal is chained to the one before it, and begins after that one's end
select id
from (
    select
        id,
        previous_hmac,
        from_position,
        from_id,
        lag(hmac, 1, ''::bytea) over previous as hmac_before,
        lag(to_position) over previous as position_before,
        lag(to_id) over previous as id_before
    from audit_seals
    window previous as (order by id)
) s
where previous_hmac <> hmac_before
    or (from_position, from_id) <= (position_before, id_before);

-- no audit entry was skipped by the seals
select head.sealed, count(a.id) as rows_found
from (
    select
        (array_agg(to_position order by id desc))[1] as to_position,
        (array_agg(to_id order by id desc))[1] as to_id,
        sum(row_count) as sealed
    from audit_seals
) head
join audit_log a on (a.position, a.id) <= (head.to_position, head.to_id)
group by head.sealed
having count(a.id) <> head.sealed;

-- no scholarship is awarded more often than it may be
select s.id, s.max_awards, count(*) as awarded
from scholarships s
join scholarship_applications a
    on a.scholarship_id = s.id
    and a.status = 'approved'
    and a.deleted_at is null
where s.max_awards > 0
group by s.id
having count(*) > s.max_awards;

-- a request that waits was not granted, and what a result says of its course is whole
select id, status, enrolled_at
from enrollments
where status = 'PENDING'
    and enrolled_at is not null
    and deleted_at is null;

select id, course_code, course_name
from transcripts
where (course_code is null) <> (course_name is null);
