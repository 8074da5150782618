-- Why:   `pg_restore` and `psql` load a dump with an empty `search_path`: what triggers named was not found then, and rows that were
--        brought back into a database that has its schema were refused.
-- Locks: none on tables.
-- Order: with any release.
-- Undo:  the down file.

alter function refuse_change() set search_path from current;
alter function digest_audit_details() set search_path from current;
alter function refuse_audit_change() set search_path from current;
alter function refuse_change_but_blanks() set search_path from current;
alter function hide_or_show_file() set search_path from current;
alter function hide_or_show_badge() set search_path from current;
alter function count_security_changes() set search_path from current;
alter function carry_security_version() set search_path from current;
alter function keep_an_administrator_among_users() set search_path from current;
alter function keep_an_administrator_among_roles() set search_path from current;
alter function keep_an_administrator_among_holders() set search_path from current;
alter function end_email_change() set search_path from current;
alter function begin_with_official_name() set search_path from current;
alter function keep_student_number() set search_path from current;
alter function keep_room() set search_path from current;
