drop index workflows_by_name_id;
drop index roles_by_name_id;
drop index achievements_by_name_id;
drop index scholarships_by_name_id;
drop index forms_by_name_id;
drop index resources_by_title_id;
drop index pages_by_title_id;
drop index events_by_title_id;
drop index unit_resources_by_title_id;
drop index courses_by_name_id;
drop index units_by_name_id;
drop index users_recipients_by_last_name_first_name_id;
drop index users_by_first_name_id;
drop index users_by_last_name_id;
drop index users_by_last_name_first_name_id;
create index users_by_last_name_first_name_id
    on users (last_name, first_name, id);
create index users_recipients_by_last_name_first_name_id
    on users (last_name, first_name, id)
    where is_active and user_type in ('staff', 'unit_convenor', 'admin');

alter table roles
    drop column search_text;
alter table achievements
    drop column search_text;
alter table scholarships
    drop column search_text;
alter table forms
    drop column search_text;
alter table resources
    drop column search_text;
alter table pages
    drop column search_text;
alter table ticket_comments
    drop column search_text;
alter table tickets
    drop column search_text;
alter table events
    drop column search_text;
alter table unit_resources
    drop column search_text;
alter table units
    drop column search_text;
alter table courses
    drop column search_text;
alter table users
    drop column search_text;

create index users_by_search_text
    on users using gin ((first_name || ' ' || last_name || ' ' || email || ' ' || username) gin_trgm_ops);
create index courses_by_search_text
    on courses using gin ((code || ' ' || name) gin_trgm_ops);
create index units_by_search_text
    on units using gin ((code || ' ' || name) gin_trgm_ops);
create index events_by_search_text
    on events using gin ((title || ' ' || description) gin_trgm_ops);
create index tickets_by_search_text
    on tickets using gin ((title || ' ' || description) gin_trgm_ops);
create index pages_by_search_text
    on pages using gin ((title || ' ' || content) gin_trgm_ops);

drop trigger student_profiles_keep_student_number on student_profiles;
drop function keep_student_number();
alter table users
    drop column student_number;
drop function search_pattern(text);
drop function plain_text(text);
drop function same_text(text);
