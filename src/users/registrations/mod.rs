//! Registrations that wait until whoever reads the mail of their address has confirmed it (`REGISTRATION=confirmed`).
//!
//! Nothing of them is in `users` before, so nobody meets an account that nobody may own, and the sweep removes rows that nothing
//! refers to. Several may wait for one address, each with a link of its own: no stranger can end another's.

mod store;

use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;

pub(super) use store::keep_token;

use crate::access::throttle::{self, Bucket};
use crate::app::AppState;
use crate::audit;
use crate::http::{Accepted, Answer, Origin, Repeat};
use crate::ids::Id;
use crate::users::{accounts, names};

/// Who registers, with the hash of the password.
pub(super) struct Registration {
    pub(super) email: String,
    pub(super) username: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) password_hash: String,
}

/// The same for every address.
#[derive(Serialize, ToSchema)]
pub(super) struct Waiting {
    detail: &'static str,
}

/// Lets a registration wait, and mails the link; to an address that has an account, that it has one. The answer does not tell
/// which, and either way it counts with the links for a new password: an address gets three mails in an hour.
pub(super) async fn wait(
    app: &AppState,
    repeat: &Repeat,
    caller: Option<Id>,
    asked: &Registration,
) -> Answer<Accepted<Waiting>> {
    let folded = &names::fold(&asked.email);
    repeat
        .write(
            app,
            caller,
            |_, _| Box::pin(async { Ok(()) }),
            |tx, _| {
                Box::pin(async move {
                    let owner = store::owner(tx, folded).await?;
                    let counted = owner.map_or_else(|| folded.clone(), |user| format!("#{user}"));
                    if throttle::has_taken(tx, &Bucket::of_reset(&counted)).await? {
                        match owner {
                            Some(user) => store::tell_owner(tx, user).await?,
                            None => store::add(tx, asked).await?,
                        }
                    }
                    Accepted::with(&Waiting { detail: "A mail with a link is on its way to this address. The account can be used once the link has been followed." })
                })
            },
        )
        .await
}

/// Makes the account whose link this token is of; nothing without such a link.
pub(super) async fn confirm(tx: &mut PgConnection, origin: &Origin, token_hash: &[u8]) -> Answer<Option<()>> {
    let Some(confirmed) = store::redeem(tx, token_hash).await? else { return Ok(None) };
    let user = accounts::add_confirmed(tx, origin, confirmed).await?;
    audit::note(tx, Some(user), origin, "confirm_email", "user", Some(user), &json!({})).await?;
    Ok(Some(()))
}
