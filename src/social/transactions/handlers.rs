//! What an entry of the ledger is on the wire.

use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Viewer, may};
use crate::http::{Filter, Kind, Listing, Ordering, Resource};
use crate::ids::{Id, Moment};
use crate::social::gold::ledger::EntryKind;
use crate::social::push_visible;
use crate::users::accounts::UserBrief;

/// A row of [`store::SELECT`].
#[derive(Debug, FromRow)]
pub struct GoldTransactionRow {
    id: Id,
    student: Json<UserBrief>,
    amount: i64,
    transaction_type: EntryKind,
    reason: String,
    details: String,
    balance_after: i64,
    awarded_by: Option<Json<UserBrief>>,
    created_at: Moment,
}

/// An entry of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub struct GoldTransaction {
    id: Id,
    student: UserBrief,
    /// Negative when it was taken (`DEDUCT`, `EXPIRE`).
    amount: i64,
    transaction_type: EntryKind,
    reason: String,
    details: String,
    /// The student's balance with this entry.
    balance_after: i64,
    /// Null when the server did it.
    awarded_by: Option<UserBrief>,
    created_at: Moment,
}

impl Resource for GoldTransaction {
    type Row = GoldTransactionRow;
    type Shown = Self;
    type Reader = Actor<may::ReadGold>;

    const NAME: &'static str = "gold_transaction";
    const TABLE: &'static str = "gold_transactions";
    const ALIAS: &'static str = "t";
    // Nothing is ever deleted.
    const LIVE: &'static str = "true";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("student", "t.student_id", Kind::Id),
            Filter::new("transaction_type", "t.transaction_type", Kind::OneOf(EntryKind::NAMES)),
            Filter::new("awarded_by", "t.awarded_by_id", Kind::Id),
            Filter::new("from", "t.created_at", Kind::From),
            Filter::new("to", "t.created_at", Kind::To),
        ],
        orderings: &[Ordering::new("created_at", "t.created_at", "timestamptz")],
        default: "-created_at",
        search: None,
        updated_at: Some("t.created_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        push_visible(sql, viewer, "t.student_id");
    }

    fn shown(row: GoldTransactionRow, viewer: &Viewer) -> Self {
        Self {
            id: row.id,
            student: row.student.0.seen(viewer),
            amount: row.amount,
            transaction_type: row.transaction_type,
            reason: row.reason,
            details: row.details,
            balance_after: row.balance_after,
            awarded_by: row.awarded_by.map(|by| by.0.seen(viewer)),
            created_at: row.created_at,
        }
    }
}
