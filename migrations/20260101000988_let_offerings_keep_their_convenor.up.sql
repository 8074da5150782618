-- Why:   when a unit got another convenor in mid-term, the former one lost the class lists and results of all past years at once, and
--        the new one could correct results of years before their time. Convening belongs to the offering.
-- Locks: offerings, against writes, while each gets its unit's convenor.
-- Order: before the release that asks the offering.
-- Undo:  the down file; who convened what in the past is lost.

alter table offerings
    add column convenor_id bigint
        constraint offerings_convenor_id_fkey references users (id);

update offerings o
   set convenor_id = u.convenor_id
  from units u
 where u.id = o.unit_id;

create index offerings_by_convenor_id_id on offerings (convenor_id, id);

-- An offering that names nobody has the convenor of its unit.
create function take_convenor_of_unit() returns trigger
    language plpgsql
    set search_path from current
as $$
begin
    if new.convenor_id is null
       or (tg_op = 'UPDATE' and new.unit_id <> old.unit_id and new.convenor_id is not distinct from old.convenor_id) then
        new.convenor_id := (select convenor_id from units where id = new.unit_id);
    end if;
    return new;
end
$$;

create trigger offerings_take_convenor_of_unit
    before insert or update of unit_id, convenor_id on offerings
    for each row
    execute function take_convenor_of_unit();

-- Those that are not over, and that somebody else was not put in charge of, follow their unit.
create function hand_over_offerings() returns trigger
    language plpgsql
    set search_path from current
as $$
begin
    update offerings
       set convenor_id = new.convenor_id,
           updated_at = rule_now()
     where unit_id = new.id
       and convenor_id is not distinct from old.convenor_id
       and not exists (select from offerings_over v where v.offering_id = offerings.id);
    return null;
end
$$;

create trigger units_hand_over_offerings
    after update of convenor_id on units
    for each row
    when (old.convenor_id is distinct from new.convenor_id)
    execute function hand_over_offerings();
