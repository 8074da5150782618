//! Notifications, and the digest of enrolments that wait where there is no convenor.

use serde_json::json;
use swincms::ids::Id;

use crate::academic::{NOW, at, run};
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
    let newest = notify(&ann, "Enrollment enrolled", true, 2).await;
    let oldest = notify(&ann, "Enrollment pending approval", true, 0).await;
    let read = notify(&ann, "Enrollment withdrawn", false, 1).await;
    let anothers = notify(&admin, "Enrollment rejected", true, 3).await;

    let list = ann.get(NOTIFICATIONS).await;
    assert_eq!(list.ids(), [newest, read, oldest]);
    let wanted = json!({
        "id": newest, "recipient": ann.id, "actor": admin.id, "verb": "Enrollment enrolled", "description": "",
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
        "id": id, "recipient": staff.id, "actor": null, "verb": "Enrollment pending approval", "description": three,
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
