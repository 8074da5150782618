//! People: accounts, log-in, sessions, password resets, roles, student profiles, guardians, scholarships.
//!
//! Owns `users`, `sessions`, `password_reset_tokens`, `email_changes`, `registrations`, `login_addresses`, `roles`, `user_roles`, `student_profiles`,
//! `guardians`, `guardian_students`, `guardian_grants`, `scholarships`, `scholarship_applications`, their files and the
//! queue `mail_outbox`; makes the row of `gold_accounts` that every student has. What always holds, and where:
//!
//! - an address or user name names one account: `users_email_is_unique`, `users_username_is_unique`; and no user name
//!   looks like another's: [`names`], `users_username_looks_like_no_other`;
//! - nobody but an administrator changes what gives rights: [`accounts`] keeps what a person writes of themselves
//!   (`Profile`) and what administrators write (`Standing`) in two types;
//! - a new address counts when it was confirmed: [`email_change`]; where registering asks for it, so does the first:
//!   [`registrations`];
//! - a token is as good as its session: `access::caller` asks on every request;
//! - a guardian sees of a student what the student has granted, and nothing else but the name: [`guardians`];
//! - no scholarship is awarded more often than it may be: [`scholarships`];
//! - users are never removed: they are deactivated, and their sessions revoked.
//!
//! Lock order: user, session.

pub mod accounts;
mod email_change;
pub(crate) mod guardians;
pub mod log_in;
pub mod mail;
pub mod names;
pub(crate) mod naming;
mod registrations;
pub mod reset;
pub mod roles;
mod scholarship_applications;
mod scholarships;
pub mod sessions;
pub mod student_profiles;

use crate::http::Routes;

/// The endpoints of this domain.
pub fn routes() -> Routes {
    log_in::routes()
        .and(accounts::routes())
        .and(reset::routes())
        .and(email_change::routes())
        .and(sessions::routes())
        .and(roles::routes())
        .and(student_profiles::routes())
        .and(guardians::routes())
        .and(scholarships::routes())
        .and(scholarship_applications::routes())
}
