//! The rules for enrolling: each alone, all at once, and only asked about.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::{ENROLLMENTS, everything, step, taken, told};
use crate::academic::{OFFERINGS, at, id_of, run};
use crate::support::{NOW, Person, TestApp};

const DRY: &str = "/api/enrollment/enrollments/?dry_run=true";

/// A student, an offering that nothing stands against, and who enrols.
struct Scene {
    app: TestApp,
    student: Person,
    unit: Id,
    unit_code: String,
    offering: Id,
}

impl Scene {
    async fn set() -> Self {
        let app = TestApp::with(&[("MAX_PENDING", "3")]).await;
        let student = app.student().await;
        let unit = app.unit().await;
        let offering = app.offering_of(unit, 0).await;
        let unit_code = code_of(&app, unit).await;
        Self { app, student, unit, unit_code, offering }
    }

    fn class(&self) -> String {
        format!("{} 2026 S1", self.unit_code)
    }

    /// Another offering of the unit.
    async fn earlier_offering(&self, year: i32, semester: &str) -> Id {
        let offering = self.app.offering(0).await;
        run(
            &self.app.db,
            format!(
                "with i as (insert into intakes (year, semester) values ({year}, '{semester}') returning id)
                 update offerings
                    set unit_id = {}, year = {year}, semester = '{semester}', intake_id = (select id from i)
                  where id = {offering}",
                self.unit
            ),
        )
        .await;
        offering
    }

    /// Breaks the rule of this code; the reason that is to be given for it.
    #[allow(clippy::too_many_lines, reason = "one arm for each rule of the book")]
    async fn break_rule(&self, code: &str) -> Value {
        let Self { app, student, unit, offering, .. } = self;
        let (class, unit_code) = (self.class(), &self.unit_code);
        let reason = |detail: String, facts: Value| json!({ "code": code, "detail": detail, "facts": facts });
        match code {
            "not_a_student" => {
                run(&app.db, format!("update users set user_type = 'staff' where id = {}", student.id)).await;
                reason("Only active students can enrol.".into(), json!({}))
            }
            "offering_inactive" => {
                run(&app.db, format!("update offerings set is_active = false where id = {offering}")).await;
                reason(format!("{class} does not take students."), json!({}))
            }
            "window_not_open" => {
                let start = "2026-03-02T02:00:00.000001Z";
                run(&app.db, format!("update offerings set enrollment_start = '{start}' where id = {offering}")).await;
                reason(
                    "Enrolment opens on 2 Mar 2026, 09:00 (Asia/Ho_Chi_Minh).".into(),
                    json!({ "enrollment_start": start }),
                )
            }
            "window_closed" => {
                // The end itself is outside.
                run(&app.db, format!("update offerings set enrollment_end = '{NOW}' where id = {offering}")).await;
                let end = "2026-03-02T02:00:00.000000Z";
                reason(
                    "Enrolment closed on 2 Mar 2026, 09:00 (Asia/Ho_Chi_Minh).".into(),
                    json!({ "enrollment_end": end }),
                )
            }
            "offering_full" => {
                run(&app.db, format!("update offerings set capacity = 1 where id = {offering}")).await;
                if taken(app, *offering).await == 0 {
                    app.enrollment(app.student().await.id, *offering, "ENROLLED").await;
                }
                reason(format!("All 1 seats of {class} are taken."), json!({ "capacity": 1, "current_enrollment": 1 }))
            }
            "prerequisite_missing" => {
                let (one, other) = (app.unit().await, app.unit().await);
                let (first, second) = (code_of(app, one).await, code_of(app, other).await);
                // Failed is not completed.
                app.enrollment(student.id, app.offering_of(one, 0).await, "FAILED").await;
                for needed in [one, other] {
                    run(
                        &app.db,
                        format!("insert into unit_prerequisites (unit_id, prerequisite_id) values ({unit}, {needed})"),
                    )
                    .await;
                }
                let missing = json!([
                    { "id": one, "code": first, "name": name_of(app, one).await },
                    { "id": other, "code": second, "name": name_of(app, other).await },
                ]);
                reason(format!("Not completed yet, but required: {first}, {second}."), json!({ "missing": missing }))
            }
            "anti_requisite" => {
                let other = app.unit().await;
                let other_code = code_of(app, other).await;
                let elsewhere = app.offering_of(other, 0).await;
                let enrollment = app.enrollment(student.id, elsewhere, "COMPLETED").await;
                run(
                    &app.db,
                    format!("insert into unit_anti_requisites values ({}, {})", unit.min(&other), unit.max(&other)),
                )
                .await;
                reason(
                    format!("{unit_code} cannot be taken beside {other_code} 2026 S1 (COMPLETED)."),
                    json!({ "enrollments": [standing(enrollment, elsewhere, &other_code, 2026, "COMPLETED")] }),
                )
            }
            "already_enrolled" => {
                run(&app.db, "update offerings set capacity = capacity + 1 where capacity > 0").await;
                let enrollment = app.enrollment(student.id, *offering, "FAILED").await;
                reason(
                    format!("There is an enrolment in {class} already (FAILED)."),
                    json!({ "enrollment": enrollment, "status": "FAILED" }),
                )
            }
            "already_in_unit" => {
                let earlier = self.earlier_offering(2025, "S1").await;
                let enrollment = app.enrollment(student.id, earlier, "PENDING").await;
                reason(
                    format!("There is an enrolment in another offering of the unit: {unit_code} 2025 S1 (PENDING)."),
                    json!({ "enrollments": [standing(enrollment, earlier, unit_code, 2025, "PENDING")] }),
                )
            }
            "already_completed" => {
                let earlier = self.earlier_offering(2024, "S2").await;
                let enrollment = app.enrollment(student.id, earlier, "COMPLETED").await;
                let mut there = standing(enrollment, earlier, unit_code, 2024, "COMPLETED");
                there["semester"] = json!("S2");
                reason(format!("{unit_code} has been completed already."), json!({ "enrollments": [there] }))
            }
            "not_in_course" => {
                let course = app.course().await;
                let names = sqlx::query!("select code, name from courses where id = $1", course.0);
                let names = names.fetch_one(&app.db).await.unwrap();
                run(
                    &app.db,
                    format!("update student_profiles set course_id = {course} where user_id = {}", student.id),
                )
                .await;
                reason(
                    format!("{unit_code} is not a unit of the course {}, nor an elective.", names.code),
                    json!({ "course": { "id": course, "code": names.code, "name": names.name } }),
                )
            }
            "too_many_pending" => {
                let pending = sqlx::query_scalar!(
                    r#"select count(*) as "n!" from enrollments where status = 'PENDING' and student_id = $1"#,
                    student.id.0
                );
                let pending = pending.fetch_one(&app.db).await.unwrap();
                for _ in pending..3 {
                    app.enrollment(student.id, app.offering(0).await, "PENDING").await;
                }
                reason(
                    "3 enrolments wait for approval already; at most 3 may.".into(),
                    json!({ "pending": 3, "max_pending": 3 }),
                )
            }
            _ => panic!("no rule is called {code}"),
        }
    }
}

async fn code_of(app: &TestApp, unit: Id) -> String {
    sqlx::query_scalar!("select code from units where id = $1", unit.0).fetch_one(&app.db).await.unwrap()
}

async fn name_of(app: &TestApp, unit: Id) -> String {
    sqlx::query_scalar!("select name from units where id = $1", unit.0).fetch_one(&app.db).await.unwrap()
}

fn standing(enrollment: Id, offering: Id, unit_code: &str, year: i32, status: &str) -> Value {
    json!({
        "enrollment": enrollment, "offering": offering, "unit_code": unit_code, "year": year, "semester": "S1",
        "status": status,
    })
}

/// The rule book, with the status of a refusal for that reason alone.
const RULES: [(&str, u16); 12] = [
    ("not_a_student", 400),
    ("offering_inactive", 400),
    ("window_not_open", 400),
    ("window_closed", 400),
    ("offering_full", 409),
    ("prerequisite_missing", 400),
    ("anti_requisite", 400),
    ("already_enrolled", 409),
    ("already_in_unit", 400),
    ("already_completed", 400),
    ("not_in_course", 400),
    ("too_many_pending", 400),
];

#[tokio::test]
async fn each_rule_alone_is_refused_with_its_reason_and_nothing_is_written() {
    for (code, status) in RULES {
        let scene = Scene::set().await;
        let reason = scene.break_rule(code).await;
        let before = everything(&scene.app).await;
        // Whoever is no student has no permission to enrol himself; staff enrol on behalf.
        let staff = scene.app.staff().await;
        let as_staff = code == "not_a_student";
        let (who, body) = if as_staff {
            (&staff, json!({ "offering": scene.offering, "student": scene.student.id }))
        } else {
            (&scene.student, json!({ "offering": scene.offering }))
        };
        let refused = who.post(ENROLLMENTS, &body).await;
        assert_eq!(refused.refusal(), (status, code), "{}", refused.body);
        assert_eq!(refused.body["detail"], reason["detail"]);
        assert_eq!(refused.body["reasons"], json!([reason]), "{code}");

        let tried = who.post(DRY, &body).await;
        assert_eq!(tried.expect(200), &json!({ "ok": false, "status": status, "reasons": [reason] }), "{code}");
        assert_eq!(everything(&scene.app).await, before, "{code}: nothing was written");
    }
}

#[tokio::test]
async fn all_rules_that_are_broken_are_told_at_once_in_their_order() {
    let scene = Scene::set().await;
    let mut codes = Vec::new();
    for (code, _) in RULES {
        // The window cannot be closed before it opens, and who is no student cannot ask.
        if !["not_a_student", "window_not_open"].contains(&code) {
            scene.break_rule(code).await;
            codes.push(code);
        }
    }
    let before = everything(&scene.app).await;
    let body = json!({ "offering": scene.offering });
    let refused = scene.student.post(ENROLLMENTS, &body).await;
    assert_eq!(refused.refusal(), (400, "enrollment_refused"));
    let told: Vec<&str> =
        refused.body["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect();
    assert_eq!(told, codes);
    for reason in refused.body["reasons"].as_array().unwrap() {
        assert!(refused.body["detail"].as_str().unwrap().contains(reason["detail"].as_str().unwrap()));
    }
    let tried = scene.student.post(DRY, &body).await;
    let wanted = json!({ "ok": false, "status": 400, "reasons": refused.body["reasons"] });
    assert_eq!(tried.expect(200), &wanted);
    assert_eq!(everything(&scene.app).await, before);
}

#[tokio::test]
async fn full_and_already_enrolled_together_are_a_conflict() {
    let scene = Scene::set().await;
    scene.break_rule("already_enrolled").await;
    run(&scene.app.db, "update offerings set capacity = 1").await;
    let refused = scene.student.post(ENROLLMENTS, &json!({ "offering": scene.offering })).await;
    assert_eq!(refused.refusal(), (409, "enrollment_refused"));
    let codes: Vec<&Value> = refused.body["reasons"].as_array().unwrap().iter().map(|reason| &reason["code"]).collect();
    assert_eq!(codes, [&json!("offering_full"), &json!("already_enrolled")]);
}

#[tokio::test]
async fn a_student_waits_for_the_convenor_who_is_told() {
    let app = TestApp::start().await;
    let (student, convenor) = (app.student().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let offering = app.offering_of(unit, 30).await;
    let tried = student.post(DRY, &json!({ "offering": offering })).await;
    assert_eq!(tried.expect(200), &json!({ "ok": true, "status": 201, "reasons": [] }));
    assert_eq!(taken(&app, offering).await, 0);

    let made = student.post(ENROLLMENTS, &json!({ "offering": offering.to_string() })).await;
    let id = id_of(&made);
    let now = "2026-03-02T02:00:00.000000Z";
    let mut shown = student.get(&at(OFFERINGS, offering)).await.expect(200).clone();
    shown["current_enrollment"] = json!(1);
    assert_eq!(made.body["offering"], shown);
    assert_eq!(made.body["student"]["email"], json!(student.email));
    assert_eq!(made.body["student"].get("phone_number"), None, "what is private is not shown here");
    for (field, value) in [
        ("status", json!("PENDING")),
        ("grade", json!("")),
        ("marks", json!(null)),
        ("withdrawn_date", json!(null)),
        ("completion_date", json!(null)),
        ("requested_at", json!(now)),
        ("created_at", json!(now)),
        ("updated_at", json!(now)),
    ] {
        assert_eq!(made.body[field], value, "{field}");
    }
    assert_eq!(student.get(&at(ENROLLMENTS, id)).await.expect(200), &made.body);
    assert_eq!(taken(&app, offering).await, 1);
    let class = named(&app, unit).await;
    let notice = told(&app).await;
    assert_eq!(notice[0][0], json!(convenor.id));
    assert_eq!(notice[0][1], json!(student.id));
    assert_eq!(notice[0][2], json!("Enrolment pending approval"));
    assert!(notice[0][3].as_str().unwrap().ends_with(&format!("asks for a seat in {class}.")));
    assert_eq!(notice.as_array().unwrap().len(), 1);
    assert_eq!(outbox(&app).await, json!([]));
    app.check_invariants().await;
}

/// The class of this unit, as notices name it.
async fn named(app: &TestApp, unit: Id) -> String {
    let sql = sqlx::query_scalar!(
        r#"select code || ' ' || name || ', S1 2026' as "class!" from units where id = $1"#,
        unit.0
    );
    sql.fetch_one(&app.db).await.unwrap()
}

/// What the workflows are told.
async fn outbox(app: &TestApp) -> Value {
    let rows = sqlx::query!("select object_key, payload, state from webhook_outbox order by id");
    let rows = rows.fetch_all(&app.db).await.unwrap();
    rows.iter().map(|row| json!([row.object_key, row.payload, row.state])).collect()
}

#[tokio::test]
async fn without_approval_the_student_sits_at_once_and_the_workflows_hear_of_it() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.student().await, app.student().await);
    let unit = app.unit().await;
    let offering = app.offering_of(unit, 0).await;
    run(&app.db, "update offerings set requires_approval = false").await;
    let made = ann.post(ENROLLMENTS, &json!({ "offering": offering })).await;
    assert_eq!(made.expect(201)["status"], json!("ENROLLED"));
    let id = id_of(&made);
    let code = code_of(&app, unit).await;
    let says = format!("You are enrolled in {}.", named(&app, unit).await);
    assert_eq!(told(&app).await, json!([[ann.id, ann.id, "Enrolment confirmed", says, id]]));
    let payload = json!({
        "enrollment_id": id, "student_id": ann.id, "student_email": ann.email,
        "student_name": outbox(&app).await[0][1]["student_name"], "unit_code": code,
        "unit_name": name_of(&app, unit).await, "semester": "S1", "year": 2026,
    });
    assert_eq!(outbox(&app).await, json!([[format!("enrollment:{id}"), payload, "skipped"]]), "nobody listens");

    run(
        &app.db,
        "with w as (insert into workflows (name, trigger_event) values ('a', 'enrollment.confirmed') returning id)
         insert into workflow_secrets (workflow_id, secret) select id, 'whsec_of_the_tests' from w",
    )
    .await;
    bob.post(ENROLLMENTS, &json!({ "offering": offering })).await.expect(201);
    assert_eq!(outbox(&app).await[1][2], json!("pending"));
    app.check_invariants().await;
}

#[tokio::test]
async fn where_no_approval_is_needed_those_who_wait_elsewhere_do_not_count() {
    let scene = Scene::set().await;
    scene.break_rule("too_many_pending").await;
    run(&scene.app.db, format!("update offerings set requires_approval = false where id = {}", scene.offering)).await;
    scene.student.post(ENROLLMENTS, &json!({ "offering": scene.offering })).await.expect(201);
}

#[tokio::test]
async fn staff_enrol_students_outside_the_window_but_by_all_other_rules() {
    let scene = Scene::set().await;
    let Scene { app, student, offering, .. } = &scene;
    let staff = app.staff().await;
    let body = json!({ "offering": offering, "student": student.id });
    scene.break_rule("window_closed").await;
    assert_eq!(student.post(ENROLLMENTS, &body).await.refusal(), (400, "window_closed"));
    scene.break_rule("offering_full").await;
    assert_eq!(staff.post(ENROLLMENTS, &body).await.refusal(), (409, "offering_full"));
    run(&app.db, "update offerings set capacity = 2").await;
    let made = staff.post(ENROLLMENTS, &body).await;
    assert_eq!((&made.expect(201)["student"]["id"], &made.body["status"]), (&json!(student.id), &json!("PENDING")));
    app.check_invariants().await;
}

#[tokio::test]
async fn who_and_where_must_be_named_and_be_there() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let offering = app.offering(0).await;
    let nowhere = student.post(ENROLLMENTS, &json!({ "offering": 987_654 })).await;
    assert_eq!((nowhere.status.as_u16(), nowhere.errors("offering").len()), (400, 1));
    assert_eq!(student.post(ENROLLMENTS, &json!({})).await.errors("offering"), ["This field is required."]);
    assert_eq!(student.post(ENROLLMENTS, &json!({ "offering": "x" })).await.errors("offering").len(), 1);
    assert_eq!(staff.post(ENROLLMENTS, &json!({ "offering": offering })).await.errors("student").len(), 1);
    let nobody = staff.post(ENROLLMENTS, &json!({ "offering": offering, "student": 987_654 })).await;
    assert_eq!((nobody.status.as_u16(), nobody.errors("student").len()), (400, 1));
    let odd = student.post(&format!("{ENROLLMENTS}?dry_run=perhaps"), &json!({ "offering": offering })).await;
    assert_eq!(odd.errors("dry_run").len(), 1);
    run(&app.db, format!("update offerings set deleted_at = rule_now() where id = {offering}")).await;
    assert_eq!(student.post(ENROLLMENTS, &json!({ "offering": offering })).await.errors("offering").len(), 1);
}

#[tokio::test]
async fn a_student_enrols_nobody_else() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.student().await, app.student().await);
    let offering = app.offering(0).await;
    let body = json!({ "offering": offering, "student": bob.id, "status": "COMPLETED", "grade": "HD", "marks": 100 });
    let made = ann.post(ENROLLMENTS, &body).await;
    assert_eq!(made.expect(201)["student"]["id"], json!(ann.id), "whom else the body names is ignored");
    assert_eq!((&made.body["status"], &made.body["grade"]), (&json!("PENDING"), &json!("")));
    for who in [app.convenor().await, app.auditor().await, app.parent().await] {
        assert_eq!(who.post(ENROLLMENTS, &json!({ "offering": offering })).await.refusal().0, 403);
    }
    assert_eq!(app.anonymous().post(ENROLLMENTS, &json!({ "offering": offering })).await.status.as_u16(), 401);
}

#[tokio::test]
async fn a_withdrawn_enrolment_is_revived_and_its_history_goes_on() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let offering = app.offering(1).await;
    let id = id_of(&student.post(ENROLLMENTS, &json!({ "offering": offering })).await);
    student.post_bare(&step(id, "withdraw")).await.expect(200);
    assert_eq!(taken(&app, offering).await, 0);
    app.set_time("2026-03-05T02:00:00Z").await;
    let student = student.new_session(&app).await;
    let again = student.post(ENROLLMENTS, &json!({ "offering": offering })).await;
    assert_eq!(id_of(&again), id);
    assert_eq!(again.body["withdrawn_date"], json!(null));
    assert_eq!(again.body["created_at"], json!("2026-03-02T02:00:00.000000Z"));
    assert_eq!(again.body["requested_at"], json!("2026-03-05T02:00:00.000000Z"), "the wait begins anew");
    let steps = sqlx::query!("select from_status, to_status from enrollment_history order by id");
    let steps: Vec<_> = steps.fetch_all(&app.db).await.unwrap();
    let steps: Vec<_> = steps.iter().map(|step| (step.from_status.as_str(), step.to_status.as_str())).collect();
    assert_eq!(steps, [("", "PENDING"), ("PENDING", "WITHDRAWN"), ("WITHDRAWN", "PENDING")]);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_repeated_request_takes_one_seat() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let offering = app.offering(5).await;
    let keyed = student.with("Idempotency-Key", "mine");
    let first = keyed.post(ENROLLMENTS, &json!({ "offering": offering })).await;
    let second = keyed.post(ENROLLMENTS, &json!({ "offering": offering })).await;
    assert_eq!(first.expect(201), second.expect(201));
    assert_eq!(taken(&app, offering).await, 1);
    assert_eq!(keyed.post(ENROLLMENTS, &json!({ "offering": app.offering(0).await })).await.status.as_u16(), 422);
}

#[tokio::test]
async fn a_unit_of_the_course_or_any_elective_can_be_taken() {
    let scene = Scene::set().await;
    let Scene { app, student, unit, offering, .. } = &scene;
    scene.break_rule("not_in_course").await;
    let body = json!({ "offering": offering });
    let course = sqlx::query_scalar!("select course_id from student_profiles where user_id = $1", student.id.0);
    let course = course.fetch_one(&app.db).await.unwrap().unwrap();
    let other = app.course().await;
    let link = |course: i64, elective: bool| {
        format!("insert into course_units (course_id, unit_id, is_elective) values ({course}, {unit}, {elective})")
    };
    run(&app.db, link(other.0, false)).await;
    assert_eq!(student.post(DRY, &body).await.expect(200)["ok"], json!(false), "core of another course");
    run(&app.db, "update course_units set is_elective = true").await;
    assert_eq!(student.post(DRY, &body).await.expect(200)["ok"], json!(true), "an elective of another course");
    run(&app.db, "update course_units set deleted_at = rule_now()").await;
    assert_eq!(student.post(DRY, &body).await.expect(200)["ok"], json!(false), "no longer");
    run(&app.db, link(course, false)).await;
    assert_eq!(student.post(DRY, &body).await.expect(200)["ok"], json!(true), "core of the student's course");
}
