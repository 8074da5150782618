drop index users_username_looks_like_no_other;
alter table users
    drop constraint users_username_key_is_given_where_needed,
    drop column username_key;
