//! What a resource of the library is on the wire.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::store;
use crate::academic::units::Unit;
use crate::access::{Actor, Viewer, may};
use crate::http::{Answer, Faults, Filter, Kind, Listing, Ordering, Resource, Search, Target, Writable};
use crate::ids::{Id, Moment, or_null};

/// A file for everybody, or for those of a unit.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(in crate::core) struct LibraryResource {
    id: Id,
    title: String,
    /// An absolute URL.
    file: String,
    /// The unit that it is for; null when it is for none in particular.
    unit: Option<Id>,
    uploaded_by: Id,
    created_at: Moment,
    updated_at: Moment,
}

/// What is written of a resource of the library.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(in crate::core) struct LibraryResourceFields {
    /// At most 255 characters.
    #[schema(required)]
    pub(super) title: String,
    /// The unit that it is for.
    #[serde(deserialize_with = "or_null")]
    pub(super) unit: Option<Id>,
    /// The file, which comes as a part of a multipart body and never as a field.
    #[serde(skip)]
    pub(super) file: Option<Id>,
}

impl Resource for LibraryResource {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::BeSignedIn>;

    const NAME: &'static str = "resource";
    const TABLE: &'static str = "resources";
    const ALIAS: &'static str = "r";
    const LIVE: &'static str = "r.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("unit", "r.unit_id", Kind::Id),
            Filter::new("uploaded_by", "r.uploaded_by_id", Kind::Id),
        ],
        orderings: &[
            Ordering::named("title", "r.title collate \"vi-x-icu\""),
            Ordering::new("created_at", "r.created_at", "timestamptz"),
            Ordering::new("updated_at", "r.updated_at", "timestamptz"),
        ],
        default: "id",
        search: Some(Search::Anywhere("r.search_text")),
        updated_at: Some("r.updated_at"),
    };

    fn shown(row: Self, viewer: &Viewer) -> Self {
        Self { file: viewer.public_url(&row.file), ..row }
    }
}

impl Writable for LibraryResource {
    type Fields = LibraryResourceFields;
    type Write = may::WriteResources;

    const HAS_PUBLIC_FILE: bool = true;

    fn fields(row: &Self) -> LibraryResourceFields {
        LibraryResourceFields { title: row.title.clone(), unit: row.unit, file: None }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &LibraryResourceFields,
        _: Option<(Id, &LibraryResourceFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        faults.name("title", &fields.title, 255);
        if fields.unit.is_some() {
            faults.refers::<Unit>(tx, "unit", fields.unit).await?;
        }
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &LibraryResourceFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        id: Id,
        fields: &LibraryResourceFields,
    ) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}
