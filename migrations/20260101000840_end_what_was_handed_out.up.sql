-- Why:   a change of password, address or activity ends all that was handed out for an account before: log-in sessions, links
--        of mails for a new password, queued mails, calendar links. Each carries the number that the account had when it was made.
-- Locks: the columns have constant defaults, so no table is rewritten; each table is locked for a moment.
-- Order: before the release that compares the numbers; the release before does not see them.
-- Undo:  the down file drops triggers, functions and columns; what has ended by its mark stays so.

alter table users add column security_version bigint not null default 1;
alter table sessions add column security_version bigint not null default 1;
alter table password_reset_tokens add column security_version bigint not null default 1;
alter table calendar_links add column security_version bigint not null default 1;
alter table mail_outbox add column security_version bigint not null default 1;

-- A password that is hashed anew is the same password.
create function count_security_changes()
returns trigger
language plpgsql
as $$
begin
    new.security_version := old.security_version + 1;
    return new;
end
$$;

create trigger users_count_security_changes
    before update of email, is_active on users
    for each row
    when (lower(new.email) is distinct from lower(old.email)
          or new.is_active is distinct from old.is_active)
    execute function count_security_changes();
-- Whenever it is written, also to the same moment.
create trigger users_count_new_passwords
    before update of password_changed_at on users
    for each row
    execute function count_security_changes();

create function carry_security_version()
returns trigger
language plpgsql
as $$
begin
    new.security_version := coalesce((select security_version from users where id = new.user_id), 1);
    return new;
end
$$;

create trigger sessions_carry_security_version
    before insert on sessions
    for each row execute function carry_security_version();
create trigger password_reset_tokens_carry_security_version
    before insert on password_reset_tokens
    for each row execute function carry_security_version();
create trigger calendar_links_carry_security_version
    before insert on calendar_links
    for each row execute function carry_security_version();
create trigger mail_outbox_carry_security_version
    before insert on mail_outbox
    for each row execute function carry_security_version();
