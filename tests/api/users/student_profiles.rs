//! Student profiles: who reads and writes them, and what the server computes.

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::support::{Person, TestApp};

const PROFILES: &str = "/api/users/student-profiles/";

/// The id of a student's profile.
async fn profile(app: &TestApp, student: Id) -> Id {
    let id =
        sqlx::query_scalar!("select id from student_profiles where user_id = $1 and deleted_at is null", student.0);
    Id(id.fetch_one(&app.db).await.unwrap())
}

fn one(id: Id) -> String {
    format!("{PROFILES}{id}/")
}

/// A student without a profile, as an import of old accounts leaves one.
async fn student_without_profile(app: &TestApp) -> Person {
    let student = app.student().await;
    let gone = sqlx::query!("delete from student_profiles where user_id = $1", student.id.0);
    gone.execute(&app.db).await.unwrap();
    student
}

/// A graded unit of a student.
async fn graded(app: &TestApp, student: Id, status: &str, grade: &str, grade_point: &str, credit_points: &str) -> Id {
    let offering = app.offering(0).await;
    let enrollment = app.enrollment(student, offering, status).await;
    let graded = sqlx::query!(
        "update transcripts
            set grade = $2, grade_point = $3::text::numeric, credit_points = $4::text::numeric
          where enrollment_id = $1",
        enrollment.0,
        grade,
        grade_point,
        credit_points
    );
    assert_eq!(graded.execute(&app.db).await.unwrap().rows_affected(), 1);
    enrollment
}

#[tokio::test]
async fn staff_create_show_replace_change_delete_and_restore_a_profile() {
    let app = TestApp::start().await;
    let (staff, admin, student) = (app.staff().await, app.admin().await, student_without_profile(&app).await);
    let course = app.course().await;
    let sent = json!({
        "user": student.id.to_string(),
        "student_id": "104-555-X",
        "enrollment_date": "2025-02-24",
        "expected_graduation": "2028-12-01",
        "course": course,
        "academic_status": "probation",
    });
    let created = staff.post(PROFILES, &sent).await;
    let id = Id(created.expect(201)["id"].as_i64().unwrap());
    let expected = json!({
        "id": id,
        "user": student.id,
        "student_id": "104-555-X",
        "enrollment_date": "2025-02-24",
        "expected_graduation": "2028-12-01",
        "course": course,
        "current_gpa": null,
        "academic_status": "probation",
        "created_at": "2026-03-02T02:00:00.000000Z",
        "updated_at": "2026-03-02T02:00:00.000000Z",
    });
    assert_eq!(created.body, expected);
    let shown = staff.get(&one(id)).await;
    assert_eq!(shown.expect(200), &expected);

    let changed =
        staff.patch(&one(id), &json!({ "course": "", "expected_graduation": null, "current_gpa": "4.00" })).await;
    let mut after = expected.clone();
    after["course"] = json!(null);
    after["expected_graduation"] = json!(null);
    assert_eq!(changed.expect(200), &after);
    let stale = staff.with("If-Match", shown.header("etag").unwrap()).patch(&one(id), &json!({})).await;
    assert_eq!(stale.refusal(), (412, "stale"));

    let replaced = staff.put(&one(id), &json!({ "user": student.id, "student_id": "7" })).await;
    after["student_id"] = json!("7");
    after["academic_status"] = json!("good");
    assert_eq!(replaced.expect(200), &after, "what is left out has its default, a date its value");

    staff.delete(&one(id)).await.expect(204);
    assert_eq!((staff.get(&one(id)).await.status.as_u16(), staff.delete(&one(id)).await.status.as_u16()), (404, 404));
    assert_eq!(staff.post_bare(&format!("{}restore/", one(id))).await.status, 403);
    admin.post_bare(&format!("{}restore/", one(id))).await.expect(200);
    assert_eq!(staff.get(&one(id)).await.expect(200)["student_id"], json!("7"));
}

#[tokio::test]
async fn a_profile_needs_nothing_but_its_student() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, student_without_profile(&app).await);
    let reply = staff.post(PROFILES, &json!({ "user": student.id })).await;
    let made = reply.expect(201);
    assert_eq!(made["student_id"], json!(format!("S-{:08}", student.id.0)));
    assert_eq!((&made["enrollment_date"], &made["academic_status"]), (&json!("2026-03-02"), &json!("good")));
    // An empty number on a change leaves the one that is there.
    let changed = staff.patch(&one(Id(made["id"].as_i64().unwrap())), &json!({ "student_id": "" })).await;
    assert_eq!(changed.expect(200)["student_id"], made["student_id"]);
}

#[tokio::test]
async fn students_read_their_own_profile_convenors_their_students_and_staff_all() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = (app.student().await, app.student().await, app.student().await);
    let (convenor, colleague) = (app.convenor().await, app.convenor().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    app.enrollment(bob.id, offering, "PENDING").await;
    app.enrollment(eve.id, offering, "WITHDRAWN").await;
    let (of_ann, of_bob, of_eve) =
        (profile(&app, ann.id).await, profile(&app, bob.id).await, profile(&app, eve.id).await);
    let all = vec![of_ann, of_bob, of_eve];
    let (staff, auditor, parent, admin) =
        (app.staff().await, app.auditor().await, app.parent().await, app.admin().await);

    for (person, expected) in [
        (&ann, vec![of_ann]),
        (&bob, vec![of_bob]),
        (&convenor, vec![of_bob]),
        (&colleague, vec![]),
        (&parent, vec![]),
        (&staff, all.clone()),
        (&auditor, all.clone()),
        (&admin, all.clone()),
    ] {
        assert_eq!(person.get(PROFILES).await.ids(), expected, "{}", person.username);
        for id in &all {
            let status = person.get(&one(*id)).await.status.as_u16();
            assert_eq!(status, if expected.contains(id) { 200 } else { 404 }, "{} looks at {id}", person.username);
        }
    }
    assert_eq!(app.anonymous().get(PROFILES).await.status, 401);
}

#[tokio::test]
async fn only_staff_write_profiles() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let without = student_without_profile(&app).await;
    let own = one(profile(&app, student.id).await);
    let before = rows(&app).await;
    let people = [student, app.parent().await, app.convenor().await, app.auditor().await];
    for person in &people {
        let user_type = &person.user_type;
        assert_eq!(person.patch(&own, &json!({ "academic_status": "graduated" })).await.status, 403, "{user_type}");
        assert_eq!(person.put(&own, &json!({ "user": people[0].id })).await.status, 403, "{user_type}");
        assert_eq!(person.delete(&own).await.status, 403, "{user_type}");
        assert_eq!(person.post(PROFILES, &json!({ "user": without.id })).await.status, 403, "{user_type}");
        assert_eq!(person.post_bare(&format!("{own}restore/")).await.status, 403, "{user_type}");
    }
    assert_eq!(app.anonymous().post(PROFILES, &json!({})).await.status, 401);
    assert_eq!(rows(&app).await, before);
}

async fn rows(app: &TestApp) -> Vec<Value> {
    let rows = sqlx::query_scalar!(r#"select to_jsonb(p) as "row!" from student_profiles p order by id"#);
    rows.fetch_all(&app.db).await.unwrap()
}

#[tokio::test]
async fn the_gpa_weighs_grade_points_by_credit_points() {
    let app = TestApp::start().await;
    let (student, staff) = (app.student().await, app.staff().await);
    let path = one(profile(&app, student.id).await);
    let gpa = async || staff.get(&path).await.expect(200)["current_gpa"].clone();
    assert_eq!(gpa().await, json!(null), "nothing counts yet");
    let waiting = app.offering(0).await;
    app.enrollment(student.id, waiting, "ENROLLED").await;
    assert_eq!(gpa().await, json!(null), "nothing is graded yet");

    graded(&app, student.id, "FAILED", "N", "0.0", "12.5").await;
    assert_eq!(gpa().await, json!("0.00"), "a failed unit counts");
    graded(&app, student.id, "COMPLETED", "HD", "4.0", "12.5").await;
    assert_eq!(gpa().await, json!("2.00"));
    graded(&app, student.id, "COMPLETED", "A-", "3.7", "25.0").await;
    // (0 × 12.5 + 4 × 12.5 + 3.7 × 25) / 50
    assert_eq!(gpa().await, json!("2.85"));
    let free = graded(&app, student.id, "COMPLETED", "P", "1.0", "0.0").await;
    assert_eq!(gpa().await, json!("2.85"), "no credit points, no weight");
    assert_eq!(student.get(PROFILES).await.expect(200)[0]["current_gpa"], json!("2.85"));

    // Another student's grades are another student's.
    let classmate = app.student().await;
    graded(&app, classmate.id, "COMPLETED", "P", "1.0", "12.5").await;
    assert_eq!(gpa().await, json!("2.85"));
    let deleted = sqlx::query!("update transcripts set deleted_at = now() where enrollment_id <> $1", free.0);
    deleted.execute(&app.db).await.unwrap();
    assert_eq!(gpa().await, json!(null), "deleted rows count for nothing, nor does a unit of no credit points");
}

#[tokio::test]
async fn the_gpa_is_rounded_half_up() {
    let app = TestApp::start().await;
    let student = app.student().await;
    // 17 / 8 = 2.125
    for (grade, point, credits) in [("HD", "4.0", "3.0"), ("P", "1.0", "5.0")] {
        graded(&app, student.id, "COMPLETED", grade, point, credits).await;
    }
    let shown = student.get(PROFILES).await.expect(200)[0]["current_gpa"].clone();
    assert_eq!(shown, json!("2.13"));
}

#[tokio::test]
async fn a_taken_number_and_a_second_profile_are_refused_by_name() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let without = student_without_profile(&app).await;
    let number = staff.get(&one(profile(&app, ann.id).await)).await.expect(200)["student_id"].clone();

    let taken = staff.post(PROFILES, &json!({ "user": without.id, "student_id": number })).await;
    assert_eq!((taken.refusal(), taken.errors("student_id").len()), ((409, "already_taken"), 1));
    let taken = staff.patch(&one(profile(&app, bob.id).await), &json!({ "student_id": number })).await;
    assert_eq!((taken.refusal(), taken.errors("student_id").len()), ((409, "already_taken"), 1));
    let second = staff.post(PROFILES, &json!({ "user": ann.id, "student_id": "new" })).await;
    assert_eq!((second.refusal(), second.errors("user").len()), ((409, "already_taken"), 1));

    // A deleted profile gives its number back, and stays away as long as another has it.
    let first = profile(&app, ann.id).await;
    staff.delete(&one(first)).await.expect(204);
    staff.post(PROFILES, &json!({ "user": without.id, "student_id": number })).await.expect(201);
    let admin = app.admin().await;
    let restore = format!("{}restore/", one(first));
    let refused = admin.post_bare(&restore).await;
    assert_eq!((refused.refusal(), refused.errors("student_id").len()), ((409, "already_taken"), 1));
}

#[tokio::test]
async fn who_and_what_a_profile_names_must_be_there() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let student = student_without_profile(&app).await;
    let gone = app.course().await;
    admin.delete(&format!("/api/academic/courses/{gone}/")).await.expect(204);
    let missing = 9_007_199_254_740_990_i64;
    for (body, fields) in [
        (json!({}), vec!["user"]),
        (json!({ "user": admin.id }), vec!["user"]),
        (json!({ "user": missing, "course": missing }), vec!["course", "user"]),
        (json!({ "user": student.id, "course": gone }), vec!["course"]),
        (
            json!({ "user": "", "course": gone, "student_id": "x".repeat(33), "academic_status": "bored" }),
            vec!["academic_status", "course", "student_id", "user"],
        ),
    ] {
        let reply = staff.post(PROFILES, &body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert_eq!(reply.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), fields, "{body}");
    }
    let dates = json!({ "user": student.id, "enrollment_date": "2026-01-02", "expected_graduation": "2026-01-01" });
    let reply = staff.post(PROFILES, &dates).await;
    assert_eq!((reply.status.as_u16(), reply.errors("expected_graduation").len()), (400, 1), "{}", reply.body);
    for (field, value) in [("enrollment_date", json!("2026-02-30")), ("course", json!("x")), ("student_id", json!(5))] {
        let reply = staff.post(PROFILES, &json!({ "user": student.id, field: value })).await;
        assert_eq!((reply.status.as_u16(), reply.errors(field).len()), (400, 1), "{}", reply.body);
    }
}

#[tokio::test]
async fn a_course_that_is_being_deleted_takes_no_student() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (student, course) = (student_without_profile(&app).await, app.course().await);
    let mut halfway = app.transaction().await;
    let deleting = sqlx::query!("update courses set deleted_at = now() where id = $1", course.0);
    deleting.execute(&mut *halfway).await.unwrap();
    let wanted = json!({ "user": student.id, "course": course });
    let (reply, ()) = tokio::join!(staff.post(PROFILES, &wanted), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!((reply.status.as_u16(), reply.errors("course").len()), (400, 1), "{}", reply.body);
    // And the other way round: the course of a profile stays.
    let course = app.course().await;
    staff.post(PROFILES, &json!({ "user": student.id, "course": course })).await.expect(201);
    let refused = staff.delete(&format!("/api/academic/courses/{course}/")).await;
    assert_eq!(
        (refused.refusal(), &refused.body["counts"]),
        ((409, "still_referred_to"), &json!({ "student_profiles": 1 }))
    );
}

#[tokio::test]
async fn profiles_are_filtered_and_ordered() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let (of_ann, of_bob) = (profile(&app, ann.id).await, profile(&app, bob.id).await);
    let course = app.course().await;
    let changed = sqlx::query!(
        "update student_profiles
            set course_id = $2, academic_status = 'probation', student_id = 'A1', enrollment_date = '2027-01-01'
          where id = $1",
        of_bob.0,
        course.0
    );
    changed.execute(&app.db).await.unwrap();
    for (query, expected) in [
        (format!("user={}", ann.id), vec![of_ann]),
        (format!("course={course}"), vec![of_bob]),
        ("student_id=A1".to_owned(), vec![of_bob]),
        ("academic_status=good".to_owned(), vec![of_ann]),
        ("ordering=student_id".to_owned(), vec![of_bob, of_ann]),
        ("ordering=-enrollment_date".to_owned(), vec![of_bob, of_ann]),
        ("ordering=-id".to_owned(), vec![of_bob, of_ann]),
    ] {
        assert_eq!(staff.get(&format!("{PROFILES}?{query}")).await.ids(), expected, "{query}");
    }
    for (query, field) in [("academic_status=bored", "academic_status"), ("gpa=4", "gpa"), ("course=x", "course")] {
        let reply = staff.get(&format!("{PROFILES}?{query}")).await;
        assert_eq!((reply.status.as_u16(), reply.errors(field).len()), (400, 1), "{query}");
    }
}

#[tokio::test]
async fn a_course_that_is_closed_takes_nobody_new_and_lets_who_is_in_it_finish() {
    let app = TestApp::start().await;
    let (staff, inside, outside) = (app.staff().await, app.student().await, app.student().await);
    let course = app.course().await;
    let profile_of = async |student: Id| {
        let found = staff.get(&format!("/api/users/student-profiles/?user={student}")).await.ids()[0];
        format!("/api/users/student-profiles/{found}/")
    };
    staff.patch(&profile_of(inside.id).await, &json!({ "course": course })).await.expect(200);
    staff.patch(&format!("/api/academic/courses/{course}/"), &json!({ "is_active": false })).await.expect(200);
    let refused = staff.patch(&profile_of(outside.id).await, &json!({ "course": course })).await;
    assert_eq!(refused.errors("course"), ["This course takes no new students."]);
    staff
        .patch(&profile_of(inside.id).await, &json!({ "course": course, "academic_status": "probation" }))
        .await
        .expect(200);
    let (unit, mine) = (app.unit().await, json!({ "course": course }));
    let placed = json!({ "course": course, "unit": unit });
    staff.post("/api/academic/course-units/", &placed).await.expect(201);
    let offering = app.offering_of(unit, 0).await;
    inside.post("/api/enrollment/enrollments/", &json!({ "offering": offering })).await.expect(201);
    let made = json!({
        "username": "new.student", "email": "new@example.edu", "password": "harbour-Quilt-77",
        "confirm_password": "harbour-Quilt-77", "user_type": "student",
        "first_name": "New", "last_name": "Student", "course": mine["course"],
    });
    let admin = app.admin().await;
    assert_eq!(admin.post("/api/users/users/", &made).await.errors("course"), ["This course takes no new students."]);
}
