-- Why:   a text of a ledger that names a person who was anonymised loses the name alone, not all that it says.
-- Locks: none that matter, a function is replaced.
-- Order: before the release that replaces; the release before it writes `***` for a whole text, which stays allowed.
-- Undo:  the down file; a text can then be blanked as a whole only.

-- Behind tables that are only ever added to, but for the texts named in the trigger: these can be blanked, and any part of
-- them can become `***`.
create or replace function refuse_change_but_blanks()
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
            if becomes ->> name in ('', '***')
               or was ->> name like replace(regexp_replace(becomes ->> name, '([\\%_])', '\\\1', 'g'), '***', '%') then
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
