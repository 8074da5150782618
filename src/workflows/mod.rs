//! Workflows: automations outside that are called when something happens here.
//!
//! Owns `workflows`, `workflow_secrets`, `webhook_outbox` and `workflow_executions`; whoever causes a message writes it to
//! `webhook_outbox` in the transaction of the cause. What always holds, and where it is kept:
//!
//! - a message is sent at least once, each time under the same id, and never before its cause is committed: [`deliver()`]
//!   reads only committed rows, and a row is `delivered` in one statement with the call that succeeded;
//! - of the messages to a workflow about one object only the oldest that waits is sent: `store::lease`;
//! - every attempt is a row of the log, also that of a process that died: `store::lease` closes what it left;
//! - nothing is sent to a private address unless the operator allows its host: `guard`;
//! - every live workflow has a secret, and no more than two are valid: `definitions::secrets`.

mod ask;
mod circuits;
mod client;
mod definitions;
mod deliver;
mod executions;
mod guard;
mod messages;
mod sign;
mod store;

use crate::http::Routes;

pub(crate) use ask::{Question, ask};
pub use client::Outbound;
pub use deliver::deliver;
pub(crate) use messages::queue;
pub(crate) use store::forget_questions;

/// What a person asks the advisor. It is between the two: see [`forget_questions`].
pub(crate) const STUDENT_ASK: &str = "student.ask";

/// What workflows can listen to.
pub(crate) const TRIGGERS: &[&str] =
    &["enrollment.confirmed", "attendance.marked", "event.generate", "event.refine", STUDENT_ASK];

/// The endpoints of this domain.
pub fn routes() -> Routes {
    definitions::routes().and(executions::routes()).and(messages::routes())
}
