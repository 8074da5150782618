drop table scholarship_application_files;
drop table scholarship_applications;
drop table scholarships;
drop table guardian_grants;
drop table guardian_students;
drop table guardians;
drop table student_profiles;
