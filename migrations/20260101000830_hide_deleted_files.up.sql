-- Why:   a person has a bounded part of the disk; and what is served by its address alone must stop being served when it is deleted, and come back when it is restored. The
--        row says where the bytes belong; a server moves them when it is committed, and a sweep what that missed.
-- Locks: columns with constant defaults and triggers, each table for a moment; the backfill touches files of deleted rows.
-- Order: before the release that moves files.
-- Undo:  the down file drops columns and triggers; files in private/ whose rows are public must be moved back by hand.

alter table stored_files
    -- A public file of a deleted row lies among the private ones.
    add column hidden boolean not null default false,
    -- Whether the bytes are where the row says.
    add column placed boolean not null default true;

create index stored_files_to_be_placed_by_id
    on stored_files (id)
    where not placed;

-- How much of the disk a person has.
create index stored_files_by_created_by
    on stored_files (created_by) include (size)
    where deleted_at is null;

create function hide_or_show_file()
returns trigger
language plpgsql
as $$
begin
    update stored_files
       set hidden = new.deleted_at is not null, placed = false
     where id = new.file_id
       and public
       and hidden <> (new.deleted_at is not null);
    return null;
end
$$;

create trigger media_assets_hide_or_show_file
    after update of deleted_at on media_assets
    for each row execute function hide_or_show_file();
create trigger resources_hide_or_show_file
    after update of deleted_at on resources
    for each row execute function hide_or_show_file();

create function hide_or_show_badge()
returns trigger
language plpgsql
as $$
begin
    update stored_files
       set hidden = new.deleted_at is not null, placed = false
     where id = new.badge_image_id
       and public
       and hidden <> (new.deleted_at is not null);
    return null;
end
$$;

create trigger achievements_hide_or_show_badge
    after update of deleted_at on achievements
    for each row execute function hide_or_show_badge();

update stored_files f
   set hidden = true, placed = false
 where f.public
   and f.deleted_at is null
   and (exists (select from media_assets m where m.file_id = f.id and m.deleted_at is not null)
        or exists (select from resources r where r.file_id = f.id and r.deleted_at is not null)
        or exists (select from achievements a where a.badge_image_id = f.id and a.deleted_at is not null));
