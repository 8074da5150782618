//! Asking for a new address, and confirming it.

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::store;
use crate::access::{Public, Viewer, tokens};
use crate::app::AppState;
use crate::http::{Answer, Json, NoContent, Origin, Page, Problem};
use crate::ids::Id;
use crate::users::{accounts, registrations};
use crate::{audit, db};

/// The token of a link.
#[derive(Deserialize, ToSchema, Default)]
#[serde(default)]
pub(super) struct ConfirmedEmail {
    #[schema(required)]
    token: String,
}

/// Lets a new address wait for its confirmation. The account is locked, and nothing waits for it.
pub(in crate::users) async fn ask(
    tx: &mut PgConnection,
    actor: &Viewer,
    user: Id,
    before: &str,
    wanted: &str,
) -> Answer<()> {
    store::wait_for(tx, user, wanted).await?;
    let (before, after) = (json!({ "email": before }), json!({ "email": wanted }));
    audit::record(tx, actor, "ask_for_email_change", "user", Some(user), &before, &after).await
}

/// Ends what waits for this account, if anything does.
pub(in crate::users) async fn cancel(tx: &mut PgConnection, actor: &Viewer, user: Id) -> Answer<()> {
    if store::end(tx, user).await?.is_some() {
        audit::note(tx, actor.caller_id(), &actor.origin, "end_email_change", "user", Some(user), &json!({})).await?;
    }
    Ok(())
}

/// `POST /api/users/email/confirm/`
pub(super) async fn confirm(
    _: Public,
    State(app): State<AppState>,
    origin: Origin,
    Json(sent): Json<ConfirmedEmail>,
) -> Answer<NoContent> {
    let token_hash = tokens::hash(&sent.token);
    let (origin, token_hash) = (&origin, token_hash.as_slice());
    let bad_link = || {
        Problem::invalid(
            "token",
            "This link is not valid: it was used, is too old, was cut off, or the account has changed since.",
        )
    };
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let Some(user) = store::holder(&mut *tx, token_hash).await? else {
                return registrations::confirm(tx, origin, token_hash).await?.map(|()| NoContent).ok_or_else(bad_link);
            };
            // As everything that writes an account: it first, then what hangs on it.
            accounts::lock(tx, user).await?;
            let (before, after) = store::redeem(tx, user, token_hash).await?.ok_or_else(bad_link)?;
            // Somebody may have got the address since it was asked for; then the link is not used up.
            store::set_email(tx, user, &after)
                .await
                .map_err(|error| Problem::from(error).explained(accounts::REFUSALS))?;
            let details = audit::difference(&json!({ "email": before }), &json!({ "email": after }));
            audit::note(tx, Some(user), origin, "confirm_email", "user", Some(user), &details).await?;
            Ok(NoContent)
        })
    })
    .await
}

/// `GET /confirm-email/` and `GET /confirm-email/{token}`: opening it confirms nothing, since programs open links too.
pub(super) async fn page(_: Public) -> Answer<Page> {
    Page::secret(include_str!("page.html"))
}
