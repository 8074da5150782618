//! Power over accounts: who may write another's, who must remain, and what ends when an account changes hands.

use axum::http::Method;
use serde_json::{Value, json};
use swincms::access::{Grants, Permission, UserType, tokens};
use swincms::ids::Id;

use super::enter;
use crate::support::{NOW, PASSWORD, Person, Reply, TestApp};

const USERS: &str = "/api/users/users/";
const ROLES: &str = "/api/users/roles/";
const HOLDERS: &str = "/api/users/user-roles/";
const ME: &str = "/api/users/users/me/";
const NEW: &str = "amber-Lantern-93";

fn at(base: &str, id: Id) -> String {
    format!("{base}{id}/")
}

/// A role with these permissions, without the server.
async fn role(app: &TestApp, name: &str, permissions: &[&str]) -> Id {
    let permissions: Vec<String> = permissions.iter().map(|code| (*code).to_owned()).collect();
    let sql =
        sqlx::query_scalar!("insert into roles (name, permissions) values ($1, $2) returning id", name, &permissions);
    Id(sql.fetch_one(&app.db).await.unwrap())
}

async fn give(app: &TestApp, role: Id, to: &Person) -> Id {
    let sql =
        sqlx::query_scalar!("insert into user_roles (user_id, role_id) values ($1, $2) returning id", to.id.0, role.0);
    Id(sql.fetch_one(&app.db).await.unwrap())
}

/// Somebody whom a role lets manage accounts, and nothing more than staff may.
async fn help_desk(app: &TestApp) -> Person {
    let desk = app.staff().await;
    give(app, role(app, "Help desk", &["users.manage", "users.anonymise", "deleted.restore"]).await, &desk).await;
    desk
}

/// Every write on an account that would take it over or shut it out.
async fn writes(desk: &Person, account: Id) -> Vec<(&'static str, Reply)> {
    let path = at(USERS, account);
    let patch = async |body: Value| desk.patch(&path, &body).await;
    vec![
        ("its address", patch(json!({ "email": "evil@example.org" })).await),
        ("its user name", patch(json!({ "username": "evil" })).await),
        ("its activity", patch(json!({ "is_active": false })).await),
        ("its profile", patch(json!({ "phone_number": "0912345678" })).await),
        ("nothing at all", patch(json!({})).await),
        ("all of it", desk.put(&path, &json!({ "email": "evil@example.org", "username": "evil" })).await),
        ("its life", desk.delete(&path).await),
        ("its return", desk.post_bare(&format!("{path}restore/")).await),
        ("its traces", desk.post_bare(&format!("{path}anonymise/")).await),
    ]
}

#[tokio::test]
async fn whoever_writes_anothers_account_has_every_right_that_it_has() {
    let app = TestApp::start().await;
    let desk = help_desk(&app).await;
    let target = app.student().await;
    let held = role(&app, "Held", &[]).await;
    give(&app, held, &target).await;
    let mut own = Grants::of(UserType::Staff, false, false);
    for code in ["users.manage", "users.anonymise", "deleted.restore"] {
        own.add_named(code);
    }
    let mut refused = 0;
    for permission in Permission::ALL {
        let code = [permission.code().to_owned()];
        let sql = sqlx::query!("update roles set permissions = $2 where id = $1", held.0, &code);
        sql.execute(&app.db).await.unwrap();
        if own.reach(*permission).is_all() {
            desk.patch(&at(USERS, target.id), &json!({ "department": permission.code() })).await.expect(200);
            continue;
        }
        refused += 1;
        for (what, reply) in writes(&desk, target.id).await {
            let says = reply.body["detail"].as_str().unwrap_or_default();
            assert_eq!(reply.status, 403, "{what} of who has {}: {}", permission.code(), reply.body);
            assert!(says.contains(permission.code()), "{says}");
        }
    }
    assert!(refused > 5, "{refused}");
    // A role that will begin is a right too, one that has ended is none.
    let sql = sqlx::query!("update roles set permissions = '{roles.manage}' where id = $1", held.0);
    sql.execute(&app.db).await.unwrap();
    let window = async |from: &str, until: &str| {
        let sql =
            format!("update user_roles set valid_from = '{from}', valid_until = '{until}' where role_id = {held}");
        sqlx::Executor::execute(&app.db, sqlx::AssertSqlSafe(sql)).await.unwrap();
        desk.patch(&at(USERS, target.id), &json!({ "department": "x" })).await.status.as_u16()
    };
    assert_eq!(window("2027-01-01", "2028-01-01").await, 403);
    assert_eq!(window("2025-01-01", "2026-01-01").await, 200);
}

#[tokio::test]
async fn a_help_desk_helps_those_who_may_not_do_more_and_takes_nobody_over_who_may() {
    let app = TestApp::start().await;
    let desk = help_desk(&app).await;
    for person in
        [app.student().await, app.parent().await, app.staff().await, app.convenor().await, app.auditor().await]
    {
        let reply = desk.patch(&at(USERS, person.id), &json!({ "department": "Arts" })).await;
        // An auditor reads the log, which the desk does not.
        let status = if person.user_type == "auditor" { 403 } else { 200 };
        assert_eq!(reply.status, status, "{}: {}", person.user_type, reply.body);
    }
    let admin = app.admin().await;
    for (what, reply) in writes(&desk, admin.id).await {
        assert_eq!(reply.status, 403, "{what}: {}", reply.body);
    }
    for flag in ["is_staff", "is_superuser"] {
        let person = app.student().await;
        let sql = format!("update users set {flag} = true where id = {}", person.id);
        sqlx::Executor::execute(&app.db, sqlx::AssertSqlSafe(sql)).await.unwrap();
        let reply = desk.patch(&at(USERS, person.id), &json!({ "department": "Arts" })).await;
        assert_eq!(reply.status, if flag == "is_staff" { 200 } else { 403 }, "{flag}: {}", reply.body);
    }
    // Nor does the desk give what it does not have.
    let reply = desk.patch(&at(USERS, app.student().await.id), &json!({ "user_type": "admin" })).await;
    assert_eq!(reply.status, 403, "{}", reply.body);
}

#[tokio::test]
async fn nobody_gives_rights_to_themselves() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    // An administrator by a role alone, who is no more than that.
    let manager = app.staff().await;
    let managers = role(&app, "Managers", &["users.manage", "roles.manage"]).await;
    give(&app, managers, &manager).await;
    for body in [json!({ "user_type": "admin" }), json!({ "is_superuser": true })] {
        let reply = manager.patch(&at(USERS, manager.id), &body).await;
        assert_eq!(reply.refusal(), (403, "permission_denied"), "{body}: {}", reply.body);
    }
    let auditors = role(&app, "Auditors", &["audit_log.read"]).await;
    for person in [&manager, &admin] {
        let own = json!({ "user": person.id, "role": auditors });
        assert_eq!(person.post(HOLDERS, &own).await.refusal(), (403, "permission_denied"));
    }
    let wider = json!({ "permissions": ["users.manage", "roles.manage", "audit_log.read"] });
    assert_eq!(manager.patch(&at(ROLES, managers), &wider).await.refusal(), (403, "permission_denied"));
    // Another administrator may, and anybody may give rights up.
    admin.post(HOLDERS, &json!({ "user": manager.id, "role": auditors })).await.expect(201);
    admin.patch(&at(ROLES, managers), &wider).await.expect(200);
    let other = app.admin().await;
    other.patch(&at(USERS, other.id), &json!({ "user_type": "staff" })).await.expect(200);
}

#[tokio::test]
async fn the_last_account_that_can_manage_accounts_stays_by_every_way_of_losing_it() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let path = at(USERS, admin.id);
    let last = |reply: Reply, what: &str| {
        assert_eq!(reply.refusal(), (409, "last_administrator"), "{what}: {}", reply.body);
        assert!(
            reply.body["detail"].as_str().unwrap().starts_with("This is the last account that can manage accounts.")
        );
    };
    last(admin.patch(&path, &json!({ "user_type": "student" })).await, "the user type");
    let whole = json!({ "email": admin.email, "username": admin.username });
    last(admin.put(&path, &whole).await, "the user type, left out");

    // By a role alone: whoever else may, is shut out first.
    let manager = app.staff().await;
    let managers = role(&app, "Managers", &["users.manage", "roles.manage", "users.anonymise"]).await;
    let holding = give(&app, managers, &manager).await;
    admin.patch(&path, &json!({ "user_type": "staff" })).await.expect(200);
    last(
        manager.patch(&at(ROLES, managers), &json!({ "permissions": ["users.manage"] })).await,
        "the role's permissions",
    );
    last(manager.delete(&at(HOLDERS, holding)).await, "the role in somebody's hands");
    let other = role(&app, "Other", &[]).await;
    let end = json!({ "role": other });
    assert!(manager.patch(&at(HOLDERS, holding), &end).await.status.is_client_error(), "another role");
    // A second manager, who ends the first one's.
    let second = app.staff().await;
    let seconds = give(&app, managers, &second).await;
    let until = json!({ "valid_until": "2026-12-31" });
    second.patch(&at(HOLDERS, holding), &until).await.expect(200);
    last(manager.patch(&at(HOLDERS, seconds), &until).await, "the end of the window");
    last(manager.delete(&at(USERS, second.id)).await, "the account");
    last(manager.patch(&at(USERS, second.id), &json!({ "is_active": false })).await, "the activity");
    last(manager.post_bare(&format!("{}anonymise/", at(USERS, second.id))).await, "the traces");
    second.patch(&at(USERS, admin.id), &json!({ "user_type": "admin" })).await.expect(200);
    admin.delete(&at(USERS, second.id)).await.expect(204);
}

#[tokio::test]
async fn of_two_administrators_who_demote_each_other_one_remains() {
    let app = TestApp::start().await;
    let other = app.second_server().await;
    let (ann, bob) = (app.admin().await, app.admin().await);
    let bob = bob.at(&other);
    // Ann's demotion of Bob, halfway: written and not committed.
    let mut halfway = app.transaction().await;
    let sql = format!("update users set user_type = 'student' where id = {}", bob.id);
    sqlx::Executor::execute(&mut *halfway, sqlx::AssertSqlSafe(sql)).await.unwrap();
    let body = json!({ "user_type": "student" });
    let ann_at = at(USERS, ann.id);
    let (reply, ()) = tokio::join!(bob.patch(&ann_at, &body), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (409, "last_administrator"), "{}", reply.body);
    let left = sqlx::query_scalar!(r#"select count(*) as "count!" from users where user_type = 'admin' and is_active"#);
    assert_eq!(left.fetch_one(&app.db).await.unwrap(), 1);
}

/// What was handed out for an account.
struct HandedOut {
    own: Person,
    other: Person,
    reset: String,
    feed: String,
}

impl HandedOut {
    async fn to(app: &TestApp, person: &Person) -> Self {
        let reset = format!("a-link-of-{}", person.id);
        let sql = sqlx::query!(
            "insert into password_reset_tokens (user_id, token_hash, expires_at) values ($1, $2, rule_now() + interval '1 hour')",
            person.id.0,
            tokens::hash(&reset)
        );
        sql.execute(&app.db).await.unwrap();
        let feed = person.post_bare("/api/core/calendar-link/").await.expect(201)["url"].as_str().unwrap().to_owned();
        app.anonymous().get(&feed).await.expect(200);
        app.anonymous().post("/api/users/password-reset/", &json!({ "email": person.email })).await.expect(202);
        Self { own: person.clone(), other: person.new_session(app).await, reset, feed }
    }

    /// Which of it is still good.
    async fn still_good(&self, app: &TestApp) -> Vec<&'static str> {
        let mut good = Vec::new();
        let mut look = |what, status: u16| {
            if status < 300 {
                good.push(what);
            }
        };
        look("the own session", self.own.get(ME).await.status.as_u16());
        look("another session", self.other.get(ME).await.status.as_u16());
        let refresh = json!({ "refresh": self.other.refresh });
        look("its refresh", app.anonymous().post("/api/token/refresh/", &refresh).await.status.as_u16());
        look("the feed", app.anonymous().get(&self.feed).await.status.as_u16());
        let link = json!({ "token": self.reset, "new_password": "velvet-Harbour-51" });
        look("the link", app.anonymous().post("/api/users/password-reset/confirm/", &link).await.status.as_u16());
        good
    }
}

#[tokio::test]
async fn a_change_of_password_address_or_activity_ends_what_was_handed_out_before() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let changes = ["nothing", "password", "address", "activity"];
    for change in changes {
        let person = app.student().await;
        let path = at(USERS, person.id);
        let handed = HandedOut::to(&app, &person).await;
        match change {
            "password" => {
                let body = json!({ "current_password": PASSWORD, "new_password": NEW });
                person.post(&format!("{ME}password/"), &body).await.expect(204);
            }
            "address" => {
                // As a confirmed change does it.
                let sql =
                    sqlx::query!("update users set email = 'moved' || id || '@example.edu' where id = $1", person.id.0);
                sql.execute(&app.db).await.unwrap();
            }
            "activity" => {
                admin.delete(&path).await.expect(204);
                admin.post_bare(&format!("{path}restore/")).await.expect(200);
            }
            _ => {
                // A hash that is made anew at a log-in is the same password.
                let sql =
                    sqlx::query!("update users set password_hash = password_hash || '' where id = $1", person.id.0);
                sql.execute(&app.db).await.unwrap();
            }
        }
        let good = handed.still_good(&app).await;
        let expected: &[&str] = match change {
            "nothing" => &["the own session", "another session", "its refresh", "the feed", "the link"],
            "password" => &["the own session"],
            _ => &[],
        };
        assert_eq!(good, expected, "after a change of {change}");
    }
    // The mails that were asked for before are not sent: no server sent any so far.
    let _sending = app.another_server().with_background().start().await;
    let states = async || {
        let sql = sqlx::query_scalar!(r#"select string_agg(state, ' ' order by id) as "states!" from mail_outbox"#);
        sql.fetch_one(&app.db).await.unwrap()
    };
    app.until("no mail waits", async || !states().await.contains("queued")).await;
    // The first account's own link was used, which changed its password.
    assert_eq!(states().await, "skipped skipped skipped skipped");
}

#[tokio::test]
async fn a_session_that_is_exchanged_again_and_again_ends_after_thirty_days() {
    let app = TestApp::with(&[("REFRESH_ROTATION", "true")]).await;
    let ann = app.student().await;
    let mut refresh = enter(&app.anonymous(), &ann.email, PASSWORD).await.expect(200)["refresh"].clone();
    let mut days = 0;
    for day in 1..40 {
        // Within the 24 hours of the token before.
        let at = chrono::DateTime::parse_from_rfc3339(NOW).unwrap() + chrono::TimeDelta::hours(23 * day);
        app.set_time(&at.to_utc().to_rfc3339()).await;
        let reply = app.anonymous().post("/api/token/refresh/", &json!({ "refresh": refresh })).await;
        if reply.status != 200 {
            break;
        }
        refresh = reply.body["refresh"].clone();
        days += 1;
    }
    // 31 times 23 hours are within thirty days.
    assert_eq!(days, 31);
}

#[tokio::test]
async fn sessions_that_have_ended_are_not_listed() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    ann.new_session(&app).await;
    let sessions = "/api/users/sessions/";
    assert_eq!(ann.get(sessions).await.ids().len(), 2);
    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
    ann.post(&format!("{ME}password/"), &body).await.expect(204);
    assert_eq!(ann.get(sessions).await.ids(), [ann.session]);
    let reply = ann.send(Method::GET, sessions, "", "").await;
    assert_eq!(reply.status, 200);
}
