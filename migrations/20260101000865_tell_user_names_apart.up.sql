-- Why:   a user name that looks like another's is as good as taken. What it looks like is worked out by the server, for names
--        that are not plain ASCII; those look like themselves.
-- Locks: users, against writes and reads, while an index is made and the few names that are not ASCII get their column.
-- Order: before the release that writes user names; the release before it cannot write such names after it.
-- Undo:  the down file; names that look alike can then be given out again.

alter table users
    -- What a name that is not ASCII looks like; those that there are already look like themselves.
    add column username_key text
        constraint users_username_key_fits check (char_length(username_key) <= 1500);
update users
   set username_key = lower(username)
 where octet_length(username) <> char_length(username);
alter table users
    add constraint users_username_key_is_given_where_needed
        check ((username_key is null) = (octet_length(username) = char_length(username)));
create unique index users_username_looks_like_no_other
    on users (coalesce(username_key, lower(username)));
