-- Why:   a new address of an account counts only when whoever reads its mail has confirmed it; until then it waits here.
-- Locks: users, against writes, for a moment, while the trigger is added.
-- Order: before the release that asks for confirmation.
-- Undo:  the down file drops the waiting addresses; those accounts keep the address that they have.

create table email_changes (
    -- One waits for each account: asking again takes its place.
    user_id bigint
        constraint email_changes_pkey primary key
        constraint email_changes_have_a_user references users,
    email text not null
        constraint email_changes_email_is_given check (email ~ '\S')
        constraint email_changes_email_fits check (char_length(email) <= 254),
    -- Of the link in the latest mail; none before a mail was made.
    token_hash bytea
        constraint email_changes_token_hash_is_a_digest check (octet_length(token_hash) = 32),
    created_at timestamptz not null default rule_now(),
    expires_at timestamptz not null
);

create unique index email_changes_token_hash_is_unique
    on email_changes (token_hash);
create index email_changes_by_expires_at
    on email_changes (expires_at);

-- Whatever makes the account another's to use ends what was asked for before, whichever statement does it.
create function end_email_change() returns trigger
    language plpgsql
as $$
begin
    delete from email_changes where user_id = new.id;
    return null;
end
$$;

create trigger users_end_email_changes
    after update of email, password_hash, is_active on users
    for each row
    when ((old.email, old.password_hash, old.is_active) is distinct from (new.email, new.password_hash, new.is_active))
    execute function end_email_change();
