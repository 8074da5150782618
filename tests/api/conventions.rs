//! What every endpoint has in common, shown on courses, which have nothing of their own.

use axum::http::{Method, StatusCode};
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use swincms::academic::courses::Course;
use swincms::academic::units::Unit;
use swincms::core::events::Event;
use swincms::http::{Resource, Search};
use swincms::ids::Id;
use swincms::users::accounts::User;

use crate::support::{Person, Reply, TestApp};

const COURSES: &str = "/api/academic/courses/";

fn course(code: &str) -> Value {
    json!({ "code": code, "name": format!("Course {code}") })
}

fn at(id: Id) -> String {
    format!("{COURSES}{id}/")
}

fn id_of(reply: &Reply) -> Id {
    Id(reply.body["id"].as_i64().unwrap())
}

async fn courses(app: &TestApp, many: usize) -> Vec<Id> {
    let mut ids = Vec::new();
    for _ in 0..many {
        ids.push(app.course().await);
    }
    ids
}

async fn count_of(app: &TestApp, code: &str) -> i64 {
    let sql = sqlx::query_scalar!(r#"select count(*) as "count!" from courses where code = $1"#, code);
    sql.fetch_one(&app.db).await.unwrap()
}

// ---- Addresses ----

#[tokio::test]
async fn a_path_works_without_its_final_slash_too() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let made = staff.post("/api/academic/courses", &course("SLASH")).await;
    made.expect(201);
    let path = at(id_of(&made));
    let bare = path.trim_end_matches('/');
    assert_eq!(staff.get(bare).await.expect(200), staff.get(&path).await.expect(200));
    staff.patch(bare, &json!({ "name": "Another" })).await.expect(200);
    staff.delete(bare).await.expect(204);
    app.admin().await.post_bare(&format!("{bare}/restore")).await.expect(200);
}

#[tokio::test]
async fn an_unknown_path_is_404_and_a_wrong_method_405_with_those_that_are_allowed() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    for path in ["/api/", "/api/nothing/", "/api/academic/courses/1/nothing/", "/elsewhere", "/api/academic/courses//"]
    {
        assert_eq!(nobody.get(path).await.refusal(), (404, "not_found"), "{path}");
    }
    for (path, allowed) in [(COURSES, ["GET", "HEAD", "POST"].as_slice()), ("/api/schema/", &["GET", "HEAD"])] {
        let reply = nobody.send(Method::PUT, path, "application/json", "{}").await;
        assert_eq!(reply.refusal(), (405, "method_not_allowed"));
        let mut names: Vec<&str> = reply.header("allow").unwrap().split(',').map(str::trim).collect();
        names.sort_unstable();
        assert_eq!(names, allowed);
    }
}

#[tokio::test]
async fn what_is_no_id_names_nothing() {
    let app = TestApp::start().await;
    for id in ["0", "-1", "x", "1.0", "9007199254740992", "99999999999999999999", "1e3", "%20", "+1", "%D9%A1", "1'"] {
        let reply = app.anonymous().get(&format!("{COURSES}{id}/")).await;
        assert_eq!(reply.refusal(), (404, "not_found"), "{id}");
    }
}

#[tokio::test]
async fn a_request_for_a_foreign_host_is_refused_except_for_probes() {
    let app = TestApp::start().await;
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "evil.example:127.0.0.1"] {
        let stranger = app.anonymous().with("Host", host);
        assert_eq!(stranger.get(COURSES).await.refusal(), (400, "malformed"), "{host}");
        stranger.get("/health/live").await.expect(200);
    }
    for host in ["localhost", "LOCALHOST:3000", "localhost.", "127.0.0.1"] {
        app.anonymous().with("Host", host).get(COURSES).await.expect(200);
    }
}

#[tokio::test]
async fn absolute_addresses_are_made_from_the_host_that_was_asked() {
    let app = TestApp::start().await;
    courses(&app, 2).await;
    let page = app.anonymous().with("Host", "localhost:8080").get(&format!("{COURSES}?page_size=1")).await;
    assert!(page.next_page().unwrap().starts_with("http://localhost:8080/api/academic/courses/?page_size=1&cursor="));

    let app = TestApp::with(&[("PUBLIC_URL", "https://cms.example.edu/")]).await;
    courses(&app, 2).await;
    let page = app.anonymous().get(&format!("{COURSES}?page_size=1")).await;
    assert!(page.next_page().unwrap().starts_with("https://cms.example.edu/api/academic/courses/?"));
}

// ---- Headers ----

#[tokio::test]
async fn a_request_id_comes_back_and_stands_in_problems_but_in_the_audit_log_stands_one_of_ours() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    let (one, two) = (nobody.get(COURSES).await, nobody.get(COURSES).await);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));

    let named = nobody.with("X-Request-Id", "from-nginx_1.2");
    assert_eq!(named.get(COURSES).await.header("x-request-id"), Some("from-nginx_1.2"));
    assert_eq!(named.get("/api/nothing/").await.body["request_id"], "from-nginx_1.2");

    // What could spoil a log line is not taken over.
    for id in ["", "with space", "semi;colon", &"x".repeat(129)] {
        let reply = nobody.with("X-Request-Id", id).get(COURSES).await;
        assert_ne!(reply.header("x-request-id"), Some(id));
    }

    // Two requests can be given one id; in the log they keep apart.
    let staff = app.staff().await;
    let same = staff.with("X-Request-Id", "the-same");
    same.post(COURSES, &course("RID")).await.expect(201);
    same.post(COURSES, &course("RID2")).await.expect(201);
    let own = staff.post(COURSES, &course("RID3")).await;
    let sql = sqlx::query_scalar!("select request_id from audit_log order by id");
    let ids = sql.fetch_all(&app.db).await.unwrap();
    assert_eq!(ids[2], own.header("x-request-id").unwrap());
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 32), "{ids:?}");
}

#[tokio::test]
async fn cors_headers_come_with_every_answer() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for origin in ["http://localhost:3000", "http://127.0.0.1:3000"] {
        let page = staff.with("Origin", origin);
        let stranger = app.anonymous().with("Origin", origin);
        let replies = [
            page.get(COURSES).await,
            page.get(&at(Id(1))).await,
            page.post(COURSES, &json!({})).await,
            page.send(Method::POST, COURSES, "text/plain", "x").await,
            stranger.post(COURSES, &course("X")).await,
            stranger.get("/api/nothing/").await,
            stranger.with("Host", "evil.example").get(COURSES).await,
            stranger.get(&format!("{COURSES}%00/")).await,
            stranger.call(Method::DELETE, COURSES).await,
        ];
        let statuses = replies.each_ref().map(|reply| reply.status.as_u16());
        assert_eq!(statuses, [200, 404, 400, 415, 401, 404, 400, 400, 405]);
        for reply in replies {
            assert_eq!(reply.header("access-control-allow-origin"), Some(origin), "{}", reply.status);
            let exposed = reply.header("access-control-expose-headers").unwrap().to_lowercase();
            for header in ["etag", "link", "retry-after", "x-request-id", "x-total-count"] {
                assert!(exposed.split(',').any(|name| name.trim() == header), "{header} is not exposed");
            }
        }
    }
    let foreign = app.anonymous().with("Origin", "http://evil.example").get(COURSES).await;
    assert_eq!(foreign.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_preflight_needs_no_credentials() {
    let app = TestApp::start().await;
    let asking = |origin: &str| {
        let names = "authorization,content-type,if-match,if-none-match,idempotency-key";
        let page = app.anonymous().with("Origin", origin).with("Access-Control-Request-Method", "PATCH");
        page.with("Access-Control-Request-Headers", names)
    };
    for path in [COURSES, "/api/academic/courses/1", "/api/users/users/me/", "/api/token/"] {
        let reply = asking("http://localhost:3000").call(Method::OPTIONS, path).await;
        assert!(reply.status.is_success(), "{path}: {}", reply.status);
        assert_eq!(reply.header("access-control-max-age"), Some("7200"), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("http://localhost:3000"));
        let lists = |name: &str| reply.header(name).unwrap_or_default().to_lowercase();
        for method in ["get", "head", "post", "put", "patch", "delete"] {
            assert!(lists("access-control-allow-methods").contains(method), "{method}");
        }
        for header in ["authorization", "content-type", "if-match", "if-none-match", "idempotency-key"] {
            assert!(lists("access-control-allow-headers").contains(header), "{header}");
        }
    }
    let foreign = asking("http://evil.example").call(Method::OPTIONS, COURSES).await;
    assert_eq!(foreign.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn head_says_what_get_says_without_the_body() {
    let app = TestApp::start().await;
    let id = app.course().await;
    for path in [COURSES.to_owned(), at(id), "/api/schema/".to_owned(), "/health/live".to_owned()] {
        let (head, get) = (app.anonymous().head(&path).await, app.anonymous().get(&path).await);
        assert_eq!((head.status, head.bytes.len()), (StatusCode::OK, 0), "{path}");
        for name in ["content-type", "etag", "cache-control", "content-length"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
    let absent = app.anonymous().head(&at(Id(999))).await;
    assert_eq!((absent.status, absent.bytes.len()), (StatusCode::NOT_FOUND, 0));
}

#[tokio::test]
async fn a_bad_token_is_401_on_a_public_list_too() {
    let app = TestApp::start().await;
    let student = app.student().await;
    for value in ["Bearer x", "Bearer", "Bearer ", "", "Token abc", "Basic YTpi", "Bearer a.b.c", &student.access] {
        let reply = app.anonymous().with("Authorization", value).get(COURSES).await;
        assert_eq!(reply.refusal(), (401, "token_not_valid"), "{value}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"api\""));
    }
    let twice = student.with("Authorization", format!("Bearer {}", student.access));
    assert_eq!(twice.get(COURSES).await.refusal(), (401, "token_not_valid"));
    let lower = app.anonymous().with("Authorization", format!("bearer {}", student.access));
    lower.get(COURSES).await.expect(200);
}

// ---- Bodies ----

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_by_its_type() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for media_type in
        ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", "application/jsonx"]
    {
        let reply = staff.send(Method::POST, COURSES, media_type, course("X").to_string()).await;
        assert_eq!(reply.refusal(), (415, "unsupported_media_type"), "{media_type}");
    }
    for (place, media_type) in
        ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"].iter().enumerate()
    {
        let body = course(&format!("TYPE{place}")).to_string();
        staff.send(Method::POST, COURSES, media_type, body).await.expect(201);
    }
}

#[tokio::test]
async fn malformed_json_is_400_whatever_it_is_and_wherever_it_stands() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = app.course().await;
    let nested = |depth: usize| format!(r#"{{"ignored":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("empty", b"".to_vec()),
        ("half", b"{".to_vec()),
        ("trailing", br#"{"name":"x"} x"#.to_vec()),
        ("comma", br#"{"name":"x",}"#.to_vec()),
        ("list", b"[]".to_vec()),
        ("text", br#""name""#.to_vec()),
        ("null", b"null".to_vec()),
        ("invalid UTF-8", b"{\"name\":\"\xff\xfe\"}".to_vec()),
        ("invalid UTF-8 in an ignored field", b"{\"ignored\":\"\xc3\x28\"}".to_vec()),
        ("overlong UTF-8", b"{\"name\":\"\xc0\x80\"}".to_vec()),
        ("lone surrogate", br#"{"name":"\ud800"}"#.to_vec()),
        ("lone surrogate in an ignored field", br#"{"ignored":"x\udc00y"}"#.to_vec()),
        ("surrogates in the wrong order", br#"{"name":"\udc00\ud800"}"#.to_vec()),
        ("1e400", br#"{"ignored":1e400}"#.to_vec()),
        ("-1e400", br#"{"duration_years":-1e400}"#.to_vec()),
        ("depth 128", nested(128).into_bytes()),
        ("depth 100000", nested(100_000).into_bytes()),
        ("NaN", br#"{"duration_years":NaN}"#.to_vec()),
        ("control character", b"{\"name\":\"a\x01b\"}".to_vec()),
    ];
    for (what, body) in wrong {
        for (method, path) in [(Method::POST, COURSES.to_owned()), (Method::PUT, at(id)), (Method::PATCH, at(id))] {
            let reply = staff.send(method.clone(), &path, "application/json", body.clone()).await;
            assert_eq!(reply.status, 400, "{what}, {method}: {}", reply.body);
        }
    }
    staff.send(Method::PATCH, &at(id), "application/json", nested(127)).await.expect(200);
    staff.send(Method::PATCH, &at(id), "application/json", r#"{"name":"\ud83d\ude00"}"#).await.expect(200);
}

#[tokio::test]
async fn null_characters_are_refused_by_name_wherever_they_stand() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = app.course().await;
    let cases = [
        (r#"{"code":"A\u0000","name":"x"}"#, "code"),
        (r#"{"code":"A","name":"x","ignored":{"deep":["a",{"b":"\u0000"}]}}"#, "ignored.deep[1].b"),
        (r#"{"code":"A","name":"x","na\u0000me":"x"}"#, "body"),
        (r#"{"code":"A","name":"x","ignored":{"a\u0000":1}}"#, "ignored"),
    ];
    for (body, field) in cases {
        for (method, path) in [(Method::POST, COURSES.to_owned()), (Method::PUT, at(id)), (Method::PATCH, at(id))] {
            let reply = staff.send(method, &path, "application/json", body).await;
            assert_eq!(reply.refusal(), (400, "invalid"), "{body}");
            assert_eq!(reply.errors(field), ["Null characters are not allowed."], "{body}: {}", reply.body);
        }
    }
    for path in [
        format!("{COURSES}%00"),
        format!("{COURSES}1%00/"),
        format!("{COURSES}?search=a%00b"),
        format!("{COURSES}?%00=a"),
        format!("{COURSES}?code=%00"),
        format!("{COURSES}?cursor=%00"),
        "/api/%00".to_owned(),
        "/media/a%00.png".to_owned(),
    ] {
        assert_eq!(staff.get(&path).await.status, 400, "{path}");
    }
    // In a file's name.
    let raw =
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\0b.png\"\r\n\r\nx\r\n--x--\r\n".to_vec();
    let reply =
        staff.send(Method::POST, "/api/users/users/me/profile_image/", "multipart/form-data; boundary=x", raw).await;
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_and_closes_the_connection() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for size in [1024 * 1024 + 1, 4 * 1024 * 1024] {
        let body = format!(r#"{{"ignored":"{}"}}"#, "x".repeat(size));
        let reply = staff.send(Method::POST, COURSES, "application/json", body).await;
        assert_eq!(reply.refusal(), (413, "too_large"));
        assert_eq!(reply.header("connection"), Some("close"));
    }
    let body = format!(r#"{{"code":"BIG","name":"x","ignored":"{}"}}"#, "x".repeat(1024 * 1024 - 100));
    staff.send(Method::POST, COURSES, "application/json", body).await.expect(201);
}

#[tokio::test]
async fn all_broken_rules_are_told_at_once_and_a_wrong_type_is_named() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let reply = staff
        .post(
            COURSES,
            &json!({ "code": " ", "duration_years": 0, "credit_points": "1.25", "department": "x".repeat(256) }),
        )
        .await;
    assert_eq!(reply.refusal(), (400, "invalid"));
    let fields: Vec<&String> = reply.body["errors"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["code", "credit_points", "department", "duration_years", "name"]);
    for (field, value) in
        [("code", json!(1)), ("is_active", json!("yes")), ("credit_points", json!("many")), ("name", Value::Null)]
    {
        let mut body = course("TYPE");
        body[field] = value;
        let reply = staff.post(COURSES, &body).await;
        assert_eq!(reply.refusal(), (400, "invalid"), "{field}: {}", reply.body);
        assert_eq!(reply.errors(field).len(), 1, "{}", reply.body);
    }
}

#[tokio::test]
async fn a_problem_has_all_its_members_and_nothing_of_the_servers_inside() {
    let app = TestApp::start().await;
    let nobody = app.anonymous().with("X-Request-Id", "shape");
    let detail = "There is no such resource, or you may not see it.";
    assert_eq!(
        nobody.get(&at(Id(1))).await.expect(404),
        &json!({
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": detail,
            "error": detail,
            "code": "not_found",
            "request_id": "shape",
        })
    );

    // A failure that nobody has foreseen: what the database says of it stays in the log.
    app.db.execute("alter table courses rename column department to faculty").await.unwrap();
    for reply in [nobody.get(COURSES).await, app.staff().await.post(COURSES, &course("X")).await] {
        assert_eq!(reply.refusal(), (500, "internal"));
        let body = reply.body.to_string();
        for inside in ["department", "column", "courses", "select", "42703"] {
            assert!(!body.contains(inside), "{inside} in {body}");
        }
    }
}

#[tokio::test]
async fn read_only_and_unknown_fields_are_ignored_and_defaults_filled_in() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let sent = json!({
        "code": "IGN", "name": "Ignoring", "id": 77, "created_by": 1_000, "created_at": "2001-01-01T00:00:00Z",
        "deleted_at": "2001-01-01T00:00:00Z", "is_deleted": true, "nothing": { "x": 1 },
    });
    let reply = staff.post(COURSES, &sent).await;
    assert_eq!(
        reply.expect(201),
        &json!({
            "id": 1,
            "code": "IGN",
            "name": "Ignoring",
            "description": "",
            "duration_years": "3.0",
            "credit_points": "0.0",
            "department": "",
            "is_active": true,
            "created_at": "2026-03-02T02:00:00.000000Z",
            "updated_at": "2026-03-02T02:00:00.000000Z",
            "created_by": staff.id,
            "updated_by": staff.id,
            "deleted_at": null,
            "is_deleted": false,
        })
    );
}

#[tokio::test]
async fn put_replaces_and_patch_merges() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let all = json!({ "code": "ONE", "name": "One", "description": "Text", "duration_years": 2.5, "is_active": false });
    let made = staff.post(COURSES, &all).await;
    let path = at(id_of(&made));
    let patched = staff.patch(&path, &json!({ "name": "Two" })).await;
    let parts = |reply: &Reply| {
        ["code", "name", "description", "duration_years", "is_active"].map(|name| reply.body[name].clone())
    };
    assert_eq!(json!(parts(&patched)), json!(["ONE", "Two", "Text", "2.5", false]));
    let put = staff.put(&path, &course("THREE")).await;
    assert_eq!(json!(parts(&put)), json!(["THREE", "Course THREE", "", "3.0", true]));
    assert_eq!(staff.put(&path, &json!({ "code": "FOUR" })).await.errors("name").len(), 1);
    assert_eq!(staff.patch(&path, &json!({ "code": null })).await.errors("code").len(), 1);
    staff.patch(&path, &json!({})).await.expect(200);
}

// ---- Conditions ----

#[tokio::test]
async fn an_etag_stands_for_the_body_and_spares_sending_it_again() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let path = at(app.course().await);
    let first = staff.get(&path).await;
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag} is not strong");
    assert_eq!(app.anonymous().get(&path).await.header("etag"), Some(&*tag));

    for known in [&*tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
        let reply = staff.with("If-None-Match", known).get(&path).await;
        assert_eq!((reply.status, reply.bytes.len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
        assert_eq!(reply.header("etag"), Some(&*tag));
    }
    staff.with("If-None-Match", "\"other\"").get(&path).await.expect(200);

    let changed = staff.patch(&path, &json!({ "name": "Changed" })).await;
    let new_tag = changed.header("etag").unwrap();
    assert_ne!(new_tag, tag);
    assert_eq!(staff.get(&path).await.header("etag"), Some(new_tag));
    staff.with("If-None-Match", &tag).get(&path).await.expect(200);
}

#[tokio::test]
async fn a_stale_if_match_changes_nothing() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = app.course().await;
    let path = at(id);
    let stale = staff.get(&path).await.header("etag").unwrap().to_owned();
    staff.patch(&path, &json!({ "name": "Newer" })).await.expect(200);
    let late = staff.with("If-Match", &stale);
    assert_eq!(late.patch(&path, &json!({ "name": "Late" })).await.refusal(), (412, "stale"));
    assert_eq!(late.put(&path, &course("LATE")).await.refusal(), (412, "stale"));
    assert_eq!(late.delete(&path).await.refusal(), (412, "stale"));
    assert_eq!(staff.get(&path).await.body["name"], "Newer");
    assert_eq!(late.patch(&at(Id(999)), &json!({})).await.status, 404);

    let tag = staff.get(&path).await.header("etag").unwrap().to_owned();
    staff.with("If-Match", "*").patch(&path, &json!({ "description": "x" })).await.expect(200);
    assert_eq!(staff.with("If-Match", &tag).delete(&path).await.status, 412);
    let tag = staff.get(&path).await.header("etag").unwrap().to_owned();
    staff.with("If-Match", format!("\"x\", {tag}")).delete(&path).await.expect(204);
}

#[tokio::test]
async fn of_a_hundred_changes_with_one_if_match_one_is_made() {
    let app = TestApp::start().await;
    let other = app.second_server().await;
    let staff = app.staff().await;
    let path = at(app.course().await);
    let tag = staff.get(&path).await.header("etag").unwrap().to_owned();
    let people = [staff.with("If-Match", &tag), staff.at(&other).with("If-Match", &tag)];
    let (people, path) = (&people, &path);
    let changes = (0..100).map(|number| async move {
        people[number % 2].patch(path, &json!({ "description": format!("By {number}") })).await.status.as_u16()
    });
    let mut statuses = join_all(changes).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200], vec![412; 99]].concat());
}

// ---- Repeats ----

#[tokio::test]
async fn a_repeated_post_gives_the_kept_answer_and_has_one_effect() {
    let app = TestApp::start().await;
    let other = app.second_server().await;
    let staff = app.staff().await.with("Idempotency-Key", "one");
    let first = staff.post(COURSES, &course("KEPT")).await;
    first.expect(201);
    // The answer is the one of then, whatever has happened to the row since.
    app.db.execute("update courses set name = 'Renamed', deleted_at = now()").await.unwrap();
    for again in [
        staff.post(COURSES, &course("KEPT")).await,
        staff.at(&other).post("/api/academic/courses", &course("KEPT")).await,
    ] {
        assert_eq!((again.status, &again.bytes), (first.status, &first.bytes));
    }
    assert_eq!(count_of(&app, "KEPT").await, 1);

    let reply = staff.post(COURSES, &course("OTHER")).await;
    assert_eq!(reply.refusal(), (422, "idempotency_key_reused"));
    // Another caller's key is another key, and so is the same one on another path.
    app.staff().await.with("Idempotency-Key", "one").post(COURSES, &course("OTHERS")).await.expect(201);
    let admin = app.admin().await.with("Idempotency-Key", "one");
    admin.post_bare(&format!("{}restore/", at(id_of(&first)))).await.expect(200);
}

#[tokio::test]
async fn a_refusal_leaves_the_key_free() {
    let app = TestApp::start().await;
    let staff = app.staff().await.with("Idempotency-Key", "again");
    assert_eq!(staff.post(COURSES, &json!({ "code": "FREE" })).await.status, 400);
    let taken = app.staff().await.post(COURSES, &course("FREE")).await;
    assert_eq!(staff.post(COURSES, &course("FREE")).await.status, 409);
    app.staff().await.delete(&at(id_of(&taken))).await.expect(204);
    staff.post(COURSES, &course("FREE")).await.expect(201);
    assert_eq!(staff.post(COURSES, &course("ELSE")).await.status, 422);
}

#[tokio::test]
async fn access_is_checked_again_before_a_kept_answer_is_given() {
    let app = TestApp::start().await;
    let person = app.staff().await;
    let staff = person.with("Idempotency-Key", "once");
    staff.post(COURSES, &course("MINE")).await.expect(201);
    let sql = sqlx::query!("update users set user_type = 'student' where id = $1", person.id.0);
    sql.execute(&app.db).await.unwrap();
    assert_eq!(staff.post(COURSES, &course("MINE")).await.refusal(), (403, "permission_denied"));
}

#[tokio::test]
async fn while_the_first_request_runs_its_key_is_409() {
    let app = TestApp::start().await;
    let staff = app.staff().await.with("Idempotency-Key", "slow");
    // Somebody else's course of this code, not committed: the first request waits for what becomes of it.
    let mut halfway = app.transaction().await;
    halfway.execute("insert into courses (code, name) values ('SLOW', 'Slow')").await.unwrap();
    let wanted = course("SLOW");
    let (first, second) = tokio::join!(staff.post(COURSES, &wanted), async {
        app.until_someone_waits().await;
        let second = staff.post(COURSES, &wanted).await;
        halfway.rollback().await.unwrap();
        second
    });
    assert_eq!(second.refusal(), (409, "request_in_progress"));
    assert_eq!(second.header("retry-after"), Some("1"));
    first.expect(201);
    assert_eq!(staff.post(COURSES, &wanted).await.bytes, first.bytes);
}

#[tokio::test]
async fn twenty_duplicates_at_once_over_two_servers_have_one_effect() {
    let app = TestApp::start().await;
    let other = app.second_server().await;
    let here = app.staff().await.with("Idempotency-Key", "many");
    let there = here.at(&other);
    let wanted = course("MANY");
    let replies =
        join_all((0..20).map(|number| if number % 2 == 0 { &here } else { &there }.post(COURSES, &wanted))).await;
    let (done, busy): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 201);
    assert!(busy.iter().all(|reply| reply.refusal() == (409, "request_in_progress")), "{busy:?}");
    assert!(!done.is_empty());
    let kept = here.post(COURSES, &wanted).await;
    assert!(done.iter().all(|reply| reply.bytes == kept.bytes));
    assert_eq!(count_of(&app, "MANY").await, 1);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_key_has_1_to_255_printable_characters() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for key in [String::new(), "x".repeat(256), "é".to_owned(), "a\tb".to_owned()] {
        let reply = staff.with("Idempotency-Key", &key).post(COURSES, &course("KEY")).await;
        assert_eq!(reply.errors("Idempotency-Key").len(), 1, "{key:?}: {}", reply.body);
    }
    staff.with("Idempotency-Key", "x".repeat(255)).post(COURSES, &course("KEY")).await.expect(201);
}

// ---- Lists ----

#[tokio::test]
async fn pages_lead_to_the_end_while_rows_come_and_go() {
    let app = TestApp::start().await;
    let ids = courses(&app, 25).await;
    let staff = app.staff().await;
    let mut seen = Vec::new();
    let mut next = Some(format!("{COURSES}?page_size=4&ordering=id&is_active=true"));
    let mut pages = 0;
    while let Some(page) = next {
        let reply = staff.get(&page).await;
        seen.extend(reply.ids());
        next = reply.next_page();
        pages += 1;
        // A row behind us goes, the last one that was seen goes, and one comes at the end.
        if pages <= 3 {
            staff.delete(&at(seen[pages - 1])).await.expect(204);
            staff.delete(&at(*seen.last().unwrap())).await.expect(204);
            app.course().await;
        }
    }
    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
    assert_eq!(seen[..25], ids);
    assert_eq!((seen.len(), pages), (28, 7));
}

#[tokio::test]
async fn a_page_that_the_list_fills_exactly_has_no_next() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    assert_eq!(nobody.get(COURSES).await.expect(200), &json!([]));
    courses(&app, 4).await;
    let reply = nobody.get(&format!("{COURSES}?page_size=4")).await;
    assert_eq!((reply.ids().len(), reply.next_page()), (4, None));
    let reply = nobody.get(&format!("{COURSES}?page_size=3")).await;
    assert_eq!(reply.ids().len(), 3);
    let last = nobody.get(&reply.next_page().unwrap()).await;
    assert_eq!((last.ids().len(), last.next_page()), (1, None));
}

#[tokio::test]
async fn every_ordering_gives_each_row_once_also_with_ties_and_mixed_directions() {
    let app = TestApp::start().await;
    for number in 0..12 {
        let sql = sqlx::query!(
            "insert into courses (code, name, created_at) values ($1, $2, rule_now() + $3 * interval '1 microsecond')",
            format!("C{:02}", (number * 7) % 12),
            format!("Name {}", number % 3),
            f64::from(number / 4)
        );
        sql.execute(&app.db).await.unwrap();
    }
    let orderings = [
        ("", "code, id"),
        ("id", "id"),
        ("-id", "id desc"),
        ("-code", "code desc, id desc"),
        ("name", "name, id"),
        ("-name", "name desc, id desc"),
        ("name,-code", "name, code desc, id desc"),
        ("-name,created_at,-code", "name desc, created_at, code desc, id desc"),
        ("-created_at,name", "created_at desc, name, id"),
        ("-name,id", "name desc, id"),
    ];
    for (asked, sql) in orderings {
        let sql = format!("select id from courses order by {sql}");
        let expected = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_all(&app.db).await.unwrap();
        let expected: Vec<Id> = expected.iter().map(|row| Id(sqlx::Row::get(row, 0))).collect();
        let asked = if asked.is_empty() { String::new() } else { format!("&ordering={asked}") };
        let mut seen = Vec::new();
        let mut next = Some(format!("{COURSES}?page_size=5{asked}"));
        while let Some(page) = next {
            let reply = app.anonymous().get(&page).await;
            seen.extend(reply.ids());
            next = reply.next_page();
        }
        assert_eq!(seen, expected, "{asked}");
    }
}

#[tokio::test]
async fn only_a_cursor_that_a_link_gave_is_read_and_only_by_its_own_list() {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;

    let app = TestApp::start().await;
    courses(&app, 3).await;
    let nobody = app.anonymous();
    let link = nobody.get(&format!("{COURSES}?page_size=1&ordering=name&is_active=true")).await.next_page().unwrap();
    let (address, cursor) = link.split_once("&cursor=").unwrap();
    nobody.get(&link).await.expect(200);
    // The size of a page is nothing that a cursor rests on, nor is the final slash.
    nobody.get(&link.replace("page_size=1", "page_size=2&count=true")).await.expect(200);
    nobody.get(&link.replace("/?", "?")).await.expect(200);
    nobody.get(&format!("{COURSES}?is_active=true&ordering=name&cursor={cursor}")).await.expect(200);

    // Another ordering, other filters, another list.
    for other in [
        link.replace("ordering=name", "ordering=-name"),
        link.replace("&ordering=name", ""),
        link.replace("is_active=true", "is_active=false"),
        link.replace("&is_active=true", ""),
        link.replace("&cursor", "&search=a&cursor"),
        link.replace("/courses/", "/units/").replace("ordering=name", "ordering=code"),
    ] {
        let reply = nobody.get(&other).await;
        assert_eq!((reply.status.as_u16(), reply.errors("cursor").len()), (400, 1), "{other}: {}", reply.body);
    }

    // Made at home: with the values of a true one, or none.
    let bytes = BASE64.decode(cursor).unwrap();
    let true_one: Value = serde_json::from_slice(&bytes[32..]).unwrap();
    let forged = |tag: &[u8], cursor: &Value| BASE64.encode([tag, cursor.to_string().as_bytes()].concat());
    let mut turned = bytes.clone();
    turned[40] ^= 1;
    let key = |key: &str| json!({ "k": [key, "1"], "i": 1 });
    for cursor in [
        "x".to_owned(),
        "%F0%9F%98%80".to_owned(),
        BASE64.encode(&bytes[..31]),
        BASE64.encode(&bytes[..32]),
        BASE64.encode(turned),
        forged(&[], &true_one),
        forged(&[0; 32], &true_one),
        forged(&bytes[..32], &key("A")),
        forged(&bytes[..32], &json!({ "k": vec![""; 400], "i": 1 })),
    ] {
        let reply = nobody.get(&format!("{address}&cursor={cursor}")).await;
        assert_eq!((reply.status.as_u16(), reply.errors("cursor").len()), (400, 1), "{cursor}: {}", reply.body);
    }

    // A server with another secret did not make it.
    let other = app.another_server().with("SECRET_KEY", "another key of the tests, as long as it").start().await;
    let path = link.strip_prefix(app.base()).unwrap();
    assert_eq!(nobody.at(&other).get(path).await.errors("cursor").len(), 1);
}

#[tokio::test]
async fn what_is_said_once_may_not_be_said_twice() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for (query, field) in [
        ("ordering=code,-code", "ordering"),
        ("ordering=code,name,code,id", "ordering"),
        ("is_active=true&is_active=true", "is_active"),
        ("is_active=true&is_active=false", "is_active"),
        ("page_size=1&page_size=2", "page_size"),
        ("search=a&search=b", "search"),
    ] {
        let reply = staff.get(&format!("{COURSES}?{query}")).await;
        assert_eq!(reply.status, 400, "{query}: {}", reply.body);
        let says = reply.errors(field);
        assert!(says.len() == 1 && says[0].contains("stands twice"), "{query}: {}", reply.body);
    }
    let twice = r#"{"code": "A", "name": "x", "name": "y", "more": [{"b": 1, "b": 2}]}"#;
    let reply = staff.send(Method::POST, COURSES, "application/json", twice).await;
    assert_eq!(reply.status, 400, "{}", reply.body);
    assert_eq!(reply.errors("name"), ["This name stands twice."]);
    assert_eq!(reply.errors("more[0].b"), ["This name stands twice."]);
}

#[tokio::test]
async fn parameters_are_checked_and_unknown_ones_named() {
    let app = TestApp::start().await;
    let nobody = app.anonymous();
    for (query, name) in [
        ("page_size=0", "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=1001", "page_size"),
        ("page_size=ten", "page_size"),
        ("page_size=99999999999999999999", "page_size"),
        ("nothing=1", "nothing"),
        ("Code=A", "Code"),
        ("ordering=secret", "ordering"),
        ("ordering=code;drop", "ordering"),
        ("ordering=code,,name", "ordering"),
        ("is_active=perhaps", "is_active"),
        ("count=2", "count"),
        ("updated_since=yesterday", "updated_since"),
        ("include_deleted=x", "include_deleted"),
    ] {
        let reply = nobody.get(&format!("{COURSES}?{query}")).await;
        assert_eq!(reply.refusal(), (400, "invalid"), "{query}");
        assert_eq!(reply.errors(name).len(), 1, "{query}: {}", reply.body);
    }
    let several = nobody.get(&format!("{COURSES}?page_size=0&nothing=1&is_active=x")).await;
    assert_eq!(several.body["errors"].as_object().unwrap().len(), 3);
    nobody.get(&format!("{COURSES}?page_size=1000")).await.expect(200);
    nobody.get(&format!("{COURSES}?page_size=1")).await.expect(200);

    let app = TestApp::with(&[("PAGE_SIZE_DEFAULT", "2"), ("PAGE_SIZE_MAX", "3")]).await;
    courses(&app, 5).await;
    assert_eq!(app.anonymous().get(COURSES).await.ids().len(), 2);
    assert_eq!(app.anonymous().get(&format!("{COURSES}?page_size=4")).await.status, 400);
}

#[tokio::test]
async fn filters_search_and_counting_narrow_alike() {
    let app = TestApp::start().await;
    let sql = "insert into courses (code, name, department, is_active, updated_at) values
        ('BA-CS', 'Bachelor of Computer Science', 'Science', true, '2026-03-01T00:00:00Z'),
        ('BA-BUS', 'Bachelor of Business', 'Business', true, '2026-02-01T00:00:00Z'),
        ('MA-CS', 'Master of Computer Science', 'Science', false, '2026-01-01T00:00:00Z'),
        ('X_1', '100% sure', '', true, '2025-01-01T00:00:00Z')";
    app.db.execute(sql).await.unwrap();
    for (query, codes) in [
        ("", vec!["BA-BUS", "BA-CS", "MA-CS", "X_1"]),
        ("department=Science", vec!["BA-CS", "MA-CS"]),
        ("department=Science&is_active=true", vec!["BA-CS"]),
        ("is_active=false", vec!["MA-CS"]),
        ("code=BA-BUS", vec!["BA-BUS"]),
        ("search=computer", vec!["BA-CS", "MA-CS"]),
        ("search=science+MASTER", vec!["MA-CS"]),
        ("search=ba-", vec!["BA-BUS", "BA-CS"]),
        ("search=%25", vec!["X_1"]),
        ("search=_", vec!["X_1"]),
        ("search=%5C", vec![]),
        ("search=+", vec!["BA-BUS", "BA-CS", "MA-CS", "X_1"]),
        ("updated_since=2026-02-01T00:00:00Z", vec!["BA-BUS", "BA-CS"]),
        // Without an offset it is local time: seven hours ahead in Asia/Ho_Chi_Minh.
        ("updated_since=2026-02-01T07:00:00", vec!["BA-BUS", "BA-CS"]),
        ("updated_since=2026-02-01T07:00:01", vec!["BA-CS"]),
        ("updated_since=2026-03-01T02:00:00%2B02:00", vec!["BA-CS"]),
    ] {
        let reply = app.anonymous().get(&format!("{COURSES}?{query}&count=true&page_size=1")).await;
        assert_eq!(reply.header("x-total-count"), Some(&*codes.len().to_string()), "{query}");
        let reply = app.anonymous().get(&format!("{COURSES}?{query}")).await;
        let found: Vec<&str> =
            reply.expect(200).as_array().unwrap().iter().map(|row| row["code"].as_str().unwrap()).collect();
        assert_eq!(found, codes, "{query}");
        assert_eq!(reply.header("x-total-count"), None);
    }
}

#[tokio::test]
async fn deleted_rows_are_listed_for_administrators_alone() {
    let app = TestApp::start().await;
    let ids = courses(&app, 2).await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    staff.delete(&at(ids[0])).await.expect(204);
    let with_deleted = format!("{COURSES}?include_deleted=true&count=true");
    assert_eq!(admin.get(&with_deleted).await.ids(), ids);
    assert_eq!(admin.get(&with_deleted).await.header("x-total-count"), Some("2"));
    assert_eq!(admin.get(COURSES).await.ids(), ids[1..]);
    assert_eq!(admin.get(&format!("{COURSES}?include_deleted=false")).await.ids(), ids[1..]);
    assert_eq!(staff.get(&with_deleted).await.refusal(), (403, "permission_denied"));
    assert_eq!(app.anonymous().get(&with_deleted).await.refusal(), (401, "not_authenticated"));
}

// ---- Deleting and restoring ----

#[tokio::test]
async fn a_deleted_row_is_gone_until_an_administrator_restores_it() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let made = staff.post(COURSES, &course("BACK")).await;
    let path = at(id_of(&made));
    staff.delete(&path).await.expect(204);
    for reply in [
        staff.get(&path).await,
        admin.get(&path).await,
        staff.delete(&path).await,
        staff.patch(&path, &json!({ "name": "x" })).await,
        staff.put(&path, &course("BACK")).await,
    ] {
        assert_eq!(reply.refusal(), (404, "not_found"));
    }
    assert_eq!(staff.get(COURSES).await.ids(), []);

    let restore = format!("{path}restore/");
    assert_eq!(staff.post_bare(&restore).await.refusal(), (403, "permission_denied"));
    let restored = admin.post_bare(&restore).await;
    let mut expected = made.body.clone();
    expected["updated_by"] = json!(admin.id);
    assert_eq!(restored.expect(200), &expected);
    assert_eq!(staff.get(&path).await.expect(200), &expected);
    // What is there cannot be brought back.
    assert_eq!(admin.post_bare(&restore).await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn a_code_is_free_again_after_a_delete_and_a_restore_that_finds_it_taken_is_409() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let first = staff.post(COURSES, &course("SAME")).await;
    let taken = staff.post(COURSES, &course("same")).await;
    assert_eq!(taken.refusal(), (409, "already_taken"));
    assert_eq!(taken.errors("code"), ["A course with this code already exists."]);

    let path = at(id_of(&first));
    staff.delete(&path).await.expect(204);
    staff.post(COURSES, &course("same")).await.expect(201);
    let reply = admin.post_bare(&format!("{path}restore/")).await;
    assert_eq!((reply.status.as_u16(), reply.errors("code").len()), (409, 1), "{}", reply.body);
    assert_eq!(staff.get(&path).await.status, 404);
}

#[tokio::test]
async fn what_live_rows_refer_to_is_not_deleted() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (course, unit, student) = (app.course().await, app.unit().await, app.student().await);
    let sql = sqlx::query!("insert into course_units (course_id, unit_id) values ($1, $2)", course.0, unit.0);
    sql.execute(&app.db).await.unwrap();
    let sql = sqlx::query!("update student_profiles set course_id = $1 where user_id = $2", course.0, student.id.0);
    sql.execute(&app.db).await.unwrap();
    let reply = staff.delete(&at(course)).await;
    assert_eq!(reply.refusal(), (409, "still_referred_to"));
    assert_eq!(reply.body["counts"], json!({ "course_units": 1, "student_profiles": 1 }));

    app.db.execute("update course_units set deleted_at = now()").await.unwrap();
    app.db.execute("update student_profiles set course_id = null").await.unwrap();
    staff.delete(&at(course)).await.expect(204);
}

#[tokio::test]
async fn a_row_that_gets_a_reference_meanwhile_is_not_deleted() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (course, unit) = (app.course().await, app.unit().await);
    // Somebody is adding a unit to the course, and has locked it for that.
    let mut halfway = app.transaction().await;
    let sql = sqlx::query!("insert into course_units (course_id, unit_id) values ($1, $2)", course.0, unit.0);
    sql.execute(&mut *halfway).await.unwrap();
    let sql = sqlx::query!("select id from courses where id = $1 for share", course.0);
    sql.fetch_one(&mut *halfway).await.unwrap();
    let path = at(course);
    let (reply, ()) = tokio::join!(staff.delete(&path), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (409, "still_referred_to"));
    app.check_invariants().await;
}

// ---- The audit log ----

#[tokio::test]
async fn every_write_leaves_a_row_in_the_audit_log_and_a_refused_one_none() {
    let app = TestApp::start().await;
    let (staff, admin): (Person, Person) = (app.staff().await, app.admin().await);
    let made = staff.post(COURSES, &course("AUD")).await;
    let path = at(id_of(&made));
    staff.with("User-Agent", "curl/8").patch(&path, &json!({ "name": "New" })).await.expect(200);
    staff.patch(&path, &json!({ "name": "" })).await.expect(400);
    staff.post(COURSES, &course("aud")).await.expect(409);
    staff.delete(&path).await.expect(204);
    admin.post_bare(&format!("{path}restore/")).await.expect(200);

    let sql = sqlx::query!(
        r#"select action, user_id, resource_type, resource_id, details, host(ip_address) as "ip!", user_agent
             from audit_log
            order by id"#
    );
    let rows = sql.fetch_all(&app.db).await.unwrap();
    let what: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.user_id.unwrap())).collect();
    let (by_staff, by_admin) = (staff.id.0, admin.id.0);
    assert_eq!(what, [("create", by_staff), ("update", by_staff), ("delete", by_staff), ("restore", by_admin)]);
    for row in &rows {
        let of = (row.resource_type.as_str(), row.resource_id, row.ip.as_str());
        assert_eq!(of, ("course", made.body["id"].as_i64(), "127.0.0.1"));
    }
    assert_eq!(rows[1].details, json!({ "changes": { "name": { "before": "Course AUD", "after": "New" } } }));
    assert_eq!(rows[1].user_agent, "curl/8");
    assert_eq!(rows[0].details["changes"]["code"], json!({ "before": null, "after": "AUD" }));
}

/// The plan of a search, where a scan of the whole table is the last resort.
async fn plan_of_search(app: &TestApp, table: &str, search: Option<Search>) -> String {
    let (Search::Anywhere(expression) | Search::Names(expression)) = search.expect("a list that can be searched");
    let sql = format!("explain select id from {table} where {expression} like search_pattern('quartz')");
    let mut tx = app.transaction().await;
    tx.execute("set local enable_seqscan = off").await.unwrap();
    let rows = tx.fetch_all(AssertSqlSafe(sql)).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
}

#[tokio::test]
async fn a_search_is_served_by_an_index_over_its_very_expression() {
    let app = TestApp::start().await;
    for (table, expression) in [
        ("courses c", Course::LISTING.search),
        ("units u", Unit::LISTING.search),
        ("users u", User::LISTING.search),
        ("events e", Event::LISTING.search),
        ("tickets t", Some(Search::Anywhere("t.search_text"))),
        ("pages p", Some(Search::Anywhere("p.search_text"))),
    ] {
        let plan = plan_of_search(&app, table, expression).await;
        let (name, _) = table.split_once(' ').unwrap();
        assert!(plan.contains(&format!("Bitmap Index Scan on {name}_by_search_text")), "{plan}");
    }
}

#[tokio::test]
async fn a_page_is_not_planned_anew_for_each_request() {
    let app = TestApp::start().await;
    let server = app.another_server().with("DB_POOL_SIZE", "2").start().await;
    let staff = app.staff().await.at(&server);
    // One session is left, so that the test looks at the very one that was asked.
    let _in_use = server.state.db.acquire().await.unwrap();
    for _ in 0..3 {
        staff.get("/api/enrollment/approvals/?page_size=100").await.expect(200);
    }
    let mut session = server.state.db.acquire().await.unwrap();
    let plans = "select generic_plans, custom_plans from pg_prepared_statements where statement like '% as page_id %'";
    let row = session.fetch_one(plans).await.unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<i64, _>(1)), (3, 0), "as planned once, and for a value");
}

#[tokio::test]
async fn what_nothing_reads_of_a_body_is_named_at_every_depth_and_refused_on_request() {
    let app = TestApp::start().await;
    let (staff, student, unit) = (app.staff().await, app.student().await, app.unit().await);
    let body = json!({
        "unit": unit, "year": 2026, "semester": "S2", "enrollment_start": "2026-01-01", "enrollment_end": "2026-09-01",
        "capcity": 5, "t\u{ea}n,\u{1ebf}": 1,
    });
    let reply = staff.post("/api/academic/offerings/", &body).await;
    reply.expect(201);
    assert_eq!(reply.header("X-Ignored-Fields"), Some("capcity, t%C3%AAn%2C%E1%BA%BF"));
    // Also where something is missing: it may be what is misspelt.
    let reply = staff.post("/api/academic/units/", &json!({ "code": "TYPO1", "nmae": "x" })).await;
    assert_eq!((reply.status.as_u16(), reply.header("X-Ignored-Fields")), (400, Some("nmae")));
    let rows = json!({ "rows": [{ "id": 1, "grade": "P", "mark": 55 }] });
    let reply = staff.post("/api/enrollment/enrollments/bulk-grade/", &rows).await;
    assert_eq!(reply.header("X-Ignored-Fields"), Some("rows[0].mark"), "{}", reply.body);
    // A change that is not the caller's to make.
    let reply =
        student.patch("/api/users/users/update_profile/", &json!({ "email": "x@example.edu", "bio": "Hi" })).await;
    assert_eq!((reply.expect(200)["bio"].as_str(), reply.header("X-Ignored-Fields")), (Some("Hi"), Some("email")));
    let many: serde_json::Map<_, _> = (0..300).map(|n| (format!("name_{n}"), json!(1))).collect();
    let reply = student.patch("/api/users/users/update_profile/", &json!(many)).await;
    let told = reply.header("X-Ignored-Fields").unwrap();
    assert!(told.ends_with(", ...") && told.len() < 2500, "{told}");
    let form = crate::support::Upload::of("file", "a.txt", "text").and("title", "A").and("titel", "B");
    let reply = staff.upload("/api/core/resources/", form).await;
    assert_eq!((reply.status.as_u16(), reply.header("X-Ignored-Fields")), (201, Some("titel")));

    let strict = student.with("Prefer", "respond-async, handling=strict");
    let reply =
        strict.patch("/api/users/users/update_profile/", &json!({ "email": "x@example.edu", "bio": "Ho" })).await;
    assert_eq!((reply.refusal(), reply.errors("email").len()), ((400, "invalid"), 1));
    assert_eq!(student.get("/api/users/users/me/").await.body["bio"], "Hi", "nothing of it is done");
    let reply = strict.patch("/api/users/users/update_profile/", &json!({ "bio": "Ho" })).await;
    assert_eq!((reply.status.as_u16(), reply.header("X-Ignored-Fields")), (200, None));
}

#[tokio::test]
async fn numbers_and_flags_are_read_as_forms_send_them() {
    let app = TestApp::start().await;
    let (staff, student, unit) = (app.staff().await, app.student().await, app.unit().await);
    let body = json!({
        "unit": unit.to_string(), "year": " 2026", "semester": "S2", "capacity": "5", "requires_approval": "false",
        "is_active": "True", "enrollment_start": "2026-01-01", "enrollment_end": "2026-09-01",
    });
    let made = staff.post("/api/academic/offerings/", &body).await;
    let made = made.expect(201);
    assert_eq!(
        (&made["year"], &made["capacity"], &made["requires_approval"]),
        (&json!(2026), &json!(5), &json!(false))
    );
    let gold = json!({ "student_id": student.id.to_string(), "amount": "50", "reason": "x" });
    staff.post("/api/social/transactions/award/", &gold).await.expect(201);
    for (field, value, says) in [
        ("capacity", json!("5.5"), "A whole number is expected."),
        ("capacity", json!("99999999999"), "A whole number is expected."),
        ("capacity", json!("-"), "A whole number is expected."),
        ("capacity", json!([5]), "A whole number is expected."),
        ("capacity", json!(true), "A whole number is expected."),
        ("requires_approval", json!("perhaps"), "`true` or `false` is expected."),
        ("semester", json!("T3"), "S1, S2, S3, SS or WS is expected."),
        ("semester", json!(3), "S1, S2, S3, SS or WS is expected."),
        ("notes", json!(5), "Text is expected."),
        ("notes", json!(["a"]), "Text is expected."),
    ] {
        let mut body = body.clone();
        body[field] = value.clone();
        let reply = staff.post("/api/academic/offerings/", &body).await;
        assert_eq!((reply.status.as_u16(), reply.errors(field)), (400, vec![says]), "{field} {value}");
    }
}
