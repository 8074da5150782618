alter table users
    drop constraint users_anonymised_stay_so,
    drop column anonymised_at;

drop trigger gold_transactions_are_only_added_to on gold_transactions;
create trigger gold_transactions_are_only_added_to
    before update or delete on gold_transactions
    for each row execute function refuse_change();

drop trigger enrollment_history_is_only_added_to on enrollment_history;
create trigger enrollment_history_is_only_added_to
    before update or delete on enrollment_history
    for each row execute function refuse_change();

drop trigger enrollment_decisions_are_only_added_to on enrollment_decisions;
create trigger enrollment_decisions_are_only_added_to
    before update or delete on enrollment_decisions
    for each row execute function refuse_change();

drop function refuse_change_but_blanks();

-- A seal that does not name its rows says nothing, and would keep the up file from running again.
alter table audit_seals disable trigger audit_seals_are_never_emptied;
truncate audit_seals;
alter table audit_seals enable trigger audit_seals_are_never_emptied;

alter table audit_seals
    drop constraint audit_seals_count_themselves,
    drop constraint audit_seals_name_each_row,
    drop column total_count,
    drop column row_hmacs,
    drop column row_ids;

create or replace function refuse_audit_change()
returns trigger
language plpgsql
as $$
declare
    erased audit_log := old;
begin
    if tg_op = 'UPDATE' and new.details = '{}' and new.salt in (old.salt, '') then
        erased.details := new.details;
        erased.salt := new.salt;
        if erased is not distinct from new then
            return new;
        end if;
    end if;
    raise exception 'these records are kept as they were written'
        using errcode = 'restrict_violation';
end
$$;

create or replace function digest_audit_details()
returns trigger
language plpgsql
as $$
begin
    new.details_digest := sha256(new.salt || convert_to(new.details::text, 'UTF8'));
    return new;
end
$$;

alter table audit_log
    drop column origin_digest,
    drop column origin_salt;
