//! Roles: sets of permissions, who has them, and that they really grant.

use serde_json::{Value, json};
use swincms::access::Permission;
use swincms::ids::Id;

use crate::support::{Person, TestApp};

const PERMISSIONS: &str = "/api/users/permissions/";
const ROLES: &str = "/api/users/roles/";
const HOLDERS: &str = "/api/users/user-roles/";
const COURSES: &str = "/api/academic/courses/";
const ME: &str = "/api/users/users/me/";

async fn role(admin: &Person, name: &str, permissions: &[&str]) -> Id {
    let reply = admin.post(ROLES, &json!({ "name": name, "permissions": permissions })).await;
    Id(reply.expect(201)["id"].as_i64().unwrap())
}

async fn give(admin: &Person, user: Id, role: Id) -> Id {
    let reply = admin.post(HOLDERS, &json!({ "user": user, "role": role })).await;
    Id(reply.expect(201)["id"].as_i64().unwrap())
}

/// The status of an attempt to create a course.
async fn attempt(person: &Person, code: &str) -> u16 {
    person.post(COURSES, &json!({ "code": code, "name": "A course" })).await.status.as_u16()
}

#[tokio::test]
async fn a_role_is_created_shown_replaced_changed_deleted_and_restored() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let sent = json!({
        "name": "Librarian",
        "description": "Keeps courses.",
        "permissions": ["courses.write", "units.write:own_units"],
    });
    let created = admin.post(ROLES, &sent).await;
    let role = created.expect(201);
    let mut expected = sent.clone();
    expected["id"] = role["id"].clone();
    expected["created_at"] = json!("2026-03-02T02:00:00.000000Z");
    expected["updated_at"] = json!("2026-03-02T02:00:00.000000Z");
    assert_eq!(role, &expected);
    let address = format!("{ROLES}{}/", role["id"]);
    let shown = admin.get(&address).await;
    assert_eq!(shown.expect(200), &expected);

    let changed = admin.patch(&address, &json!({ "description": "" })).await;
    assert_eq!((&changed.expect(200)["description"], &changed.body["permissions"]), (&json!(""), &sent["permissions"]));
    let stale = admin.with("If-Match", shown.header("etag").unwrap()).delete(&address).await;
    assert_eq!(stale.status, 412);
    let replaced = admin.put(&address, &json!({ "name": "Keeper" })).await;
    assert_eq!((&replaced.expect(200)["permissions"], &replaced.body["name"]), (&json!([]), &json!("Keeper")));

    admin.delete(&address).await.expect(204);
    assert_eq!((admin.get(&address).await.status.as_u16(), admin.delete(&address).await.status.as_u16()), (404, 404));
    assert_eq!(admin.get(ROLES).await.ids(), vec![]);
    assert_eq!(admin.get(&format!("{ROLES}?include_deleted=true")).await.ids().len(), 1);
    admin.post_bare(&format!("{address}restore/")).await.expect(200);
    assert_eq!(admin.get(ROLES).await.ids().len(), 1);
}

#[tokio::test]
async fn permissions_in_a_role_are_known_ones_with_a_scope_that_means_something() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let bad = [
        "courses.fly",
        "",
        "courses.write:",
        "courses.write:some",
        "COURSES.WRITE",
        "courses.write:all:own",
        " courses.write",
    ];
    let reply = admin.post(ROLES, &json!({ "name": "", "permissions": bad })).await;
    assert_eq!((reply.status.as_u16(), reply.errors("permissions").len()), (400, bad.len()), "{}", reply.body);
    assert_eq!(reply.errors("name").len(), 1, "with all other reasons");

    // Nobody has these with this scope; taken for the whole permission they would grant everything.
    for meaningless in [
        "roles.manage:own",
        "users.manage:own",
        "courses.write:own_units",
        "deleted.restore:own",
        "users.read_private:own",
    ] {
        let reply = admin.post(ROLES, &json!({ "name": "R", "permissions": [meaningless] })).await;
        assert_eq!((reply.status.as_u16(), reply.errors("permissions").len()), (400, 1), "{meaningless}");
    }
    for (index, good) in
        ["courses.write:all", "units.write:own_units", "users.read:own", "student_profiles.read:own_units"]
            .iter()
            .enumerate()
    {
        role(&admin, &format!("R{index}"), &[good]).await;
    }
    let every: Vec<&str> = Permission::ALL.iter().map(|permission| permission.code()).collect();
    role(&admin, "All", &every).await;
    for wrong in [json!("courses.write"), json!([5]), json!(null), json!({ "courses.write": true })] {
        let reply = admin.post(ROLES, &json!({ "name": "W", "permissions": wrong })).await;
        assert_eq!(reply.status, 400, "{wrong}");
        assert!(reply.body["errors"].as_object().unwrap().keys().all(|field| field.starts_with("permissions")));
    }
    let nul = admin.post(ROLES, &json!({ "name": "a\u{0}" })).await;
    assert_eq!((nul.status.as_u16(), nul.errors("name").len()), (400, 1));
}

#[tokio::test]
async fn a_roles_name_is_taken_whatever_its_case_until_the_role_is_deleted() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let first = role(&admin, "Keeper", &[]).await;
    let reply = admin.post(ROLES, &json!({ "name": "KEEPER" })).await;
    assert_eq!((reply.refusal(), reply.errors("name").len()), ((409, "already_taken"), 1));
    admin.delete(&format!("{ROLES}{first}/")).await.expect(204);
    role(&admin, "keeper", &[]).await;
    assert_eq!(admin.post_bare(&format!("{ROLES}{first}/restore/")).await.status, 409);
}

#[tokio::test]
async fn the_permission_codes_are_listed() {
    let app = TestApp::start().await;
    let codes: Vec<&str> = Permission::ALL.iter().map(|permission| permission.code()).collect();
    assert_eq!(app.admin().await.get(PERMISSIONS).await.expect(200), &json!(codes));
}

#[tokio::test]
async fn only_administrators_see_and_write_roles() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let role = role(&admin, "Keeper", &["courses.write"]).await;
    let held = give(&admin, app.student().await.id, role).await;
    for user_type in ["student", "staff", "unit_convenor", "auditor", "parent"] {
        let person = app.person(user_type).await;
        for path in [
            PERMISSIONS.to_owned(),
            ROLES.to_owned(),
            HOLDERS.to_owned(),
            format!("{ROLES}{role}/"),
            format!("{HOLDERS}{held}/"),
        ] {
            assert_eq!(person.get(&path).await.status, 403, "{user_type} {path}");
        }
        let own = json!({ "user": person.id, "role": role });
        assert_eq!(person.post(HOLDERS, &own).await.status, 403);
        assert_eq!(person.post(ROLES, &json!({ "name": "X" })).await.status, 403);
        assert_eq!(person.patch(&format!("{HOLDERS}{held}/"), &json!({ "user": person.id })).await.status, 403);
        assert_eq!(person.patch(&format!("{ROLES}{role}/"), &json!({ "permissions": [] })).await.status, 403);
        assert_eq!(person.delete(&format!("{HOLDERS}{held}/")).await.status, 403);
    }
    assert_eq!(app.anonymous().get(ROLES).await.status, 401);
    let rows = sqlx::query_scalar!(r#"select count(*) as "count!" from user_roles"#);
    assert_eq!(rows.fetch_one(&app.db).await.unwrap(), 1);
}

#[tokio::test]
async fn a_role_grants_from_the_next_request_and_no_longer_than_it_is_held() {
    let app = TestApp::start().await;
    let other = app.second_server().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let elsewhere = student.at(&other);
    assert_eq!(attempt(&student, "C0").await, 403);

    let keeper = role(&admin, "Keeper", &["courses.write"]).await;
    let held = give(&admin, student.id, keeper).await;
    assert_eq!((attempt(&student, "C1").await, attempt(&elsewhere, "C2").await), (201, 201));
    let me = student.get(ME).await;
    assert!(me.expect(200)["permissions"].as_array().unwrap().contains(&json!("courses.write:all")));
    assert_eq!(attempt(&app.student().await, "C3").await, 403, "nobody else has it");

    admin.delete(&format!("{HOLDERS}{held}/")).await.expect(204);
    assert_eq!((attempt(&student, "C4").await, attempt(&elsewhere, "C5").await), (403, 403));
    admin.post_bare(&format!("{HOLDERS}{held}/restore/")).await.expect(200);
    assert_eq!(attempt(&elsewhere, "C6").await, 201);
    admin.patch(&format!("{ROLES}{keeper}/"), &json!({ "permissions": ["intakes.write"] })).await.expect(200);
    assert_eq!((attempt(&student, "C7").await, attempt(&elsewhere, "C8").await), (403, 403));
}

#[tokio::test]
async fn a_role_is_in_force_within_its_window_alone() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let keeper = role(&admin, "Keeper", &["courses.write"]).await;
    let held = json!({
        "user": student.id,
        "role": keeper.to_string(),
        "valid_from": "2026-03-02T14:00:00+11:00",
        "valid_until": "2026-03-02T05:00:00Z",
    });
    let held = admin.post(HOLDERS, &held).await.expect(201).clone();
    assert_eq!(held["valid_from"], json!("2026-03-02T03:00:00.000000Z"));
    for (now, expected) in [
        ("2026-03-02T02:59:59Z", 403),
        ("2026-03-02T03:00:00Z", 201),
        ("2026-03-02T04:59:59Z", 201),
        ("2026-03-02T05:00:00Z", 403),
        ("2026-03-02T05:00:01Z", 403),
    ] {
        app.set_time(now).await;
        // An access token lives for an hour.
        let student = student.new_session(&app).await;
        assert_eq!(attempt(&student, &format!("C{}", &now[11..])).await, expected, "{now}");
    }
    let admin = admin.new_session(&app).await;
    let open = admin.patch(&format!("{HOLDERS}{}/", held["id"]), &json!({ "valid_until": null })).await;
    assert_eq!(open.expect(200)["valid_until"], json!(null));
    assert_eq!(attempt(&student.new_session(&app).await, "C9").await, 201);
}

#[tokio::test]
async fn a_window_ends_after_it_starts() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let keeper = role(&admin, "Keeper", &[]).await;
    let window = |from: Value, until: Value| json!({ "user": student.id, "role": keeper, "valid_from": from, "valid_until": until });
    for until in ["2026-03-02T02:00:00Z", "2026-03-01T00:00:00Z"] {
        let reply = admin.post(HOLDERS, &window(json!("2026-03-02T02:00:00Z"), json!(until))).await;
        assert_eq!((reply.status.as_u16(), reply.errors("valid_until").len()), (400, 1), "{until}");
    }
    for bad in [json!("soon"), json!(5), json!("2026-02-30T00:00:00Z")] {
        let reply = admin.post(HOLDERS, &window(bad.clone(), json!(null))).await;
        assert_eq!((reply.status.as_u16(), reply.errors("valid_from").len()), (400, 1), "{bad}");
    }
    admin.post(HOLDERS, &window(json!(null), json!("2020-01-01T00:00:00Z"))).await.expect(201);
    assert_eq!(admin.get(HOLDERS).await.ids().len(), 1);
}

#[tokio::test]
async fn a_user_has_a_role_once() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let keeper = role(&admin, "Keeper", &[]).await;
    let first = give(&admin, student.id, keeper).await;
    let again = admin.post(HOLDERS, &json!({ "user": student.id, "role": keeper })).await;
    assert_eq!((again.refusal(), again.errors("role").len()), ((409, "already_taken"), 1));
    admin.delete(&format!("{HOLDERS}{first}/")).await.expect(204);
    give(&admin, student.id, keeper).await;
    assert_eq!(admin.post_bare(&format!("{HOLDERS}{first}/restore/")).await.status, 409);
    assert_eq!(admin.get(&format!("{HOLDERS}?user={}", student.id)).await.ids().len(), 1);
    assert_eq!(admin.get(&format!("{HOLDERS}?user={}", admin.id)).await.ids().len(), 0);
    assert_eq!(admin.get(&format!("{HOLDERS}?role={keeper}")).await.ids().len(), 1);
}

#[tokio::test]
async fn who_gets_a_role_and_the_role_must_be_there() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let gone = role(&admin, "Gone", &[]).await;
    admin.delete(&format!("{ROLES}{gone}/")).await.expect(204);
    for (body, fields) in [
        (json!({}), vec!["role", "user"]),
        (json!({ "user": "", "role": null }), vec!["role", "user"]),
        (json!({ "user": 9_007_199_254_740_990_i64, "role": gone }), vec!["role", "user"]),
        (json!({ "user": app.student().await.id, "role": gone }), vec!["role"]),
    ] {
        let reply = admin.post(HOLDERS, &body).await;
        assert_eq!(reply.status, 400, "{body}");
        assert_eq!(reply.body["errors"].as_object().unwrap().keys().collect::<Vec<_>>(), fields, "{body}");
    }
    for bad in [json!("x"), json!(1.5), json!(-1), json!([1])] {
        let reply = admin.post(HOLDERS, &json!({ "user": bad })).await;
        assert_eq!((reply.status.as_u16(), reply.errors("user").len()), (400, 1), "{bad}");
    }
}

#[tokio::test]
async fn a_role_that_somebody_has_is_not_deleted_and_a_deleted_one_grants_nothing() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let keeper = role(&admin, "Keeper", &["courses.write"]).await;
    give(&admin, student.id, keeper).await;
    let refused = admin.delete(&format!("{ROLES}{keeper}/")).await;
    assert_eq!(refused.refusal(), (409, "still_referred_to"));
    assert_eq!(refused.body["counts"], json!({ "user_roles": 1 }));
    assert_eq!(attempt(&student, "C1").await, 201);
    // However it came to be so: what is deleted grants nothing.
    let deleted = sqlx::query!("update roles set deleted_at = now() where id = $1", keeper.0);
    deleted.execute(&app.db).await.unwrap();
    assert_eq!(attempt(&student, "C2").await, 403);
}

#[tokio::test]
async fn roles_wait_for_a_deactivated_user() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let keeper = role(&admin, "Keeper", &["courses.write"]).await;
    let held = give(&admin, student.id, keeper).await;
    let account = format!("/api/users/users/{}/", student.id);
    admin.delete(&account).await.expect(204);
    assert_eq!(attempt(&student, "C1").await, 401);
    assert_eq!(admin.get(&format!("{HOLDERS}?user={}", student.id)).await.ids(), vec![held]);
    admin.post_bare(&format!("{account}restore/")).await.expect(200);
    assert_eq!(attempt(&student.new_session(&app).await, "C2").await, 201);
}

#[tokio::test]
async fn a_scope_reaches_no_further_than_it_says() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let (own, others) = (app.unit_of(student.id).await, app.unit().await);
    let narrow = role(&admin, "Narrow", &["units.write:own_units"]).await;
    let held = give(&admin, student.id, narrow).await;
    let rename = async |unit: Id| {
        student.patch(&format!("/api/academic/units/{unit}/"), &json!({ "name": "Renamed" })).await.status.as_u16()
    };
    assert_eq!((rename(own).await, rename(others).await), (200, 403));
    let wide = role(&admin, "Wide", &["units.write"]).await;
    admin.patch(&format!("{HOLDERS}{held}/"), &json!({ "role": wide })).await.expect(200);
    assert_eq!((rename(own).await, rename(others).await), (200, 200));
}

#[tokio::test]
async fn lists_of_roles_are_searched_ordered_and_strict() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let (b, a) = (role(&admin, "Beta", &[]).await, role(&admin, "Alpha", &[]).await);
    assert_eq!(admin.get(ROLES).await.ids(), vec![b, a]);
    assert_eq!(admin.get(&format!("{ROLES}?ordering=name")).await.ids(), vec![a, b]);
    assert_eq!(admin.get(&format!("{ROLES}?search=BET")).await.ids(), vec![b]);
    for list in [ROLES, HOLDERS] {
        let reply = admin.get(&format!("{list}?colour=red")).await;
        assert_eq!((reply.status.as_u16(), reply.errors("colour").len()), (400, 1));
    }
}

#[tokio::test]
async fn whoever_manages_users_by_a_role_gives_no_rights() {
    let app = TestApp::start().await;
    let (admin, clerk) = (app.admin().await, app.staff().await);
    give(&admin, clerk.id, role(&admin, "Clerk", &["users.manage"]).await).await;
    let own = format!("/api/users/users/{}/", clerk.id);
    for rights in [json!({ "is_superuser": true }), json!({ "user_type": "admin" }), json!({ "is_staff": true })] {
        assert_eq!(clerk.patch(&own, &rights).await.refusal(), (403, "permission_denied"), "{rights}");
        let mut other = json!({
            "email": "made@swin.edu.au", "username": "made", "password": "Tree-house-77",
            "confirm_password": "Tree-house-77",
        });
        other.as_object_mut().unwrap().extend(rights.as_object().unwrap().clone());
        assert_eq!(clerk.post("/api/users/users/", &other).await.refusal(), (403, "permission_denied"), "{rights}");
    }
    assert_eq!(clerk.patch(&own, &json!({ "department": "Desk" })).await.expect(200)["department"], json!("Desk"));
}
