//! Courses, and the units of a course.

use serde_json::json;

use super::{COURSE_UNITS, COURSES, NOW, all_pages, at, id_of, run};
use crate::support::TestApp;

#[tokio::test]
async fn a_course_is_shown_to_anyone_with_all_its_fields() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let made = staff.post(COURSES, &json!({ "code": "BA-CS", "name": "Computer Science", "credit_points": 300 })).await;
    let id = id_of(&made);
    let shown = app.anonymous().get(&at(COURSES, id)).await;
    let wanted = json!({
        "id": id, "code": "BA-CS", "name": "Computer Science", "description": "", "duration_years": "3.0",
        "credit_points": "300.0", "department": "", "is_active": true, "created_at": NOW, "updated_at": NOW,
        "created_by": staff.id, "updated_by": staff.id, "deleted_at": null, "is_deleted": false,
    });
    assert_eq!(shown.expect(200), &wanted);
}

#[tokio::test]
async fn a_code_is_taken_whatever_its_case() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = id_of(&staff.post(COURSES, &json!({ "code": "BA-CS", "name": "Computer Science" })).await);
    let taken = staff.post(COURSES, &json!({ "code": "ba-cs", "name": "Something else" })).await;
    assert_eq!((taken.refusal(), taken.errors("code").len()), ((409, "already_taken"), 1));

    staff.delete(&at(COURSES, id)).await.expect(204);
    staff.post(COURSES, &json!({ "code": "ba-cs", "name": "Something else" })).await.expect(201);
    let back = app.admin().await.post_bare(&format!("{}restore/", at(COURSES, id))).await;
    assert_eq!((back.refusal(), back.errors("code").len()), ((409, "already_taken"), 1));
}

#[tokio::test]
async fn a_course_must_be_plausible() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for (field, value) in [
        ("code", json!("x".repeat(33))),
        ("code", json!("  ")),
        ("name", json!("x".repeat(256))),
        ("description", json!("x".repeat(20_001))),
        ("duration_years", json!("0")),
        ("duration_years", json!("3.25")),
        ("credit_points", json!(-1)),
        ("credit_points", json!("many")),
        ("is_active", json!("perhaps")),
        ("is_active", json!(null)),
        ("code", json!("a\u{0}b")),
    ] {
        let mut body = json!({ "code": "BA-CS", "name": "Computer Science" });
        body[field] = value;
        let refused = staff.post(COURSES, &body).await;
        assert_eq!((refused.status.as_u16(), refused.errors(field).len()), (400, 1), "{body}: {}", refused.body);
    }
}

#[tokio::test]
async fn courses_are_filtered_searched_and_ordered() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut ids = vec![];
    for (code, name, department, is_active) in [
        ("C-1", "Astronomy", "Science", true),
        ("C-2", "Business 100%", "Business", true),
        ("C-3", "Computing", "Science", false),
    ] {
        let body = json!({ "code": code, "name": name, "department": department, "is_active": is_active });
        ids.push(id_of(&staff.post(COURSES, &body).await));
    }
    let (astronomy, business, computing) = (ids[0], ids[1], ids[2]);
    for (query, wanted) in [
        ("", vec![astronomy, business, computing]),
        ("?ordering=-name", vec![computing, business, astronomy]),
        ("?department=Science", vec![astronomy, computing]),
        ("?department=Science&is_active=true", vec![astronomy]),
        ("?is_active=false", vec![computing]),
        ("?code=C-2", vec![business]),
        ("?search=comp", vec![computing]),
        ("?search=c-%20astro", vec![astronomy]),
        ("?search=0%25", vec![business]),
        ("?search=%25", vec![business]),
        ("?search=_", vec![]),
    ] {
        let found = app.anonymous().get(&format!("{COURSES}{query}")).await;
        assert_eq!(found.ids(), wanted, "{query}");
    }
    let counted = staff.get(&format!("{COURSES}?count=true&page_size=1&department=Science")).await;
    assert_eq!((counted.header("x-total-count"), counted.ids()), (Some("2"), vec![astronomy]));
}

#[tokio::test]
async fn a_course_that_is_referred_to_stays() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let (course, unit) = (app.course().await, app.unit().await);
    let place = id_of(&staff.post(COURSE_UNITS, &json!({ "course": course, "unit": unit })).await);
    run(&app.db, format!("update student_profiles set course_id = {course} where user_id = {}", student.id)).await;

    let refused = staff.delete(&at(COURSES, course)).await;
    assert_eq!(refused.refusal(), (409, "still_referred_to"));
    assert_eq!(refused.body["counts"], json!({ "course_units": 1, "student_profiles": 1 }));

    staff.delete(&at(COURSE_UNITS, place)).await.expect(204);
    run(&app.db, "update student_profiles set course_id = null").await;
    staff.delete(&at(COURSES, course)).await.expect(204);
}

#[tokio::test]
async fn the_units_of_a_course_say_whether_they_are_electives_there() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (course, other) = (app.course().await, app.course().await);
    let (core, elective, elsewhere) = (app.unit().await, app.unit().await, app.unit().await);
    for (course, unit, is_elective) in
        [(course, core, false), (course, elective, true), (other, elsewhere, true), (other, core, true)]
    {
        let body = json!({ "course": course, "unit": unit, "is_elective": is_elective });
        staff.post(COURSE_UNITS, &body).await.expect(201);
    }
    let path = format!("{}units/", at(COURSES, course));
    let nobody = app.anonymous();
    let units = nobody.get(&path).await;
    assert_eq!(units.ids(), [core, elective]);
    assert_eq!((&units.body[0]["is_elective"], &units.body[1]["is_elective"]), (&json!(false), &json!(true)));
    let mut alone = nobody.get(&at(super::UNITS, core)).await.expect(200).clone();
    assert_eq!(alone["is_elective"], json!(null));
    alone["is_elective"] = json!(false);
    assert_eq!(units.body[0], alone, "all else is as in the unit itself");

    assert_eq!(nobody.get(&format!("{path}?is_elective=true")).await.ids(), [elective]);
    assert_eq!(nobody.get(&format!("{path}?ordering=-code")).await.ids(), [elective, core]);
    assert_eq!(all_pages(&staff, &format!("{path}?page_size=1"), async || {}).await, [core, elective]);

    let place = staff.get(&format!("{COURSE_UNITS}?course={course}&unit={core}")).await.ids()[0];
    staff.delete(&at(COURSE_UNITS, place)).await.expect(204);
    assert_eq!(nobody.get(&path).await.ids(), [elective]);
    assert_eq!(nobody.get(&format!("{}units/", at(COURSES, 987_654))).await.refusal(), (404, "not_found"));
}
