//! Logging in and out.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::store::{self, Account};
use crate::access::throttle::{self, Bucket};
use crate::access::tokens::{self, Kind};
use crate::access::{Public, passwords};
use crate::app::AppState;
use crate::http::{Answer, Done, Faults, Json, NoContent, Origin, Problem};
use crate::ids::Id;
use crate::{audit, db};

/// Who logs in. One of `email` and `username` is needed.
#[derive(Deserialize, ToSchema)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Credentials {
    /// Without regard to case.
    email: String,
    /// The user name, or the mail address.
    username: String,
    password: String,
}

/// The tokens of a new session.
#[derive(Serialize, ToSchema)]
pub(super) struct Pair {
    /// Sent with requests as `Authorization: Bearer …`.
    access: String,
    /// Exchanged for new access tokens for 24 hours.
    refresh: String,
}

/// A refresh token.
#[derive(Deserialize, ToSchema, Default)]
#[serde(default)]
pub(super) struct Refresh {
    refresh: String,
}

/// A token of either kind.
#[derive(Deserialize, ToSchema, Default)]
#[serde(default)]
pub(super) struct Token {
    token: String,
}

/// A new access token, and with `REFRESH_ROTATION` a new refresh token.
#[derive(Serialize, ToSchema)]
pub(super) struct Refreshed {
    access: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
}

/// Nothing: the token is good.
#[derive(Serialize, ToSchema)]
pub(super) struct Good {}

/// `POST /api/token/`
pub(super) async fn log_in(
    _: Public,
    State(app): State<AppState>,
    origin: Origin,
    Json(credentials): Json<Credentials>,
) -> Answer<Done<Pair>> {
    enter(&app, &origin, credentials).await
}

/// `POST /api/token/compat/`
pub(super) async fn log_in_compat(
    _: Public,
    State(app): State<AppState>,
    origin: Origin,
    Json(credentials): Json<Credentials>,
) -> Answer<Done<Pair>> {
    enter(&app, &origin, credentials).await
}

/// The same answer, in the same time, for an unknown account, a wrong password and an inactive account.
async fn enter(app: &AppState, origin: &Origin, credentials: Credentials) -> Answer<Done<Pair>> {
    let by_email = !credentials.email.trim().is_empty();
    let name = if by_email { credentials.email.trim() } else { credentials.username.trim() }.to_owned();
    let mut faults = Faults::default();
    faults.unless(!name.is_empty(), "email", "This field is required.");
    faults.unless(!credentials.password.is_empty(), "password", "This field is required.");
    faults.check()?;

    // A place first: whoever is refused for lack of one has not used up an attempt.
    let place = app.hasher.place()?;
    let account = store::account(&app.db, &name, by_email, &throttle::address_hash(origin.ip)).await?;
    let known_address = account.as_ref().is_some_and(|account| account.known_address);
    let subject = account.as_ref().map_or_else(|| name.to_lowercase(), |account| format!("#{}", account.id));
    let buckets = Bucket::of_log_in(&subject, origin.ip, known_address);
    throttle::take(&app.db, &buckets).await?;

    let hash = account.as_ref().map(|account| account.password_hash.clone());
    let fits = match app.hasher.verify(place, credentials.password.clone(), hash).await {
        Ok(fits) => fits,
        Err(busy) => {
            let buckets = &buckets;
            db::write(&app.db, |tx, _| Box::pin(throttle::give_back(tx, buckets))).await?;
            return Err(busy);
        }
    };
    match account {
        Some(account) if fits && account.is_active => {
            let dated = passwords::is_dated(&account.password_hash);
            let new_hash = if dated { app.hasher.hash(credentials.password).await.ok() } else { None };
            open_session(app, origin, &account, &buckets, new_hash.as_deref()).await
        }
        _ => {
            tracing::info!(ip = %origin.ip, "a log-in failed");
            Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "no_active_account",
                "No active account found with the given credentials",
            ))
        }
    }
}

async fn open_session(
    app: &AppState,
    origin: &Origin,
    account: &Account,
    buckets: &[Bucket],
    new_hash: Option<&str>,
) -> Answer<Done<Pair>> {
    let now = app.clock.now();
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            throttle::give_back(tx, buckets).await?;
            let session = store::next_session(tx).await?;
            let refresh = app.tokens.make(Kind::Refresh, account.id, session, now)?;
            store::open(tx, session, account.id, &tokens::hash(&refresh), origin).await?;
            store::remember(tx, account.id, &throttle::address_hash(origin.ip), new_hash).await?;
            audit::note(tx, Some(account.id), origin, "log_in", "session", Some(session), &json!({})).await?;
            Done::with(&Pair { access: app.tokens.make(Kind::Access, account.id, session, now)?, refresh })
        })
    })
    .await
}

/// `POST /api/token/refresh/`
pub(super) async fn refresh(
    _: Public,
    State(app): State<AppState>,
    Json(sent): Json<Refresh>,
) -> Answer<Done<Refreshed>> {
    let now = app.clock.now();
    let claims = app.tokens.refresh(&sent.refresh, now)?;
    let hash = tokens::hash(&sent.refresh);
    if !app.config.refresh_rotation {
        if !store::refresh(&app.db, claims.session, claims.user_id, &hash).await? {
            return Err(Problem::bad_token());
        }
        let access = app.tokens.make(Kind::Access, claims.user_id, claims.session, now)?;
        return Done::with(&Refreshed { access, refresh: None });
    }
    let new = app.tokens.make(Kind::Refresh, claims.user_id, claims.session, now)?;
    if store::rotate(&app.db, claims.session, claims.user_id, &hash, &tokens::hash(&new)).await? {
        let access = app.tokens.make(Kind::Access, claims.user_id, claims.session, now)?;
        return Done::with(&Refreshed { access, refresh: Some(new) });
    }
    // A token of ours that was exchanged before: it is in two hands, and one of them is a thief's.
    store::revoke(&app.db, claims.session, "a refresh token was used twice").await?;
    Err(Problem::bad_token())
}

/// `POST /api/token/verify/`
pub(super) async fn verify(_: Public, State(app): State<AppState>, Json(sent): Json<Token>) -> Answer<Done<Good>> {
    let claims = app.tokens.read(&sent.token, app.clock.now()).ok_or_else(Problem::bad_token)?;
    if store::is_live(&app.db, claims.session, claims.user_id).await? {
        return Done::with(&Good {});
    }
    Err(Problem::bad_token())
}

/// `POST /api/token/logout/`
pub(super) async fn log_out(
    _: Public,
    State(app): State<AppState>,
    origin: Origin,
    Json(sent): Json<Refresh>,
) -> Answer<NoContent> {
    let claims = app.tokens.refresh(&sent.refresh, app.clock.now())?;
    let (user, session): (Id, Id) = (claims.user_id, claims.session);
    let origin = &origin;
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            if store::revoke(&mut *tx, session, "logged out").await? {
                audit::note(tx, Some(user), origin, "log_out", "session", Some(session), &json!({})).await?;
            }
            Ok(NoContent)
        })
    })
    .await
}
