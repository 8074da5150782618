//! Calendar links: made, looked at, revoked and read.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{feed, store};
use crate::access::{Actor, Permission, Public, UserType, may, standing, tokens};
use crate::app::AppState;
use crate::audit;
use crate::db::{self, Reading};
use crate::http::{Answer, Answers, Created, Describe, NoContent, Notes, Problem, Schemas, Shown, etag, query_pairs};
use crate::ids::Moment;

/// A calendar link at the only time that its address is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewCalendarLink {
    /// The feed's address; whoever has it reads the feed.
    url: String,
    created_at: Moment,
}

/// Whether there is a calendar link.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CalendarLink {
    exists: bool,
    created_at: Option<Moment>,
    /// When the feed was last read, to about ten minutes.
    last_used_at: Option<Moment>,
}

/// `GET /calendar-link/`
pub(super) async fn show(actor: Actor<may::ManageCalendarLink>, mut conn: Reading) -> Answer<Shown<CalendarLink>> {
    let live = store::live(&mut conn, actor.id()).await?;
    Shown::with(&CalendarLink {
        exists: live.is_some(),
        created_at: live.as_ref().map(|link| link.created_at),
        last_used_at: live.and_then(|link| link.last_used_at),
    })
}

/// `POST /calendar-link/`. An `Idempotency-Key` is not kept, as the secret would be kept with it: repeated, the call
/// makes another link and ends the one before.
pub(super) async fn create(
    actor: Actor<may::ManageCalendarLink>,
    State(app): State<AppState>,
) -> Answer<Created<NewCalendarLink>> {
    let (actor, token) = (&actor, tokens::random()?);
    let hash = &tokens::hash(&token);
    let created_at = db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let (id, created_at) = store::replace(tx, actor.id(), hash).await?;
            audit::note(tx, actor.caller_id(), &actor.origin, "create", "calendar_link", Some(id), &json!({})).await?;
            Ok(created_at)
        })
    })
    .await?;
    let url = format!("{}/api/core/calendar.ics?token={token}", actor.origin.base_url);
    Created::with(&NewCalendarLink { url, created_at })
}

/// `DELETE /calendar-link/`
pub(super) async fn remove(actor: Actor<may::ManageCalendarLink>, State(app): State<AppState>) -> Answer<NoContent> {
    let actor = &actor;
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let id = store::revoke(tx, actor.id()).await?.ok_or_else(Problem::absent)?;
            audit::note(tx, actor.caller_id(), &actor.origin, "revoke", "calendar_link", Some(id), &json!({})).await?;
            Ok(NoContent)
        })
    })
    .await
}

/// The secret in the address of a feed.
#[derive(Debug)]
pub(super) struct FeedToken(String);

impl FromRequestParts<AppState> for FeedToken {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        // Calendar programs add parameters of their own; they are none of our business.
        let token = query_pairs(head)?.into_iter().find(|(name, _)| name == "token");
        token.map(|(_, token)| Self(token)).ok_or_else(Problem::absent)
    }
}

impl Describe for FeedToken {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter("query", "token", json!({ "type": "string" }), "The secret of the calendar link.");
        notes.refuses(400, "Malformed.");
        notes.refuses(404, "No token, or one that is wrong, revoked, or of somebody who is not active.");
    }
}

/// A feed as it is sent.
pub(super) struct Feed(String);

impl IntoResponse for Feed {
    fn into_response(self) -> Response {
        let tag = etag(self.0.as_bytes());
        let mut response = ([(header::CONTENT_TYPE, "text/calendar; charset=utf-8")], self.0).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

impl Answers for Feed {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.answers(200, "The calendar (RFC 5545).", "text/calendar", Some(json!({ "type": "string" })));
    }
}

/// `GET /calendar.ics`
pub(super) async fn feed(_: Public, State(app): State<AppState>, FeedToken(token): FeedToken) -> Answer<Feed> {
    let (link, text) = {
        let conn = &mut *app.db.acquire().await?;
        let link = store::holder(conn, &tokens::hash(&token)).await?.ok_or_else(Problem::absent)?;
        let (user_type, grants) = standing(conn, link.user).await?.ok_or_else(Problem::absent)?;
        let zone = app.config.time_zone.name();
        let mut entries = store::classes(conn, link.user, zone).await?;
        let all = grants.reach(Permission::ReadEvents).is_all();
        entries.extend(store::events(conn, link.user, all, user_type == UserType::Student).await?);
        (link, feed::text(&entries))
    };
    // Programs read every few minutes: not each time is written down.
    if link.is_due {
        let id = link.id;
        db::write(&app.db, |tx, _| Box::pin(async move { Ok(store::used(tx, id).await?) })).await?;
    }
    Ok(Feed(text))
}
