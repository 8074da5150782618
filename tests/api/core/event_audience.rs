//! Whom an event reaches: the same said of the event as of each who looks, and to whoever publishes it.

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{at, faulty, id_of};
use crate::support::{Person, TestApp};

const EVENTS: &str = "/api/core/events/";

async fn event(author: &Person, more: &Value) -> Id {
    let mut body = json!({ "title": "Open day", "start": "2026-03-10T09:00:00Z" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    id_of(&author.post(EVENTS, &body).await)
}

fn path(id: Id, verb: &str) -> String {
    format!("{EVENTS}{id}/{verb}/")
}

fn ids(list: &Value) -> Vec<Id> {
    let mut ids: Vec<Id> = list.as_array().unwrap().iter().map(|row| Id(row["id"].as_i64().unwrap())).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn whoever_signs_in_sees_no_less_than_a_stranger() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let all = event(&staff, &json!({ "target_all_students": true })).await;
    let nobody = event(&staff, &json!({})).await;
    event(&staff, &json!({ "target_all_students": true, "visibility": "unit" })).await;
    event(&staff, &json!({ "target_all_students": true, "visibility": "staff" })).await;
    let stranger = ids(app.anonymous().get(EVENTS).await.expect(200));
    assert_eq!(stranger, [all, nobody]);
    assert_eq!(ids(app.parent().await.get(EVENTS).await.expect(200)), stranger);
}

#[tokio::test]
async fn the_students_who_are_targeted_are_those_who_see_it() {
    let app = TestApp::start().await;
    let (staff, ann, ben) = (app.staff().await, app.student().await, app.student().await);
    let (offering, other) = (app.offering(0).await, app.offering(0).await);
    app.enrollment(ann.id, offering, "ENROLLED").await;
    let unit = sqlx::query_scalar!("select unit_id from offerings where id = $1", offering.0)
        .fetch_one(&app.db)
        .await
        .unwrap();
    for (more, count) in [
        (json!({}), 2),
        (json!({ "target_all_students": true }), 2),
        (json!({ "target_all_students": true, "visibility": "unit" }), 2),
        (json!({ "visibility": "unit", "related_unit": unit }), 1),
        (json!({ "visibility": "unit", "related_offering": offering }), 1),
        (json!({ "visibility": "unit", "related_offering": other }), 0),
        (json!({ "visibility": "unit" }), 0),
        (json!({ "target_offerings": [offering] }), 1),
        (json!({ "target_students": [ben.id] }), 1),
        (json!({ "target_students": [ben.id], "visibility": "staff" }), 0),
        (json!({ "visibility": "staff" }), 0),
    ] {
        let id = event(&staff, &more).await;
        let reached = ids(staff.get(&path(id, "targeted_students")).await.expect(200));
        assert_eq!(reached.len(), count, "{more}");
        for student in [&ann, &ben] {
            let sees = student.get(&at(EVENTS, id)).await.status == 200;
            assert_eq!(sees, reached.contains(&student.id), "{more}");
        }
    }
}

#[tokio::test]
async fn an_event_of_no_unit_is_not_published_to_a_unit() {
    let app = TestApp::start().await;
    let (staff, unit) = (app.staff().await, app.unit().await);
    let to_unit = json!({ "visibility": "unit" });
    let id = event(&staff, &json!({})).await;
    staff.post_bare(&path(id, "generate_content")).await.expect(200);
    let before = staff.get(&at(EVENTS, id)).await.expect(200).clone();
    let refused = staff.post(&path(id, "confirm-content"), &to_unit).await;
    assert_eq!(refused.expect(400)["detail"], json!("The event belongs to no unit; choose its audience first."));
    let bulk = |ids: &[Id]| json!({ "event_ids": ids, "visibility": "unit" });
    let refused = staff.post("/api/core/events/bulk-publish/", &bulk(&[id])).await;
    assert_eq!(faulty(&refused), ["event_ids".to_owned()].into());
    assert_eq!(staff.get(&at(EVENTS, id)).await.expect(200), &before, "nothing was written");

    staff.patch(&at(EVENTS, id), &json!({ "related_unit": unit })).await.expect(200);
    let said = staff.post(&path(id, "confirm-content"), &to_unit).await.expect(200).clone();
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("for everyone, but the event is for students of "), "{detail}");
    staff.post_bare(&path(id, "generate_content")).await.expect(200);
    let said = staff.post(&path(id, "confirm-content"), &to_unit).await.expect(200).clone();
    assert_eq!(said["detail"], json!("The content is confirmed."));
    staff.post("/api/core/events/bulk-publish/", &bulk(&[id])).await.expect(200);

    // Nobody is named in what is written about an event that reaches nobody yet.
    let draft = event(&staff, &to_unit).await;
    let made = staff.post_bare(&path(draft, "generate_content")).await.expect(200).clone();
    for (name, text) in made["generated_content"].as_object().unwrap() {
        assert!(
            !text.as_str().unwrap().contains("Who:") && !text.as_str().unwrap().contains("open to"),
            "{name}: {text}"
        );
    }
}
