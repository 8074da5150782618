//! Gold: accounts, the ledger, achievements, the leaderboard.

mod achievements;
mod expiry;
mod gold;
mod imports;
mod leaderboard;
mod ledger;
mod transactions;

use serde_json::json;
use swincms::ids::Id;

use crate::support::{Person, Reply, TestApp};

pub(crate) const ACCOUNTS: &str = "/api/social/social-gold/";
pub(crate) const TRANSACTIONS: &str = "/api/social/transactions/";
pub(crate) const ACHIEVEMENTS: &str = "/api/social/achievements/";
pub(crate) const EARNED: &str = "/api/social/student-achievements/";

/// The account of this student.
pub(crate) async fn account(app: &TestApp, student: Id) -> Id {
    let sql = sqlx::query_scalar!("select id from gold_accounts where student_id = $1", student.0);
    Id(sql.fetch_one(&app.db).await.unwrap())
}

/// `award` or `deduct`, on this account.
pub(crate) async fn go(who: &Person, account: Id, verb: &str, amount: i64) -> Reply {
    who.post(&format!("{ACCOUNTS}{account}/{verb}/"), &json!({ "amount": amount, "reason": "Fair" })).await
}

/// What the student has, and was ever awarded.
async fn has(app: &TestApp, student: Id) -> (i64, i64) {
    let sql =
        sqlx::query!("select current_balance, lifetime_earned from gold_accounts where student_id = $1", student.0);
    let row = sql.fetch_one(&app.db).await.unwrap();
    (row.current_balance, row.lifetime_earned)
}

/// A convenor and a student who sits in one of their units, in this state.
async fn convenor_of(app: &TestApp, student: &Person, status: &str) -> Person {
    let convenor = app.convenor().await;
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    app.enrollment(student.id, offering, status).await;
    convenor
}

/// A parent whom the student lets see this.
async fn parent_of(app: &TestApp, student: &Person, scope: &str) -> Person {
    let parent = app.parent().await;
    let sql = sqlx::query!(
        "with guardian as (insert into guardians (user_id) values ($1) returning id),
              child as (insert into guardian_students (guardian_id, student_id) select id, $2 from guardian)
         insert into guardian_grants (guardian_id, student_id, scopes) select id, $2, array[$3] from guardian",
        parent.id.0,
        student.id.0,
        scope
    );
    sql.execute(&app.db).await.unwrap();
    parent
}
