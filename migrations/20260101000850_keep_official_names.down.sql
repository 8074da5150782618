drop trigger users_begin_with_official_name on users;
drop function begin_with_official_name;
alter table users
    drop column official_last_name,
    drop column official_first_name;
