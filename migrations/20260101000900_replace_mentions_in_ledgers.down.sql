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
