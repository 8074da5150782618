//! Many classes changed at once: the rest of a series, and those of a day.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::{SESSIONS, everything, told};
use crate::academic::{at, faulty, id_of, run};
use crate::support::{Person, TestApp};

const CANCEL: &str = "/api/core/sessions/cancel/";

/// Four Mondays from 2026-03-02, 9 to 11 in EN101; the path of the series, and the ids.
async fn series(staff: &Person, offering: Id, location: &str) -> (String, Vec<Id>) {
    let weekly = json!({
        "offering": offering, "weekday": "Mon", "start_time": "09:00", "end_time": "11:00",
        "first_date": "2026-03-02", "last_date": "2026-03-23", "location": location,
    });
    let made = staff.post("/api/core/sessions/generate/", &weekly).await;
    let sessions = made.expect(201)["sessions"].as_array().unwrap();
    let ids = sessions.iter().map(|class| Id(class["id"].as_i64().unwrap())).collect();
    (format!("{SESSIONS}series/{}/", made.body["series"].as_str().unwrap()), ids)
}

async fn code_of(app: &TestApp, offering: Id) -> String {
    let code = sqlx::query_scalar!(
        "select u.code from offerings o join units u on u.id = o.unit_id where o.id = $1",
        offering.0
    );
    code.fetch_one(&app.db).await.unwrap()
}

/// A member of each class in the database, by id.
async fn each(app: &TestApp, column: &str) -> Vec<String> {
    let sql = format!("select {column}::text from class_sessions order by id");
    let rows = sqlx::Executor::fetch_all(&app.db, sqlx::AssertSqlSafe(sql)).await.unwrap();
    rows.iter().map(|row| sqlx::Row::get(row, 0)).collect()
}

#[tokio::test]
async fn the_rest_of_a_series_moves_at_once_and_each_person_is_told_once() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (offering, other) = (app.offering(0).await, app.offering(0).await);
    let (path, ids) = series(&staff, offering, "EN101").await;
    series(&staff, other, "EN102").await;
    let (ann, ben) = (app.student().await, app.student().await);
    app.enrollment(ann.id, offering, "ENROLLED").await;
    app.enrollment(ben.id, offering, "PENDING").await;
    app.enrollment(app.student().await.id, offering, "WITHDRAWN").await;
    // One has been cancelled before: it moves, and that is no news.
    staff.patch(&at(SESSIONS, ids[2]), &json!({ "status": "cancelled" })).await.expect(200);
    run(&app.db, "delete from notifications").await;

    let change = json!({ "from": "2026-03-09", "location": "EN201", "start_time": "10:00" });
    let before = everything(&app).await;
    let asked = staff.patch(&format!("{path}?dry_run=true"), &change).await;
    assert_eq!(everything(&app).await, before, "to ask is not to do");
    let changed = staff.patch(&path, &change).await;
    assert_eq!(
        asked.expect(200),
        &json!({ "ok": true, "status": 200, "reasons": [], "answer": changed.expect(200) }),
        "what was told is what was done"
    );
    assert_eq!((&changed.body["changed_count"], &changed.body["told_count"]), (&json!(3), &json!(2)));
    let sessions = changed.body["sessions"].as_array().unwrap();
    let seen: Vec<Value> = sessions
        .iter()
        .map(|class| json!([class["id"], class["date"], class["start_time"], class["location"]]))
        .collect();
    let wanted = ["2026-03-09", "2026-03-16", "2026-03-23"];
    let wanted: Vec<Value> =
        wanted.iter().zip(&ids[1..]).map(|(day, id)| json!([id, day, "10:00:00", "EN201"])).collect();
    assert_eq!(seen, wanted);
    assert_eq!(staff.get(&at(SESSIONS, ids[0])).await.expect(200)["location"], "EN101");

    let code = code_of(&app, offering).await;
    let moved = |day: &str| format!("from Mon {day} 09:00-11:00, EN101 to Mon {day} 10:00-11:00, EN201");
    let says = format!("{code} lecture: {}; {}.", moved("2026-03-09"), moved("2026-03-23"));
    let notice = |person: Id| json!([person, staff.id, "Classes moved", says, ids[1]]);
    assert_eq!(told(&app).await, json!([notice(ann.id), notice(ben.id)]));
    let audited =
        sqlx::query!("select action, resource_id from audit_log order by id").fetch_all(&app.db).await.unwrap();
    let audited: Vec<_> =
        audited[audited.len() - 4..].iter().map(|row| (row.action.as_str(), row.resource_id)).collect();
    let cancelled = ids[2];
    let wanted = [cancelled, ids[1], ids[2], ids[3]].map(|id| ("update", Some(id.0)));
    assert_eq!(audited, wanted, "one row a class, after that of the cancelled one");

    // Up to a day; what is so already is not written, and of one class the notice is that of one.
    let until = json!({ "from": "2026-03-09", "to": "2026-03-15", "location": "EN202" });
    assert_eq!(staff.patch(&path, &until).await.expect(200)["changed_count"], json!(1));
    assert_eq!(told(&app).await[3][2], json!("Class moved"));
    assert_eq!(staff.patch(&path, &until).await.expect(200)["changed_count"], json!(0));
    // An instructor is no news.
    let tutor = json!({ "from": "2026-03-01", "instructor": staff.id });
    assert_eq!(staff.patch(&path, &tutor).await.expect(200)["changed_count"], json!(4));
    assert_eq!(told(&app).await.as_array().unwrap().len(), 4);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_series_that_would_clash_stays_where_it_is_as_a_whole() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (offering, other) = (app.offering(0).await, app.offering(0).await);
    let (path, ids) = series(&staff, offering, "EN101").await;
    let there = json!({
        "offering": other, "date": "2026-03-16", "start_time": "10:00", "end_time": "12:00", "location": "EN201",
    });
    let there = id_of(&staff.post(SESSIONS, &there).await);
    app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let before = everything(&app).await;
    let change = json!({ "from": "2026-03-01", "location": "EN201" });
    let refused = staff.patch(&path, &change).await;
    assert_eq!(refused.refusal(), (409, "clash"));
    let code = code_of(&app, other).await;
    let clash = json!({
        "date": "2026-03-16", "what": "room", "session": there, "unit_code": code, "start_time": "10:00:00",
        "end_time": "12:00:00",
    });
    assert_eq!(refused.body["clashes"], json!([clash]));
    let detail = format!("The room EN201 is taken by {code} on Mon 2026-03-16 10:00-12:00.");
    let reason = json!({ "code": "clash", "detail": detail, "facts": clash });
    let asked = staff.patch(&format!("{path}?dry_run=true"), &change).await;
    assert_eq!(asked.expect(200), &json!({ "ok": false, "status": 409, "reasons": [reason] }));
    assert_eq!(everything(&app).await, before);

    // Two of the series on one day are in each other's way too.
    let elsewhere = json!({ "date": "2026-03-09", "start_time": "13:00", "end_time": "14:00" });
    staff.patch(&at(SESSIONS, ids[0]), &elsewhere).await.expect(200);
    let together = json!({ "from": "2026-03-01", "start_time": "15:00", "end_time": "16:00" });
    assert_eq!(staff.patch(&path, &together).await.refusal(), (409, "clash"));
    assert_eq!(each(&app, "start_time").await, ["13:00:00", "09:00:00", "09:00:00", "09:00:00", "10:00:00"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_change_of_a_series_is_named_and_who_may_not_is_refused() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let (path, _) = series(&staff, offering, "EN101").await;
    let (foreign, _) = series(&staff, app.offering(0).await, "EN102").await;
    let student = app.student().await;
    app.enrollment(student.id, offering, "ENROLLED").await;
    let before = everything(&app).await;
    let from = "2026-03-01";
    for (change, field) in [
        (json!({ "location": "EN201" }), "from"),
        (json!({ "from": "soon" }), "from"),
        (json!({ "from": "2026-04-01", "location": "EN201" }), "from"),
        (json!({ "from": from, "to": "2026-02-01" }), "to"),
        (json!({ "from": from, "end_time": "08:00" }), "end_time"),
        (json!({ "from": from, "start_time": null }), "start_time"),
        (json!({ "from": from, "location": "x".repeat(256) }), "location"),
        (json!({ "from": from, "instructor": 987_654 }), "instructor"),
        (json!({ "from": from, "status": "gone" }), "status"),
    ] {
        for path in [path.clone(), format!("{path}?dry_run=true")] {
            let refused = staff.patch(&path, &change).await;
            assert!(refused.status == 400 && faulty(&refused).contains(field), "{change}: {}", refused.body);
        }
    }
    let change = json!({ "from": from, "location": "EN201" });
    for nothing in ["1", "00000000-0000-4000-8000-000000000000"] {
        let refused = staff.patch(&format!("{SESSIONS}series/{nothing}/"), &change).await;
        assert_eq!(refused.refusal(), (404, "not_found"), "{nothing}");
    }
    assert_eq!(convenor.patch(&foreign, &change).await.refusal(), (404, "not_found"));
    for stranger in [&student, &app.auditor().await, &app.parent().await] {
        assert_eq!(stranger.patch(&path, &change).await.refusal(), (403, "permission_denied"));
    }
    // Who instructs elsewhere in it sees the series, and still does not write it.
    let tutor = app.convenor().await;
    run(&app.db, format!("update class_sessions set instructor_id = {} where offering_id = {offering}", tutor.id))
        .await;
    assert_eq!(tutor.patch(&path, &change).await.refusal(), (403, "permission_denied"));
    run(&app.db, format!("update class_sessions set instructor_id = null where offering_id = {offering}")).await;
    assert_eq!(everything(&app).await, before);
    convenor.patch(&path, &change).await.expect(200);
}

#[tokio::test]
async fn the_classes_of_a_day_are_cancelled_at_once_and_each_person_is_told_once() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (one, two) = (app.offering(0).await, app.offering(0).await);
    let (_, ids) = series(&staff, one, "EN101").await;
    let (_, others) = series(&staff, two, "EN102").await;
    let lab = json!({ "offering": one, "date": "2026-03-09", "start_time": "14:00", "session_type": "lab" });
    let lab = id_of(&staff.post(SESSIONS, &lab).await);
    let (ann, ben) = (app.student().await, app.student().await);
    app.enrollment(ann.id, one, "ENROLLED").await;
    app.enrollment(ann.id, two, "ENROLLED").await;
    app.enrollment(ben.id, two, "PENDING").await;

    let day_off = json!({ "date": "2026-03-09", "reason": "Hung Kings' day" });
    let before = everything(&app).await;
    let asked = staff.post(&format!("{CANCEL}?dry_run=true"), &day_off).await;
    assert_eq!(everything(&app).await, before, "to ask is not to do");
    let done = staff.with("Idempotency-Key", "k").post(CANCEL, &day_off).await;
    let trial = json!({ "ok": true, "status": 200, "reasons": [], "answer": done.expect(200) });
    assert_eq!(asked.expect(200), &trial, "what was told is what was done");
    assert_eq!((&done.body["cancelled_count"], &done.body["told_count"]), (&json!(3), &json!(2)));
    let sessions = done.body["sessions"].as_array().unwrap();
    let seen: Vec<Value> = sessions.iter().map(|class| json!([class["id"], class["status"]])).collect();
    assert_eq!(seen, [json!([ids[1], "cancelled"]), json!([others[1], "cancelled"]), json!([lab, "cancelled"])]);
    assert_eq!(each(&app, "status").await.iter().filter(|status| *status == "cancelled").count(), 3);

    let (code, other) = (code_of(&app, one).await, code_of(&app, two).await);
    let monday = "Mon 2026-03-09 09:00-11:00";
    let all = format!(
        "{code} lecture: {monday}, EN101; {other} lecture: {monday}, EN102; {code} lab: Mon 2026-03-09 14:00. Hung Kings' day"
    );
    let wanted = json!([
        [ann.id, staff.id, "Classes cancelled", all, ids[1]],
        [ben.id, staff.id, "Class cancelled", format!("{other} lecture: {monday}, EN102. Hung Kings' day"), others[1]],
    ]);
    assert_eq!(told(&app).await, wanted);
    let again = staff.with("Idempotency-Key", "k").post(CANCEL, &day_off).await;
    assert_eq!(again.expect(200), &done.body, "a key cancels once");
    assert_eq!(staff.post(CANCEL, &day_off).await.expect(200)["cancelled_count"], json!(0));
    assert_eq!(told(&app).await, wanted);
    app.check_invariants().await;
}

#[tokio::test]
async fn whose_classes_a_day_off_takes() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let own = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let (foreign, third) = (app.offering(0).await, app.offering(0).await);
    let (_, ids) = series(&staff, own, "EN101").await;
    let (_, others) = series(&staff, foreign, "EN102").await;
    series(&staff, third, "EN103").await;
    let day_off = |day: &str, offerings: Value| json!({ "date": day, "offerings": offerings, "reason": "Flood" });
    let before = everything(&app).await;
    for (body, field) in [
        (json!({ "date": "2026-03-09" }), "reason"),
        (json!({ "reason": "Flood" }), "date"),
        (day_off("2026-03-09", json!([])), "offerings"),
        (day_off("2026-03-09", json!([own, 987_654])), "offerings[1]"),
        (json!({ "date": "2026-03-09", "reason": "x".repeat(2001) }), "reason"),
    ] {
        let refused = staff.post(CANCEL, &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{body}");
    }
    let both = day_off("2026-03-09", json!([own, foreign]));
    assert_eq!(convenor.post(CANCEL, &both).await.refusal(), (403, "permission_denied"));
    for stranger in [app.student().await, app.auditor().await, app.parent().await] {
        let refused = stranger.post(CANCEL, &day_off("2026-03-09", json!(null))).await;
        assert_eq!(refused.refusal(), (403, "permission_denied"));
    }
    assert_eq!(everything(&app).await, before);

    let cancelled = |reply: &Value| -> Vec<Id> {
        reply["sessions"].as_array().unwrap().iter().map(|class| Id(class["id"].as_i64().unwrap())).collect()
    };
    let reply = convenor.post(CANCEL, &day_off("2026-03-09", json!(null))).await;
    assert_eq!(cancelled(reply.expect(200)), [ids[1]], "a convenor's own");
    assert_eq!(cancelled(staff.post(CANCEL, &both).await.expect(200)), [others[1]], "those that are named");
    let reply = staff.post(CANCEL, &day_off("2026-03-16", json!(null))).await;
    assert_eq!(reply.expect(200)["cancelled_count"], json!(3), "all there are");
}

#[tokio::test]
async fn classes_are_in_the_year_of_their_offering_or_close_to_it() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    // In 2026.
    let offering = app.offering(0).await;
    let class = |date: &str| json!({ "offering": offering, "date": date, "start_time": "09:00" });
    let weekly = |first: &str, last: &str| json!({ "offering": offering, "weekday": "Mon", "start_time": "13:00", "first_date": first, "last_date": last });
    let generate = "/api/core/sessions/generate/";
    for (date, is_near) in [
        ("2025-11-30", false),
        ("2025-12-01", true),
        ("2027-01-31", true),
        ("2027-02-01", false),
        ("2035-12-25", false),
    ] {
        let reply = staff.post(SESSIONS, &class(date)).await;
        if is_near {
            reply.expect(201);
        } else {
            let says = "The offering is one of 2026; a day from 2025-12-01 to 2027-01-31 is expected.";
            assert_eq!((reply.status.as_u16(), reply.errors("date")), (400, vec![says]), "{date}");
        }
    }
    let moved = at(SESSIONS, id_of(&staff.post(SESSIONS, &class("2026-05-05")).await));
    assert_eq!(faulty(&staff.patch(&moved, &json!({ "date": "2036-05-05" })).await), ["date".to_owned()].into());
    for (pattern, field) in
        [(weekly("2025-11-24", "2026-03-01"), "first_date"), (weekly("2026-11-01", "2027-02-01"), "last_date")]
    {
        assert_eq!(faulty(&staff.post(generate, &pattern).await), [field.to_owned()].into(), "{pattern}");
    }
    staff.post(generate, &weekly("2025-11-25", "2025-12-01")).await.expect(201);
    // One that is there already can still be changed.
    run(&app.db, "update class_sessions set date = '2035-12-25' where date = '2026-05-05'").await;
    staff.patch(&moved, &json!({ "location": "EN101" })).await.expect(200);
}
