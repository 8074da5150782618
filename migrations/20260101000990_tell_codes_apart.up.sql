-- Why:   `TZ 10001`, `tz10001` and `ＴＺ１０００１` are one code to whoever reads them, and were three units.
-- Locks: units and courses, against writes, for an instant; they are few.
-- Order: before the release.
-- Undo:  the down file.

-- What two codes have in common that are the same to people: compatible letters, no blanks, no invisible signs, capitals.
create function code_key(code text)
returns text
language sql
immutable
parallel safe
return upper(replace(same_text(code), ' ', '') collate "und-x-icu");

alter table units add column code_key text not null default '';
alter table courses add column code_key text not null default '';

-- Those that are there twice already stay: the later ones are told apart by their ids, in a form that no key has.
update units u
   set code_key = k.key || case when k.place > 1 and u.deleted_at is null then ' ' || u.id else '' end
  from (select id, code_key(code) as key,
               row_number() over (partition by code_key(code) order by deleted_at nulls first, id) as place
          from units) k
 where k.id = u.id;
update courses c
   set code_key = k.key || case when k.place > 1 and c.deleted_at is null then ' ' || c.id else '' end
  from (select id, code_key(code) as key,
               row_number() over (partition by code_key(code) order by deleted_at nulls first, id) as place
          from courses) k
 where k.id = c.id;

create unique index units_code_key_is_unique
    on units (code_key)
    where deleted_at is null;
create unique index courses_code_key_is_unique
    on courses (code_key)
    where deleted_at is null;

create function keep_code_key()
returns trigger
language plpgsql
set search_path from current
as $$
begin
    -- A key that comes along, as when a backup is loaded, is kept.
    if (tg_op = 'INSERT' and new.code_key = '') or (tg_op = 'UPDATE' and new.code is distinct from old.code) then
        new.code_key := code_key(new.code);
    end if;
    return new;
end
$$;
create trigger units_keep_code_key
    before insert or update of code on units
    for each row execute function keep_code_key();
create trigger courses_keep_code_key
    before insert or update of code on courses
    for each row execute function keep_code_key();
