//! Privacy: what is kept about a person, as an archive for them, and its erasure.
//!
//! [`tables`] says what is personal where; [`export`] and [`anonymise`] do what it says. What always holds:
//!
//! - what is of others changes only where it can mean nobody but the person: [`needles`] knows what can, [`mentions`] where
//!   it is looked for, and what is not sure waits for somebody's word: [`near`];
//! - an anonymised person stays so, whatever else was on its way: `users_anonymised_stay_so`;
//! - the academic record and the ledgers keep every row;
//! - the audit log's chain stays whole: what is erased there is in it by salted digests alone, and the row that an
//!   anonymising leaves names each row that it erased.
//!
//! Lock order: the account before everything else.

mod anonymise;
mod export;
mod log;
mod mentions;
mod near;
mod needles;
pub mod tables;

use crate::http::Routes;

/// The endpoints of this domain.
pub fn routes() -> Routes {
    Routes::under("/api/users/users")
        .get("/me/export/", export::export, "Exports everything that is kept about the caller.")
        .post("/{id}/anonymise/", anonymise::anonymise, "Erases what is personal of a user, for good.")
}
