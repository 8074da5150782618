//! Giving a seat back, approving and rejecting: who may, when, and who is told.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::{ENROLLMENTS, everything, step, taken, told};
use crate::academic::{at, id_of, run};
use crate::support::{Person, TestApp};

/// A student who is pending in an offering of a convenor's unit.
struct Scene {
    app: TestApp,
    student: Person,
    convenor: Person,
    offering: Id,
    id: Id,
}

impl Scene {
    async fn set() -> Self {
        let app = TestApp::start().await;
        let (student, convenor) = (app.student().await, app.convenor().await);
        let offering = app.offering_of(app.unit_of(convenor.id).await, 2).await;
        let id = id_of(&student.post(ENROLLMENTS, &json!({ "offering": offering })).await);
        run(&app.db, "delete from notifications").await;
        Self { app, student, convenor, offering, id }
    }

    async fn class(&self) -> String {
        let sql = sqlx::query_scalar!(
            r#"select u.code || ' ' || u.name || ', S1 2026' as "class!" from offerings o join units u on u.id = o.unit_id where o.id = $1"#,
            self.offering.0
        );
        sql.fetch_one(&self.app.db).await.unwrap()
    }

    async fn status(&self) -> Value {
        let staff = self.app.staff().await;
        staff.get(&at(ENROLLMENTS, self.id)).await.expect(200)["status"].clone()
    }
}

async fn decisions(app: &TestApp) -> Value {
    let rows =
        sqlx::query!("select enrollment_id, decision, decided_by_id, notes from enrollment_decisions order by id");
    let rows = rows.fetch_all(&app.db).await.unwrap();
    rows.iter().map(|row| json!([row.enrollment_id, row.decision, row.decided_by_id, row.notes])).collect()
}

#[tokio::test]
async fn the_convenor_approves_and_the_student_and_the_workflows_are_told() {
    let scene = Scene::set().await;
    let Scene { app, student, convenor, offering, id } = &scene;
    let reply = convenor.post(&step(*id, "approve"), &json!({ "notes": "Welcome" })).await;
    assert_eq!(reply.expect(200), &json!({ "status": "approved" }));
    assert_eq!(scene.status().await, json!("ENROLLED"));
    assert_eq!(decisions(app).await, json!([[id, "approved", convenor.id, "Welcome"]]));
    let says = format!("You are enrolled in {}. Note: Welcome", scene.class().await);
    assert_eq!(told(app).await, json!([[student.id, convenor.id, "Enrolment confirmed", says, id]]));
    let sent = sqlx::query!("select trigger_event, object_key from webhook_outbox").fetch_one(&app.db).await.unwrap();
    assert_eq!((sent.trigger_event.as_str(), sent.object_key), ("enrollment.confirmed", format!("enrollment:{id}")));
    assert_eq!(taken(app, *offering).await, 1, "the seat was held already");

    let before = everything(app).await;
    let again = convenor.post_bare(&step(*id, "approve")).await;
    assert_eq!((again.refusal(), &again.body["current_status"]), ((409, "not_pending"), &json!("ENROLLED")));
    assert_eq!(convenor.post_bare(&step(*id, "reject")).await.refusal(), (409, "not_pending"));
    assert_eq!(everything(app).await, before);
    app.check_invariants().await;
}

#[tokio::test]
async fn who_is_rejected_frees_the_seat_and_may_ask_again() {
    let scene = Scene::set().await;
    let Scene { app, student, convenor, offering, id } = &scene;
    let reply = convenor.post(&step(*id, "reject"), &json!({ "notes": "Too late" })).await;
    assert_eq!(reply.expect(200), &json!({ "status": "rejected" }));
    assert_eq!(scene.status().await, json!("WITHDRAWN"));
    assert_eq!(decisions(app).await, json!([[id, "rejected", convenor.id, "Too late"]]));
    let says = format!("Your request to enrol in {} was not approved. Note: Too late", scene.class().await);
    assert_eq!(told(app).await, json!([[student.id, convenor.id, "Enrolment rejected", says, id]]));
    assert_eq!(taken(app, *offering).await, 0);
    student.post(ENROLLMENTS, &json!({ "offering": offering })).await.expect(201);
    app.staff().await.post_bare(&step(*id, "approve")).await.expect(200);
    assert_eq!(decisions(app).await.as_array().unwrap().len(), 2, "every decision is kept");
    app.check_invariants().await;
}

#[tokio::test]
async fn a_student_withdraws_until_the_last_day_and_staff_after_it() {
    let scene = Scene::set().await;
    let Scene { app, student, offering, id, .. } = &scene;
    run(&app.db, format!("update offerings set withdraw_until = '2026-03-02T02:00:00Z' where id = {offering}")).await;
    let before = everything(app).await;
    assert_eq!(student.post_bare(&step(*id, "withdraw")).await.refusal(), (409, "withdrawal_closed"));
    assert_eq!(everything(app).await, before);
    run(&app.db, format!("update offerings set withdraw_until = '2026-03-02T02:00:01Z' where id = {offering}")).await;
    let reply = student.post_bare(&step(*id, "withdraw")).await;
    assert_eq!(reply.expect(200), &json!({ "status": "withdrawn" }));
    let shown = student.get(&at(ENROLLMENTS, *id)).await;
    assert_eq!((&shown.body["status"], &shown.body["withdrawn_date"]), (&json!("WITHDRAWN"), &json!("2026-03-02")));
    assert_eq!(taken(app, *offering).await, 0);
    let class = scene.class().await;
    let (code, _) = class.split_once(' ').unwrap();
    let left = format!("{} {} no longer asks for a seat in {code} 2026 S1.", student.first_name, student.last_name);
    let wanted = json!([
        [student.id, student.id, "Enrolment withdrawn", format!("Your enrolment in {class} was withdrawn."), id],
        [scene.convenor.id, student.id, "Student withdrew", left, id],
    ]);
    assert_eq!(told(app).await, wanted);
    let twice = student.post_bare(&step(*id, "withdraw")).await;
    assert_eq!((twice.refusal(), &twice.body["current_status"]), ((409, "illegal_step"), &json!("WITHDRAWN")));

    let late = app.enrollment(app.student().await.id, *offering, "ENROLLED").await;
    app.set_time("2026-05-01T00:00:00Z").await;
    app.staff().await.post_bare(&step(late, "withdraw")).await.expect(200);
    assert_eq!(taken(app, *offering).await, 0);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_result_that_is_given_up_stays_in_the_history() {
    let scene = Scene::set().await;
    let Scene { app, student, convenor, id, .. } = &scene;
    convenor.post_bare(&step(*id, "approve")).await.expect(200);
    convenor.patch(&at(ENROLLMENTS, *id), &json!({ "marks": "61.5" })).await.expect(200);
    student.post_bare(&step(*id, "withdraw")).await.expect(200);
    assert_eq!(student.get(&at(ENROLLMENTS, *id)).await.body["marks"], json!(null));
    let kept = sqlx::query_scalar!("select from_marks::text from enrollment_history order by id desc limit 1");
    assert_eq!(kept.fetch_one(&app.db).await.unwrap().as_deref(), Some("61.50"));
    app.check_invariants().await;
}

#[tokio::test]
async fn who_may_not_see_an_enrolment_finds_nothing_and_who_may_not_decide_is_refused() {
    let scene = Scene::set().await;
    let Scene { app, student, id, .. } = &scene;
    let outsiders = [
        (app.student().await, [("withdraw", 404), ("approve", 403), ("reject", 403)]),
        (app.convenor().await, [("withdraw", 403), ("approve", 404), ("reject", 404)]),
        (app.auditor().await, [("withdraw", 403), ("approve", 403), ("reject", 403)]),
        (app.parent().await, [("withdraw", 403), ("approve", 403), ("reject", 403)]),
        (student.clone(), [("withdraw", 200), ("approve", 403), ("reject", 403)]),
    ];
    for (who, calls) in &outsiders[..4] {
        let before = everything(app).await;
        for (verb, status) in calls {
            assert_eq!(who.post_bare(&step(*id, verb)).await.status.as_u16(), *status, "{} {verb}", who.user_type);
        }
        assert_eq!(everything(app).await, before);
    }
    for (verb, status) in &outsiders[4].1[1..] {
        assert_eq!(student.post_bare(&step(*id, verb)).await.status.as_u16(), *status, "one's own {verb}");
    }
    for verb in ["withdraw", "approve", "reject"] {
        assert_eq!(app.admin().await.post_bare(&step(Id(987_654), verb)).await.status.as_u16(), 404);
    }
}

#[tokio::test]
async fn notes_that_are_too_long_or_no_text_are_refused() {
    let scene = Scene::set().await;
    let Scene { app, convenor, id, .. } = &scene;
    let before = everything(app).await;
    let long = convenor.post(&step(*id, "approve"), &json!({ "notes": "x".repeat(2001) })).await;
    assert_eq!((long.status.as_u16(), long.errors("notes").len()), (400, 1));
    let odd = convenor.post(&step(*id, "reject"), &json!({ "notes": 7 })).await;
    assert_eq!((odd.status.as_u16(), odd.errors("notes").len()), (400, 1));
    assert_eq!(everything(app).await, before);
}

#[tokio::test]
async fn two_decisions_at_once_are_one_decision() {
    let scene = Scene::set().await;
    let Scene { app, convenor, id, .. } = &scene;
    let mut halfway = app.transaction().await;
    sqlx::query!("select id from enrollments where id = $1 for update", id.0).fetch_one(&mut *halfway).await.unwrap();
    let (approve, reject) = (step(*id, "approve"), step(*id, "reject"));
    let (approved, rejected, ()) = tokio::join!(convenor.post_bare(&approve), convenor.post_bare(&reject), async {
        app.until_so_many_wait(2).await;
        halfway.commit().await.unwrap();
    });
    let mut statuses = [approved.status.as_u16(), rejected.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(decisions(app).await.as_array().unwrap().len(), 1);
    app.check_invariants().await;
}
