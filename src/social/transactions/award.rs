//! Awarding gold to a student who is named in the body.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Permission, may};
use crate::app::AppState;
use crate::http::{Answer, Created, Faults, Posted, Problem};
use crate::ids::{Id, or_null};
use crate::social::gold::ledger::{self, EntryKind};
use crate::social::gold::{AwardFields, refuse_outsider};

/// What is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum AwardKind {
    /// For something.
    #[default]
    Award,
    /// On top.
    Bonus,
}

impl From<AwardKind> for EntryKind {
    fn from(kind: AwardKind) -> Self {
        match kind {
            AwardKind::Award => Self::Award,
            AwardKind::Bonus => Self::Bonus,
        }
    }
}

/// Gold for a student.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct NewAward {
    /// The student's user id.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    student_id: Option<Id>,
    transaction_type: AwardKind,
    /// 1 to 100,000.
    #[schema(required)]
    amount: Option<i64>,
    /// At most 255 characters; the student reads it.
    #[schema(required)]
    reason: String,
    /// At most 20,000 characters; the student reads them too.
    details: String,
}

/// What was entered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Awarded {
    transaction_id: Id,
    student_id: Id,
    new_balance: i64,
    lifetime_earned: i64,
}

/// `POST /award/`
pub(super) async fn award(
    actor: Actor<may::AwardGold>,
    State(app): State<AppState>,
    Posted { body: award, repeat }: Posted<NewAward>,
) -> Answer<Created<Awarded>> {
    let fields = AwardFields { amount: award.amount, reason: award.reason, details: award.details };
    let (student, kind) = (award.student_id, award.transaction_type.into());
    let (actor, fields) = (&actor, &fields);
    repeat
        .write(
            &app,
            Some(actor.id()),
            |tx, _| Box::pin(allowed(tx, actor, student)),
            |tx, _| {
                Box::pin(async move {
                    let mut faults = Faults::default();
                    faults.unless(student.is_some(), "student_id", "This field is required.");
                    fields.judge(&mut faults);
                    faults.check()?;
                    let student = student.unwrap_or_default();
                    let entry = fields.entry(student, kind);
                    let made = ledger::post(tx, Some(actor), &[entry]).await?;
                    let made = made.first().ok_or_else(Problem::absent)?;
                    Created::with(&Awarded {
                        transaction_id: made.id,
                        student_id: student,
                        new_balance: made.balance_after,
                        lifetime_earned: made.lifetime_earned,
                    })
                })
            },
        )
        .await
}

/// 403 unless the caller may award gold to this student; 400 for one whom the caller cannot see. One who is not there is
/// left to the ledger.
async fn allowed(tx: &mut PgConnection, actor: &Actor<may::AwardGold>, student: Option<Id>) -> Answer<()> {
    let Some(student) = student else { return Ok(()) };
    actor.decide_on(student)?;
    let Err(refusal) = refuse_outsider(tx, actor, student).await else { return Ok(()) };
    let seen = actor.reach(Permission::ReadUsers).is_all() && store::has_account(tx, student).await?;
    Err(if seen { refusal } else { ledger::unknown(student) })
}
