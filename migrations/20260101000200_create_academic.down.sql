drop table unit_resources;
drop table offerings;
drop table intakes;
drop table course_units;
drop table unit_anti_requisites;
drop table unit_prerequisites;
drop table units;
drop table courses;
