//! Setting a new password by a link in a mail.

use axum::http::Method;
use serde_json::json;

use super::{delivered, enter, mails, tokens};
use crate::support::{PASSWORD, Reply, TestApp};

const ASK: &str = "/api/users/password-reset/";
const CONFIRM: &str = "/api/users/password-reset/confirm/";
const NEW: &str = "amber-Lantern-93";
const LINK: &str = "http://localhost:8000/reset/";

async fn ask(app: &TestApp, email: &str) -> Reply {
    app.anonymous().post(ASK, &json!({ "email": email })).await
}

async fn confirm(app: &TestApp, token: &str, password: &str) -> Reply {
    app.anonymous().post(CONFIRM, &json!({ "token": token, "new_password": password })).await
}

fn is_bad_link(reply: &Reply) {
    assert_eq!(reply.refusal(), (400, "invalid"), "{}", reply.body);
    assert_eq!(reply.errors("token"), ["This link is not valid: it was used, is older than an hour, or was cut off."]);
}

async fn states(app: &TestApp) -> Vec<String> {
    let sql = sqlx::query_scalar!("select state from mail_outbox order by id");
    sql.fetch_all(&app.db).await.unwrap()
}

#[tokio::test]
async fn a_link_sets_the_password_once_and_ends_all_sessions() {
    let app = TestApp::with_background(&[]).await;
    let other = app.second_server().await;
    let (ann, bob) = (app.student().await, app.student().await);
    let elsewhere = ann.new_session(&app).await;

    let reply = ask(&app, &format!(" {} ", ann.email.to_uppercase())).await;
    assert_eq!(
        reply.expect(202),
        &json!({ "detail": "If an account has this address, a mail with a link is on its way." })
    );
    delivered(&app).await;
    let tokens = tokens(&app, &ann.email, LINK);
    let [token] = tokens.as_slice() else { panic!("{} mails", tokens.len()) };
    assert!(token.len() >= 43, "{token}");
    // Asking changes nothing yet.
    ann.get("/api/users/users/me/").await.expect(200);
    ann.log_in().await;

    let page = app.anonymous().get(&format!("/reset/{token}")).await;
    assert_eq!(page.status.as_u16(), 200);
    confirm(&app, token, NEW).await.expect(204);
    for session in [&ann, &elsewhere, &ann.at(&other)] {
        let reply = session.get("/api/users/users/me/").await;
        assert_eq!(reply.refusal(), (401, "token_not_valid"));
    }
    bob.get("/api/users/users/me/").await.expect(200);
    enter(&app.anonymous(), &ann.email, PASSWORD).await.expect(401);
    enter(&app.anonymous(), &ann.email, NEW).await.expect(200);
    is_bad_link(&confirm(&app, token, "copper-Window-27").await);
    enter(&app.anonymous(), &ann.email, NEW).await.expect(200);

    let rows = sqlx::query!(
        "select action, user_id, resource_id, details
           from audit_log
          where action not like 'log%'
          order by id"
    );
    let rows = rows.fetch_all(&app.db).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(),
        ["ask_for_password_reset", "reset_password"]
    );
    for row in rows {
        assert_eq!((row.user_id, row.resource_id, row.details), (Some(ann.id.0), Some(ann.id.0), json!({})));
    }
}

#[tokio::test]
async fn the_answer_does_not_tell_whether_there_is_an_account() {
    let app = TestApp::with_background(&[]).await;
    let (ann, ida) = (app.student().await, app.student().await);
    let sql = sqlx::query!("update users set is_active = false where id = $1", ida.id.0);
    sql.execute(&app.db).await.unwrap();
    let mut replies = Vec::new();
    for email in [&ann.email, "no@example.edu", &ida.email, "no address at all", &ann.username, "a@b\" <x@example.edu>"]
    {
        let sender = app.anonymous().with("X-Request-Id", "the-same");
        replies.push(sender.post(ASK, &json!({ "email": email })).await);
    }
    for reply in &replies {
        reply.expect(202);
        assert_eq!(reply.bytes, replies[0].bytes);
        let names = |reply: &Reply| reply.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(reply), names(&replies[0]));
    }
    delivered(&app).await;
    assert_eq!(mails(&app).len(), 1);
    // What is unknown leaves nothing that is kept.
    assert_eq!(states(&app).await, ["sent"]);
    let audited = sqlx::query_scalar!("select user_id from audit_log where action = 'ask_for_password_reset'");
    assert_eq!(audited.fetch_all(&app.db).await.unwrap(), [Some(ann.id.0)]);
    let made = sqlx::query_scalar!("select user_id from password_reset_tokens");
    assert_eq!(made.fetch_all(&app.db).await.unwrap(), [ann.id.0]);
}

#[tokio::test]
async fn an_account_gets_three_mails_an_hour_and_the_answer_stays_the_same() {
    let app = TestApp::with_background(&[]).await;
    let (ann, bob) = (app.student().await, app.student().await);
    let mut bodies = Vec::new();
    for number in 0..5 {
        let email = if number % 2 == 0 { ann.email.clone() } else { ann.email.to_uppercase() };
        bodies.push(ask(&app, &email).await.expect(202).clone());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    ask(&app, &bob.email).await.expect(202);
    delivered(&app).await;
    assert_eq!(tokens(&app, &ann.email, LINK).len(), 3);
    assert_eq!(tokens(&app, &bob.email, LINK).len(), 1);
    assert_eq!(states(&app).await, ["sent", "sent", "sent", "sent"]);
    app.set_time("2026-03-02T02:20:00Z").await;
    for _ in 0..2 {
        ask(&app, &ann.email).await.expect(202);
    }
    delivered(&app).await;
    assert_eq!(tokens(&app, &ann.email, LINK).len(), 4);
}

#[tokio::test]
async fn a_link_lives_an_hour() {
    let app = TestApp::with_background(&[]).await;
    let (ann, bob) = (app.student().await, app.student().await);
    ask(&app, &ann.email).await.expect(202);
    ask(&app, &bob.email).await.expect(202);
    delivered(&app).await;
    app.set_time("2026-03-02T02:59:59Z").await;
    confirm(&app, &tokens(&app, &bob.email, LINK)[0], NEW).await.expect(204);
    app.set_time("2026-03-02T03:00:00Z").await;
    is_bad_link(&confirm(&app, &tokens(&app, &ann.email, LINK)[0], NEW).await);
    enter(&app.anonymous(), &ann.email, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_password_that_the_policy_refuses_leaves_the_link_good() {
    let app = TestApp::with_background(&[]).await;
    let ann = app.student().await;
    ask(&app, &ann.email).await.expect(202);
    delivered(&app).await;
    let token = &tokens(&app, &ann.email, LINK)[0];
    for (password, reasons) in [("a", 1), ("12345678", 1), ("password123", 1), (ann.username.as_str(), 2)] {
        let reply = confirm(&app, token, password).await;
        assert_eq!((reply.status.as_u16(), reply.errors("new_password").len()), (400, reasons), "{}", reply.body);
    }
    let places = app.all_places().await;
    assert_eq!(confirm(&app, token, NEW).await.refusal(), (503, "unavailable"));
    drop(places);
    confirm(&app, token, NEW).await.expect(204);
}

#[tokio::test]
async fn one_link_used_makes_all_others_of_the_account_useless() {
    let app = TestApp::with_background(&[]).await;
    let (ann, bob) = (app.student().await, app.student().await);
    for who in [&ann, &ann, &bob] {
        ask(&app, &who.email).await.expect(202);
    }
    delivered(&app).await;
    let of_ann = tokens(&app, &ann.email, LINK);
    confirm(&app, &of_ann[0], NEW).await.expect(204);
    is_bad_link(&confirm(&app, &of_ann[1], "copper-Window-27").await);
    confirm(&app, &tokens(&app, &bob.email, LINK)[0], NEW).await.expect(204);
}

#[tokio::test]
async fn of_two_who_use_a_link_at_once_the_second_finds_it_used() {
    let app = TestApp::with_background(&[]).await;
    let ann = app.student().await;
    ask(&app, &ann.email).await.expect(202);
    delivered(&app).await;
    let token = tokens(&app, &ann.email, LINK).remove(0);
    // Somebody else's request, halfway: the link is used and not yet committed.
    let mut halfway = app.transaction().await;
    sqlx::query!("update password_reset_tokens set used_at = rule_now()").execute(&mut *halfway).await.unwrap();
    let (reply, ()) = tokio::join!(confirm(&app, &token, NEW), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    is_bad_link(&reply);
    enter(&app.anonymous(), &ann.email, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn what_is_no_link_of_ours_is_refused() {
    let app = TestApp::with_background(&[]).await;
    let ann = app.student().await;
    ask(&app, &ann.email).await.expect(202);
    delivered(&app).await;
    let token = tokens(&app, &ann.email, LINK).remove(0);
    let cut = &token[..token.len() - 1];
    for bad in ["", " ", "x", "reset", cut, &token.to_uppercase(), &format!("{token} "), &ann.access, "' or 1=1 --"] {
        is_bad_link(&confirm(&app, bad, NEW).await);
    }
    is_bad_link(&app.anonymous().post(CONFIRM, &json!({})).await);
    for body in
        [json!({ "token": 5 }), json!({ "token": null, "new_password": NEW }), json!({ "token": "\u{0}" }), json!([])]
    {
        app.anonymous().post(CONFIRM, &body).await.expect(400);
    }
    // A link of somebody who was deactivated meanwhile opens nothing.
    let sql = sqlx::query!("update users set is_active = false where id = $1", ann.id.0);
    sql.execute(&app.db).await.unwrap();
    is_bad_link(&confirm(&app, &token, NEW).await);
}

#[tokio::test]
async fn an_address_is_needed_to_ask() {
    let app = TestApp::start().await;
    for body in [json!({}), json!({ "email": "" }), json!({ "email": " \t " })] {
        assert_eq!(app.anonymous().post(ASK, &body).await.errors("email"), ["This field is required."]);
    }
    for body in [
        json!({ "email": 5 }),
        json!({ "email": null }),
        json!({ "email": "a\u{0}@example.edu" }),
        json!({ "email": "a".repeat(255) }),
    ] {
        assert_eq!(app.anonymous().post(ASK, &body).await.errors("email").len(), 1, "{body}");
    }
    app.anonymous().send(Method::POST, ASK, "text/plain", "x").await.expect(415);
    assert_eq!(states(&app).await, [""; 0]);
}

#[tokio::test]
async fn the_link_is_never_made_from_the_host_of_the_request() {
    let app = TestApp::with_background(&[("ALLOWED_HOSTS", "localhost,127.0.0.1,evil.example")]).await;
    let ann = app.student().await;
    for (name, value) in
        [("Host", "evil.example"), ("X-Forwarded-Host", "evil.example"), ("Forwarded", "host=evil.example")]
    {
        app.anonymous().with(name, value).post(ASK, &json!({ "email": ann.email })).await.expect(202);
    }
    delivered(&app).await;
    assert_eq!(tokens(&app, &ann.email, LINK).len(), 3);
    assert!(mails(&app).iter().all(|mail| !mail.contains("evil")));
}

#[tokio::test]
async fn the_link_leads_where_the_settings_say() {
    let settings = [("PUBLIC_URL", "https://cms.example.edu"), ("EMAIL_FROM", "Registry <registry@example.edu>")];
    let app = TestApp::with_background(&settings).await;
    let ann = app.student().await;
    ask(&app, &ann.email).await.expect(202);
    delivered(&app).await;
    let token = tokens(&app, &ann.email, "https://cms.example.edu/reset/").remove(0);
    confirm(&app, &token, NEW).await.expect(204);
    assert!(
        mails(&app)[0].contains("From: Registry <registry@example.edu>\r\n")
            || mails(&app)[0].contains("From: \"Registry\" <registry@example.edu>\r\n")
    );

    let app =
        TestApp::with_background(&[("PASSWORD_RESET_URL", "https://spa.example.edu/#/set-password?token=")]).await;
    let ann = app.student().await;
    ask(&app, &ann.email).await.expect(202);
    delivered(&app).await;
    let token = tokens(&app, &ann.email, "https://spa.example.edu/#/set-password?token=").remove(0);
    confirm(&app, &token, NEW).await.expect(204);
}

#[tokio::test]
async fn no_secret_lies_in_the_database() {
    let app = TestApp::with_background(&[]).await;
    let ann = app.student().await;
    ask(&app, &ann.email).await.expect(202);
    delivered(&app).await;
    let token = tokens(&app, &ann.email, LINK).remove(0);
    confirm(&app, &token, NEW).await.expect(204);
    let pair = enter(&app.anonymous(), &ann.email, NEW).await;
    let everything = sqlx::query_scalar!(
        r#"select concat((select string_agg(m::text, ' ') from mail_outbox m),
                         (select string_agg(t::text, ' ') from password_reset_tokens t),
                         (select string_agg(a::text, ' ') from audit_log a),
                         (select string_agg(s::text, ' ') from sessions s),
                         (select string_agg(b::text, ' ') from throttle_buckets b),
                         (select string_agg(u::text, ' ') from users u)) as "all!""#
    );
    let everything = everything.fetch_one(&app.db).await.unwrap();
    assert!(everything.contains(&ann.email), "it was looked at");
    for secret in
        [token.as_str(), NEW, pair.expect(200)["refresh"].as_str().unwrap(), pair.body["access"].as_str().unwrap()]
    {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!everything.contains(secret) && !everything.contains(&hex), "a secret lies in the database");
    }
}

#[tokio::test]
async fn the_page_asks_nobody_else_for_anything() {
    let app = TestApp::start().await;
    for path in ["/reset/", "/reset/Some-Token_1", "/reset", "/reset/Some-Token_1?x=1"] {
        let reply = app.anonymous().get(path).await;
        assert_eq!(reply.status.as_u16(), 200, "{path}");
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("no-store"), "the address holds the token");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        let policy = reply.header("content-security-policy").unwrap();
        for rule in [
            "default-src 'none'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.contains(rule), "{policy}");
        }
        let page = String::from_utf8(reply.bytes.clone()).unwrap();
        for foreign in [
            "src=",
            "href=",
            "http:",
            "https:",
            "url(",
            "@import",
            "import(",
            "action=",
            "<iframe",
            "<link",
            "localStorage",
            "Some-Token_1",
        ] {
            assert!(!page.contains(foreign), "the page has `{foreign}`");
        }
        // All that it calls is ours.
        let calls: Vec<&str> = page.split("fetch(").skip(1).map(|rest| rest.split(',').next().unwrap()).collect();
        assert_eq!(calls, [format!("'{CONFIRM}'")]);
    }
}

#[tokio::test]
async fn an_address_asks_for_so_many_links_and_then_waits_whosever_they_are() {
    let app =
        TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1"), ("RESETS_AT_ONCE", "4"), ("RESETS_AN_HOUR", "60")]).await;
    let ann = app.student().await;
    let from = |address: &str| app.anonymous().with("X-Forwarded-For", address);
    let (here, there) = (from("2001:db8:1:1::1"), from("2001:db8:1:2::1"));
    let server = app.second_server().await;
    for number in 0..4 {
        let sender = if number % 2 == 0 { here.clone() } else { from("2001:db8:1:1::2").at(&server) };
        sender.post(ASK, &json!({ "email": format!("no{number}@example.edu") })).await.expect(202);
    }
    for email in ["no@example.edu", ann.email.as_str()] {
        let reply = here.post(ASK, &json!({ "email": email })).await;
        assert_eq!((reply.refusal(), reply.header("retry-after")), ((429, "throttled"), Some("60")));
    }
    there.post(ASK, &json!({ "email": ann.email })).await.expect(202);
    app.set_time("2026-03-02T02:01:00Z").await;
    here.post(ASK, &json!({ "email": ann.email })).await.expect(202);
    here.post(ASK, &json!({ "email": ann.email })).await.expect(429);
    // Five strangers' names, two askers and a network each: all that is left of the strangers is counters, which are swept.
    let left = sqlx::query!(
        r#"select (select count(*) from mail_outbox) as "mails!", (select count(*) from audit_log) as "audited!",
                  (select count(*) from throttle_buckets) as "buckets!""#
    );
    let left = left.fetch_one(&app.db).await.unwrap();
    assert_eq!((left.mails, left.audited, left.buckets), (2, 2, 7));
}

#[tokio::test]
async fn however_an_address_is_spelt_its_account_is_one() {
    let app = TestApp::with_background(&[]).await;
    let ida = app.student().await;
    let sql = sqlx::query!("update users set email = 'ida@win.example.edu' where id = $1", ida.id.0);
    sql.execute(&app.db).await.unwrap();
    // Wide letters are the same; a capital with a dot is another letter, though some fold it to the same.
    for email in
        ["ida@win.example.edu", "IDA@WIN.example.edu", "\u{ff29}DA@win.example.edu", "ida@w\u{130}n.example.edu"]
    {
        for _ in 0..3 {
            ask(&app, email).await.expect(202);
        }
    }
    delivered(&app).await;
    assert_eq!(states(&app).await, ["sent", "sent", "sent"]);
    enter(&app.anonymous(), "\u{ff29}da@win.example.edu", PASSWORD).await.expect(200);
    enter(&app.anonymous(), "ida@w\u{130}n.example.edu", PASSWORD).await.expect(401);
}
