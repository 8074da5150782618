//! The entries of the ledger. They are added to and never changed: a mistake is made good by another entry.

mod award;
mod handlers;
mod import;
mod store;

use crate::http::{Routes, list, show};

pub use handlers::GoldTransaction;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/social/transactions")
        .get("/", list::<GoldTransaction>, "Lists the entries of the ledger that the caller may see, newest first.")
        .post("/award/", award::award, "Awards gold to a student.")
        .post("/import-csv/", import::import_csv, "Awards gold to many students by a CSV file, all of it or nothing.")
        .get("/{id}/", show::<GoldTransaction>, "Shows an entry of the ledger.")
}
