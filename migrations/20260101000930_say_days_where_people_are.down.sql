alter table scholarship_applications
    alter column application_date set default rule_now()::date;
alter table student_profiles
    alter column enrollment_date set default rule_now()::date;
drop function local_day();
