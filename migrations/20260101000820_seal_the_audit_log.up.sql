-- Why:   seals name the rows that they cover, and a person's traces can be erased without breaking them; a person who was
--        anonymised stays so.
-- Locks: audit_log, against writes and reads, while a digest is added to each of its rows; the others for a moment.
-- Order: before the release that seals; no release has written a seal before it.
-- Undo:  the down file drops what is added here, and with it what the seals said.

alter table audit_log
    -- Keeps the digest from being guessed from the few addresses there are.
    add column origin_salt bytea not null default decode(replace(gen_random_uuid()::text, '-', ''), 'hex'),
    -- sha256(origin_salt || address, line feed, agent), set on insert and kept when these are erased.
    add column origin_digest bytea
        constraint audit_log_origin_digest_is_a_digest check (octet_length(origin_digest) = 32);

alter table audit_log disable trigger audit_log_is_only_added_to;
update audit_log
    set origin_digest = sha256(origin_salt || convert_to(coalesce(ip_address::text, '') || e'\n' || user_agent, 'UTF8'));
alter table audit_log enable trigger audit_log_is_only_added_to;
alter table audit_log alter column origin_digest set not null;

create or replace function digest_audit_details()
returns trigger
language plpgsql
as $$
begin
    new.details_digest := sha256(new.salt || convert_to(new.details::text, 'UTF8'));
    new.origin_digest := sha256(
        new.origin_salt || convert_to(coalesce(new.ip_address::text, '') || e'\n' || new.user_agent, 'UTF8')
    );
    return new;
end
$$;

-- The two changes allowed: a person's details are erased, and from where a person came.
create or replace function refuse_audit_change()
returns trigger
language plpgsql
as $$
declare
    erased audit_log := old;
begin
    if tg_op = 'UPDATE' then
        if new.details = '{}' and new.salt = '' then
            erased.details := new.details;
            erased.salt := new.salt;
        end if;
        if new.ip_address is null and new.user_agent = '' and new.origin_salt = '' then
            erased.ip_address := new.ip_address;
            erased.user_agent := new.user_agent;
            erased.origin_salt := new.origin_salt;
        end if;
        if erased is not distinct from new then
            return new;
        end if;
    end if;
    raise exception 'these records are kept as they were written'
        using errcode = 'restrict_violation';
end
$$;

alter table audit_seals
    -- The rows that are covered, in their order, and the HMAC of each, 32 bytes after 32 bytes.
    add column row_ids bigint[] not null,
    add column row_hmacs bytea not null,
    -- How many rows this seal and all before it cover.
    add column total_count bigint not null,
    add constraint audit_seals_name_each_row
        check (cardinality(row_ids) = row_count and octet_length(row_hmacs) = 32 * row_count),
    add constraint audit_seals_count_themselves
        check (total_count >= row_count);

-- Behind tables that are only ever added to, but for the texts named in the trigger: these can be blanked.
create function refuse_change_but_blanks()
returns trigger
language plpgsql
as $$
declare
    was jsonb := to_jsonb(old);
    becomes jsonb := to_jsonb(new);
    name text;
begin
    if tg_op = 'UPDATE' and was <> becomes then
        foreach name in array tg_argv loop
            if becomes ->> name in ('', '***') then
                was := was - name;
                becomes := becomes - name;
            end if;
        end loop;
        if was = becomes then
            return new;
        end if;
    end if;
    raise exception 'these records are kept as they were written'
        using errcode = 'restrict_violation';
end
$$;

drop trigger enrollment_decisions_are_only_added_to on enrollment_decisions;
create trigger enrollment_decisions_are_only_added_to
    before update or delete on enrollment_decisions
    for each row execute function refuse_change_but_blanks('notes');

drop trigger enrollment_history_is_only_added_to on enrollment_history;
create trigger enrollment_history_is_only_added_to
    before update or delete on enrollment_history
    for each row execute function refuse_change_but_blanks('reason');

drop trigger gold_transactions_are_only_added_to on gold_transactions;
create trigger gold_transactions_are_only_added_to
    before update or delete on gold_transactions
    for each row execute function refuse_change_but_blanks('reason', 'details');

alter table users
    add column anonymised_at timestamptz,
    -- Whatever was on its way to write when the person was anonymised is refused.
    add constraint users_anonymised_stay_so
        check (
            anonymised_at is null
            or (
                not is_active
                and email = 'anonymised-' || id || '@invalid'
                and username = 'anonymised-' || id
                and first_name = ''
                and last_name = ''
                and bio = ''
                and profile_image_id is null
                and phone_number = ''
                and date_of_birth is null
            )
        );
