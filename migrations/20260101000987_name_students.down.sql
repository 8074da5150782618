drop function students_named(text);
