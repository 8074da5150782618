//! Many decisions or results in one call: each row on its own, all in one transaction.

use serde_json::json;
use swincms::ids::Id;

use super::{ENROLLMENTS, everything, taken, told};
use crate::academic::run;
use crate::support::TestApp;

fn approve() -> String {
    format!("{ENROLLMENTS}bulk-approve/")
}

fn grade() -> String {
    format!("{ENROLLMENTS}bulk-grade/")
}

#[tokio::test]
async fn a_class_is_approved_at_once_and_each_row_is_reported() {
    let app = TestApp::start().await;
    let convenor = app.convenor().await;
    let offering = app.offering_of(app.unit_of(convenor.id).await, 9).await;
    let mut ids = Vec::new();
    for status in ["PENDING", "ENROLLED", "PENDING"] {
        ids.push(app.enrollment(app.student().await.id, offering, status).await);
    }
    let foreign = app.enrollment(app.student().await.id, app.offering(0).await, "PENDING").await;
    let asked = json!({ "ids": [ids[0], ids[1], ids[2], foreign, 987_654, ids[0]], "notes": "Welcome" });
    let reply = convenor.post(&approve(), &asked).await;
    let done = |row: usize, id: Id| json!({ "row": row, "id": id, "ok": true, "status": "ENROLLED", "code": "", "detail": "", "errors": {} });
    let results = &reply.expect(200)["results"];
    assert_eq!((&reply.body["done_count"], &reply.body["refused_count"]), (&json!(2), &json!(4)));
    assert_eq!((&results[0], &results[2]), (&done(0, ids[0]), &done(2, ids[2])));
    for (row, code) in [(1, "not_pending"), (3, "not_found"), (4, "not_found"), (5, "named_twice")] {
        assert_eq!((&results[row]["ok"], &results[row]["code"]), (&json!(false), &json!(code)), "{row}");
        assert_ne!(results[row]["detail"], json!(""));
    }
    let decided = sqlx::query_scalar!(
        r#"select count(*) as "count!" from enrollment_decisions where decision = 'approved' and notes = 'Welcome'"#
    );
    assert_eq!(decided.fetch_one(&app.db).await.unwrap(), 2);
    assert_eq!(told(&app).await.as_array().unwrap().len(), 2);
    let sent = sqlx::query_scalar!(r#"select count(*) as "count!" from webhook_outbox"#);
    assert_eq!(sent.fetch_one(&app.db).await.unwrap(), 2);
    assert_eq!(taken(&app, offering).await, 3);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_class_is_graded_at_once_and_a_grade_decides_on_the_status() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(9).await;
    let mut ids = Vec::new();
    for status in ["ENROLLED", "ENROLLED", "ENROLLED", "COMPLETED", "PENDING", "ENROLLED", "ENROLLED"] {
        ids.push(app.enrollment(app.student().await.id, offering, status).await);
    }
    let rows = json!({ "rows": [
        { "id": ids[0], "grade": "HD", "marks": "91.25" },
        { "id": ids[1], "grade": "N", "marks": 30 },
        { "id": ids[2], "marks": 55 },
        { "id": ids[3], "grade": "C" },
        { "id": ids[4], "grade": "C" },
        { "id": ids[5], "grade": "Z", "marks": 101 },
        { "id": ids[6], "status": "WITHDRAWN", "reason": "Left" },
    ] });
    let reply = staff.post(&grade(), &rows).await;
    let results = reply.expect(200)["results"].as_array().unwrap().clone();
    let statuses: Vec<_> = results.iter().map(|row| row["status"].as_str()).collect();
    let done = [Some("COMPLETED"), Some("FAILED"), Some("ENROLLED"), None, None, None, Some("WITHDRAWN")];
    assert_eq!(statuses, done);
    assert_eq!(results[3]["errors"]["reason"].as_array().unwrap().len(), 1, "a correction says why");
    assert_eq!(results[4]["code"], json!("no_result_yet"));
    assert_eq!(results[5]["errors"].as_object().unwrap().len(), 2);
    assert_eq!((&reply.body["done_count"], &reply.body["refused_count"]), (&json!(4), &json!(3)));
    assert_eq!(taken(&app, offering).await, 6);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_call_that_does_not_fit_does_nothing() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = app.enrollment(app.student().await.id, app.offering(0).await, "PENDING").await;
    let before = everything(&app).await;
    for (path, body, field) in [
        (approve(), json!({}), "ids"),
        (approve(), json!({ "ids": [] }), "ids"),
        (approve(), json!({ "ids": [id, "x"] }), "ids[1]"),
        (approve(), json!({ "ids": vec![id; 1001] }), "ids"),
        (grade(), json!({ "rows": [] }), "rows"),
        (grade(), json!({ "rows": [{ "grade": "P" }] }), "rows[0].id"),
        (grade(), json!({ "rows": [{ "id": id, "marks": "many" }] }), "rows[0].marks"),
    ] {
        let refused = staff.post(&path, &body).await;
        assert_eq!((refused.status.as_u16(), refused.errors(field).len()), (400, 1), "{path}: {}", refused.body);
    }
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn a_repeated_call_answers_the_same_and_does_nothing_more() {
    let app = TestApp::start().await;
    let staff = app.staff().await.with("Idempotency-Key", "class-1");
    let id = app.enrollment(app.student().await.id, app.offering(0).await, "PENDING").await;
    let first = staff.post(&approve(), &json!({ "ids": [id] })).await;
    let before = everything(&app).await;
    assert_eq!(staff.post(&approve(), &json!({ "ids": [id] })).await.expect(200), first.expect(200));
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn bulk_calls_that_cross_each_other_do_not_lock_each_other_out() {
    let app = TestApp::with(&[("DB_POOL_SIZE", "8")]).await;
    let staff = app.staff().await;
    let (one, other) = (app.offering(0).await, app.offering(0).await);
    let mut ids = Vec::new();
    for offering in [one, other, one, other, one, other] {
        ids.push(app.enrollment(app.student().await.id, offering, "ENROLLED").await);
    }
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("select id from offerings where id in ({one}, {other}) for update")).await;
    let rows = |ids: &[Id]| -> serde_json::Value {
        let row = |id: &Id| json!({ "id": id, "status": "WITHDRAWN" });
        json!({ "rows": ids.iter().map(row).collect::<Vec<_>>() })
    };
    let (ahead, back) = (rows(&ids[..4]), rows(&ids[2..].iter().rev().copied().collect::<Vec<_>>()));
    let path = grade();
    let (first, second, ()) = tokio::join!(staff.post(&path, &ahead), staff.post(&path, &back), async {
        app.until_so_many_wait(2).await;
        halfway.commit().await.unwrap();
    });
    let done = |reply: &crate::support::Reply| reply.expect(200)["done_count"].as_i64().unwrap();
    // The two in the middle are withdrawn by whoever comes first; for the other nothing is left to do.
    assert_eq!(done(&first) + done(&second), 8);
    assert_eq!((taken(&app, one).await, taken(&app, other).await), (0, 0));
    app.check_invariants().await;
}
