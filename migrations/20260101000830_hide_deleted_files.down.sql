drop trigger achievements_hide_or_show_badge on achievements;
drop function hide_or_show_badge;
drop trigger resources_hide_or_show_file on resources;
drop trigger media_assets_hide_or_show_file on media_assets;
drop function hide_or_show_file;
drop index stored_files_by_created_by;
drop index stored_files_to_be_placed_by_id;
alter table stored_files
    drop column placed,
    drop column hidden;
