//! The resources of units, and the files behind them.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::{NOW, UNIT_RESOURCES, UNITS, at, faulty, id_of, run};
use crate::support::{Person, Reply, TestApp, Upload};

const PDF: &[u8] = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n";

/// A link of this unit.
async fn link(staff: &Person, unit: Id, title: &str) -> Id {
    let body = json!({ "unit": unit, "title": title, "url": "https://example.org/book" });
    id_of(&staff.post(UNIT_RESOURCES, &body).await)
}

/// The lecturer has a class of this offering.
async fn teach(app: &TestApp, lecturer: &Person, offering: Id) {
    let class = format!(
        "insert into class_sessions (offering_id, date, start_time, instructor_id)
         values ({offering}, '2026-03-02', '09:00', {})",
        lecturer.id
    );
    run(&app.db, class).await;
}

fn outline(unit: Id) -> Upload {
    Upload::of("file", "outline.pdf", PDF).and("unit", unit).and("title", "Outline").and("resource_type", "OUTLINE")
}

/// The names of the private files on the disk.
fn on_disk(app: &TestApp) -> Vec<String> {
    let files = std::fs::read_dir(app.state.config.media_root.join("private")).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// The path and query of a link to a file, which has this server's address in front.
fn link_of(app: &TestApp, reply: &Reply) -> String {
    let link = reply.body["file"].as_str().unwrap_or_else(|| panic!("no file: {}", reply.body));
    link.strip_prefix(app.base()).unwrap_or_else(|| panic!("not of {}: {link}", app.base())).to_owned()
}

#[tokio::test]
async fn a_link_is_shown_with_all_its_fields() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    let body = json!({ "unit": unit, "title": "The book", "url": "https://example.org/book" });
    let id = id_of(&staff.post(UNIT_RESOURCES, &body).await);
    let wanted = json!({
        "id": id, "unit": unit, "title": "The book", "resource_type": "OTHER", "description": "", "file": null,
        "url": "https://example.org/book", "is_required": false, "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(staff.get(&at(UNIT_RESOURCES, id)).await.expect(200), &wanted);
}

#[tokio::test]
async fn a_file_is_fetched_by_its_signed_link_for_ten_minutes() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    let made = staff.upload(UNIT_RESOURCES, outline(unit).and("is_required", "true").and("description", "All")).await;
    let path = at(UNIT_RESOURCES, id_of(&made));
    let fields = ["unit", "title", "resource_type", "description", "url", "is_required"];
    let shown: Vec<&Value> = fields.iter().map(|field| &made.body[*field]).collect();
    assert_eq!(json!(shown), json!([unit, "Outline", "OUTLINE", "All", "", true]));

    let file = link_of(&app, &made);
    assert!(!file.starts_with("/media/"), "it is private: {file}");
    let nobody = app.anonymous();
    let fetched = nobody.get(&file).await;
    assert_eq!((fetched.status.as_u16(), fetched.bytes.as_slice()), (200, PDF));
    assert_eq!(fetched.header("content-type"), Some("application/pdf"));
    assert!(fetched.header("content-disposition").unwrap().contains("outline.pdf"));

    let other = file.replacen("/api/files/", "/api/files/1", 1);
    let longer = file.replacen("exp=", "exp=9", 1);
    let unsigned = file.split("&sig=").next().unwrap();
    for refused in [&other, &longer, &format!("{file}x"), unsigned] {
        assert_eq!(nobody.get(refused).await.refusal(), (403, "permission_denied"), "{refused}");
    }
    app.set_time("2026-03-02T02:09:59Z").await;
    nobody.get(&file).await.expect(200);
    app.set_time("2026-03-02T02:12:00Z").await;
    assert_eq!(nobody.get(&file).await.refusal(), (403, "permission_denied"));
    let again = link_of(&app, &staff.get(&path).await);
    assert_eq!(nobody.get(&again).await.bytes, PDF);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_resource_has_either_a_file_or_a_url() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    let both = outline(unit).and("url", "https://example.org/");
    let neither = json!({ "unit": unit, "title": "Nothing" });
    let no_file = Upload::of("file", "empty.pdf", "").and("unit", unit).and("title", "Empty");
    let elsewhere = Upload::of("document", "outline.pdf", PDF).and("unit", unit).and("title", "Outline");
    for (refused, field) in [
        (staff.upload(UNIT_RESOURCES, both).await, "url"),
        (staff.post(UNIT_RESOURCES, &neither).await, "url"),
        (staff.upload(UNIT_RESOURCES, no_file).await, "file"),
        (staff.upload(UNIT_RESOURCES, elsewhere).await, "document"),
    ] {
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()));
    }
    let made = staff.upload(UNIT_RESOURCES, outline(unit)).await;
    let path = at(UNIT_RESOURCES, id_of(&made));
    let refused = staff.patch(&path, &json!({ "url": "https://example.org/" })).await;
    assert_eq!((refused.status.as_u16(), refused.errors("url").len()), (400, 1));
    let address = at(UNIT_RESOURCES, link(&staff, unit, "The book").await);
    let refused = staff.patch(&address, &json!({ "url": "" })).await;
    assert_eq!((refused.status.as_u16(), refused.errors("url").len()), (400, 1));
    assert_eq!(on_disk(&app).len(), 1, "what was refused left nothing behind");
    app.check_invariants().await;
}

#[tokio::test]
async fn the_file_stays_when_what_is_said_about_it_changes() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    let made = staff.upload(UNIT_RESOURCES, outline(unit)).await;
    let path = at(UNIT_RESOURCES, id_of(&made));
    let patched = staff.patch(&path, &json!({ "title": "The outline" })).await;
    assert_eq!((&patched.expect(200)["title"], &patched.body["file"]), (&json!("The outline"), &made.body["file"]));
    // As the SPA does: what it was shown, with a change, back again.
    let mut whole = patched.body.clone();
    whole["description"] = json!("New");
    let replaced = staff.put(&path, &whole).await;
    assert_eq!((&replaced.expect(200)["description"], &replaced.body["file"]), (&json!("New"), &made.body["file"]));
    let least = staff.put(&path, &json!({ "unit": unit, "title": "Outline" })).await;
    assert_eq!((&least.expect(200)["resource_type"], &least.body["file"]), (&json!("OTHER"), &made.body["file"]));

    staff.delete(&path).await.expect(204);
    let restored = app.admin().await.post_bare(&format!("{path}restore/")).await;
    assert_eq!(restored.expect(200)["file"], made.body["file"]);
}

#[tokio::test]
async fn a_resource_must_be_plausible() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    for (field, value) in [
        ("title", json!(" ")),
        ("title", json!("x".repeat(256))),
        ("description", json!("x".repeat(20_001))),
        ("resource_type", json!("VIDEO")),
        ("url", json!(format!("https://example.org/{}", "x".repeat(2000)))),
        ("url", json!("javascript:alert(1)")),
        ("url", json!("example.org/book")),
        ("url", json!("ftp://example.org/book")),
        ("url", json!("https://")),
        ("is_required", json!("perhaps")),
    ] {
        let mut body = json!({ "unit": unit, "title": "The book", "url": "https://example.org/book" });
        body[field] = value;
        let refused = staff.post(UNIT_RESOURCES, &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{body}");
    }
    let refused = staff.upload(UNIT_RESOURCES, outline(unit).and("is_required", "perhaps")).await;
    assert_eq!(faulty(&refused), ["is_required".to_owned()].into());
    let refused = staff.send(axum::http::Method::POST, UNIT_RESOURCES, "text/plain", "A book").await;
    assert_eq!(refused.refusal(), (415, "unsupported_media_type"));
}

#[tokio::test]
async fn a_file_may_be_as_large_as_the_settings_say() {
    let app = TestApp::with(&[("MAX_UPLOAD_MB", "3")]).await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    let of_size =
        |bytes: usize| Upload::of("file", "large.txt", "a".repeat(bytes)).and("unit", unit).and("title", "Large");
    staff.upload(UNIT_RESOURCES, of_size(3 << 20)).await.expect(201);
    assert_eq!(staff.upload(UNIT_RESOURCES, of_size((3 << 20) + 1)).await.refusal(), (413, "too_large"));
}

#[tokio::test]
async fn a_key_stores_a_file_once() {
    let app = TestApp::start().await;
    let staff = app.staff().await.with("Idempotency-Key", "once");
    let unit = app.unit().await;
    let first = staff.upload(UNIT_RESOURCES, outline(unit)).await;
    assert_eq!(staff.upload(UNIT_RESOURCES, outline(unit)).await.expect(201), first.expect(201));
    let other = staff.upload(UNIT_RESOURCES, outline(unit).and("description", "Another")).await;
    assert_eq!((other.status.as_u16(), on_disk(&app).len()), (422, 1));
    app.check_invariants().await;
}

#[tokio::test]
async fn who_may_read_a_units_resources() {
    let app = TestApp::start().await;
    let (staff, convenor, lecturer) = (app.staff().await, app.convenor().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let offering = app.offering_of(unit, 0).await;
    teach(&app, &lecturer, offering).await;
    let book = link(&staff, unit, "The book").await;
    // There are others, in which none of these people is but staff.
    let other = link(&staff, app.unit().await, "Another book").await;

    let mut readers = vec![
        ("the convenor", convenor.clone(), true),
        ("who teaches it", lecturer.clone(), true),
        ("another convenor", app.convenor().await, false),
        ("a stranger", app.student().await, false),
    ];
    for (status, reads) in
        [("ENROLLED", true), ("COMPLETED", true), ("PENDING", false), ("FAILED", false), ("WITHDRAWN", false)]
    {
        let student = app.student().await;
        app.enrollment(student.id, offering, status).await;
        readers.push((status, student, reads));
    }
    let path = at(UNIT_RESOURCES, book);
    for (who, reader, reads) in &readers {
        let listed = reader.get(UNIT_RESOURCES).await.ids();
        assert_eq!(listed, if *reads { vec![book] } else { vec![] }, "{who}");
        assert_eq!(reader.get(&path).await.status.as_u16(), if *reads { 200 } else { 404 }, "{who}");
        assert_eq!(reader.get(&at(UNIT_RESOURCES, other)).await.refusal(), (404, "not_found"), "{who}");
        let counted = reader.get(&format!("{UNIT_RESOURCES}?count=true")).await;
        assert_eq!(counted.header("x-total-count"), Some(if *reads { "1" } else { "0" }), "{who}");
    }
    for all in [&staff, &app.admin().await, &app.auditor().await] {
        assert_eq!(all.get(UNIT_RESOURCES).await.ids(), [book, other]);
    }
    assert_eq!(app.parent().await.get(UNIT_RESOURCES).await.refusal(), (403, "permission_denied"));
    assert_eq!(app.anonymous().get(&path).await.refusal(), (401, "not_authenticated"));

    // What one sees but may not change is forbidden, what one does not see is absent.
    let change = json!({ "title": "Mine" });
    assert_eq!(lecturer.patch(&path, &change).await.refusal(), (403, "permission_denied"));
    assert_eq!(lecturer.delete(&path).await.refusal(), (403, "permission_denied"));
    assert_eq!(lecturer.upload(UNIT_RESOURCES, outline(unit)).await.refusal(), (403, "permission_denied"));
    assert_eq!(convenor.patch(&at(UNIT_RESOURCES, other), &change).await.refusal(), (404, "not_found"));
    assert!(on_disk(&app).is_empty());
}

#[tokio::test]
async fn a_class_that_is_cancelled_from_the_timetable_no_longer_makes_a_teacher() {
    let app = TestApp::start().await;
    let (staff, lecturer) = (app.staff().await, app.convenor().await);
    let unit = app.unit().await;
    let offering = app.offering_of(unit, 0).await;
    let book = link(&staff, unit, "The book").await;
    teach(&app, &lecturer, offering).await;
    lecturer.get(&at(UNIT_RESOURCES, book)).await.expect(200);
    run(&app.db, "update class_sessions set deleted_at = rule_now()").await;
    assert_eq!(lecturer.get(&at(UNIT_RESOURCES, book)).await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn resources_are_filtered_searched_and_ordered() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (unit, other) = (app.unit().await, app.unit().await);
    let mut ids = vec![];
    for (unit, title, kind, is_required) in
        [(unit, "Zoology", "READING", true), (unit, "Anatomy", "LINK", false), (other, "Botany", "READING", false)]
    {
        let body = json!({
            "unit": unit, "title": title, "resource_type": kind, "is_required": is_required,
            "url": "https://example.org/", "description": format!("About {title}"),
        });
        ids.push(id_of(&staff.post(UNIT_RESOURCES, &body).await));
    }
    for (query, wanted) in [
        (String::new(), vec![ids[0], ids[1], ids[2]]),
        ("?ordering=title".to_owned(), vec![ids[1], ids[2], ids[0]]),
        (format!("?unit={unit}"), vec![ids[0], ids[1]]),
        ("?resource_type=READING".to_owned(), vec![ids[0], ids[2]]),
        ("?resource_type=READING&is_required=true".to_owned(), vec![ids[0]]),
        ("?search=about%20bot".to_owned(), vec![ids[2]]),
    ] {
        assert_eq!(staff.get(&format!("{UNIT_RESOURCES}{query}")).await.ids(), wanted, "{query}");
    }
    let refused = staff.get(&format!("{UNIT_RESOURCES}?resource_type=VIDEO")).await;
    assert_eq!(faulty(&refused), ["resource_type".to_owned()].into());
    assert_eq!(staff.delete(&at(UNITS, unit)).await.refusal(), (409, "still_referred_to"));
}
