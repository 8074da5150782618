//! What happens around teaching.

mod notifications;
