//! Asking for a link, and using it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::store;
use crate::access::throttle::{self, Bucket};
use crate::access::{Public, passwords, tokens};
use crate::app::AppState;
use crate::http::{Accepted, Answer, Faults, Json, NoContent, Origin, Page, Problem};
use crate::users::{accounts, names, sessions};
use crate::{audit, db};

/// Whose password is to be set anew.
#[derive(Deserialize, ToSchema, Default)]
#[serde(default)]
pub(super) struct Forgotten {
    #[schema(required)]
    email: String,
}

/// The same for every address.
#[derive(Serialize, ToSchema)]
pub(super) struct OnItsWay {
    detail: &'static str,
}

/// The token of a link, and the new password.
#[derive(Deserialize, ToSchema, Default)]
#[serde(default)]
pub(super) struct Confirmed {
    #[schema(required)]
    token: String,
    #[schema(required)]
    new_password: String,
}

/// `POST /api/users/password-reset/`
///
/// Known and unknown addresses take the same statements, and the token is made when the mail is, so neither the answer
/// nor its time tells whether there is an account. What an unknown address would leave is taken back before the commit,
/// so that a stranger fills no table.
pub(super) async fn ask(
    _: Public,
    State(app): State<AppState>,
    origin: Origin,
    Json(sent): Json<Forgotten>,
) -> Answer<Accepted<OnItsWay>> {
    let email = sent.email.trim();
    let mut faults = Faults::default();
    faults.unless(!email.is_empty(), "email", "This field is required.");
    faults.text("email", email, 254);
    faults.check()?;
    let (origin, state, folded) = (&origin, &app, &names::fold(email));
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            throttle::charge(tx, Bucket::of_resets_from(origin.ip, &state.config)).await?;
            let user = store::account(tx, folded).await?;
            // Counted by the account, however its address is spelt. Beyond three in an hour the answer is the same, and no
            // mail is written.
            let counted = user.map_or_else(|| folded.clone(), |user| format!("#{user}"));
            let allowed = throttle::has_taken(tx, &Bucket::of_reset(&counted)).await?;
            store::begin(tx).await?;
            store::queue(tx, user, email).await?;
            audit::note(tx, user, origin, "ask_for_password_reset", "user", user, &json!({})).await?;
            store::end(tx, user.is_some() && allowed).await?;
            Ok(())
        })
    })
    .await?;
    Accepted::with(&OnItsWay { detail: "If an account has this address, a mail with a link is on its way." })
}

/// `POST /api/users/password-reset/confirm/`
pub(super) async fn confirm(
    _: Public,
    State(app): State<AppState>,
    origin: Origin,
    Json(sent): Json<Confirmed>,
) -> Answer<NoContent> {
    let token_hash = tokens::hash(&sent.token);
    let bad_link =
        || Problem::invalid("token", "This link is not valid: it was used, is older than an hour, or was cut off.");
    let user = store::holder(&mut *app.db.acquire().await?, &token_hash).await?.ok_or_else(bad_link)?;
    let owner = accounts::owner(&mut *app.db.acquire().await?, user).await?;
    let mut faults = Faults::default();
    passwords::check_rules(&mut faults, "new_password", &sent.new_password, &owner.about());
    faults.check()?;
    let place = app.hasher.line(origin.ip)?.place(Some(&format!("#{user}"))).await?;
    let hash = app.hasher.hash_new(place, "new_password", sent.new_password).await?;
    let (origin, hash, token_hash) = (&origin, hash.as_str(), token_hash.as_slice());
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            // Of two that use the link at once, the second finds it used.
            if !store::redeem(tx, token_hash).await? {
                return Err(bad_link());
            }
            accounts::set_password(tx, user, hash).await?;
            sessions::revoke_all(tx, user, None, "the password was set anew").await?;
            audit::note(tx, Some(user), origin, "reset_password", "user", Some(user), &json!({})).await?;
            Ok(NoContent)
        })
    })
    .await
}

/// `GET /reset/` and `GET /reset/{token}`: the page takes the token from its own address.
pub(super) async fn page(_: Public) -> Answer<Page> {
    Page::secret(include_str!("page.html"))
}
