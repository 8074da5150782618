//! The audit log's seals: what is changed by hand is named, what is not is not.

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::cli::swincms;
use crate::support::{Person, TestApp};

const LOG: &str = "/api/users/audit-log/";

/// What `audit verify` says.
async fn verify(app: &TestApp, more: &[&str]) -> Value {
    let said = swincms(app, &[&["audit", "verify", "--json"], more].concat()).await;
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["ok"], said.ok, "the exit code says the same: {report}");
    report
}

/// The rows and seals that are at fault.
fn named(report: &Value) -> (Vec<i64>, Vec<i64>) {
    let of = |name: &str| {
        let faults = report["faults"].as_array().unwrap().iter();
        let mut ids: Vec<i64> = faults.filter_map(|fault| fault[name].as_i64()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    (of("row"), of("seal"))
}

async fn write_courses(staff: &Person, prefix: &str, many: usize) {
    for number in 0..many {
        let body = json!({ "code": format!("{prefix}{number}"), "name": "A course" });
        staff.post("/api/academic/courses/", &body).await.expect(201);
    }
}

async fn until_sealed(app: &TestApp) {
    app.until("all rows are sealed", async || {
        let left = sqlx::query_scalar!(
            r#"select (select count(*) from audit_log) - coalesce((select max(total_count) from audit_seals), 0) as "left!""#
        );
        left.fetch_one(&app.db).await.unwrap() == 0
    })
    .await;
}

/// A server whose log has three seals over four rows each.
async fn sealed() -> (TestApp, Person, Vec<i64>) {
    let app = TestApp::with_background(&[]).await;
    let staff = app.staff().await;
    for prefix in ["A", "B", "C"] {
        // Written in one go, so that no seal comes in between.
        sqlx::query!(
            "insert into audit_log (user_id, action, resource_type, resource_id, details, ip_address, user_agent, request_id)
             select $1, 'update', 'course', n, jsonb_build_object('changes', $2::text || n), '192.0.2.7', 'test', 'r' || n
               from generate_series(1, 4) n",
            staff.id.0,
            prefix
        )
        .execute(&app.db)
        .await
        .unwrap();
        until_sealed(&app).await;
    }
    let rows = sqlx::query_scalar!("select id from audit_log order by id").fetch_all(&app.db).await.unwrap();
    assert_eq!(rows.len(), 12);
    (app, staff, rows)
}

/// Does something by hand, past the triggers, for as long as `audit verify` looks.
async fn tampered(app: &TestApp, statements: &str) -> (Vec<i64>, Vec<i64>) {
    let by_hand = |statements: &str| {
        format!("set session_replication_role = replica; {statements}; reset session_replication_role")
    };
    let keep = "create table kept_log as table audit_log; create table kept_seals as table audit_seals";
    sqlx::raw_sql(keep).execute(&app.db).await.unwrap();
    let statements = sqlx::AssertSqlSafe(by_hand(statements));
    sqlx::raw_sql(statements).execute(&app.db).await.unwrap();
    let found = named(&verify(app, &[]).await);
    let back = "delete from audit_log; delete from audit_seals;
                insert into audit_log select * from kept_log; insert into audit_seals select * from kept_seals;
                drop table kept_log; drop table kept_seals";
    sqlx::raw_sql(sqlx::AssertSqlSafe(by_hand(back))).execute(&app.db).await.unwrap();
    found
}

#[tokio::test]
async fn every_change_of_a_row_by_hand_is_found_and_the_row_named() {
    let (app, _, rows) = sealed().await;
    assert_eq!(verify(&app, &[]).await["faults"], json!([]));
    let (row, other) = (rows[5], rows[9]);
    for set in [
        "user_id = 4711",
        "user_id = null",
        "action = 'updat'",
        "resource_type = 'cours'",
        "resource_id = 4711",
        "resource_id = null",
        "details = '{\"changes\": {}}'",
        "details = '{}'",
        "salt = '\\x00'",
        "details_digest = sha256('')",
        "ip_address = '192.0.2.8'",
        "ip_address = '192.0.2.7/8'",
        "ip_address = null",
        "user_agent = 'another'",
        "origin_salt = '\\x00'",
        "origin_digest = sha256('')",
        "request_id = 'another'",
        "created_at = created_at - interval '1 microsecond'",
        // Within what is sealed, and as if it were new.
        "position = (select position from audit_log order by id limit 1)",
        "position = '9999999999'",
        // As an erasure would, but nobody was anonymised.
        "details = '{}', salt = ''",
        "ip_address = null, user_agent = '', origin_salt = ''",
        // With a digest that fits.
        "details = '{\"x\": 1}', details_digest = sha256(salt || convert_to('{\"x\": 1}', 'UTF8'))",
    ] {
        let (rows, _) = tampered(&app, &format!("update audit_log set {set} where id = {row}")).await;
        assert_eq!(rows, [row], "{set}");
    }
    let renumbered = tampered(&app, &format!("update audit_log set id = 4711 where id = {row}")).await.0;
    assert_eq!(renumbered, [row, 4711]);
    assert_eq!(tampered(&app, &format!("delete from audit_log where id = {row}")).await.0, [row]);
    assert_eq!(tampered(&app, &format!("delete from audit_log where id in ({row}, {other})")).await.0, [row, other]);
    let copy = format!(
        "insert into audit_log select 4711, user_id, action, resource_type, resource_id, details, salt, details_digest,
                ip_address, user_agent, request_id, created_at, position, origin_salt, origin_digest
           from audit_log where id = {row}"
    );
    assert_eq!(tampered(&app, &copy).await.0, [4711], "inserted among sealed rows");
    let swap = format!(
        "update audit_log a set action = 'delete', resource_id = b.resource_id, details = b.details, salt = b.salt,
                details_digest = b.details_digest
           from audit_log b where (a.id, b.id) in (({row}, {other}), ({other}, {row}))"
    );
    assert_eq!(tampered(&app, &swap).await.0, [row, other], "swapped");
    assert_eq!(verify(&app, &[]).await["faults"], json!([]), "all of it was put back");
}

#[tokio::test]
async fn every_change_of_a_seal_by_hand_is_found() {
    let (app, _, rows) = sealed().await;
    let seals = sqlx::query_scalar!("select id from audit_seals order by id").fetch_all(&app.db).await.unwrap();
    let [_, second, third] = seals[..] else { panic!("three seals, not {seals:?}") };
    for set in [
        "hmac = sha256('')",
        "previous_hmac = sha256('')",
        "from_id = from_id - 1",
        "to_id = to_id + 1",
        "row_count = row_count, total_count = total_count + 1",
        "row_ids = array[row_ids[2], row_ids[1], row_ids[3], row_ids[4]]",
        "row_hmacs = sha256('a') || sha256('b') || sha256('c') || sha256('d')",
        "sealed_at = sealed_at + interval '1 microsecond'",
    ] {
        let (_, found) = tampered(&app, &format!("update audit_seals set {set} where id = {second}")).await;
        assert!(found.contains(&second), "{set}: {found:?}");
    }
    let (strangers, found) = tampered(&app, &format!("delete from audit_seals where id = {second}")).await;
    assert_eq!((strangers, found), (rows[4..8].to_vec(), vec![third]), "a gap in the chain");
}

#[tokio::test]
async fn an_end_that_was_cut_off_is_found_by_a_head_that_was_noted() {
    let (app, _, _) = sealed().await;
    let head = verify(&app, &[]).await["head"].as_str().unwrap().to_owned();
    assert_eq!(verify(&app, &["--head", &head]).await["ok"], true);
    let cut = "set session_replication_role = replica;
               delete from audit_log where id > (select max(id) - 4 from audit_log);
               delete from audit_seals where id = (select max(id) from audit_seals);
               reset session_replication_role";
    sqlx::raw_sql(cut).execute(&app.db).await.unwrap();
    let report = verify(&app, &[]).await;
    assert_eq!((&report["ok"], &report["rows"]), (&json!(true), &json!(8)), "the log alone cannot know");
    let report = verify(&app, &["--head", &head]).await;
    assert!(report["faults"][0]["says"].as_str().unwrap().contains("cut off"), "{report}");
}

#[tokio::test]
async fn a_long_write_delays_the_seals_and_nothing_is_wrong_meanwhile() {
    let (app, staff, _) = sealed().await;
    let mut long = app.transaction().await;
    sqlx::query!("insert into audit_log (action) values ('slow')").execute(&mut *long).await.unwrap();
    write_courses(&staff, "D", 3).await;
    // Another look of the sealer than the one that may be under way.
    let report = verify(&app, &[]).await;
    assert_eq!((&report["ok"], &report["not_sealed_yet"], &report["rows"]), (&json!(true), &json!(3), &json!(15)));
    long.commit().await.unwrap();
    until_sealed(&app).await;
    let report = verify(&app, &[]).await;
    assert_eq!((&report["ok"], &report["not_sealed_yet"], &report["rows"]), (&json!(true), &json!(0), &json!(16)));
    app.check_invariants().await;
}

#[tokio::test]
async fn two_servers_seal_one_chain() {
    let app = TestApp::with_background(&[]).await;
    let other = app.another_server().with_background().start().await;
    let staff = app.staff().await;
    for round in 0..3 {
        let (here, there) = (format!("H{round}-"), format!("T{round}-"));
        let at_the_other = staff.at(&other);
        tokio::join!(write_courses(&staff, &here, 4), write_courses(&at_the_other, &there, 4));
        assert_eq!(verify(&app, &[]).await["faults"], json!([]));
    }
    until_sealed(&app).await;
    let report = verify(&app, &[]).await;
    assert_eq!((&report["ok"], &report["sealed"]), (&json!(true), &json!(24)));
    app.check_invariants().await;
}

#[tokio::test]
async fn the_history_of_an_object_shows_each_change_with_the_fields_before_and_after() {
    let app = TestApp::start().await;
    let (staff, auditor) = (app.staff().await.with("User-Agent", "tester"), app.auditor().await);
    let made = staff.post("/api/academic/courses/", &json!({ "code": "C", "name": "Old" })).await;
    let id = Id(made.expect(201)["id"].as_i64().unwrap());
    let changed = staff.patch(&format!("/api/academic/courses/{id}/"), &json!({ "name": "New" })).await;
    changed.expect(200);
    write_courses_by(&app).await;

    let history = auditor.get(&format!("{LOG}?resource_type=course&resource_id={id}")).await;
    let history = history.expect(200).as_array().unwrap().clone();
    assert_eq!(history.iter().map(|entry| entry["action"].as_str().unwrap()).collect::<Vec<_>>(), ["update", "create"]);
    let newest = &history[0];
    assert_eq!(newest["details"], json!({ "changes": { "name": { "before": "Old", "after": "New" } } }));
    assert_eq!((&newest["ip_address"], &newest["user_agent"]), (&json!("127.0.0.1"), &json!("tester")));
    assert_eq!(newest["request_id"], changed.header("x-request-id").unwrap());
    let mut members: Vec<&str> = newest.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "action",
            "created_at",
            "details",
            "id",
            "ip_address",
            "request_id",
            "resource_id",
            "resource_type",
            "user",
            "user_agent"
        ]
    );
    assert_eq!(auditor.get(&format!("{LOG}{}/", newest["id"])).await.expect(200), newest);
    auditor.get(&format!("{LOG}987654/")).await.expect(404);
}

async fn write_courses_by(app: &TestApp) {
    write_courses(&app.staff().await, "X", 2).await;
}

#[tokio::test]
async fn the_log_is_filtered_by_each_of_its_fields() {
    let app = TestApp::start().await;
    let (admin, staff) = (app.admin().await, app.staff().await);
    sqlx::query!(
        "insert into audit_log (user_id, action, resource_type, resource_id, ip_address, user_agent, created_at)
         values ($1, 'create', 'page', 7, '192.0.2.7', 'one', '2026-03-01T10:00:00Z'),
                ($1, 'delete', 'page', 8, '2001:db8::1', 'two', '2026-03-02T10:00:00Z'),
                (null, 'create', 'unit', 7, null, '', '2026-03-03T10:00:00Z')",
        staff.id.0
    )
    .execute(&app.db)
    .await
    .unwrap();
    for (asked, found) in [
        (String::new(), vec![3, 2, 1]),
        (format!("user={}", staff.id), vec![2, 1]),
        ("action=create".into(), vec![3, 1]),
        ("resource_type=page".into(), vec![2, 1]),
        ("resource_id=7".into(), vec![3, 1]),
        ("ip_address=192.0.2.7".into(), vec![1]),
        ("ip_address=2001:db8:0::1".into(), vec![2]),
        ("user_agent=two".into(), vec![2]),
        ("created_from=2026-03-02T10:00:00Z".into(), vec![3, 2]),
        ("created_to=2026-03-02".into(), vec![2, 1]),
        ("created_from=2026-03-02&created_to=2026-03-03".into(), vec![3, 2]),
        ("ordering=created_at".into(), vec![1, 2, 3]),
    ] {
        let reply = admin.get(&format!("{LOG}?{asked}")).await;
        reply.expect(200);
        assert_eq!(reply.ids().into_iter().map(|id| id.0).collect::<Vec<_>>(), found, "{asked}");
    }
    assert!(!admin.get(&format!("{LOG}?ip_address=here")).await.errors("ip_address").is_empty());
    for person in [staff, app.student().await, app.convenor().await, app.parent().await] {
        person.get(LOG).await.expect(403);
    }
    app.anonymous().get(LOG).await.expect(401);
}
