drop trigger student_profiles_keep_course_of_results on student_profiles;
drop function keep_course_of_results();
drop trigger transcripts_name_the_course on transcripts;
drop function name_course_of_result();
alter table transcripts
    drop column course_code,
    drop column course_name;
