//! The ledger: the one way in which a balance changes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::store;
use crate::access::Viewer;
use crate::audit;
use crate::http::{Answer, Problem};
use crate::ids::Id;
use crate::social::achievements::grants;

/// What kind of entry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub(in crate::social) enum EntryKind {
    /// Given for something.
    Award,
    /// Taken away.
    Deduct,
    /// Gone because it was not spent in time.
    Expire,
    /// Given on top.
    Bonus,
}

impl EntryKind {
    /// All of them, as they are spelt.
    pub(in crate::social) const NAMES: &'static [&'static str] = &["AWARD", "DEDUCT", "EXPIRE", "BONUS"];

    /// As it is spelt.
    pub(in crate::social) fn name(self) -> &'static str {
        match self {
            Self::Award => "AWARD",
            Self::Deduct => "DEDUCT",
            Self::Expire => "EXPIRE",
            Self::Bonus => "BONUS",
        }
    }

    /// What is done with it, as the audit log names it.
    fn action(self) -> &'static str {
        match self {
            Self::Award | Self::Bonus => "award",
            Self::Deduct => "deduct",
            Self::Expire => "expire",
        }
    }

    fn gives(self) -> bool {
        matches!(self, Self::Award | Self::Bonus)
    }
}

/// Something to be entered.
#[derive(Debug, Clone)]
pub(in crate::social) struct Entry {
    pub(in crate::social) student: Id,
    pub(in crate::social) kind: EntryKind,
    /// More than 0, also when it is taken away.
    pub(in crate::social) amount: i64,
    pub(in crate::social) reason: String,
    pub(in crate::social) details: String,
}

impl Entry {
    /// What the balance changes by.
    pub(super) fn signed(&self) -> i64 {
        if self.kind.gives() { self.amount } else { -self.amount }
    }

    pub(super) fn kind_name(&self) -> &'static str {
        self.kind.name()
    }

    fn audited(&self) -> Value {
        json!({
            "student": self.student, "amount": self.signed(), "transaction_type": self.kind.name(),
            "reason": self.reason, "details": self.details,
        })
    }
}

/// An entry that was made.
#[derive(Debug, Clone, Copy)]
pub(in crate::social) struct Made {
    /// The transaction.
    pub(in crate::social) id: Id,
    pub(in crate::social) balance_after: i64,
    /// The student's, after all that was entered with it.
    pub(in crate::social) lifetime_earned: i64,
}

/// Enters all of this, or nothing, in the order given; with it go the achievements that are reached now and the rows in
/// the audit log. Without a caller it is the server itself who gives or takes.
///
/// The accounts are held first, in the order of students, so that whoever enters something for the same ones waits here.
///
/// # Errors
/// 400 when a student has no account, 409 when one does not hold what is to be taken.
pub(in crate::social) async fn post(
    tx: &mut PgConnection,
    by: Option<&Viewer>,
    entries: &[Entry],
) -> Answer<Vec<Made>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let students: Vec<Id> = entries.iter().map(|entry| entry.student).collect();
    hold(tx, &students).await?;
    let mut balances: HashMap<Id, i64> = store::balances(tx, &students).await?.into_iter().collect();
    for entry in entries {
        let Some(balance) = balances.get_mut(&entry.student) else { return Err(unknown(entry.student)) };
        if *balance + entry.signed() < 0 {
            let says = format!("The balance is {balance}, so {} cannot be taken from it.", entry.amount);
            return Err(Problem::conflict("not_enough_gold", says).with("current_balance", *balance));
        }
        *balance += entry.signed();
    }
    let made = store::append(tx, by.and_then(Viewer::caller_id), entries).await?;
    record(tx, by, entries, &made).await?;
    if entries.iter().any(|entry| entry.kind.gives()) {
        grants::to_students(tx, by, &students).await?;
    }
    Ok(made)
}

/// Holds the accounts of these students until the transaction ends.
pub(in crate::social) async fn hold(tx: &mut PgConnection, students: &[Id]) -> Answer<()> {
    grants::while_awarding(tx).await?;
    Ok(store::hold(tx, students).await?)
}

/// 400: nobody of this id has an account.
pub(in crate::social) fn unknown(student: Id) -> Problem {
    Problem::invalid("student_id", format!("There is no student with the id {student}."))
}

/// A row in the audit log for each entry.
async fn record(tx: &mut PgConnection, by: Option<&Viewer>, entries: &[Entry], made: &[Made]) -> Answer<()> {
    for action in ["award", "deduct", "expire"] {
        let of_it = entries.iter().zip(made).filter(|(entry, _)| entry.kind.action() == action);
        let changes: Vec<(Id, Value, Value)> =
            of_it.map(|(entry, made)| (made.id, Value::Null, entry.audited())).collect();
        if changes.is_empty() {
            continue;
        }
        match by {
            Some(by) => audit::record_all(tx, by, action, "gold_transaction", &changes).await?,
            None => audit::of_a_job(tx, action, "gold_transaction", &changes).await?,
        }
    }
    Ok(())
}
