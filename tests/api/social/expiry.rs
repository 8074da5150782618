//! Gold that is not spent in time.

use serde_json::json;

use super::{account, go, has};
use crate::support::{Person, TestApp};

/// Lets the job run in a server of its own until the student has this.
async fn run_until(app: &TestApp, student: &Person, balance: i64) {
    let beside = app.another_server().with_background().start().await;
    app.until("the job has run", async || has(app, student.id).await.0 == balance).await;
    beside.stop.cancel();
    beside.stopped.cancelled().await;
}

/// All that expired, in its order.
async fn expired(app: &TestApp) -> Vec<(i64, i64)> {
    let sql =
        sqlx::query!("select student_id, amount from gold_transactions where transaction_type = 'EXPIRE' order by id");
    sql.fetch_all(&app.db).await.unwrap().into_iter().map(|row| (row.student_id, row.amount)).collect()
}

#[tokio::test]
async fn what_is_left_of_old_gold_expires_once_and_spending_takes_the_oldest() {
    let app = TestApp::with(&[("GOLD_EXPIRES_AFTER", "30")]).await;
    let (ann, bob) = (app.student().await, app.student().await);
    let id = account(&app, ann.id).await;
    let staff = app.staff().await;
    go(&staff, id, "award", 10).await.expect(200);
    go(&staff, account(&app, bob.id).await, "award", 8).await.expect(200);
    go(&staff, account(&app, bob.id).await, "deduct", 8).await.expect(200);
    app.set_time("2026-03-22T02:00:00Z").await;
    let staff = staff.new_session(&app).await;
    go(&staff, id, "award", 5).await.expect(200);
    go(&staff, id, "deduct", 4).await.expect(200);

    app.set_time("2026-04-01T02:00:00Z").await;
    run_until(&app, &ann, 5).await;
    assert_eq!(expired(&app).await, [(ann.id.0, -6)]);
    assert_eq!(has(&app, ann.id).await, (5, 15));
    app.check_invariants().await;

    // Once more, and nothing is left of it; the rest goes in its own time.
    app.set_time("2026-04-21T02:00:00Z").await;
    run_until(&app, &ann, 0).await;
    assert_eq!(expired(&app).await, [(ann.id.0, -6), (ann.id.0, -5)]);
    let entry = sqlx::query!("select reason, awarded_by_id from gold_transactions order by id desc limit 1");
    let entry = entry.fetch_one(&app.db).await.unwrap();
    assert_eq!((entry.reason.as_str(), entry.awarded_by_id), ("Not spent within 30 days", None));
    let audited = sqlx::query!("select user_id, details from audit_log where action = 'expire' order by id");
    let audited = audited.fetch_all(&app.db).await.unwrap();
    assert_eq!((audited.len(), audited[0].user_id), (2, None));
    assert_eq!(audited[0].details["changes"]["amount"], json!({ "before": null, "after": -6 }));
    app.check_invariants().await;
}

#[tokio::test]
async fn gold_that_is_spent_while_the_job_waits_does_not_expire() {
    let app = TestApp::with(&[("GOLD_EXPIRES_AFTER", "1")]).await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let id = account(&app, ann.id).await;
    go(&staff, id, "award", 10).await.expect(200);
    app.set_time("2026-03-04T02:00:00Z").await;
    let mut halfway = app.transaction().await;
    let taking = sqlx::query!(
        "with account as (update gold_accounts set current_balance = 3, last_seq = 2 where id = $1 returning student_id)
         insert into gold_transactions (student_id, seq, amount, transaction_type, reason, balance_after)
         select student_id, 2, -7, 'DEDUCT', 'Shop', 3 from account",
        id.0
    );
    taking.execute(&mut *halfway).await.unwrap();
    // Two processes are at it.
    let jobs =
        [app.another_server().with_background().start().await, app.another_server().with_background().start().await];
    app.until_so_many_wait(2).await;
    halfway.commit().await.unwrap();
    app.until("the job has run", async || has(&app, ann.id).await.0 == 0).await;
    for job in jobs {
        job.stop.cancel();
        job.stopped.cancelled().await;
    }
    assert_eq!(expired(&app).await, [(ann.id.0, -3)]);
    app.check_invariants().await;
}
