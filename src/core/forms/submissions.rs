//! What is sent in with forms. Once sent it stays as it is: it can only be deleted, by an administrator.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::handlers::Form;
use super::{schema, store};
use crate::access::{Actor, Permission, Viewer, may};
use crate::http::{
    Answer, Audited, Faults, Filter, Kind, Listing, Ordering, Problem, Refusal, Resource, Target, Writable,
};
use crate::ids::{Id, or_null};

/// What somebody sent in with a form.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub struct Submission {
    id: Id,
    form: Id,
    /// Who sent it.
    submitter: Id,
    #[schema(value_type = Value)]
    data: Value,
    /// The version of the form's schema that it was checked against.
    schema_version: i32,
    #[sqlx(flatten)]
    #[serde(flatten)]
    audited: Audited,
}

/// What is sent in with a form. Who sends it is never asked: it is the caller.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct SubmissionFields {
    /// An active form.
    #[schema(required)]
    #[serde(deserialize_with = "or_null")]
    pub form: Option<Id>,
    /// At most 256 KiB, as the form's schema wants it. Null is a value.
    #[schema(required, value_type = Value)]
    // What people fill in stands where it can be deleted, and not in the audit log too.
    #[serde(deserialize_with = "present", skip_serializing_if = "is_kept_out")]
    pub data: Option<Value>,
}

/// Always.
#[expect(clippy::ref_option, reason = "serde hands a field over like this")]
fn is_kept_out(_: &Option<Value>) -> bool {
    true
}

/// A value, also when it is null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl Resource for Submission {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadSubmissions>;

    const NAME: &'static str = "submission";
    const TABLE: &'static str = "form_submissions";
    const ALIAS: &'static str = "s";
    const LIVE: &'static str = "s.deleted_at is null";
    const SELECT: &'static str = store::SUBMISSIONS;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("form", "s.form_id", Kind::Id),
            Filter::new("submitter", "s.submitter_id", Kind::Id),
            Filter::new("schema_version", "s.version", Kind::Number),
        ],
        orderings: &[
            Ordering::new("created_at", "s.created_at", "timestamptz"),
            Ordering::new("updated_at", "s.updated_at", "timestamptz"),
        ],
        default: "-created_at",
        search: None,
        updated_at: Some("s.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        if !viewer.reach(Permission::ReadSubmissions).is_all() {
            sql.push(" and s.submitter_id = ").push_bind(viewer.caller_id());
        }
    }

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

impl Writable for Submission {
    type Fields = SubmissionFields;
    type Write = may::WriteSubmissions;

    const REFUSALS: &'static [Refusal] =
        &[Refusal::invalid("form_submissions_data_fits", "data", schema::TOO_LARGE_DATA)];

    fn fields(row: &Self) -> SubmissionFields {
        SubmissionFields { form: Some(row.form), data: None }
    }

    /// Anyone sends in for themselves; only whoever reaches all deletes.
    async fn allowed(_: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        match target {
            Target::New(_) => Ok(()),
            Target::Row(_) if actor.scope().is_all() => Ok(()),
            Target::Row(_) => Err(Problem::forbidden("What was sent in stays as it is.")),
        }
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &SubmissionFields,
        before: Option<(Id, &SubmissionFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        // The form stays as it is until the submission is there.
        faults.refers::<Form>(tx, "form", fields.form).await?;
        faults.unless(before.is_some() || fields.data.is_some(), "data", "This field is required.");
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &SubmissionFields) -> Answer<Id> {
        let (Some(id), Some(data)) = (fields.form, &fields.data) else {
            return Err(Problem::malformed("A form and its data are needed."));
        };
        let form = store::current(tx, id).await?;
        if !form.is_active {
            return Err(Problem::conflict("form_inactive", "This form is closed."));
        }
        schema::validate(form.schema, data.clone()).await?;
        Ok(store::submit(tx, actor.id(), id, form.version, data).await?)
    }

    /// Never called: there is no such route.
    async fn update(_: &mut PgConnection, _: &Actor<Self::Write>, _: Id, _: &SubmissionFields) -> Answer<()> {
        Err(Problem::forbidden("What was sent in stays as it is."))
    }
}
