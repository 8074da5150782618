//! What is written of a ticket, and by whom: what it says by all who write it, how it is handled by staff.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::parties::Parties;
use crate::access::{Permission, Viewer};
use crate::http::{Answer, Changes, typed_part};
use crate::ids::{Id, or_null};

/// Where a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum TicketStatus {
    /// Waits for somebody.
    #[default]
    Open,
    /// Somebody is at it.
    InProgress,
    /// Done with.
    Closed,
}

impl TicketStatus {
    /// All of them, as they are spelt.
    pub(super) const NAMES: &'static [&'static str] = &["open", "in_progress", "closed"];
}

/// How much a ticket presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum TicketPriority {
    /// It can wait.
    Low,
    /// As usual.
    #[default]
    Medium,
    /// It cannot wait.
    High,
}

impl TicketPriority {
    /// All of them, as they are spelt.
    pub(super) const NAMES: &'static [&'static str] = &["low", "medium", "high"];
}

/// What a ticket says: its submitter, assignee, convenors and staff write it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct TicketText {
    /// At most 255 characters.
    pub(super) title: String,
    /// At most 20,000 characters.
    pub(super) description: String,
    /// At most 100 characters.
    pub(super) category: String,
    /// The unit that it is about.
    #[serde(deserialize_with = "or_null")]
    pub(super) related_unit: Option<Id>,
    /// The offering that it is about.
    #[serde(deserialize_with = "or_null")]
    pub(super) related_offering: Option<Id>,
}

/// How a ticket is handled: staff write it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct TicketHandling {
    /// An active member of staff, convenor or administrator.
    #[serde(deserialize_with = "or_null")]
    pub(super) assigned_to: Option<Id>,
    /// Its submitter may close and reopen it.
    pub(super) status: TicketStatus,
    /// How much it presses.
    pub(super) priority: TicketPriority,
}

/// All that can be written of a ticket. What is not the caller's to write is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(in crate::core) struct TicketFields {
    #[serde(flatten)]
    pub(super) text: TicketText,
    #[serde(flatten)]
    pub(super) handling: TicketHandling,
}

/// The part of the handling that is the submitter's.
#[derive(Serialize, Deserialize)]
struct Standing {
    status: TicketStatus,
}

impl TicketFields {
    /// The fields after a `PATCH` of what is the viewer's to write.
    pub(super) fn changed(&self, changes: &Changes<Self>, parties: &Parties, viewer: &Viewer) -> Answer<Self> {
        let text = changes.onto(&self.text)?;
        if parties.within(viewer, Permission::ManageTickets) {
            return Ok(Self { text, handling: changes.onto(&self.handling)? });
        }
        Ok(Self { text, handling: self.handling_by_others(changes, parties, viewer)? })
    }

    /// The fields after a `PUT`: what is left out has its default, but what is not the viewer's to write stays.
    pub(super) fn replaced(&self, fields: &Changes<Self>, parties: &Parties, viewer: &Viewer) -> Answer<Self> {
        let text = fields.onto(&TicketText::default())?;
        if parties.within(viewer, Permission::ManageTickets) {
            return Ok(Self { text, handling: fields.onto(&TicketHandling::default())? });
        }
        Ok(Self { text, handling: self.handling_by_others(fields, parties, viewer)? })
    }

    /// The submitter closes and reopens; that is all.
    fn handling_by_others(&self, sent: &Changes<Self>, parties: &Parties, viewer: &Viewer) -> Answer<TicketHandling> {
        let before = self.handling.status;
        if !parties.is_submitter(viewer) {
            return Ok(self.handling.clone());
        }
        let Standing { status: wanted } = sent.onto(&Standing { status: before })?;
        let status = match (before, wanted) {
            (_, TicketStatus::Closed) | (TicketStatus::Closed, TicketStatus::Open) => wanted,
            _ => before,
        };
        Ok(TicketHandling { status, ..self.handling.clone() })
    }
}

/// A new ticket. It is read in parts, so that what is not the caller's to write is ignored whatever it is.
#[derive(Debug, Deserialize)]
pub(super) struct NewTicket(Value);

impl NewTicket {
    /// What this viewer may set of it.
    pub(super) fn fields(&self, viewer: &Viewer) -> Answer<TicketFields> {
        let handling = if viewer.reach(Permission::ManageTickets).is_all() {
            typed_part(&self.0)?
        } else {
            TicketHandling::default()
        };
        Ok(TicketFields { text: typed_part(&self.0)?, handling })
    }
}

impl PartialSchema for NewTicket {
    fn schema() -> RefOr<Schema> {
        let whole = Ref::from_schema_name(TicketFields::name());
        let title = ObjectBuilder::new().schema_type(Type::String);
        AllOfBuilder::new().item(whole).item(ObjectBuilder::new().property("title", title).required("title")).into()
    }
}

impl ToSchema for NewTicket {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("NewTicket")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((TicketFields::name().into_owned(), TicketFields::schema()));
        TicketFields::schemas(schemas);
    }
}
