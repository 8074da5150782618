//! What a file of the media is on the wire.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Viewer, may};
use crate::app::AppState;
use crate::core::uploads;
use crate::files::Upload;
use crate::http::{Answer, Created, Filter, Kind, Listing, Ordering, Problem, Resource, Target, Writable};
use crate::ids::{Id, Moment};

/// A row of [`store::SELECT`].
#[derive(Debug, FromRow)]
pub(in crate::core) struct MediaRow {
    id: Id,
    file: String,
    file_id: Id,
    uploaded_by: Id,
    created_at: Moment,
    updated_at: Moment,
}

/// A file that pages and events show.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::core) struct MediaAsset {
    id: Id,
    /// An absolute URL.
    file: String,
    uploaded_by: Id,
    created_at: Moment,
    updated_at: Moment,
}

/// What a file of the media is made of.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(in crate::core) struct MediaFields {
    /// The file, which comes as a part of a multipart body and never as a field.
    #[serde(skip_deserializing)]
    file: Option<Id>,
}

impl Resource for MediaAsset {
    type Row = MediaRow;
    type Shown = Self;
    type Reader = Actor<may::BeSignedIn>;

    const NAME: &'static str = "media_asset";
    const TABLE: &'static str = "media_assets";
    const ALIAS: &'static str = "m";
    const LIVE: &'static str = "m.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[Filter::new("uploaded_by", "m.uploaded_by_id", Kind::Id)],
        orderings: &[
            Ordering::new("created_at", "m.created_at", "timestamptz"),
            Ordering::new("updated_at", "m.updated_at", "timestamptz"),
        ],
        default: "id",
        search: None,
        updated_at: Some("m.updated_at"),
    };

    fn shown(row: MediaRow, viewer: &Viewer) -> Self {
        Self {
            id: row.id,
            file: viewer.public_url(&row.file),
            uploaded_by: row.uploaded_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Writable for MediaAsset {
    type Fields = MediaFields;
    type Write = may::WriteMedia;

    const HAS_PUBLIC_FILE: bool = true;

    fn fields(row: &MediaRow) -> MediaFields {
        MediaFields { file: Some(row.file_id) }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(_: &mut PgConnection, _: &MediaFields, _: Option<(Id, &MediaFields)>) -> Answer<()> {
        Ok(())
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &MediaFields) -> Answer<Id> {
        let file = fields.file.ok_or_else(|| Problem::invalid("file", "A file is required."))?;
        Ok(store::add(tx, actor.id(), file).await?)
    }

    async fn update(_: &mut PgConnection, _: &Actor<Self::Write>, _: Id, _: &MediaFields) -> Answer<()> {
        // There is no route to it: nothing of a file can be written.
        Ok(())
    }
}

/// `POST /`
pub(super) async fn create(
    actor: Actor<may::WriteMedia>,
    State(app): State<AppState>,
    upload: Upload,
) -> Answer<Created<MediaAsset>> {
    uploads::create::<MediaAsset>(&app, &actor, &upload, |file| MediaFields { file }).await
}
