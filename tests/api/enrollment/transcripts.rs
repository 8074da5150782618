//! Transcripts, what they come to, and their export.

use serde_json::json;
use swincms::ids::Id;

use crate::academic::{NOW, at, faulty, run};
use crate::support::{Person, TestApp};

const TRANSCRIPTS: &str = "/api/enrollment/transcripts/";
const SUMMARY: &str = "/api/enrollment/transcripts/summary/";
const EXPORT: &str = "/api/enrollment/transcripts/export/";

/// The transcript row of an enrolment.
async fn row_of(app: &TestApp, enrollment: Id) -> Id {
    let sql = sqlx::query_scalar!("select id from transcripts where enrollment_id = $1", enrollment.0);
    Id(sql.fetch_one(&app.db).await.unwrap())
}

/// A parent to whom the student has granted this scope; `until` and `revoked` as SQL.
async fn parent_of(app: &TestApp, student: &Person, scope: &str, until: &str, revoked: &str) -> Person {
    let parent = app.parent().await;
    let sql = format!(
        "with guardian as (insert into guardians (user_id) values ({}) returning id),
              link as (insert into guardian_students (guardian_id, student_id) select id, {} from guardian
                       returning guardian_id, student_id)
         insert into guardian_grants (guardian_id, student_id, scopes, granted_at, valid_until, revoked_at)
         select guardian_id, student_id, array['{scope}'], rule_now() - interval '2 days', {until}, {revoked} from link",
        parent.id, student.id
    );
    run(&app.db, sql).await;
    parent
}

/// People, and whether each may see what is Ann's, what of it is in the convenor's unit, and what is Bob's.
async fn people(app: &TestApp, ann: &Person, bob: &Person, convenor: &Person) -> Vec<(String, Person, [bool; 3])> {
    let all = [true, true, true];
    let (nothing, hers) = ([false; 3], [true, true, false]);
    let later = "rule_now() + interval '1 day'";
    let earlier = "rule_now() - interval '1 day'";
    let named = |name: &str, person: Person, sees: [bool; 3]| (name.to_owned(), person, sees);
    vec![
        named("Ann", ann.clone(), hers),
        named("Bob", bob.clone(), [false, false, true]),
        named("granted for ever", parent_of(app, ann, "transcripts", "null", "null").await, hers),
        named("granted until later", parent_of(app, ann, "transcripts", later, "null").await, hers),
        named("another scope", parent_of(app, ann, "enrolments", "null", "null").await, nothing),
        named("expired", parent_of(app, ann, "transcripts", earlier, "null").await, nothing),
        named("revoked", parent_of(app, ann, "transcripts", "null", earlier).await, nothing),
        named("a parent of nobody", app.parent().await, nothing),
        named("the unit's convenor", convenor.clone(), [false, true, false]),
        named("another convenor", app.convenor().await, nothing),
        named("staff", app.staff().await, all),
        named("auditor", app.auditor().await, all),
        named("admin", app.admin().await, all),
    ]
}

#[tokio::test]
async fn a_transcript_row_shows_the_result_with_the_facts_of_its_time() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let unit = app.unit().await;
    let enrollment = app.enrollment(ann.id, app.offering_of(unit, 0).await, "COMPLETED").await;
    let id = row_of(&app, enrollment).await;
    run(&app.db, format!("update transcripts set grade = 'HD', grade_point = 4.0, marks = 78 where id = {id}")).await;
    let code = staff.get(&at("/api/academic/units/", unit)).await.expect(200)["code"].clone();
    let name = staff.get(&at("/api/academic/units/", unit)).await.expect(200)["name"].clone();
    run(&app.db, format!("update units set code = 'NEW', name = 'New', credit_points = 1 where id = {unit}")).await;

    let student = staff.get(&at("/api/users/users/", ann.id)).await.expect(200).clone();
    let wanted = json!({
        "id": id, "student": student, "enrollment": enrollment, "unit_code": code, "unit_name": name, "semester": "S1",
        "year": 2026, "credit_points": "12.5", "grade": "HD", "marks": "78.00", "grade_point": "4.0",
        "status": "COMPLETED", "course_code": "", "course_name": "", "completion_date": "2026-03-02",
        "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(ann.get(&at(TRANSCRIPTS, id)).await.expect(200), &wanted);
    assert_eq!(staff.get(TRANSCRIPTS).await.expect(200), &json!([wanted]));
}

#[tokio::test]
async fn a_transcript_row_is_seen_by_those_it_belongs_to_and_looks_absent_to_others() {
    let app = TestApp::start().await;
    let (ann, bob, convenor) = (app.student().await, app.student().await, app.convenor().await);
    let (elsewhere, here) = (app.offering(0).await, app.offering_of(app.unit_of(convenor.id).await, 0).await);
    let mut rows = Vec::new();
    for (student, offering, status) in
        [(&ann, elsewhere, "FAILED"), (&ann, here, "COMPLETED"), (&bob, elsewhere, "COMPLETED")]
    {
        rows.push(row_of(&app, app.enrollment(student.id, offering, status).await).await);
    }
    for (name, person, sees) in people(&app, &ann, &bob, &convenor).await {
        let seen: Vec<Id> = rows.iter().zip(sees).filter(|(_, sees)| *sees).map(|(row, _)| *row).collect();
        assert_eq!(person.get(TRANSCRIPTS).await.ids(), seen, "{name}");
        for row in &rows {
            let status = if seen.contains(row) { 200 } else { 404 };
            assert_eq!(person.get(&at(TRANSCRIPTS, row)).await.status, status, "{name}: {row}");
        }
    }
}

#[tokio::test]
async fn a_summary_and_an_export_are_seen_whole_or_look_absent() {
    let app = TestApp::start().await;
    let (ann, bob, convenor) = (app.student().await, app.student().await, app.convenor().await);
    let (elsewhere, here) = (app.offering(0).await, app.offering_of(app.unit_of(convenor.id).await, 0).await);
    app.enrollment(ann.id, elsewhere, "FAILED").await;
    app.enrollment(ann.id, here, "COMPLETED").await;
    app.enrollment(bob.id, elsewhere, "COMPLETED").await;
    // Given back: no student of the unit.
    app.enrollment(bob.id, here, "WITHDRAWN").await;

    let whole = ann.get(SUMMARY).await.expect(200).clone();
    assert_eq!(whole, json!({ "gpa": 0.5, "total_credit_points": 12.5, "total_units_completed": 1 }));
    for (name, person, sees) in people(&app, &ann, &bob, &convenor).await {
        for (student, sees) in [(&ann, sees[1]), (&bob, sees[2])] {
            let summary = person.get(&format!("{SUMMARY}?student={}", student.id)).await;
            let export = person.get(&format!("{EXPORT}?student={}", student.id)).await;
            let file = person.get(&format!("{EXPORT}?format=csv&student={}", student.id)).await;
            if sees {
                // Of what a convenor sees of the student, the half in another's unit is no part.
                let own = if person.id == convenor.id {
                    json!({ "gpa": 1.0, "total_credit_points": 12.5, "total_units_completed": 1 })
                } else {
                    student.get(SUMMARY).await.expect(200).clone()
                };
                assert_eq!(summary.expect(200), &own, "{name}");
                assert_eq!(export.expect(200)["summary"], own, "{name}");
                assert_eq!(file.status, 200, "{name}");
            } else {
                let refused = [summary.refusal(), export.refusal(), file.refusal()];
                assert_eq!(refused, [(404, "not_found"); 3], "{name}");
            }
        }
        for path in [SUMMARY, EXPORT] {
            let unnamed = person.get(path).await;
            if person.user_type == "student" {
                unnamed.expect(200);
            } else {
                assert_eq!((unnamed.refusal(), faulty(&unnamed)), ((400, "invalid"), ["student".to_owned()].into()));
            }
        }
    }
}

#[tokio::test]
async fn a_convenor_sees_the_results_of_those_who_sit_in_their_units_and_no_longer() {
    let app = TestApp::start().await;
    let (ann, convenor) = (app.student().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let enrollment = app.enrollment(ann.id, app.offering_of(unit, 0).await, "PENDING").await;
    let path = format!("{SUMMARY}?student={}", ann.id);
    // Who asks for a seat opens nothing yet.
    assert_eq!(convenor.get(&path).await.refusal(), (404, "not_found"));
    run(&app.db, "update enrollments set status = 'ENROLLED'").await;
    convenor.get(&path).await.expect(200);
    run(&app.db, format!("update enrollments set deleted_at = rule_now() where id = {enrollment}")).await;
    assert_eq!(convenor.get(&path).await.refusal(), (404, "not_found"));
    run(&app.db, "update enrollments set deleted_at = null").await;
    convenor.get(&path).await.expect(200);
    run(&app.db, format!("update units set convenor_id = null where id = {unit}")).await;
    assert_eq!(convenor.get(&path).await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn only_students_have_a_summary_and_unknown_parameters_are_named() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    for student in [987_654, staff.id.0] {
        for path in [SUMMARY, EXPORT] {
            assert_eq!(staff.get(&format!("{path}?student={student}")).await.refusal(), (404, "not_found"));
            assert_eq!(ann.get(&format!("{path}?student={student}")).await.refusal(), (404, "not_found"));
        }
    }
    for (path, field) in [
        (format!("{SUMMARY}?studnet=1"), "studnet"),
        (format!("{SUMMARY}?format=csv"), "format"),
        (format!("{SUMMARY}?explain=perhaps"), "explain"),
        (format!("{SUMMARY}?student=x"), "student"),
        (format!("{EXPORT}?explain=true"), "explain"),
        (format!("{EXPORT}?format=pdf"), "format"),
        (format!("{TRANSCRIPTS}?format=csv"), "format"),
    ] {
        let refused = ann.get(&path).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{path}");
    }
}

/// Three results of Ann's, in other order than the calendar's: S2, SS and S1. Returns the enrolments.
async fn three_results(app: &TestApp, ann: &Person) -> [Id; 3] {
    let mut made = [Id(0); 3];
    for (place, (status, grade, point, credits, semester)) in [
        ("COMPLETED", "P", "1.0", "25", "S2"),
        ("FAILED", "N", "0.0", "12.5", "SS"),
        ("COMPLETED", "A-", "3.7", "12.5", "S1"),
    ]
    .into_iter()
    .enumerate()
    {
        made[place] = app.enrollment(ann.id, app.offering(0).await, status).await;
        let sql = format!(
            "update transcripts
                set grade = '{grade}', grade_point = {point}, credit_points = {credits}, semester = '{semester}',
                    unit_code = 'UNT{place}', unit_name = 'Unit {place}'
              where enrollment_id = {}",
            made[place]
        );
        run(&app.db, sql).await;
    }
    made
}

#[tokio::test]
async fn the_average_weighs_grades_by_credit_points_and_can_explain_itself() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let nothing = json!({ "gpa": null, "total_credit_points": 0.0, "total_units_completed": 0 });
    assert_eq!(ann.get(SUMMARY).await.expect(200), &nothing);

    let made = three_results(&app, &ann).await;
    let [second, summer, first] =
        [row_of(&app, made[0]).await, row_of(&app, made[1]).await, row_of(&app, made[2]).await];
    // (25 × 1.0 + 12.5 × 0.0 + 12.5 × 3.7) / 50 = 1.425, which is rounded up.
    let summary = json!({ "gpa": 1.43, "total_credit_points": 37.5, "total_units_completed": 2 });
    assert_eq!(ann.get(SUMMARY).await.expect(200), &summary);
    assert_eq!(ann.get(&format!("{SUMMARY}?explain=false")).await.expect(200), &summary);
    let explained = json!({
        "gpa": 1.43, "total_credit_points": 37.5, "total_units_completed": 2, "repeats": "all",
        "rows": [
            {
                "id": first, "enrollment": made[2], "year": 2026, "semester": "S1", "unit_code": "UNT2",
                "unit_name": "Unit 2", "status": "COMPLETED", "grade": "A-", "grade_point": 3.7,
                "counts": true, "credit_points": 12.5, "product": 46.25,
            },
            {
                "id": second, "enrollment": made[0], "year": 2026, "semester": "S2", "unit_code": "UNT0",
                "unit_name": "Unit 0", "status": "COMPLETED", "grade": "P", "grade_point": 1.0,
                "counts": true, "credit_points": 25.0, "product": 25.0,
            },
            {
                "id": summer, "enrollment": made[1], "year": 2026, "semester": "SS", "unit_code": "UNT1",
                "unit_name": "Unit 1", "status": "FAILED", "grade": "N", "grade_point": 0.0,
                "counts": true, "credit_points": 12.5, "product": 0.0,
            },
        ],
        "sums": { "products": 71.25, "credit_points": 50.0 },
    });
    assert_eq!(ann.get(&format!("{SUMMARY}?explain=true")).await.expect(200), &explained);
    // The same on the profile.
    let profiles = staff.get(&format!("/api/users/student-profiles/?user={}", ann.id)).await;
    assert_eq!(profiles.expect(200)[0]["current_gpa"], json!("1.43"));

    run(&app.db, format!("update transcripts set deleted_at = rule_now() where id = {first}")).await;
    let without = json!({ "gpa": 0.67, "total_credit_points": 25.0, "total_units_completed": 1 });
    assert_eq!(ann.get(SUMMARY).await.expect(200), &without);
}

#[tokio::test]
async fn of_several_results_in_a_unit_the_setting_says_which_count() {
    let app = TestApp::start().await;
    let (ann, bob, staff) = (app.student().await, app.student().await, app.staff().await);
    let (unit, other) = (app.unit().await, app.unit().await);
    // By the day of completion HD is not the latest, nor is it the last in the calendar.
    let mut made = Vec::new();
    for (unit, year, day, status, grade, point) in [
        (unit, 2023, "2023-06-20", "FAILED", "N", "0.0"),
        (unit, 2024, "2024-06-20", "COMPLETED", "HD", "4.0"),
        (unit, 2025, "2025-06-20", "COMPLETED", "P", "1.0"),
        (other, 2025, "2025-06-20", "COMPLETED", "C", "2.0"),
    ] {
        let offering = app.offering_of(unit, 0).await;
        run(&app.db, format!("update offerings set year = {year} where id = {offering}")).await;
        let enrollment = app.enrollment(ann.id, offering, status).await;
        let sql = format!(
            "update transcripts
                set grade = '{grade}', grade_point = {point}, completion_date = '{day}', year = {year}
              where enrollment_id = {enrollment}"
        );
        run(&app.db, sql).await;
        made.push(enrollment);
    }
    // Somebody else's result in the same unit is none of hers.
    app.enrollment(bob.id, app.offering_of(other, 0).await, "FAILED").await;

    let by = async |setting: Option<&str>| match setting {
        Some(setting) => app.another_server().with("GPA_REPEATS", setting).start().await,
        None => app.second_server().await,
    };
    for (setting, gpa, products, counting) in [
        (None, "1.75", 87.5, vec![0, 1, 2, 3]),
        (Some("all"), "1.75", 87.5, vec![0, 1, 2, 3]),
        (Some("best"), "3.00", 75.0, vec![1, 3]),
        (Some("latest"), "1.50", 37.5, vec![2, 3]),
    ] {
        let server = by(setting).await;
        let explained = ann.at(&server).get(&format!("{SUMMARY}?explain=true")).await;
        let explained = explained.expect(200);
        assert_eq!(explained["repeats"], setting.unwrap_or("all"));
        let number: f64 = gpa.parse().unwrap();
        assert_eq!(explained["gpa"], json!(number), "{setting:?}");
        let credit = json!(12.5 * f64::from(u32::try_from(counting.len()).unwrap()));
        assert_eq!(explained["sums"], json!({ "products": products, "credit_points": credit }));
        let rows = explained["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 4, "all results are shown");
        let counted: Vec<usize> = (0..4)
            .filter(|place| rows.iter().any(|row| row["enrollment"] == json!(made[*place]) && row["counts"] == true))
            .collect();
        assert_eq!(counted, counting, "{setting:?}");
        // Credit does not follow the setting, and every average does.
        assert_eq!((&explained["total_credit_points"], &explained["total_units_completed"]), (&json!(25.0), &json!(2)));
        let export = ann.at(&server).get(EXPORT).await;
        assert_eq!(
            (&export.expect(200)["summary"]["gpa"], export.body["rows"][0].get("counts")),
            (&json!(number), None)
        );
        let file = String::from_utf8(ann.at(&server).get(&format!("{EXPORT}?format=csv")).await.bytes).unwrap();
        assert!(file.lines().skip(1).all(|line| line.contains(&format!(",{gpa},25.0,2"))), "{file}");
        let profiles = staff.at(&server).get(&format!("/api/users/student-profiles/?user={}", ann.id)).await;
        assert_eq!(profiles.expect(200)[0]["current_gpa"], json!(gpa), "{setting:?}");
    }

    // Equal results: the one with more marks is the better.
    let grade = "grade = 'HD', grade_point = 4.0, status = 'COMPLETED'";
    run(
        &app.db,
        format!("update transcripts set {grade}, marks = 80 where enrollment_id in ({}, {})", made[1], made[2]),
    )
    .await;
    run(&app.db, format!("update transcripts set marks = 95, credit_points = 25 where enrollment_id = {}", made[1]))
        .await;
    let best = ann.at(&by(Some("best")).await).get(&format!("{SUMMARY}?explain=true")).await;
    assert_eq!(best.expect(200)["sums"], json!({ "products": 125.0, "credit_points": 37.5 }));
}

#[tokio::test]
async fn an_exported_transcript_is_whole_and_dated_where_the_university_is() {
    let app = TestApp::with(&[("TIME_ZONE", "America/Los_Angeles")]).await;
    let ann = app.student().await;
    let course = app.course().await;
    run(&app.db, format!("update courses set code = 'BA-CS', name = '+Computing, \"all\"' where id = {course}")).await;
    run(&app.db, format!("update student_profiles set student_id = 'S 1\"', course_id = {course}")).await;
    let made = three_results(&app, &ann).await;
    let name = "set official_first_name = '=1+1', official_last_name = 'Ånn'";
    run(&app.db, format!("update users {name} where id = {}", ann.id)).await;
    run(&app.db, "update transcripts set marks = 78, unit_name = '@sum' where unit_code = 'UNT2'").await;

    let line = async |place: usize, semester: &str, name: &str, result: [&str; 4], marks: Option<&str>| {
        json!({
            "id": row_of(&app, made[place]).await, "enrollment": made[place], "year": 2026, "semester": semester,
            "unit_code": format!("UNT{place}"), "unit_name": name, "credit_points": result[0], "status": result[1],
            "grade": result[2], "marks": marks, "grade_point": result[3], "completion_date": "2026-03-02",
            "course_code": "BA-CS", "course_name": "+Computing, \"all\"",
        })
    };
    let wanted = json!({
        "student": ann.id, "student_name": "=1+1 Ånn", "student_number": "S 1\"", "course_code": "BA-CS",
        "course_name": "+Computing, \"all\"", "date_issued": "2026-03-01",
        "rows": [
            line(2, "S1", "@sum", ["12.5", "COMPLETED", "A-", "3.7"], Some("78.00")).await,
            line(0, "S2", "Unit 0", ["25.0", "COMPLETED", "P", "1.0"], None).await,
            line(1, "SS", "Unit 1", ["12.5", "FAILED", "N", "0.0"], None).await,
        ],
        "summary": { "gpa": 1.43, "total_credit_points": 37.5, "total_units_completed": 2 },
    });
    assert_eq!(ann.get(EXPORT).await.expect(200), &wanted);
    assert_eq!(ann.get(&format!("{EXPORT}?format=json&student={}", ann.id)).await.expect(200), &wanted);

    let file = ann.get(&format!("{EXPORT}?format=csv")).await;
    file.expect(200);
    assert_eq!(file.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"transcript-S_1_.csv\""));
    // No spreadsheet calculates a name that somebody chose.
    let facts = "\"S 1\"\"\",'=1+1 Ånn,BA-CS,\"'+Computing, \"\"all\"\"\",2026-03-01,2026";
    let sums = "2026-03-02,1.43,37.5,2";
    let wanted = [
        "\u{feff}student_number,student_name,course_code,course_name,date_issued,year,semester,unit_code,unit_name,credit_points,\
         status,grade,marks,grade_point,completion_date,gpa,total_credit_points,total_units_completed"
            .to_owned(),
        format!("{facts},S1,UNT2,'@sum,12.5,COMPLETED,A-,78.00,3.7,{sums}"),
        format!("{facts},S2,UNT0,Unit 0,25.0,COMPLETED,P,,1.0,{sums}"),
        format!("{facts},SS,UNT1,Unit 1,12.5,FAILED,N,,0.0,{sums}"),
        String::new(),
    ];
    assert_eq!(String::from_utf8(file.bytes).unwrap(), wanted.join("\r\n"));
}

#[tokio::test]
async fn without_a_result_or_a_profile_there_is_still_a_transcript() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    run(&app.db, "update student_profiles set deleted_at = rule_now()").await;
    let wanted = json!({
        "student": ann.id, "student_name": format!("{} {}", ann.first_name, ann.last_name), "student_number": "",
        "course_code": "", "course_name": "", "date_issued": "2026-03-02", "rows": [],
        "summary": { "gpa": null, "total_credit_points": 0.0, "total_units_completed": 0 },
    });
    assert_eq!(ann.get(EXPORT).await.expect(200), &wanted);
    let file = ann.get(&format!("{EXPORT}?format=csv")).await;
    let name = format!("attachment; filename=\"transcript-{}.csv\"", ann.id);
    assert_eq!(file.header("content-disposition"), Some(name.as_str()));
    assert_eq!(String::from_utf8(file.bytes).unwrap().lines().count(), 1, "the header");
}

#[tokio::test]
async fn transcripts_are_filtered_and_ordered() {
    let app = TestApp::start().await;
    let (ann, bob, staff) = (app.student().await, app.student().await, app.staff().await);
    let made = three_results(&app, &ann).await;
    let (second, summer, first) =
        (row_of(&app, made[0]).await, row_of(&app, made[1]).await, row_of(&app, made[2]).await);
    let bobs = row_of(&app, app.enrollment(bob.id, app.offering(0).await, "COMPLETED").await).await;
    run(&app.db, format!("update transcripts set year = 2025, unit_code = 'AAA' where id = {bobs}")).await;
    for (query, wanted) in [
        (String::new(), vec![second, summer, first, bobs]),
        ("?ordering=year,semester,unit_code".to_owned(), vec![bobs, first, second, summer]),
        ("?ordering=-unit_code".to_owned(), vec![first, summer, second, bobs]),
        (format!("?student={}", bob.id), vec![bobs]),
        (format!("?enrollment={}", made[1]), vec![summer]),
        ("?unit_code=UNT0".to_owned(), vec![second]),
        ("?status=FAILED".to_owned(), vec![summer]),
        ("?grade=A-".to_owned(), vec![first]),
        ("?year=2025".to_owned(), vec![bobs]),
        ("?semester=S2".to_owned(), vec![second]),
    ] {
        assert_eq!(staff.get(&format!("{TRANSCRIPTS}{query}")).await.ids(), wanted, "{query}");
    }
}
