//! Asking for a link, and using it.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::store;
use crate::access::throttle::{self, Bucket};
use crate::access::{Public, passwords, tokens};
use crate::app::AppState;
use crate::http::{Accepted, Answer, Answers, Faults, Json, NoContent, Notes, Origin, Problem, Schemas};
use crate::users::{accounts, sessions};
use crate::{audit, db};

/// Whose password is to be set anew.
#[derive(Deserialize, ToSchema, Default)]
#[serde(default)]
pub(super) struct Forgotten {
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
    token: String,
    new_password: String,
}

/// `POST /api/users/password-reset/`
///
/// Known and unknown addresses take the same statements, and the token is made when the mail is, so neither the answer
/// nor its time tells whether there is an account.
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
    let origin = &origin;
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            // Beyond three in an hour the answer is the same, and no mail is written.
            let allowed = throttle::has_taken(tx, &Bucket::of_reset(email)).await?;
            let user = store::queue(tx, email, allowed).await?;
            audit::note(tx, user, origin, "ask_for_password_reset", "user", user, &json!({})).await?;
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
    passwords::check(&mut faults, "new_password", &sent.new_password, &owner.about());
    faults.check()?;
    let hash = app.hasher.hash(sent.new_password).await?;
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

/// A page of ours that the link of a mail leads to.
pub(in crate::users) struct Page(Response);

impl Page {
    pub(in crate::users) fn of(html: &'static str) -> Self {
        let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                 frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            ),
        );
        // The address holds the token: it goes to nobody, and no cache keeps it.
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self(response)
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Answers for Page {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.answers(200, "The page.", "text/html", Some(json!({ "type": "string" })));
    }
}

/// `GET /reset/` and `GET /reset/{token}`: the page takes the token from its own address.
pub(super) async fn page(_: Public) -> Answer<Page> {
    Ok(Page::of(include_str!("page.html")))
}
