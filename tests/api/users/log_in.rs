//! Logging in and out: `/api/token/…`.

use std::time::Duration;

use axum::http::Method;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::enter;
use crate::support::{PASSWORD, Person, Reply, Sender, TestApp};

const ME: &str = "/api/users/users/me/";
/// Public, but a bad token is not overlooked.
const COURSES: &str = "/api/academic/courses/";

async fn wrong(from: &Sender, name: &str) -> Reply {
    enter(from, name, "not-the-Password-1").await
}

/// A part of a token, read without looking at the signature.
fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Sends with this token.
fn bearing(app: &TestApp, token: &Value) -> Sender {
    app.anonymous().with("Authorization", format!("Bearer {}", token.as_str().unwrap()))
}

async fn refresh(app: &TestApp, token: impl Into<Value>) -> Reply {
    app.anonymous().post("/api/token/refresh/", &json!({ "refresh": token.into() })).await
}

async fn verify(app: &TestApp, token: impl Into<Value>) -> Reply {
    app.anonymous().post("/api/token/verify/", &json!({ "token": token.into() })).await
}

async fn log_out(app: &TestApp, token: impl Into<Value>) -> Reply {
    app.anonymous().post("/api/token/logout/", &json!({ "refresh": token.into() })).await
}

fn is_not_valid(reply: &Reply) {
    assert_eq!(reply.refusal(), (401, "token_not_valid"), "{}", reply.body);
}

async fn deactivate(app: &TestApp, who: &Person) {
    let sql = sqlx::query!("update users set is_active = false where id = $1", who.id.0);
    sql.execute(&app.db).await.unwrap();
}

#[tokio::test]
async fn people_log_in_by_address_or_user_name_in_any_case() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let ways = [
        ("/api/token/", json!({ "email": ann.email, "password": PASSWORD })),
        ("/api/token/", json!({ "email": ann.email.to_uppercase(), "password": PASSWORD })),
        ("/api/token/", json!({ "email": format!("  {}\t", ann.email), "password": PASSWORD })),
        ("/api/token", json!({ "email": ann.email, "password": PASSWORD })),
        ("/api/token/", json!({ "username": ann.username, "password": PASSWORD })),
        ("/api/token/", json!({ "username": ann.username.to_uppercase(), "password": PASSWORD })),
        ("/api/token/", json!({ "username": ann.email, "password": PASSWORD })),
        ("/api/token/", json!({ "email": "", "username": ann.username, "password": PASSWORD, "remember": true })),
        ("/api/token/compat/", json!({ "email": ann.email, "password": PASSWORD })),
        ("/api/token/compat/", json!({ "username": ann.username, "password": PASSWORD })),
    ];
    for (path, body) in ways {
        let reply = app.anonymous().post(path, &body).await;
        let pair = reply.expect(200).as_object().unwrap();
        assert_eq!(pair.keys().collect::<Vec<_>>(), ["access", "refresh"], "{path} {body}");
        let me = bearing(&app, &pair["access"]).get(ME).await;
        assert_eq!(me.expect(200)["id"], json!(ann.id), "{path} {body}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn an_address_goes_before_a_user_name_that_looks_like_it() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.student().await, app.student().await);
    let sql = sqlx::query!("update users set username = $2 where id = $1", bob.id.0, ann.email);
    sql.execute(&app.db).await.unwrap();
    let pair = enter(&app.anonymous(), &ann.email, PASSWORD).await;
    assert_eq!(part(pair.expect(200)["access"].as_str().unwrap(), 1)["user_id"], json!(ann.id));
}

#[tokio::test]
async fn unknown_wrong_and_inactive_are_refused_alike() {
    let app = TestApp::start().await;
    let (ann, ida) = (app.student().await, app.student().await);
    deactivate(&app, &ida).await;
    let nobody = app.anonymous().with("X-Request-Id", "the-same");
    let mut replies = Vec::new();
    for path in ["/api/token/", "/api/token/compat/"] {
        let pairs =
            [(ann.email.as_str(), "wrong-Password-1"), ("no@example.edu", PASSWORD), (ida.email.as_str(), PASSWORD)];
        for (email, password) in pairs {
            replies.push(nobody.post(path, &json!({ "email": email, "password": password })).await);
        }
        replies.push(nobody.post(path, &json!({ "username": "nobody-at-all", "password": PASSWORD })).await);
    }
    for reply in &replies {
        assert_eq!(reply.expect(401)["detail"], "No active account found with the given credentials");
        assert_eq!(reply.bytes, replies[0].bytes);
        let names = |reply: &Reply| reply.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(reply), names(&replies[0]));
    }
}

#[tokio::test]
async fn an_unknown_account_takes_as_long_as_a_wrong_password() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let ann = app.student().await;
    // The least of some is the work itself, whatever else the machine does.
    let mut least = [Duration::MAX; 2];
    for round in 0..7 {
        let from = app.anonymous().with("X-Forwarded-For", format!("10.0.0.{round}"));
        for (kind, name) in [(0, ann.email.clone()), (1, format!("no{round}@example.edu"))] {
            let started = std::time::Instant::now();
            wrong(&from, &name).await.expect(401);
            least[kind] = least[kind].min(started.elapsed());
        }
    }
    assert!(least[1] * 3 > least[0] && least[0] * 3 > least[1], "wrong {:?}, unknown {:?}", least[0], least[1]);
}

#[tokio::test]
async fn every_missing_field_is_named() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    for path in ["/api/token/", "/api/token/compat/"] {
        for body in [json!({}), json!({ "email": " ", "password": "" }), json!({ "username": "" })] {
            let reply = nobody.post(path, &body).await;
            assert_eq!(reply.refusal(), (400, "invalid"), "{body}");
            assert_eq!(reply.errors("email"), ["This field is required."], "{body}");
            assert_eq!(reply.errors("password"), ["This field is required."], "{body}");
        }
        let reply = nobody.post(path, &json!({ "email": "ann@example.edu" })).await;
        assert_eq!(reply.expect(400)["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["password"]);
        let reply = nobody.post(path, &json!({ "password": "x" })).await;
        assert_eq!(reply.expect(400)["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), ["email"]);
        for (field, body) in [
            ("email", json!({ "email": 5, "password": "x" })),
            ("email", json!({ "email": null, "password": "x" })),
            ("password", json!({ "email": "ann@example.edu", "password": ["x"] })),
            ("password", json!({ "email": "ann@example.edu", "password": "a\u{0}b" })),
        ] {
            let reply = nobody.post(path, &body).await;
            assert_eq!((reply.status.as_u16(), reply.errors(field).len()), (400, 1), "{body}: {}", reply.body);
        }
        nobody.post(path, &json!(["email"])).await.expect(400);
        nobody.send(Method::POST, path, "application/json", "{\"email\":").await.expect(400);
        nobody.send(Method::POST, path, "text/plain", "email=ann").await.expect(415);
        nobody.get(path).await.expect(405);
    }
}

#[tokio::test]
async fn tokens_claim_what_the_contract_names() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let pair = ann.log_in().await;
    let now = app.clock.now().timestamp();
    let mut ids = Vec::new();
    for (kind, life) in [("access", 3600), ("refresh", 86_400)] {
        let token = pair.body[kind].as_str().unwrap();
        assert_eq!(part(token, 0), json!({ "typ": "JWT", "alg": "HS256" }));
        let claims = part(token, 1);
        let session = claims["session_id"].as_i64().unwrap();
        let jti = claims["jti"].as_str().unwrap();
        assert_eq!(
            claims,
            json!({ "token_type": kind, "iat": now, "exp": now + life, "jti": jti, "user_id": ann.id, "session_id": session })
        );
        ids.push((session, jti.to_owned()));
    }
    assert_eq!(ids[0].0, ids[1].0, "both belong to one session");
    assert_ne!(ids[0].1, ids[1].1, "each token has its own id");
    let owner = sqlx::query_scalar!("select user_id from sessions where id = $1", ids[0].0);
    assert_eq!(owner.fetch_one(&app.db).await.unwrap(), ann.id.0);

    let short = TestApp::with(&[("ACCESS_TOKEN_MINUTES", "5")]).await;
    let pair = short.student().await.log_in().await;
    assert_eq!(part(pair.body["access"].as_str().unwrap(), 1)["exp"], json!(now + 300));
}

#[tokio::test]
async fn a_password_that_an_older_hash_has_in_another_form_opens_with_every_keyboard_from_then_on() {
    use argon2::PasswordHasher as _;
    use argon2::password_hash::phc::PasswordHash;
    let app = TestApp::start().await;
    let ann = app.student().await;
    let (typed, composed) = ("Ma\u{323}\u{302}t-kha\u{302}\u{309}u-77", "M\u{1ead}t-kh\u{1ea9}u-77");
    let hash: PasswordHash = argon2::Argon2::default().hash_password(typed.as_bytes()).unwrap();
    let sql = sqlx::query!("update users set password_hash = $2 where id = $1", ann.id.0, hash.to_string());
    sql.execute(&app.db).await.unwrap();
    let enter = async |password: &str| {
        let body = json!({ "email": ann.email, "password": password });
        app.anonymous().post("/api/token/", &body).await.status.as_u16()
    };
    assert_eq!(enter(composed).await, 401, "the hash is of other letters");
    assert_eq!(enter(typed).await, 200);
    assert_eq!(enter(composed).await, 200);
    assert_eq!(enter(typed).await, 200);
}

#[tokio::test]
async fn a_clock_that_is_set_back_locks_nobody_out() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    app.set_time("2026-03-02T03:01:00Z").await;
    let pair = ann.log_in().await;
    let (access, token) = (&pair.body["access"], &pair.body["refresh"]);
    // As when the next request comes to a server whose clock is right.
    app.set_time("2026-03-02T02:00:00Z").await;
    bearing(&app, access).get(ME).await.expect(200);
    app.anonymous().post("/api/token/refresh/", &json!({ "refresh": token })).await.expect(200);
}

#[tokio::test]
async fn access_ends_after_an_hour_and_refresh_after_a_day() {
    let app = TestApp::start().await;
    let pair = app.student().await.log_in().await;
    let (access, token) = (&pair.body["access"], &pair.body["refresh"]);

    app.set_time("2026-03-02T02:59:59Z").await;
    bearing(&app, access).get(ME).await.expect(200);
    // Clocks of servers may differ a little, but by less than six seconds.
    app.set_time("2026-03-02T03:00:06Z").await;
    is_not_valid(&bearing(&app, access).get(ME).await);
    app.set_time("2026-03-02T03:01:00Z").await;
    is_not_valid(&bearing(&app, access).get(ME).await);
    is_not_valid(&bearing(&app, access).get(COURSES).await);
    is_not_valid(&verify(&app, access.clone()).await);

    app.set_time("2026-03-03T01:59:59Z").await;
    let renewed = refresh(&app, token.clone()).await.expect(200)["access"].clone();
    bearing(&app, &renewed).get(ME).await.expect(200);
    app.set_time("2026-03-03T02:00:06Z").await;
    is_not_valid(&refresh(&app, token.clone()).await);
    is_not_valid(&verify(&app, token.clone()).await);
    is_not_valid(&log_out(&app, token.clone()).await);
    is_not_valid(&bearing(&app, &renewed).get(ME).await);
}

#[tokio::test]
async fn a_refresh_token_may_be_used_twice_at_once_and_again() {
    let app = TestApp::start().await;
    let pair = app.student().await.log_in().await;
    let token = &pair.body["refresh"];
    let (one, two) = tokio::join!(refresh(&app, token.clone()), refresh(&app, token.clone()));
    let again = refresh(&app, token.clone()).await;
    for reply in [one, two, again] {
        assert_eq!(reply.expect(200).as_object().unwrap().keys().collect::<Vec<_>>(), ["access"]);
        bearing(&app, &reply.body["access"]).get(ME).await.expect(200);
    }
    bearing(&app, &pair.body["access"]).get(ME).await.expect(200);
}

#[tokio::test]
async fn with_rotation_a_refresh_token_used_twice_ends_the_session() {
    let app = TestApp::with(&[("REFRESH_ROTATION", "true")]).await;
    let ann = app.student().await;
    let (pair, other) = (ann.log_in().await, ann.log_in().await);
    let first = pair.body["refresh"].clone();
    app.set_time("2026-03-02T02:30:00Z").await;
    let second = refresh(&app, first.clone()).await.expect(200)["refresh"].clone();
    assert_ne!(first, second);
    let third = refresh(&app, second.clone()).await;
    bearing(&app, &third.expect(200)["access"]).get(ME).await.expect(200);

    is_not_valid(&refresh(&app, first).await);
    // It is in two hands, and one of them is a thief's: nobody goes on with this session.
    is_not_valid(&refresh(&app, third.body["refresh"].clone()).await);
    is_not_valid(&bearing(&app, &third.body["access"]).get(ME).await);
    is_not_valid(&bearing(&app, &pair.body["access"]).get(ME).await);
    bearing(&app, &other.body["access"]).get(ME).await.expect(200);
    refresh(&app, other.body["refresh"].clone()).await.expect(200);
}

#[tokio::test]
async fn refreshing_is_refused_to_inactive_users_revoked_sessions_and_whatever_else_is_sent() {
    let app = TestApp::start().await;
    let (ann, ida, bob) = (app.student().await, app.student().await, app.student().await);
    deactivate(&app, &ida).await;
    log_out(&app, bob.refresh.clone()).await.expect(204);
    for token in [json!(ida.refresh), json!(bob.refresh), json!(ann.access), json!("garbage"), json!("")] {
        is_not_valid(&refresh(&app, token).await);
    }
    is_not_valid(&app.anonymous().post("/api/token/refresh/", &json!({})).await);
    app.anonymous().post("/api/token/refresh/", &json!({ "refresh": 5 })).await.expect(400);
    // Another session's hash does not fit, though the signature does.
    let sql = sqlx::query!("update sessions set refresh_hash = sha256('x') where id = $1", ann.session.0);
    sql.execute(&app.db).await.unwrap();
    is_not_valid(&refresh(&app, ann.refresh.clone()).await);
}

#[tokio::test]
async fn refreshing_is_not_throttled() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    for _ in 0..50 {
        refresh(&app, ann.refresh.clone()).await.expect(200);
    }
}

#[tokio::test]
async fn a_token_is_good_until_its_session_ends() {
    let app = TestApp::start().await;
    let (ann, ida) = (app.student().await, app.student().await);
    for token in [&ann.access, &ann.refresh] {
        assert_eq!(verify(&app, token.clone()).await.expect(200), &json!({}));
    }
    deactivate(&app, &ida).await;
    for token in ["", "garbage", &ida.access, &ida.refresh] {
        is_not_valid(&verify(&app, token).await);
    }
    // Whatever became of the session: an inactive user has none.
    is_not_valid(&ida.get(ME).await);
    is_not_valid(&ida.get(COURSES).await);
    is_not_valid(&app.anonymous().post("/api/token/verify/", &json!({})).await);
    log_out(&app, ann.refresh.clone()).await.expect(204);
    for token in [&ann.access, &ann.refresh] {
        is_not_valid(&verify(&app, token.clone()).await);
    }
}

#[tokio::test]
async fn logging_out_ends_this_session_and_no_other() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let elsewhere = ann.new_session(&app).await;
    is_not_valid(&log_out(&app, ann.access.clone()).await);
    is_not_valid(&log_out(&app, "garbage").await);
    ann.get(ME).await.expect(200);

    let reply = log_out(&app, ann.refresh.clone()).await;
    reply.expect(204);
    assert!(reply.bytes.is_empty());
    is_not_valid(&ann.get(ME).await);
    is_not_valid(&refresh(&app, ann.refresh.clone()).await);
    elsewhere.get(ME).await.expect(200);
    // Once is enough, twice does no harm.
    log_out(&app, ann.refresh.clone()).await.expect(204);
}

#[tokio::test]
async fn a_bad_authorization_header_is_401_also_where_anyone_may_read() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let token = &ann.access;
    let bad: [Vec<u8>; 15] = [
        b"".to_vec(),
        b"Bearer".to_vec(),
        b"Bearer ".to_vec(),
        b"Bearer garbage".to_vec(),
        b"Bearer a.b.c".to_vec(),
        b"Bearer ..".to_vec(),
        token.clone().into_bytes(),
        format!("Bearer{token}").into_bytes(),
        format!("Basic {token}").into_bytes(),
        format!("Token {token}").into_bytes(),
        format!("Bearer {token},").into_bytes(),
        format!("Bearer {token} {token}").into_bytes(),
        format!("Bearer Bearer {token}").into_bytes(),
        format!("Bearer \"{token}\"").into_bytes(),
        b"Bearer \xff\xfe".to_vec(),
    ];
    for path in [ME, COURSES] {
        for header in &bad {
            let reply = app.anonymous().with("Authorization", header).get(path).await;
            assert_eq!(reply.refusal(), (401, "token_not_valid"), "{path} {:?}", String::from_utf8_lossy(header));
        }
        // Two headers are one too many, even when both are good.
        is_not_valid(&ann.with("Authorization", format!("Bearer {token}")).get(path).await);
        for scheme in ["bearer", "BEARER", "Bearer "] {
            app.anonymous().with("Authorization", format!("{scheme} {token}")).get(path).await.expect(200);
        }
    }
    assert_eq!(app.anonymous().get(ME).await.refusal(), (401, "not_authenticated"));
    app.anonymous().get(COURSES).await.expect(200);
}

#[tokio::test]
async fn token_and_reset_calls_do_not_read_the_authorization_header() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let calls = [
        ("/api/token/", json!({ "email": ann.email, "password": PASSWORD }), 200),
        ("/api/token/compat/", json!({ "email": ann.email, "password": PASSWORD }), 200),
        ("/api/token/refresh/", json!({ "refresh": ann.refresh }), 200),
        ("/api/token/verify/", json!({ "token": ann.access }), 200),
        ("/api/users/password-reset/", json!({ "email": ann.email }), 202),
        ("/api/users/password-reset/confirm/", json!({ "token": "x", "new_password": "amber-Lantern-93" }), 400),
        ("/api/token/logout/", json!({ "refresh": ann.refresh }), 204),
    ];
    for (path, body, status) in calls {
        app.anonymous().with("Authorization", "Bearer garbage").post(path, &body).await.expect(status);
    }
}

#[tokio::test]
async fn log_in_and_log_out_leave_one_audit_row_each_and_no_secret() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let ann = app.student().await;
    let from = app.anonymous().with("X-Forwarded-For", "10.7.7.7").with("User-Agent", "Lab 5");
    wrong(&from, &ann.email).await.expect(401);
    let pair = enter(&from, &ann.email, PASSWORD).await;
    refresh(&app, pair.expect(200)["refresh"].clone()).await.expect(200);
    verify(&app, pair.body["access"].clone()).await.expect(200);
    for _ in 0..2 {
        from.post("/api/token/logout/", &json!({ "refresh": pair.body["refresh"] })).await.expect(204);
    }
    let rows = sqlx::query!(
        r#"select action, user_id, resource_type, resource_id, details, host(ip_address) as ip, user_agent, request_id
             from audit_log
            order by id"#
    );
    let rows = rows.fetch_all(&app.db).await.unwrap();
    let session = part(pair.body["access"].as_str().unwrap(), 1)["session_id"].as_i64();
    assert_eq!(rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["log_in", "log_out"]);
    for row in rows {
        assert_eq!((row.user_id, row.resource_type.as_str(), row.resource_id), (Some(ann.id.0), "session", session));
        assert_eq!((row.ip.as_deref(), row.details), (Some("10.7.7.7"), json!({})));
        if row.action == "log_in" {
            let request = pair.header("x-request-id").unwrap();
            assert_eq!((row.user_agent.as_str(), row.request_id.as_str()), ("Lab 5", request));
        }
    }
    // What is stored of the tokens does not let anybody in.
    let stored = sqlx::query_scalar!(r#"select coalesce(string_agg(s::text, ' '), '') as "all!" from sessions s"#);
    let stored = stored.fetch_one(&app.db).await.unwrap();
    assert!(!stored.contains(pair.body["refresh"].as_str().unwrap()));
}

/// What Django stores for a password.
fn django_hash(password: &str, rounds: u32) -> String {
    use aws_lc_rs::pbkdf2;
    let mut key = [0_u8; 32];
    let count = rounds.min(2_000_000).try_into().unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, b"seasalt", password.as_bytes(), &mut key);
    format!("pbkdf2_sha256${rounds}$seasalt${}", BASE64_STANDARD.encode(key))
}

async fn set_hash(app: &TestApp, who: &Person, hash: &str) {
    let sql = sqlx::query!("update users set password_hash = $2 where id = $1", who.id.0, hash);
    sql.execute(&app.db).await.unwrap();
}

async fn hash_of(app: &TestApp, who: &Person) -> String {
    let sql = sqlx::query_scalar!("select password_hash from users where id = $1", who.id.0);
    sql.fetch_one(&app.db).await.unwrap()
}

#[tokio::test]
async fn a_hash_of_djangos_is_made_anew_at_the_next_log_in() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let old = django_hash(PASSWORD, 1000);
    set_hash(&app, &ann, &old).await;
    enter(&app.anonymous(), &ann.email, "wrong-Password-1").await.expect(401);
    assert_eq!(hash_of(&app, &ann).await, old, "a failure changes nothing");

    // Both have the right password, whichever makes the hash anew.
    let (one, two) = tokio::join!(ann.log_in(), ann.log_in());
    one.expect(200);
    two.expect(200);
    let new = hash_of(&app, &ann).await;
    assert!(new.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{new}");
    ann.log_in().await;
    assert_eq!(hash_of(&app, &ann).await, new, "once is enough");
    enter(&app.anonymous(), &ann.email, "wrong-Password-1").await.expect(401);
}

#[tokio::test]
async fn a_hash_that_asks_for_absurd_work_or_is_none_lets_nobody_in() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let ann = app.student().await;
    let good = django_hash(PASSWORD, 1000);
    let hashes = [
        // It would take half an hour.
        django_hash(PASSWORD, u32::MAX),
        good.replace("$1000$", "$0$"),
        good.replace("$1000$", "$-1$"),
        good.replace("$1000$", "$99999999999999999999$"),
        good.replace("$1000$", "$$"),
        "pbkdf2_sha256$1000$seasalt$".to_owned(),
        "pbkdf2_sha256$1000$seasalt$AAAA".to_owned(),
        "pbkdf2_sha256$1000".to_owned(),
        "pbkdf2_sha1$1000$seasalt$AAAA".to_owned(),
        format!("plain${PASSWORD}"),
        PASSWORD.to_owned(),
        "!unusable".to_owned(),
        "$argon2id$v=19$m=19456,t=2,p=1$".to_owned(),
    ];
    for (number, hash) in hashes.iter().enumerate() {
        set_hash(&app, &ann, hash).await;
        sqlx::query!("delete from throttle_buckets").execute(&app.db).await.unwrap();
        let started = std::time::Instant::now();
        let reply = enter(&app.anonymous(), &ann.email, PASSWORD).await;
        assert_eq!(reply.status.as_u16(), 401, "{number}: {hash}");
        assert!(started.elapsed() < Duration::from_secs(5), "{hash} took {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_full_hash_queue_is_503_for_everyone_and_uses_up_no_attempt() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let places = app.all_places().await;
    for name in [ann.email.as_str(), "nobody@example.edu"] {
        for _ in 0..12 {
            let reply = wrong(&app.anonymous(), name).await;
            assert_eq!((reply.refusal(), reply.header("retry-after")), ((503, "unavailable"), Some("1")));
        }
    }
    let sql = sqlx::query_scalar!(r#"select count(*) as "count!" from throttle_buckets"#);
    assert_eq!(sql.fetch_one(&app.db).await.unwrap(), 0);
    drop(places);
    ann.log_in().await;
}

#[tokio::test]
async fn whoever_waits_too_long_for_a_core_is_told_503_and_has_used_up_no_attempt() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    // All that others hash on, for longer than anyone waits.
    let mut cores = Vec::new();
    while let Some(Ok(core)) = app.state.hasher.core().now_or_never() {
        cores.push(core);
    }
    let reply = wrong(&app.anonymous(), &ann.email).await;
    assert_eq!((reply.refusal(), reply.header("retry-after")), ((503, "unavailable"), Some("1")));
    drop(cores);
    ann.log_in().await;
    let left = sqlx::query_scalar!("select tokens from throttle_buckets where key like 'login:%' order by tokens");
    assert_eq!(left.fetch_all(&app.db).await.unwrap(), [10.0, 20.0, 300.0]);
}

#[tokio::test]
async fn no_session_opens_with_a_password_that_was_changed_while_it_was_looked_at() {
    let app = TestApp::start().await;
    let (ann, ida) = (app.student().await, app.student().await);
    for (who, is_active) in [(&ann, true), (&ida, false)] {
        // Somebody else's request, halfway: the account is changed and its sessions revoked, not yet committed.
        let mut halfway = app.transaction().await;
        let sql = sqlx::query!(
            "update users
                set is_active = $2, password_changed_at = password_changed_at + case when $2 then interval '1 s' else '0' end
              where id = $1",
            who.id.0,
            is_active
        );
        sql.execute(&mut *halfway).await.unwrap();
        let sql = sqlx::query!("update sessions set revoked_at = rule_now() where user_id = $1", who.id.0);
        sql.execute(&mut *halfway).await.unwrap();
        let nobody = app.anonymous();
        let (reply, ()) = tokio::join!(enter(&nobody, &who.email, PASSWORD), async {
            app.until_someone_waits().await;
            halfway.commit().await.unwrap();
        });
        assert_eq!(reply.refusal(), (401, "no_active_account"));
        let live = sqlx::query_scalar!(
            r#"select count(*) as "live!" from sessions where user_id = $1 and revoked_at is null"#,
            who.id.0
        );
        assert_eq!(live.fetch_one(&app.db).await.unwrap(), 0);
    }
}
