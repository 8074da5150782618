//! Deleting an enrolment and bringing it back, with its seat.

use serde_json::json;

use super::{ENROLLMENTS, everything, step, taken};
use crate::academic::{at, id_of, run};
use crate::support::TestApp;

#[tokio::test]
async fn a_deleted_enrolment_frees_its_seat_and_comes_back_to_it() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    for (status, seats) in [("PENDING", 1), ("ENROLLED", 1), ("WITHDRAWN", 0), ("COMPLETED", 1), ("FAILED", 1)] {
        let offering = app.offering(1).await;
        let id = app.enrollment(student.id, offering, status).await;
        let path = at(ENROLLMENTS, id);
        let shown = admin.get(&path).await.expect(200).clone();
        admin.delete(&path).await.expect(204);
        assert_eq!(taken(&app, offering).await, 0, "{status}");
        assert_eq!(admin.get(&path).await.status.as_u16(), 404);
        assert_eq!(admin.delete(&path).await.status.as_u16(), 404);
        assert_eq!(admin.post_bare(&step(id, "withdraw")).await.status.as_u16(), 404);
        app.check_invariants().await;
        let back = admin.post_bare(&step(id, "restore")).await;
        assert_eq!(back.expect(200)["status"], shown["status"]);
        assert_eq!(back.body["grade"], shown["grade"]);
        assert_eq!(taken(&app, offering).await, seats, "{status}");
        assert_eq!(admin.post_bare(&step(id, "restore")).await.status.as_u16(), 404);
        app.check_invariants().await;
    }
}

#[tokio::test]
async fn what_came_meanwhile_keeps_an_enrolment_from_coming_back() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let refused = async |id, code: &str| {
        let before = everything(&app).await;
        let reply = admin.post_bare(&step(id, "restore")).await;
        assert_eq!(reply.refusal(), (409, code), "{}", reply.body);
        assert_eq!(everything(&app).await, before);
    };
    let gone = async |unit, status| {
        let offering = app.offering_of(unit, 1).await;
        let id = app.enrollment(student.id, offering, status).await;
        admin.delete(&at(ENROLLMENTS, id)).await.expect(204);
        (id, offering)
    };

    let (id, offering) = gone(app.unit().await, "ENROLLED").await;
    app.enrollment(app.student().await.id, offering, "PENDING").await;
    refused(id, "offering_full").await;

    let (one, other) = (app.unit().await, app.unit().await);
    run(&app.db, format!("insert into unit_anti_requisites values ({one}, {other})")).await;
    let (id, _) = gone(one, "COMPLETED").await;
    app.enrollment(student.id, app.offering_of(other, 0).await, "ENROLLED").await;
    refused(id, "anti_requisite").await;

    let (id, offering) = gone(app.unit().await, "PENDING").await;
    run(&app.db, format!("update offerings set deleted_at = rule_now() where id = {offering}")).await;
    refused(id, "cannot_be_restored").await;
}

#[tokio::test]
async fn who_asks_again_revives_the_deleted_enrolment() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    for status in ["PENDING", "ENROLLED", "WITHDRAWN", "FAILED"] {
        let offering = app.offering(1).await;
        let id = app.enrollment(student.id, offering, status).await;
        admin.delete(&at(ENROLLMENTS, id)).await.expect(204);
        let again = student.post(ENROLLMENTS, &json!({ "offering": offering })).await;
        assert_eq!((id_of(&again), &again.body["status"], &again.body["grade"]), (id, &json!("PENDING"), &json!("")));
        assert_eq!(taken(&app, offering).await, 1);
        app.check_invariants().await;
    }
}

#[tokio::test]
async fn only_administrators_delete_and_restore() {
    let app = TestApp::start().await;
    let (student, convenor) = (app.student().await, app.convenor().await);
    let id = app.enrollment(student.id, app.offering_of(app.unit_of(convenor.id).await, 0).await, "ENROLLED").await;
    for who in [student, convenor, app.staff().await, app.auditor().await, app.parent().await] {
        assert_eq!(who.delete(&at(ENROLLMENTS, id)).await.status.as_u16(), 403, "{}", who.user_type);
        assert_eq!(who.post_bare(&step(id, "restore")).await.status.as_u16(), 403, "{}", who.user_type);
    }
}
