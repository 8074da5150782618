alter table class_sessions
    drop constraint class_sessions_share_no_room;
drop trigger class_sessions_keep_room on class_sessions;
drop function keep_room();
alter table class_sessions
    drop column room;

create or replace function room_of(location text)
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
        where (room_of(location) is not null and status = 'scheduled' and deleted_at is null);
