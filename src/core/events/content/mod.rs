//! The content that is generated for an event: who writes it, how far it is, and what it was before.
//!
//! | what happens | idle | pending | ready | failed |
//! |---|---|---|---|---|
//! | a workflow takes on `event.generate` | pending | pending | pending | pending |
//! | it does not (502, 504) | idle | pending | ready | failed |
//! | the built-in writer generates | ready | ready | ready | ready |
//! | callback, phase 1; `gcal-sync` | pending | pending | ready | pending |
//! | callback, phase 2 | ready | ready | ready | ready |
//! | content is refined, a suggestion applied | ready | ready | ready | ready |
//! | content is updated or patched | as said, else ready with content and idle without | | | |
//! | content is confirmed | idle | pending | ready | failed |
//! | content is cleared | idle | idle | idle | idle |
//! | a revision is restored | ready | ready | ready | ready |
//! | `generation_timeout_at` passes | – | failed | – | – |
//!
//! What always holds, and where it is kept:
//!
//! - who writes holds the event's row: `store::hold`; a workflow is called without it, and without a session, so what
//!   came meanwhile is looked at again;
//! - content that is replaced stays as a revision, the last [`store::MOST_REVISIONS`] of them: [`store::keep`];
//! - a confirmation is of one content and falls away with it: [`state::State::settle`]; nobody but `confirm-content` sets it;
//! - only what is pending has a time-out, and everything pending has one: [`state::State::settle`];
//! - every value of the content is a string: [`texts`].

mod callback;
mod edit;
mod expire;
mod facts;
mod generate;
mod history;
mod refine;
mod state;
mod store;
mod suggest;
mod texts;
mod wishes;
mod writer;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::handlers::Event;
use crate::access::{Access, Actor, Need as _, Permission, Viewer, may};
use crate::app::AppState;
use crate::db::Reading;
use crate::http::{Answer, Describe as _, Notes, PathId, Problem, Routes, Schemas, Sight, find};

pub(crate) use expire::look_after;
use state::Status;

/// The endpoints of an event's content.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/events")
        .post("/{id}/generate_content/", generate::generate_content, "Has an event's content generated.")
        .post(
            "/{id}/generation_callback/",
            callback::generation_callback,
            "Takes what a workflow reports: an id of its own, or the content.",
        )
        .post("/{id}/gcal-sync/", callback::gcal_sync, "Takes the id that an event has in another calendar.")
        .get("/{id}/get_generation_status/", generate::get_generation_status, "Shows how far an event's content is.")
        .post("/{id}/refine_content/", refine::refine_content, "Rewrites an event's content as asked.")
        .post("/{id}/confirm-content/", edit::confirm, "Confirms an event's content, so that its readers see it.")
        .put("/{id}/update-content/", edit::update, "Replaces an event's content.")
        .patch("/{id}/patch-content/", edit::patch, "Changes parts of an event's content.")
        .delete("/{id}/clear-content/", edit::clear, "Takes an event's content away.")
        .post("/{id}/refine-chatbot/", suggest::refine_chatbot, "Suggests texts; writes nothing.")
        .post("/{id}/apply-suggestion/", suggest::apply_suggestion, "Puts a suggested text into an event's content.")
        .get("/{id}/content-history/", history::content_history, "Lists what an event's content was before.")
        .post("/{id}/content-history/{rev}/restore/", history::restore, "Makes an earlier content the present one.")
}

/// Somebody who may edit events, and the event of the path. Whoever does not see it gets 404, whoever sees it but may not
/// edit 403.
pub(super) struct Editor {
    actor: Actor<may::WriteEvents>,
    event: Event,
}

/// Somebody who sees events whole, as their editors do, and the event of the path.
pub(super) struct Insider {
    actor: Actor<may::BeSignedIn>,
    event: Event,
}

async fn of_path(head: &mut Parts, app: &AppState) -> Answer<(Actor<may::BeSignedIn>, Event)> {
    let actor = Actor::from_request_parts(head, app).await?;
    let PathId(id) = PathId::from_request_parts(head, app).await?;
    let mut conn = Reading::from_request_parts(head, app).await?;
    let event = find::<Event>(&mut conn, &actor, id, Sight::Visible).await?;
    Ok((actor, event))
}

impl FromRequestParts<AppState> for Editor {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        let (actor, event) = of_path(head, app).await?;
        Ok(Self { actor: actor.require()?, event })
    }
}

impl FromRequestParts<AppState> for Insider {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        let (actor, event) = of_path(head, app).await?;
        if !sees_whole(&actor) {
            return Err(Problem::forbidden("Only those who may edit events see how their content comes about."));
        }
        Ok(Self { actor, event })
    }
}

/// Whether the viewer sees of events also what is not confirmed, and all people.
pub(super) fn sees_whole(viewer: &Viewer) -> bool {
    !viewer.reach(Permission::WriteEvents).is_none() || viewer.reach(Permission::ReadEvents).is_all()
}

impl Access for Editor {
    // That of the first step: the permission is asked for once the event is seen.
    const NAME: &'static str = may::BeSignedIn::NAME;
    fn describe(notes: &mut Notes) {
        Actor::<may::WriteEvents>::describe(notes);
        PathId::describe(notes, &mut Schemas::new());
    }
}

impl Access for Insider {
    const NAME: &'static str = may::BeSignedIn::NAME;
    fn describe(notes: &mut Notes) {
        Actor::<may::ReadEvents>::describe(notes);
        PathId::describe(notes, &mut Schemas::new());
    }
}
