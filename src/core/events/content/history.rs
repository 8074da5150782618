//! What an event's content was before, and making it the present one again.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::FromRow;
use utoipa::ToSchema;

use super::edit::ContentNow;
use super::{Editor, Insider, store};
use crate::access::{Actor, Viewer, may};
use crate::app::AppState;
use crate::http::{
    Answer, Asked, Bare, Describe, Done, Filter, Kind, Listed, Listing, Notes, Ordering, Problem, Resource, Schemas,
    path_text,
};
use crate::ids::{Id, Moment};

/// What an event's content was until it was replaced.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(super) struct ContentRevision {
    id: Id,
    /// Counted from 1 for each event.
    revision: i32,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    generated_content: Value,
    #[schema(value_type = Object)]
    generation_meta: Value,
    /// `idle`, `pending`, `ready` or `failed`.
    generation_status: String,
    /// When it was replaced.
    created_at: Moment,
    /// Who replaced it; null when it was a workflow.
    created_by: Option<Id>,
}

impl Resource for ContentRevision {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadEvents>;

    const NAME: &'static str = "content_revision";
    const TABLE: &'static str = "event_content_revisions";
    const ALIAS: &'static str = "r";
    const LIVE: &'static str = "true";
    const SELECT: &'static str = "
select r.id,
       r.revision,
       r.generated_content,
       case
           when jsonb_typeof(r.generation_meta -> 'confirmed_by') = 'number'
           then r.generation_meta || jsonb_build_object('confirmed_by', (select u.email
                                                                          from users u
                                                                         where u.id = (r.generation_meta ->> 'confirmed_by')::bigint))
           else r.generation_meta
       end as generation_meta,
       r.generation_status,
       r.created_at,
       r.created_by
from event_content_revisions r";
    const LISTING: Listing = Listing {
        filters: &[],
        orderings: &[Ordering::new("revision", "r.revision", "int")],
        default: "-revision",
        search: None,
        updated_at: None,
    };

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

/// `GET /{id}/content-history/`
pub(super) async fn content_history(
    Insider { actor, event }: Insider,
    State(app): State<AppState>,
    mut asked: Asked<ContentRevision>,
) -> Answer<Listed<ContentRevision>> {
    asked.confine(Filter::new("event", "r.event_id = {}", Kind::Where), event.id);
    asked.page(&mut *app.db.acquire().await?, &actor).await
}

/// The `{rev}` of the path. What is no number names nothing: 404.
pub(super) struct RevisionOfPath(i32);

impl FromRequestParts<AppState> for RevisionOfPath {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        path_text(head, app, "rev").await?.parse().map(Self).map_err(|_| Problem::absent())
    }
}

impl Describe for RevisionOfPath {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter("path", "rev", json!({ "type": "integer", "format": "int32", "minimum": 1 }), "");
    }
}

/// `POST /{id}/content-history/{rev}/restore/`
pub(super) async fn restore(
    Editor { actor, event }: Editor,
    State(app): State<AppState>,
    RevisionOfPath(number): RevisionOfPath,
    Bare { repeat }: Bare,
) -> Answer<Done<ContentNow>> {
    let (actor, id) = (&actor, event.id);
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let held = store::hold(tx, id).await?;
                let (content, meta) = store::revision(tx, id, number).await?.ok_or_else(Problem::absent)?;
                let mut after = held.state.clone();
                after.content = content;
                after.rest();
                let mut meta: Map<String, Value> = meta.into_iter().filter(|(name, _)| name != "error").collect();
                meta.insert("restored_from".to_owned(), json!(number));
                after.explain(meta);
                let kept = store::keep(tx, actor, id, "restore_content", &held, after).await?;
                Done::with(&ContentNow::of(tx, id, kept).await?)
            })
        })
        .await
}
