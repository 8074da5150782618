-- Why:   after a change of course every row of a transcript was under the new one. A row keeps the course in which its result was
--        obtained; of one from before it is written down when the student's course changes.
-- Locks: transcripts, for a moment; the new columns have no default, so no row is touched.
-- Order: before the release that writes them.
-- Undo:  the down file; the courses of results are lost.

alter table transcripts
    add column course_code text,
    add column course_name text;

create function name_course_of_result() returns trigger
    language plpgsql
    set search_path from current
as $$
begin
    select c.code, c.name
      into new.course_code, new.course_name
      from student_profiles sp
      join courses c on c.id = sp.course_id
     where sp.user_id = new.student_id
       and sp.deleted_at is null;
    new.course_code := coalesce(new.course_code, '');
    new.course_name := coalesce(new.course_name, '');
    return new;
end
$$;

create trigger transcripts_name_the_course
    before insert on transcripts
    for each row
    when (new.course_code is null)
    execute function name_course_of_result();

create function keep_course_of_results() returns trigger
    language plpgsql
    set search_path from current
as $$
begin
    update transcripts
       set course_code = coalesce((select code from courses where id = old.course_id), ''),
           course_name = coalesce((select name from courses where id = old.course_id), '')
     where student_id = old.user_id
       and course_code is null;
    return null;
end
$$;

create trigger student_profiles_keep_course_of_results
    after update of course_id on student_profiles
    for each row
    when (old.course_id is distinct from new.course_id)
    execute function keep_course_of_results();
