//! Gold accounts: a student's balance, and the ledger that it is the sum of.

mod award;
pub(crate) mod expire;
mod handlers;
pub(in crate::social) mod ledger;
mod store;

use crate::http::{Routes, list, show};

pub(in crate::social) use award::{AwardFields, amount_says, refuse_outsider};
pub use handlers::GoldAccount;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/social/social-gold")
        .get("/", list::<GoldAccount>, "Lists the gold accounts that the caller may see, their own first.")
        .get("/{id}/", show::<GoldAccount>, "Shows a gold account.")
        .post("/{id}/award/", award::award, "Awards gold to the student of an account.")
        .post("/{id}/deduct/", award::deduct, "Takes gold from an account, at most what it holds.")
}
