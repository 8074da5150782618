-- Why:   rules that compare with "now" (windows, deadlines, roles) need one clock that tests can fix.
-- Locks: none.
-- Order: first; the defaults of every table call it.
-- Undo:  the down file drops the function, once nothing uses it.

-- The time of every rule: the start of the transaction, or the setting `swincms.now` where a test fixes it.
create function rule_now()
returns timestamptz
language sql
stable
parallel safe
as $$ select coalesce(nullif(current_setting('swincms.now', true), '')::timestamptz, now()) $$;
