//! Intakes.

use serde_json::json;

use super::{INTAKES, NOW, OFFERINGS, at, id_of, run};
use crate::support::TestApp;

#[tokio::test]
async fn an_intake_is_shown_to_whoever_is_logged_in() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = id_of(&staff.post(INTAKES, &json!({ "semester": "S1", "year": 2026 })).await);
    let wanted = json!({ "id": id, "semester": "S1", "year": 2026, "created_at": NOW, "updated_at": NOW });
    for reader in [app.student().await, app.parent().await, app.convenor().await, app.auditor().await] {
        assert_eq!(reader.get(&at(INTAKES, id)).await.expect(200), &wanted);
        assert_eq!(reader.get(INTAKES).await.expect(200), &json!([wanted]));
    }
    assert_eq!(app.anonymous().get(INTAKES).await.refusal(), (401, "not_authenticated"));
    assert_eq!(app.anonymous().get(&at(INTAKES, id)).await.refusal(), (401, "not_authenticated"));
}

#[tokio::test]
async fn an_intake_is_there_once_and_is_plausible() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let body = json!({ "semester": "S1", "year": 2026 });
    let id = id_of(&staff.post(INTAKES, &body).await);
    let taken = staff.post(INTAKES, &body).await;
    assert_eq!((taken.refusal(), taken.errors("semester").len()), ((409, "already_taken"), 1));
    staff.delete(&at(INTAKES, id)).await.expect(204);
    staff.post(INTAKES, &body).await.expect(201);
    let back = admin.post_bare(&format!("{}restore/", at(INTAKES, id))).await;
    assert_eq!((back.refusal(), back.errors("semester").len()), ((409, "already_taken"), 1));

    for (field, value) in [
        ("semester", json!("S4")),
        ("semester", json!("s1")),
        ("semester", json!(null)),
        ("year", json!(1899)),
        ("year", json!(2201)),
        ("year", json!("soon")),
        ("year", json!(5_000_000_000_u64)),
    ] {
        let mut body = json!({ "semester": "S2", "year": 2026 });
        body[field] = value;
        let refused = staff.post(INTAKES, &body).await;
        assert_eq!((refused.status.as_u16(), refused.errors(field).len()), (400, 1), "{body}: {}", refused.body);
    }
}

#[tokio::test]
async fn an_intake_with_offerings_stays_what_it_is() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let intake = staff.get(INTAKES).await.ids()[0];
    let path = at(INTAKES, intake);
    let event = format!(
        "with event as (insert into events (title, start) values ('Welcome', rule_now()) returning id)
         insert into event_target_intakes (event_id, intake_id) select id, {intake} from event"
    );
    run(&app.db, event).await;

    let refused = staff.delete(&path).await;
    assert_eq!(refused.refusal(), (409, "still_referred_to"));
    assert_eq!(refused.body["counts"], json!({ "offerings": 1, "events": 1 }));
    let refused = staff.patch(&path, &json!({ "year": 2027 })).await;
    assert_eq!(
        (refused.refusal(), &refused.body["counts"]),
        ((409, "intake_has_offerings"), &json!({ "offerings": 1 }))
    );
    staff.put(&path, &json!({ "semester": "S1", "year": 2026 })).await.expect(200);

    staff.delete(&at(OFFERINGS, offering)).await.expect(204);
    run(&app.db, "update events set deleted_at = rule_now()").await;
    staff.patch(&path, &json!({ "year": 2027 })).await.expect(200);
    staff.delete(&path).await.expect(204);
}

#[tokio::test]
async fn intakes_are_filtered_and_ordered() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut ids = vec![];
    for (semester, year) in [("S2", 2026), ("S1", 2026), ("S1", 2027)] {
        ids.push(id_of(&staff.post(INTAKES, &json!({ "semester": semester, "year": year })).await));
    }
    for (query, wanted) in [
        ("", vec![ids[0], ids[1], ids[2]]),
        ("?year=2026", vec![ids[0], ids[1]]),
        ("?semester=S1", vec![ids[1], ids[2]]),
        ("?ordering=-year,semester", vec![ids[2], ids[1], ids[0]]),
    ] {
        assert_eq!(staff.get(&format!("{INTAKES}{query}")).await.ids(), wanted, "{query}");
    }
    let refused = staff.get(&format!("{INTAKES}?semester=S9&year=soon")).await;
    assert_eq!((refused.errors("semester").len(), refused.errors("year").len()), (1, 1));
}
