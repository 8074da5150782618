//! What a resource of a unit is on the wire.

use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::body::NewResource;
use super::store;
use crate::academic::units::{self, Unit};
use crate::access::{Actor, Permission, Viewer, may};
use crate::app::AppState;
use crate::files::{Accepts, Admitted, Written};
use crate::http::{self, Answer, Created, Faults, Filter, Kind, Listing, Ordering, Resource, Search, Target, Writable};
use crate::ids::{Id, Moment, or_null};

/// What a resource is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[sqlx(type_name = "text", rename_all = "UPPERCASE")]
pub enum ResourceType {
    /// What the unit is about and asks for.
    Outline,
    /// A book that the unit follows.
    Textbook,
    /// Something to read.
    Reading,
    /// Something elsewhere.
    Link,
    /// Anything else.
    #[default]
    Other,
}

/// A row of [`store::SELECT`].
#[derive(Debug, FromRow)]
pub struct UnitResourceRow {
    id: Id,
    unit: Id,
    title: String,
    resource_type: ResourceType,
    description: String,
    file: Option<Id>,
    url: String,
    is_required: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// Something that students of a unit work with.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnitResource {
    id: Id,
    unit: Id,
    title: String,
    resource_type: ResourceType,
    description: String,
    /// A link to the file, valid for ten minutes; null when the resource is an address.
    file: Option<String>,
    /// Empty when the resource is a file.
    url: String,
    is_required: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// What staff and the unit's convenor write of a resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct UnitResourceFields {
    /// The unit.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub unit: Option<Id>,
    /// At most 255 characters.
    #[schema(required)]
    pub title: String,
    /// What it is for.
    pub resource_type: ResourceType,
    /// At most 20,000 characters.
    pub description: String,
    /// An address (http or https), unless there is a file.
    pub url: String,
    /// Whether students must have it.
    pub is_required: bool,
    /// The file, which comes as a part of a multipart body and never as a field.
    #[serde(skip)]
    pub file: Option<Id>,
}

impl Resource for UnitResource {
    type Row = UnitResourceRow;
    type Shown = Self;
    type Reader = Actor<may::ReadUnitResources>;

    const NAME: &'static str = "unit_resource";
    const TABLE: &'static str = "unit_resources";
    const ALIAS: &'static str = "r";
    const LIVE: &'static str = "r.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("unit", "r.unit_id", Kind::Id),
            Filter::new(
                "resource_type",
                "r.resource_type",
                Kind::OneOf(&["OUTLINE", "TEXTBOOK", "READING", "LINK", "OTHER"]),
            ),
            Filter::new("is_required", "r.is_required", Kind::Flag),
        ],
        orderings: &[
            Ordering::named("title", "r.title collate \"vi-x-icu\""),
            Ordering::new("resource_type", "r.resource_type", "text"),
            Ordering::new("created_at", "r.created_at", "timestamptz"),
            Ordering::new("updated_at", "r.updated_at", "timestamptz"),
        ],
        default: "id",
        search: Some(Search::Anywhere("r.search_text")),
        updated_at: Some("r.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        store::push_visible(sql, viewer.caller_id(), viewer.reach(Permission::ReadUnitResources));
    }

    fn shown(row: UnitResourceRow, viewer: &Viewer) -> Self {
        Self {
            id: row.id,
            unit: row.unit,
            title: row.title,
            resource_type: row.resource_type,
            description: row.description,
            file: row.file.map(|file| viewer.private_url(file)),
            url: row.url,
            is_required: row.is_required,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Writable for UnitResource {
    type Fields = UnitResourceFields;
    type Write = may::WriteUnitResources;

    fn fields(row: &UnitResourceRow) -> UnitResourceFields {
        UnitResourceFields {
            unit: Some(row.unit),
            title: row.title.clone(),
            resource_type: row.resource_type,
            description: row.description.clone(),
            url: row.url.clone(),
            is_required: row.is_required,
            file: row.file,
        }
    }

    async fn allowed(tx: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        let unit = match target {
            Target::New(fields) => fields.unit,
            Target::Row(row) => Some(row.unit),
        };
        units::refuse_foreign(tx, actor, unit).await
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &UnitResourceFields,
        before: Option<(Id, &UnitResourceFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        faults.refers::<Unit>(tx, "unit", fields.unit).await?;
        faults.name("title", &fields.title, 255);
        faults.text("description", &fields.description, 20_000);
        faults.text("url", &fields.url, 2000);
        let file = fields.file.or(before.and_then(|(_, before)| before.file));
        match (file, fields.url.as_str()) {
            (None, "") => faults.add("url", "Send a `url` or, as multipart/form-data, a `file`."),
            (Some(_), "") => {}
            (Some(_), _) => faults.add("url", "A resource has either a `file` or a `url`, not both."),
            (None, url) if is_web_address(url) => {}
            (None, _) => faults.add("url", "An address with http:// or https:// is expected."),
        }
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &UnitResourceFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        id: Id,
        fields: &UnitResourceFields,
    ) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}

fn is_web_address(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty())
    })
}

/// `POST /`
pub(super) async fn create(
    actor: Actor<may::WriteUnitResources>,
    State(app): State<AppState>,
    NewResource { fields, file, repeat }: NewResource,
) -> Answer<Created<UnitResource>> {
    let file = match &file {
        Some(file) => {
            let mut conn = app.db.acquire().await?;
            let admitted = Admitted::after(UnitResource::allowed(&mut conn, &actor, Target::New(&fields))).await?;
            drop(conn);
            Some(app.files.accept(&admitted, file, Accepts::Documents).await?)
        }
        None => None,
    };
    let written = Written::default();
    let (app, actor, fields, file, slot) = (&app, &actor, &fields, &file, &written);
    let created = repeat
        .write(
            app,
            Some(actor.id()),
            |tx, _| Box::pin(UnitResource::allowed(tx, actor, Target::New(fields))),
            |tx, _| {
                Box::pin(async move {
                    let mut fields = fields.clone();
                    if let Some(file) = file {
                        let stored = app.files.put(tx, actor.id(), file, false).await?;
                        fields.file = Some(stored.id);
                        slot.hold(stored);
                    }
                    let row = http::insert::<UnitResource>(tx, actor, &fields).await?;
                    Created::with(&UnitResource::shown(row, actor))
                })
            },
        )
        .await?;
    written.keep();
    Ok(created)
}
