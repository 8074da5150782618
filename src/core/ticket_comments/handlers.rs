//! What a comment is on the wire.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Permission, Viewer, may};
use crate::core::tickets::{Parties, Ticket, push_within};
use crate::http::{
    Answer, Faults, Filter, Kind, Listing, Ordering, Problem, Resource, Search, Sight, Target, Writable, find,
};
use crate::ids::{Id, Moment, or_null};

/// A row of [`store::SELECT`].
#[derive(Debug, FromRow)]
pub(in crate::core) struct CommentRow {
    pub(super) id: Id,
    pub(super) ticket: Id,
    pub(super) commenter: Id,
    comment: String,
    pub(super) internal: bool,
    #[sqlx(flatten)]
    pub(super) parties: Parties,
    created_at: Moment,
    updated_at: Moment,
}

/// What somebody said about a ticket.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::core) struct TicketComment {
    id: Id,
    ticket: Id,
    commenter: Id,
    comment: String,
    /// A note among staff, which who submitted the ticket never sees.
    internal: bool,
    created_at: Moment,
    updated_at: Moment,
}

/// What is written of a comment.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(in crate::core) struct TicketCommentFields {
    /// The ticket; it stays.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub(super) ticket: Option<Id>,
    /// At most 20,000 characters.
    #[schema(required)]
    pub(super) comment: String,
    /// Staff write it, but not on tickets that they have submitted themselves.
    pub(super) internal: bool,
}

/// What a `PUT` of a comment needs, for the OpenAPI document: its ticket stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, and never made")]
pub(super) struct TicketCommentReplacement {
    /// At most 20,000 characters.
    comment: String,
    /// Staff write it, but not on tickets that they have submitted themselves.
    internal: Option<bool>,
}

impl Resource for TicketComment {
    type Row = CommentRow;
    type Shown = Self;
    type Reader = Actor<may::ReadTickets>;

    const NAME: &'static str = "ticket_comment";
    const TABLE: &'static str = "ticket_comments";
    const ALIAS: &'static str = "c";
    // Comments go with their ticket.
    const LIVE: &'static str = "c.deleted_at is null and t.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("ticket", "c.ticket_id", Kind::Id),
            Filter::new("commenter", "c.commenter_id", Kind::Id),
            Filter::new("internal", "c.internal", Kind::Flag),
        ],
        orderings: &[
            Ordering::new("created_at", "c.created_at", "timestamptz"),
            Ordering::new("updated_at", "c.updated_at", "timestamptz"),
        ],
        default: "id",
        search: Some(Search::Anywhere("c.search_text")),
        updated_at: Some("c.updated_at"),
    };

    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        sql.push(" and ");
        push_within(sql, viewer, Permission::ReadTickets);
        sql.push(" and (not c.internal or (t.submitter_id <> ").push_bind(viewer.caller_id()).push(" and ");
        push_within(sql, viewer, Permission::ReadTicketNotes);
        sql.push("))");
    }

    fn shown(row: CommentRow, viewer: &Viewer) -> Self {
        // An administrator restores what they do not see.
        let withheld = row.internal && row.parties.is_submitter(viewer);
        Self {
            id: row.id,
            ticket: row.ticket,
            commenter: row.commenter,
            comment: if withheld { String::new() } else { row.comment },
            internal: row.internal,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Writable for TicketComment {
    type Fields = TicketCommentFields;
    type Write = may::WriteTickets;

    fn fields(row: &CommentRow) -> TicketCommentFields {
        TicketCommentFields { ticket: Some(row.ticket), comment: row.comment.clone(), internal: row.internal }
    }

    /// Who may write the ticket comments on it; of what is said they touch what they said themselves, staff all of it.
    async fn allowed(tx: &mut PgConnection, actor: &Actor<Self::Write>, target: Target<'_, Self>) -> Answer<()> {
        let (parties, own) = match target {
            // What is missing, the rules name.
            Target::New(TicketCommentFields { ticket: None, .. }) => return Ok(()),
            Target::New(TicketCommentFields { ticket: Some(ticket), .. }) => {
                let unknown = || Problem::invalid("ticket", format!("There is no ticket with the id {ticket}."));
                let found = find::<Ticket>(tx, actor, *ticket, Sight::Visible).await;
                let row = found.map_err(|problem| if problem.code() == "not_found" { unknown() } else { problem })?;
                (row.parties, true)
            }
            Target::Row(row) => {
                let own = row.commenter == actor.id() || row.parties.within(actor, Permission::ManageTickets);
                (row.parties.clone(), own)
            }
        };
        if own && parties.within(actor, Permission::WriteTickets) {
            return Ok(());
        }
        Err(Problem::forbidden("Only who wrote a comment and staff may do this."))
    }

    async fn check(
        tx: &mut PgConnection,
        fields: &TicketCommentFields,
        _: Option<(Id, &TicketCommentFields)>,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        faults.refers::<Ticket>(tx, "ticket", fields.ticket).await?;
        faults.name("comment", &fields.comment, 20_000);
        faults.check()
    }

    async fn insert(tx: &mut PgConnection, actor: &Actor<Self::Write>, fields: &TicketCommentFields) -> Answer<Id> {
        Ok(store::add(tx, actor.id(), fields).await?)
    }

    async fn update(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        id: Id,
        fields: &TicketCommentFields,
    ) -> Answer<()> {
        Ok(store::replace(tx, actor.id(), id, fields).await?)
    }
}
