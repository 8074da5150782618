//! Accounts: who sees them, and what is awarded to them and deducted from them.

use serde_json::json;

use super::{ACCOUNTS, account, convenor_of, go, has, parent_of};
use crate::academic::{at, faulty};
use crate::support::TestApp;

#[tokio::test]
async fn an_account_shows_its_student_and_what_there_is_in_it() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let id = account(&app, ann.id).await;
    let awarded = go(&staff, id, "award", 50).await;
    let transaction = awarded.expect(200)["transaction_id"].clone();
    assert_eq!(awarded.body, json!({ "status": "awarded", "transaction_id": transaction, "new_balance": 50 }));
    let deducted = go(&staff, id, "deduct", 20).await;
    let transaction = deducted.expect(200)["transaction_id"].clone();
    assert_eq!(deducted.body, json!({ "status": "deducted", "transaction_id": transaction, "new_balance": 30 }));

    let shown = ann.get(&at(ACCOUNTS, id)).await;
    let mut expected = json!({
        "id": id, "current_balance": 30, "lifetime_earned": 50, "updated_at": "2026-03-02T02:00:00.000000Z",
    });
    expected["student"] = shown.expect(200)["student"].clone();
    assert_eq!(shown.body, expected);
    assert_eq!(shown.body["student"]["email"], json!(ann.email));
    assert_eq!(shown.body["student"].get("phone_number"), None);
    app.check_invariants().await;
}

#[tokio::test]
async fn accounts_are_seen_by_their_student_those_who_teach_them_and_those_whom_they_let() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.student().await, app.student().await);
    let (mine, other) = (account(&app, ann.id).await, account(&app, bob.id).await);
    let convenor = convenor_of(&app, &ann, "PENDING").await;
    app.enrollment(bob.id, app.offering_of(app.unit_of(convenor.id).await, 0).await, "WITHDRAWN").await;
    let parent = parent_of(&app, &ann, "gold").await;
    for who in [&ann, &convenor, &parent] {
        assert_eq!(who.get(ACCOUNTS).await.ids(), [mine], "{}", who.user_type);
        who.get(&at(ACCOUNTS, mine)).await.expect(200);
        assert_eq!(who.get(&at(ACCOUNTS, other)).await.refusal(), (404, "not_found"), "{}", who.user_type);
    }
    for who in [app.staff().await, app.admin().await, app.auditor().await] {
        assert_eq!(who.get(ACCOUNTS).await.ids(), [mine, other], "{}", who.user_type);
    }
    let strangers = [parent_of(&app, &bob, "attendance").await, app.convenor().await, app.parent().await];
    for who in strangers {
        assert!(who.get(ACCOUNTS).await.ids().is_empty(), "{}", who.user_type);
    }
}

#[tokio::test]
async fn one_s_own_account_comes_first_on_whatever_page() {
    let app = TestApp::start().await;
    let mut there = Vec::new();
    for _ in 0..3 {
        there.push(account(&app, app.student().await.id).await);
    }
    let both = app.student().await;
    sqlx::query!("update users set is_staff = true where id = $1", both.id.0).execute(&app.db).await.unwrap();
    there.insert(0, account(&app, both.id).await);
    assert_eq!(both.get(ACCOUNTS).await.ids(), there);
    let first = both.get(&format!("{ACCOUNTS}?page_size=2")).await;
    let rest = both.get(&first.next_page().unwrap()).await;
    assert_eq!([first.ids(), rest.ids()].concat(), there);
    there.rotate_left(1);
    assert_eq!(both.get(&format!("{ACCOUNTS}?ordering=id")).await.ids(), there);
    assert_eq!(app.staff().await.get(ACCOUNTS).await.ids(), there);
}

#[tokio::test]
async fn staff_award_to_anybody_and_convenors_to_students_of_their_units() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.student().await, app.student().await);
    let (mine, other) = (account(&app, ann.id).await, account(&app, bob.id).await);
    let convenor = convenor_of(&app, &ann, "COMPLETED").await;
    for verb in ["award", "deduct"] {
        for who in [&convenor, &app.staff().await, &app.admin().await] {
            go(who, mine, verb, 5).await.expect(200);
        }
        assert_eq!(go(&convenor, other, verb, 5).await.refusal(), (404, "not_found"));
        for who in [&ann, &app.auditor().await, &parent_of(&app, &ann, "gold").await] {
            assert_eq!(go(who, mine, verb, 5).await.refusal(), (403, "permission_denied"), "{}", who.user_type);
        }
    }
    // Who sees an account without teaching the student may not change it.
    sqlx::raw_sql("with r as (insert into roles (name, permissions) values ('Reader', '{gold.read}') returning id)
                   insert into user_roles (user_id, role_id) select u.id, r.id from users u, r where u.user_type = 'unit_convenor'")
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(go(&convenor, other, "award", 5).await.refusal(), (403, "permission_denied"));
    assert_eq!((has(&app, ann.id).await, has(&app, bob.id).await), ((0, 15), (0, 0)));
    app.check_invariants().await;
}

#[tokio::test]
async fn amounts_and_reasons_are_bounded_and_all_that_is_wrong_is_told() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = account(&app, app.student().await.id).await;
    let path = format!("{ACCOUNTS}{id}/award/");
    let wrong = staff.post(&path, &json!({ "details": "x".repeat(20_001) })).await;
    assert_eq!(wrong.refusal(), (400, "invalid"));
    assert_eq!(faulty(&wrong).into_iter().collect::<Vec<_>>(), ["amount", "details", "reason"]);
    for amount in [json!(0), json!(-1), json!(100_001), json!(1.5), json!("five"), json!(null), json!(i64::MAX)] {
        let wrong = staff.post(&path, &json!({ "amount": amount, "reason": "Fair" })).await;
        assert_eq!((wrong.refusal(), wrong.errors("amount").len()), ((400, "invalid"), 1), "{amount}");
    }
    for reason in [String::from(" "), "x".repeat(256)] {
        let wrong = staff.post(&path, &json!({ "amount": 1, "reason": reason })).await;
        assert_eq!(wrong.errors("reason").len(), 1);
    }
    for amount in [1, 100_000] {
        go(&staff, id, "award", amount).await.expect(200);
    }
    assert_eq!(staff.post(&format!("{ACCOUNTS}9/award/"), &json!({})).await.refusal(), (404, "not_found"));
    app.check_invariants().await;
}

#[tokio::test]
async fn nobody_can_be_taken_more_from_than_they_have() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let id = account(&app, ann.id).await;
    go(&staff, id, "award", 30).await.expect(200);
    let refused = go(&staff, id, "deduct", 31).await;
    assert_eq!(refused.refusal(), (409, "not_enough_gold"));
    assert_eq!(refused.body["current_balance"], json!(30));
    assert_eq!(refused.body["detail"], json!("The balance is 30, so 31 cannot be taken from it."));
    assert_eq!(go(&staff, id, "deduct", 30).await.expect(200)["new_balance"], json!(0));
    assert_eq!(go(&staff, id, "deduct", 1).await.refusal(), (409, "not_enough_gold"));
    assert_eq!(has(&app, ann.id).await, (0, 30));
    app.check_invariants().await;
}

#[tokio::test]
async fn a_deduction_that_waits_for_another_sees_what_it_has_left() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let id = account(&app, ann.id).await;
    go(&staff, id, "award", 30).await.expect(200);
    let mut halfway = app.transaction().await;
    let taking = sqlx::query!(
        "with account as (update gold_accounts set current_balance = 10, last_seq = 2 where id = $1 returning student_id)
         insert into gold_transactions (student_id, seq, amount, transaction_type, reason, balance_after)
         select student_id, 2, -20, 'DEDUCT', 'Shop', 10 from account",
        id.0
    );
    taking.execute(&mut *halfway).await.unwrap();
    let (refused, ()) = tokio::join!(go(&staff, id, "deduct", 11), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!((refused.refusal(), &refused.body["current_balance"]), ((409, "not_enough_gold"), &json!(10)));
    assert_eq!(go(&staff, id, "deduct", 10).await.expect(200)["new_balance"], json!(0));
    app.check_invariants().await;
}

#[tokio::test]
async fn an_award_with_the_same_key_is_made_once() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let path = format!("{ACCOUNTS}{}/award/", account(&app, ann.id).await);
    let once = staff.with("Idempotency-Key", "fair-7");
    let body = json!({ "amount": 5, "reason": "Fair" });
    let (first, again) = (once.post(&path, &body).await, once.post(&path, &body).await);
    assert_eq!(first.expect(200), again.expect(200));
    let other = once.post(&path, &json!({ "amount": 6, "reason": "Fair" })).await;
    assert_eq!(other.refusal(), (422, "idempotency_key_reused"));
    assert_eq!(has(&app, ann.id).await, (5, 5));
}
