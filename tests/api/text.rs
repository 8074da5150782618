//! Vietnamese and the world's text: searched, ordered, kept in one form, and told apart, whatever keyboard it comes from.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use swincms::http::text::Text;

use crate::support::corpus::multipart;
use crate::support::documented::document;
use crate::support::{PASSWORD, Person, TestApp};

const USERS: &str = "/api/users/users/";
const UNITS: &str = "/api/academic/units/";
const SESSIONS: &str = "/api/core/sessions/";
const TICKETS: &str = "/api/core/tickets/";
/// The names of six people, in the order of the Vietnamese alphabet.
const NAMES: [(&str, &str); 6] = [
    ("An", "de Vries"),
    ("Đức", "Đặng"),
    ("Hana", "Nakamura"),
    ("Văn An", "Nguyễn"),
    ("Yusuf", "O'Brien"),
    ("Zoë", "Williams"),
];

async fn call(app: &TestApp, person: &Person, (first, last): (&str, &str)) {
    let sql = sqlx::query!(
        "update users set first_name = $1, last_name = $2, email = 'p' || id || '@example.edu', username = 'p' || id where id = $3",
        first,
        last,
        person.id.0
    );
    sql.execute(&app.db).await.unwrap();
}

/// Texts of this name in the rows of a list.
async fn listed(reader: &Person, path: &str, name: &str) -> Vec<String> {
    let reply = reader.get(path).await;
    reply.expect(200).as_array().unwrap().iter().map(|row| row[name].as_str().unwrap().to_owned()).collect()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_person_is_found_however_the_name_is_typed_and_by_student_number() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (an, hana) = (app.student().await, app.student().await);
    call(&app, &an, ("Văn An", "Nguyễn")).await;
    call(&app, &hana, ("Hana", "Nakamura")).await;
    let profile = staff.get(&format!("/api/users/student-profiles/?user={}", an.id)).await;
    let number = profile.expect(200)[0]["student_id"].as_str().unwrap().to_owned();
    for (asked, found) in [
        ("nguyen van an", &an),
        ("NGUYỄN VĂN AN", &an),
        ("Nguye\u{302}\u{303}n", &an),
        ("ngu\u{200b}yen\u{a0}van", &an),
        ("\u{ff4e}\u{ff47}uyen", &an),
        (&number, &an),
        (&number.to_lowercase(), &an),
        (&number.replace('-', "\u{2011}"), &an),
        ("Nakamura, Hana", &hana),
    ] {
        for path in [USERS, "/api/users/students/"] {
            let reply = staff.get(&format!("{path}?search={}", escaped(asked))).await;
            assert_eq!(reply.ids(), [found.id], "{asked} in {path}");
        }
        let reply = staff.get(&format!("/api/users/student-profiles/?search={}", escaped(asked))).await;
        assert_eq!(reply.expect(200)[0]["user"], json!(found.id), "{asked}");
        assert_eq!(reply.ids().len(), 1, "{asked}");
    }
    for asked in ["nguyen%", "ngu_en", "nguyen hana", "\\"] {
        assert_eq!(staff.get(&format!("{USERS}?search={}", escaped(asked))).await.ids(), [], "{asked}");
    }
    // A number that changes is found by what it is now, and by nothing when the profile is gone.
    let profile = profile.ids()[0];
    let admin = app.admin().await;
    let path = format!("/api/users/student-profiles/{profile}/");
    admin.patch(&path, &json!({ "student_id": "TNĐ-77" })).await.expect(200);
    assert_eq!(staff.get(&format!("{USERS}?search={number}")).await.ids(), []);
    assert_eq!(staff.get(&format!("{USERS}?search=tnd-77")).await.ids(), [an.id]);
    admin.delete(&path).await.expect(204);
    assert_eq!(staff.get(&format!("{USERS}?search=tnd-77")).await.ids(), []);
}

#[tokio::test]
async fn a_word_of_one_or_two_letters_begins_a_name_and_is_found_by_an_index() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (an, dung) = (app.student().await, app.student().await);
    call(&app, &an, ("Văn Ân", "Quách")).await;
    call(&app, &dung, ("Dũng", "Trần")).await;
    for (asked, found) in
        [("ân", &an), ("AN", &an), ("an qu", &an), ("đu", &dung), ("u\u{300}", &dung), ("tr d", &dung)]
    {
        let reply = staff.get(&format!("{USERS}?user_type=student&search={}", escaped(asked))).await;
        let expected = if asked == "u\u{300}" { vec![] } else { vec![found.id] };
        assert_eq!(reply.ids(), expected, "{asked}");
    }
    let mut tx = app.transaction().await;
    tx.execute("set local enable_seqscan = off").await.unwrap();
    let sql = "explain select id from users
                where search_text like substr(search_pattern('xq'), 2) or search_text like '% ' || substr(search_pattern('xq'), 2)";
    let plan: Vec<String> = tx.fetch_all(sql).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(plan.join("\n").matches("Bitmap Index Scan on users_by_search_text").count(), 2, "{plan:?}");
}

#[tokio::test]
async fn every_list_that_is_searched_is_searched_without_accents_by_an_index() {
    let app = TestApp::start().await;
    let tables = "select table_name::text from information_schema.columns where column_name = 'search_text' order by 1";
    let tables: Vec<String> = app.db.fetch_all(tables).await.unwrap().iter().map(|row| row.get(0)).collect();
    let searched = document()["paths"].as_object().unwrap().iter().filter(|(_, path)| {
        path["get"]["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "search"))
    });
    // Several lists are of units or of users.
    assert!(searched.count() >= tables.len() && tables.len() > 10, "{tables:?}");
    let mut tx = app.transaction().await;
    tx.execute("set local enable_seqscan = off").await.unwrap();
    for table in tables {
        let sql = format!("explain select id from {table} where search_text like search_pattern('Quartz')");
        let plan: Vec<String> = tx.fetch_all(AssertSqlSafe(sql)).await.unwrap().iter().map(|row| row.get(0)).collect();
        assert!(plan.join("\n").contains(&format!("Bitmap Index Scan on {table}_by_search_text")), "{plan:?}");
    }
    drop(tx);
    let staff = app.staff().await;
    staff.post(TICKETS, &json!({ "title": "Xin cấp lại BẢNG ĐIỂM", "description": "ở Đà Nẵng" })).await.expect(201);
    for asked in ["bang%20diem", "da%20nang"] {
        assert_eq!(staff.get(&format!("{TICKETS}?search={asked}")).await.ids().len(), 1, "{asked}");
    }
}

#[tokio::test]
async fn people_stand_in_the_order_of_the_alphabet_on_every_page() {
    let app = TestApp::start().await;
    let (staff, offering) = (app.staff().await, app.offering(0).await);
    for name in NAMES.iter().rev() {
        let student = app.student().await;
        call(&app, &student, *name).await;
        app.enrollment(student.id, offering, "ENROLLED").await;
    }
    let wanted: Vec<&str> = NAMES.iter().map(|(_, last)| *last).collect();
    for (ordering, backwards) in [("last_name", false), ("-last_name", true)] {
        let mut found = Vec::new();
        let mut next = Some(format!("/api/users/students/?page_size=2&ordering={ordering}"));
        while let Some(page) = next {
            let reply = staff.get(&page).await;
            found.extend(
                reply.expect(200).as_array().unwrap().iter().map(|row| row["last_name"].as_str().unwrap().to_owned()),
            );
            next = reply.next_page();
        }
        if backwards {
            found.reverse();
        }
        assert_eq!(found, wanted, "{ordering}");
    }
    let first: Vec<String> = listed(&staff, "/api/users/students/?ordering=first_name", "first_name").await;
    assert_eq!(first, ["An", "Đức", "Hana", "Văn An", "Yusuf", "Zoë"]);
    let class = staff.get(&format!("/api/academic/offerings/{offering}/students/?format=csv")).await;
    let class = String::from_utf8(class.bytes).unwrap();
    assert!(class.starts_with('\u{feff}'), "Excel takes it for UTF-8");
    let last: Vec<&str> = class.lines().skip(1).map(|line| line.split(',').nth(3).unwrap()).collect();
    assert_eq!(last, wanted);
    for name in ["Zebra", "Đá quý", "Ánh sáng", "elm"] {
        let unit =
            json!({ "code": name.chars().take(2).collect::<String>() + "1", "name": name, "credit_points": "12.5" });
        staff.post(UNITS, &unit).await.expect(201);
    }
    let units = listed(&staff, &format!("{UNITS}?ordering=name&search=1"), "name").await;
    assert_eq!(
        units.into_iter().filter(|name| !name.starts_with("Unit")).collect::<Vec<_>>(),
        ["Ánh sáng", "Đá quý", "elm", "Zebra"]
    );
}

/// Adds the names of all texts in a schema.
fn texts(schema: &Value, name: &str, found: &mut Vec<String>, depth: usize) {
    if depth > 8 {
        return;
    }
    if let Some(path) = schema["$ref"].as_str() {
        return texts(document().pointer(path.trim_start_matches('#')).unwrap(), name, found, depth + 1);
    }
    for way in ["oneOf", "anyOf", "allOf"] {
        for one in schema[way].as_array().into_iter().flatten() {
            texts(one, name, found, depth + 1);
        }
    }
    let is_text =
        schema["type"] == "string" || schema["type"].as_array().is_some_and(|types| types.contains(&json!("string")));
    if is_text
        && schema.get("enum").is_none()
        && schema.get("format").is_none()
        && schema.get("contentMediaType").is_none()
    {
        found.push(name.to_owned());
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        texts(member, name, found, depth + 1);
    }
    if schema["items"].is_object() {
        texts(&schema["items"], name, found, depth + 1);
    }
}

/// Texts that may have lines, or are numbers, times and codes that are judged by themselves.
const OTHERS: &str = "amount bio comment content credit_points description details duration_years end_time field file \
    generation_status is_required marks message notes permissions prompt reason refinement_prompt requirements reviewer_notes \
    scholarship scopes start_time suggestion text unit weekday";

#[tokio::test]
async fn of_every_text_of_a_body_it_is_decided_whether_it_is_one_line() {
    let mut found = Vec::new();
    for path in document()["paths"].as_object().unwrap().values() {
        for operation in path.as_object().unwrap().values() {
            for content in operation["requestBody"]["content"].as_object().into_iter().flat_map(|all| all.values()) {
                texts(&content["schema"], "", &mut found, 0);
            }
        }
    }
    found.retain(|name| !name.is_empty());
    assert!(found.len() > 100, "{}", found.len());
    let undecided: Vec<_> = found
        .iter()
        .filter(|name| (Text::of(name) == Text::Lines) != OTHERS.split_whitespace().any(|other| other == *name))
        .collect();
    assert!(undecided.is_empty(), "name it in http/text.rs, or here if it may have lines: {undecided:?}");
}

#[tokio::test]
async fn what_is_one_line_is_kept_in_one_line_and_in_one_form() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let ticket = staff.post(TICKETS, &json!({ "title": " Xin\r\ncha\u{300}o\u{a0} ", "description": "a\nb" })).await;
    assert_eq!((&ticket.expect(201)["title"], &ticket.body["description"]), (&json!("Xin chào"), &json!("a\nb")));
    for blank in ["\u{200b}", " \u{a0}\r\n", "\u{202e}\u{feff}"] {
        let refused = staff.post(TICKETS, &json!({ "title": blank })).await;
        assert_eq!(
            (refused.status.as_u16(), refused.errors("title")),
            (400, vec!["This field is required and may not be blank."])
        );
    }
    let names = json!({ "first_name": "  Va\u{306}n\nAn ", "last_name": "\u{202e}Nguyễn" });
    staff.patch(&format!("{USERS}update_profile/"), &names).await.expect(200);
    let me = staff.get(&format!("{USERS}me/")).await;
    assert_eq!((&me.expect(200)["first_name"], &me.body["last_name"]), (&json!("Văn An"), &json!("Nguyễn")));
    // What a row has from before is put right by the next change, whatever that is.
    let sql = sqlx::query!("update users set department = E'A\\nB' where id = $1", staff.id.0);
    sql.execute(&app.db).await.unwrap();
    let changed = admin.patch(&format!("{USERS}{}/", staff.id), &json!({ "position": "x" })).await;
    assert_eq!(changed.expect(200)["position"], json!("x"));

    let unit = json!({ "code": "TZ10001", "name": "x", "credit_points": "12.5" });
    staff.post(UNITS, &unit).await.expect(201);
    for code in [" TZ10001 ", "tz10001\u{200b}", "\u{a0}Tz10001", "TZ 10001", "tz\u{2009}100 01", "ＴＺ１０００１"]
    {
        let reply = staff.post(UNITS, &json!({ "code": code, "name": "x", "credit_points": "12.5" })).await;
        assert_eq!(reply.status, 409, "{code:?}");
    }
}

#[tokio::test]
async fn a_room_is_the_same_however_it_is_typed_and_nobody_clashes_online() {
    let app = TestApp::with(&[("ONLINE_LOCATIONS", "Họp trực tiếp, Discord")]).await;
    let (staff, offering) = (app.staff().await, app.offering(0).await);
    let class = |location: &str| {
        json!({
            "offering": offering, "session_type": "lecture", "date": "2026-03-09", "start_time": "09:00",
            "end_time": "11:00", "location": location,
        })
    };
    for room in ["EN101", "Phòng Đ1", "Phòng D1", "Phòng Zoom", "Phòng A2 (https://map.example/a2)"] {
        staff.post(SESSIONS, &class(room)).await.expect(201);
    }
    for room in ["EN101\u{200b}", "\u{a0}en101\u{a0}", "Phòng  Đ1", "PHO\u{300}NG\u{3000}đ1", "phòng\u{202f}zoom"] {
        assert_eq!(staff.post(SESSIONS, &class(room)).await.refusal(), (409, "clash"), "{room:?}");
        // Nor by a back door: the constraint sees the same room.
        let sql = sqlx::query!(
            "insert into class_sessions (offering_id, session_type, date, start_time, location)
             values ($1, 'lecture', '2026-03-09', '10:00', $2)",
            offering.0,
            room
        );
        let refused = sql.execute(&app.db).await.unwrap_err().to_string();
        assert!(refused.contains("class_sessions_share_no_room"), "{room:?}: {refused}");
    }
    for online in [
        "Online",
        "Trực tuyến",
        "truc tuyen qua Zoom",
        "MS Teams",
        "Google Meet",
        "https://zoom.us/j/123?pwd=x",
        "Zoom: https://zoom.us/j/123",
        "meet.google.com/abc-defg",
        "-",
        "Discord",
        "họp trực tiếp",
    ] {
        for _ in 0..2 {
            staff.post(SESSIONS, &class(online)).await.expect(201);
        }
    }
    app.check_invariants().await;
}

const PDF: &[u8] = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";

#[tokio::test]
async fn a_file_keeps_its_name_from_every_client_to_every_reader() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let ticket = student.post(TICKETS, &json!({ "title": "Đơn" })).await.expect(201)["id"].clone();
    let path = format!("{TICKETS}{ticket}/files/");
    let form = "multipart/form-data; boundary=limit";
    let (vietnamese, in_header) = (
        "Đơn xin nghỉ.pdf",
        "inline; filename=\"Don xin nghi.pdf\"; filename*=UTF-8''%C4%90%C6%A1n%20xin%20ngh%E1%BB%89.pdf",
    );
    for (head, name, disposition) in [
        ("name=\"file\"; filename=\"Đơn xin nghỉ.pdf\"", vietnamese, in_header),
        ("name=\"file\"; filename*=utf-8''%C4%90%C6%A1n%20xin%20ngh%E1%BB%89.pdf", vietnamese, in_header),
        ("name=\"file\"; filename=\"=?utf-8?B?xJDGoW4geGluIG5naOG7iS5wZGY=?=\"", vietnamese, in_header),
        ("NAME=\"file\"; FileName=\"a.pdf\"", "a.pdf", "inline; filename=\"a.pdf\""),
        (
            "name=\"file\"; filename=\"a\\\"b.pdf\"",
            "a\"b.pdf",
            "inline; filename=\"a_b.pdf\"; filename*=UTF-8''a%22b.pdf",
        ),
        ("name=\"file\"; filename=\"marks.exe\"", "marks.exe.pdf", "inline; filename=\"marks.exe.pdf\""),
        (
            "name=\"file\"; filename=\"invoice\u{202e}fdp.exe\"",
            "invoicefdp.exe.pdf",
            "inline; filename=\"invoicefdp.exe.pdf\"",
        ),
        ("name=\"file\"; filename=\"dir/\"", "file.pdf", "inline; filename=\"file.pdf\""),
        ("name=\"file\"; filename=\"\"", "file.pdf", "inline; filename=\"file.pdf\""),
    ] {
        let reply = student.send(Method::POST, &path, form, multipart(&[(head, PDF)])).await;
        let file = reply.expect(201);
        assert_eq!(file["name"], name, "{head}");
        let url = file["url"].as_str().unwrap().strip_prefix(app.base()).unwrap().to_owned();
        assert_eq!(app.anonymous().get(&url).await.header("content-disposition"), Some(disposition), "{head}");
    }
    let long = format!("name=\"file\"; filename=\"{}.pdf\"", "ế".repeat(255));
    let reply = student.send(Method::POST, &path, form, multipart(&[(&long, PDF)])).await;
    let name = reply.expect(201)["name"].as_str().unwrap();
    assert!(name.len() <= 255 && name.ends_with("ế.pdf"), "{name}");
    // The head of a part in Latin-1, as old clients send it.
    let mut latin = multipart(&[("name=\"file\"; filename=\"caf?.pdf\"", PDF)]);
    let place = latin.iter().position(|byte| *byte == b'?').unwrap();
    latin[place] = 0xe9;
    assert_eq!(student.send(Method::POST, &path, form, latin).await.expect(201)["name"], "café.pdf");
}

#[tokio::test]
async fn a_password_opens_in_every_unicode_form_and_an_old_one_as_it_was_typed() {
    let app = TestApp::start().await;
    let (ann, nobody) = (app.student().await, app.anonymous());
    let (composed, apart) =
        ("M\u{1ead}t-kh\u{1ea9}u-\u{111}\u{1eb9}p-77", "Ma\u{302}\u{323}t-kha\u{302}\u{309}u-\u{111}e\u{323}p-77");
    let change = |new: &str| json!({ "current_password": PASSWORD, "new_password": new  });
    ann.post("/api/users/users/me/password/", &change(composed)).await.expect(204);
    let enter = async |password: &str| {
        nobody.post("/api/token/", &json!({ "email": ann.email, "password": password })).await.status.as_u16()
    };
    assert_eq!((enter(composed).await, enter(apart).await, enter("Mat-khau-dep-77").await), (200, 200, 401));
    // As Django hashed it: of the very letters that the keyboard sent.
    let mut made = [0_u8; 32];
    let rounds = std::num::NonZeroU32::new(1000).unwrap();
    aws_lc_rs::pbkdf2::derive(aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA256, rounds, b"salt", apart.as_bytes(), &mut made);
    let hash = format!("pbkdf2_sha256$1000$salt${}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, made));
    let sql = sqlx::query!("update users set password_hash = $1 where id = $2", hash, ann.id.0);
    sql.execute(&app.db).await.unwrap();
    assert_eq!(enter(composed).await, 401, "nobody knows how it was typed");
    assert_eq!(enter(apart).await, 200);
    // It is hashed anew in one form then.
    assert_eq!((enter(composed).await, enter(apart).await), (200, 200));
}
