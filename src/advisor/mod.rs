//! The advisor: answers questions of a person about their own studies.
//!
//! It asks the active workflow for `student.ask`; without one the OpenAI-compatible endpoint or Gemini of the operator's
//! settings; with neither it answers itself from the caller's records what the app suggests to ask (`topics`, `answers`). Owns
//! no table. What leaves the house, and where that is kept:
//!
//! - a workflow gets the person's mail address, the question and the turns before it ([`chat`]);
//! - an endpoint gets the question, the turns before it, and of the person's own records unit codes and names, grades, credit
//!   points and their mean, units to take and required, classes, visible events and gold (`records`): nothing of anyone else;
//!   and of the person's name, addresses and numbers nothing, not even where a question or an event names them (`redact`).

mod answers;
mod chat;
mod endpoint;
mod records;
mod redact;
mod store;
mod topics;

use crate::http::Routes;

pub use endpoint::Endpoint;

/// The endpoints of this domain.
pub fn routes() -> Routes {
    Routes::under("/api/askai")
        .post("/chat/", chat::chat, "Answers a question about the caller's own studies.")
        .counts_nothing("Questions have a bucket of their own: ten, and one more every six seconds.")
        .refuses(429, "The caller has asked too much; see Retry-After.")
        .refuses(502, "The advisor failed, or its answer is unusable.")
        .refuses(504, "The advisor did not answer in time.")
}
