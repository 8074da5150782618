-- Why:   what has had its time is removed in small steps, and is found without looking at all the rest.
-- Locks: notifications, calendar_links, against writes, while their indexes are made.
-- Order: before or after the release that sweeps.
-- Undo:  the down file.

create index notifications_done_with_by_updated_at
    on notifications (updated_at)
    where not unread or deleted_at is not null;
create index calendar_links_revoked_by_revoked_at
    on calendar_links (revoked_at)
    where revoked_at is not null;
