//! The password policy, and changing one's own password.

use serde_json::json;

use super::enter;
use crate::support::{PASSWORD, Person, Reply, Sender, TestApp};

const CHANGE: &str = "/api/users/users/me/password/";
const NEW: &str = "amber-Lantern-93";

const SHORT: &str = "This password is too short. It must contain at least 8 characters.";
const LONG: &str = "This password is too long. It may have at most 256 bytes.";
const NUMERIC: &str = "This password is entirely numeric.";
const COMMON: &str = "This password is too common or too easy to guess.";

async fn change(who: &Sender, current: &str, new: &str) -> Reply {
    who.post(CHANGE, &json!({ "current_password": current, "new_password": new })).await
}

/// Marigold Featherstone, `mfeather`.
async fn marigold(app: &TestApp) -> Person {
    let who = app.student().await;
    let sql = sqlx::query!(
        "update users
            set first_name = 'Marigold', last_name = 'Featherstone-Haugh', username = 'mfeather42', email = 'violet.kipling@uni.example.edu'
          where id = $1",
        who.id.0
    );
    sql.execute(&app.db).await.unwrap();
    // A new address ends all sessions.
    who.new_session(app).await
}

/// Passwords, and all that is wrong with each. Whether one is easy to guess takes long to find out, and is only looked at
/// when all else is right.
fn bad() -> Vec<(String, Vec<&'static str>)> {
    let similar = |what| match what {
        "email" => "This password is too similar to the email address.",
        "username" => "This password is too similar to the username.",
        "first" => "This password is too similar to the first name.",
        _ => "This password is too similar to the last name.",
    };
    vec![
        (String::new(), vec![SHORT]),
        ("a".to_owned(), vec![SHORT]),
        ("1234567".to_owned(), vec![SHORT, NUMERIC]),
        ("12345678".to_owned(), vec![NUMERIC]),
        ("password123".to_owned(), vec![COMMON]),
        ("Password123".to_owned(), vec![COMMON]),
        ("qwertyuiop".to_owned(), vec![COMMON]),
        ("aaaaaaaaaaaa".to_owned(), vec![COMMON]),
        ("918273645546372819".to_owned(), vec![NUMERIC]),
        ("٩١٨٢٧٣٦٤٥٥٤٦٣٧".to_owned(), vec![NUMERIC]),
        ("x9-Marigold-71q".to_owned(), vec![similar("first")]),
        ("9x-mARIGOLD-71q".to_owned(), vec![similar("first")]),
        ("tall-FEATHERSTONE-88".to_owned(), vec![similar("last")]),
        ("zq7-mfeather42-vv".to_owned(), vec![similar("username")]),
        ("zq7-kipling-vv0k".to_owned(), vec![similar("email")]),
        ("a1".repeat(129), vec![LONG]),
        (format!("{}-{}", NEW, "x".repeat(300)), vec![LONG]),
        ("é".repeat(129), vec![LONG]),
        (format!("Marigold-Featherstone-zq7-{}", "x".repeat(300)), vec![LONG, similar("first"), similar("last")]),
    ]
}

#[tokio::test]
async fn a_change_names_every_reason_against_a_password() {
    let app = TestApp::start().await;
    let who = marigold(&app).await;
    for (password, reasons) in bad() {
        let reply = change(&who, PASSWORD, &password).await;
        assert_eq!(reply.refusal(), (400, "invalid"), "{password}");
        assert_eq!(reply.errors("new_password"), reasons, "{password}");
        // All that is wrong, in all fields.
        let reply = who.post(CHANGE, &json!({ "new_password": password })).await;
        assert_eq!(reply.errors("current_password"), ["This field is required."]);
        if reasons != [COMMON] {
            assert_eq!(reply.errors("new_password"), reasons, "{password}");
        }
    }
    assert!(!who.post(CHANGE, &json!({})).await.errors("new_password").is_empty());
    enter(&app.anonymous(), "mfeather42", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn registering_names_every_reason_against_a_password() {
    let app = TestApp::start().await;
    for (password, reasons) in bad() {
        let body = json!({
            "email": "violet.kipling@uni.example.edu",
            "username": "mfeather42",
            "first_name": "Marigold",
            "last_name": "Featherstone-Haugh",
            "password": password,
            "confirm_password": password,
        });
        let reply = app.anonymous().post("/api/users/users/", &body).await;
        assert_eq!(reply.refusal(), (400, "invalid"), "{password}");
        assert_eq!(reply.errors("password"), reasons, "{password}");
    }
    let users = sqlx::query_scalar!(r#"select count(*) as "count!" from users"#);
    assert_eq!(users.fetch_one(&app.db).await.unwrap(), 0);
}

#[tokio::test]
async fn a_good_password_may_be_long_and_in_any_script() {
    let app = TestApp::start().await;
    let who = app.student().await;
    let mut current = PASSWORD.to_owned();
    for new in [
        "σωστό-άλογο-μπαταρία",
        "correct horse battery staple twice around the old oak tree, and home again 🐎",
        " spaces count  ",
    ] {
        change(&who, &current, new).await.expect(204);
        enter(&app.anonymous(), &who.email, new).await.expect(200);
        current = new.to_owned();
    }
    enter(&app.anonymous(), &who.email, "spaces count").await.expect(401);
}

#[tokio::test]
async fn a_changed_password_is_the_only_one_from_then_on() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.student().await, app.student().await);
    app.set_time("2026-03-02T02:05:00Z").await;
    let reply = change(&ann, "not-the-Password-1", NEW).await;
    assert_eq!(reply.refusal(), (400, "invalid"));
    assert_eq!(reply.errors("current_password"), ["This is not your current password."]);
    let reply = change(&ann, PASSWORD, NEW).await;
    reply.expect(204);
    assert!(reply.bytes.is_empty());
    enter(&app.anonymous(), &ann.email, PASSWORD).await.expect(401);
    enter(&app.anonymous(), &ann.email, NEW).await.expect(200);
    enter(&app.anonymous(), &bob.email, PASSWORD).await.expect(200);
    assert_eq!(app.anonymous().post(CHANGE, &json!({})).await.refusal(), (401, "not_authenticated"));

    let rows = sqlx::query!(
        "select action, user_id, resource_type, resource_id, details
           from audit_log
          where action not like 'log%'"
    );
    let rows = rows.fetch_all(&app.db).await.unwrap();
    assert_eq!(rows.len(), 1, "one row, and none for the refusal");
    let row = &rows[0];
    assert_eq!(
        (row.action.as_str(), row.user_id, row.resource_id),
        ("change_password", Some(ann.id.0), Some(ann.id.0))
    );
    assert_eq!((row.resource_type.as_str(), &row.details), ("user", &json!({})));
    let stored = sqlx::query!(
        r#"select password_hash, password_changed_at::text as "changed!" from users where id = $1"#,
        ann.id.0
    );
    let stored = stored.fetch_one(&app.db).await.unwrap();
    assert!(stored.password_hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !stored.password_hash.contains(NEW));
    assert!(stored.changed.starts_with("2026-03-02 02:05:00"));
}

#[tokio::test]
async fn a_stolen_token_does_not_guess_the_password_faster_than_at_the_door() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let ann = app.student().await;
    for number in 0..10 {
        change(&ann.with("X-Forwarded-For", format!("10.0.0.{number}")), "not-the-Password-1", NEW).await.expect(400);
    }
    let reply = change(&ann, PASSWORD, NEW).await;
    assert_eq!((reply.refusal(), reply.header("retry-after")), ((429, "throttled"), Some("60")));
    // A policy that is broken costs no attempt and no look at the password.
    change(&ann, PASSWORD, "a").await.expect(400);
    app.set_time("2026-03-02T02:01:00Z").await;
    change(&ann, PASSWORD, NEW).await.expect(204);
    // Successes do not count.
    change(&ann, NEW, PASSWORD).await.expect(204);
    change(&ann, PASSWORD, NEW).await.expect(204);
}

#[tokio::test]
async fn a_full_hash_queue_refuses_a_change_and_costs_no_attempt() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let places = app.all_places().await;
    for _ in 0..12 {
        assert_eq!(change(&ann, PASSWORD, NEW).await.refusal(), (503, "unavailable"));
    }
    let rows = sqlx::query_scalar!(
        r#"select count(*) as "count!" from throttle_buckets where key like 'login:%' and tokens not in (10, 20, 300)"#
    );
    assert_eq!(rows.fetch_one(&app.db).await.unwrap(), 0);
    drop(places);
    change(&ann, PASSWORD, NEW).await.expect(204);
}
