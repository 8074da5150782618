-- Why:   what an import keeps of a campus calendar is named as the client reads it: `notify_rule` and not `Notify_Rule`, and so
--        on, and says where it came from.
-- Locks: the rows of events that were imported in that shape, and of their kept contents, while they are written.
-- Order: before or after the release that writes the new names; what the release before imports meanwhile keeps the old ones.
-- Undo:  the down file gives the old names back.

update events
   set generation_meta = jsonb_set(
           generation_meta, '{csv_meta}',
           '{"source": "csv"}' || (select jsonb_object_agg(lower(key), value)
                                     from jsonb_each(generation_meta -> 'csv_meta')))
 where generation_meta -> 'csv_meta' ?| array['Notify_Rule', 'Channels', 'Target_Audience', 'Dept_Filter', 'Assets_URL'];

update event_content_revisions
   set generation_meta = jsonb_set(
           generation_meta, '{csv_meta}',
           '{"source": "csv"}' || (select jsonb_object_agg(lower(key), value)
                                     from jsonb_each(generation_meta -> 'csv_meta')))
 where generation_meta -> 'csv_meta' ?| array['Notify_Rule', 'Channels', 'Target_Audience', 'Dept_Filter', 'Assets_URL'];
