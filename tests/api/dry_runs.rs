//! `?dry_run=true` is honoured or refused, never passed over; and so is every parameter that a write does not read.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use swincms::app::routes;

use crate::cli::everything;
use crate::enrollment::ENROLLMENTS;
use crate::support::TestApp;

/// What can be tried out. Each has a test of its own that it writes nothing.
const TRIABLE: [&str; 9] = [
    "POST /api/academic/offerings/{id}/close/",
    "POST /api/core/events/import-csv/",
    "POST /api/core/sessions/cancel/",
    "PATCH /api/core/sessions/series/{series}/",
    "POST /api/core/sessions/generate/",
    "POST /api/enrollment/enrollments/",
    "POST /api/enrollment/enrollments/bulk-grade/",
    "POST /api/social/transactions/import-csv/",
    "POST /api/users/users/{id}/anonymise/",
];

/// All that is written but for what counts requests.
async fn written(app: &TestApp) -> Vec<String> {
    let counts = |table: &str| ["sessions ", "throttle_buckets "].iter().any(|name| table.starts_with(name));
    everything(app).await.into_iter().filter(|table| !counts(table)).collect()
}

#[tokio::test]
async fn every_write_refuses_a_parameter_that_it_does_not_read_and_a_dry_run_that_it_does_not_offer() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let offering = app.offering(3).await;
    app.enrollment(app.student().await.id, offering, "PENDING").await;
    let before = written(&app).await;
    let mut triable = BTreeSet::new();
    let table = routes();
    for route in table.lines().iter().filter(|route| route.method != Method::GET) {
        let name = format!("{} {}", route.method, route.path);
        let path: Vec<&str> =
            route.path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect();
        let path = path.join("/");
        let send = async |query: &str| admin.call(route.method.clone(), &format!("{path}{query}")).await;
        // With the final slash and without it, and beside a parameter that is read.
        for query in ["?no_such=1", "?partial=true&no_such=1&dry_run=true"] {
            let refused = send(query).await;
            assert_eq!(refused.refusal(), (400, "invalid"), "{name}{query}");
            assert_eq!(
                refused.errors("no_such"),
                ["This call has no parameter `no_such`. Nothing was done."],
                "{name}"
            );
        }
        let bare = admin.call(route.method.clone(), &format!("{}?no_such=1", path.trim_end_matches('/'))).await;
        assert_eq!(bare.errors("no_such").len(), 1, "{name} without its final slash");
        let asked = send("?dry_run=true").await;
        if asked.errors("dry_run").is_empty() {
            triable.insert(name);
        } else {
            assert_eq!(asked.refusal(), (400, "invalid"), "{name}");
        }
    }
    assert_eq!(triable, TRIABLE.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(written(&app).await, before);
    let anonymous = app.anonymous().post("/api/token/?dry_run=true", &json!({})).await;
    assert_eq!(anonymous.errors("dry_run").len(), 1);
}

#[tokio::test]
async fn a_dry_run_of_results_says_which_would_be_refused_and_gives_none() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(9).await;
    let mut ids = Vec::new();
    for status in ["ENROLLED", "PENDING", "ENROLLED"] {
        ids.push(app.enrollment(app.student().await.id, offering, status).await);
    }
    let rows = json!([
        { "id": ids[0], "grade": "HD", "marks": "91.25" },
        { "id": ids[1], "grade": "C" },
        { "id": ids[2], "grade": "Z" },
    ]);
    let path = format!("{ENROLLMENTS}bulk-grade/?dry_run=true");
    let before = (written(&app).await, crate::enrollment::everything(&app).await);
    let asked = staff.with("Idempotency-Key", "may").post(&path, &json!({ "rows": rows })).await;
    assert_eq!((&asked.expect(200)["ok"], &asked.body["status"]), (&json!(false), &json!(200)));
    let reasons = asked.body["reasons"].as_array().unwrap();
    let facts: Vec<(&Value, &Value)> =
        reasons.iter().map(|reason| (&reason["facts"]["row"], &reason["facts"]["code"])).collect();
    assert_eq!(facts, [(&json!(1), &json!("no_result_yet")), (&json!(2), &json!("invalid"))]);
    let asked = staff.post(&path, &json!({ "rows": [rows[0]] })).await;
    assert_eq!(asked.expect(200), &json!({ "ok": true, "status": 200, "reasons": [] }));
    assert_eq!((written(&app).await, crate::enrollment::everything(&app).await), before);
    // The key is as free as before.
    let done = staff
        .with("Idempotency-Key", "may")
        .post(&format!("{ENROLLMENTS}bulk-grade/"), &json!({ "rows": [rows[0]] }))
        .await;
    assert_eq!(done.expect(200)["done_count"], json!(1));
}
