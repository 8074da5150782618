//! The library's resources and media: public files, who sends and who reads them.

use serde_json::json;

use crate::academic::{NOW, UNITS, at, faulty, id_of};
use crate::support::{TestApp, Upload};

const RESOURCES: &str = "/api/core/resources/";
const MEDIA: &str = "/api/core/media/";

const PDF: &[u8] = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n";

fn guide() -> Upload {
    Upload::of("file", "../guide.pdf", PDF).and("title", "Guide")
}

#[tokio::test]
async fn a_resource_is_a_public_file_with_a_title() {
    let app = TestApp::start().await;
    let (convenor, student) = (app.convenor().await, app.student().await);
    let unit = app.unit().await;
    let form = guide().and("unit", unit).and("uploaded_by", student.id).and("colour", "red");
    let made = convenor.upload(RESOURCES, form).await;
    let file = made.expect(201)["file"].as_str().unwrap().to_owned();
    let wanted = json!({
        "id": id_of(&made), "title": "Guide", "file": file, "unit": unit, "uploaded_by": convenor.id,
        "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(made.body, wanted);
    let path = at(RESOURCES, id_of(&made));
    assert_eq!(student.get(&path).await.expect(200), &wanted);
    assert_eq!(student.get(RESOURCES).await.expect(200), &json!([wanted]));
    let address = file.strip_prefix(app.base()).unwrap();
    assert!(address.starts_with("/media/") && address.ends_with(".pdf"), "{address}");
    assert_eq!(app.anonymous().get(address).await.bytes, PDF);

    // What is said of it changes, the file stays.
    let changed = convenor.patch(&path, &json!({ "title": "The guide", "file": "x", "uploaded_by": 4711 })).await;
    assert_eq!((&changed.expect(200)["title"], &changed.body["file"]), (&json!("The guide"), &json!(file)));
    assert_eq!(changed.body["uploaded_by"], json!(convenor.id));
    let replaced = convenor.put(&path, &json!({ "title": "Guide" })).await;
    assert_eq!((&replaced.expect(200)["unit"], &replaced.body["file"]), (&json!(null), &json!(file)));
    app.check_invariants().await;
}

#[tokio::test]
async fn a_media_file_is_public_and_has_nothing_else() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let made = staff.upload(MEDIA, Upload::of("file", "guide.pdf", PDF)).await;
    let file = made.expect(201)["file"].as_str().unwrap().to_owned();
    let wanted = json!({
        "id": id_of(&made), "file": file, "uploaded_by": staff.id, "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(made.body, wanted);
    assert_eq!(student.get(&at(MEDIA, id_of(&made))).await.expect(200), &wanted);
    assert_eq!(student.get(&format!("{MEDIA}?uploaded_by={}", staff.id)).await.ids(), [id_of(&made)]);
    assert_eq!(student.get(&format!("{MEDIA}?uploaded_by={}", student.id)).await.ids(), []);
    assert_eq!(app.anonymous().get(file.strip_prefix(app.base()).unwrap()).await.bytes, PDF);
    let unchangeable = staff.patch(&at(MEDIA, id_of(&made)), &json!({})).await;
    assert_eq!(unchangeable.status.as_u16(), 405);
    app.check_invariants().await;
}

#[tokio::test]
async fn staff_and_convenors_keep_the_library() {
    let app = TestApp::start().await;
    for base in [RESOURCES, MEDIA] {
        let admin = app.admin().await;
        let path = at(base, id_of(&admin.upload(base, guide()).await));
        let restore = format!("{path}restore/");
        for user_type in ["student", "parent", "auditor"] {
            let reader = app.person(user_type).await;
            reader.get(&path).await.expect(200);
            for refused in
                [reader.upload(base, guide()).await, reader.delete(&path).await, reader.post_bare(&restore).await]
            {
                assert_eq!(refused.refusal(), (403, "permission_denied"), "{user_type} {base}");
            }
        }
        let nobody = app.anonymous();
        for refused in [nobody.get(base).await, nobody.get(&path).await, nobody.upload(base, guide()).await] {
            assert_eq!(refused.refusal(), (401, "not_authenticated"), "{base}");
        }
        for user_type in ["staff", "unit_convenor"] {
            let author = app.person(user_type).await;
            author.upload(base, guide()).await.expect(201);
            let before = author.get(&path).await;
            let stale = author.with("If-Match", "\"old\"").delete(&path).await;
            assert_eq!(stale.refusal(), (412, "stale"));
            author.delete(&path).await.expect(204);
            assert_eq!(author.get(&path).await.refusal(), (404, "not_found"));
            assert_eq!(author.delete(&path).await.refusal(), (404, "not_found"));
            assert_eq!(author.post_bare(&restore).await.refusal(), (403, "permission_denied"));
            admin.post_bare(&restore).await.expect(200);
            let after = author.get(&path).await;
            assert_eq!((&after.expect(200)["file"], &after.body["id"]), (&before.body["file"], &before.body["id"]));
        }
    }
    let student = app.student().await;
    let path = at(RESOURCES, id_of(&app.staff().await.upload(RESOURCES, guide()).await));
    for refused in [student.patch(&path, &json!({ "title": "x" })).await, student.put(&path, &json!({})).await] {
        assert_eq!(refused.refusal(), (403, "permission_denied"));
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn what_is_refused_leaves_no_file() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let titled = |title: &str| Upload::of("file", "guide.pdf", PDF).and("title", title);
    for (form, field) in [
        (Upload::of("file", "guide.pdf", PDF), "title"),
        (titled(" "), "title"),
        (titled(&"x".repeat(256)), "title"),
        (guide().and("unit", "987654"), "unit"),
        (guide().and("unit", "x"), "unit"),
        (Upload::of("document", "guide.pdf", PDF).and("title", "Guide"), "file"),
        (Upload::of("file", "a.html", "<!doctype html><script>alert(1)</script>").and("title", "Guide"), "file"),
    ] {
        let refused = staff.upload(RESOURCES, form).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{field}");
    }
    let refused = staff.upload(MEDIA, Upload::of("file", "a.svg", "<svg/>")).await;
    assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, ["file".to_owned()].into()));
    for base in [RESOURCES, MEDIA] {
        let refused = staff.post(base, &json!({ "title": "Guide" })).await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type"));
        assert_eq!(staff.get(base).await.ids(), []);
    }
    let on_disk = || std::fs::read_dir(app.state.config.media_root.join("public")).unwrap().count();
    assert_eq!(on_disk(), 0);
    let keyed = staff.with("Idempotency-Key", "once");
    let first = keyed.upload(RESOURCES, guide()).await;
    assert_eq!(keyed.upload(RESOURCES, guide()).await.expect(201), first.expect(201));
    assert_eq!(on_disk(), 1);
    app.check_invariants().await;
}

#[tokio::test]
async fn resources_are_filtered_searched_and_ordered() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let unit = app.unit().await;
    let titled = |title: &str| Upload::of("file", "a.txt", title.to_owned()).and("title", title);
    let ids = [
        id_of(&staff.upload(RESOURCES, titled("Zoo map")).await),
        id_of(&staff.upload(RESOURCES, titled("Campus map").and("unit", unit)).await),
        id_of(&convenor.upload(RESOURCES, titled("Music")).await),
    ];
    for (query, wanted) in [
        (String::new(), ids.to_vec()),
        ("?ordering=title".to_owned(), vec![ids[1], ids[2], ids[0]]),
        (format!("?unit={unit}"), vec![ids[1]]),
        (format!("?uploaded_by={}", convenor.id), vec![ids[2]]),
        ("?search=map".to_owned(), vec![ids[0], ids[1]]),
    ] {
        assert_eq!(staff.get(&format!("{RESOURCES}{query}")).await.ids(), wanted, "{query}");
    }
    assert_eq!(faulty(&staff.get(&format!("{MEDIA}?colour=red")).await), ["colour".to_owned()].into());
    assert_eq!(staff.delete(&at(UNITS, unit)).await.refusal(), (409, "still_referred_to"));
}
