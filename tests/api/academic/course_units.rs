//! Units' places in courses.

use serde_json::json;

use super::{COURSE_UNITS, COURSES, NOW, UNITS, at, id_of};
use crate::support::TestApp;

#[tokio::test]
async fn a_units_place_in_a_course_is_shown_to_anyone() {
    let app = TestApp::start().await;
    let (course, unit) = (app.course().await, app.unit().await);
    let staff = app.staff().await;
    let id = id_of(&staff.post(COURSE_UNITS, &json!({ "course": course, "unit": unit.to_string() })).await);
    let wanted = json!({
        "id": id, "course": course, "unit": unit, "is_elective": false, "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(app.anonymous().get(&at(COURSE_UNITS, id)).await.expect(200), &wanted);
}

#[tokio::test]
async fn a_course_has_a_unit_once() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let body = json!({ "course": app.course().await, "unit": app.unit().await });
    let id = id_of(&staff.post(COURSE_UNITS, &body).await);
    let taken = staff.post(COURSE_UNITS, &body).await;
    assert_eq!((taken.refusal(), taken.errors("unit").len()), ((409, "already_taken"), 1));

    staff.delete(&at(COURSE_UNITS, id)).await.expect(204);
    staff.post(COURSE_UNITS, &body).await.expect(201);
    let back = admin.post_bare(&format!("{}restore/", at(COURSE_UNITS, id))).await;
    assert_eq!((back.refusal(), back.errors("unit").len()), ((409, "already_taken"), 1));
}

#[tokio::test]
async fn a_place_is_not_restored_into_a_course_that_is_gone() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let (course, unit) = (app.course().await, app.unit().await);
    let id = id_of(&staff.post(COURSE_UNITS, &json!({ "course": course, "unit": unit })).await);
    let restore = format!("{}restore/", at(COURSE_UNITS, id));
    for gone in [at(COURSE_UNITS, id), at(COURSES, course), at(UNITS, unit)] {
        staff.delete(&gone).await.expect(204);
    }
    let refused = admin.post_bare(&restore).await;
    assert_eq!(refused.refusal(), (409, "cannot_be_restored"));
    for back in [at(COURSES, course), at(UNITS, unit)] {
        assert_eq!(admin.post_bare(&restore).await.refusal(), (409, "cannot_be_restored"));
        admin.post_bare(&format!("{back}restore/")).await.expect(200);
    }
    admin.post_bare(&restore).await.expect(200);
    app.check_invariants().await;
}

#[tokio::test]
async fn places_are_filtered_and_ordered() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (first, second) = (app.course().await, app.course().await);
    let (unit, other) = (app.unit().await, app.unit().await);
    let mut ids = vec![];
    for (course, unit, is_elective) in [(second, unit, true), (first, unit, false), (first, other, true)] {
        let body = json!({ "course": course, "unit": unit, "is_elective": is_elective });
        ids.push(id_of(&staff.post(COURSE_UNITS, &body).await));
    }
    for (query, wanted) in [
        (String::new(), vec![ids[0], ids[1], ids[2]]),
        (format!("?course={first}"), vec![ids[1], ids[2]]),
        (format!("?unit={unit}"), vec![ids[0], ids[1]]),
        (format!("?course={first}&is_elective=true"), vec![ids[2]]),
        ("?ordering=course,-unit".to_owned(), vec![ids[2], ids[1], ids[0]]),
    ] {
        assert_eq!(staff.get(&format!("{COURSE_UNITS}{query}")).await.ids(), wanted, "{query}");
    }
}
