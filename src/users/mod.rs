//! People: accounts, log-in, sessions, roles, students.

pub mod mail;

use crate::http::Routes;

/// The endpoints of this domain.
pub fn routes() -> Routes {
    Routes::default()
}
