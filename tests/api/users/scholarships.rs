//! Scholarships: who applies, with what, who decides, and how many are awarded.

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{at, faulty, id_of, run};
use crate::support::{Person, Reply, TestApp, Upload};

const SCHOLARSHIPS: &str = "/api/users/scholarships/";
const APPLICATIONS: &str = "/api/users/scholarship-applications/";

async fn scholarship(staff: &Person, name: &str, max_awards: i32) -> Id {
    id_of(&staff.post(SCHOLARSHIPS, &json!({ "name": name, "max_awards": max_awards })).await)
}

async fn apply(student: &Person, scholarship: Id) -> Id {
    id_of(&student.post(APPLICATIONS, &json!({ "scholarship": scholarship })).await)
}

async fn review(staff: &Person, application: Id, status: &str, notes: &str) -> Reply {
    let body = json!({ "status": status, "reviewer_notes": notes });
    staff.post(&format!("{APPLICATIONS}{application}/review/"), &body).await
}

#[tokio::test]
async fn staff_write_scholarships_and_students_see_those_that_concern_them() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let made = staff.post(SCHOLARSHIPS, &json!({ "name": "Merit", "amount": "5000.5", "max_awards": 2 })).await;
    let id = id_of(&made);
    let whole = json!({
        "id": id, "name": "Merit", "description": "", "amount": "5000.50", "duration_semesters": 1, "requirements": "",
        "max_awards": 2, "is_active": true,
        "created_at": "2026-03-02T02:00:00.000000Z", "updated_at": "2026-03-02T02:00:00.000000Z",
    });
    assert_eq!(made.body, whole);
    for reader in [&staff, &ann, &app.convenor().await, &app.auditor().await, &app.admin().await] {
        assert_eq!(reader.get(SCHOLARSHIPS).await.expect(200), &json!([whole]), "{}", reader.user_type);
        assert_eq!(reader.get(&at(SCHOLARSHIPS, id)).await.expect(200), &whole);
    }
    assert_eq!(app.parent().await.get(SCHOLARSHIPS).await.refusal(), (403, "permission_denied"));
    for other in [&ann, &app.parent().await, &app.convenor().await, &app.auditor().await] {
        for refused in [
            other.post(SCHOLARSHIPS, &json!({ "name": "x" })).await,
            other.patch(&at(SCHOLARSHIPS, id), &json!({ "name": "x" })).await,
            other.delete(&at(SCHOLARSHIPS, id)).await,
        ] {
            assert_eq!(refused.refusal(), (403, "permission_denied"), "{}", other.user_type);
        }
    }
    // One that takes no applications any more is shown to those who have applied.
    apply(&ann, id).await;
    staff.patch(&at(SCHOLARSHIPS, id), &json!({ "is_active": false })).await.expect(200);
    assert_eq!(ann.get(SCHOLARSHIPS).await.ids(), [id]);
    assert_eq!(bob.get(SCHOLARSHIPS).await.ids(), []);
    assert_eq!(bob.get(&at(SCHOLARSHIPS, id)).await.refusal(), (404, "not_found"));
    assert_eq!(staff.get(&format!("{SCHOLARSHIPS}?is_active=false&search=meri&ordering=-name")).await.ids(), [id]);
}

#[tokio::test]
async fn a_scholarship_has_a_name_of_its_own_and_plausible_numbers() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let body = json!({
        "name": " ", "description": "x".repeat(20_001), "requirements": "x".repeat(20_001), "amount": "-0.001",
        "duration_semesters": 0, "max_awards": -1,
    });
    let refused = staff.post(SCHOLARSHIPS, &body).await;
    let all = ["amount", "description", "duration_semesters", "max_awards", "name", "requirements"];
    assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, all.map(str::to_owned).into()));
    scholarship(&staff, "Merit", 0).await;
    let taken = staff.post(SCHOLARSHIPS, &json!({ "name": "MERIT" })).await;
    assert_eq!((taken.refusal(), faulty(&taken)), ((409, "already_taken"), ["name".to_owned()].into()));
}

#[tokio::test]
async fn a_student_applies_once_and_for_what_takes_applications() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let id = scholarship(&staff, "Merit", 0).await;
    // Who applies is not asked.
    let body = json!({ "scholarship": id, "student": staff.id, "status": "approved", "reviewer_notes": "x" });
    let made = ann.post(APPLICATIONS, &body).await;
    let application = id_of(&made);
    let whole = json!({
        "id": application, "student": ann.id, "scholarship": id, "application_date": "2026-03-02", "documents": [],
        "status": "pending", "reviewer_notes": "", "reviewed_by": null, "reviewed_at": null,
        "created_at": "2026-03-02T02:00:00.000000Z", "updated_at": "2026-03-02T02:00:00.000000Z",
    });
    assert_eq!(made.body, whole);
    let again = ann.post(APPLICATIONS, &json!({ "scholarship": id })).await;
    assert_eq!((again.refusal(), faulty(&again)), ((409, "already_taken"), ["scholarship".to_owned()].into()));

    let (closed, gone) = (scholarship(&staff, "Closed", 0).await, scholarship(&staff, "Gone", 0).await);
    staff.patch(&at(SCHOLARSHIPS, closed), &json!({ "is_active": false })).await.expect(200);
    staff.delete(&at(SCHOLARSHIPS, gone)).await.expect(204);
    for wrong in [json!(closed), json!(gone), json!(987_654), json!(null), json!("x")] {
        let refused = ann.post(APPLICATIONS, &json!({ "scholarship": wrong })).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, ["scholarship".to_owned()].into()), "{wrong}");
    }
    for other in [app.parent().await, app.convenor().await, staff.clone(), app.auditor().await, app.admin().await] {
        let refused = other.post(APPLICATIONS, &json!({ "scholarship": id })).await;
        assert_eq!(refused.refusal(), (403, "permission_denied"), "{}", other.user_type);
    }
    // Nor does a role make somebody a student.
    let role =
        "with r as (insert into roles (name, permissions) values ('x', array['scholarships.apply']) returning id)
                insert into user_roles (user_id, role_id) select ";
    run(&app.db, format!("{role} {}, id from r", staff.id)).await;
    let refused = staff.post(APPLICATIONS, &json!({ "scholarship": id })).await;
    assert_eq!(refused.refusal(), (403, "permission_denied"));
}

#[tokio::test]
async fn students_see_their_own_applications_and_staff_and_auditors_all() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let id = scholarship(&staff, "Merit", 0).await;
    let (hers, his) = (apply(&ann, id).await, apply(&bob, id).await);
    for (reader, sees) in [
        (&ann, vec![hers]),
        (&bob, vec![his]),
        (&app.student().await, vec![]),
        (&staff, vec![hers, his]),
        (&app.auditor().await, vec![hers, his]),
        (&app.admin().await, vec![hers, his]),
    ] {
        assert_eq!(reader.get(APPLICATIONS).await.ids(), sees, "{}", reader.user_type);
        for application in [hers, his] {
            let status = if sees.contains(&application) { 200 } else { 404 };
            assert_eq!(reader.get(&at(APPLICATIONS, application)).await.status, status);
        }
    }
    for other in [app.parent().await, app.convenor().await] {
        assert_eq!(other.get(APPLICATIONS).await.refusal(), (403, "permission_denied"));
        assert_eq!(other.get(&at(APPLICATIONS, hers)).await.refusal(), (403, "permission_denied"));
    }
    review(&staff, his, "waitlisted", "").await.expect(200);
    for (filter, found) in [
        (format!("student={}", ann.id), vec![hers]),
        ("status=waitlisted".to_owned(), vec![his]),
        (format!("scholarship={id}&ordering=-created_at"), vec![his, hers]),
    ] {
        assert_eq!(staff.get(&format!("{APPLICATIONS}?{filter}")).await.ids(), found, "{filter}");
    }
    // The student cannot write it, and nobody reviews who may not.
    for other in [&ann, &bob, &app.parent().await, &app.convenor().await, &app.auditor().await] {
        assert_eq!(review(other, hers, "approved", "").await.refusal(), (403, "permission_denied"));
    }
    assert_eq!(ann.patch(&at(APPLICATIONS, hers), &json!({ "status": "approved" })).await.status, 405);
}

#[tokio::test]
async fn documents_are_private_and_come_until_the_review() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let id = scholarship(&staff, "Merit", 0).await;
    let letter = || Upload::of("file", "../letter.txt", "Dear committee");
    let made = ann.upload(APPLICATIONS, letter().and("scholarship", id)).await;
    let application = id_of(&made);
    let document = made.body["documents"][0].clone();
    assert_eq!((&document["name"], &document["size"]), (&json!("letter.txt"), &json!(14)));
    let address = document["url"].as_str().unwrap().strip_prefix(app.base()).unwrap().to_owned();
    assert!(address.starts_with("/api/files/"), "it is private: {address}");
    assert_eq!(app.anonymous().get(&address).await.bytes, b"Dear committee");
    assert_eq!(app.anonymous().get(&format!("{address}x")).await.refusal(), (403, "permission_denied"));

    let documents = format!("{APPLICATIONS}{application}/documents/");
    let added = ann.upload(&documents, Upload::of("file", "b.txt", "More")).await;
    let both = json!([document, added.expect(201)]);
    assert_eq!(staff.get(&at(APPLICATIONS, application)).await.expect(200)["documents"], both);
    assert_eq!(app.student().await.upload(&documents, letter()).await.refusal(), (404, "not_found"));
    for other in [&staff, &app.auditor().await, &app.parent().await, &app.admin().await] {
        assert_eq!(other.upload(&documents, letter()).await.refusal(), (403, "permission_denied"));
    }
    for (wrong, field) in [
        (Upload::of("file", "a.html", "<!doctype html><script>alert(1)</script>"), "file"),
        (Upload::of("file", "empty.txt", ""), "file"),
        (Upload::of("document", "a.txt", "text"), "file"),
    ] {
        let refused = ann.upload(&documents, wrong).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()));
    }
    let refused = ann.upload(APPLICATIONS, letter().and("scholarship", id)).await;
    assert_eq!(refused.refusal(), (409, "already_taken"));
    let once = ann.with("Idempotency-Key", "d");
    assert_eq!(
        once.upload(&documents, letter()).await.expect(201),
        once.upload(&documents, letter()).await.expect(201)
    );
    for _ in 3..20 {
        ann.upload(&documents, letter()).await.expect(201);
    }
    assert_eq!(ann.upload(&documents, letter()).await.refusal(), (409, "too_many_files"));
    review(&staff, application, "waitlisted", "").await.expect(200);
    assert_eq!(ann.upload(&documents, letter()).await.refusal(), (409, "already_reviewed"));
    let on_disk = std::fs::read_dir(app.state.config.media_root.join("private")).unwrap().count();
    assert_eq!(on_disk, 20, "what was refused left nothing behind");
    app.set_time("2026-03-02T02:12:00Z").await;
    assert_eq!(app.anonymous().get(&address).await.refusal(), (403, "permission_denied"));
    app.check_invariants().await;
}

#[tokio::test]
async fn an_application_can_be_taken_back_until_it_is_reviewed() {
    let app = TestApp::start().await;
    let (staff, admin, ann) = (app.staff().await, app.admin().await, app.student().await);
    let id = scholarship(&staff, "Merit", 0).await;
    let first = apply(&ann, id).await;
    assert_eq!(app.student().await.delete(&at(APPLICATIONS, first)).await.refusal(), (404, "not_found"));
    for other in [&staff, &admin, &app.auditor().await] {
        assert_eq!(other.delete(&at(APPLICATIONS, first)).await.refusal(), (403, "permission_denied"));
    }
    ann.delete(&at(APPLICATIONS, first)).await.expect(204);
    assert_eq!(ann.delete(&at(APPLICATIONS, first)).await.refusal(), (404, "not_found"));
    assert_eq!(review(&staff, first, "approved", "").await.refusal(), (404, "not_found"));
    let second = apply(&ann, id).await;
    let restore = format!("{APPLICATIONS}{first}/restore/");
    assert_eq!(admin.post_bare(&restore).await.refusal(), (409, "already_taken"), "there is another by now");
    assert_eq!(staff.post_bare(&restore).await.refusal(), (403, "permission_denied"));
    ann.delete(&at(APPLICATIONS, second)).await.expect(204);
    admin.post_bare(&restore).await.expect(200);
    review(&staff, first, "rejected", "").await.expect(200);
    assert_eq!(ann.delete(&at(APPLICATIONS, first)).await.refusal(), (409, "already_reviewed"));
}

#[tokio::test]
async fn a_review_follows_the_states_and_tells_the_student() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    for (from, to, status) in [
        ("pending", "approved", 200),
        ("pending", "rejected", 200),
        ("pending", "waitlisted", 200),
        ("waitlisted", "approved", 200),
        ("waitlisted", "rejected", 200),
        ("waitlisted", "waitlisted", 409),
        ("approved", "rejected", 200),
        ("approved", "approved", 409),
        ("approved", "waitlisted", 409),
        ("rejected", "approved", 409),
        ("rejected", "rejected", 409),
        ("rejected", "waitlisted", 409),
        ("pending", "pending", 400),
        ("pending", "lost", 400),
    ] {
        let application = apply(&ann, scholarship(&staff, &format!("{from} {to}"), 0).await).await;
        if from != "pending" {
            review(&staff, application, from, "First").await.expect(200);
        }
        let reply = review(&staff, application, to, "Then").await;
        assert_eq!(reply.status, status, "{from} → {to}");
        let stands = ann.get(&at(APPLICATIONS, application)).await;
        if status == 200 {
            let seen = (&stands.body["status"], &stands.body["reviewer_notes"], &stands.body["reviewed_by"]);
            assert_eq!(seen, (&json!(to), &json!("Then"), &json!(staff.id)), "the student reads the notes");
            assert_eq!(stands.body["reviewed_at"], "2026-03-02T02:00:00.000000Z");
            assert_eq!(reply.body, stands.body);
        } else {
            assert_eq!(stands.body["status"], from);
        }
        if status == 409 {
            assert_eq!(reply.refusal(), (409, "illegal_step"));
        }
    }
    let newest = ann.get("/api/core/notifications/?page_size=20&ordering=id").await;
    let told = |place: usize| {
        let row = &newest.body[place];
        (row["verb"].as_str().unwrap(), row["description"].as_str().unwrap())
    };
    assert_eq!(told(0), ("Scholarship approved", "pending approved"));
    assert_eq!(told(1), ("Scholarship rejected", "pending rejected"));
    assert_eq!(told(2), ("Scholarship waitlisted", "pending waitlisted"));
    assert_eq!(newest.body[0]["target_content_type"], "scholarship_application");
    assert_eq!(newest.body.as_array().unwrap().len(), 15, "one for each review that was made");
}

#[tokio::test]
async fn taking_an_award_back_needs_a_reason_and_frees_its_place() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let id = scholarship(&staff, "Merit", 1).await;
    let (hers, his) = (apply(&ann, id).await, apply(&bob, id).await);
    review(&staff, hers, "approved", "").await.expect(200);
    let full = review(&staff, his, "approved", "").await;
    assert_eq!(full.refusal(), (409, "awards_exhausted"));
    assert_eq!(bob.get(&at(APPLICATIONS, his)).await.body["status"], "pending");
    review(&staff, his, "waitlisted", "").await.expect(200);
    assert_eq!(faulty(&review(&staff, hers, "rejected", " ").await), ["reviewer_notes".to_owned()].into());
    review(&staff, hers, "rejected", "Declined").await.expect(200);
    review(&staff, his, "approved", "").await.expect(200);
    // 0 is any number, and what is awarded already is a lower bound.
    let third = apply(&app.student().await, id).await;
    staff.patch(&at(SCHOLARSHIPS, id), &json!({ "max_awards": 0 })).await.expect(200);
    review(&staff, third, "approved", "").await.expect(200);
    let refused = staff.patch(&at(SCHOLARSHIPS, id), &json!({ "max_awards": 1 })).await;
    assert_eq!((refused.refusal(), faulty(&refused)), ((409, "awards_exhausted"), ["max_awards".to_owned()].into()));
    staff.patch(&at(SCHOLARSHIPS, id), &json!({ "max_awards": 2 })).await.expect(200);
    app.check_invariants().await;
}

#[tokio::test]
async fn the_last_award_is_given_once_when_two_review_at_once() {
    let app = TestApp::start().await;
    let (staff, other) = (app.staff().await, app.admin().await);
    let id = scholarship(&staff, "Merit", 2).await;
    let mut applications = Vec::new();
    for _ in 0..3 {
        applications.push(apply(&app.student().await, id).await);
    }
    review(&staff, applications[0], "approved", "").await.expect(200);
    // Somebody holds the scholarship; both reviews come as far as that.
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("select from scholarships where id = {id} for no key update")).await;
    let (one, two, ()) = tokio::join!(
        review(&staff, applications[1], "approved", ""),
        review(&other, applications[2], "approved", ""),
        async {
            app.until_so_many_wait(2).await;
            halfway.commit().await.unwrap();
        }
    );
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    app.check_invariants().await;
}

#[tokio::test]
async fn an_award_that_meets_a_lower_number_of_awards_is_not_given() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let id = scholarship(&staff, "Merit", 2).await;
    review(&staff, apply(&ann, id).await, "approved", "").await.expect(200);
    let his = apply(&bob, id).await;
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("update scholarships set max_awards = 1 where id = {id}")).await;
    let (reply, ()) = tokio::join!(review(&staff, his, "approved", ""), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (409, "awards_exhausted"));
    app.check_invariants().await;
}

#[tokio::test]
async fn an_application_that_meets_its_withdrawal_is_not_reviewed() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let application = apply(&ann, scholarship(&staff, "Merit", 0).await).await;
    let mut halfway = app.transaction().await;
    let gone = format!("update scholarship_applications set deleted_at = now() where id = {application}");
    run(&mut *halfway, gone).await;
    // The first look still sees it; behind the lock it is gone.
    let (reply, ()) = tokio::join!(review(&staff, application, "approved", ""), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn nobody_reviews_their_own_application() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let application = apply(&ann, scholarship(&staff, "Merit", 0).await).await;
    run(&app.db, format!("update users set is_staff = true where id = {}", ann.id)).await;
    assert_eq!(review(&ann, application, "approved", "").await.refusal(), (403, "own_case"));
    review(&staff, application, "approved", "").await.expect(200);
}

#[tokio::test]
async fn a_scholarship_that_somebody_has_applied_for_stays() {
    let app = TestApp::start().await;
    let (staff, admin, ann) = (app.staff().await, app.admin().await, app.student().await);
    let id = scholarship(&staff, "Merit", 0).await;
    let application = apply(&ann, id).await;
    let refused = staff.delete(&at(SCHOLARSHIPS, id)).await;
    assert_eq!(
        (refused.refusal(), &refused.body["counts"]),
        ((409, "still_referred_to"), &json!({ "scholarship_applications": 1 }))
    );
    ann.delete(&at(APPLICATIONS, application)).await.expect(204);
    staff.delete(&at(SCHOLARSHIPS, id)).await.expect(204);
    let restore = format!("{APPLICATIONS}{application}/restore/");
    assert_eq!(admin.post_bare(&restore).await.refusal(), (409, "cannot_be_restored"));
    admin.post_bare(&format!("{SCHOLARSHIPS}{id}/restore/")).await.expect(200);
    let restored: Value = admin.post_bare(&restore).await.expect(200).clone();
    assert_eq!((&restored["student"], &restored["status"]), (&json!(ann.id), &json!("pending")));
}
