//! Lists of enrolments, and who sees which.

use serde_json::json;
use swincms::ids::Id;

use super::{ENROLLMENTS, step};
use crate::academic::{all_pages, at, run, whole};
use crate::support::{Person, TestApp};

/// A parent whose child has granted these scopes.
async fn parent_of(app: &TestApp, child: Id, scopes: &str, more: &str) -> Person {
    let parent = app.parent().await;
    run(
        &app.db,
        format!(
            "with g as (insert into guardians (user_id) values ({}) returning id),
                  l as (insert into guardian_students (guardian_id, student_id) select id, {child} from g)
             insert into guardian_grants (guardian_id, student_id, scopes {})
             select id, {child}, array[{scopes}] {} from g",
            parent.id,
            more.split_once('=').map(|(column, _)| format!(", {column}")).unwrap_or_default(),
            more.split_once('=').map(|(_, value)| format!(", {value}")).unwrap_or_default(),
        ),
    )
    .await;
    parent
}

#[tokio::test]
async fn each_sees_the_enrolments_that_concern_them() {
    let app = TestApp::start().await;
    let (ann, bob, convenor) = (app.student().await, app.student().await, app.convenor().await);
    let (mine, other) = (app.offering_of(app.unit_of(convenor.id).await, 0).await, app.offering(0).await);
    let a = app.enrollment(ann.id, mine, "ENROLLED").await;
    let b = app.enrollment(ann.id, other, "WITHDRAWN").await;
    let c = app.enrollment(bob.id, mine, "PENDING").await;
    let d = app.enrollment(bob.id, other, "COMPLETED").await;
    let all = [a, b, c, d];
    let granted = parent_of(&app, ann.id, "'enrolments'", "").await;
    let people = [
        (ann.clone(), vec![a, b]),
        (bob, vec![c, d]),
        (convenor, vec![a, c]),
        (app.convenor().await, vec![]),
        (app.staff().await, all.to_vec()),
        (app.auditor().await, all.to_vec()),
        (app.admin().await, all.to_vec()),
        (granted, vec![a, b]),
        (app.parent().await, vec![]),
        (parent_of(&app, ann.id, "'transcripts'", "").await, vec![]),
        (parent_of(&app, ann.id, "'enrolments'", "revoked_at=rule_now()").await, vec![]),
        (parent_of(&app, ann.id, "'enrolments'", "valid_until=rule_now() + interval '1 day'").await, vec![a, b]),
    ];
    let check = async |people: &[(Person, Vec<Id>)]| {
        for (who, sees) in people {
            let mut listed = who.get(ENROLLMENTS).await.ids();
            listed.sort();
            assert_eq!(&listed, sees, "{}", who.user_type);
            for id in all {
                let status = if sees.contains(&id) { 200 } else { 404 };
                assert_eq!(who.get(&at(ENROLLMENTS, id)).await.status.as_u16(), status, "{} {id}", who.user_type);
            }
        }
    };
    check(&people).await;
    assert_eq!(app.anonymous().get(ENROLLMENTS).await.status.as_u16(), 401);
    // A grant ends with its day.
    app.set_time("2026-03-03T02:00:00Z").await;
    let (parent, _) = &people[11];
    check(&[(parent.new_session(&app).await, vec![])]).await;
}

#[tokio::test]
async fn a_list_is_narrowed_and_newest_first() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let (unit, other) = (app.unit().await, app.unit().await);
    let (one, two) = (app.offering_of(unit, 0).await, app.offering_of(other, 0).await);
    let a = app.enrollment(ann.id, one, "ENROLLED").await;
    app.set_time("2026-03-03T02:00:00Z").await;
    let staff = staff.new_session(&app).await;
    let b = app.enrollment(ann.id, two, "PENDING").await;
    let c = app.enrollment(bob.id, one, "FAILED").await;
    for (query, found) in [
        (String::new(), vec![c, b, a]),
        (format!("offering={one}"), vec![c, a]),
        (format!("unit={other}"), vec![b]),
        (format!("student={}", ann.id), vec![b, a]),
        ("status=FAILED".to_owned(), vec![c]),
        ("year=2026&semester=S1".to_owned(), vec![c, b, a]),
        ("year=2025".to_owned(), vec![]),
        ("ordering=created_at".to_owned(), vec![a, b, c]),
        ("updated_since=2026-03-03T00:00:00Z".to_owned(), vec![c, b]),
    ] {
        assert_eq!(staff.get(&format!("{ENROLLMENTS}?{query}")).await.ids(), found, "{query}");
    }
    for query in ["results_due=x", "status=GONE", "search=x", "unit=x"] {
        let refused = staff.get(&format!("{ENROLLMENTS}?{query}")).await;
        assert_eq!((refused.status.as_u16(), refused.errors(query.split('=').next().unwrap()).len()), (400, 1));
    }
    let counted = staff.get(&format!("{ENROLLMENTS}?count=true&page_size=1")).await;
    assert_eq!(counted.header("x-total-count"), Some("3"));
}

#[tokio::test]
async fn paging_neither_skips_nor_repeats_while_rows_come_and_go() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let student = app.student().await;
    let mut there = Vec::new();
    for _ in 0..9 {
        there.push(app.enrollment(student.id, app.offering(0).await, "ENROLLED").await);
    }
    let found = all_pages(&staff, &format!("{ENROLLMENTS}?page_size=2"), async || {
        app.enrollment(app.student().await.id, app.offering(0).await, "ENROLLED").await;
    })
    .await;
    whole(&found, &there);
}

#[tokio::test]
async fn a_deleted_offering_and_a_deactivated_student_are_still_shown_within() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let id = app.enrollment(student.id, app.offering(0).await, "WITHDRAWN").await;
    let shown = staff.get(&at(ENROLLMENTS, id)).await.expect(200).clone();
    run(&app.db, "update offerings set deleted_at = rule_now()").await;
    run(&app.db, format!("update users set is_active = false where id = {}", student.id)).await;
    assert_eq!(staff.get(&at(ENROLLMENTS, id)).await.expect(200), &shown);
    assert!(shown["offering"]["unit"]["code"].is_string());
    assert_eq!(json!(shown["student"]["id"]), json!(student.id));
}

#[tokio::test]
async fn the_steps_of_an_enrolment_are_kept_for_those_who_see_it() {
    let app = TestApp::start().await;
    let (student, convenor) = (app.student().await, app.convenor().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let made = student.post(ENROLLMENTS, &json!({ "offering": offering })).await;
    let id = Id(made.expect(201)["id"].as_i64().unwrap());
    convenor.post(&step(id, "approve"), &json!({ "notes": "Welcome" })).await.expect(200);
    convenor.patch(&at(ENROLLMENTS, id), &json!({ "status": "FAILED", "grade": "N", "marks": 12 })).await.expect(200);
    let other = app.enrollment(app.student().await.id, app.offering(0).await, "PENDING").await;

    let now = "2026-03-02T02:00:00.000000Z";
    let steps = student.get(&step(id, "history")).await;
    let ids = steps.ids();
    let wanted = json!([
        {
            "id": ids[0], "from_status": "", "to_status": "PENDING", "from_grade": "", "to_grade": "",
            "from_marks": null, "to_marks": null, "deleted": false, "decision": "", "reason": "",
            "changed_by": student.id, "created_at": now,
        },
        {
            "id": ids[1], "from_status": "PENDING", "to_status": "ENROLLED", "from_grade": "", "to_grade": "",
            "from_marks": null, "to_marks": null, "deleted": false, "decision": "approved", "reason": "Welcome",
            "changed_by": convenor.id, "created_at": now,
        },
        {
            "id": ids[2], "from_status": "ENROLLED", "to_status": "FAILED", "from_grade": "", "to_grade": "N",
            "from_marks": null, "to_marks": "12.00", "deleted": false, "decision": "", "reason": "",
            "changed_by": convenor.id, "created_at": now,
        },
    ]);
    assert_eq!(steps.body, wanted);
    assert_eq!(student.get(&step(other, "history")).await.status.as_u16(), 404);
    let sly = student.get(&format!("{}?enrollment={other}", step(id, "history"))).await;
    assert_eq!(sly.status.as_u16(), 400, "whose steps are shown is in the path alone");
}
