//! The queue of enrolments that wait for a decision.

use swincms::ids::Id;

use crate::academic::{all_pages, at, faulty, run};
use crate::support::{Person, TestApp};

const APPROVALS: &str = "/api/enrollment/approvals/";
const ENROLLMENTS: &str = "/api/enrollment/enrollments/";

/// Asked for at this moment.
async fn pending(app: &TestApp, student: &Person, offering: Id, requested_at: &str) -> Id {
    let id = app.enrollment(student.id, offering, "PENDING").await;
    run(&app.db, format!("update enrollments set requested_at = '{requested_at}' where id = {id}")).await;
    id
}

#[tokio::test]
async fn those_who_have_waited_longest_come_first_and_nobody_who_does_not_wait() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let (unit, offering) = (app.unit().await, app.offering(0).await);
    let other = app.offering_of(unit, 0).await;
    let (ann, bob, cid) = (app.student().await, app.student().await, app.student().await);
    let second = pending(&app, &ann, offering, "2026-02-02T00:00:00Z").await;
    let third = pending(&app, &bob, other, "2026-02-03T00:00:00Z").await;
    let first = pending(&app, &cid, offering, "2026-02-01T00:00:00Z").await;
    let gone = pending(&app, &app.student().await, offering, "2026-02-04T00:00:00Z").await;
    run(&app.db, format!("update enrollments set deleted_at = rule_now() where id = {gone}")).await;
    for status in ["ENROLLED", "WITHDRAWN", "COMPLETED", "FAILED"] {
        app.enrollment(app.student().await.id, offering, status).await;
    }

    let queue = staff.get(APPROVALS).await;
    assert_eq!(queue.ids(), [first, second, third]);
    assert_eq!(&queue.body[0], staff.get(&at(ENROLLMENTS, first)).await.expect(200));
    assert_eq!(admin.get(&format!("{APPROVALS}?include_deleted=true")).await.ids(), [first, second, third, gone]);
    assert_eq!(all_pages(&staff, &format!("{APPROVALS}?page_size=1"), async || {}).await, [first, second, third]);

    for (query, wanted) in [
        (format!("?offering={other}"), vec![third]),
        (format!("?unit={unit}"), vec![third]),
        (format!("?student={}", ann.id), vec![second]),
        ("?year=2026&semester=S1".to_owned(), vec![first, second, third]),
        ("?semester=S2".to_owned(), vec![]),
        ("?ordering=-requested_at".to_owned(), vec![third, second, first]),
    ] {
        assert_eq!(staff.get(&format!("{APPROVALS}{query}")).await.ids(), wanted, "{query}");
    }
    let refused = staff.get(&format!("{APPROVALS}?status=ENROLLED")).await;
    assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, ["status".to_owned()].into()));
}

#[tokio::test]
async fn the_queue_is_for_those_who_decide_and_auditors() {
    let app = TestApp::start().await;
    let (ann, convenor) = (app.student().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let here = pending(&app, &ann, app.offering_of(unit, 0).await, "2026-02-01T00:00:00Z").await;
    let elsewhere = pending(&app, &ann, app.offering(0).await, "2026-02-02T00:00:00Z").await;
    for (name, person, seen) in [
        ("the unit's convenor", &convenor, vec![here]),
        ("another convenor", &app.convenor().await, vec![]),
        ("staff", &app.staff().await, vec![here, elsewhere]),
        ("auditor", &app.auditor().await, vec![here, elsewhere]),
        ("admin", &app.admin().await, vec![here, elsewhere]),
    ] {
        assert_eq!(person.get(APPROVALS).await.ids(), seen, "{name}");
    }
    for person in [&ann, &app.parent().await] {
        assert_eq!(person.get(APPROVALS).await.refusal(), (403, "permission_denied"));
    }
}
