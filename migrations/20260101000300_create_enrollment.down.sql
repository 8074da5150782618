drop table transcripts;
drop table enrollment_history;
drop table enrollment_decisions;
drop table enrollments;
