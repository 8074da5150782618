//! What an application is on the wire, and making one.

use axum::extract::State;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::body::NewApplication;
use super::store;
use crate::access::{Actor, Permission, UserType, Viewer, may};
use crate::app::AppState;
use crate::files::{Accepts, Admitted, Written};
use crate::http::{
    self, Answer, Created, Faults, Filter, Kind, Listing, Ordering, Problem, Refusal, Resource, Target, Writable,
};
use crate::ids::{Id, Moment, or_null};
use crate::users::scholarships::{Scholarship, takes_applications};

/// Where an application stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[schema(as = ScholarshipApplicationStatus)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum ApplicationStatus {
    /// Waits for a review.
    Pending,
    /// The scholarship is awarded.
    Approved,
    /// It is not.
    Rejected,
    /// It is, should an award come free and staff say so.
    Waitlisted,
}

impl ApplicationStatus {
    /// As it is spelt.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Waitlisted => "waitlisted",
        }
    }
}

/// A row of [`store::SELECT`].
#[derive(Debug, FromRow)]
pub(super) struct ApplicationRow {
    pub(super) id: Id,
    pub(super) student: Id,
    pub(super) scholarship: Id,
    pub(super) scholarship_name: String,
    application_date: NaiveDate,
    #[sqlx(json)]
    pub(super) documents: Vec<DocumentRow>,
    pub(super) status: ApplicationStatus,
    pub(super) reviewer_notes: String,
    reviewed_by: Option<Id>,
    reviewed_at: Option<Moment>,
    created_at: Moment,
    updated_at: Moment,
}

/// A document of an application.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct DocumentRow {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) size: i64,
}

/// A student's wish for a scholarship.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScholarshipApplication)]
pub(super) struct Application {
    id: Id,
    student: Id,
    scholarship: Id,
    application_date: NaiveDate,
    documents: Vec<Document>,
    status: ApplicationStatus,
    /// The student reads them too.
    reviewer_notes: String,
    reviewed_by: Option<Id>,
    reviewed_at: Option<Moment>,
    created_at: Moment,
    updated_at: Moment,
}

/// A file that belongs to an application.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScholarshipDocument)]
pub(super) struct Document {
    id: Id,
    /// What its sender called it.
    name: String,
    /// In bytes.
    size: i64,
    /// A link to it, valid for ten minutes.
    url: String,
}

/// What a student says of it; who applies is not asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ScholarshipApplicationFields)]
pub(super) struct ApplicationFields {
    /// One that takes applications.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub(super) scholarship: Option<Id>,
    /// The first document, which comes as a part of a multipart body and never as a field.
    #[serde(skip)]
    pub(super) document: Option<Id>,
}

impl DocumentRow {
    /// The document as this viewer sees it.
    pub(super) fn seen(self, viewer: &Viewer) -> Document {
        Document { url: viewer.private_url(self.id), id: self.id, name: self.name, size: self.size }
    }
}

impl ApplicationRow {
    /// Refuses to touch what is another's, or has been reviewed.
    pub(super) fn refuse_unless_own_and_pending(&self, actor: &Actor<may::ApplyForScholarships>) -> Answer<()> {
        if self.student != actor.id() {
            return Err(Problem::forbidden("Only who applies may change an application or take it back."));
        }
        if self.status != ApplicationStatus::Pending {
            return Err(Problem::conflict("already_reviewed", "This application has been reviewed already."));
        }
        Ok(())
    }
}

impl Resource for Application {
    type Row = ApplicationRow;
    type Shown = Self;
    type Reader = Actor<may::ReadScholarshipApplications>;

    const NAME: &'static str = "scholarship_application";
    const TABLE: &'static str = "scholarship_applications";
    const ALIAS: &'static str = "a";
    const LIVE: &'static str = "a.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("scholarship", "a.scholarship_id", Kind::Id),
            Filter::new("student", "a.student_id", Kind::Id),
            Filter::new("status", "a.status", Kind::OneOf(&["pending", "approved", "rejected", "waitlisted"])),
        ],
        orderings: &[
            Ordering::new("created_at", "a.created_at", "timestamptz"),
            Ordering::new("updated_at", "a.updated_at", "timestamptz"),
        ],
        default: "id",
        search: None,
        updated_at: Some("a.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        if !viewer.reach(Permission::ReadScholarshipApplications).is_all() {
            sql.push(" and a.student_id = ").push_bind(viewer.caller_id());
        }
    }

    fn shown(row: ApplicationRow, viewer: &Viewer) -> Self {
        Self {
            id: row.id,
            student: row.student,
            scholarship: row.scholarship,
            application_date: row.application_date,
            documents: row.documents.into_iter().map(|document| document.seen(viewer)).collect(),
            status: row.status,
            reviewer_notes: row.reviewer_notes,
            reviewed_by: row.reviewed_by,
            reviewed_at: row.reviewed_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Writable for Application {
    type Fields = ApplicationFields;
    type Write = may::ApplyForScholarships;

    const REFUSALS: &'static [Refusal] = &[Refusal::taken(
        "scholarship_applications_are_made_once",
        "scholarship",
        "There is an application for this scholarship already.",
    )];

    fn fields(row: &ApplicationRow) -> ApplicationFields {
        ApplicationFields { scholarship: Some(row.scholarship), document: None }
    }

    async fn allowed(_: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        match target {
            Target::New(_) if actor.caller().is_some_and(|caller| caller.user_type == UserType::Student) => Ok(()),
            Target::New(_) => Err(Problem::forbidden("Only students apply for scholarships.")),
            Target::Row(row) => row.refuse_unless_own_and_pending(actor),
        }
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &ApplicationFields,
        before: Option<(Id, &ApplicationFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        faults.refers::<Scholarship>(tx, "scholarship", fields.scholarship).await?;
        if let (None, true, Some(scholarship)) = (before, faults.is_empty(), fields.scholarship) {
            let takes = takes_applications(tx, scholarship).await?;
            faults.unless(takes, "scholarship", "This scholarship takes no applications at present.");
        }
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &ApplicationFields) -> Answer<Id> {
        let id = store::add(tx, actor.id(), fields).await?;
        if let Some(document) = fields.document {
            store::add_document(tx, actor.id(), id, document).await?;
        }
        Ok(id)
    }

    /// Nothing is left to write: a scholarship stays, and documents are added.
    async fn update(_: &mut PgConnection, _: &Actor<Self::Write>, _: Id, _: &ApplicationFields) -> Answer<()> {
        Ok(())
    }
}

/// `POST /`
pub(super) async fn create(
    actor: Actor<may::ApplyForScholarships>,
    State(app): State<AppState>,
    NewApplication { fields, file, repeat }: NewApplication,
) -> Answer<Created<Application>> {
    let file = match &file {
        Some(file) => {
            let mut conn = app.db.acquire().await?;
            let admitted = Admitted::after(Application::allowed(&mut conn, &actor, Target::New(&fields))).await?;
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
            |tx, _| Box::pin(Application::allowed(tx, actor, Target::New(fields))),
            |tx, _| {
                Box::pin(async move {
                    let mut fields = fields.clone();
                    if let Some(file) = file {
                        let stored = app.files.put(tx, actor.id(), file, false).await?;
                        fields.document = Some(stored.id);
                        slot.hold(stored);
                    }
                    let row = http::insert::<Application>(tx, actor, &fields).await?;
                    Created::with(&Application::shown(row, actor))
                })
            },
        )
        .await?;
    written.keep();
    Ok(created)
}
