//! The command line: the built program, run against a test's database.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use sqlx::ConnectOptions;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::fixtures::{self, MAJORS};
use crate::support::{NOW, TestApp};

/// What a command said, and whether it went well.
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert!(self.ok, "{}{}", self.out, self.err);
        self.out
    }

    /// The message of a command that failed.
    #[track_caller]
    pub(crate) fn bad(self) -> String {
        assert!(!self.ok, "this went well: {}", self.out);
        assert!(self.err.starts_with("error: "), "{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self.err
    }
}

/// Runs `swincms` on the test's database; `settings` as in the environment.
pub(crate) async fn swincms_with(app: &TestApp, arguments: &[&str], settings: &[(&str, &str)], input: &str) -> Said {
    let url = app.options().to_url_lossy().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_swincms"));
    command
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", url)
        .env("SECRET_KEY", "the key of the tests, forty characters long")
        .env("DATA_DIR", app.folder())
        .envs(settings.iter().copied())
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    // A command that refuses before it reads closes its end.
    let _read = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
    let Output { status, stdout, stderr } = child.wait_with_output().await.unwrap();
    let (ok, code) = (status.success(), status.code());
    Said { ok, code, out: String::from_utf8(stdout).unwrap(), err: String::from_utf8(stderr).unwrap() }
}

/// Runs `swincms` on the test's database.
pub(crate) async fn swincms(app: &TestApp, arguments: &[&str]) -> Said {
    swincms_with(app, arguments, &[], "").await
}

/// Imports what stands in a file of this name.
async fn import(app: &TestApp, what: &str, name: &str, rows: &Value) -> Said {
    tokio::fs::create_dir_all(app.folder()).await.unwrap();
    let path = app.folder().join(name);
    tokio::fs::write(&path, serde_json::to_vec(rows).unwrap()).await.unwrap();
    swincms(app, &["import", what, path.to_str().unwrap()]).await
}

async fn add_majors(app: &TestApp) {
    for (code, name) in MAJORS {
        let sql = sqlx::query!("insert into courses (code, name) values ($1, $2)", code, name);
        sql.execute(&app.db).await.unwrap();
    }
}

/// Everything that imports and the demo data write, but for the audit log: a digest of all rows.
pub(crate) async fn everything(app: &TestApp) -> Vec<String> {
    let tables = sqlx::query_scalar!(
        r#"select table_name::text as "name!"
             from information_schema.tables
            where table_schema = 'public'
              and table_type = 'BASE TABLE'
              and table_name not in ('audit_log', '_sqlx_migrations')
            order by 1"#
    );
    let mut digests = Vec::new();
    for table in tables.fetch_all(&app.db).await.unwrap() {
        let sql = format!("select coalesce(md5(string_agg(t::text, ',' order by t::text)), '') from {table} t");
        let row = sqlx::Executor::fetch_one(&app.db, sqlx::AssertSqlSafe(sql)).await.unwrap();
        digests.push(format!("{table} {}", sqlx::Row::get::<String, _>(&row, 0)));
    }
    digests
}

async fn count(app: &TestApp, table: &str) -> i64 {
    let sql = format!("select count(*) from {table}");
    let row = sqlx::Executor::fetch_one(&app.db, sqlx::AssertSqlSafe(sql)).await.unwrap();
    sqlx::Row::get(&row, 0)
}

#[tokio::test]
async fn six_hundred_units_and_three_hundred_students_are_imported_and_a_second_import_changes_nothing() {
    let app = TestApp::start().await;
    add_majors(&app).await;
    let (units, students) = (fixtures::units_file(600), fixtures::students_file(300, 600));

    let said = import(&app, "units", "units.json", &units).await.good();
    assert!(said.contains("units: 600 created, 0 updated, 0 unchanged\n"), "{said}");
    assert!(said.contains("offerings: 1800 created, 0 updated, 0 unchanged\n"), "{said}");
    assert!(said.contains("row   1  TST10000  created, 3 offerings created\n"), "{said}");
    let said = import(&app, "students", "students.json", &students).await.good();
    assert!(said.contains("students: 300 created, 0 updated, 0 unchanged\n"), "{said}");
    assert!(said.contains("enrolments: 900 created, 0 updated, 0 unchanged\n"), "{said}");
    app.check_invariants().await;
    let before = everything(&app).await;

    let said = import(&app, "units", "units.json", &units).await.good();
    assert!(said.contains("units: 0 created, 0 updated, 600 unchanged\n"), "{said}");
    let said = import(&app, "students", "students.json", &students).await.good();
    assert!(said.contains("students: 0 created, 0 updated, 300 unchanged\n"), "{said}");
    assert!(said.contains("enrolments: 0 created, 0 updated, 900 unchanged\n"), "{said}");
    assert_eq!(everything(&app).await, before);

    let log = sqlx::query!("select user_id, resource_type, details from audit_log where action = 'import' order by id");
    let log = log.fetch_all(&app.db).await.unwrap();
    assert_eq!(
        log.iter().map(|row| row.resource_type.as_str()).collect::<Vec<_>>(),
        ["unit", "student", "unit", "student"]
    );
    assert!(log.iter().all(|row| row.user_id.is_none()));
    assert_eq!(log[1].details["file"], "students.json");
    assert_eq!(log[1].details["enrolments"], json!({ "created": 900, "updated": 0, "unchanged": 0 }));
}

#[tokio::test]
async fn an_imported_student_logs_in_and_has_a_number_a_course_and_a_gold_account() {
    let app = TestApp::start().await;
    add_majors(&app).await;
    import(&app, "students", "students.json", &fixtures::students_file(3, 0)).await.good();
    let student = sqlx::query!(
        r#"select u.id, u.email, u.first_name, u.last_name, p.student_id, c.code as course, g.current_balance
             from users u
             join student_profiles p on p.user_id = u.id
             join courses c on c.id = p.course_id
             join gold_accounts g on g.student_id = u.id
            where u.username = 's100000003'"#
    );
    let student = student.fetch_one(&app.db).await.unwrap();
    assert_eq!((&*student.first_name, &*student.last_name), ("Mei", "Nguyễn"));
    assert_eq!(student.student_id, format!("S-{:08}", student.id));
    assert_eq!((&*student.course, student.current_balance), ("BA-BUS", 0));
    let body = json!({ "email": student.email, "password": fixtures::PASSWORD });
    app.anonymous().post("/api/token/", &body).await.expect(200);
}

#[tokio::test]
async fn class_times_and_decisions_arrive_where_they_are_read() {
    let app = TestApp::start().await;
    add_majors(&app).await;
    import(&app, "units", "units.json", &fixtures::units_file(10)).await.good();
    import(&app, "students", "students.json", &fixtures::students_file(3, 10)).await.good();
    let notes = sqlx::query_scalar!(
        "select o.notes
           from offerings o
           join units u on u.id = o.unit_id
          where u.code = 'TST10001'
            and o.year = 2026
            and o.semester = 'S2'"
    );
    assert_eq!(notes.fetch_one(&app.db).await.unwrap(), "Class 3h/week; Tue 09:30");
    let states = sqlx::query!(
        r#"select e.status,
                  count(*) as "enrolments!",
                  count(t.id) as "transcripts!"
             from enrollments e
             left join transcripts t on t.enrollment_id = e.id
            group by e.status
            order by e.status"#
    );
    let states: Vec<_> = states.fetch_all(&app.db).await.unwrap();
    let states: Vec<_> = states.iter().map(|row| (row.status.as_str(), row.enrolments, row.transcripts)).collect();
    assert_eq!(
        states,
        [("COMPLETED", 3, 3), ("ENROLLED", 3, 0), ("FAILED", 1, 1), ("PENDING", 1, 0), ("WITHDRAWN", 1, 0)]
    );
}

#[tokio::test]
async fn a_file_with_broken_units_writes_nothing_and_names_every_row_and_field() {
    let app = TestApp::start().await;
    let mut units = fixtures::units_file(30);
    units[3]["credit_points"] = json!("a lot");
    units[7]["offerings"][1]["enrollment_end"] = json!("2020-01-01T00:00:00Z");
    units[7]["name"] = json!(" ");
    units[11]["prerequisites"] = json!(["NONE1", "TST10003"]);
    units[22]["code"] = json!("tst10002");
    let says = import(&app, "units", "units.json", &units).await.bad();
    assert!(says.starts_with("error: 4 of 30 rows are broken; nothing was written\n"), "{says}");
    for fault in [
        "row 4 (TST10003), credit_points: A number such as 12.5 is expected.\n",
        "row 8 (TST10007), name: This field is required and may not be blank.\n",
        "row 8 (TST10007), offerings[1].enrollment_end: The window must close after it opens.\n",
        "row 12 (TST10011), prerequisites[0]: There is no unit `NONE1`, neither in the file nor in the database.\n",
        "row 23 (tst10002), code: tst10002 stands in row 3 already.",
    ] {
        assert!(says.contains(fault), "{fault} is missing in {says}");
    }
    assert!(!says.contains("prerequisites[1]"), "a unit in a broken row is no unit that is missing: {says}");
    assert_eq!((count(&app, "units").await, count(&app, "intakes").await, count(&app, "audit_log").await), (0, 0, 0));
}

#[tokio::test]
async fn a_file_with_broken_students_writes_nothing_and_names_every_row_and_field() {
    let app = TestApp::start().await;
    add_majors(&app).await;
    import(&app, "units", "units.json", &fixtures::units_file(10)).await.good();
    let staff = app.staff().await;
    let before = everything(&app).await;
    let mut students = fixtures::students_file(12, 10);
    students[1]["password"] = json!("12345678");
    students[2]["enrollments"][0]["grade"] = json!("N");
    students[4]["major"] = json!("Alchemy");
    students[5]["email"] = json!(staff.email);
    students[6]["enrollments"][1]["year"] = json!(2031);
    students[7]["email"] = json!("S100000001@swin.edu.au");
    students[9]["password"] = json!(7);
    let says = import(&app, "students", "students.json", &students).await.bad();
    for fault in [
        "row 2 (s100000002), password: This password is entirely numeric.\n",
        "row 2 (s100000002), password: This password is too common or too easy to guess.\n",
        "row 3 (s100000003), enrollments[0].grade: COMPLETED needs a pass grade.\n",
        "row 5 (s100000005), major: There is no course with the code or name `Alchemy`.\n",
        "row 6 (s100000006), email: This is the account of a user of type staff.\n",
        "row 7 (s100000007), enrollments[1].unit: TST10001 is not offered in 2031 S1.\n",
        "row 8 (s100000008), email: S100000001@swin.edu.au stands in row 1 already.\n",
        "row 10 (s100000010), password: A text is expected.",
    ] {
        assert!(says.contains(fault), "{fault} is missing in {says}");
    }
    assert!(says.starts_with("error: 7 of 12 rows are broken; nothing was written\n"), "{says}");
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn a_cycle_of_prerequisites_is_named_also_when_half_of_it_is_there_already() {
    let app = TestApp::start().await;
    import(&app, "units", "units.json", &fixtures::units_file(3)).await.good();
    let closing = json!([
        { "code": "TST10000", "prerequisites": ["NEW20001"] },
        { "code": "NEW20001", "name": "New", "prerequisites": ["TST10002"] },
    ]);
    let says = import(&app, "units", "more.json", &closing).await.bad();
    assert!(says.contains("row 1 (TST10000), prerequisites: These prerequisites make a cycle: "), "{says}");
    assert!(says.contains("TST10000 → NEW20001 → TST10002 → TST10001 → TST10000."), "{says}");
    assert_eq!(count(&app, "units").await, 3);
}

#[tokio::test]
async fn a_file_names_units_and_people_as_a_person_types_them() {
    let app = TestApp::start().await;
    add_majors(&app).await;
    let unit =
        json!([{ "code": " TST\u{a0}10000\u{200b}", "name": "Xin\r\ncha\u{300}o ", "description": "e\u{301}\n\nb" }]);
    import(&app, "units", "units.json", &unit).await.good();
    let kept = sqlx::query!("select code, name, description from units").fetch_one(&app.db).await.unwrap();
    assert_eq!((&*kept.code, &*kept.name, &*kept.description), ("TST 10000", "Xin chào", "é\n\nb"));
    let again = json!([{ "code": "tst10000", "name": "Xin chào" }, { "code": "NEW1", "name": "New", "prerequisites": ["TST  10000"] }]);
    let said = import(&app, "units", "units.json", &again).await.good();
    assert!(said.contains("units: 1 created, 0 updated, 1 unchanged\n"), "{said}");
    assert_eq!((count(&app, "units").await, count(&app, "unit_prerequisites").await), (2, 1));
    let twice = json!([{ "code": "X 1", "name": "a" }, { "code": "x1", "name": "b" }]);
    let says = import(&app, "units", "units.json", &twice).await.bad();
    assert!(says.contains("row 2 (x1), code: x1 stands in row 1 already."), "{says}");

    let student = one_student(&json!({ "full_name": "Nguye\u{302}\u{303}n\u{a0} An\u{200b}" }));
    import(&app, "students", "students.json", &student).await.good();
    let name = sqlx::query_scalar!("select last_name || '|' || first_name from users where user_type = 'student'");
    let name = name.fetch_one(&app.db).await.unwrap().unwrap_or_default();
    assert!(["Nguyễn|An", "An|Nguyễn"].contains(&&*name), "{name}");
    app.check_invariants().await;
}

#[tokio::test]
async fn what_a_later_file_says_is_updated_and_what_it_leaves_out_stays() {
    let app = TestApp::start().await;
    add_majors(&app).await;
    import(&app, "units", "units.json", &fixtures::units_file(10)).await.good();
    import(&app, "students", "students.json", &fixtures::students_file(3, 10)).await.good();
    let more = json!([
        { "code": "tst10000", "name": "Renamed" },
        { "code": "TST10002", "prerequisites": [] },
        { "code": "TST10003" },
    ]);
    let said = import(&app, "units", "more.json", &more).await.good();
    assert!(said.contains("units: 0 created, 2 updated, 1 unchanged\n"), "{said}");
    assert_eq!((count(&app, "unit_prerequisites").await, count(&app, "unit_anti_requisites").await), (3, 2));

    // The second student's pending enrolment is approved, and an account's new password survives the file's old one.
    let hash = sqlx::query!("update users set password_hash = 'changed' where username = 's100000002'");
    hash.execute(&app.db).await.unwrap();
    let mut students = fixtures::students_file(3, 10);
    students[1]["full_name"] = json!("Byrne Liam");
    students[1]["enrollments"][2]["status"] = json!("ENROLLED");
    students[0]["enrollments"].as_array_mut().unwrap().clear();
    let said = import(&app, "students", "students.json", &students).await.good();
    assert!(said.contains("students: 0 created, 1 updated, 2 unchanged\n"), "{said}");
    assert!(said.contains("enrolments: 0 created, 1 updated, 5 unchanged\n"), "{said}");
    let student = sqlx::query!("select last_name, password_hash from users where username = 's100000002'");
    let student = student.fetch_one(&app.db).await.unwrap();
    assert_eq!((&*student.last_name, &*student.password_hash), ("Byrne", "changed"));
    let told =
        sqlx::query_scalar!("select verb || ': ' || description from notifications").fetch_all(&app.db).await.unwrap();
    let [Some(told)] = told.as_slice() else { panic!("{told:?}") };
    assert!(told.starts_with("Enrolment confirmed: You are enrolled in ") && told.ends_with('.'), "{told}");
    app.check_invariants().await;

    // Back to pending is not among the ways that an enrolment can go.
    students[1]["enrollments"][2]["status"] = json!("PENDING");
    let says = import(&app, "students", "students.json", &students).await.bad();
    assert!(says.contains("enrollments[2].status: The enrolment is ENROLLED and cannot become PENDING."), "{says}");
}

#[tokio::test]
async fn a_file_from_standard_input_with_unknown_members_is_tried_without_a_trace() {
    let app = TestApp::start().await;
    let text = r#"[{"code": "ABC10001", "name": "One", "prerequisite": ["XYZ"]}]"#;
    let said = swincms_with(&app, &["import", "units", "-", "--dry-run"], &[], text).await;
    assert!(said.err.contains("warning: `prerequisite` means nothing here"), "{}", said.err);
    let out = said.good();
    assert!(out.contains("units: 1 created, 0 updated, 0 unchanged\n") && out.contains("nothing was written"), "{out}");
    assert_eq!((count(&app, "units").await, count(&app, "audit_log").await), (0, 0));
    for broken in ["", "{}", "[{\"code\": ", "[1, \"two\"]"] {
        let says = swincms_with(&app, &["import", "units", "-"], &[], broken).await.bad();
        assert!(says.contains("nothing was written"), "{says}");
    }
    let says = swincms(&app, &["import", "students", "/nowhere/students.json"]).await.bad();
    assert!(says.contains("cannot read /nowhere/students.json"), "{says}");
}

/// One student of a file.
fn one_student(more: &Value) -> Value {
    let mut row =
        json!({ "username": "an", "email": "an@swin.edu.au", "password": fixtures::PASSWORD, "enrollments": [] });
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!([row])
}

#[tokio::test]
async fn the_family_name_is_where_the_setting_says_or_where_the_file_does() {
    for (order, row, names) in [
        ("", json!({ "full_name": "  Nguyễn  Văn\u{a0}An " }), ("Văn An", "Nguyễn")),
        ("family_first", json!({ "full_name": "Trần An" }), ("An", "Trần")),
        ("given_first", json!({ "full_name": "Hana Maria Nakamura" }), ("Hana Maria", "Nakamura")),
        ("family_first", json!({ "full_name": "Plato" }), ("Plato", "")),
        ("given_first", json!({ "full_name": "Plato" }), ("Plato", "")),
        ("given_first", json!({ "first_name": "Văn An", "last_name": "Nguyễn Phúc" }), ("Văn An", "Nguyễn Phúc")),
        (
            "",
            json!({ "full_name": "Văn An Nguyễn", "first_name": "Văn An", "last_name": "Nguyễn" }),
            ("Văn An", "Nguyễn"),
        ),
    ] {
        let app = TestApp::start().await;
        let file = one_student(&row).to_string();
        swincms_with(&app, &["import", "students", "-"], &[("NAME_ORDER", order)], &file).await.good();
        let made = sqlx::query!("select first_name, last_name from users where username = 'an'");
        let made = made.fetch_one(&app.db).await.unwrap();
        assert_eq!((&*made.first_name, &*made.last_name), names, "{order}: {row}");
    }
    let app = TestApp::start().await;
    for (row, says) in [
        (
            json!({ "full_name": "Trần An", "last_name": "Nguyễn", "first_name": "An" }),
            "full_name: This is not the name",
        ),
        (json!({ "last_name": "Nguyễn" }), "first_name: This field is required"),
        (json!({ "full_name": " " }), "full_name: This field is required"),
    ] {
        let said = import(&app, "students", "students.json", &one_student(&row)).await.bad();
        assert!(said.contains(says), "{said}");
    }
    let said = swincms_with(&app, &["import", "students", "-"], &[("NAME_ORDER", "western")], "[]").await.bad();
    assert!(said.contains("NAME_ORDER"), "{said}");
}

#[tokio::test]
async fn student_numbers_and_birth_dates_come_with_the_file_and_stay_when_it_says_nothing() {
    let app = TestApp::start().await;
    let stored = async || {
        let sql = sqlx::query!(
            r#"select p.student_id, u.date_of_birth::text as born
                 from users u
                 join student_profiles p on p.user_id = u.id
                where u.username = 'an'"#
        );
        let row = sql.fetch_one(&app.db).await.unwrap();
        (row.student_id, row.born.unwrap_or_default())
    };
    let row = |number: &str, born: &str| {
        one_student(&json!({ "full_name": "Nguyễn An", "student_id": number, "date_of_birth": born }))
    };
    import(&app, "students", "students.json", &row(" 0104567 ", "2006-05-17")).await.good();
    assert_eq!(stored().await, ("0104567".to_owned(), "2006-05-17".to_owned()));
    for same in [row("", ""), row("0104567", "2006-05-17"), one_student(&json!({ "full_name": "Nguyễn An" }))] {
        let said = import(&app, "students", "students.json", &same).await.good();
        assert!(said.contains("students: 0 created, 0 updated, 1 unchanged\n"), "{said}");
    }
    for (number, born) in [("0104568", "2006-05-17"), ("0104568", "2006-05-18")] {
        let said = import(&app, "students", "students.json", &row(number, born)).await.good();
        assert!(said.contains("students: 0 created, 1 updated, 0 unchanged\n"), "{said}");
        assert_eq!(stored().await, (number.to_owned(), born.to_owned()));
    }
    let other = app.student().await;
    let taken = sqlx::query_scalar!("select student_id from student_profiles where user_id = $1", other.id.0);
    let taken = taken.fetch_one(&app.db).await.unwrap();
    let mut twice = row("77", "2006-05-17");
    let mut second = twice[0].clone();
    (second["email"], second["username"]) = (json!("bo@swin.edu.au"), json!("bo"));
    twice.as_array_mut().unwrap().push(second);
    for (file, says) in [
        (row(&taken, ""), "student_id: Another student has this number."),
        (row("", "2026-03-02"), "date_of_birth: A day between 1900 and today is expected."),
        (row("", "1899-12-31"), "date_of_birth: A day between 1900 and today is expected."),
        (row("", "17/5/06"), "date_of_birth: A date such as 2026-06-20 is expected."),
        (row(&"7".repeat(33), ""), "student_id: Ensure this field has no more than 32 characters"),
        (twice, "student_id: 77 stands in row 1 already."),
    ] {
        let said = import(&app, "students", "students.json", &file).await.bad();
        assert!(said.contains(says), "{says}: {said}");
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn a_file_is_read_as_programs_save_it_or_refused_with_what_to_do() {
    let app = TestApp::start().await;
    let text = one_student(&json!({ "full_name": "Nguyễn Văn An" })).to_string();
    let units: Vec<u16> = format!("\u{feff}{text}").encode_utf16().collect();
    let files: [Vec<u8>; 3] = [
        format!("\u{feff}{text}").into(),
        units.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
        units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
    ];
    tokio::fs::create_dir_all(app.folder()).await.unwrap();
    let path = app.folder().join("students.json");
    for file in files {
        tokio::fs::write(&path, file).await.unwrap();
        let said = swincms(&app, &["import", "students", path.to_str().unwrap(), "--dry-run"]).await.good();
        assert!(said.contains("students: 1 created"), "{said}");
    }
    for (file, says) in [
        (b"[{\"full_name\": \"Jos\xe9\"}]".to_vec(), "older encoding of Windows"),
        (units.iter().skip(1).flat_map(|unit| unit.to_le_bytes()).collect(), "without a byte order mark"),
    ] {
        tokio::fs::write(&path, file).await.unwrap();
        let said = swincms(&app, &["import", "students", path.to_str().unwrap()]).await.bad();
        assert!(said.contains(says) && said.contains("in UTF-8; nothing was written"), "{said}");
    }
}

#[tokio::test]
async fn the_demo_is_whole_and_seeding_twice_is_the_same_as_once() {
    let app = TestApp::start().await;
    let said = swincms(&app, &["seed", "--students", "200"]).await.good();
    assert!(said.contains("created 2 courses, 53 units, 156 offerings, 218 accounts, "), "{said}");
    assert!(said.contains("Demo log-ins") && said.contains("student@swin.edu.au"), "{said}");
    app.check_invariants().await;
    let before = everything(&app).await;
    let said = swincms(&app, &["seed", "--students", "200"]).await.good();
    assert!(said.contains("nothing was written"), "{said}");
    assert_eq!(everything(&app).await, before);
    assert_eq!(count(&app, "audit_log").await, 1);

    let open = sqlx::query_scalar!(
        r#"select count(distinct (year, semester)) as "open!"
             from offerings
            where enrollment_start <= $1
              and enrollment_end > $1
              and is_active"#,
        NOW.parse::<chrono::DateTime<chrono::Utc>>().unwrap()
    );
    assert_eq!(open.fetch_one(&app.db).await.unwrap(), 2);
    let child = sqlx::query_scalar!(
        "select s.email
           from guardian_students g
           join guardians p on p.id = g.guardian_id
           join users u on u.id = p.user_id
           join users s on s.id = g.student_id
          where u.email = 'parent@swin.edu.au'"
    );
    assert_eq!(child.fetch_one(&app.db).await.unwrap(), "student@swin.edu.au");
    for email in ["admin@swin.edu.au", "convenor@swin.edu.au", "demo000200@swin.edu.au"] {
        let body = json!({ "email": email, "password": "demo-Lantern-42" });
        app.anonymous().post("/api/token/", &body).await.expect(200);
    }
}

#[tokio::test]
async fn the_demo_stays_out_of_production_and_of_what_is_there() {
    let app = TestApp::start().await;
    let sql = "insert into units (code, name) values ('cos10009', 'Our own programming unit')";
    sqlx::Executor::execute(&app.db, sql).await.unwrap();
    let prod = [
        ("APP_ENV", "prod"),
        ("PUBLIC_URL", "https://cms.swin.edu.au"),
        ("ALLOWED_HOSTS", "cms.swin.edu.au"),
        ("CORS_ALLOWED_ORIGINS", "https://cms.swin.edu.au"),
        ("AUDIT_KEY", "the audit key of the tests, forty characters"),
        ("EMAIL_HOST", "mail.swin.edu.au"),
        ("EMAIL_FROM", "cms@swin.edu.au"),
        ("N8N_WEBHOOK_SECRET", "sixteen characters"),
    ];
    let says = swincms_with(&app, &["seed"], &prod, "").await.bad();
    assert!(says.contains("production database") && says.contains("--force"), "{says}");
    assert_eq!(count(&app, "users").await, 0);
    swincms_with(&app, &["seed", "--force"], &prod, "").await.good();
    let name = sqlx::query_scalar!("select name from units where upper(code) = 'COS10009'");
    assert_eq!(name.fetch_all(&app.db).await.unwrap(), ["Our own programming unit"]);
    app.check_invariants().await;
}

#[tokio::test]
async fn an_administrator_needs_a_good_password_and_names_that_are_free() {
    let app = TestApp::start().await;
    let ask = ["createsuperuser", "--email", "ada@swin.edu.au", "--username", "ada"];
    let says = swincms(&app, &ask).await.bad();
    assert!(says.contains("SUPERUSER_PASSWORD"), "{says}");
    let says = swincms_with(&app, &ask, &[("SUPERUSER_PASSWORD", "1234")], "").await.bad();
    for reason in ["too short", "entirely numeric", "too common"] {
        assert!(says.contains(reason), "{reason} is missing in {says}");
    }
    assert_eq!(count(&app, "users").await, 0);

    let good = [("SUPERUSER_PASSWORD", "granite-Tulip-31")];
    let said = swincms_with(&app, &ask, &good, "").await.good();
    assert!(said.starts_with("created the administrator ada <ada@swin.edu.au>"), "{said}");
    let body = json!({ "email": "ADA@swin.edu.au", "password": "granite-Tulip-31" });
    app.anonymous().post("/api/token/", &body).await.expect(200);
    let log = sqlx::query!("select action, resource_type, user_id from audit_log where action = 'create'");
    let log = log.fetch_one(&app.db).await.unwrap();
    assert_eq!((&*log.resource_type, log.user_id), ("user", None));

    let again = ["createsuperuser", "--email", "Ada@swin.edu.au", "--username", "ADA"];
    let says = swincms_with(&app, &again, &good, "").await.bad();
    assert!(says.contains("email already exists") && says.contains("username already exists"), "{says}");

    let secret = app.folder().join("password");
    let named = [("SUPERUSER_PASSWORD_FILE", secret.to_str().unwrap())];
    let bob = ["createsuperuser", "--email", "bob@swin.edu.au", "--username", "bob"];
    let says = swincms_with(&app, &bob, &named, "").await.bad();
    assert!(says.contains("SUPERUSER_PASSWORD_FILE: ") && says.contains("cannot be read"), "{says}");
    std::fs::write(&secret, "granite-Tulip-32\n").unwrap();
    swincms_with(&app, &bob, &named, "").await.good();
}

#[tokio::test]
async fn the_schema_goes_back_a_step_and_forward_again() {
    let app = TestApp::start().await;
    let all = swincms::migrate::status(&app.options()).await.unwrap();
    let last = all.last().unwrap();
    let statements = last.sql.trim().to_owned();
    let last = format!("{} {}", last.version, last.description);
    assert!(swincms(&app, &["migrate", "--plan"]).await.good().starts_with("the schema is current"));
    let refused = swincms(&app, &["migrate", "--revert", "1"]).await;
    assert!(refused.out.starts_with(&format!("takes back  {last}\n")), "{}", refused.out);
    assert!(refused.bad().contains("--yes"));
    assert!(swincms(&app, &["migrate", "--plan"]).await.good().starts_with("the schema is current"));
    let reverted = swincms(&app, &["migrate", "--revert", "1", "--yes"]).await.good();
    assert!(reverted.ends_with(&format!("reverted  {last}\n")), "{reverted}");
    assert_eq!(swincms(&app, &["migrate", "--plan"]).await.good(), format!("would run  {last}\n"));
    let status = swincms(&app, &["migrate", "--status"]).await.good();
    assert_eq!(status.lines().count(), all.len());
    assert!(status.ends_with(&format!("waiting  {last}\n")), "{status}");
    assert!(swincms(&app, &["migrate", "--sql"]).await.good().contains(&statements));

    let says = swincms_with(&app, &["seed"], &[("RUN_MIGRATIONS", "false")], "").await.bad();
    assert!(says.contains("1 migrations have not run; run `swincms migrate` first"), "{says}");
    assert_eq!(swincms(&app, &["migrate"]).await.good(), format!("ran  {last}\n"));
    let says = swincms(&app, &["migrate", "--revert", "99"]).await.bad();
    assert!(says.contains(&format!("only {} migrations have run", all.len())), "{says}");
}

#[tokio::test]
async fn check_says_what_is_wrong_and_ends_with_a_failure() {
    let app = TestApp::start().await;
    let said = swincms(&app, &["check", "--json"]).await.good();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["ok"], true);
    let status = |said: &Value| {
        let checks = said["checks"].as_array().unwrap().iter();
        checks.map(|check| format!("{} {}", check["name"], check["status"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(
        status(&said),
        ["configuration ok", "database ok", "migrations ok", "writable ok", "rights ok", "files ok"]
    );

    swincms(&app, &["migrate", "--revert", "1", "--yes"]).await.good();
    let said = swincms(&app, &["check"]).await;
    assert!(!said.ok && said.out.contains("FAILED   migrations"), "{}", said.out);

    let away = [("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"), ("MEDIA_ROOT", "/dev/null/media")];
    let said = swincms_with(&app, &["check", "--json"], &away, "").await;
    assert!(!said.ok);
    let found = status(&serde_json::from_str(&said.out).unwrap());
    assert_eq!(
        found,
        [
            "configuration ok",
            "database failed",
            "migrations skipped",
            "writable skipped",
            "rights skipped",
            "files failed",
        ]
    );

    let said = swincms_with(&app, &["check"], &[("TIME_ZONE", "Atlantis")], "").await;
    assert!(!said.ok && said.out.contains("FAILED   configuration") && said.out.contains("TIME_ZONE"), "{}", said.out);
}

#[tokio::test]
async fn every_command_helps_with_an_example() {
    let app = TestApp::start().await;
    let commands: [&[&str]; 10] = [
        &[],
        &["serve"],
        &["migrate"],
        &["createsuperuser"],
        &["seed"],
        &["import"],
        &["import", "units"],
        &["import", "students"],
        &["check"],
        &["openapi"],
    ];
    for command in commands {
        let asked: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let help = swincms(&app, &asked).await.good();
        assert!(help.contains("Example:\n  "), "{command:?}: {help}");
    }
    assert!(!swincms(&app, &["migrate", "--plan", "--sql"]).await.ok);
    assert!(swincms(&app, &["migrate", "--patience", "soon"]).await.err.contains("such as 90s, 10m or 2h"));
}
