//! Awarding to an account and deducting from it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::handlers::GoldAccount;
use super::ledger::{self, Entry, EntryKind};
use super::store;
use crate::access::{Actor, Reach, may};
use crate::app::AppState;
use crate::http::{Answer, Done, Faults, PathId, Posted, Problem, Sight, find};
use crate::ids::Id;

/// The most that is moved at once.
pub(in crate::social) const MOST: i64 = 100_000;

/// How much, and what for.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(in crate::social) struct AwardFields {
    /// 1 to 100,000.
    #[schema(required)]
    pub(in crate::social) amount: Option<i64>,
    /// At most 255 characters; the student reads it.
    #[schema(required)]
    pub(in crate::social) reason: String,
    /// At most 20,000 characters; the student reads them too.
    pub(in crate::social) details: String,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Moved {
    /// `awarded` or `deducted`.
    status: &'static str,
    transaction_id: Id,
    new_balance: i64,
}

impl AwardFields {
    /// The entry that they make, once they are judged.
    pub(in crate::social) fn entry(&self, student: Id, kind: EntryKind) -> Entry {
        let (reason, details) = (self.reason.clone(), self.details.clone());
        Entry { student, kind, amount: self.amount.unwrap_or_default(), reason, details }
    }

    /// Adds what is wrong with them.
    pub(in crate::social) fn judge(&self, faults: &mut Faults) {
        match self.amount {
            None => faults.add("amount", "This field is required."),
            Some(amount) => faults.unless((1..=MOST).contains(&amount), "amount", amount_says()),
        }
        faults.name("reason", &self.reason, 255);
        faults.text("details", &self.details, 20_000);
    }
}

/// What an amount is, for people.
pub(in crate::social) fn amount_says() -> String {
    format!("A whole number from 1 to {MOST} is expected.")
}

/// `POST /{id}/award/`
pub(super) async fn award(
    actor: Actor<may::AwardGold>,
    State(app): State<AppState>,
    PathId(id): PathId,
    sent: Posted<AwardFields>,
) -> Answer<Done<Moved>> {
    go(&app, &actor, id, &sent, EntryKind::Award, "awarded").await
}

/// `POST /{id}/deduct/`
pub(super) async fn deduct(
    actor: Actor<may::AwardGold>,
    State(app): State<AppState>,
    PathId(id): PathId,
    sent: Posted<AwardFields>,
) -> Answer<Done<Moved>> {
    go(&app, &actor, id, &sent, EntryKind::Deduct, "deducted").await
}

async fn go(
    app: &AppState,
    actor: &Actor<may::AwardGold>,
    account: Id,
    Posted { body: fields, repeat }: &Posted<AwardFields>,
    kind: EntryKind,
    status: &'static str,
) -> Answer<Done<Moved>> {
    repeat
        .write(
            app,
            Some(actor.id()),
            |tx, _| {
                Box::pin(async move {
                    let account = find::<GoldAccount>(tx, actor, account, Sight::Visible).await?;
                    refuse_outsider(tx, actor, account.student.id).await
                })
            },
            |tx, _| {
                Box::pin(async move {
                    let mut faults = Faults::default();
                    fields.judge(&mut faults);
                    faults.check()?;
                    let student = find::<GoldAccount>(tx, actor, account, Sight::Visible).await?.student.id;
                    let entry = fields.entry(student, kind);
                    let made = ledger::post(tx, Some(actor), &[entry]).await?;
                    let made = made.first().ok_or_else(Problem::absent)?;
                    Done::with(&Moved { status, transaction_id: made.id, new_balance: made.balance_after })
                })
            },
        )
        .await
}

/// 403 unless the caller may award gold to this student.
pub(in crate::social) async fn refuse_outsider(
    tx: &mut PgConnection,
    actor: &Actor<may::AwardGold>,
    student: Id,
) -> Answer<()> {
    actor.decide_on(student)?;
    let reach = actor.scope();
    if reach.is_all() || (reach.covers(Reach::OWN_UNITS) && store::is_in_unit_of(tx, student, actor.id()).await?) {
        return Ok(());
    }
    Err(Problem::forbidden("Only the convenors of the student's units and staff may do this."))
}
