-- Columns that the release before does not know stay as they are.

update events
   set generation_meta = jsonb_set(
           generation_meta, '{csv_meta}',
           (select jsonb_object_agg(coalesce(old, key), value)
              from jsonb_each((generation_meta -> 'csv_meta') - 'source')
              left join (values ('notify_rule', 'Notify_Rule'), ('channels', 'Channels'),
                                ('target_audience', 'Target_Audience'), ('dept_filter', 'Dept_Filter'),
                                ('assets_url', 'Assets_URL')) as named (new, old) on new = key))
 where generation_meta -> 'csv_meta' ?| array['notify_rule', 'channels', 'target_audience', 'dept_filter', 'assets_url'];

update event_content_revisions
   set generation_meta = jsonb_set(
           generation_meta, '{csv_meta}',
           (select jsonb_object_agg(coalesce(old, key), value)
              from jsonb_each((generation_meta -> 'csv_meta') - 'source')
              left join (values ('notify_rule', 'Notify_Rule'), ('channels', 'Channels'),
                                ('target_audience', 'Target_Audience'), ('dept_filter', 'Dept_Filter'),
                                ('assets_url', 'Assets_URL')) as named (new, old) on new = key))
 where generation_meta -> 'csv_meta' ?| array['notify_rule', 'channels', 'target_audience', 'dept_filter', 'assets_url'];
