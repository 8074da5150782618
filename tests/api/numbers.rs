//! Numbers and grades as people type them, and numbers that are kept as they were sent or not at all.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::TestApp;

const COURSES: &str = "/api/academic/courses/";
const UNITS: &str = "/api/academic/units/";
const ENROLLMENTS: &str = "/api/enrollment/enrollments/";
const SUBMISSIONS: &str = "/api/core/submissions/";
const AMBIGUOUS: &str =
    "A comma before three digits may mean thousands or decimals: write 1234, or 1.234 with a point.";

#[tokio::test]
async fn a_comma_stands_before_decimals_where_it_cannot_stand_between_thousands() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let course = json!({ "code": "BA-X", "name": "x", "duration_years": "3,5", "credit_points": " 300,0 " });
    let made = staff.post(COURSES, &course).await;
    assert_eq!((&made.expect(201)["duration_years"], &made.body["credit_points"]), (&json!("3.5"), &json!("300.0")));
    let made = staff.post(UNITS, &json!({ "code": "COM10001", "name": "x", "credit_points": "6,25" })).await;
    assert_eq!(made.errors("credit_points"), ["Ensure that there are no more than 1 decimal places."]);
    let made = staff.post("/api/users/scholarships/", &json!({ "name": "x", "amount": "5000,50" })).await;
    assert_eq!(made.expect(201)["amount"], json!("5000.50"));
    let path = format!("/api/users/scholarships/{}/", made.body["id"]);
    assert_eq!(staff.patch(&path, &json!({ "amount": "5,000" })).await.errors("amount"), [AMBIGUOUS]);

    let offering = app.offering(0).await;
    let first = app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let second = app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let one = format!("{ENROLLMENTS}{first}/");
    let changed = staff.patch(&one, &json!({ "marks": "49,5" })).await;
    assert_eq!(changed.expect(200)["marks"], json!("49.50"));
    assert_eq!(staff.patch(&one, &json!({ "marks": "1,234" })).await.errors("marks"), [AMBIGUOUS]);
    let rows = json!({ "rows": [{ "id": second, "grade": "HD", "marks": "91,25" }] });
    staff.post(&format!("{ENROLLMENTS}bulk-grade/"), &rows).await.expect(200);
    let shown = staff.get(&format!("{ENROLLMENTS}{second}/")).await;
    assert_eq!(shown.expect(200)["marks"], json!("91.25"));
    let rows = json!({ "rows": [{ "id": second, "marks": "9x" }] });
    let refused = staff.post(&format!("{ENROLLMENTS}bulk-grade/"), &rows).await;
    assert_eq!(refused.errors("rows[0].marks"), ["A number such as 12.5 is expected."]);
}

#[tokio::test]
async fn a_grade_is_known_whatever_its_case_and_kept_as_the_scale_spells_it() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let first = app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let second = app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let third = app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let changed = staff.patch(&format!("{ENROLLMENTS}{first}/"), &json!({ "grade": "hd" })).await;
    assert_eq!((&changed.expect(200)["grade"], &changed.body["status"]), (&json!("HD"), &json!("COMPLETED")));
    let failed = json!({ "status": "FAILED", "grade": "n" });
    assert_eq!(staff.put(&format!("{ENROLLMENTS}{second}/"), &failed).await.expect(200)["grade"], json!("N"));
    let rows = json!({ "rows": [{ "id": third, "grade": "a-" }] });
    staff.post(&format!("{ENROLLMENTS}bulk-grade/"), &rows).await.expect(200);
    let listed = staff.get("/api/enrollment/transcripts/?grade=Hd").await;
    let grades: Vec<&Value> = listed.expect(200).as_array().unwrap().iter().map(|row| &row["grade"]).collect();
    assert_eq!(grades, [&json!("HD")]);
    let listed = staff.get("/api/enrollment/transcripts/?grade=a-").await;
    assert_eq!(listed.expect(200)[0]["grade"], json!("A-"));
    let refused = staff.patch(&format!("{ENROLLMENTS}{third}/"), &json!({ "grade": "x", "reason": "x" })).await;
    assert!(refused.errors("grade")[0].starts_with("`x` is not a grade"), "{}", refused.body);
}

#[tokio::test]
async fn numbers_of_a_form_are_kept_as_they_were_sent_or_refused_by_name() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let schema = json!({ "type": "object", "properties": { "cccd": { "type": "number" } } });
    let form = staff.post("/api/core/forms/", &json!({ "name": "x", "slug": "x", "schema": schema })).await;
    let form = form.expect(201)["id"].clone();
    let send = async |data: &str| {
        let body = format!(r#"{{"form": {form}, "data": {data}}}"#);
        ann.send(Method::POST, SUBMISSIONS, "application/json", body).await
    };
    for number in ["9007199254740993", "-9223372036854775808", "18446744073709551615", "0.1", "12.50", "1e30"] {
        let sent = send(&format!(r#"{{"cccd": {number}}}"#)).await;
        let id = sent.expect(201)["id"].clone();
        let shown = ann.get(&format!("{SUBMISSIONS}{id}/")).await;
        shown.expect(200);
        let text = String::from_utf8(shown.bytes).unwrap();
        let kept = text.split(r#"{"cccd":"#).nth(1).and_then(|rest| rest.split('}').next()).unwrap();
        assert_eq!(kept.parse::<f64>(), number.parse::<f64>());
        assert!(number.contains('.') || number.contains('e') || kept == number, "{number} is shown as {kept}");
    }
    for number in ["79201001234567890123", "18446744073709551616", "-9223372036854775809", "3.141592653589793238"] {
        let refused = send(&format!(r#"{{"9": 1, "cccd": {number}}}"#)).await;
        assert_eq!(refused.status, 400, "{number}");
        assert_eq!(
            refused.errors("data.cccd"),
            ["This number has more digits than can be kept; send it as text."],
            "{number}"
        );
    }
    let refused = send(r#"{"cccd": 1, "more": [{"cccd": 2, "cccd": 3}], "cccd": 4}"#).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.errors("data.cccd"), ["This name stands twice."]);
    assert_eq!(refused.errors("data.more[0].cccd"), ["This name stands twice."]);
}
