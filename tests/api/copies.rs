//! A second copy has the same rules: what lists, details, logs, exports, feeds and streams show of a person's affairs is what
//! the table here says, for everybody who may call. A value that turns up anywhere else turns the test red.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use serde_json::{Value, json};
use swincms::ids::Id;

use crate::core::stream::{Stream, tell};
use crate::support::documented::document;
use crate::support::receiver::Receiver;
use crate::support::{Person, Sender, TestApp, Upload};

/// Who sees a value that was written somewhere, by the rules of the place where it stands.
const SEEN: &[(&str, &str)] = &[
    ("+84912000111", "admin student"),
    ("12 Secret Street", "admin student"),
    ("Aunt Emergency", "admin student"),
    ("2004-02-29", "admin student"),
    ("I am moved by this message", "recipient student"),
    ("note that is internal", "admin desk staff"),
    ("comment on my ticket", "admin auditor desk staff student"),
    ("ticket of the student", "admin auditor desk staff student"),
    ("sent in with the form", "admin auditor desk staff student"),
    ("ask the advisor quietly", "admin"),
    ("answer of the advisor", "admin"),
    ("because of the award", "admin auditor desk staff student"),
    ("what the reviewer noted", "admin auditor desk staff student"),
    ("why it was approved", "admin auditor desk staff student"),
    ("late because of the bus", "admin auditor desk staff student"),
    ("secret-path-of-the-workflow", "admin desk staff"),
];

/// Everybody who looks.
struct Looker {
    name: &'static str,
    sender: Sender,
}

async fn made(reply: impl Future<Output = crate::support::Reply>) -> Id {
    let reply = reply.await;
    assert!(reply.status.is_success(), "{}", reply.body);
    Id(reply.body["id"].as_i64().unwrap_or_default())
}

/// Writes each value where people write such values, over the API.
async fn plant(
    app: &TestApp,
    student: &Person,
    staff: &Person,
    recipient: &Person,
    auditor: &Person,
    outside: &Receiver,
) {
    let admin = app.admin().await;
    student
        .patch(
            "/api/users/users/update_profile/",
            &json!({
                "phone_number": "+84912000111", "address_line1": "12 Secret Street",
                "emergency_contact_name": "Aunt Emergency", "date_of_birth": "2004-02-29",
            }),
        )
        .await
        .expect(200);
    made(student.post(
        "/api/core/notifications/",
        &json!({ "recipient": recipient.id, "verb": "Hello", "description": "I am moved by this message" }),
    ))
    .await;
    let ticket =
        made(student.post("/api/core/tickets/", &json!({ "title": "Help", "description": "ticket of the student" })))
            .await;
    let comments = "/api/core/ticket-comments/";
    let comment = made(student.post(comments, &json!({ "ticket": ticket, "comment": "comment on my ticket" }))).await;
    student.patch(&format!("{comments}{comment}/"), &json!({ "comment": "comment on my ticket!" })).await.expect(200);
    let own = made(auditor.post("/api/core/tickets/", &json!({ "title": "My own" }))).await;
    let note = json!({ "ticket": own, "comment": "note that is internal", "internal": true });
    made(staff.post(comments, &note)).await;
    let form = made(
        staff.post("/api/core/forms/", &json!({ "name": "Form", "slug": "form", "schema": { "type": "object" } })),
    )
    .await;
    made(student.post("/api/core/submissions/", &json!({ "form": form, "data": { "text": "sent in with the form" } })))
        .await;
    let hook = outside.url("/secret-path-of-the-workflow");
    let workflow = json!({
        "name": "Ask", "trigger_event": "student.ask", "configuration": { "webhook_url": hook }, "is_active": true,
    });
    made(admin.post("/api/users/n8n-workflows/", &workflow)).await;
    outside.answers(200, json!({ "reply": "answer of the advisor" }));
    student.post("/api/askai/chat/", &json!({ "message": "ask the advisor quietly" })).await.expect(200);
    let award = json!({ "student_id": student.id, "amount": 5, "reason": "because of the award" });
    staff.post("/api/social/transactions/award/", &award).await.expect(201);
    let scholarship = made(staff.post("/api/users/scholarships/", &json!({ "name": "Aid" }))).await;
    let application = made(student.upload(
        "/api/users/scholarship-applications/",
        Upload::of("file", "a.txt", "text").and("scholarship", scholarship),
    ))
    .await;
    let review = json!({ "status": "waitlisted", "reviewer_notes": "what the reviewer noted" });
    let path = format!("/api/users/scholarship-applications/{application}/review/");
    assert!(staff.post(&path, &review).await.status.is_success());
    let offering = app.offering(10).await;
    let enrollment = made(student.post("/api/enrollment/enrollments/", &json!({ "offering": offering }))).await;
    let path = format!("/api/enrollment/enrollments/{enrollment}/approve/");
    staff.post(&path, &json!({ "notes": "why it was approved" })).await.expect(200);
    let class = json!({ "offering": offering, "date": "2026-03-01", "start_time": "09:00", "end_time": "10:00" });
    let class = made(staff.post("/api/core/sessions/", &class)).await;
    let mark = json!({
        "session": class, "student": student.id, "status": "late", "notes": "late because of the bus",
    });
    made(staff.post("/api/core/attendance/", &mark)).await;
}

/// The paths of the document that can be read; those below an object with the ids that its list gave this looker.
async fn everything(looker: &Sender) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        // The document itself has no data; a stream has no end, and is open from the beginning.
        if item.get("get").is_none() || path.starts_with("/api/schema") || path.ends_with("/stream/") {
            continue;
        }
        let addresses = match path.split_once("{id}") {
            None if path.contains('{') => Vec::new(),
            None => vec![path.clone()],
            Some((list, rest)) if !rest.contains('{') && list.starts_with("/api/") && list != "/api/files/" => {
                let rows = looker.get(list).await;
                let ids = rows.body.as_array().into_iter().flatten().filter_map(|row| row["id"].as_i64());
                ids.take(40).map(|id| format!("{list}{id}{rest}")).collect()
            }
            Some(_) => Vec::new(),
        };
        for address in addresses {
            let reply = looker.get(&address).await;
            assert!(reply.status.as_u16() < 500, "{address}: {}", reply.body);
            told.push((address, String::from_utf8_lossy(&reply.bytes).into_owned()));
        }
    }
    let link = looker.post_bare("/api/core/calendar-link/").await;
    if let Some(feed) = link.body["url"].as_str() {
        let feed = looker.get(feed).await;
        assert_eq!(feed.status, 200);
        told.push(("the calendar feed".to_owned(), String::from_utf8_lossy(&feed.bytes).into_owned()));
    }
    told
}

/// What this stream has had so far.
async fn streamed(app: &TestApp, person: &Person, stream: &mut Stream) -> String {
    tell(&app.db, person, "that was all").await;
    let mut text = String::new();
    while !text.contains("that was all") {
        if let Some((name, data)) = stream.event().await.expect("the stream is open") {
            text.extend([&name, ": ", &data.to_string(), "\n"]);
        }
    }
    text
}

#[tokio::test]
async fn what_is_withheld_in_one_place_is_withheld_in_all() {
    let outside = Receiver::start().await;
    let app = TestApp::with(&[("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")]).await;
    let (student, staff, recipient) = (app.student().await, app.staff().await, app.person("unit_convenor").await);
    let auditor = app.auditor().await;
    // Somebody on the help desk, whom a role lets manage accounts.
    let desk = app.staff().await;
    let (another, parent, admin) = (app.student().await, app.person("parent").await, app.admin().await);
    let role =
        made(app.admin().await.post(
            "/api/users/roles/",
            &json!({ "name": "Help desk", "permissions": ["users.manage", "audit_log.read"] }),
        ))
        .await;
    let holder = json!({ "user": desk.id, "role": role });
    made(app.admin().await.post("/api/users/user-roles/", &holder)).await;
    let mut streams = Vec::new();
    for (name, person) in [
        ("student", &student),
        ("another", &another),
        ("parent", &parent),
        ("recipient", &recipient),
        ("staff", &staff),
        ("desk", &desk),
        ("auditor", &auditor),
        ("admin", &admin),
    ] {
        streams.push((name, person, Stream::open(app.base(), person, None).await));
    }
    plant(&app, &student, &staff, &recipient, &auditor, &outside).await;

    let lookers = [
        Looker { name: "nobody", sender: app.anonymous() },
        Looker { name: "student", sender: (*student).clone() },
        Looker { name: "another", sender: (*another).clone() },
        Looker { name: "parent", sender: (*parent).clone() },
        Looker { name: "recipient", sender: (*recipient).clone() },
        Looker { name: "staff", sender: (*staff).clone() },
        Looker { name: "desk", sender: (*desk).clone() },
        Looker { name: "auditor", sender: (*auditor).clone() },
        Looker { name: "admin", sender: (*admin).clone() },
    ];
    let mut told = Vec::new();
    for (name, person, stream) in &mut streams {
        told.push((*name, "the stream".to_owned(), streamed(&app, person, stream).await));
    }
    let live = told.iter().filter(|(_, _, text)| text.contains("I am moved by this message"));
    assert_eq!(live.map(|(name, ..)| *name).collect::<Vec<_>>(), ["recipient"]);
    for looker in &lookers {
        let read = everything(&looker.sender).await.into_iter();
        told.extend(read.map(|(address, text)| (looker.name, address, text)));
    }
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, address, text) in &told {
        for (value, names) in SEEN {
            if !text.contains(value) {
                continue;
            }
            seen.entry(value).or_default().insert(name);
            if !names.split(' ').any(|may| may == *name) {
                wrong.push(format!("{name} sees `{value}` at {address}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // And where it stands, it is seen: else this test would look in the wrong places.
    for (value, names) in SEEN {
        let found = seen.get(value).map(|names| names.iter().copied().collect::<Vec<_>>().join(" "));
        assert_eq!(found.as_deref(), Some(*names), "`{value}`");
    }
}

#[tokio::test]
async fn old_rows_of_the_log_keep_to_the_rules_too() {
    let app = TestApp::start().await;
    let (admin, auditor) = (app.admin().await, app.auditor().await);
    let details = |field: &str| json!({ "changes": { field: { "before": null, "after": "a secret" } } });
    for (what, field) in [
        ("user", "phone_number"),
        ("notification", "description"),
        ("ticket_comment", "comment"),
        ("new_resource", "x"),
    ] {
        let sql = sqlx::query!(
            "insert into audit_log (action, resource_type, resource_id, details) values ('create', $1, 1, $2)",
            what,
            details(field)
        );
        sql.execute(&app.db).await.unwrap();
        let path = format!("/api/users/audit-log/?resource_type={what}");
        let told = async |looker: &Person| looker.get(&path).await.body[0]["details"]["changes"][field].clone();
        let hidden = json!({ "changed": true });
        assert_eq!(told(&auditor).await, hidden, "{what}.{field}");
        let shown = if what == "user" { details(field)["changes"][field].clone() } else { hidden };
        assert_eq!(told(&admin).await, shown, "{what}.{field}");
    }
}

#[tokio::test]
async fn an_export_has_of_what_one_wrote_of_others_only_that_one_did() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let path = format!("/api/users/users/{}/", student.id);
    admin.patch(&path, &json!({ "address_line1": "7 Hidden Rd" })).await.expect(200);
    admin.patch("/api/users/users/update_profile/", &json!({ "city": "Own City" })).await.expect(200);
    let export = admin.get("/api/users/users/me/export/").await;
    let text = export.expect(200).to_string();
    assert!(!text.contains("7 Hidden Rd"), "the address of somebody else");
    let rows = export.body["tables"]["audit_log"].as_array().unwrap();
    let of = |id: Id| rows.iter().find(|row| row["resource_id"] == json!(id)).unwrap();
    assert_eq!((&of(student.id)["action"], &of(student.id)["details"]), (&json!("update"), &json!({})));
    assert_eq!(of(admin.id)["details"]["changes"]["city"]["after"], "Own City");
}

#[tokio::test]
async fn the_largest_things_that_can_be_written_make_small_rows_in_the_log() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let long = |most: usize| "\u{1ebf}".repeat(most);
    student
        .patch("/api/users/users/update_profile/", &json!({ "bio": long(20_000), "address_line1": long(255) }))
        .await
        .expect(200);
    for (path, body) in [
        ("/api/core/pages/", json!({ "title": "x", "slug": "x", "content": long(200_000) })),
        ("/api/core/events/", json!({ "title": "x", "start": "2026-04-01", "description": long(20_000) })),
        ("/api/core/tickets/", json!({ "title": "x", "description": long(19_000) })),
        ("/api/academic/courses/", json!({ "code": "x", "name": "x", "description": long(20_000) })),
    ] {
        staff.send(Method::POST, path, "application/json", body.to_string()).await.expect(201);
    }
    let largest = sqlx::query_scalar!(r#"select max(length(details::text)) as "bytes!" from audit_log"#);
    let largest = largest.fetch_one(&app.db).await.unwrap();
    assert!(largest < 8 * 1024, "{largest} bytes");
    let page = app.admin().await.get("/api/users/audit-log/?resource_type=page").await;
    let content: &Value = &page.body[0]["details"]["changes"]["content"]["after"];
    assert_eq!((content["length"].as_u64(), content["sha256"].as_str().map(str::len)), (Some(200_000), Some(64)));
}

#[tokio::test]
async fn what_is_kept_of_a_body_cannot_be_guessed_at_without_the_servers_secret() {
    let app = TestApp::start().await;
    let admin = app.admin().await.with("Idempotency-Key", "one");
    let body = json!({
        "email": "new@example.edu", "username": "newcomer", "password": "harbour-Quilt-77",
        "confirm_password": "harbour-Quilt-77",
    })
    .to_string();
    let send = async || admin.send(Method::POST, "/api/users/users/", "application/json", body.clone()).await;
    let first = send().await;
    first.expect(201);
    assert_eq!(send().await.expect(201), &first.body, "the kept answer");
    let plain = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    let kept = sqlx::query_scalar!("select body_hash from idempotency_keys").fetch_one(&app.db).await.unwrap();
    assert_ne!(kept, plain.as_ref());
}
