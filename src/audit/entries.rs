//! The log as administrators and auditors read it.

use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use utoipa::ToSchema;

use super::details;
use crate::access::{Actor, Viewer, may};
use crate::http::{Filter, Kind, Listing, Ordering, Resource};
use crate::ids::{Id, Moment};

/// What was done.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(super) struct AuditEntry {
    id: Id,
    /// Who did it; null for nobody known, and for the server itself.
    user: Option<Id>,
    action: String,
    /// What kind of thing it was done to.
    resource_type: String,
    /// Which of these.
    resource_id: Option<Id>,
    /// Of a change `{"changes": {field: {"before", "after"}}}`, where a long value is `{"length", "sha256"}` and a field that the
    /// caller may not see `{"changed": true}`; empty when nothing more is to be said, or it was erased.
    #[schema(value_type = Object)]
    details: Value,
    /// Null when the server did it, or it was erased.
    ip_address: Option<String>,
    user_agent: String,
    /// The request's id, as in `X-Request-Id` and the server's log.
    request_id: String,
    created_at: Moment,
}

const SELECT: &str = "
select al.id,
       al.user_id as \"user\",
       al.action,
       al.resource_type,
       al.resource_id,
       al.details,
       host(al.ip_address) as ip_address,
       al.user_agent,
       al.request_id,
       al.created_at
from audit_log al";

impl Resource for AuditEntry {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadAuditLog>;

    const NAME: &'static str = "audit_entry";
    const TABLE: &'static str = "audit_log";
    const ALIAS: &'static str = "al";
    const LIVE: &'static str = "true";
    const SELECT: &'static str = SELECT;
    const LISTING: Listing = Listing {
        filters: &[
            Filter::new("user", "al.user_id", Kind::Id),
            Filter::new("action", "al.action", Kind::Text),
            Filter::new("resource_type", "al.resource_type", Kind::Text),
            Filter::new("resource_id", "al.resource_id", Kind::Id),
            Filter::new("ip_address", "al.ip_address", Kind::Address),
            Filter::new("user_agent", "al.user_agent", Kind::Text),
            Filter::new("created_from", "al.created_at", Kind::From),
            Filter::new("created_to", "al.created_at", Kind::To),
        ],
        orderings: &[Ordering::new("created_at", "al.created_at", "timestamptz")],
        default: "-created_at",
        search: None,
        updated_at: None,
    };

    fn shown(row: Self, viewer: &Viewer) -> Self {
        Self { details: details::seen(&row.resource_type, row.details, viewer), ..row }
    }
}
