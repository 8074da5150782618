//! Pages: who reads drafts, who writes, and slugs.

use serde_json::json;
use swincms::ids::Id;

use crate::academic::{NOW, UNITS, at, faulty, id_of};
use crate::support::{Person, TestApp};

const PAGES: &str = "/api/core/pages/";

fn by_slug(slug: &str) -> String {
    format!("{PAGES}by-slug/{slug}/")
}

async fn publish(staff: &Person, slug: &str, published: bool) -> Id {
    id_of(&staff.post(PAGES, &json!({ "title": "Page", "slug": slug, "published": published })).await)
}

#[tokio::test]
async fn a_page_is_shown_by_its_id_and_by_its_slug() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let unit = app.unit().await;
    let body = json!({
        "title": "Exam dates", "slug": "exam-dates-2026", "content": "# Soon", "unit": unit, "published": true,
        "id": 4711, "created_at": "1999-01-01T00:00:00Z",
    });
    let made = staff.post(PAGES, &body).await;
    let wanted = json!({
        "id": id_of(&made), "title": "Exam dates", "slug": "exam-dates-2026", "content": "# Soon", "unit": unit,
        "published": true, "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(made.body, wanted);
    for path in [at(PAGES, id_of(&made)), by_slug("exam-dates-2026"), by_slug("Exam-Dates-2026")] {
        assert_eq!(student.get(&path).await.expect(200), &wanted, "{path}");
        assert!(student.get(&path).await.header("etag").is_some());
    }
    assert_eq!(student.get(&by_slug("exam-dates")).await.refusal(), (404, "not_found"));
    let least = staff.post(PAGES, &json!({ "title": "Draft", "slug": "draft" })).await;
    let wanted = json!({
        "id": id_of(&least), "title": "Draft", "slug": "draft", "content": "", "unit": null, "published": false,
        "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(least.body, wanted);
}

#[tokio::test]
async fn drafts_are_for_staff_convenors_and_auditors() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (draft, page) = (publish(&staff, "draft", false).await, publish(&staff, "page", true).await);
    for user_type in ["staff", "unit_convenor", "auditor", "admin"] {
        let reader = app.person(user_type).await;
        assert_eq!(reader.get(PAGES).await.ids(), [draft, page], "{user_type}");
        assert_eq!(reader.get(&format!("{PAGES}?published=false")).await.ids(), [draft], "{user_type}");
        reader.get(&at(PAGES, draft)).await.expect(200);
        reader.get(&by_slug("draft")).await.expect(200);
    }
    for user_type in ["student", "parent"] {
        let reader = app.person(user_type).await;
        assert_eq!(reader.get(PAGES).await.ids(), [page], "{user_type}");
        assert_eq!(reader.get(&format!("{PAGES}?count=true")).await.header("x-total-count"), Some("1"));
        assert_eq!(reader.get(&format!("{PAGES}?published=false")).await.ids(), [], "{user_type}");
        assert_eq!(reader.get(&at(PAGES, draft)).await.refusal(), (404, "not_found"), "{user_type}");
        assert_eq!(reader.get(&by_slug("draft")).await.refusal(), (404, "not_found"), "{user_type}");
        reader.get(&by_slug("page")).await.expect(200);
    }
    for path in [PAGES.to_owned(), at(PAGES, page), by_slug("page")] {
        assert_eq!(app.anonymous().get(&path).await.refusal(), (401, "not_authenticated"));
    }
    // A page that is withdrawn is gone for its readers.
    staff.patch(&at(PAGES, page), &json!({ "published": false })).await.expect(200);
    assert_eq!(app.student().await.get(&by_slug("page")).await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn staff_and_convenors_write_pages() {
    let app = TestApp::start().await;
    for user_type in ["staff", "unit_convenor", "admin"] {
        let author = app.person(user_type).await;
        let slug = user_type.replace('_', "-");
        let path = at(PAGES, publish(&author, &slug, true).await);
        let changed = author.patch(&path, &json!({ "content": "New" })).await;
        assert_eq!((&changed.expect(200)["content"], &changed.body["published"]), (&json!("New"), &json!(true)));
        let replaced = author.put(&path, &json!({ "title": "Other", "slug": slug })).await;
        let wanted = (&json!("Other"), &json!(""), &json!(false));
        assert_eq!((&replaced.expect(200)["title"], &replaced.body["content"], &replaced.body["published"]), wanted);
        author.delete(&path).await.expect(204);
    }
    let staff = app.staff().await;
    let path = at(PAGES, publish(&staff, "page", true).await);
    let body = json!({ "title": "Mine", "slug": "mine" });
    for user_type in ["student", "parent", "auditor"] {
        let reader = app.person(user_type).await;
        for refused in [
            reader.post(PAGES, &body).await,
            reader.put(&path, &body).await,
            reader.patch(&path, &body).await,
            reader.delete(&path).await,
            reader.post_bare(&format!("{path}restore/")).await,
        ] {
            assert_eq!(refused.refusal(), (403, "permission_denied"), "{user_type}");
        }
    }
    assert_eq!(app.anonymous().post(PAGES, &body).await.refusal(), (401, "not_authenticated"));
    assert_eq!(staff.get(&path).await.expect(200)["title"], "Page");
}

#[tokio::test]
async fn a_slug_names_one_page() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let first = at(PAGES, publish(&staff, "page", true).await);
    let body = json!({ "title": "Second", "slug": "page" });
    let taken = staff.post(PAGES, &body).await;
    assert_eq!((taken.refusal(), faulty(&taken)), ((409, "already_taken"), ["slug".to_owned()].into()));
    let second = at(PAGES, publish(&staff, "second", true).await);
    for taken in [staff.patch(&second, &body).await, staff.put(&second, &body).await] {
        assert_eq!((taken.refusal(), faulty(&taken)), ((409, "already_taken"), ["slug".to_owned()].into()));
    }
    // A deleted page frees it, and does not come back while it is taken.
    staff.delete(&first).await.expect(204);
    assert_eq!(staff.get(&by_slug("page")).await.refusal(), (404, "not_found"));
    staff.patch(&second, &body).await.expect(200);
    assert_eq!(staff.get(&by_slug("page")).await.expect(200)["title"], "Second");
    let restore = format!("{first}restore/");
    assert_eq!(staff.post_bare(&restore).await.refusal(), (403, "permission_denied"));
    let taken = admin.post_bare(&restore).await;
    assert_eq!((taken.refusal(), faulty(&taken)), ((409, "already_taken"), ["slug".to_owned()].into()));
    staff.delete(&second).await.expect(204);
    assert_eq!(admin.post_bare(&restore).await.expect(200)["slug"], "page");
}

#[tokio::test]
async fn a_page_must_be_plausible() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let refused = staff.post(PAGES, &json!({})).await;
    assert_eq!(faulty(&refused), ["slug".to_owned(), "title".to_owned()].into());
    for slug in ["Exam", "exam dates", "exam_dates", "-exam", "exam-", "exam--dates", "prüfung", "exam/dates", "-", " "]
    {
        let refused = staff.post(PAGES, &json!({ "title": "Exam", "slug": slug })).await;
        assert_eq!((refused.status.as_u16(), refused.errors("slug").len()), (400, 1), "{slug}");
    }
    for (field, value) in [
        ("title", json!(" ")),
        ("title", json!("x".repeat(256))),
        ("slug", json!("x".repeat(256))),
        ("content", json!("x".repeat(200_001))),
        ("unit", json!(987_654)),
        ("published", json!("perhaps")),
    ] {
        let mut body = json!({ "title": "Exam", "slug": "exam" });
        body[field] = value;
        let refused = staff.post(PAGES, &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{field}");
    }
    for slug in ["a", "7", "exam-dates-2026", &"x".repeat(255)] {
        publish(&staff, slug, true).await;
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn pages_are_filtered_searched_and_ordered() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    let mut ids = vec![];
    for body in [
        json!({ "title": "Zoo", "slug": "a", "content": "Animals", "published": true }),
        json!({ "title": "Arts", "slug": "c", "unit": unit }),
        json!({ "title": "Music", "slug": "b", "content": "Animal songs" }),
    ] {
        ids.push(id_of(&staff.post(PAGES, &body).await));
    }
    for (query, wanted) in [
        (String::new(), ids.clone()),
        ("?ordering=title".to_owned(), vec![ids[1], ids[2], ids[0]]),
        ("?ordering=-slug".to_owned(), vec![ids[1], ids[2], ids[0]]),
        (format!("?unit={unit}"), vec![ids[1]]),
        ("?published=true".to_owned(), vec![ids[0]]),
        ("?slug=b".to_owned(), vec![ids[2]]),
        ("?search=animal".to_owned(), vec![ids[0], ids[2]]),
    ] {
        assert_eq!(staff.get(&format!("{PAGES}{query}")).await.ids(), wanted, "{query}");
    }
    let refused = staff.get(&format!("{PAGES}?colour=red")).await;
    assert_eq!(faulty(&refused), ["colour".to_owned()].into());
    assert_eq!(staff.delete(&at(UNITS, unit)).await.refusal(), (409, "still_referred_to"));
}

#[tokio::test]
async fn a_page_that_has_changed_since_is_not_written_over() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let path = at(PAGES, publish(&staff, "page", true).await);
    let tag = staff.get(&path).await.header("etag").unwrap().to_owned();
    let careful = staff.with("If-Match", &tag);
    careful.patch(&path, &json!({ "title": "New" })).await.expect(200);
    assert_eq!(careful.patch(&path, &json!({ "title": "Newer" })).await.refusal(), (412, "stale"));
    assert_eq!(careful.delete(&path).await.refusal(), (412, "stale"));
}
