//! What a workflow is on the wire.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sqlx::types::Json as Jsonb;
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;
use uuid::Uuid;

use super::store;
use crate::access::{Actor, Viewer, may};
use crate::app::AppState;
use crate::http::{
    self, Answer, Audited, Changes, Faults, Filter, IfMatch, Json, Kind, Listing, Ordering, PathId, Resource, Shown,
    Target, Writable,
};
use crate::ids::{Id, Moment};
use crate::workflows::TRIGGERS;

/// Something outside that listens to an event of ours.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(crate) struct Workflow {
    id: Id,
    workflow_id: Uuid,
    name: String,
    description: String,
    trigger_event: String,
    #[schema(value_type = Configuration)]
    configuration: Jsonb<Configuration>,
    is_active: bool,
    /// When it was last called.
    last_run: Option<Moment>,
    /// How many calls failed.
    error_count: i32,
    #[sqlx(flatten)]
    #[serde(flatten)]
    audited: Audited,
}

/// What administrators write of a workflow.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct WorkflowFields {
    /// At most 255 characters.
    #[schema(required)]
    pub(super) name: String,
    /// At most 20,000 characters.
    pub(super) description: String,
    /// `enrollment.confirmed`, `attendance.marked`, `event.generate`, `event.refine` or `student.ask`.
    #[schema(required)]
    pub(super) trigger_event: String,
    /// Where it is called.
    pub(super) configuration: Configuration,
    /// Whether it is called at all; what happens meanwhile it is not told later.
    pub(super) is_active: bool,
}

/// Where a workflow is called. A `PATCH` sends all of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct Configuration {
    /// An http or https URL; an active workflow needs the one that is called.
    pub(super) webhook_url: String,
    /// The same for trying out.
    pub(super) webhook_url_test: String,
    /// Whether the one for trying out is called.
    pub(super) use_test_url: bool,
}

impl Workflow {
    pub(super) fn id(&self) -> Id {
        self.id
    }
}

impl Configuration {
    /// The URL that is called.
    pub(in crate::workflows) fn target(&self) -> &str {
        if self.use_test_url { &self.webhook_url_test } else { &self.webhook_url }
    }

    /// Refuses URLs that would never be called.
    pub(super) fn refuse_foreign(&self, app: &AppState) -> Answer<()> {
        let mut faults = Faults::default();
        for (field, url) in [
            ("configuration.webhook_url", &self.webhook_url),
            ("configuration.webhook_url_test", &self.webhook_url_test),
        ] {
            if let (false, Err(says)) = (url.is_empty(), app.outbound.guard().target(url)) {
                faults.add(field, says);
            }
        }
        faults.check()
    }
}

impl Default for WorkflowFields {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            trigger_event: String::new(),
            configuration: Configuration::default(),
            is_active: true,
        }
    }
}

impl Resource for Workflow {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadWorkflows>;

    const NAME: &'static str = "workflow";
    const TABLE: &'static str = "workflows";
    const ALIAS: &'static str = "w";
    const LIVE: &'static str = "w.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("trigger_event", "w.trigger_event", Kind::OneOf(TRIGGERS)),
            Filter::new("is_active", "w.is_active", Kind::Flag),
        ],
        orderings: &[
            Ordering::named("name", "w.name collate \"vi-x-icu\""),
            Ordering::new("created_at", "w.created_at", "timestamptz"),
            Ordering::new("updated_at", "w.updated_at", "timestamptz"),
        ],
        default: "id",
        search: None,
        updated_at: Some("w.updated_at"),
    };

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for Workflow {
    type Fields = WorkflowFields;
    type Write = may::ManageWorkflows;

    fn fields(row: &Self) -> WorkflowFields {
        WorkflowFields {
            name: row.name.clone(),
            description: row.description.clone(),
            trigger_event: row.trigger_event.clone(),
            configuration: row.configuration.0.clone(),
            is_active: row.is_active,
        }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(_: &mut PgConnection, fields: &WorkflowFields, _: Option<(Id, &WorkflowFields)>) -> Answer<()> {
        let mut faults = Faults::default();
        faults.name("name", &fields.name, 255);
        faults.text("description", &fields.description, 20_000);
        let known = TRIGGERS.contains(&fields.trigger_event.as_str());
        faults.unless(known, "trigger_event", format!("One of {} is expected.", TRIGGERS.join(", ")));
        let configuration = &fields.configuration;
        faults.text("configuration.webhook_url", &configuration.webhook_url, 2000);
        faults.text("configuration.webhook_url_test", &configuration.webhook_url_test, 2000);
        let which = if configuration.use_test_url { "webhook_url_test" } else { "webhook_url" };
        let is_callable = !fields.is_active || !configuration.target().is_empty();
        faults.unless(is_callable, &format!("configuration.{which}"), "An active workflow needs this URL.");
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &WorkflowFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &WorkflowFields) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}

/// `PUT /{id}/`
pub(super) async fn replace(
    actor: Actor<may::ManageWorkflows>,
    State(app): State<AppState>,
    id: PathId,
    condition: IfMatch,
    Json(fields): Json<WorkflowFields>,
) -> Answer<Shown<Workflow>> {
    fields.configuration.refuse_foreign(&app)?;
    http::replace::<Workflow>(actor, State(app), id, condition, Json(fields)).await
}

/// `PATCH /{id}/`
pub(super) async fn change(
    actor: Actor<may::ManageWorkflows>,
    State(app): State<AppState>,
    id: PathId,
    condition: IfMatch,
    changes: Changes<WorkflowFields>,
) -> Answer<Shown<Workflow>> {
    // Laid over nothing, the change has the URLs that it brings.
    changes.onto(&WorkflowFields::default())?.configuration.refuse_foreign(&app)?;
    http::change::<Workflow>(actor, State(app), id, condition, changes).await
}
