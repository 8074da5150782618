//! What a notification is on the wire.

use serde::Serialize;
use sqlx::{FromRow, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, Viewer, may};
use crate::http::{Filter, Kind, Listing, Ordering, Resource};
use crate::ids::{Id, Moment};

/// Something that its recipient is told.
#[derive(Debug, Clone, FromRow, Serialize, ToSchema)]
pub struct Notification {
    pub(super) id: Id,
    recipient: Id,
    /// Who did it; null when the server itself speaks.
    actor: Option<Id>,
    /// What happened, such as `Enrolment confirmed`.
    pub(super) verb: String,
    /// The particulars; of what a person has sent, with who that was behind them.
    pub(super) description: String,
    /// What kind of thing it is about, such as `enrollment`; empty when it is about none.
    target_content_type: String,
    target_object_id: Option<Id>,
    pub(super) unread: bool,
    created_at: Moment,
    updated_at: Moment,
    /// Name and address of the person who has sent it; none when the server itself speaks.
    #[serde(skip)]
    #[schema(ignore)]
    sender: Option<String>,
}

impl Notification {
    /// Its id.
    pub(super) fn id(&self) -> Id {
        self.id
    }

    /// As its recipient is shown it: pages have no place for the actor.
    pub(super) fn for_recipient(mut self) -> Self {
        if let Some(sender) = self.sender.take() {
            let space = if self.description.is_empty() { "" } else { " " };
            self.description = format!("{}{space}— {sender}", self.description);
        }
        self
    }
}

impl Resource for Notification {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadNotifications>;

    const NAME: &'static str = "notification";
    const TABLE: &'static str = "notifications";
    const ALIAS: &'static str = "n";
    const LIVE: &'static str = "n.deleted_at is null";
    const SELECT: &'static str = store::SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("unread", "n.unread", Kind::Flag),
            Filter::new("verb", "n.verb", Kind::Text),
            Filter::new("actor", "n.actor_id", Kind::Id),
            Filter::new("target_content_type", "n.target_content_type", Kind::Text),
            Filter::new("target_object_id", "n.target_object_id", Kind::Id),
        ],
        orderings: &[
            Ordering::new("created_at", "n.created_at", "timestamptz"),
            Ordering::new("updated_at", "n.updated_at", "timestamptz"),
        ],
        default: "-created_at",
        search: None,
        updated_at: Some("n.updated_at"),
    };

    /// One's own, whoever one is.
    fn visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer, _: bool) {
        sql.push(" and n.recipient_id = ").push_bind(viewer.caller_id());
    }

    fn shown(row: Self, _: &Viewer) -> Self {
        row.for_recipient()
    }
}
