//! Gold: what students are awarded, what became of it, and what they earn with it.
//!
//! Owns `gold_accounts` (the rows are made with the student, by `users`), `gold_transactions`, `achievements` and
//! `student_achievements`. What always holds, and where it is kept:
//!
//! - every change of a balance is an entry of the ledger, made in the statement that changes the balance:
//!   `gold::ledger::post`, which everything goes through; entries are never changed, by a trigger;
//! - a balance is never negative: constraint `gold_accounts_balance_is_not_negative`; entries are numbered without a gap
//!   and each continues the one before: constraint `gold_transactions_are_numbered_once`, under the account's lock;
//! - an achievement is granted once, when `lifetime_earned` reaches its points: constraint
//!   `student_achievements_are_earned_once`; nobody is missed when an achievement changes while gold is awarded:
//!   `achievements::grants` says how.
//!
//! Lock order: achievement, the lock of `achievements::grants`, accounts by student.

pub mod achievements;
pub mod gold;
mod leaderboard;
pub mod student_achievements;
pub mod transactions;

use sqlx::{Postgres, QueryBuilder};

use crate::access::{Permission, Reach, Viewer};
use crate::http::Routes;
use crate::users::guardians;

/// The endpoints of this domain.
pub fn routes() -> Routes {
    gold::routes()
        .and(transactions::routes())
        .and(achievements::routes())
        .and(student_achievements::routes())
        .and(leaderboard::routes())
}

/// Adds ` and …` with the rows that this viewer may see, whose student is in this column: with the reach `own` one's own,
/// with `own_units` those of students with an enrolment in such a unit, with `children` those that a child lets them see.
fn push_visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, student: &str) {
    let reach = viewer.reach(Permission::ReadGold);
    if reach.is_all() {
        return;
    }
    sql.push(" and (false");
    if reach.covers(Reach::OWN) {
        sql.push(" or ").push(student).push(" = ").push_bind(viewer.caller_id());
    }
    if reach.covers(Reach::OWN_UNITS) {
        // An array is computed once, so that the index by student serves.
        sql.push(" or ").push(student);
        sql.push(
            " = any(array(select e.student_id
                            from enrollments e
                            join offerings o on o.id = e.offering_id
                           where e.deleted_at is null
                             and e.status <> 'WITHDRAWN'
                             and o.convenor_id = ",
        );
        sql.push_bind(viewer.caller_id()).push("))");
    }
    if reach.covers(Reach::CHILDREN) {
        sql.push(" or ");
        guardians::push_granted(sql, viewer.caller_id(), student, "gold");
    }
    sql.push(")");
}
