//! What anonymising somebody does to the records of others: nothing but for what can mean nobody else.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use swincms::ids::Id;

use crate::cli::swincms;
use crate::support::receiver::Receiver;
use crate::support::{Person, TestApp};
use crate::workflows::{OPEN, workflow};

/// A class that was held.
async fn class_of(app: &TestApp, offering: Id) -> Id {
    let sql = format!(
        "insert into class_sessions (offering_id, date, start_time) values ({offering}, '2026-03-01', '09:00')
         returning id"
    );
    Id(app.db.fetch_one(AssertSqlSafe(sql)).await.unwrap().get(0))
}

fn erasing(person: &Person) -> String {
    format!("/api/users/users/{}/anonymise/", person.id)
}

fn trial(person: &Person) -> String {
    format!("{}?dry_run=true", erasing(person))
}

/// Somebody's names, user name and phone are these.
async fn call(app: &TestApp, person: &Person, first: &str, last: &str, username: &str, phone: &str) {
    let sql = format!(
        "update users
            set first_name = '{first}', last_name = '{last}', official_first_name = '{first}',
                official_last_name = '{last}', username = '{username}', phone_number = '{phone}'
          where id = {}",
        person.id
    );
    app.db.execute(AssertSqlSafe(sql)).await.unwrap();
}

/// Every row of every table, as text, by table and id; but for what a person's own erasure has to change.
async fn rows(app: &TestApp) -> BTreeMap<String, String> {
    let tables = "select c.table_name::text
                    from information_schema.columns c
                    join information_schema.tables t using (table_schema, table_name)
                   where c.table_schema = 'public' and t.table_type = 'BASE TABLE' and c.column_name = 'id'";
    let mut rows = BTreeMap::new();
    for table in app.db.fetch_all(tables).await.unwrap() {
        let table: String = table.get(0);
        let sql = format!("select id::text, to_jsonb(t)::text from {table} t");
        for row in app.db.fetch_all(AssertSqlSafe(sql)).await.unwrap() {
            rows.insert(format!("{table} {}", row.get::<String, _>(0)), row.get::<String, _>(1));
        }
    }
    rows
}

/// The rows that differ: of each what it is called and what it is now.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let differs = before.iter().filter(|(name, row)| after.get(*name) != Some(*row));
    differs.map(|(name, _)| (name.clone(), after.get(name).cloned().unwrap_or_default())).collect()
}

/// Of the rows that differ those that are not the person's account, sessions and profile.
fn of_others(changed: &BTreeMap<String, String>, person: &Person) -> Vec<String> {
    let own = [format!("users {}", person.id), format!("sessions {}", person.session)];
    changed.keys().filter(|name| !own.contains(name)).cloned().collect()
}

/// What students, staff and the server have written, with words in it that are also names; the rows as they are then.
async fn others(app: &TestApp) -> BTreeMap<String, String> {
    let (admin, staff, student, convenor) =
        (app.admin().await, app.staff().await, app.student().await, app.convenor().await);
    let ticket =
        json!({ "title": "Cấp lại thẻ", "description": "Em là Nguyễn Thị Bích, lớp của thầy Nguyễn Minh Quân." });
    let ticket = student.post("/api/core/tickets/", &ticket).await.expect(201)["id"].clone();
    let comment = json!({ "ticket": ticket, "comment": "Chuyển cho anh Nguyễn Minh Quân xử lý. Lương đã trả." });
    staff.with("Idempotency-Key", "k").post("/api/core/ticket-comments/", &comment).await.expect(201);
    let award = json!({ "student_id": student.id, "amount": 5, "reason": "Giải thưởng Nguyễn Trãi" });
    admin.post("/api/social/transactions/award/", &award).await.expect(201);
    let unit = json!({ "code": "COS30018", "name": "Project", "description": "Teams present a working prototype." });
    let unit = admin.post("/api/academic/units/", &unit).await.expect(201)["id"].clone();
    admin.patch(&format!("/api/academic/units/{unit}/"), &json!({ "convenor": convenor.id })).await.expect(200);
    let event = json!({ "title": "Students present their projects", "start": "2026-03-10T09:00:00Z" });
    admin.post("/api/core/events/", &event).await.expect(201);
    let page = json!({ "title": "Học phí", "slug": "fees", "content": "Student fees: title, status, amount." });
    staff.post("/api/core/pages/", &page).await.expect(201);
    let form = json!({ "name": "F", "slug": "f", "schema": { "type": "object" } });
    let form = staff.post("/api/core/forms/", &form).await.expect(201)["id"].clone();
    let data = json!({ "title": "present", "status": { "student": "Nguyễn Lan" } });
    student.post("/api/core/submissions/", &json!({ "form": form, "data": data })).await.expect(201);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    app.enrollment(student.id, offering, "ENROLLED").await;
    let class = class_of(app, offering).await;
    let mark = json!({ "session": class, "student": student.id, "status": "present" });
    let mark = convenor.post("/api/core/attendance/", &mark).await.expect(201)["id"].clone();
    let notes = json!({ "notes": "Có giấy phép, cô Nguyễn Lan xác nhận" });
    convenor.patch(&format!("/api/core/attendance/{mark}/"), &notes).await.expect(200);
    rows(app).await
}

#[tokio::test]
async fn a_family_name_that_many_have_stays_with_them() {
    let app = TestApp::start().await;
    let (admin, person) = (app.admin().await, app.student().await);
    call(&app, &person, "Văn An", "Nguyễn", "vanan", "0903777124").await;
    let before = others(&app).await;
    admin.post_bare(&erasing(&person)).await.expect(200);
    assert_eq!(of_others(&changed(&before, &rows(&app).await), &person), [""; 0]);
}

/// The words of these rows, keys of their JSON too, each once and in their order.
fn words(rows: &BTreeMap<String, String>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in rows.values().flat_map(|row| row.split(|sign: char| !sign.is_alphabetic())) {
        if word.len() > 1 && !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    words
}

#[tokio::test]
async fn nobody_whose_name_is_a_word_or_a_key_takes_others_records_along() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let words = words(&others(&app).await);
    for word in ["present", "status", "student", "title", "changes", "Nguyễn", "thưởng", "student_id", "payload"] {
        assert!(words.iter().any(|known| word.split('_').any(|part| part == known)), "{word} is there to begin with");
    }
    // People who are called as two words that stand side by side, and by the first of them.
    for pair in words.windows(2).step_by(words.len() / 60) {
        let person = app.student().await;
        let [first, last] = pair else { unreachable!() };
        let username = if first.is_ascii() { first } else { last };
        let taken =
            app.db.fetch_all(AssertSqlSafe(format!("select from users where lower(username) = lower('{username}')")));
        let free = username.is_ascii() && taken.await.unwrap().is_empty();
        call(&app, &person, first, last, if free { username } else { &person.username }, "0903777124").await;
        let before = rows(&app).await;
        admin.post_bare(&erasing(&person)).await.expect(200);
        let own = [format!("student_profiles {}", person.id)];
        let changed = of_others(&changed(&before, &rows(&app).await), &person);
        assert!(changed.iter().all(|name| own.contains(name)), "{pair:?} took {changed:?}");
    }
}

#[tokio::test]
async fn of_two_people_of_one_name_the_other_keeps_all_that_is_theirs() {
    let app = TestApp::start().await;
    let (admin, staff, person, other) =
        (app.admin().await, app.staff().await, app.student().await, app.student().await);
    call(&app, &person, "Văn An", "Nguyễn", "an1", "0903777124").await;
    call(&app, &other, "An", "Nguyen Van", "an2", "0903777125").await;
    let mut made = Vec::new();
    for of in [&other, &person] {
        let award = json!({ "student_id": of.id, "amount": 5, "reason": "Nguyễn Văn An đạt giải nhất" });
        admin.post("/api/social/transactions/award/", &award).await.expect(201);
        let ticket = json!({ "title": "Nguyễn Văn An", "description": "Em là Nguyen Van An" });
        let ticket = of.post("/api/core/tickets/", &ticket).await.expect(201)["id"].clone();
        let comment = json!({ "ticket": ticket, "comment": "Chào Nguyễn Văn An" });
        staff.post("/api/core/ticket-comments/", &comment).await.expect(201);
        made.push(ticket);
    }
    let before = rows(&app).await;
    admin.post_bare(&erasing(&person)).await.expect(200);
    let changed = changed(&before, &rows(&app).await);
    let theirs = admin.get(&format!("/api/core/tickets/{}/", made[0])).await;
    assert_eq!(theirs.expect(200)["title"], "Nguyễn Văn An");
    let own = admin.get(&format!("/api/core/tickets/{}/", made[1])).await;
    assert_eq!(own.expect(200)["title"], "***");
    for name in of_others(&changed, &person) {
        let row = &before[&name];
        assert!(!row.contains(&format!("\"{}\": {}", "student_id", other.id)), "{name} {row}");
        assert!(!row.contains(&format!("\"{}\": {}", "submitter_id", other.id)), "{name} {row}");
    }
}

#[tokio::test]
async fn a_message_that_still_waits_is_delivered_as_it_was_written() {
    let app = TestApp::with(&[OPEN]).await;
    let (admin, person, student) = (app.admin().await, app.student().await, app.student().await);
    call(&app, &person, "Present", "Attendance", "present", "0903777124").await;
    let receiver = Receiver::start().await;
    let (id, _) = workflow(&admin, "attendance.marked", &receiver.url("/hook")).await;
    let convenor = app.convenor().await;
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    for of in [&student, &person] {
        app.enrollment(of.id, offering, "ENROLLED").await;
    }
    let class = class_of(&app, offering).await;
    for of in [&student, &person] {
        let mark = json!({ "session": class, "student": of.id, "status": "present" });
        convenor.post("/api/core/attendance/", &mark).await.expect(201);
    }
    // As a message that went out before.
    let sent = format!(
        "insert into webhook_outbox (trigger_event, workflow_id, object_key, payload, state, delivered_at)
         select trigger_event, workflow_id, object_key, payload, 'delivered', rule_now()
           from webhook_outbox
          where workflow_id = {id}"
    );
    assert_eq!(app.db.execute(AssertSqlSafe(sent)).await.unwrap().rows_affected(), 2);
    let before = rows(&app).await;
    let receipt = admin.post_bare(&erasing(&person)).await;
    let receipt = receipt.expect(200);
    let after = rows(&app).await;
    let messages: Vec<&String> = before.keys().filter(|name| name.starts_with("webhook_outbox")).collect();
    assert_eq!(messages.len(), 4);
    let differ: Vec<&&String> = messages.iter().filter(|name| before[**name] != after[**name]).collect();
    assert_eq!(differ.len(), 1, "the one that went out about the person");
    let row: Value = serde_json::from_str(&after[*differ[0]]).unwrap();
    assert_eq!(row["payload"]["student_name"], "***");
    assert_eq!(row["payload"]["student_email"], "***");
    assert_eq!((&row["payload"]["attendance_status"], &row["state"]), (&json!("present"), &json!("delivered")));
    let waiting = receipt["tables"].as_array().unwrap().iter().find(|table| table["action"] == "awaits_delivery");
    assert_eq!(waiting, Some(&json!({ "table": "webhook_outbox", "rows": 1, "action": "awaits_delivery" })));
}

const NHUNG: [&str; 4] = ["Thị Hồng Nhung", "Lương", "hongnhung", "0903777123"];

/// A member of staff called Lương Thị Hồng Nhung.
async fn nhung(app: &TestApp) -> Person {
    let person = app.staff().await;
    let [first, last, username, phone] = NHUNG;
    call(app, &person, first, last, username, phone).await;
    person
}

/// What is written in a ticket of somebody else that the person works on, once the person is erased.
async fn after_erasing(app: &TestApp, admin: &Person, texts: &[String]) -> Vec<String> {
    let (person, student) = (nhung(app).await, app.student().await);
    let mut tickets = Vec::new();
    for text in texts {
        let ticket = json!({ "title": "Hỏi", "description": text });
        let ticket = student.post("/api/core/tickets/", &ticket).await.expect(201)["id"].clone();
        let path = format!("/api/core/tickets/{ticket}/");
        admin.patch(&path, &json!({ "assigned_to": person.id })).await.expect(200);
        tickets.push(path);
    }
    admin.post_bare(&erasing(&person)).await.expect(200);
    let mut left = Vec::new();
    for path in tickets {
        left.push(admin.get(&path).await.expect(200)["description"].as_str().unwrap().to_owned());
    }
    left
}

#[tokio::test]
async fn a_full_name_and_a_phone_number_are_found_however_they_are_spelt() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let spelt = [
        "Lương Thị Hồng Nhung",
        "Luong Thi Hong Nhung",
        "Thị Hồng Nhung Lương",
        "LƯƠNG THỊ HỒNG NHUNG",
        "Lương, Thị Hồng Nhung",
        "Luong  Thi\u{a0}Hong Nhung",
        "Lu\u{31b}o\u{31b}ng Thi\u{323} Ho\u{302}\u{300}ng Nhung",
        "luong thi hong nhung",
        "0903777123",
        "+84 903 777 123",
        "0903.777.123",
        "(0903) 777-123",
        "0084903777123",
        "84903777123",
    ];
    let texts: Vec<String> = spelt.iter().map(|spelt| format!("Cô {spelt}, lương và 0903777124")).collect();
    let left = after_erasing(&app, &admin, &texts).await;
    assert_eq!(left, vec!["Cô ***, lương và 0903777124"; texts.len()]);
}

#[tokio::test]
async fn what_resembles_is_left_for_somebody_to_decide() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let texts = [
        "Lương tháng này, Nhung ơi",
        "Trần Lương Thị Hồng Nhung",
        "Lương Thị Hồng Nhung Anh",
        "09037771234 +1 903 777 123",
        "hongnhung",
        "x@example.edu",
    ];
    let texts = texts.map(str::to_owned);
    assert_eq!(after_erasing(&app, &admin, &texts).await, texts);
}

/// The receipt of a dry run.
async fn tried(admin: &Person, person: &Person) -> Value {
    admin.post_bare(&trial(person)).await.expect(200).clone()
}

/// The near misses of a receipt, each with its table, field, reason and texts.
fn misses(receipt: &Value) -> Vec<Value> {
    let told = |miss: &Value| json!([miss["table"], miss["field"], miss["reason"], miss["before"], miss["after"]]);
    receipt["near_misses"].as_array().unwrap().iter().map(told).collect()
}

fn ids(receipt: &Value) -> Vec<Value> {
    receipt["near_misses"].as_array().unwrap().iter().map(|miss| miss["id"].clone()).collect()
}

/// A page of somebody else, and a ticket on which the person works; where they are.
async fn page_and_ticket(app: &TestApp, admin: &Person, person: &Person) -> [String; 2] {
    let page = json!({ "title": "Luong Thi Hong Nhung", "slug": "nhung", "content": "Gọi 0903 777 123." });
    let page = admin.post("/api/core/pages/", &page).await.expect(201)["id"].clone();
    let ticket =
        json!({ "title": "Cô Luong Thi Hong Nhung", "description": "Nhung: 0903 777 123, gọi Lương Thị Hồng Nhung" });
    let ticket = app.student().await.post("/api/core/tickets/", &ticket).await.expect(201)["id"].clone();
    let ticket = format!("/api/core/tickets/{ticket}/");
    admin.patch(&ticket, &json!({ "assigned_to": person.id })).await.expect(200);
    [format!("/api/core/pages/{page}/"), ticket]
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_lists_what_would_be_replaced_and_what_would_not() {
    let app = TestApp::start().await;
    let (admin, person) = (app.admin().await, nhung(&app).await);
    page_and_ticket(&app, &admin, &person).await;
    let before = rows(&app).await;
    let receipt = tried(&admin, &person).await;
    assert_eq!(rows(&app).await, before);
    assert_eq!(receipt["dry_run"], true);
    let changes = receipt["changes"].as_array().unwrap().iter();
    let changes: Vec<Value> =
        changes.map(|c| json!([c["table"], c["row"], c["field"], c["before"], c["after"]])).collect();
    assert_eq!(
        changes,
        [
            json!(["notifications", 2, "description", "Cô Luong Thi Hong Nhung", "Cô ***"]),
            json!(["tickets", 1, "title", "Cô Luong Thi Hong Nhung", "Cô ***"]),
            json!([
                "tickets",
                1,
                "description",
                "Nhung: 0903 777 123, gọi Lương Thị Hồng Nhung",
                "Nhung: ***, gọi ***"
            ]),
        ]
    );
    assert_eq!(receipt["changes_total"], 3);
    assert_eq!(
        misses(&receipt),
        [
            json!(["pages", "title", "elsewhere", "Luong Thi Hong Nhung", "***"]),
            json!(["pages", "content", "elsewhere", "Gọi 0903 777 123.", "Gọi ***."]),
            json!(["audit_log", "details", "elsewhere", "Gọi 0903 777 123.", null]),
            json!(["audit_log", "details", "elsewhere", "Nhung: 0903 777 123, gọi Lương Thị Hồng Nhung", null]),
        ]
    );
    let mentions: Vec<&Value> =
        receipt["tables"].as_array().unwrap().iter().filter(|table| table["action"] == "mentions_erased").collect();
    let once = |table: &str| json!({ "table": table, "rows": 1, "action": "mentions_erased" });
    assert_eq!(mentions, [&once("notifications"), &once("tickets")], "once for the row");

    let done = admin.post_bare(&erasing(&person)).await;
    let done = done.expect(200);
    for same in ["user", "anonymised_at", "tables", "near_misses", "near_misses_total", "changes_total"] {
        assert_eq!(done[same], receipt[same], "{same}");
    }
    assert_eq!((&done["dry_run"], &done["changes"]), (&json!(false), &json!([])));
    assert_eq!(admin.post_bare(&trial(&person)).await.refusal(), (409, "already_anonymised"));
}

#[tokio::test]
async fn near_misses_that_somebody_confirms_are_replaced_with_the_erasure_or_after_it() {
    for afterwards in [false, true] {
        let app = TestApp::start().await;
        let (admin, person) = (app.admin().await, nhung(&app).await);
        let [page, _] = page_and_ticket(&app, &admin, &person).await;
        let told = ids(&tried(&admin, &person).await);
        let of_the_page = json!({ "confirm": [told[1], told[1]] });
        if afterwards {
            let receipt = admin.with("Idempotency-Key", "k").post_bare(&erasing(&person)).await;
            assert_eq!(ids(receipt.expect(200)), told);
            assert_eq!(admin.get(&page).await.expect(200)["content"], "Gọi 0903 777 123.");
        }
        app.set_time("2026-03-02T03:00:00Z").await;
        let receipt = admin.post(&erasing(&person), &of_the_page).await;
        let receipt = receipt.expect(200);
        if !afterwards {
            assert_eq!(ids(receipt), [told[0].clone(), told[2].clone(), told[3].clone()]);
        }
        let tables = receipt["tables"].as_array().unwrap();
        assert!(tables.contains(&json!({ "table": "pages", "rows": 1, "action": "mentions_erased" })), "{tables:?}");
        let now = admin.get(&page).await;
        let now = now.expect(200);
        assert_eq!((&now["content"], &now["title"]), (&json!("Gọi ***."), &json!("Luong Thi Hong Nhung")));
        assert_eq!(now["updated_at"], "2026-03-02T03:00:00.000000Z");
        // The rest, for somebody who is erased by now; the log's row says so.
        let rest = json!({ "confirm": [told[0], told[2], told[3]] });
        let receipt = admin.post(&erasing(&person), &rest).await;
        assert!(receipt.expect(200)["tables"].to_string().contains("details_erased"));
        assert_eq!(admin.get(&page).await.expect(200)["title"], "***");
        let left = rows(&app).await.into_values().collect::<String>();
        assert!(!left.contains("0903 777 123") && !left.contains("Luong Thi"), "nothing is left");
        let kept = app.db.fetch_all("select from idempotency_keys").await.unwrap();
        assert_eq!(kept.len(), 0, "no receipt quotes it");
    }
}

#[tokio::test]
async fn only_what_a_receipt_showed_of_this_person_is_confirmed_and_all_of_it_or_nothing() {
    let app = TestApp::start().await;
    let (admin, person, other) = (app.admin().await, nhung(&app).await, app.student().await);
    let [page, _] = page_and_ticket(&app, &admin, &person).await;
    let told = ids(&tried(&admin, &person).await);
    let confirm = |ids: Value| json!({ "confirm": ids });
    let reply = admin.post(&erasing(&person), &confirm(json!([told[0], "x", ""]))).await;
    reply.expect(400);
    assert_eq!(reply.errors("confirm[1]").len() + reply.errors("confirm[2]").len(), 2);
    let forged = told[0].as_str().unwrap().replace(|sign: char| sign.is_ascii_digit(), "7");
    admin.post(&erasing(&person), &confirm(json!([forged]))).await.expect(400);
    admin.post(&erasing(&other), &confirm(json!([told[0]]))).await.expect(400);
    admin.post(&erasing(&person), &confirm(json!(vec!["x"; 1001]))).await.expect(400);
    admin.patch(&page, &json!({ "content": "Gọi cô Luong Thi Hong Nhung: 0903 777 123." })).await.expect(200);
    let before = rows(&app).await;
    let reply = admin.post(&erasing(&person), &confirm(json!([told[0], told[1]]))).await;
    assert_eq!(reply.refusal(), (409, "near_miss_changed"));
    assert_eq!(rows(&app).await, before, "nothing is half done");
}

#[tokio::test]
async fn who_may_anonymise_but_not_read_is_shown_no_texts() {
    let app = TestApp::start().await;
    let (admin, person, desk) = (app.admin().await, app.student().await, app.student().await);
    let [first, last, username, phone] = NHUNG;
    call(&app, &person, first, last, username, phone).await;
    let told =
        json!({ "recipient": app.convenor().await.id, "verb": "Lương Thị Hồng Nhung", "description": "0903777123" });
    app.staff().await.post("/api/core/notifications/", &told).await.expect(201);
    admin.post("/api/academic/units/", &json!({ "code": "A", "name": "A", "description": phone })).await.expect(201);
    let role = json!({ "name": "Help desk", "permissions": ["users.anonymise", "users.read"] });
    let role = admin.post("/api/users/roles/", &role).await.expect(201)["id"].clone();
    let given = json!({ "user": desk.id, "role": role });
    admin.post("/api/users/user-roles/", &given).await.expect(201);
    let receipt = tried(&desk, &person).await;
    let shown: Vec<Value> = misses(&receipt).into_iter().filter(|miss| miss[0] != "audit_log").collect();
    assert_eq!(
        shown,
        [
            json!(["notifications", "verb", "elsewhere", null, null]),
            json!(["notifications", "description", "elsewhere", null, null]),
            json!(["units", "description", "elsewhere", "0903777123", "***"]),
        ]
    );
    assert_eq!(misses(&tried(&admin, &person).await)[0][3], "Lương Thị Hồng Nhung");
}

#[tokio::test]
async fn a_ledger_keeps_the_rest_of_its_reasons_and_lists_a_single_name_of_the_persons_own() {
    let app = TestApp::start().await;
    let (admin, person, student) = (app.admin().await, nhung(&app).await, app.student().await);
    let award = |reason: &str| json!({ "student_id": student.id, "amount": 5, "reason": reason });
    for reason in ["100% cho nhóm_1, cô Luong Thi Hong Nhung duyệt", "Lương tháng"] {
        person.post("/api/social/transactions/award/", &award(reason)).await.expect(201);
    }
    let told = misses(&tried(&admin, &person).await);
    assert!(
        told.contains(&json!(["gold_transactions", "reason", "resembles", "Lương tháng", "*** tháng"])),
        "{told:?}"
    );
    admin.post_bare(&erasing(&person)).await.expect(200);
    let reasons = app.db.fetch_all("select reason from gold_transactions order by id").await.unwrap();
    let reasons: Vec<String> = reasons.iter().map(|row| row.get(0)).collect();
    assert_eq!(reasons, ["100% cho nhóm_1, cô *** duyệt", "Lương tháng"]);
    for change in
        ["reason = 'x'", "reason = '100% cho nhóm_1, cô *** duyệt '", "amount = 6, reason = '***'", "reason = '*** x'"]
    {
        let sql = format!("update gold_transactions set {change} where seq = 1");
        assert!(app.db.execute(AssertSqlSafe(sql)).await.is_err(), "{change}");
    }
}

#[tokio::test]
async fn whom_to_call_in_an_emergency_is_not_changed_without_somebodys_word() {
    let app = TestApp::start().await;
    let (admin, parent, child) = (app.admin().await, app.parent().await, app.student().await);
    let [first, last, username, phone] = NHUNG;
    call(&app, &parent, first, last, username, phone).await;
    let contact = json!({ "emergency_contact_name": "Lương Thị Hồng Nhung", "emergency_contact_phone": phone });
    child.patch("/api/users/users/update_profile/", &contact).await.expect(200);
    admin.post("/api/users/guardians/", &json!({ "user": parent.id, "students": [child.id] })).await.expect(201);
    let told = tried(&admin, &parent).await;
    let fields: Vec<Value> =
        misses(&told).iter().filter(|miss| miss[0] == "users").map(|miss| miss[1].clone()).collect();
    assert_eq!(fields, ["emergency_contact_name", "emergency_contact_phone"]);
    admin.post_bare(&erasing(&parent)).await.expect(200);
    let kept = app.db.fetch_one("select emergency_contact_phone from users where emergency_contact_name <> ''");
    assert_eq!(kept.await.unwrap().get::<String, _>(0), phone);
}

#[tokio::test]
async fn the_audit_log_tells_of_each_row_that_was_erased_however_many() {
    let app = TestApp::with_background(&[]).await;
    let (admin, person) = (app.admin().await, nhung(&app).await);
    let rows = format!(
        "insert into audit_log (user_id, action, resource_type, resource_id, details, user_agent)
         select {0}, 'update', 'user', {0}, '{{\"changes\": {{\"bio\": {{\"before\": null, \"after\": \"x\"}}}}}}', 'x'
           from generate_series(1, 730)",
        person.id
    );
    app.db.execute(AssertSqlSafe(rows)).await.unwrap();
    page_and_ticket(&app, &admin, &person).await;
    let sealed = async || {
        let left = "select (select count(*) from audit_log) - coalesce((select max(total_count) from audit_seals), 0)";
        app.db.fetch_one(left).await.unwrap().get::<i64, _>(0) == 0
    };
    app.until("all is sealed", sealed).await;
    let receipt = admin.post_bare(&erasing(&person)).await;
    admin.post(&erasing(&person), &json!({ "confirm": ids(receipt.expect(200)) })).await.expect(200);
    app.until("the erasure is sealed", sealed).await;
    let said = swincms(&app, &["audit", "verify", "--json"]).await;
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&report["ok"], &report["faults"]), (&json!(true), &json!([])));
    assert_eq!(report["details_erased"], 732, "those of the account, and two that were confirmed");
    assert!(report["origins_erased"].as_i64().unwrap() >= 730, "{report}");
}

#[tokio::test]
async fn what_somebody_writes_meanwhile_is_neither_lost_nor_missed() {
    let app = TestApp::start().await;
    let (admin, person) = (app.admin().await, nhung(&app).await);
    let [_, ticket] = page_and_ticket(&app, &admin, &person).await;
    let mut halfway = app.transaction().await;
    let edit = "update tickets set description = 'Cô Lương Thị Hồng Nhung đã gọi, thẻ mới ngày mai'";
    halfway.execute(edit).await.unwrap();
    let path = erasing(&person);
    let erased = admin.post_bare(&path);
    let commit = async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    };
    tokio::join!(erased, commit).0.expect(200);
    assert_eq!(admin.get(&ticket).await.expect(200)["description"], "Cô *** đã gọi, thẻ mới ngày mai");
}
