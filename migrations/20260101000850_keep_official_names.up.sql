-- Why:   what stands on a transcript is a fact that the university writes; the name that a person goes by is their own to change.
-- Locks: users is rewritten row by row for the backfill; writes to it wait meanwhile, some seconds for 300,000 people.
-- Order: before the release that shows and writes official names.
-- Undo:  the down file drops the columns; transcripts then show the name that the person goes by.

alter table users
    add column official_first_name text not null default ''
        constraint users_official_first_name_fits check (char_length(official_first_name) <= 150),
    add column official_last_name text not null default ''
        constraint users_official_last_name_fits check (char_length(official_last_name) <= 150);

update users
   set official_first_name = first_name,
       official_last_name = last_name;

-- Whoever makes the account.
create function begin_with_official_name()
returns trigger
language plpgsql
as $$
begin
    if new.official_first_name = '' and new.official_last_name = '' then
        new.official_first_name := new.first_name;
        new.official_last_name := new.last_name;
    end if;
    return new;
end
$$;

create trigger users_begin_with_official_name
    before insert on users
    for each row execute function begin_with_official_name();
