-- Why:   a room is the same however its blanks, its case and invisible signs are typed, and whoever meets online meets in none:
--        in every language, by a link, or by the words that the server is told.
-- Locks: class_sessions, against writes and reads, while its rows get their room and are checked.
-- Order: before the release that tells its sessions `swincms.online_locations`; the release before it goes on without.
--        Classes that share a room already, since it is spelt in two ways, keep what told them apart until they are written again.
-- Undo:  the down file; rooms are again told apart by blanks, and what is online by seven words.

-- The room that a location names, as rooms are compared; none where the class meets online, or it is not said yet. Beside
-- these words there are those of the session's setting, with `|` between them. A link is no name.
create or replace function room_of(location text)
returns text
language sql
stable
parallel safe
as $$
    select case
        when regexp_replace(
            regexp_replace(
                regexp_replace(plain_text(location), '[a-z]+://\S*|\mwww\.\S+|\m([a-z0-9-]+\.)+[a-z]{2,}/\S*', '', 'g'),
                '\m(online|on-line|virtual|remote|remotely|e-?learning|zoom|teams|ms teams|microsoft teams|google meet|gg meet|webex|skype'
                || '|truc tuyen|hoc tu xa|tu xa|qua mang|via|qua|tren|tba|tbc|tbd|n/a'
                || coalesce('|' || nullif(plain_text(current_setting('swincms.online_locations', true)), ''), '')
                || ')\M',
                '', 'g'),
            '[[:punct:][:space:]]', '', 'g') = '' then null
        else same_text(location)
    end
$$;

alter table class_sessions
    drop constraint class_sessions_share_no_room;
alter table class_sessions
    -- What `room_of` said when the location was written: a setting that changes later moves no class.
    add column room text
        constraint class_sessions_room_fits check (char_length(room) <= 5000);
update class_sessions
   set room = room_of(location)
 where room_of(location) is not null;
update class_sessions s
   set room = lower(btrim(location))
 where room is not null
   and status = 'scheduled'
   and deleted_at is null
   and exists (
         select
           from class_sessions o
          where o.id <> s.id
            and o.date = s.date
            and room_of(o.location) = s.room
            and o.status = 'scheduled'
            and o.deleted_at is null
            and (o.start_time, coalesce(o.end_time, o.start_time)) overlaps (s.start_time, coalesce(s.end_time, s.start_time)));

create function keep_room()
returns trigger
language plpgsql
as $$
begin
    new.room := room_of(new.location);
    return new;
end
$$;
create trigger class_sessions_keep_room
    before insert or update of location, room on class_sessions
    for each row execute function keep_room();

alter table class_sessions
    add constraint class_sessions_share_no_room
        exclude using gist (
            room with =,
            tsrange(
                date + start_time,
                date + coalesce(end_time, start_time),
                case when end_time is null then '[]' else '[)' end
            ) with &&
        )
        where (room is not null and status = 'scheduled' and deleted_at is null);
