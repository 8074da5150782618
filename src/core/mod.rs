//! What happens around teaching: notifications.
//!
//! Owns `notifications`: what a person is told, written in the transaction of its cause.

pub mod notifications;

use crate::http::Routes;

/// The endpoints of this domain.
pub fn routes() -> Routes {
    notifications::routes()
}
