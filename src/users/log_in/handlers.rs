//! Logging in and out.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::store::{self, Account};
use crate::access::Public;
use crate::access::passwords::{self, Fit};
use crate::access::throttle::{self, Attempt, Bucket};
use crate::access::tokens::{self, Claims, Kind};
use crate::app::AppState;
use crate::http::{Answer, Done, Faults, Json, NoContent, Origin, Problem};
use crate::ids::Id;
use crate::users::names;
use crate::{audit, db};

/// Who logs in. One of `email` and `username` is needed.
#[derive(Deserialize, ToSchema)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Credentials {
    /// The mail address without regard to case, or the user name.
    email: String,
    /// The same, for who sends it under this name.
    username: String,
    #[schema(required)]
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
    #[schema(required)]
    refresh: String,
}

/// A token of either kind.
#[derive(Deserialize, ToSchema, Default)]
#[serde(default)]
pub(super) struct Token {
    #[schema(required)]
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
    counted(&app, enter(&app, &origin, credentials).await)
}

/// `POST /api/token/compat/`
pub(super) async fn log_in_compat(
    _: Public,
    State(app): State<AppState>,
    origin: Origin,
    Json(credentials): Json<Credentials>,
) -> Answer<Done<Pair>> {
    counted(&app, enter(&app, &origin, credentials).await)
}

/// The same answer, counted.
fn counted(app: &AppState, answer: Answer<Done<Pair>>) -> Answer<Done<Pair>> {
    app.metrics.log_ins.count(match &answer {
        Ok(_) => "ok",
        Err(problem) if problem.status() == StatusCode::TOO_MANY_REQUESTS => "throttled",
        Err(problem) if problem.status().is_server_error() => "failed",
        Err(_) => "refused",
    });
    answer
}

/// The same answer, in the same time, for an unknown account, a wrong password and an inactive account.
async fn enter(app: &AppState, origin: &Origin, credentials: Credentials) -> Answer<Done<Pair>> {
    let sent = [credentials.email.trim(), credentials.username.trim()];
    let name = names::fold(sent.into_iter().find(|name| !name.is_empty()).unwrap_or_default());
    let mut faults = Faults::default();
    faults.unless(!name.is_empty(), "email", "This field is required.");
    faults.unless(!credentials.password.is_empty(), "password", "This field is required.");
    faults.check()?;

    // The line first: whoever is refused for its length has cost nothing and not used up an attempt.
    let line = app.hasher.line(origin.ip)?;
    let account = store::account(&mut *app.db.acquire().await?, &name, &throttle::address_hash(origin.ip)).await?;
    let from_known = account.as_ref().is_some_and(|account| account.known_address);
    let subject = account.as_ref().map_or_else(|| name.clone(), |account| format!("#{}", account.id));
    let attempt = Attempt::new(&subject, origin.ip, from_known);
    // An inactive account's password is not looked at: the right one counts as a failure, like any other.
    let hash = account.as_ref().filter(|account| account.is_active).map(|account| account.password_hash.clone());
    let fits = throttle::guess(app, &attempt, line, credentials.password.clone(), hash).await?;
    if let Some(account) = account.filter(|_| fits.is_right()) {
        let dated = passwords::is_dated(&account.password_hash) || fits == Fit::OnlyAsTyped;
        let new_hash = if dated { hashed_anew(app, origin, &subject, credentials.password).await.ok() } else { None };
        match open_session(app, origin, &account, new_hash.as_deref()).await {
            Ok(Some(pair)) => return Ok(pair),
            Ok(None) => {}
            Err(problem) if problem.cannot_write() => return enter_unstored(app, origin, &account),
            Err(problem) => return Err(problem),
        }
    }
    tracing::info!(ip = %origin.ip, "a log-in failed");
    Err(Problem::new(
        StatusCode::UNAUTHORIZED,
        "no_active_account",
        "No active account found with the given credentials",
    ))
}

/// Tokens that no session stands for, while the database cannot be written: the password was right, and reading goes on. The
/// access token is short-lived; the refresh token gives new ones for as long as nothing can be written, and then the person
/// logs in again, which leaves a session and a line of the audit log.
fn enter_unstored(app: &AppState, origin: &Origin, account: &Account) -> Answer<Done<Pair>> {
    let (now, version) = (app.clock.now(), account.security_version);
    let make = |kind| app.tokens.make_unstored(kind, account.id, version, now);
    tracing::warn!(ip = %origin.ip, user = %account.id, "a log-in that cannot be stored: the database cannot be written");
    Done::with(&Pair { access: make(Kind::Access)?, refresh: make(Kind::Refresh)? })
}

/// A new access token for such a log-in, as long as nothing can be written.
async fn refresh_unstored(app: &AppState, user: Id, version: i64) -> Answer<Done<Refreshed>> {
    let found = store::unstored(&mut *app.db.acquire().await?, user, version).await?;
    if !found.stands || !(found.read_only || app.database.is_full()) {
        return Err(Problem::bad_token());
    }
    let access = app.tokens.make_unstored(Kind::Access, user, version, app.clock.now())?;
    Done::with(&Refreshed { access, refresh: None })
}

/// A new access token of a live session whose refresh token cannot be exchanged, since nothing can be written.
async fn refresh_unwritten(app: &AppState, claims: &Claims, hash: &[u8]) -> Answer<Done<Refreshed>> {
    if !store::may_refresh(&mut *app.db.acquire().await?, claims.session, claims.user_id, hash).await? {
        return Err(Problem::bad_token());
    }
    let access = app.tokens.make(Kind::Access, claims.user_id, claims.session, app.clock.now())?;
    Done::with(&Refreshed { access, refresh: None })
}

/// A hash as new ones are, in the place of a dated one; whoever does not get it now gets it at the next log-in.
async fn hashed_anew(app: &AppState, origin: &Origin, subject: &str, password: String) -> Answer<String> {
    let place = app.hasher.line(origin.ip)?.place(Some(subject)).await?;
    app.hasher.hash_again(place, password).await
}

/// None when the account was deactivated or its password changed while we looked at the password: whoever did it has
/// revoked all sessions, and none may come after.
async fn open_session(
    app: &AppState,
    origin: &Origin,
    account: &Account,
    new_hash: Option<&str>,
) -> Answer<Option<Done<Pair>>> {
    let now = app.clock.now();
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            if !store::enter(tx, account, new_hash).await? {
                return Ok(None);
            }
            throttle::charge(tx, Bucket::of_log_ins(account.id)).await?;
            store::remember(tx, account.id, &throttle::address_hash(origin.ip)).await?;
            let session = store::next_session(tx).await?;
            let refresh = app.tokens.make(Kind::Refresh, account.id, session, now)?;
            store::open(tx, session, account.id, &tokens::hash(&refresh), origin).await?;
            audit::note(tx, Some(account.id), origin, "log_in", "session", Some(session), &json!({})).await?;
            Done::with(&Pair { access: app.tokens.make(Kind::Access, account.id, session, now)?, refresh }).map(Some)
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
    if let Some(version) = claims.unstored {
        return refresh_unstored(&app, claims.user_id, version).await;
    }
    let hash = tokens::hash(&sent.refresh);
    let rotation = app.config.refresh_rotation;
    let new = rotation.then(|| app.tokens.make(Kind::Refresh, claims.user_id, claims.session, now)).transpose()?;
    let mut session = app.db.acquire().await?;
    let done = match &new {
        None => store::refresh(&mut *session, claims.session, claims.user_id, &hash).await,
        Some(new) => store::rotate(&mut *session, claims.session, claims.user_id, &hash, &tokens::hash(new)).await,
    };
    drop(session);
    let done = match done.map_err(Problem::from) {
        Err(problem) if problem.cannot_write() => return refresh_unwritten(&app, &claims, &hash).await,
        done => done?,
    };
    if done {
        let access = app.tokens.make(Kind::Access, claims.user_id, claims.session, now)?;
        return Done::with(&Refreshed { access, refresh: new });
    }
    if !rotation {
        return Err(Problem::bad_token());
    }
    // A token of ours that was exchanged before: it is in two hands, and one of them is a thief's.
    store::revoke(&mut *app.db.acquire().await?, claims.session, "a refresh token was used twice").await?;
    Err(Problem::bad_token())
}

/// `POST /api/token/verify/`
pub(super) async fn verify(_: Public, State(app): State<AppState>, Json(sent): Json<Token>) -> Answer<Done<Good>> {
    let claims = app.tokens.read(&sent.token, app.clock.now()).ok_or_else(Problem::bad_token)?;
    let mut session = app.db.acquire().await?;
    let is_good = match claims.unstored {
        Some(version) => store::unstored(&mut *session, claims.user_id, version).await?.stands,
        None => store::is_live(&mut *session, claims.session, claims.user_id).await?,
    };
    if is_good { Done::with(&Good {}) } else { Err(Problem::bad_token()) }
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
            if !store::has_session(&mut *tx, session, user).await? {
                return Err(Problem::bad_token());
            }
            // Whoever logs out twice is out.
            if store::revoke(&mut *tx, session, "logged out").await? {
                audit::note(tx, Some(user), origin, "log_out", "session", Some(session), &json!({})).await?;
            }
            Ok(NoContent)
        })
    })
    .await
}
