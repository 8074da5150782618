//! What is kept about a person: all of it for them, and none of it when they are anonymised.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use swincms::ids::Id;
use swincms::privacy::tables::{EVERYWHERE, TABLES};

use crate::cli::swincms;
use crate::support::{PASSWORD, Person, TestApp, Upload};

const EXPORT: &str = "/api/users/users/me/export/";

fn anonymise(id: Id) -> String {
    format!("/api/users/users/{id}/anonymise/")
}

/// Every column of every table.
async fn columns(app: &TestApp) -> Vec<(String, String)> {
    let sql = sqlx::query!(
        r#"select c.table_name::text as "table_name!", c.column_name::text as "column_name!"
             from information_schema.columns c
             join information_schema.tables t using (table_schema, table_name)
            where c.table_schema = 'public'
              and t.table_type = 'BASE TABLE'
              and c.table_name <> '_sqlx_migrations'
            order by 1, 2"#
    );
    sql.fetch_all(&app.db).await.unwrap().into_iter().map(|row| (row.table_name, row.column_name)).collect()
}

#[tokio::test]
async fn each_column_of_each_table_is_decided_on() {
    let app = TestApp::start().await;
    let mut decided = BTreeSet::new();
    for table in TABLES {
        let lists = [table.kept, table.texts, table.documents, table.secret, table.plain];
        let named = lists.iter().flat_map(|list| list.split_whitespace());
        let cleared = table.cleared.iter().map(|(name, _)| *name);
        decided.extend(named.chain(cleared).chain(EVERYWHERE.split_whitespace()).map(|name| (table.name, name)));
    }
    let columns = columns(&app).await;
    for (table, column) in &columns {
        assert!(decided.contains(&(table.as_str(), column.as_str())), "privacy::tables: decide on {table}.{column}");
    }
    for (table, column) in decided {
        let there = columns.iter().any(|(t, c)| (t.as_str(), c.as_str()) == (table, column));
        assert!(there || EVERYWHERE.contains(column), "privacy::tables names {table}.{column}, which is not there");
    }
}

/// Everything in the database, as text; bytes too are read as text.
async fn dump(app: &TestApp) -> BTreeMap<String, String> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, column) in columns(app).await {
        tables.entry(table).or_default().push(column);
    }
    let bytes = sqlx::query!(
        r#"select table_name::text as "table_name!", column_name::text as "column_name!"
             from information_schema.columns
            where table_schema = 'public' and udt_name = 'bytea'"#
    );
    let bytes = bytes.fetch_all(&app.db).await.unwrap();
    let mut dumped = BTreeMap::new();
    for (table, columns) in tables {
        let parts: Vec<String> = columns
            .iter()
            .map(|column| {
                let raw = bytes.iter().any(|byte| byte.table_name == table && byte.column_name == *column);
                if raw { format!("encode(\"{column}\", 'escape')") } else { format!("\"{column}\"::text") }
            })
            .collect();
        let sql = format!("select coalesce(string_agg(concat_ws(' ', {}), ' '), '') from {table}", parts.join(", "));
        let row = app.db.fetch_one(AssertSqlSafe(sql)).await.unwrap();
        dumped.insert(table, row.get::<String, _>(0));
    }
    dumped
}

/// All files below the folder, with their bytes read as text.
fn files(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()]
            }
        })
        .collect()
}

const FIRST: &str = "Quillaria";
const LAST: &str = "Zephyrwood";
const FULL: &str = "Quillaria Zephyrwood";
const EMAIL: &str = "canary-7391@example.edu";
const FORMER: &str = "canary-0815@example.edu";
const PHONE: &str = "+84917391739";
const CANARIES: [&str; 10] = [
    FIRST,
    LAST,
    EMAIL,
    FORMER,
    "84917391739",
    "canary-7391",
    "Canary Street",
    "Canarymother",
    "1999-12-31",
    "canary-browser",
];

/// A student whose name, addresses and phone are in every place where they can come to stand.
async fn canary(app: &TestApp) -> (Person, Id) {
    let (admin, staff, convenor) = (app.admin().await, app.staff().await, app.convenor().await);
    let person = app.student().await;
    let account = format!("/api/users/users/{}/", person.id);
    let base = json!({ "email": FORMER, "username": "canary-7391", "first_name": FIRST, "last_name": LAST });
    sqlx::query!("update users set email = $2 where id = $1", person.id.0, FORMER).execute(&app.db).await.unwrap();
    admin.patch(&account, &base).await.expect(200);
    admin.patch(&account, &json!({ "email": EMAIL })).await.expect(200);
    // As if it had been confirmed; and another waits.
    sqlx::query!("update users set email = $2 where id = $1", person.id.0, EMAIL).execute(&app.db).await.unwrap();
    admin.patch(&account, &json!({ "email": FORMER })).await.expect(200);
    // A new address ends all sessions.
    let person = person.new_session(app).await;
    let profile = json!({
        "phone_number": PHONE, "address_line1": "1 Canary Street", "bio": format!("I am {FIRST}."),
        "date_of_birth": "1999-12-31", "emergency_contact_name": "Canarymother", "emergency_contact_phone": "0123456789",
    });
    let browser = person.with("User-Agent", "canary-browser");
    browser.patch("/api/users/users/update_profile/", &profile).await.expect(200);
    browser.post("/api/token/", &json!({ "email": EMAIL, "password": PASSWORD })).await.expect(200);
    browser.post("/api/users/password-reset/", &json!({ "email": EMAIL })).await.expect(202);

    // What they wrote, and what others wrote of them.
    let ticket =
        json!({ "title": format!("{LAST} asks"), "description": format!("Call {PHONE}"), "category": "Other" });
    let ticket =
        browser.with("Idempotency-Key", "t").post("/api/core/tickets/", &ticket).await.expect(201)["id"].clone();
    browser
        .upload(
            &format!("/api/core/tickets/{ticket}/files/"),
            Upload::of("file", &format!("{LAST}.txt"), format!("by {FULL}")),
        )
        .await
        .expect(201);
    browser
        .post("/api/core/ticket-comments/", &json!({ "ticket": ticket, "comment": format!("{FIRST} again") }))
        .await
        .expect(201);
    for internal in [false, true] {
        let comment = json!({ "ticket": ticket, "comment": format!("{FIRST}, note {internal}"), "internal": internal });
        staff
            .with("Idempotency-Key", format!("c{internal}"))
            .post("/api/core/ticket-comments/", &comment)
            .await
            .expect(201);
    }
    let told =
        json!({ "recipient": staff.id, "verb": format!("{FULL} writes"), "description": format!("From {EMAIL}") });
    browser.post("/api/core/notifications/", &told).await.expect(201);
    let told = json!({ "recipient": convenor.id, "verb": "Look", "description": format!("{LAST} {FIRST} is {FULL}") });
    staff.post("/api/core/notifications/", &told).await.expect(201);
    let event =
        json!({ "title": format!("A talk by {FULL}"), "start": "2026-03-10T09:00:00Z", "attendees": [person.id] });
    admin.post("/api/core/events/", &event).await.expect(201);
    let page = json!({ "title": "People", "slug": "people", "content": format!("{LAST}, {FIRST}: {PHONE}"), "published": true });
    staff.with("Idempotency-Key", "p").post("/api/core/pages/", &page).await.expect(201);
    let form = json!({ "name": "F", "slug": "f", "schema": { "type": "object" } });
    let form = staff.post("/api/core/forms/", &form).await.expect(201)["id"].clone();
    browser.post("/api/core/submissions/", &json!({ "form": form, "data": { "name": FULL } })).await.expect(201);
    staff.post("/api/core/submissions/", &json!({ "form": form, "data": { "of": EMAIL } })).await.expect(201);

    // Studies.
    let unit = app.unit_of(convenor.id).await;
    let offering = app.offering_of(unit, 0).await;
    let made = browser.post("/api/enrollment/enrollments/", &json!({ "offering": offering })).await;
    let enrollment = Id(made.expect(201)["id"].as_i64().unwrap());
    let one = format!("/api/enrollment/enrollments/{enrollment}/");
    admin.post(&format!("{one}approve/"), &json!({ "notes": format!("Welcome, {FIRST}!") })).await.expect(200);
    admin.put(&one, &json!({ "status": "COMPLETED", "grade": "HD", "marks": "91" })).await.expect(200);
    let rows = format!(
        "insert into webhook_outbox (trigger_event, object_key, payload, state)
         values ('x', 'user:1', '{{\"email\": \"{EMAIL}\"}}', 'skipped');
         insert into workflow_executions (trigger_event, input_data, error_details)
         values ('x', '{{\"name\": \"{FULL}\"}}', 'no answer for {FULL}');
         insert into guardians (user_id, relationship) values ({}, 'aunt of {FIRST}');
         update users set emergency_contact_name = '{FULL}', emergency_contact_phone = '{PHONE}' where id = {};
         insert into gold_transactions (student_id, seq, amount, transaction_type, reason, details, balance_after)
         select student_id, 1, 5, 'AWARD', 'Helped {LAST}', 'well done, {FIRST}', 5 from gold_accounts where student_id = {};
         update gold_accounts set current_balance = 5, lifetime_earned = 5, last_seq = 1 where student_id = {}",
        person.id, staff.id, person.id, person.id
    );
    sqlx::raw_sql(AssertSqlSafe(rows)).execute(&app.db).await.unwrap();
    (person, enrollment)
}

/// What a dry run leaves for somebody to decide.
async fn near_misses(admin: &Person, id: Id) -> Vec<Value> {
    let trial = admin.post_bare(&format!("{}?dry_run=true", anonymise(id))).await;
    trial.expect(200)["near_misses"].as_array().unwrap().iter().map(|miss| miss["id"].clone()).collect()
}

#[tokio::test]
async fn of_an_anonymised_person_nothing_is_left_in_the_database_or_the_files_but_the_academic_record() {
    let app = TestApp::start().await;
    let (admin, (person, enrollment)) = (app.admin().await, canary(&app).await);
    let before = dump(&app).await;
    for canary in CANARIES {
        assert!(before.values().any(|rows| rows.contains(canary)), "{canary} is there to begin with");
    }
    let media = app.folder().join("media");
    assert!(files(&media).iter().any(|file| file.contains(FULL)));

    let confirm = near_misses(&admin, person.id).await;
    let receipt = admin.post(&anonymise(person.id), &json!({ "confirm": confirm })).await;
    let receipt = receipt.expect(200);
    assert_eq!((&receipt["user"], &receipt["near_misses"]), (&json!(person.id), &json!([])));
    let touched: BTreeSet<(&str, &str)> = receipt["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["table"].as_str().unwrap(), table["action"].as_str().unwrap()))
        .collect();
    for table in [
        ("users", "cleared"),
        ("sessions", "deleted"),
        ("tickets", "cleared"),
        ("ticket_comments", "cleared"),
        ("ticket_files", "deleted"),
        ("stored_files", "deleted"),
        ("mail_outbox", "deleted"),
        ("notifications", "mentions_erased"),
        ("idempotency_keys", "deleted"),
        ("enrollment_history", "cleared"),
        ("events", "mentions_erased"),
        ("pages", "mentions_erased"),
        ("webhook_outbox", "mentions_erased"),
        ("workflow_executions", "mentions_erased"),
        ("audit_log", "details_erased"),
        ("audit_log", "origins_erased"),
    ] {
        assert!(touched.contains(&table), "{table:?} is in the receipt: {touched:?}");
    }

    // Kept answers to others live for a day: without them a repeat would have its effect twice.
    let kept = sqlx::query!("delete from idempotency_keys where user_id <> $1", person.id.0);
    assert_eq!(kept.execute(&app.db).await.unwrap().rows_affected(), 3);
    for (table, rows) in dump(&app).await {
        let rows = rows.to_lowercase();
        for canary in CANARIES {
            assert!(!rows.contains(&canary.to_lowercase()), "{canary} is left in {table}");
        }
    }
    for file in files(&media) {
        assert!(CANARIES.iter().all(|canary| !file.contains(canary)), "a file is left: {file}");
    }

    // The academic record is as it was, and the account is nobody's for good.
    let row = sqlx::query!(
        r#"select e.status, e.grade, e.marks::text as "marks!", t.grade as of_transcript, u.email, u.is_active,
                  (select count(*) from enrollment_history h where h.enrollment_id = e.id) as "steps!",
                  (select count(*) from student_profiles p where p.user_id = u.id) as "profiles!"
             from enrollments e
             join transcripts t on t.enrollment_id = e.id
             join users u on u.id = e.student_id
            where e.id = $1"#,
        enrollment.0
    );
    let row = row.fetch_one(&app.db).await.unwrap();
    assert_eq!((row.status.as_str(), row.grade.as_str(), row.marks.as_str()), ("COMPLETED", "HD", "91.00"));
    assert_eq!((row.of_transcript.as_str(), row.steps, row.profiles), ("HD", 3, 1));
    assert_eq!((row.email, row.is_active), (format!("anonymised-{}@invalid", person.id), false));
    person.get("/api/users/users/me/").await.expect(401);
    let account = format!("/api/users/users/{}/", person.id);
    assert_eq!(admin.post_bare(&format!("{account}restore/")).await.refusal(), (409, "anonymised"));
    let renamed = json!({ "first_name": FIRST, "last_name": LAST });
    assert!(matches!(admin.patch(&account, &renamed).await.refusal(), (400, _)));
    assert_eq!(admin.post_bare(&anonymise(person.id)).await.refusal(), (409, "already_anonymised"));
    app.check_invariants().await;
}

#[tokio::test]
async fn what_anonymising_erased_from_the_audit_log_is_told_apart_from_what_was_forged() {
    let app = TestApp::with_background(&[]).await;
    let (admin, (person, _)) = (app.admin().await, canary(&app).await);
    let sealed = async || {
        let left = sqlx::query_scalar!(
            r#"select (select count(*) from audit_log) - coalesce((select max(total_count) from audit_seals), 0) as "left!""#
        );
        left.fetch_one(&app.db).await.unwrap() == 0
    };
    app.until("all is sealed", sealed).await;
    admin.post_bare(&anonymise(person.id)).await.expect(200);
    app.until("the erasure is sealed", sealed).await;
    let said = swincms(&app, &["audit", "verify", "--json"]).await;
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&report["ok"], &report["faults"]), (&json!(true), &json!([])));
    assert!(report["details_erased"].as_i64().unwrap() > 5, "{report}");
    assert!(report["origins_erased"].as_i64().unwrap() > 3, "{report}");
}

#[tokio::test]
async fn an_administrator_is_not_anonymised_nor_does_anybody_anonymise_themselves() {
    let app = TestApp::start().await;
    let (admin, other) = (app.admin().await, app.admin().await);
    assert_eq!(admin.post_bare(&anonymise(admin.id)).await.refusal(), (409, "own_account"));
    assert_eq!(admin.post_bare(&anonymise(other.id)).await.refusal(), (409, "is_administrator"));
    admin.post_bare(&anonymise(Id(987_654))).await.expect(404);
    let student = app.student().await;
    for person in
        [app.staff().await, app.auditor().await, app.convenor().await, app.parent().await, app.student().await]
    {
        person.post_bare(&anonymise(student.id)).await.expect(403);
    }
    app.anonymous().post_bare(&anonymise(student.id)).await.expect(401);
}

#[tokio::test]
async fn a_name_that_is_also_a_word_stays_where_the_person_is_not_meant() {
    let app = TestApp::start().await;
    let (admin, person) = (app.admin().await, app.staff().await);
    let names = json!({ "first_name": "Art", "last_name": "Law", "phone_number": "0123456789" });
    admin.patch(&format!("/api/users/users/{}/", person.id), &names).await.expect(200);
    let page = json!({ "title": "Art and Law", "slug": "art", "content": "Art, Law, 01234567890; by Art Law" });
    let page = person.post("/api/core/pages/", &page).await.expect(201)["id"].clone();
    admin.post_bare(&anonymise(person.id)).await.expect(200);
    let page = admin.get(&format!("/api/core/pages/{page}/")).await;
    assert_eq!(page.expect(200)["title"], "Art and Law");
    assert_eq!(page.body["content"], "Art, Law, 01234567890; by ***");
}

#[tokio::test]
async fn an_export_holds_everything_about_the_caller_and_neither_secrets_nor_what_others_may_see_only() {
    let app = TestApp::start().await;
    let ((person, enrollment), other) = (canary(&app).await, app.student().await);
    person.post_bare("/api/core/calendar-link/").await.expect(201);
    let reply = person.get(EXPORT).await;
    let archive = reply.expect(200).clone();
    assert_eq!(reply.header("content-disposition"), Some("attachment; filename=\"my-data.json\""));
    assert_eq!((&archive["user"], &archive["shortened"]), (&json!(person.id), &json!([])));
    let tables = &archive["tables"];
    assert_eq!(tables["users"][0]["email"], EMAIL);
    assert_eq!(tables["users"][0]["date_of_birth"], "1999-12-31");
    assert_eq!(tables["enrollments"][0]["id"], json!(enrollment));
    assert_eq!(tables["transcripts"][0]["grade"], "HD");
    assert_eq!(tables["tickets"][0]["description"], format!("Call {PHONE}"));
    assert_eq!(tables["form_submissions"][0]["data"], json!({ "name": FULL }));
    assert_eq!(tables["ticket_comments"].as_array().unwrap().len(), 2, "their own and the one that is not internal");
    assert!(!tables["audit_log"].as_array().unwrap().is_empty());

    let text = archive.to_string();
    assert!(!text.contains("note true"), "an internal note");
    let mut secrets = vec!["password_hash", "refresh_hash", "token_hash", "salt", "body_hash", "argon2"];
    secrets.push(person.access.as_str());
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is in the archive");
    }
    let theirs = other.get(EXPORT).await.expect(200).to_string();
    assert!(CANARIES.iter().all(|canary| !theirs.contains(canary)), "what is about another");
    app.anonymous().get(EXPORT).await.expect(401);
}

#[tokio::test]
async fn a_change_that_waited_while_the_person_was_anonymised_is_refused() {
    let app = TestApp::start().await;
    let (admin, person) = (app.admin().await, app.student().await);
    let mut halfway = app.transaction().await;
    let sql = sqlx::query!("select id from users where id = $1 for update", person.id.0);
    sql.fetch_one(&mut *halfway).await.unwrap();
    let path = anonymise(person.id);
    let anonymising = admin.post_bare(&path);
    let both = async {
        app.until_someone_waits().await;
        let names = json!({ "bio": FULL });
        let writing = person.patch("/api/users/users/update_profile/", &names);
        let release = async {
            app.until_so_many_wait(2).await;
            halfway.commit().await.unwrap();
        };
        tokio::join!(writing, release).0
    };
    let (anonymised, written) = tokio::join!(anonymising, both);
    anonymised.expect(200);
    assert!(written.status.as_u16() >= 400);
    assert!(!dump(&app).await["users"].contains(FULL));
}
