//! The audit log: a row for every write, in the write's transaction; sealed, so that a change by hand is found.
//!
//! Owns `audit_log` and `audit_seals`. Writers record here; [`seal`] chains what they wrote, [`verify()`] compares, and
//! the log's lists are what administrators and auditors read.

mod chain;
mod details;
mod entries;
pub mod seal;
mod verify;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use crate::access::Viewer;
use crate::http::{Answer, Origin, Routes, list, show};
use crate::ids::Id;

pub(crate) use details::seen;
pub use verify::{Fault, Report, verify};

/// The endpoints of the log.
pub fn routes() -> Routes {
    Routes::under("/api/users/audit-log")
        .get("/", list::<entries::AuditEntry>, "Lists what was done, the latest first.")
        .get("/{id}/", show::<entries::AuditEntry>, "Shows an entry of the audit log.")
}

/// Writes what was done to what, with each changed field before and after; of long texts the length and digest, of what people
/// say to each other the length.
///
/// The two sides are what callers can write ([`crate::http::Writable::Fields`]); secrets are not among these.
///
/// # Errors
/// The database's failure.
pub async fn record(
    tx: &mut PgConnection,
    actor: &Viewer,
    action: &str,
    resource_type: &str,
    resource_id: Option<Id>,
    before: &Value,
    after: &Value,
) -> Answer<()> {
    note(tx, actor.caller_id(), &actor.origin, action, resource_type, resource_id, &difference(before, after)).await
}

/// Writes what was done to many at once, a row for each: the id, and each changed field before and after.
///
/// # Errors
/// The database's failure.
pub async fn record_all(
    tx: &mut PgConnection,
    actor: &Viewer,
    action: &str,
    resource_type: &str,
    changes: &[(Id, Value, Value)],
) -> Answer<()> {
    let (ids, details) = columns(resource_type, changes);
    sqlx::query!(
        "insert into audit_log (user_id, action, resource_type, resource_id, details, ip_address, user_agent, request_id)
         select $1, $2, $3, id, details, $6::text::inet, $7, $8
           from unnest($4::bigint[], $5::jsonb[]) with ordinality as c (id, details, nth)
          order by nth",
        actor.caller_id().map(|id| id.0),
        action,
        resource_type,
        &ids,
        &details,
        actor.origin.ip.to_string(),
        actor.origin.agent,
        actor.origin.request_id
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Writes what the server did by itself, a row for each: the id, and each changed field before and after.
///
/// # Errors
/// The database's failure.
pub async fn of_a_job(
    tx: &mut PgConnection,
    action: &str,
    resource_type: &str,
    changes: &[(Id, Value, Value)],
) -> Answer<()> {
    let (ids, details) = columns(resource_type, changes);
    sqlx::query!(
        "insert into audit_log (action, resource_type, resource_id, details)
         select $1, $2, id, details
           from unnest($3::bigint[], $4::jsonb[]) with ordinality as c (id, details, nth)
          order by nth",
        action,
        resource_type,
        &ids,
        &details
    )
    .execute(tx)
    .await?;
    Ok(())
}

fn columns(resource_type: &str, changes: &[(Id, Value, Value)]) -> (Vec<i64>, Vec<Value>) {
    let kept = |before, after| details::kept(resource_type, &difference(before, after));
    changes.iter().map(|(id, before, after)| (id.0, kept(before, after))).unzip()
}

/// Writes what was done to what, with details of the writer's choice.
///
/// # Errors
/// The database's failure.
pub async fn note(
    tx: &mut PgConnection,
    actor: Option<Id>,
    origin: &Origin,
    action: &str,
    resource_type: &str,
    resource_id: Option<Id>,
    details: &Value,
) -> Answer<()> {
    let details = details::kept(resource_type, details);
    sqlx::query!(
        "insert into audit_log (user_id, action, resource_type, resource_id, details, ip_address, user_agent, request_id)
         values ($1, $2, $3, $4, $5, $6::text::inet, $7, $8)",
        actor.map(|id| id.0),
        action,
        resource_type,
        resource_id.map(|id| id.0),
        details,
        origin.ip.to_string(),
        origin.agent,
        origin.request_id
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Each field that differs, before and after.
pub(crate) fn difference(before: &Value, after: &Value) -> Value {
    let empty = Map::new();
    let (old, new) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name)).map(|name| {
        let side = |side: &Map<String, Value>| side.get(name).cloned().unwrap_or(Value::Null);
        (name.clone(), json!({ "before": side(old), "after": side(new) }))
    });
    json!({ "changes": changed.collect::<Map<_, _>>() })
}
