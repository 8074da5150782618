//! What a page is on the wire.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::academic::units::Unit;
use crate::access::{Actor, Permission, Viewer, may};
use crate::app::AppState;
use crate::db::Reading;
use crate::http::{
    Answer, Describe, Faults, Filter, Kind, Listing, Notes, Ordering, Problem, Refusal, Resource, Schemas, Search,
    Shown, Sight, Target, Writable, find, path_text,
};
use crate::ids::{Id, Moment, or_null};

/// Something to read.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(in crate::core) struct Page {
    id: Id,
    title: String,
    slug: String,
    content: String,
    /// The unit that it is about; null when it is about none.
    unit: Option<Id>,
    published: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// What is written of a page.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(in crate::core) struct PageFields {
    /// At most 255 characters.
    #[schema(required)]
    pub(super) title: String,
    /// Its name in addresses, unique: small letters and digits, with single hyphens between; at most 255 characters.
    #[schema(required)]
    pub(super) slug: String,
    /// At most 200,000 characters.
    pub(super) content: String,
    /// The unit that it is about.
    #[serde(deserialize_with = "or_null")]
    pub(super) unit: Option<Id>,
    /// Whether anyone but its authors reads it.
    pub(super) published: bool,
}

impl Resource for Page {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::BeSignedIn>;

    const NAME: &'static str = "page";
    const TABLE: &'static str = "pages";
    const ALIAS: &'static str = "p";
    const LIVE: &'static str = "p.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("unit", "p.unit_id", Kind::Id),
            Filter::new("published", "p.published", Kind::Flag),
            Filter::new("slug", "p.slug", Kind::Text),
        ],
        orderings: &[
            Ordering::named("title", "p.title collate \"vi-x-icu\""),
            Ordering::new("slug", "p.slug", "text"),
            Ordering::new("created_at", "p.created_at", "timestamptz"),
            Ordering::new("updated_at", "p.updated_at", "timestamptz"),
        ],
        default: "id",
        search: Some(Search::Anywhere("p.search_text")),
        updated_at: Some("p.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        if !viewer.reach(Permission::ReadUnpublishedPages).is_all() {
            sql.push(" and p.published");
        }
    }

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for Page {
    type Fields = PageFields;
    type Write = may::WritePages;

    const REFUSALS: &'static [Refusal] =
        &[Refusal::taken("pages_slug_is_unique", "slug", "A page with this slug already exists.")];

    fn fields(row: &Self) -> PageFields {
        PageFields {
            title: row.title.clone(),
            slug: row.slug.clone(),
            content: row.content.clone(),
            unit: row.unit,
            published: row.published,
        }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(tx: &mut PgConnection, fields: &PageFields, _: Option<(Id, &PageFields)>) -> Answer<()> {
        let mut faults = Faults::default();
        faults.name("title", &fields.title, 255);
        faults.name("slug", &fields.slug, 255);
        faults.unless(
            fields.slug.trim().is_empty() || is_slug(&fields.slug),
            "slug",
            "A slug has small letters and digits, with single hyphens between, such as `exam-dates-2026`.",
        );
        faults.text("content", &fields.content, 200_000);
        if fields.unit.is_some() {
            faults.refers::<Unit>(tx, "unit", fields.unit).await?;
        }
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &PageFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &PageFields) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}

/// `^[a-z0-9]+(-[a-z0-9]+)*$`
fn is_slug(text: &str) -> bool {
    text.split('-')
        .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
}

/// The `{slug}` of the path.
pub(in crate::core) struct PathSlug(String);

impl FromRequestParts<AppState> for PathSlug {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        path_text(head, app, "slug").await.map(Self)
    }
}

impl Describe for PathSlug {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter("path", "slug", json!({ "type": "string" }), "");
        notes.refuses(404, "Not there, or not visible to the caller.");
    }
}

/// `GET /by-slug/{slug}/`
pub(super) async fn by_slug(
    reader: Actor<may::BeSignedIn>,
    mut conn: Reading,
    PathSlug(slug): PathSlug,
) -> Answer<Shown<Page>> {
    let id = store::with_slug(&mut *conn, &slug).await?.ok_or_else(Problem::absent)?;
    Shown::with(&find::<Page>(&mut conn, &reader, id, Sight::Visible).await?)
}
