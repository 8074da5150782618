//! Publishing many events at once, and what waits for it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::handlers::{Event, GENERATION_STATUSES, NO_AUDIENCE, VISIBILITIES};
use super::store;
use crate::access::{Actor, Viewer, may};
use crate::app::AppState;
use crate::audit;
use crate::http::{Answer, Done, Faults, Filter, Kind, Listing, Ordering, Posted, Problem, Resource};
use crate::ids::Id;

/// The most events that are published at once.
const MOST: usize = 1000;

/// An event whose generated content nobody has confirmed yet.
#[derive(Debug)]
pub(super) struct Unconfirmed;

impl Resource for Unconfirmed {
    type Row = Event;
    type Shown = Event;
    type Reader = Actor<may::AutomateEvents>;

    const NAME: &'static str = "event";
    const TABLE: &'static str = "events";
    const ALIAS: &'static str = "e";
    const LIVE: &'static str = "e.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("status", "e.generation_status", Kind::OneOf(GENERATION_STATUSES)),
            Filter::new("unit_id", "e.related_unit_id", Kind::Id),
            Filter::new(
                "days",
                "e.created_at > rule_now() - make_interval(days => least({}, 36500)::int)",
                Kind::Where,
            ),
        ],
        orderings: &[
            Ordering::new("created_at", "e.created_at", "timestamptz"),
            Ordering::new("start", "e.start", "timestamptz"),
        ],
        default: "-created_at",
        search: None,
        updated_at: None,
    };

    /// Whoever asks; what is confirmed or was never generated does not wait.
    fn visible(sql: &mut QueryBuilder<Postgres>, _: &Viewer, _: bool) {
        sql.push(" and e.generation_status in ('pending', 'ready') and not e.generation_meta ? 'confirmed_at'");
    }

    fn shown(row: Event, viewer: &Viewer) -> Event {
        Event::shown(row, viewer)
    }
}

/// What to publish, and as what.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Publication {
    /// From 1 to 1,000.
    event_ids: Vec<Id>,
    /// `public`, `unit` or `staff`.
    #[serde(default = "public")]
    visibility: String,
    /// `idle`, `pending`, `ready` or `failed`; left out, it stays.
    generation_status: Option<String>,
}

fn public() -> String {
    "public".to_owned()
}

/// What was published.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Published {
    message: String,
    updated_count: usize,
    visibility: String,
    generation_status: Option<String>,
}

/// `POST /bulk-publish/`
pub(super) async fn bulk_publish(
    actor: Actor<may::PublishEvents>,
    State(app): State<AppState>,
    Posted { body: wanted, repeat }: Posted<Publication>,
) -> Answer<Done<Published>> {
    let mut faults = Faults::default();
    let count = wanted.event_ids.len();
    faults.unless((1..=MOST).contains(&count), "event_ids", format!("From 1 to {MOST} events are expected."));
    let (known, status) = (VISIBILITIES.join(", "), GENERATION_STATUSES.join(", "));
    let visible = VISIBILITIES.contains(&wanted.visibility.as_str());
    faults.unless(visible, "visibility", format!("One of {known} is expected."));
    let generated =
        wanted.generation_status.as_ref().is_none_or(|status| GENERATION_STATUSES.contains(&status.as_str()));
    faults.unless(generated, "generation_status", format!("One of {status} is expected."));
    faults.check()?;
    let (actor, wanted) = (&actor, &wanted);
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let only_of = (!actor.scope().is_all()).then(|| actor.id());
                let held = store::hold(tx, &wanted.event_ids, only_of).await?;
                let mut faults = Faults::default();
                for id in wanted.event_ids.iter().filter(|id| !held.iter().any(|event| event.id == **id)) {
                    faults.add("event_ids", format!("There is no event with the id {id}."));
                }
                faults.check()?;
                if held.iter().any(|event| !event.is_own) {
                    return Err(Problem::forbidden("Convenors publish the events of their own units."));
                }
                if wanted.visibility == "unit" {
                    let mut faults = Faults::default();
                    for event in held.iter().filter(|event| !event.has_audience) {
                        faults.add("event_ids", format!("Event {}: {NO_AUDIENCE}", event.id));
                    }
                    faults.check()?;
                }
                let status = wanted.generation_status.as_deref();
                store::publish(tx, actor.id(), &wanted.event_ids, &wanted.visibility, status).await?;
                let side = |visibility: &str, status: &str| -> Value {
                    json!({ "visibility": visibility, "generation_status": status })
                };
                let changes: Vec<(Id, Value, Value)> = held
                    .iter()
                    .map(|event| {
                        let now = side(&wanted.visibility, status.unwrap_or(&event.generation_status));
                        (event.id, side(&event.visibility, &event.generation_status), now)
                    })
                    .collect();
                audit::record_all(tx, actor, "publish", Event::NAME, &changes).await?;
                Done::with(&Published {
                    message: format!("{} events were updated.", held.len()),
                    updated_count: held.len(),
                    visibility: wanted.visibility.clone(),
                    generation_status: wanted.generation_status.clone(),
                })
            })
        })
        .await
}
