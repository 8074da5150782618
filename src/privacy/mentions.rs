//! The person in rows of others: what is replaced there, and what is left for somebody to decide.
//!
//! PostgreSQL finds the rows that may have a mention, [`Needles`] says where it stands. It is replaced where the row refers
//! to the person and the place can mean nobody else; any other place is a near miss.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::near::{Near, Reference};
use super::needles::{Certainty, Hit, Needles};
use super::tables::{TABLES, Table};
use crate::access::{Permission, Viewer};
use crate::audit;
use crate::http::Answer;
use crate::ids::Id;

/// The rows that are read at once.
const AT_ONCE: i64 = 500;

/// The most changes and the most near misses that an answer lists.
pub(super) const MOST_LISTED: usize = 1000;

/// What stands in place of a mention.
pub(super) const ERASED: &str = "***";

/// A text of somebody else in which the person is no longer mentioned.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Change {
    pub(super) table: &'static str,
    pub(super) row: Id,
    /// The column, and of JSON the place in it: `payload/student_name`.
    pub(super) field: String,
    /// The text around the mention; null for a caller who may not read such texts.
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

/// A text that may mean the person, for somebody to decide.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NearMiss {
    /// What `confirm` takes to have it replaced. It is good until the text changes.
    pub(super) id: String,
    pub(super) table: &'static str,
    pub(super) row: Id,
    /// The column, and of JSON the place in it: `payload/student_name`.
    pub(super) field: String,
    pub(super) reason: NearReason,
    /// The text around the place; null for a caller who may not read such texts.
    pub(super) before: Option<String>,
    /// What it would become; null where all that the audit log's row says of the change would go.
    pub(super) after: Option<String>,
}

/// Why a place is not replaced without being asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NearReason {
    /// It means the person, but stands in a row that does not refer to them.
    Elsewhere,
    /// Somebody else has the same name, address or phone number.
    Shared,
    /// It resembles what the person is known by, or is a first or last name alone.
    Resembles,
}

/// All that a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The rows of others that were changed.
    pub(super) rows: BTreeSet<(&'static str, i64)>,
    /// The rows that are to be delivered, and stay.
    pub(super) awaiting: BTreeSet<(&'static str, i64)>,
    /// The rows of the audit log that lost their details.
    pub(super) details: Vec<i64>,
    pub(super) changes: Vec<Change>,
    pub(super) changes_total: usize,
    /// By reason, so that the likeliest are listed first.
    near: [Vec<NearMiss>; 3],
    pub(super) near_total: usize,
}

impl Found {
    /// What is confirmed is no near miss any more.
    pub(super) fn forget_misses(&mut self, confirmed: &[String]) {
        for of_reason in &mut self.near {
            let before = of_reason.len();
            of_reason.retain(|miss| !confirmed.contains(&miss.id));
            self.near_total -= before - of_reason.len();
        }
    }

    /// The near misses that are listed.
    pub(super) fn near_misses(self) -> Vec<NearMiss> {
        let mut all: Vec<NearMiss> = self.near.into_iter().flatten().collect();
        all.truncate(MOST_LISTED);
        all
    }

    fn change(&mut self, change: Change) {
        self.changes_total += 1;
        if self.changes.len() < MOST_LISTED {
            self.changes.push(change);
        }
    }

    fn miss(&mut self, miss: NearMiss) {
        self.near_total += 1;
        let [elsewhere, shared, resembling] = &mut self.near;
        let of_reason = match miss.reason {
            NearReason::Elsewhere => elsewhere,
            NearReason::Shared => shared,
            NearReason::Resembles => resembling,
        };
        if of_reason.len() < MOST_LISTED {
            of_reason.push(miss);
        }
    }
}

/// Who is looked for, and for whom.
pub(super) struct Search<'a> {
    pub(super) person: Id,
    pub(super) needles: &'a Needles,
    pub(super) near: &'a Near,
    pub(super) viewer: &'a Viewer,
}

/// A row that may have a mention.
#[derive(sqlx::FromRow)]
struct Candidate {
    id: i64,
    own: bool,
    refers: bool,
    awaits: bool,
    texts: Value,
}

impl Search<'_> {
    /// Replaces what is sure in all tables, and finds what is not.
    pub(super) async fn run(&self, tx: &mut PgConnection) -> Answer<Found> {
        let mut found = Found::default();
        if self.needles.is_empty() {
            return Ok(found);
        }
        for table in TABLES.iter().filter(|table| !table.texts.is_empty() || !table.documents.is_empty()) {
            let mut last = 0;
            loop {
                let rows = self.candidates(tx, table, last).await?;
                let Some(newest) = rows.last() else { break };
                last = newest.id;
                for row in rows {
                    self.look_at(tx, table, row, &mut found).await?;
                }
            }
        }
        self.look_at_the_log(tx, &mut found).await?;
        Ok(found)
    }

    /// The next rows that may have a mention, but for those that are deleted with the person.
    async fn candidates(&self, tx: &mut PgConnection, table: &Table, last: i64) -> sqlx::Result<Vec<Candidate>> {
        let condition = |sql: &str| {
            let sql = if sql.is_empty() { "false" } else { sql };
            format!("coalesce(({}), false)", sql.replace("$1", &self.person.to_string()))
        };
        let any_of = |deleted: bool| {
            let entries = TABLES.iter().filter(|t| t.name == table.name && t.deleted == deleted && !t.of.is_empty());
            let conditions: Vec<String> = entries.map(|entry| condition(entry.of)).collect();
            if conditions.is_empty() { "false".to_owned() } else { conditions.join(" or ") }
        };
        let columns: Vec<&str> = columns(table).collect();
        let pairs: Vec<String> = columns.iter().map(|column| format!("'{column}', {column}")).collect();
        let texts: Vec<String> = columns.iter().map(|column| format!("{column}::text")).collect();
        let mut sql = QueryBuilder::<Postgres>::new("select id, own, refers, awaits, texts from (select id, (");
        sql.push(any_of(false)).push(") as own, ").push(condition(table.refers)).push(" as refers, ");
        sql.push(condition(table.awaits)).push(" as awaits, jsonb_build_object(").push(pairs.join(", "));
        sql.push(") as texts, concat_ws(e'\\n', ").push(texts.join(", ")).push(") as body from ").push(table.name);
        sql.push(" where id > ").push_bind(last).push(" and not (").push(any_of(true)).push(")) candidates where (");
        self.push_coarse(&mut sql, "body");
        if let Some(alone) = self.needles.coarse_alone() {
            sql.push(" or ((own or refers) and body ~ ").push_bind(alone).push(")");
        }
        sql.push(") order by id limit ").push_bind(AT_ONCE);
        sql.build_query_as().fetch_all(tx).await
    }

    fn push_coarse(&self, sql: &mut QueryBuilder<Postgres>, body: &str) {
        sql.push("false");
        for group in self.needles.coarse() {
            sql.push(" or ").push(body).push(" ~ all(").push_bind(group).push(")");
        }
    }

    async fn look_at(&self, tx: &mut PgConnection, table: &Table, row: Candidate, found: &mut Found) -> Answer<()> {
        let refers = row.own || row.refers;
        let row = if refers && !row.awaits && self.has_sure(&row.texts) {
            // What somebody else writes meanwhile is neither lost nor missed.
            let Some(texts) = locked(tx, table, row.id).await? else { return Ok(()) };
            Candidate { texts, ..row }
        } else {
            row
        };
        let mut changed: Vec<(&str, Value)> = Vec::new();
        for column in columns(table) {
            // What the person's own rows lose anyway.
            if row.own && is_cleared(table, column) {
                continue;
            }
            let Some(stored) = row.texts.get(column) else { continue };
            let mut value = stored.clone();
            for place in places(stored) {
                let Some(text) = stored.pointer(&place).and_then(Value::as_str) else { continue };
                let hits = self.needles.find(text, refers);
                let sure: Vec<Hit> =
                    hits.into_iter().filter(|hit| refers && hit.certainty == Certainty::Sure).collect();
                if row.awaits {
                    if !sure.is_empty() {
                        found.awaiting.insert((table.name, row.id));
                    }
                    continue;
                }
                let field = format!("{column}{place}");
                let left = replaced(text, &sure);
                if !sure.is_empty() {
                    let [before, after] = self.shown(table.shown_with, text, &sure);
                    found.change(Change { table: table.name, row: Id(row.id), field: field.clone(), before, after });
                    if let Some(text) = value.pointer_mut(&place) {
                        *text = Value::String(left.clone());
                    }
                }
                // Of the text as it is left: that is what somebody decides on.
                let near = self.needles.find(&left, refers);
                if let Some(reason) = reason(&near) {
                    let reference = Reference::of(table.name, row.id, column, &place, &near);
                    let [before, after] = self.shown(table.shown_with, &left, &near);
                    let id = self.near.seal(self.person, &reference, &left);
                    found.miss(NearMiss { id, table: table.name, row: Id(row.id), field, reason, before, after });
                }
            }
            if value != *stored {
                changed.push((column, value));
            }
        }
        if !changed.is_empty() {
            write(tx, table, row.id, &changed).await?;
            found.rows.insert((table.name, row.id));
        }
        Ok(())
    }

    /// Whether a text of this row can mean nobody else.
    fn has_sure(&self, texts: &Value) -> bool {
        places(texts)
            .iter()
            .filter_map(|place| texts.pointer(place)?.as_str())
            .any(|text| self.needles.find(text, false).iter().any(|hit| hit.certainty == Certainty::Sure))
    }

    /// The audit log: what is of the person and mentions them goes, the rest is for somebody to decide. The seals leave no
    /// choice but to erase all details of a row.
    async fn look_at_the_log(&self, tx: &mut PgConnection, found: &mut Found) -> Answer<()> {
        let mut last = 0;
        loop {
            let mut sql = QueryBuilder::<Postgres>::new("select id, resource_type, details, details::text, coalesce((");
            sql.push(super::log::OF_STUDIES.replace("$1", &self.person.to_string()));
            sql.push("), false) from audit_log where details <> '{}' and id > ").push_bind(last).push(" and (");
            self.push_coarse(&mut sql, "details::text");
            sql.push(") order by id limit ").push_bind(AT_ONCE);
            let rows: Vec<(i64, String, Value, String, bool)> = sql.build_query_as().fetch_all(&mut *tx).await?;
            let Some((newest, ..)) = rows.last() else { break };
            last = *newest;
            for (id, resource_type, details, text, own) in rows {
                let find = |details: &Value| -> Vec<(String, Vec<Hit>)> {
                    let texts = places(details)
                        .into_iter()
                        .filter_map(|place| details.pointer(&place)?.as_str().map(str::to_owned));
                    texts.map(|text| (self.needles.find(&text, false), text)).map(|(hits, text)| (text, hits)).collect()
                };
                let hits: Vec<Hit> = find(&details).into_iter().flat_map(|(_, hits)| hits).collect();
                let Some(reason) = reason(&hits) else { continue };
                if own && reason == NearReason::Elsewhere {
                    found.details.push(id);
                    continue;
                }
                let seen = find(&audit::seen(&resource_type, details, self.viewer));
                let seen = seen.iter().find(|(_, hits)| !hits.is_empty());
                let before = seen.map(|(text, hits)| excerpt(text, hits, false));
                let reference = Reference::of("audit_log", id, "details", "", &[]);
                let id_of_miss = self.near.seal(self.person, &reference, &text);
                let field = "details".to_owned();
                found.miss(NearMiss {
                    id: id_of_miss,
                    table: "audit_log",
                    row: Id(id),
                    field,
                    reason,
                    before,
                    after: None,
                });
            }
        }
        super::log::erase(tx, &found.details).await?;
        Ok(())
    }

    fn shown(&self, with: Option<Permission>, text: &str, hits: &[Hit]) -> [Option<String>; 2] {
        let is_shown = with.is_none_or(|permission| self.viewer.reach(permission).is_all());
        [false, true].map(|erased| is_shown.then(|| excerpt(text, hits, erased)))
    }
}

/// The texts of a row that nobody else can change now; none when it is gone, or waits to be delivered again.
pub(super) async fn locked(tx: &mut PgConnection, table: &Table, row: i64) -> sqlx::Result<Option<Value>> {
    let pairs: Vec<String> = columns(table).map(|column| format!("'{column}', {column}")).collect();
    let mut sql = QueryBuilder::<Postgres>::new("select jsonb_build_object(");
    sql.push(pairs.join(", ")).push(") from ").push(table.name).push(" where id = ").push_bind(row);
    if !table.awaits.is_empty() {
        sql.push(" and not (").push(table.awaits).push(")");
    }
    sql.push(" for update");
    sql.build_query_scalar().fetch_optional(tx).await
}

/// The columns of a table in which anybody can be named.
pub(super) fn columns(table: &Table) -> impl Iterator<Item = &'static str> {
    table.texts.split_whitespace().chain(table.documents.split_whitespace())
}

fn is_cleared(table: &Table, column: &str) -> bool {
    TABLES
        .iter()
        .filter(|entry| entry.name == table.name)
        .any(|entry| entry.cleared.iter().any(|(name, _)| *name == column))
}

/// Writes these columns of a row.
pub(super) async fn write(
    tx: &mut PgConnection,
    table: &Table,
    row: i64,
    columns: &[(&str, Value)],
) -> sqlx::Result<()> {
    let mut sql = QueryBuilder::<Postgres>::new("update ");
    sql.push(table.name).push(" set ");
    for (nth, (column, value)) in columns.iter().enumerate() {
        sql.push(if nth == 0 { "" } else { ", " }).push(*column).push(" = ");
        match value.as_str().filter(|_| is_text(table, column)) {
            Some(text) => sql.push_bind(text.to_owned()),
            None => sql.push_bind(value.clone()),
        };
    }
    if table.dated {
        sql.push(", updated_at = rule_now()");
    }
    sql.push(" where id = ").push_bind(row);
    sql.build().execute(tx).await?;
    Ok(())
}

/// Whether the column is a text, and not JSON.
fn is_text(table: &Table, column: &str) -> bool {
    table.texts.split_whitespace().any(|name| name == column)
}

/// Where the texts of a value are, as JSON pointers; keys are none.
fn places(value: &Value) -> Vec<String> {
    match value {
        Value::String(_) => vec![String::new()],
        Value::Array(items) => {
            let of_item = |(nth, item)| places(item).into_iter().map(move |place| format!("/{nth}{place}"));
            items.iter().enumerate().flat_map(of_item).collect()
        }
        Value::Object(members) => {
            let of_member = |(name, member): (&String, &Value)| {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(member).into_iter().map(move |place| format!("/{name}{place}")).collect::<Vec<_>>()
            };
            members.iter().flat_map(of_member).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// Why these places are near misses; none without places.
fn reason(hits: &[Hit]) -> Option<NearReason> {
    hits.iter().map(|hit| hit.certainty).min().map(|surest| match surest {
        Certainty::Sure => NearReason::Elsewhere,
        Certainty::Shared => NearReason::Shared,
        Certainty::Resembles | Certainty::Alone => NearReason::Resembles,
    })
}

/// The text without these places.
pub(super) fn replaced(text: &str, hits: &[Hit]) -> String {
    let (mut left, mut from) = (String::new(), 0);
    for Hit { at, .. } in hits {
        left.push_str(text.get(from..at.start).unwrap_or_default());
        left.push_str(ERASED);
        from = at.end;
    }
    left.push_str(text.get(from..).unwrap_or_default());
    left
}

/// The signs around a place that an excerpt has, and the most places.
const AROUND: usize = 60;
const MOST_PLACES: usize = 5;

/// What stands around these places.
fn excerpt(text: &str, hits: &[Hit], erased: bool) -> String {
    let mut excerpt = String::new();
    let mut from = 0;
    for (nth, Hit { at, .. }) in hits.iter().take(MOST_PLACES).enumerate() {
        let between = text.get(from..at.start).unwrap_or_default();
        let long = between.chars().count();
        // After the last place, and before this one.
        let after_last = if nth == 0 { 0 } else { AROUND };
        if long > AROUND + after_last {
            excerpt.extend(between.chars().take(after_last));
            excerpt.push('…');
            excerpt.extend(between.chars().skip(long - AROUND));
        } else {
            excerpt.push_str(between);
        }
        excerpt.push_str(if erased { ERASED } else { text.get(at.clone()).unwrap_or_default() });
        from = at.end;
    }
    let rest = text.get(from..).unwrap_or_default();
    excerpt.extend(rest.chars().take(AROUND));
    if rest.chars().nth(AROUND).is_some() {
        excerpt.push('…');
    }
    excerpt
}
