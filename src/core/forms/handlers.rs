//! What a form is on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::{schema, store};
use crate::access::{Actor, Permission, Viewer, may};
use crate::http::{
    Answer, Audited, Faults, Filter, Kind, Listing, Ordering, Refusal, Resource, Search, Target, Writable,
};
use crate::ids::Id;

/// Something to be filled in.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct Form {
    id: Id,
    name: String,
    slug: String,
    description: String,
    /// A JSON Schema.
    #[schema(value_type = Object)]
    schema: Value,
    /// Counts the schemas that the form has had, from 1.
    schema_version: i32,
    /// Whether it can be sent in.
    is_active: bool,
    #[sqlx(flatten)]
    #[serde(flatten)]
    audited: Audited,
}

/// What is written of a form.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FormFields {
    /// At most 255 characters.
    #[schema(required)]
    pub name: String,
    /// Small letters, digits and single hyphens, at most 255 characters; unique.
    #[schema(required, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$")]
    pub slug: String,
    /// At most 20,000 characters.
    pub description: String,
    /// A JSON Schema of at most 64 KiB, without references to elsewhere or in circles, with linear-time patterns.
    #[schema(required, value_type = Object)]
    pub schema: Value,
    /// Whether it can be sent in.
    pub is_active: bool,
}

impl Default for FormFields {
    fn default() -> Self {
        Self {
            name: String::new(),
            slug: String::new(),
            description: String::new(),
            schema: Value::Null,
            is_active: true,
        }
    }
}

impl Resource for Form {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::BeSignedIn>;

    const NAME: &'static str = "form";
    const TABLE: &'static str = "forms";
    const ALIAS: &'static str = "f";
    const LIVE: &'static str = "f.deleted_at is null";
    const SELECT: &'static str = store::FORMS;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("slug", "f.slug", Kind::Text),
            Filter::new("is_active", "f.is_active", Kind::Flag),
            Filter::new("created_by", "f.created_by", Kind::Id),
        ],
        orderings: &[
            Ordering::named("name", "f.name collate \"vi-x-icu\""),
            Ordering::new("slug", "f.slug", "text"),
            Ordering::new("created_at", "f.created_at", "timestamptz"),
            Ordering::new("updated_at", "f.updated_at", "timestamptz"),
        ],
        default: "id",
        search: Some(Search::Anywhere("f.search_text")),
        updated_at: Some("f.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        if !viewer.reach(Permission::ReadInactiveForms).is_all() {
            sql.push(" and f.is_active");
        }
    }

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for Form {
    type Fields = FormFields;
    type Write = may::WriteForms;

    const REFUSALS: &'static [Refusal] = &[
        Refusal::taken("forms_slug_is_unique", "slug", "A form with this slug already exists."),
        Refusal::invalid("form_versions_schema_fits", "schema", schema::TOO_LARGE),
    ];
    const REFERRED_BY: &'static [(&'static str, &'static str)] =
        &[("submissions", "select count(*) from form_submissions where form_id = $1 and deleted_at is null")];

    fn fields(row: &Self) -> FormFields {
        FormFields {
            name: row.name.clone(),
            slug: row.slug.clone(),
            description: row.description.clone(),
            schema: row.schema.clone(),
            is_active: row.is_active,
        }
    }

    async fn allowed(_: &mut PgConnection, _: &Actor<Self::Write>, _: Target<'_, Self>) -> Answer<()> {
        Ok(())
    }

    async fn check(_: &mut PgConnection, fields: &FormFields, before: Option<(Id, &FormFields)>) -> Answer<()> {
        let mut faults = Faults::default();
        faults.name("name", &fields.name, 255);
        faults.name("slug", &fields.slug, 255);
        let spelt = fields.slug.trim().is_empty() || is_slug(&fields.slug);
        faults.unless(spelt, "slug", "Small letters, digits and single hyphens between them are expected.");
        faults.text("description", &fields.description, 20_000);
        // What stands already has been checked, by the rules of its time.
        if before.is_none_or(|(_, before)| before.schema != fields.schema) {
            for says in schema::faults(&fields.schema).await? {
                faults.add("schema", says);
            }
        }
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &FormFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &FormFields) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}

/// Whether it matches `^[a-z0-9]+(-[a-z0-9]+)*$`.
fn is_slug(text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.split('-').all(word)
}
