//! Sessions, and that what ends one, or takes a right away, is in force on every server at once.

use serde_json::{Value, json};

use super::enter;
use crate::support::{NOW, PASSWORD, Person, TestApp, TestServer};

const SESSIONS: &str = "/api/users/sessions/";
const ME: &str = "/api/users/users/me/";
const ROLES: &str = "/api/users/roles/";

fn is_out(reply: &crate::support::Reply) {
    assert_eq!(reply.refusal(), (401, "token_not_valid"), "{}", reply.body);
}

async fn audit_rows(app: &TestApp, action: &str) -> Vec<(Option<i64>, Option<i64>, Value)> {
    let sql = sqlx::query!("select user_id, resource_id, details from audit_log where action = $1 order by id", action);
    let rows = sql.fetch_all(&app.db).await.unwrap();
    rows.into_iter().map(|row| (row.user_id, row.resource_id, row.details)).collect()
}

#[tokio::test]
async fn one_sees_ones_own_sessions() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let ann = app.student().await;
    app.student().await;
    app.set_time("2026-03-02T02:30:00Z").await;
    let lab = app.anonymous().with("X-Forwarded-For", "2001:db8::7").with("User-Agent", "Lab 5\t(\u{fc})");
    let pair = enter(&lab, &ann.email, PASSWORD).await;
    app.set_time("2026-03-02T02:40:00Z").await;
    lab.post("/api/token/refresh/", &json!({ "refresh": pair.expect(200)["refresh"] })).await.expect(200);

    let reply = ann.get(SESSIONS).await;
    let ids = reply.ids();
    assert_eq!(
        reply.body,
        json!([
            {
                "id": ids[0],
                "user": ann.id,
                "created_at": "2026-03-02T02:30:00.000000Z",
                "last_used_at": "2026-03-02T02:40:00.000000Z",
                "expires_at": "2026-03-03T02:30:00.000000Z",
                "ip": "2001:db8::7",
                "agent": reply.body[0]["agent"],
                "current": false,
            },
            {
                "id": ann.session,
                "user": ann.id,
                "created_at": NOW.replace('Z', ".000000Z"),
                "last_used_at": NOW.replace('Z', ".000000Z"),
                "expires_at": "2026-03-03T02:00:00.000000Z",
                "ip": "127.0.0.1",
                "agent": "",
                "current": true,
            },
        ])
    );
    let agent = reply.body[0]["agent"].as_str().unwrap();
    assert!(agent.starts_with("Lab 5") && !agent.contains('\t'), "{agent:?}");
    let last = sqlx::query_scalar!(r#"select last_login::text as "last!" from users where id = $1"#, ann.id.0);
    assert!(last.fetch_one(&app.db).await.unwrap().starts_with("2026-03-02 02:30:00"));
    // What has ended or expired is no session any more.
    ann.delete(&format!("{SESSIONS}{}/", ids[0])).await.expect(204);
    assert_eq!(ann.get(SESSIONS).await.ids(), [ann.session]);
    app.set_time("2026-03-03T01:50:00Z").await;
    let later = ann.new_session(&app).await;
    app.set_time("2026-03-03T02:00:00Z").await;
    assert_eq!(later.get(SESSIONS).await.ids(), [later.session]);
}

#[tokio::test]
async fn others_sessions_are_an_administrators_to_see() {
    let app = TestApp::start().await;
    let (ann, admin) = (app.student().await, app.admin().await);
    let other = ann.new_session(&app).await;
    let of_ann = format!("{SESSIONS}?user={}", ann.id);
    assert_eq!(admin.get(&of_ann).await.ids(), [other.session, ann.session]);
    assert_eq!(admin.get(SESSIONS).await.ids(), [admin.session], "one's own, unless another's are asked for");
    for user_type in ["student", "staff", "unit_convenor", "auditor", "parent"] {
        let nosy = app.person(user_type).await;
        assert_eq!(nosy.get(&of_ann).await.ids(), [], "{user_type}");
        assert_eq!(nosy.get(SESSIONS).await.ids(), [nosy.session], "{user_type}");
        let reply = nosy.delete(&format!("{SESSIONS}{}/", ann.session)).await;
        assert_eq!(reply.refusal(), (404, "not_found"), "{user_type}");
    }
    assert_eq!(app.anonymous().get(SESSIONS).await.refusal(), (401, "not_authenticated"));
    ann.get(ME).await.expect(200);
}

#[tokio::test]
async fn revoking_a_session_leaves_one_audit_row() {
    let app = TestApp::start().await;
    let (ann, admin) = (app.student().await, app.admin().await);
    let other = ann.new_session(&app).await;
    ann.delete(&format!("{SESSIONS}{}/", other.session)).await.expect(204);
    is_out(&other.get(ME).await);
    ann.delete(&format!("{SESSIONS}{}/", other.session)).await.expect(404);
    admin.delete(&format!("{SESSIONS}{}/", ann.session)).await.expect(204);
    is_out(&ann.get(ME).await);
    admin.delete(&format!("{SESSIONS}{}/", ann.session)).await.expect(404);
    admin.delete(&format!("{SESSIONS}999999/")).await.expect(404);
    let by = |who: &Person, whose: &Person| (Some(who.id.0), Some(whose.session.0), json!({}));
    assert_eq!(audit_rows(&app, "revoke").await, [by(&ann, &other), by(&admin, &ann)]);
    // One may also leave by this door.
    admin.delete(&format!("{SESSIONS}{}/", admin.session)).await.expect(204);
    is_out(&admin.get(SESSIONS).await);
}

/// Two servers on one database, and a person who was just seen at the second.
async fn two_servers() -> (TestApp, TestServer) {
    let app = TestApp::start().await;
    let other = app.second_server().await;
    (app, other)
}

#[tokio::test]
async fn a_log_out_is_in_force_on_every_server_at_once() {
    let (app, other) = two_servers().await;
    let ann = app.student().await;
    ann.at(&other).get(ME).await.expect(200);
    app.anonymous().post("/api/token/logout/", &json!({ "refresh": ann.refresh })).await.expect(204);
    is_out(&ann.at(&other).get(ME).await);
    let reply = app.anonymous().at(&other).post("/api/token/refresh/", &json!({ "refresh": ann.refresh })).await;
    is_out(&reply);
}

#[tokio::test]
async fn a_changed_password_ends_all_other_sessions_on_every_server_at_once() {
    let (app, other) = two_servers().await;
    let (ann, bob) = (app.student().await, app.student().await);
    let elsewhere = ann.new_session(&app).await;
    elsewhere.at(&other).get(ME).await.expect(200);
    let body = json!({ "current_password": PASSWORD, "new_password": "amber-Lantern-93" });
    ann.post("/api/users/users/me/password/", &body).await.expect(204);
    is_out(&elsewhere.at(&other).get(ME).await);
    is_out(&elsewhere.get(ME).await);
    is_out(&app.anonymous().post("/api/token/refresh/", &json!({ "refresh": elsewhere.refresh })).await);
    for server in [&ann, &ann.at(&other), &bob.at(&other)] {
        server.get(ME).await.expect(200);
    }
    app.anonymous().post("/api/token/refresh/", &json!({ "refresh": ann.refresh })).await.expect(200);
}

#[tokio::test]
async fn a_deactivation_is_in_force_on_every_server_at_once() {
    let (app, other) = two_servers().await;
    let admin = app.admin().await;
    for by_delete in [true, false] {
        let ann = app.staff().await;
        let address = format!("/api/users/users/{}/", ann.id);
        ann.at(&other).get(ME).await.expect(200);
        if by_delete {
            admin.delete(&address).await.expect(204);
        } else {
            admin.patch(&address, &json!({ "is_active": false })).await.expect(200);
        }
        is_out(&ann.at(&other).get(ME).await);
        is_out(&ann.at(&other).get("/api/academic/courses/").await);
        // The old sessions do not come back with the account.
        admin.post_bare(&format!("{address}restore/")).await.expect(200);
        is_out(&ann.at(&other).get(ME).await);
        is_out(&app.anonymous().post("/api/token/refresh/", &json!({ "refresh": ann.refresh })).await);
        ann.log_in().await;
    }
}

#[tokio::test]
async fn another_user_type_gives_and_takes_rights_on_every_server_at_once() {
    let (app, other) = two_servers().await;
    let (admin, ann) = (app.admin().await, app.student().await);
    let (address, there) = (format!("/api/users/users/{}/", ann.id), ann.at(&other));
    let changes = [
        (json!({ "user_type": "admin" }), 200),
        (json!({ "user_type": "staff" }), 403),
        (json!({ "is_superuser": true }), 200),
        (json!({ "is_superuser": false, "is_staff": true, "user_type": "student" }), 403),
    ];
    there.get(ROLES).await.expect(403);
    for (change, status) in changes {
        admin.patch(&address, &change).await.expect(200);
        there.get(ROLES).await.expect(status);
    }
    // Of is_staff, the rights of staff.
    there.get("/api/users/students/").await.expect(200);
    admin.patch(&address, &json!({ "is_staff": false })).await.expect(200);
    there.get("/api/users/students/").await.expect(403);
}

#[tokio::test]
async fn a_role_is_in_force_in_its_window_alone_and_gone_on_every_server_at_once() {
    let (app, other) = two_servers().await;
    let (admin, ann) = (app.admin().await, app.student().await);
    let there = ann.at(&other);
    let role = json!({ "name": "Registry", "permissions": ["roles.manage"] });
    let role = admin.post(ROLES, &role).await.expect(201)["id"].clone();
    let window = json!({
        "user": ann.id,
        "role": role,
        "valid_from": "2026-03-02T03:00:00Z",
        "valid_until": "2026-03-02T04:00:00Z",
    });
    let held = admin.post("/api/users/user-roles/", &window).await.expect(201)["id"].clone();
    let held = format!("/api/users/user-roles/{held}/");
    for (time, status) in [
        ("2026-03-02T02:59:59Z", 403),
        ("2026-03-02T03:00:00Z", 200),
        ("2026-03-02T03:59:59Z", 200),
        ("2026-03-02T04:00:00Z", 403),
    ] {
        app.set_time(time).await;
        // An hour's token would have expired.
        let there = ann.new_session(&app).await.at(&other);
        there.get(ROLES).await.expect(status);
        let me = there.get(ME).await;
        let has = me.expect(200)["permissions"].as_array().unwrap().contains(&json!("roles.manage:all"));
        assert_eq!(has, status == 200, "at {time}");
    }
    app.set_time(NOW).await;
    let admin = admin.new_session(&app).await;
    admin.patch(&held, &json!({ "valid_from": null, "valid_until": null })).await.expect(200);
    there.get(ROLES).await.expect(200);
    // The role itself loses the permission …
    let role = format!("{ROLES}{role}/");
    admin.patch(&role, &json!({ "permissions": [] })).await.expect(200);
    there.get(ROLES).await.expect(403);
    admin.patch(&role, &json!({ "permissions": ["roles.manage:all"] })).await.expect(200);
    there.get(ROLES).await.expect(200);
    // … or is taken from its holder.
    admin.delete(&held).await.expect(204);
    there.get(ROLES).await.expect(403);
}
