//! The student's dashboard.

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{COURSE_UNITS, OFFERINGS, UNITS, at, id_of, run};
use crate::support::{Person, Proxy, TestApp};

const DASHBOARD: &str = "/api/enrollment/enrollments/dashboard/";

/// An offering of this unit in another semester, closed at `NOW`; the fields of `changes` differ.
async fn offer(staff: &Person, unit: Id, changes: Value) -> Id {
    let mut sent = json!({
        "unit": unit, "year": 2025, "semester": "S2", "enrollment_start": "2025-06-15T00:00:00Z",
        "enrollment_end": "2025-08-14T00:00:00Z",
    });
    sent.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    id_of(&staff.post(OFFERINGS, &sent).await)
}

async fn unit_of(app: &TestApp, offering: Id) -> Id {
    Id(app.anonymous().get(&at(OFFERINGS, offering)).await.expect(200)["unit"]["id"].as_i64().unwrap())
}

/// Makes the second unit a prerequisite or anti-requisite of the first.
async fn requires(staff: &Person, unit: Id, list: &str, others: &[Id]) {
    staff.patch(&at(UNITS, unit), &json!({ list: others })).await.expect(200);
}

/// A class of an offering; it begins at `2026-03-02 09:00`, and ends at a time or nobody knows when.
async fn session(app: &TestApp, offering: Id, begins: &str, ends: &str, instructor: Option<Id>) -> Id {
    let made = sqlx::query_scalar!(
        "insert into class_sessions (offering_id, date, start_time, end_time, instructor_id)
         select $1, begins::date, begins::time, nullif($3, '')::time, $4
           from cast($2::text as timestamp) begins
         returning id",
        offering.0,
        begins,
        ends,
        instructor.map(|id| id.0)
    );
    Id(made.fetch_one(&app.db).await.unwrap())
}

async fn attended(app: &TestApp, session: Id, student: Id, status: &str) {
    let sql = format!(
        "insert into attendance_records (session_id, student_id, status) values ({session}, {student}, '{status}')"
    );
    run(&app.db, sql).await;
}

/// The card of an offering.
#[track_caller]
fn card(dashboard: &Value, offering: Id) -> &Value {
    let mut cards = dashboard["offering_cards"].as_array().unwrap().iter();
    let found = cards.find(|card| card["offering"]["id"] == json!(offering));
    found.unwrap_or_else(|| panic!("no card of {offering}: {dashboard}"))
}

fn ids(list: &Value) -> Vec<Id> {
    list.as_array().unwrap().iter().map(|row| Id(row["id"].as_i64().unwrap())).collect()
}

fn offerings_of(cards: &Value) -> Vec<Id> {
    cards.as_array().unwrap().iter().map(|card| Id(card["offering"]["id"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn a_student_sees_own_enrollments_and_what_is_open() {
    // At `NOW` it is one o'clock on a Monday there.
    let app = TestApp::with(&[("TIME_ZONE", "Australia/Melbourne")]).await;
    let (student, staff, convenor) = (app.student().await, app.staff().await, app.convenor().await);
    let (first, second) = (app.unit_of(convenor.id).await, app.unit().await);
    let (mine, open) = (app.offering_of(first, 0).await, app.offering_of(second, 0).await);
    requires(&staff, second, "prerequisites", &[first]).await;
    staff.patch(&at(OFFERINGS, open), &json!({ "notes": "Class 3h/week; Fri 10:30" })).await.expect(200);
    let enrollment = app.enrollment(student.id, mine, "ENROLLED").await;
    run(&app.db, format!("update enrollments set marks = 71.5 where id = {enrollment}")).await;
    let before = session(&app, mine, "2026-02-23 09:00", "11:00", Some(staff.id)).await;
    let this_morning = session(&app, mine, "2026-03-02 09:00", "11:00", Some(staff.id)).await;
    session(&app, mine, "2026-03-02 13:01", "", Some(convenor.id)).await;
    session(&app, mine, "2026-03-09 09:00", "11:00", Some(staff.id)).await;
    attended(&app, before, student.id, "late").await;
    attended(&app, this_morning, student.id, "absent").await;

    let dashboard = student.get(DASHBOARD).await.expect(200).clone();
    let row = student.get(&format!("/api/enrollment/enrollments/{enrollment}/")).await.expect(200).clone();
    let unit_of = async |id: Id| student.get(&at(UNITS, id)).await.expect(200).clone();
    let (unit, other) = (unit_of(first).await, unit_of(second).await);
    let shown = |unit: &Value| {
        json!({
            "id": unit["id"], "code": unit["code"], "name": unit["name"], "credit_points": 12.5, "is_elective": null,
        })
    };
    let missing = json!([{ "code": unit["code"], "name": unit["name"] }]);
    let available = json!({
        "id": open, "semester": "S1", "year": 2026, "notes": "Class 3h/week; Fri 10:30", "unit": shown(&other),
        "prerequisites_met": false, "missing_prerequisites": missing,
    });
    let wanted = json!({
        "past_enrollments": [],
        "current_enrollments": [row],
        "available_units": [available],
        "offering_cards": [
            {
                "offering": {
                    "id": mine, "semester": "S1", "year": 2026, "notes": "", "unit": shown(&unit),
                    "prerequisites_met": true, "missing_prerequisites": [],
                },
                "status_label": "enrolled", "enrollment_id": enrollment, "grade": "", "marks": 71.5,
                "prerequisites_met": true, "missing_prerequisites": [],
                "instructor": {
                    "id": staff.id, "email": staff.email, "position": "",
                    "name": format!("{} {}", staff.first_name, staff.last_name),
                },
                "attendance_summary": {
                    "total_sessions": 2, "marked_sessions": 2, "attended_sessions": 1, "present": 0, "late": 1, "absent": 1,
                    "excused": 0, "attendance_rate": 50.0,
                },
                "schedule_summary": "Mon 09:00-11:00, Mon 13:01", "can_enroll": false,
            },
            {
                "offering": available, "status_label": "available", "enrollment_id": null, "grade": "", "marks": null,
                "prerequisites_met": false, "missing_prerequisites": missing, "instructor": null,
                "attendance_summary": {
                    "total_sessions": 0, "marked_sessions": 0, "attended_sessions": 0, "present": 0, "late": 0, "absent": 0,
                    "excused": 0, "attendance_rate": null,
                },
                "schedule_summary": "Fri 10:30", "can_enroll": false,
            },
        ],
        "statistics": {
            "total_completed": 0, "total_failed": 0, "total_withdrawn": 0, "current_enrolled": 1,
            "pending_approval": 0, "available_count": 0,
        },
    });
    assert_eq!(dashboard, wanted);
}

#[tokio::test]
async fn enrollments_are_sorted_by_their_state_the_newest_first() {
    let app = TestApp::start().await;
    let (student, other, staff) = (app.student().await, app.student().await, app.staff().await);
    let mut made = vec![];
    for (status, label) in [
        ("COMPLETED", "passed"),
        ("FAILED", "failed"),
        ("WITHDRAWN", "withdrawn"),
        ("PENDING", "selected"),
        ("ENROLLED", "enrolled"),
        ("ENROLLED", "enrolled"),
    ] {
        let offering = offer(&staff, app.unit().await, json!({})).await;
        made.push((app.enrollment(student.id, offering, status).await, offering, label));
        app.enrollment(other.id, offering, "ENROLLED").await;
    }
    let gone = app.enrollment(student.id, app.offering(0).await, "COMPLETED").await;
    run(&app.db, format!("update transcripts set deleted_at = rule_now() where enrollment_id = {gone}")).await;
    run(&app.db, format!("update enrollments set deleted_at = rule_now() where id = {gone}")).await;

    let reply = student.get(DASHBOARD).await;
    let dashboard = reply.expect(200);
    let newest_first = |rows: &[(Id, Id, &str)]| rows.iter().rev().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(ids(&dashboard["past_enrollments"]), newest_first(&made[..3]));
    assert_eq!(ids(&dashboard["current_enrollments"]), newest_first(&made[3..]));
    let cards = dashboard["offering_cards"].as_array().unwrap();
    let shown: Vec<_> = cards[..6].iter().map(|card| (&card["enrollment_id"], &card["status_label"])).collect();
    let wanted: Vec<_> = made.iter().rev().map(|row| (json!(row.0), json!(row.2))).collect();
    assert_eq!(shown, wanted.iter().map(|(id, label)| (id, label)).collect::<Vec<_>>());
    for (enrollment, offering, label) in &made {
        let card = card(dashboard, *offering);
        let grade = match *label {
            "passed" => "P",
            "failed" => "N",
            _ => "",
        };
        let is = (&card["enrollment_id"], &card["status_label"], &card["grade"], &card["can_enroll"]);
        assert_eq!(is, (&json!(enrollment), &json!(label), &json!(grade), &json!(false)));
    }
    let wanted = json!({
        "total_completed": 1, "total_failed": 1, "total_withdrawn": 1, "current_enrolled": 2, "pending_approval": 1,
        "available_count": 1,
    });
    assert_eq!(dashboard["statistics"], wanted);
}

#[tokio::test]
async fn available_is_what_is_open_and_neither_taken_nor_passed() {
    let app = TestApp::start().await;
    let (student, staff) = (app.student().await, app.staff().await);
    let later = json!({ "enrollment_start": "2026-03-02T02:00:00.000001Z", "enrollment_end": "2026-04-01T00:00:00Z" });
    let closed = json!({ "enrollment_start": "2026-01-12T00:00:00Z", "enrollment_end": "2026-03-02T02:00:00Z" });
    for changes in [later, closed] {
        offer(&staff, app.unit().await, changes).await;
    }
    let just_open =
        json!({ "year": 2026, "enrollment_start": "2026-03-02T02:00:00Z", "enrollment_end": "2026-04-01T00:00:00Z" });
    let mut wanted = vec![offer(&staff, app.unit().await, just_open).await];
    let last_year = json!({ "enrollment_end": "2026-04-01T00:00:00Z" });
    offer(&staff, app.unit().await, last_year).await;
    session(&app, app.offering(0).await, "2026-02-23 10:00", "12:00", None).await;
    staff.patch(&at(OFFERINGS, app.offering(0).await), &json!({ "is_active": false })).await.expect(200);
    staff
        .patch(&at(UNITS, unit_of(&app, app.offering(0).await).await), &json!({ "is_active": false }))
        .await
        .expect(200);
    staff.delete(&at(OFFERINGS, app.offering(0).await)).await.expect(204);
    for (status, is_available) in
        [("PENDING", false), ("ENROLLED", false), ("COMPLETED", false), ("FAILED", true), ("WITHDRAWN", true)]
    {
        let unit = app.unit().await;
        app.enrollment(student.id, offer(&staff, unit, json!({})).await, status).await;
        let again = app.offering_of(unit, 0).await;
        wanted.extend(is_available.then_some(again));
    }
    for (status, is_available) in [("PENDING", false), ("FAILED", false), ("COMPLETED", false), ("WITHDRAWN", true)] {
        let offering = app.offering(0).await;
        app.enrollment(student.id, offering, status).await;
        wanted.extend(is_available.then_some(offering));
    }
    let reply = student.get(DASHBOARD).await;
    let dashboard = reply.expect(200);
    assert_eq!(ids(&dashboard["available_units"]), wanted);
    assert_eq!(dashboard["statistics"]["available_count"], json!(wanted.len()));
    let withdrawn = card(dashboard, *wanted.last().unwrap());
    let again = (&withdrawn["status_label"], &withdrawn["can_enroll"]);
    assert_eq!(again, (&json!("available"), &json!(true)), "a seat that was given back can be taken again");
    let shown = offerings_of(&dashboard["offering_cards"]);
    assert_eq!(shown.len(), 9 + 3, "one card for each offering");
    assert_eq!(shown[9..], wanted[..3], "after the caller's own, by unit code");
}

#[tokio::test]
async fn the_course_says_which_units_are_available() {
    let app = TestApp::start().await;
    let (student, staff) = (app.student().await, app.staff().await);
    let (course, another) = (app.course().await, app.course().await);
    let mut made = vec![];
    for places in [
        &[(course, false)][..],
        &[(course, true)],
        &[(another, true)],
        &[(another, false)],
        &[(course, false), (another, true)],
        &[],
    ] {
        let unit = app.unit().await;
        for (course, is_elective) in places {
            let sent = json!({ "course": course, "unit": unit, "is_elective": is_elective });
            staff.post(COURSE_UNITS, &sent).await.expect(201);
        }
        made.push(app.offering_of(unit, 0).await);
    }
    let available = async || {
        let reply = student.get(DASHBOARD).await;
        let units = reply.expect(200)["available_units"].as_array().unwrap().clone();
        units.iter().map(|row| (row["id"].clone(), row["unit"]["is_elective"].clone())).collect::<Vec<_>>()
    };
    let wanted: Vec<_> = made.iter().map(|id| (json!(id), json!(null))).collect();
    assert_eq!(available().await, wanted, "without a course there is no restriction");

    run(&app.db, format!("update student_profiles set course_id = {course} where user_id = {}", student.id)).await;
    let wanted = [(made[0], false), (made[1], true), (made[2], true), (made[4], false)];
    assert_eq!(available().await, wanted.map(|(id, is_elective)| (json!(id), json!(is_elective))));
    for (id, is_elective) in wanted {
        let offering = student.get(&at(OFFERINGS, id)).await;
        assert_eq!(offering.body["unit"]["is_elective"], json!(is_elective), "as everywhere else");
    }

    run(&app.db, "update course_units set deleted_at = rule_now()").await;
    assert_eq!(available().await, []);
    // What was taken before the course said so is still shown.
    app.enrollment(student.id, made[3], "ENROLLED").await;
    let reply = student.get(DASHBOARD).await;
    assert_eq!(card(reply.expect(200), made[3])["offering"]["unit"]["is_elective"], json!(null));
}

#[tokio::test]
async fn the_card_says_whether_the_student_can_enroll() {
    let app = TestApp::with(&[("MAX_PENDING", "2")]).await;
    let (student, staff) = (app.student().await, app.staff().await);
    let full = app.offering(1).await;
    app.enrollment(app.student().await.id, full, "PENDING").await;
    let with_a_seat = app.offering(2).await;
    app.enrollment(app.student().await.id, with_a_seat, "ENROLLED").await;
    let passed = app.unit().await;
    app.enrollment(student.id, offer(&staff, passed, json!({})).await, "COMPLETED").await;
    let failed = app.unit().await;
    app.enrollment(student.id, offer(&staff, failed, json!({})).await, "FAILED").await;
    let with = async |list: &str, others: &[Id]| {
        let offering = app.offering(0).await;
        requires(&staff, unit_of(&app, offering).await, list, others).await;
        offering
    };
    let cases = [
        (full, false, vec![]),
        (with_a_seat, true, vec![]),
        (with("prerequisites", &[passed]).await, true, vec![]),
        (with("prerequisites", &[failed, passed]).await, false, vec![failed]),
        (with("anti_requisites", &[failed]).await, true, vec![]),
        (with("anti_requisites", &[passed]).await, false, vec![]),
    ];
    let reply = student.get(DASHBOARD).await;
    for (offering, can_enroll, missing) in cases {
        let card = card(reply.expect(200), offering);
        assert_eq!((&card["status_label"], &card["can_enroll"]), (&json!("available"), &json!(can_enroll)), "{card}");
        let mut units = vec![];
        for id in missing {
            let unit = staff.get(&at(UNITS, id)).await;
            units.push(json!({ "code": unit.body["code"], "name": unit.body["name"] }));
        }
        for place in [card, &card["offering"]] {
            assert_eq!(place["prerequisites_met"], json!(units.is_empty()));
            assert_eq!(place["missing_prerequisites"], json!(units));
        }
    }
}

#[tokio::test]
async fn who_waits_for_as_many_decisions_as_may_be_can_only_enroll_where_none_is_needed() {
    let app = TestApp::with(&[("MAX_PENDING", "2")]).await;
    let (student, staff) = (app.student().await, app.staff().await);
    let (decided, open) = (app.offering(0).await, app.offering(0).await);
    staff.patch(&at(OFFERINGS, open), &json!({ "requires_approval": false })).await.expect(200);
    for can_enroll in [true, true, false] {
        let reply = student.get(DASHBOARD).await;
        let dashboard = reply.expect(200);
        assert_eq!(card(dashboard, decided)["can_enroll"], json!(can_enroll));
        assert_eq!(card(dashboard, open)["can_enroll"], json!(true));
        app.enrollment(student.id, app.offering(0).await, "PENDING").await;
    }
}

#[tokio::test]
async fn only_students_are_shown_what_is_available() {
    let app = TestApp::start().await;
    app.offering(0).await;
    assert_eq!(app.anonymous().get(DASHBOARD).await.refusal(), (401, "not_authenticated"));
    let nothing = json!({
        "past_enrollments": [], "current_enrollments": [], "available_units": [], "offering_cards": [],
        "statistics": {
            "total_completed": 0, "total_failed": 0, "total_withdrawn": 0, "current_enrolled": 0,
            "pending_approval": 0, "available_count": 0,
        },
    });
    for person in ["staff", "unit_convenor", "auditor", "parent", "admin"] {
        assert_eq!(app.person(person).await.get(DASHBOARD).await.expect(200), &nothing, "{person}");
    }
    let graduate = app.student().await;
    let offering = app.offering(0).await;
    app.enrollment(graduate.id, offering, "WITHDRAWN").await;
    run(&app.db, format!("update users set user_type = 'parent' where id = {}", graduate.id)).await;
    let reply = graduate.get(DASHBOARD).await;
    assert_eq!(offerings_of(&reply.expect(200)["offering_cards"]), [offering]);
    assert_eq!(card(&reply.body, offering)["can_enroll"], json!(false));
}

#[tokio::test]
async fn who_teaches_and_when_is_read_off_the_classes() {
    let app = TestApp::start().await;
    let (student, convenor) = (app.student().await, app.convenor().await);
    let (ann, bob) = (app.staff().await, app.staff().await);
    let with_convenor = async || app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let (bare, without, over, mixed) =
        (app.offering(0).await, with_convenor().await, with_convenor().await, with_convenor().await);
    session(&app, without, "2026-03-12 13:00", "14:30", None).await;
    for (date, instructor) in [("2026-02-17", &ann), ("2026-02-24", &ann), ("2026-02-26", &bob)] {
        session(&app, over, &format!("{date} 10:00"), "12:00", Some(instructor.id)).await;
    }
    // The class has moved from Tuesday to Wednesday; two teach it at once, and one of them more often.
    for (date, instructor) in [("2026-02-24", &bob), ("2026-03-04", &ann), ("2026-03-04", &bob)] {
        session(&app, mixed, &format!("{date} 10:00"), "12:00", Some(instructor.id)).await;
    }
    for (change, date) in [("status = 'cancelled'", "2026-03-05"), ("deleted_at = rule_now()", "2026-03-06")] {
        for hour in ["10:00", "13:00"] {
            let off = session(&app, mixed, &format!("{date} {hour}"), "15:00", Some(ann.id)).await;
            run(&app.db, format!("update class_sessions set {change} where id = {off}")).await;
        }
    }
    app.enrollment(student.id, over, "ENROLLED").await;
    let reply = student.get(DASHBOARD).await;
    for (offering, instructor, schedule) in [
        (bare, json!(null), ""),
        (without, json!(convenor.id), "Thu 13:00-14:30"),
        (over, json!(ann.id), "Tue 10:00-12:00, Thu 10:00-12:00"),
        (mixed, json!(bob.id), "Wed 10:00-12:00"),
    ] {
        let card = card(reply.expect(200), offering);
        let shown = (&card["instructor"]["id"], &card["schedule_summary"]);
        assert_eq!(shown, (&instructor, &json!(schedule)));
    }
}

#[tokio::test]
async fn attendance_is_the_callers_own_of_classes_that_took_place() {
    let app = TestApp::start().await;
    let (student, other) = (app.student().await, app.student().await);
    let offering = app.offering(0).await;
    app.enrollment(student.id, offering, "ENROLLED").await;
    for (date, status) in [
        ("2026-02-02", "present"),
        ("2026-02-09", "present"),
        ("2026-02-16", "late"),
        ("2026-02-23", "excused"),
        ("2026-02-24", "absent"),
        ("2026-02-25", ""),
        ("2026-03-09", "present"),
    ] {
        let class = session(&app, offering, &format!("{date} 09:00"), "10:00", None).await;
        attended(&app, class, other.id, "present").await;
        if !status.is_empty() {
            attended(&app, class, student.id, status).await;
        }
    }
    for change in ["status = 'cancelled'", "deleted_at = rule_now()"] {
        let off = session(&app, offering, "2026-02-26 09:00", "10:00", None).await;
        attended(&app, off, student.id, "present").await;
        run(&app.db, format!("update class_sessions set {change} where id = {off}")).await;
    }
    let unmarked = session(&app, offering, "2026-02-27 09:00", "10:00", None).await;
    attended(&app, unmarked, student.id, "present").await;
    let undo = format!("update attendance_records set deleted_at = rule_now() where session_id = {unmarked}");
    run(&app.db, undo).await;

    let reply = student.get(DASHBOARD).await;
    let wanted = json!({
        "total_sessions": 7, "marked_sessions": 5, "attended_sessions": 4, "present": 2, "late": 1, "absent": 1,
        "excused": 1, "attendance_rate": 57.1,
    });
    assert_eq!(card(reply.expect(200), offering)["attendance_summary"], wanted);
}

#[tokio::test]
async fn at_most_five_hundred_cards_are_shown_and_all_are_counted() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let mine = app.offering(0).await;
    many_offerings(&app, 510).await;
    app.enrollment(student.id, mine, "PENDING").await;
    let reply = student.get(DASHBOARD).await;
    let dashboard = reply.expect(200);
    let cards = offerings_of(&dashboard["offering_cards"]);
    let available = ids(&dashboard["available_units"]);
    assert_eq!((cards.len(), available.len()), (500, 500));
    assert_eq!((cards[0], &cards[1..]), (mine, &available[..499]));
    assert_eq!(dashboard["statistics"]["available_count"], json!(510));
}

/// Offerings like any that is there, each of a unit of its own.
async fn many_offerings(app: &TestApp, number: usize) {
    let sql = format!(
        "with made as (
            insert into units (code, name) select 'MANY' || g, 'Many ' || g from generate_series(1, {number}) g returning id
         )
         insert into offerings (unit_id, year, semester, intake_id, enrollment_start, enrollment_end)
         select made.id, o.year, o.semester, o.intake_id, o.enrollment_start, o.enrollment_end
           from made, (select * from offerings order by id limit 1) o"
    );
    run(&app.db, sql).await;
}

#[tokio::test]
async fn the_number_of_statements_does_not_grow_with_the_data() {
    let app = TestApp::start().await;
    let (student, staff) = (app.student().await, app.staff().await);
    let offering = app.offering(0).await;
    let proxy = Proxy::start(&app).await;
    let server = app.another_server().through(&proxy).start().await;
    let statements = async || {
        let before = proxy.statements();
        student.at(&server).get(DASHBOARD).await.expect(200);
        proxy.statements() - before
    };
    statements().await;
    let few = statements().await;
    assert_eq!(few, 6, "one for the caller, five for the dashboard");

    app.enrollment(student.id, offering, "ENROLLED").await;
    many_offerings(&app, 200).await;
    for _ in 0..10 {
        let (unit, needed) = (app.unit().await, app.unit().await);
        requires(&staff, unit, "prerequisites", &[needed]).await;
        let offering = app.offering_of(unit, 0).await;
        app.enrollment(student.id, offering, "WITHDRAWN").await;
        let class = session(&app, offering, "2026-02-26 09:00", "10:00", Some(app.staff().await.id)).await;
        attended(&app, class, student.id, "present").await;
    }
    assert_eq!(statements().await, few);
}
