//! What a ticket is on the wire.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::fields::{TicketFields, TicketHandling, TicketPriority, TicketStatus, TicketText};
use super::parties::{Parties, push_within};
use super::store;
use crate::academic::offerings::Offering;
use crate::academic::units::Unit;
use crate::access::{Actor, Permission, Viewer, may};
use crate::http::{
    Answer, Audited, Faults, Filter, Kind, Listing, Ordering, Problem, Resource, Search, Target, Writable,
};
use crate::ids::Id;
use crate::users::accounts::Recipient;

/// A row of [`store::SELECT`].
#[derive(Debug, FromRow)]
pub(in crate::core) struct TicketRow {
    pub(in crate::core) id: Id,
    pub(in crate::core) title: String,
    description: String,
    #[sqlx(flatten)]
    pub(in crate::core) parties: Parties,
    status: TicketStatus,
    priority: TicketPriority,
    category: String,
    related_unit: Option<Id>,
    related_offering: Option<Id>,
    #[sqlx(json)]
    pub(super) files: Vec<FileRow>,
    #[sqlx(flatten)]
    audited: Audited,
}

/// A file of a ticket.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct FileRow {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) size: i64,
}

/// What somebody asks for or complains of.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::core) struct Ticket {
    id: Id,
    title: String,
    description: String,
    submitter: Id,
    assigned_to: Option<Id>,
    status: TicketStatus,
    priority: TicketPriority,
    category: String,
    related_unit: Option<Id>,
    related_offering: Option<Id>,
    files: Vec<TicketFile>,
    #[serde(flatten)]
    audited: Audited,
}

/// A file that belongs to a ticket.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TicketFile {
    id: Id,
    /// What its sender called it.
    name: String,
    /// In bytes.
    size: i64,
    /// A link to it, valid for ten minutes.
    url: String,
}

impl FileRow {
    /// The file as this viewer sees it.
    pub(super) fn seen(self, viewer: &Viewer) -> TicketFile {
        TicketFile { url: viewer.private_url(self.id), id: self.id, name: self.name, size: self.size }
    }
}

impl Resource for Ticket {
    type Row = TicketRow;
    type Shown = Self;
    type Reader = Actor<may::ReadTickets>;

    const NAME: &'static str = "ticket";
    const TABLE: &'static str = "tickets";
    const ALIAS: &'static str = "t";
    const LIVE: &'static str = "t.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("status", "t.status", Kind::OneOf(TicketStatus::NAMES)),
            Filter::new("priority", "t.priority", Kind::OneOf(TicketPriority::NAMES)),
            Filter::new("category", "t.category", Kind::Text),
            Filter::new("assigned_to", "t.assigned_to_id", Kind::Id),
            Filter::new("submitter", "t.submitter_id", Kind::Id),
            Filter::new("related_unit", "t.related_unit_id", Kind::Id),
            Filter::new("related_offering", "t.related_offering_id", Kind::Id),
        ],
        orderings: &[
            Ordering::new("created_at", "t.created_at", "timestamptz"),
            Ordering::new("updated_at", "t.updated_at", "timestamptz"),
        ],
        default: "-created_at",
        search: Some(Search::Anywhere("t.search_text")),
        updated_at: Some("t.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        sql.push(" and ");
        push_within(sql, viewer, Permission::ReadTickets);
    }

    fn shown(row: TicketRow, viewer: &Viewer) -> Self {
        Self {
            id: row.id,
            title: row.title,
            description: row.description,
            submitter: row.parties.submitter,
            assigned_to: row.parties.assigned_to,
            status: row.status,
            priority: row.priority,
            category: row.category,
            related_unit: row.related_unit,
            related_offering: row.related_offering,
            files: row.files.into_iter().map(|file| file.seen(viewer)).collect(),
            audited: row.audited,
        }
    }
}

impl Writable for Ticket {
    type Fields = TicketFields;
    type Write = may::WriteTickets;

    fn fields(row: &TicketRow) -> TicketFields {
        TicketFields {
            text: TicketText {
                title: row.title.clone(),
                description: row.description.clone(),
                category: row.category.clone(),
                related_unit: row.related_unit,
                related_offering: row.related_offering,
            },
            handling: TicketHandling {
                assigned_to: row.parties.assigned_to,
                status: row.status,
                priority: row.priority,
            },
        }
    }

    async fn allowed(_: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        match target {
            Target::Row(row) if !row.parties.within(actor, Permission::WriteTickets) => {
                Err(Problem::forbidden("Only who submitted a ticket, who looks after it and staff may write it."))
            }
            Target::Row(_) | Target::New(_) => Ok(()),
        }
    }

    async fn check(tx: &mut PgConnection, fields: &TicketFields, before: Option<(Id, &TicketFields)>) -> Answer<()> {
        let TicketFields { text, handling } = fields;
        let mut faults = Faults::default();
        faults.name("title", &text.title, 255);
        faults.text("description", &text.description, 20_000);
        faults.text("category", &text.category, 100);
        if text.related_unit.is_some() {
            faults.refers::<Unit>(tx, "related_unit", text.related_unit).await?;
        }
        if text.related_offering.is_some() {
            faults.refers::<Offering>(tx, "related_offering", text.related_offering).await?;
        }
        // A ticket whose assignee has left can still be changed.
        let stays = before.is_some_and(|(_, before)| before.handling.assigned_to == handling.assigned_to);
        if handling.assigned_to.is_some() && !stays {
            faults.refers::<Recipient>(tx, "assigned_to", handling.assigned_to).await?;
        }
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &TicketFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(tx: &mut PgConnection, actor: &Actor<Self::Write>, id: Id, fields: &TicketFields) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}
