-- Why:   a room and an instructor have one class at a time; the server says so with a readable refusal, and this holds
--        whatever else writes.
-- Locks: class_sessions, against writes and reads, while its rows are checked; nothing could write any before this release.
-- Order: before the release that writes classes.
-- Undo:  the down file drops the constraints, and the function and the extension that only they need.

create extension if not exists btree_gist;

-- The room that a location names, without regard to case and spaces around it; none where the class meets in no room, or
-- it is not said yet.
create function room_of(location text)
returns text
language sql
immutable
parallel safe
as $$
    select case
        when lower(btrim(location)) in ('', 'online', 'virtual', 'zoom', 'teams', 'tba', 'tbc', 'tbd', 'n/a', '-') then null
        else lower(btrim(location))
    end
$$;

-- A class takes the time from its start up to its end; one without an end takes the moment of its start.
alter table class_sessions
    add constraint class_sessions_share_no_room
        exclude using gist (
            room_of(location) with =,
            tsrange(
                date + start_time,
                date + coalesce(end_time, start_time),
                case when end_time is null then '[]' else '[)' end
            ) with &&
        )
        where (room_of(location) is not null and status = 'scheduled' and deleted_at is null),
    add constraint class_sessions_share_no_instructor
        exclude using gist (
            instructor_id with =,
            tsrange(
                date + start_time,
                date + coalesce(end_time, start_time),
                case when end_time is null then '[]' else '[)' end
            ) with &&
        )
        where (instructor_id is not null and status = 'scheduled' and deleted_at is null);
