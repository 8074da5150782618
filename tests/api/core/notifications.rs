//! Notifications: what one is told and does with it, what people tell each other, and the digest of enrolments that wait where there is no convenor.

use axum::http::Method;
use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{NOW, at, faulty, id_of, run};
use crate::support::{Person, TestApp};

const NOTIFICATIONS: &str = "/api/core/notifications/";

#[tokio::test]
async fn notifications_are_ones_own_the_newest_first() {
    let app = TestApp::start().await;
    let (ann, admin) = (app.student().await, app.admin().await);
    let notify = async |person: &Person, verb: &str, unread: bool, day: u32| {
        let sql = sqlx::query_scalar!(
            "insert into notifications (recipient_id, actor_id, verb, unread, created_at, target_content_type, target_object_id)
             values ($1, $2, $3, $4, '2026-02-01'::timestamptz + $5 * interval '1 day', 'enrollment', 7)
             returning id",
            person.id.0,
            admin.id.0,
            verb,
            unread,
            f64::from(day)
        );
        Id(sql.fetch_one(&app.db).await.unwrap())
    };
    let newest = notify(&ann, "Enrolment confirmed", true, 2).await;
    let oldest = notify(&ann, "Enrolment pending approval", true, 0).await;
    let read = notify(&ann, "Enrolment withdrawn", false, 1).await;
    let anothers = notify(&admin, "Enrolment rejected", true, 3).await;

    let list = ann.get(NOTIFICATIONS).await;
    assert_eq!(list.ids(), [newest, read, oldest]);
    let wanted = json!({
        "id": newest, "recipient": ann.id, "actor": admin.id, "verb": "Enrolment confirmed", "description": "",
        "target_content_type": "enrollment", "target_object_id": 7, "unread": true,
        "created_at": "2026-02-03T00:00:00.000000Z", "updated_at": NOW,
    });
    assert_eq!(list.body[0], wanted);
    assert_eq!(ann.get(&at(NOTIFICATIONS, newest)).await.expect(200), &wanted);
    assert_eq!(ann.get(&format!("{NOTIFICATIONS}?unread=true")).await.ids(), [newest, oldest]);
    assert_eq!(ann.get(&format!("{NOTIFICATIONS}?unread=false")).await.ids(), [read]);
    // Not even an administrator reads what others are told.
    assert_eq!(admin.get(NOTIFICATIONS).await.ids(), [anothers]);
    assert_eq!(admin.get(&at(NOTIFICATIONS, newest)).await.refusal(), (404, "not_found"));
    assert_eq!(ann.get(&at(NOTIFICATIONS, anothers)).await.refusal(), (404, "not_found"));
}

/// A notification of this person's that is still unread.
async fn told(app: &TestApp, person: &Person, verb: &str) -> Id {
    let sql = sqlx::query_scalar!(
        "insert into notifications (recipient_id, verb) values ($1, $2) returning id",
        person.id.0,
        verb
    );
    Id(sql.fetch_one(&app.db).await.unwrap())
}

#[tokio::test]
async fn one_marks_what_one_was_told_as_read_and_writes_nothing_else_of_it() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let path = at(NOTIFICATIONS, told(&app, &ann, "Hello").await);
    let mut shown = ann.get(&path).await.expect(200).clone();

    app.set_time("2026-03-02T03:00:00Z").await;
    let all = json!({
        "id": 4711, "recipient": 4711, "actor": ann.id, "verb": "Bye", "description": "x", "target_object_id": 7,
        "target_content_type": "x", "created_at": "1999-01-01T00:00:00Z", "unread": false,
    });
    shown["unread"] = json!(false);
    shown["updated_at"] = json!("2026-03-02T03:00:00.000000Z");
    assert_eq!(ann.patch(&path, &all).await.expect(200), &shown);
    assert_eq!(ann.patch(&path, &json!({})).await.expect(200), &shown);
    assert_eq!(ann.get(&path).await.expect(200), &shown);
    // A `PUT` that leaves it out has the default.
    for (body, unread) in [(json!({ "unread": true }), true), (all, false), (json!({}), true)] {
        assert_eq!(ann.put(&path, &body).await.expect(200)["unread"], json!(unread), "{body}");
    }
    for wrong in [json!("perhaps"), json!(null), json!(7)] {
        for refused in
            [ann.patch(&path, &json!({ "unread": wrong })).await, ann.put(&path, &json!({ "unread": wrong })).await]
        {
            assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, ["unread".to_owned()].into()), "{wrong}");
        }
    }
}

#[tokio::test]
async fn a_notification_that_has_changed_since_is_neither_marked_nor_deleted() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let path = at(NOTIFICATIONS, told(&app, &ann, "Hello").await);
    let tag = ann.get(&path).await.header("etag").unwrap().to_owned();
    let careful = ann.with("If-Match", &tag);
    careful.patch(&path, &json!({ "unread": false })).await.expect(200);
    for late in [
        careful.patch(&path, &json!({ "unread": true })).await,
        careful.put(&path, &json!({ "unread": true })).await,
        careful.delete(&path).await,
    ] {
        assert_eq!(late.refusal(), (412, "stale"));
    }
    let tag = ann.get(&path).await.header("etag").unwrap().to_owned();
    ann.with("If-Match", &tag).delete(&path).await.expect(204);
}

#[tokio::test]
async fn one_deletes_what_one_was_told() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let (kept, gone) = (told(&app, &ann, "One").await, told(&app, &ann, "Two").await);
    let path = at(NOTIFICATIONS, gone);
    ann.delete(&path).await.expect(204);
    assert_eq!(ann.get(NOTIFICATIONS).await.ids(), [kept]);
    for reply in [
        ann.get(&path).await,
        ann.delete(&path).await,
        ann.patch(&path, &json!({ "unread": false })).await,
        ann.put(&path, &json!({ "unread": false })).await,
    ] {
        assert_eq!(reply.refusal(), (404, "not_found"));
    }
    assert_eq!(ann.get(&format!("{NOTIFICATIONS}unread-count/")).await.expect(200), &json!({ "unread": 1 }));
}

#[tokio::test]
async fn what_others_are_told_cannot_be_touched() {
    let app = TestApp::start().await;
    let (ann, admin) = (app.student().await, app.admin().await);
    let id = told(&app, &ann, "Hello").await;
    let before = ann.get(&at(NOTIFICATIONS, id)).await.body;
    for stranger in [&admin, &app.staff().await, &app.auditor().await, &app.student().await] {
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            let reply = stranger.send(method, &at(NOTIFICATIONS, id), "application/json", "{\"unread\": false}").await;
            assert_eq!(reply.refusal(), (404, "not_found"));
        }
        assert_eq!(
            stranger.post_bare(&format!("{NOTIFICATIONS}mark-all-read/")).await.expect(200),
            &json!({ "marked": 0 })
        );
        assert_eq!(stranger.get(&format!("{NOTIFICATIONS}unread-count/")).await.expect(200), &json!({ "unread": 0 }));
    }
    assert_eq!(ann.get(&at(NOTIFICATIONS, id)).await.expect(200), &before);
}

#[tokio::test]
async fn all_are_marked_as_read_at_once() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let count = async || ann.get(&format!("{NOTIFICATIONS}unread-count/")).await.expect(200)["unread"].clone();
    assert_eq!(count().await, json!(0));
    let (read, deleted) = (told(&app, &ann, "Read").await, told(&app, &ann, "Deleted").await);
    ann.patch(&at(NOTIFICATIONS, read), &json!({ "unread": false })).await.expect(200);
    ann.delete(&at(NOTIFICATIONS, deleted)).await.expect(204);
    for verb in ["One", "Two", "Three"] {
        told(&app, &ann, verb).await;
    }
    assert_eq!(count().await, json!(3));
    let mark_all = format!("{NOTIFICATIONS}mark-all-read/");
    assert_eq!(ann.post_bare(&mark_all).await.expect(200), &json!({ "marked": 3 }));
    assert_eq!(count().await, json!(0));
    assert_eq!(ann.get(&format!("{NOTIFICATIONS}?unread=true")).await.ids(), []);
    assert_eq!(ann.post_bare(&mark_all).await.expect(200), &json!({ "marked": 0 }));
    // What the mark does not concern has not been written.
    let written = sqlx::query_scalar!(r#"select count(*) as "n!" from notifications where updated_by is not null"#);
    assert_eq!(written.fetch_one(&app.db).await.unwrap(), 5);
}

#[tokio::test]
async fn who_is_told_sees_who_told_it() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let body = json!({
        "recipient": staff.id, "verb": "Question", "description": "About my enrolment",
        "target_content_type": "enrollment", "target_object_id": "7",
        "actor": staff.id, "unread": false, "created_at": "1999-01-01T00:00:00Z",
    });
    let made = ann.post(NOTIFICATIONS, &body).await;
    let mut wanted = json!({
        "id": id_of(&made), "recipient": staff.id, "actor": ann.id, "verb": "Question",
        "description": "About my enrolment", "target_content_type": "enrollment", "target_object_id": 7,
        "unread": true, "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(made.body, wanted);
    let sender = format!("{} {}, {}", ann.first_name, ann.last_name, ann.email);
    wanted["description"] = json!(format!("About my enrolment — {sender}"));
    assert_eq!(staff.get(NOTIFICATIONS).await.expect(200), &json!([wanted]));
    let shown = staff.get(&at(NOTIFICATIONS, id_of(&made))).await;
    assert_eq!(shown.expect(200), &wanted);
    let read = json!({ "unread": false });
    let tag = shown.header("etag").unwrap().to_owned();
    let marked = staff.with("If-Match", &tag).patch(&at(NOTIFICATIONS, id_of(&made)), &read).await;
    assert_eq!(marked.expect(200)["description"], wanted["description"]);
    assert_eq!(ann.get(NOTIFICATIONS).await.expect(200), &json!([]));
    let least = ann.post(NOTIFICATIONS, &json!({ "recipient": staff.id, "verb": "Hello" })).await;
    let rest = ["description", "target_content_type", "target_object_id"].map(|field| least.body[field].clone());
    assert_eq!(json!(rest), json!(["", "", null]));
    app.check_invariants().await;
}

#[tokio::test]
async fn whom_one_may_notify() {
    let app = TestApp::start().await;
    let (student, parent, convenor) = (app.student().await, app.parent().await, app.convenor().await);
    let (staff, auditor, admin) = (app.staff().await, app.auditor().await, app.admin().await);
    let gone = app.staff().await;
    run(&app.db, format!("update users set is_active = false where id = {}", gone.id)).await;
    let everyone = [&student, &parent, &convenor, &staff, &auditor, &admin];
    let few = [&convenor, &staff, &admin];
    for (sender, reached) in [
        (&app.student().await, &few[..]),
        (&app.parent().await, &few[..]),
        (&app.convenor().await, &everyone[..]),
        (&app.staff().await, &everyone[..]),
        (&app.admin().await, &everyone[..]),
    ] {
        for recipient in everyone {
            let reply = sender.post(NOTIFICATIONS, &json!({ "recipient": recipient.id, "verb": "Hello" })).await;
            let may = reached.iter().any(|person| person.id == recipient.id);
            let what = format!("{} to {}", sender.user_type, recipient.user_type);
            assert_eq!(reply.status.as_u16(), if may { 201 } else { 400 }, "{what}");
            assert_eq!(reply.errors("recipient").len(), usize::from(!may), "{what}");
        }
        // Who may not be written to reads like who is not there.
        for nobody in [gone.id, Id(987_654)] {
            let refused = sender.post(NOTIFICATIONS, &json!({ "recipient": nobody, "verb": "Hello" })).await;
            let says = format!("There is nobody with the id {nobody} whom you may notify.");
            assert_eq!((refused.status.as_u16(), refused.errors("recipient")), (400, vec![says.as_str()]));
        }
    }
    let body = json!({ "recipient": staff.id, "verb": "Hello" });
    assert_eq!(auditor.post(NOTIFICATIONS, &body).await.refusal(), (403, "permission_denied"));
    assert_eq!(app.anonymous().post(NOTIFICATIONS, &body).await.refusal(), (401, "not_authenticated"));
}

#[tokio::test]
async fn what_one_tells_must_say_something() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let refused = staff.post(NOTIFICATIONS, &json!({})).await;
    assert_eq!(faulty(&refused), ["recipient".to_owned(), "verb".to_owned()].into());
    for (field, value) in [
        ("recipient", json!("")),
        ("recipient", json!("x")),
        ("verb", json!(" ")),
        ("verb", json!("x".repeat(256))),
        ("description", json!("x".repeat(20_001))),
        ("target_content_type", json!("x".repeat(101))),
        ("target_object_id", json!(0)),
    ] {
        let mut body = json!({ "recipient": staff.id, "verb": "Hello" });
        body[field] = value;
        let refused = staff.post(NOTIFICATIONS, &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{body}");
    }
    assert_eq!(staff.get(NOTIFICATIONS).await.expect(200), &Value::Array(vec![]));
}

#[tokio::test]
async fn a_key_tells_a_thing_once() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await.with("Idempotency-Key", "once"), app.staff().await);
    let body = json!({ "recipient": staff.id, "verb": "Hello" });
    let first = ann.post(NOTIFICATIONS, &body).await;
    assert_eq!(ann.post(NOTIFICATIONS, &body).await.expect(201), first.expect(201));
    assert_eq!(staff.get(NOTIFICATIONS).await.ids(), [id_of(&first)]);
}

/// Runs the jobs once: a server that starts does.
async fn run_jobs(app: &TestApp) {
    app.another_server().with_background().start().await;
}

/// Runs the jobs and waits until this person is told this.
async fn run_jobs_until(app: &TestApp, person: &Person, description: &str) {
    run_jobs(app).await;
    app.until(description, async || {
        let list = person.get(NOTIFICATIONS).await;
        list.body.as_array().unwrap().iter().any(|row| row["description"] == description)
    })
    .await;
}

async fn with_role(app: &TestApp, permission: &str, valid_until: &str) -> Person {
    let person = app.parent().await;
    let sql = format!(
        "with role as (insert into roles (name, permissions) values ('Role {}', array['{permission}']) returning id)
         insert into user_roles (user_id, role_id, valid_until) select {}, id, {valid_until} from role",
        person.id, person.id
    );
    run(&app.db, sql).await;
    person
}

/// The person's one digest, deleted or not.
async fn digest_of(app: &TestApp, person: &Person) -> (i64, bool, String) {
    let row = sqlx::query!(
        r#"select id, unread, concat_ws(' ', xmin, position, updated_at) as "state!"
             from notifications
            where recipient_id = $1
              and digest = 'enrollment.pending'"#,
        person.id.0
    );
    let mut rows = row.fetch_all(&app.db).await.unwrap();
    assert_eq!(rows.len(), 1, "one digest for each, deleted or not");
    let row = rows.remove(0);
    (row.id, row.unread, row.state)
}

async fn mark_read(app: &TestApp) {
    run(&app.db, "update notifications set unread = false").await;
}

#[tokio::test]
async fn who_may_decide_on_any_enrolment_is_told_once_of_those_that_wait_where_there_is_no_convenor() {
    let app = TestApp::with(&[("TIME_ZONE", "America/Los_Angeles")]).await;
    let (staff, admin, convenor) = (app.staff().await, app.admin().await, app.convenor().await);
    let (retired, idle) = (app.convenor().await, app.staff().await);
    for person in [&retired, &idle] {
        run(&app.db, format!("update users set is_active = false where id = {}", person.id)).await;
    }
    let flagged = app.parent().await;
    run(&app.db, format!("update users set is_staff = true where id = {}", flagged.id)).await;
    let raised = app.student().await;
    run(&app.db, format!("update users set is_superuser = true where id = {}", raised.id)).await;
    let later = "rule_now() + interval '1 day'";
    let with_code = with_role(&app, "enrollments.approve", "null").await;
    let with_scope = with_role(&app, "enrollments.approve:all", later).await;
    with_role(&app, "enrollments.approve:own_units", "null").await;
    with_role(&app, "enrollments.grade", "null").await;
    with_role(&app, "enrollments.approve", "rule_now()").await;
    app.auditor().await;

    let (none, left, there) = (app.unit().await, app.unit_of(retired.id).await, app.unit_of(convenor.id).await);
    let offering = app.offering_of(none, 0).await;
    let mut waiting = Vec::new();
    for (offering, status) in [
        (offering, "PENDING"),
        (offering, "PENDING"),
        (app.offering_of(left, 0).await, "PENDING"),
        (app.offering_of(there, 0).await, "PENDING"),
        (offering, "ENROLLED"),
        (offering, "PENDING"),
    ] {
        waiting.push(app.enrollment(app.student().await.id, offering, status).await);
    }
    run(&app.db, format!("update enrollments set deleted_at = rule_now() where id = {}", waiting[5])).await;

    // In the university's zone it is still the day before.
    let three = "3 enrolments in units without a convenor wait for a decision, the oldest since 2026-03-01.";
    run_jobs_until(&app, &staff, three).await;
    let told = sqlx::query_scalar!("select recipient_id from notifications where digest <> '' order by 1");
    let mut wanted = [&staff, &admin, &flagged, &raised, &with_code, &with_scope].map(|person| person.id.0);
    wanted.sort_unstable();
    assert_eq!(told.fetch_all(&app.db).await.unwrap(), wanted);
    let (id, _, _) = digest_of(&app, &staff).await;
    let list = json!([{
        "id": id, "recipient": staff.id, "actor": null, "verb": "Enrolment pending approval", "description": three,
        "target_content_type": "", "target_object_id": null, "unread": true, "created_at": NOW, "updated_at": NOW,
    }]);
    assert_eq!(staff.get(NOTIFICATIONS).await.expect(200), &list);
}

#[tokio::test]
async fn a_digest_is_unread_again_when_more_wait_and_goes_when_nobody_does() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let ask = async || app.enrollment(app.student().await.id, offering, "PENDING").await;
    let two = "2 enrolments in units without a convenor wait for a decision, the oldest since 2026-03-02.";
    let three = "3 enrolments in units without a convenor wait for a decision, the oldest since 2026-03-02.";
    let one = "1 enrolment in a unit without a convenor waits for a decision, since 2026-03-02.";
    ask().await;
    ask().await;
    run_jobs_until(&app, &staff, two).await;

    mark_read(&app).await;
    let before = digest_of(&app, &staff).await;
    // The job has run when it has told somebody new.
    let newcomer = app.staff().await;
    run_jobs_until(&app, &newcomer, two).await;
    assert_eq!(digest_of(&app, &staff).await, before, "nothing is written when nothing has changed");

    let third = ask().await;
    run_jobs_until(&app, &staff, three).await;
    let (id, unread, state) = digest_of(&app, &staff).await;
    assert_eq!((id, unread), (before.0, true));
    assert_ne!(state, before.2);

    mark_read(&app).await;
    let withdraw = "update enrollments set status = 'WITHDRAWN', withdrawn_date = '2026-03-02'";
    run(&app.db, format!("{withdraw} where id = {third}")).await;
    run_jobs_until(&app, &staff, two).await;
    assert!(!digest_of(&app, &staff).await.1, "fewer are no news");

    // Whoever may no longer decide is no longer told.
    run(&app.db, format!("update users set user_type = 'parent' where id = {}", newcomer.id)).await;
    ask().await;
    run_jobs_until(&app, &staff, three).await;
    assert_eq!(newcomer.get(NOTIFICATIONS).await.expect(200), &json!([]));

    mark_read(&app).await;
    run(&app.db, withdraw).await;
    run_jobs(&app).await;
    app.until("the digest is gone", async || staff.get(NOTIFICATIONS).await.expect(200) == &json!([])).await;
    assert_eq!(staff.get(&at(NOTIFICATIONS, id)).await.refusal(), (404, "not_found"));

    ask().await;
    run_jobs_until(&app, &staff, one).await;
    let (again, unread, _) = digest_of(&app, &staff).await;
    assert_eq!((again, unread), (id, true), "it is revived");
}
