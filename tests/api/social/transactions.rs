//! The ledger's entries: who sees them, and awarding to a student by id.

use serde_json::{Value, json};

use super::{TRANSACTIONS, account, convenor_of, go, has, parent_of};
use crate::academic::{at, faulty};
use crate::support::TestApp;

const AWARD: &str = "/api/social/transactions/award/";

#[tokio::test]
async fn an_award_is_an_entry_that_says_who_gave_what_for() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let sent = json!({ "student_id": ann.id, "amount": 12, "transaction_type": "BONUS", "reason": "Fair", "details": "Tent 4" });
    let made = staff.post(AWARD, &sent).await;
    let id = made.expect(201)["transaction_id"].clone();
    assert_eq!(
        made.body,
        json!({ "transaction_id": id, "student_id": ann.id, "new_balance": 12, "lifetime_earned": 12 })
    );
    let second = staff.post(AWARD, &json!({ "student_id": ann.id.to_string(), "amount": 3, "reason": "More" })).await;
    assert_eq!((&second.expect(201)["new_balance"], &second.body["lifetime_earned"]), (&json!(15), &json!(15)));
    go(&staff, account(&app, ann.id).await, "deduct", 5).await.expect(200);

    let shown = ann.get(&at(TRANSACTIONS, &id)).await;
    let mut expected = json!({
        "id": id, "amount": 12, "transaction_type": "BONUS", "reason": "Fair", "details": "Tent 4", "balance_after": 12,
        "created_at": "2026-03-02T02:00:00.000000Z",
    });
    for person in ["student", "awarded_by"] {
        expected[person] = shown.expect(200)[person].clone();
    }
    assert_eq!(shown.body, expected);
    assert_eq!((&shown.body["student"]["id"], &shown.body["awarded_by"]["id"]), (&json!(ann.id), &json!(staff.id)));
    let list = ann.get(TRANSACTIONS).await;
    let amounts: Vec<&Value> = list.expect(200).as_array().unwrap().iter().map(|row| &row["amount"]).collect();
    assert_eq!(amounts, [&json!(-5), &json!(3), &json!(12)], "newest first");
    app.check_invariants().await;
}

#[tokio::test]
async fn entries_are_seen_as_accounts_are_and_narrowed_by_their_fields() {
    let app = TestApp::start().await;
    let (ann, bob, staff) = (app.student().await, app.student().await, app.staff().await);
    let convenor = convenor_of(&app, &ann, "ENROLLED").await;
    for (student, amount) in [(&ann, 4), (&bob, 6)] {
        go(&staff, account(&app, student.id).await, "award", amount).await.expect(200);
    }
    go(&convenor, account(&app, ann.id).await, "deduct", 1).await.expect(200);
    let amounts = async |who: &crate::support::Person, query: &str| {
        let list = who.get(&format!("{TRANSACTIONS}{query}")).await;
        let rows = list.expect(200).as_array().unwrap().clone();
        rows.iter().map(|row| row["amount"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    let parent = parent_of(&app, &ann, "gold").await;
    for who in [&ann, &convenor, &parent] {
        assert_eq!(amounts(who, "").await, [-1, 4], "{}", who.user_type);
    }
    for who in [&staff, &app.auditor().await, &app.admin().await] {
        assert_eq!(amounts(who, "").await, [-1, 6, 4], "{}", who.user_type);
    }
    assert_eq!(amounts(&bob, "").await, [6]);
    assert_eq!(amounts(&app.parent().await, "").await, [0_i64; 0]);
    for (query, found) in [
        (format!("?student={}", ann.id), vec![-1, 4]),
        ("?transaction_type=DEDUCT".to_owned(), vec![-1]),
        (format!("?awarded_by={}", convenor.id), vec![-1]),
        ("?from=2026-03-03".to_owned(), vec![]),
        ("?to=2026-03-03&ordering=created_at".to_owned(), vec![4, 6, -1]),
    ] {
        assert_eq!(amounts(&staff, &query).await, found, "{query}");
    }
    let foreign = staff.get(&format!("{TRANSACTIONS}?student={}", bob.id)).await.ids()[0];
    for who in [&ann, &convenor, &parent] {
        assert_eq!(who.get(&at(TRANSACTIONS, foreign)).await.refusal(), (404, "not_found"), "{}", who.user_type);
    }
    for method in [axum::http::Method::PUT, axum::http::Method::PATCH, axum::http::Method::DELETE] {
        let path = at(TRANSACTIONS, foreign);
        assert_eq!(app.admin().await.call(method, &path).await.refusal(), (405, "method_not_allowed"));
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_award_is_told_and_nothing_is_given() {
    let app = TestApp::start().await;
    let (ann, bob, staff) = (app.student().await, app.student().await, app.staff().await);
    let empty = staff.post(AWARD, &json!({})).await;
    assert_eq!(faulty(&empty).into_iter().collect::<Vec<_>>(), ["amount", "reason", "student_id"]);
    let award = |student: Value| json!({ "student_id": student, "amount": 1, "reason": "Fair" });
    for student in [json!(987_654), json!(app.staff().await.id), json!("")] {
        assert_eq!(staff.post(AWARD, &award(student.clone())).await.errors("student_id").len(), 1, "{student}");
    }
    for kind in ["DEDUCT", "EXPIRE", "award"] {
        let mut wrong = award(json!(ann.id));
        wrong["transaction_type"] = json!(kind);
        assert_eq!(staff.post(AWARD, &wrong).await.errors("transaction_type").len(), 1, "{kind}");
    }
    let mut wrong = award(json!(ann.id));
    wrong["amount"] = json!("many");
    assert_eq!(staff.post(AWARD, &wrong).await.errors("amount").len(), 1);

    let convenor = convenor_of(&app, &ann, "ENROLLED").await;
    convenor.post(AWARD, &award(json!(ann.id))).await.expect(201);
    assert_eq!(convenor.post(AWARD, &award(json!(bob.id))).await.refusal(), (403, "permission_denied"));
    assert_eq!(convenor.post(AWARD, &award(json!(987_654))).await.errors("student_id").len(), 1);
    for who in [&ann, &app.parent().await, &app.auditor().await] {
        assert_eq!(who.post(AWARD, &award(json!(ann.id))).await.refusal(), (403, "permission_denied"));
    }
    // To whom the others are unknown, one who is there and one who is not look alike.
    let outsider = parent_of(&app, &bob, "attendance").await;
    sqlx::query!(
        "with r as (insert into roles (name, permissions) values ('Tutor', '{gold.award:own_units}') returning id)
         insert into user_roles (user_id, role_id) select $1, id from r",
        outsider.id.0
    )
    .execute(&app.db)
    .await
    .unwrap();
    assert_eq!(outsider.post(AWARD, &award(json!(ann.id))).await.errors("student_id").len(), 1);
    assert_eq!((has(&app, ann.id).await, has(&app, bob.id).await), ((1, 1), (0, 0)));
}

#[tokio::test]
async fn the_database_refuses_to_change_the_ledger() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let made = staff.post(AWARD, &json!({ "student_id": ann.id, "amount": 1, "reason": "Fair" })).await;
    assert_eq!(made.status, 201);
    for statement in
        ["update gold_transactions set amount = 2", "delete from gold_transactions", "truncate gold_transactions"]
    {
        assert!(sqlx::raw_sql(statement).execute(&app.db).await.is_err(), "{statement}");
    }
    app.check_invariants().await;
}
