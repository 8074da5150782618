//! A new address counts when it was confirmed.

use serde_json::{Value, json};

use super::{delivered, enter, mails, tokens};
use crate::support::{PASSWORD, Person, Reply, TestApp};

const CONFIRM: &str = "/api/users/email/confirm/";
const LINK: &str = "http://localhost:8000/confirm-email/";
const NEW: &str = "moved@example.org";

fn one(person: &Person) -> String {
    format!("/api/users/users/{}/", person.id)
}

async fn confirm(app: &TestApp, token: &str) -> Reply {
    app.anonymous().post(CONFIRM, &json!({ "token": token })).await
}

fn is_bad_link(reply: &Reply) {
    assert_eq!(reply.refusal(), (400, "invalid"), "{}", reply.body);
    assert_eq!(reply.errors("token").len(), 1);
}

/// Asks for another address, and waits for the mails; the token of the latest link.
async fn asked(app: &TestApp, admin: &Person, of: &Person, email: &str) -> String {
    admin.patch(&one(of), &json!({ "email": email })).await.expect(200);
    delivered(app).await;
    tokens(app, email, LINK).pop().unwrap()
}

/// What administrators see: the address that counts, and the one that waits.
async fn addresses(admin: &Person, of: &Person) -> (Value, Value) {
    let shown = admin.get(&one(of)).await.expect(200).clone();
    (shown["email"].clone(), shown["pending_email"].clone())
}

#[tokio::test]
async fn a_new_address_counts_once_its_link_was_used_and_the_old_one_is_told() {
    let app = TestApp::with_background(&[]).await;
    let (admin, ann, bob) = (app.admin().await, app.student().await, app.staff().await);

    let reply = admin.patch(&one(&ann), &json!({ "email": format!(" {NEW} "), "department": "Law" })).await;
    let shown = reply.expect(200);
    assert_eq!((&shown["email"], &shown["pending_email"]), (&json!(ann.email), &json!(NEW)));
    assert_eq!(shown["department"], "Law", "the rest counts at once");
    delivered(&app).await;
    let told: Vec<_> =
        mails(&app).into_iter().filter(|mail| mail.contains(&format!("To: {}\r\n", ann.email))).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("Another address") && !told[0].contains(LINK), "{}", told[0]);
    let tokens = tokens(&app, NEW, LINK);
    let [token] = tokens.as_slice() else { panic!("{} links", tokens.len()) };
    enter(&app.anonymous(), NEW, PASSWORD).await.expect(401);
    enter(&app.anonymous(), &ann.email, PASSWORD).await.expect(200);
    assert_eq!(ann.get("/api/users/users/me/").await.expect(200)["pending_email"], NEW);
    assert!(bob.get(&one(&ann)).await.expect(200).get("pending_email").is_none(), "it is not everybody's to see");

    // Programs that look into mails open links.
    assert_eq!(app.anonymous().get(&format!("/confirm-email/{token}")).await.status, 200);
    assert_eq!(addresses(&admin, &ann).await, (json!(ann.email), json!(NEW)));
    confirm(&app, token).await.expect(204);
    assert_eq!(addresses(&admin, &ann).await, (json!(NEW), Value::Null));
    enter(&app.anonymous(), &ann.email, PASSWORD).await.expect(401);
    enter(&app.anonymous(), NEW, PASSWORD).await.expect(200);
    is_bad_link(&confirm(&app, token).await);

    let actions = sqlx::query_scalar!(
        "select action from audit_log where action like '%email%' and resource_id = $1 order by id",
        ann.id.0
    );
    assert_eq!(actions.fetch_all(&app.db).await.unwrap(), ["ask_for_email_change", "confirm_email"]);
}

#[tokio::test]
async fn an_administrators_own_new_address_is_confirmed_too() {
    let app = TestApp::with_background(&[]).await;
    let admin = app.admin().await;
    let token = asked(&app, &admin, &admin, NEW).await;
    assert_eq!(addresses(&admin, &admin).await, (json!(admin.email), json!(NEW)));
    // Also by the other way to write it.
    let whole = json!({ "email": "other@example.org", "username": admin.username, "user_type": "admin" });
    let shown = admin.put(&one(&admin), &whole).await.expect(200).clone();
    assert_eq!((&shown["email"], &shown["pending_email"]), (&json!(admin.email), &json!("other@example.org")));
    is_bad_link(&confirm(&app, &token).await);
}

#[tokio::test]
async fn whoever_has_no_mail_at_an_address_gets_no_reset_link_for_anothers_account() {
    let app = TestApp::with_background(&[]).await;
    let (admin, ann) = (app.admin().await, app.student().await);
    asked(&app, &admin, &ann, NEW).await;
    app.anonymous().post("/api/users/password-reset/", &json!({ "email": NEW })).await.expect(202);
    delivered(&app).await;
    assert!(mails(&app).iter().all(|mail| !mail.contains("/reset/")));
}

#[tokio::test]
async fn the_link_dies_with_another_change_of_the_account() {
    let app = TestApp::with_background(&[]).await;
    let admin = app.admin().await;
    for (number, what) in ["another", "the present", "password", "inactive", "late"].into_iter().enumerate() {
        let person = app.student().await;
        let email = format!("moved-{number}@example.org");
        let token = asked(&app, &admin, &person, &email).await;
        match what {
            "another" => {
                admin.patch(&one(&person), &json!({ "email": "elsewhere@example.org" })).await.expect(200);
            }
            "the present" => {
                let shown = admin.patch(&one(&person), &json!({ "email": person.email })).await.expect(200).clone();
                assert_eq!(shown["pending_email"], Value::Null);
            }
            "password" => {
                let change = json!({ "current_password": PASSWORD, "new_password": "amber-Lantern-93" });
                person.post("/api/users/users/me/password/", &change).await.expect(204);
            }
            "inactive" => {
                admin.delete(&one(&person)).await.expect(204);
                admin.post_bare(&format!("{}restore/", one(&person))).await.expect(200);
            }
            _ => {
                let late =
                    sqlx::query!("update email_changes set expires_at = rule_now() where user_id = $1", person.id.0);
                late.execute(&app.db).await.unwrap();
                assert_eq!(addresses(&admin, &person).await.1, Value::Null);
            }
        }
        is_bad_link(&confirm(&app, &token).await);
        assert_eq!(addresses(&admin, &person).await.0, json!(person.email), "{what}");
    }
    for token in ["", "x", "é\u{0}"] {
        assert_eq!(confirm(&app, token).await.status, 400);
    }
}

#[tokio::test]
async fn a_change_that_is_no_change_of_address_leaves_what_waits() {
    let app = TestApp::with_background(&[]).await;
    let (admin, ann) = (app.admin().await, app.student().await);
    let token = asked(&app, &admin, &ann, NEW).await;
    admin.patch(&one(&ann), &json!({ "department": "Law" })).await.expect(200);
    // The address is not the person's to write, so naming it ends nothing.
    ann.patch(&one(&ann), &json!({ "email": ann.email, "city": "Kew" })).await.expect(200);
    confirm(&app, &token).await.expect(204);
}

#[tokio::test]
async fn a_mail_that_waits_for_its_turn_is_not_sent_when_the_change_has_ended() {
    let app = TestApp::start().await;
    let (admin, ann) = (app.admin().await, app.student().await);
    admin.patch(&one(&ann), &json!({ "email": NEW })).await.expect(200);
    admin.patch(&one(&ann), &json!({ "email": ann.email })).await.expect(200);
    let _sends = app.another_server().with_background().start().await;
    delivered(&app).await;
    let states = sqlx::query!("select template, state from mail_outbox order by template");
    let states: Vec<_> =
        states.fetch_all(&app.db).await.unwrap().into_iter().map(|row| (row.template, row.state)).collect();
    let is = |template: &str, state: &str| (template.to_owned(), state.to_owned());
    assert_eq!(states, [is("email_change", "skipped"), is("email_change_notice", "sent")]);
}

#[tokio::test]
async fn an_address_that_somebody_got_in_the_same_moment_is_not_given_twice() {
    let app = TestApp::with_background(&[]).await;
    let (admin, bob) = (app.admin().await, app.staff().await);
    let token = asked(&app, &admin, &bob, NEW).await;
    let mut halfway = app.transaction().await;
    let rival =
        sqlx::query!("insert into users (email, username, password_hash) values ('MOVED@example.org', 'rival', 'x')");
    rival.execute(&mut *halfway).await.unwrap();
    let (reply, ()) = tokio::join!(confirm(&app, &token), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (409, "already_taken"));
    assert_eq!(reply.errors("email").len(), 1, "{}", reply.body);
    assert_eq!(addresses(&admin, &bob).await.0, json!(bob.email));
}

#[tokio::test]
async fn of_two_that_use_a_link_at_once_one_does() {
    let app = TestApp::with_background(&[]).await;
    let (admin, bob) = (app.admin().await, app.staff().await);
    let token = asked(&app, &admin, &bob, NEW).await;
    let mut halfway = app.transaction().await;
    let held = sqlx::query!("select id from users where id = $1 for update", bob.id.0);
    held.fetch_one(&mut *halfway).await.unwrap();
    let (one, two, ()) = tokio::join!(confirm(&app, &token), confirm(&app, &token), async {
        app.until_so_many_wait(2).await;
        halfway.commit().await.unwrap();
    });
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 400]);
}

#[tokio::test]
async fn the_link_leads_where_the_operator_says() {
    let app = TestApp::with_background(&[("EMAIL_CONFIRM_URL", "https://spa.example.edu/#/confirm?token=")]).await;
    let (admin, ann) = (app.admin().await, app.student().await);
    admin.patch(&one(&ann), &json!({ "email": NEW })).await.expect(200);
    delivered(&app).await;
    let tokens = tokens(&app, NEW, "https://spa.example.edu/#/confirm?token=");
    confirm(&app, &tokens[0]).await.expect(204);
}
