drop view counted_classes;
drop view offerings_over;
alter table enrollments drop column enrolled_at;
drop function local_time_of(timestamptz);
