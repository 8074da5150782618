//! What a gold account is on the wire.

use serde::Serialize;
use sqlx::{FromRow, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Viewer, may};
use crate::http::{Filter, Kind, Listing, Ordering, Resource};
use crate::ids::{Id, Moment};
use crate::social::push_visible;
use crate::users::accounts::UserBrief;

/// What a student has.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct GoldAccount {
    id: Id,
    #[sqlx(json)]
    pub(super) student: UserBrief,
    /// What can be spent; never negative.
    current_balance: i64,
    /// All that was ever awarded, whatever became of it; achievements go by it.
    lifetime_earned: i64,
    updated_at: Moment,
}

impl Resource for GoldAccount {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadGold>;

    const NAME: &'static str = "gold_account";
    const TABLE: &'static str = "gold_accounts";
    const ALIAS: &'static str = "a";
    const LIVE: &'static str = "a.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[Filter::new("student", "a.student_id", Kind::Id)],
        orderings: &[
            Ordering::new("own", "(a.student_id <> {caller})", "bool"),
            Ordering::new("lifetime_earned", "a.lifetime_earned", "int8"),
            Ordering::new("updated_at", "a.updated_at", "timestamptz"),
        ],
        // One's own first.
        default: "own",
        search: None,
        updated_at: Some("a.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        push_visible(sql, viewer, "a.student_id");
    }

    fn shown(row: Self, viewer: &Viewer) -> Self {
        Self { student: row.student.seen(viewer), ..row }
    }
}
