//! Who may: permissions, the caller of a request, tokens, passwords, and limits on guessing.
//!
//! Every handler's first argument is an [`Access`]: [`Public`], [`Visitor`], [`Actor`] or [`FromN8n`]. Without one it is not an
//! endpoint and does not compile (`http::routes`).

mod caller;
pub mod guesses;
pub(crate) mod keys;
pub mod passwords;
mod permission;
pub mod throttle;
pub mod tokens;

pub use caller::{Access, Actor, Caller, FromN8n, Public, Viewer, Visitor};
pub(crate) use caller::{refuse_own_case, refuse_weaker, standing};
pub use permission::{Decides, Grants, Need, Permission, Reach, UserType, may, parse};
