drop index events_by_last_moment;
