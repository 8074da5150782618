drop trigger users_end_email_changes on users;
drop function end_email_change();
drop table email_changes;
