drop trigger courses_keep_code_key on courses;
drop trigger units_keep_code_key on units;
drop function keep_code_key();
alter table courses drop column code_key;
alter table units drop column code_key;
drop function code_key(text);
