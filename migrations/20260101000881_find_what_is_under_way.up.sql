-- Why:   a range of days has the events that overlap it, also those that began before it: `from` is compared with their end.
-- Locks: writes to events wait while the index is built.
-- Order: before or after the release that asks.
-- Undo:  the down file drops the index.

create index events_by_last_moment
    on events ((coalesce("end", start)), id)
    where deleted_at is null;
