//! Lists: filters, search, ordering and keyset pages.
//!
//! A resource names its filters and orderings as data ([`Listing`]); [`Asked`] checks a query string against them,
//! [`Asked::page`] turns both into one statement. A page starts after the last row of the one before, by that row's
//! ordering values and id, so that page 10,000 costs what page 1 does and rows that come or go in between shift nothing.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::NaiveDate;
use futures_util::TryStreamExt as _;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder, Row};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use utoipa::ToSchema;

use super::describe::{Answers, Describe, Notes, Schemas, schema_of};
use super::listing::{Filter, Kind, Listing, Ordering, Search};
use super::origin::Origin;
use super::problem::{Answer, Faults, Problem};
use super::read::sentence;
use super::verbs::Resource;
use crate::access::{Viewer, keys};
use crate::app::AppState;
use crate::ids::{Id, Moment};

/// A checked query string.
#[derive(Debug)]
pub struct Asked<R> {
    filters: Vec<(Filter, Value)>,
    search: Option<String>,
    updated_since: Option<Moment>,
    ordering: Vec<(Ordering, bool)>,
    after: Option<Cursor>,
    size: i64,
    /// The most bytes of the page, beyond which it ends before its size; the row that passes it is whole.
    largest: usize,
    /// Whether the caller asked for a size, or for a page that is not the first.
    is_paged: bool,
    count: bool,
    include_deleted: bool,
    address: Address,
    cursors: Arc<Cursors>,
    resource: PhantomData<fn() -> R>,
}

#[derive(Debug, Clone)]
enum Value {
    Number(i64),
    Text(String),
    Flag(bool),
    Moment(Moment),
    Day(NaiveDate),
}

/// The list's own address without the cursor, for `Link`.
#[derive(Debug)]
struct Address {
    base: String,
    path: String,
    rest: Vec<(String, String)>,
}

/// The last row of a page. Only a cursor that we made is read ([`Cursors`]).
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// Its ordering values as text.
    k: Vec<String>,
    /// Its id.
    i: i64,
}

/// Signs cursors, each for one list with its filters and its ordering: what stands in a statement's place for the last
/// row's values is what the database gave us, whoever sends it back.
#[derive(Debug)]
pub struct Cursors(hmac::Key);

impl Cursors {
    /// With a key of its own, made from the server's secret.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        Self(keys::derived(secret, "cursors of lists"))
    }

    fn sign(&self, list: &str, cursor: &[u8]) -> hmac::Tag {
        let mut said = hmac::Context::with_key(&self.0);
        said.update(&(list.len() as u64).to_be_bytes());
        said.update(list.as_bytes());
        said.update(cursor);
        said.sign()
    }

    fn write(&self, list: &str, cursor: &Cursor) -> Answer<String> {
        let cursor = serde_json::to_vec(cursor).map_err(Problem::internal)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode([self.sign(list, &cursor).as_ref(), &cursor].concat()))
    }

    fn read(&self, list: &str, text: &str) -> Option<Cursor> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (tag, cursor) = bytes.split_at_checked(hmac::HMAC_SHA256.digest_algorithm().output_len())?;
        constant_time::verify_slices_are_equal(self.sign(list, cursor).as_ref(), tag).ok()?;
        serde_json::from_slice(cursor).ok()
    }
}

const ID: Ordering = Ordering::new("id", "{id}", "int8");

impl<R: Resource> FromRequestParts<AppState> for Asked<R> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        Self::of(&query_pairs(head)?, Faults::default(), head, app)
    }
}

impl<R: Resource> Asked<R> {
    /// Checks these pairs of the query string, and reports what is wrong with them together with `faults`.
    pub(crate) fn of(pairs: &[(String, String)], mut faults: Faults, head: &Parts, app: &AppState) -> Answer<Self> {
        let base = head.extensions.get::<Origin>().map(|origin| origin.base_url.to_string()).unwrap_or_default();
        let mut asked = Self {
            filters: Vec::new(),
            search: None,
            updated_since: None,
            ordering: orderings(&R::LISTING, R::LISTING.default).map_err(|says| wrong_default(&R::LISTING, &says))?,
            after: None,
            size: app.config.page_size_default.into(),
            largest: LARGEST_PAGE,
            is_paged: pairs.iter().any(|(name, _)| matches!(name.as_str(), "page_size" | "cursor")),
            count: false,
            include_deleted: false,
            address: Address { base, path: head.uri.path().to_owned(), rest: Vec::new() },
            cursors: app.cursors.clone(),
            resource: PhantomData,
        };
        let mut cursor = None;
        for (name, value) in pairs {
            if name != "cursor" {
                asked.address.rest.push((name.clone(), value.clone()));
            }
            match name.as_str() {
                "page_size" => match value.parse() {
                    Ok(size) if (1..=i64::from(app.config.page_size_max)).contains(&size) => asked.size = size,
                    _ => faults.add(name, format!("A number from 1 to {} is expected.", app.config.page_size_max)),
                },
                "cursor" => cursor = Some(value),
                "count" => flag(&mut faults, name, value, &mut asked.count),
                "include_deleted" => flag(&mut faults, name, value, &mut asked.include_deleted),
                "ordering" => match orderings(&R::LISTING, value) {
                    Ok(ordering) => asked.ordering = ordering,
                    Err(says) => faults.add(name, says),
                },
                "search" if R::LISTING.search.is_some() => {
                    if value.chars().count() > 200 {
                        faults.add(name, "At most 200 characters are searched for.");
                    }
                    asked.search = Some(value.clone()).filter(|text| !text.trim().is_empty());
                }
                "updated_since" if R::LISTING.updated_at.is_some() => match value.parse() {
                    Ok(moment) => asked.updated_since = Some(moment),
                    Err(says) => faults.add(name, sentence(says)),
                },
                _ => match R::LISTING.filters.iter().find(|filter| filter.name == name) {
                    Some(filter) => match filter_value(*filter, value) {
                        Ok(value) => asked.filters.push((*filter, value)),
                        Err(says) => faults.add(name, says),
                    },
                    None => faults.add(name, format!("This list has no parameter `{name}`.")),
                },
            }
        }
        if let Some(text) = cursor {
            asked.after = asked.cursors.read(&asked.address.signed(), text);
            let says = "This cursor is not one that a Link header gave for this list, its filters and its ordering.";
            faults.unless(asked.after.is_some(), "cursor", says);
        }
        faults.check()?;
        Ok(asked)
    }
}

/// The longest value of a parameter, in bytes.
const LONGEST_VALUE: usize = 1000;

/// The longest cursor: it holds the ordering values of a row.
const LONGEST_CURSOR: usize = 16 * 1024;

/// The query string's pairs, each name once, but for those that a form left empty: these are not asked. NUL and what is longer
/// than any parameter of ours are refused by name.
///
/// # Errors
/// 400.
#[expect(clippy::disallowed_types, reason = "what axum finds is what our own extractors are made of")]
pub fn query_pairs(head: &Parts) -> Answer<Vec<(String, String)>> {
    let mut pairs: Vec<(String, String)> = axum::extract::Query::try_from_uri(&head.uri)
        .map(|axum::extract::Query(pairs)| pairs)
        .map_err(|_| Problem::malformed("The query string is malformed."))?;
    let (mut faults, mut names) = (Faults::default(), HashSet::new());
    for (name, value) in &pairs {
        if name.contains('\0') || value.contains('\0') {
            faults.add_at(|| name.replace('\0', ""), "Null characters are not allowed.");
        }
        if value.len() > if name == "cursor" { LONGEST_CURSOR } else { LONGEST_VALUE } {
            faults.add_at(|| name.clone(), "This value is too long.");
        }
        if !names.insert(name) {
            faults.add_at(|| name.clone(), "This parameter stands twice; give it once.");
        }
    }
    faults.check()?;
    pairs.retain(|(_, value)| !value.trim().is_empty());
    Ok(pairs)
}

fn wrong_default(listing: &Listing, says: &str) -> Problem {
    Problem::internal(anyhow::anyhow!("the default ordering `{}`: {says}", listing.default))
}

/// Reads a flag; what is none is a fault.
pub(crate) fn flag(faults: &mut Faults, name: &str, value: &str, into: &mut bool) {
    match boolean(value) {
        Some(value) => *into = value,
        None => faults.add(name, "`true` or `false` is expected."),
    }
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "1" => Some(true),
        "false" | "False" | "0" => Some(false),
        _ => None,
    }
}

fn filter_value(filter: Filter, text: &str) -> Result<Value, String> {
    Ok(match filter.kind {
        Kind::Id | Kind::Where => Value::Number(text.parse::<Id>()?.0),
        Kind::Number => Value::Number(text.parse::<i32>().map_err(|_| "A number is expected.")?.into()),
        Kind::Text => Value::Text(text.to_owned()),
        Kind::Student => Value::Text(text.trim().to_owned()),
        Kind::Term(semesters) => Value::Text(term(text, semesters).ok_or("A semester such as `2026-S2` is expected.")?),
        Kind::Capitals => Value::Text(text.to_uppercase()),
        Kind::Address => Value::Text(text.parse::<IpAddr>().map_err(|_| "An IP address is expected.")?.to_string()),
        Kind::Flag => Value::Flag(boolean(text).ok_or("`true` or `false` is expected.")?),
        Kind::OneOf(words) if words.contains(&text) => Value::Text(text.to_owned()),
        Kind::OneOf(words) => return Err(format!("One of {} is expected.", words.join(", "))),
        Kind::From => Value::Moment(text.parse().map_err(|says: &str| sentence(says))?),
        Kind::To => Value::Moment(Moment::end(text).map_err(sentence)?),
        Kind::FromDay | Kind::ToDay => Value::Day(text.parse::<Moment>().map_err(sentence)?.day()),
    })
}

/// A year and a semester as they are compared.
fn term(text: &str, semesters: &[&str]) -> Option<String> {
    let (year, semester) = text.trim().split_once('-')?;
    let year: u16 = year.parse().ok().filter(|year| (1900..=2200).contains(year))?;
    let semester = semesters.iter().find(|name| name.eq_ignore_ascii_case(semester))?;
    Some(format!("{year}-{semester}"))
}

/// Reads an ordering; each field stands in it once, so that it is no longer than the list has orderings.
fn orderings(listing: &Listing, spelt: &str) -> Result<Vec<(Ordering, bool)>, String> {
    let mut found: Vec<(Ordering, bool)> = Vec::new();
    for word in spelt.split(',').map(str::trim) {
        let (name, descending) = word.strip_prefix('-').map_or((word, false), |name| (name, true));
        if name == ID.name {
            found.push((ID, descending));
            return Ok(found);
        }
        let Some(ordering) = listing.orderings.iter().find(|ordering| ordering.name == name) else {
            let known = listing.orderings.iter().map(|ordering| ordering.name).collect::<Vec<_>>().join(", ");
            let word: String = word.chars().take(50).collect();
            return Err(format!("`{word}` cannot be ordered by; known: id, {known}."));
        };
        if found.iter().any(|(known, _)| known.name == name) {
            return Err(format!("`{name}` stands twice."));
        }
        found.push((*ordering, descending));
    }
    // `id` breaks ties, in the direction of what stands before it, so that one index can serve both.
    let descending = found.last().is_some_and(|(_, descending)| *descending);
    found.push((ID, descending));
    Ok(found)
}

impl<R: Resource> Asked<R> {
    /// Adds a filter by id unless the caller asked for one by that name.
    pub fn narrow(&mut self, name: &str, id: Id) {
        let asked = self.filters.iter().any(|(filter, _)| filter.name == name);
        if let (false, Some(filter)) = (asked, R::LISTING.filters.iter().find(|filter| filter.name == name)) {
            self.filters.push((*filter, Value::Number(id.0)));
        }
    }

    /// Confines the list by this filter, which the caller cannot lift.
    pub fn confine(&mut self, filter: Filter, id: Id) {
        self.filters.push((filter, Value::Number(id.0)));
    }

    /// Makes the page as long as this, in rows and bytes, where the caller has asked for no size and no later page.
    pub(crate) fn lengthen(&mut self, rows: i64, bytes: usize) {
        if !self.is_paged {
            (self.size, self.largest) = (self.size.max(rows), self.largest.max(bytes));
        }
    }

    /// Whether this filter by words was asked for with this one.
    pub(crate) fn asks_for_word(&self, name: &str, word: &str) -> bool {
        let is_it = |value: &Value| matches!(value, Value::Text(text) if text == word);
        self.filters.iter().any(|(filter, value)| filter.name == name && is_it(value))
    }

    /// What a filter by id was asked for.
    pub(crate) fn asked_for(&self, name: &str) -> Option<Id> {
        self.filters.iter().find_map(|(filter, value)| match value {
            Value::Number(id) if filter.name == name => Some(Id(*id)),
            Value::Number(_) | Value::Text(_) | Value::Flag(_) | Value::Moment(_) | Value::Day(_) => None,
        })
    }

    /// Whether the list is searched, or narrowed or ordered by anything but these and the id.
    pub(crate) fn looks_beyond(&self, names: &[&str]) -> bool {
        let filters = self.filters.iter().map(|(filter, _)| filter.name);
        let orderings = self.ordering.iter().map(|(ordering, _)| ordering.name);
        self.search.is_some() || filters.chain(orderings).any(|name| name != ID.name && !names.contains(&name))
    }

    /// Whether the list is narrowed by one of these.
    pub(crate) fn asks_for(&self, names: &[&str]) -> bool {
        self.filters.iter().any(|(filter, _)| names.contains(&filter.name))
    }

    /// All rows that the viewer may see and asked for, whatever the size of pages.
    ///
    /// # Errors
    /// 401 or 403 when the viewer may not see deleted rows, or the database's failure.
    pub async fn whole(&self, conn: &mut PgConnection, viewer: &Viewer) -> Answer<Vec<R::Shown>> {
        self.refuse_deleted(viewer)?;
        let mut sql = QueryBuilder::<Postgres>::new(R::SELECT);
        self.push_conditions(&mut sql, viewer);
        self.push_order(&mut sql, viewer);
        let rows: Vec<R::Row> = sql.build_query_as().persistent(self.is_planned_once()).fetch_all(conn).await?;
        Ok(rows.into_iter().map(|row| R::shown(row, viewer)).collect())
    }

    /// The rows that the viewer may see and asked for, a page of them.
    ///
    /// # Errors
    /// 400 when the cursor's values do not fit, or the database's failure.
    pub async fn page(&self, conn: &mut PgConnection, viewer: &Viewer) -> Answer<Listed<R::Shown>> {
        self.refuse_deleted(viewer)?;
        let id = format!("{}.id", R::ALIAS);
        let total = if self.count {
            let mut sql = QueryBuilder::new("select count(*) from (");
            sql.push(R::SELECT);
            self.push_conditions(&mut sql, viewer);
            sql.push(") counted");
            Some(sql.build_query_scalar::<i64>().persistent(self.is_planned_once()).fetch_one(&mut *conn).await?)
        } else {
            None
        };

        let mut sql = QueryBuilder::<Postgres>::new("");
        let (head, from) = split_select(R::SELECT);
        sql.push(head);
        sql.push(", array[");
        for (place, (ordering, _)) in self.ordering.iter().enumerate() {
            sql.push(if place == 0 { "" } else { ", " });
            sql.push(format!("({})::text", spelt_out(ordering, &id, viewer)));
        }
        sql.push("] as page_keys, ").push(&id).push(" as page_id ").push(from);
        self.push_conditions(&mut sql, viewer);
        if let Some(cursor) = &self.after {
            push_after(&mut sql, &self.ordering, |ordering| spelt_out(ordering, &id, viewer), cursor);
        }
        self.push_order(&mut sql, viewer);
        // Spelt out: how many rows a parameter would ask for PostgreSQL does not know when it plans for all values, finds
        // that plan dear, and plans each request anew.
        sql.push(format!(" limit {}", self.size + 1));

        let (mut page, mut last, mut more) = (Page::default(), None, false);
        let mut rows = sql.build().persistent(self.is_planned_once()).fetch(conn);
        while let Some(row) = rows.try_next().await? {
            more = page.rows == self.size || page.bytes.len() >= self.largest;
            if more {
                break;
            }
            page.push(&R::shown(R::Row::from_row(&row)?, viewer))?;
            last = Some(row);
        }
        drop(rows);
        let next = match last {
            Some(last) if more => {
                let cursor = Cursor { k: last.try_get("page_keys")?, i: last.try_get("page_id")? };
                Some(self.address.next(&self.cursors.write(&self.address.signed(), &cursor)?))
            }
            _ => None,
        };
        Ok(Listed { bytes: page.finish(), next, total, of: PhantomData })
    }

    /// Whether one plan fits all values. It does not for a search: the plan for words that nearly every row has goes through
    /// the whole table for those that one row has.
    fn is_planned_once(&self) -> bool {
        self.search.is_none()
    }

    fn refuse_deleted(&self, viewer: &Viewer) -> Answer<()> {
        if !self.include_deleted || viewer.may_see_deleted() {
            return Ok(());
        }
        if viewer.caller().is_none() {
            return Err(Problem::not_authenticated());
        }
        Err(Problem::forbidden("Only administrators may list deleted rows."))
    }

    fn push_order(&self, sql: &mut QueryBuilder<Postgres>, viewer: &Viewer) {
        let id = format!("{}.id", R::ALIAS);
        sql.push(" order by ");
        for (place, (ordering, descending)) in self.ordering.iter().enumerate() {
            sql.push(if place == 0 { "" } else { ", " });
            sql.push(spelt_out(ordering, &id, viewer));
            sql.push(if *descending { " desc" } else { "" });
        }
    }

    fn push_conditions(&self, sql: &mut QueryBuilder<Postgres>, viewer: &Viewer) {
        sql.push(" where ");
        sql.push(if self.include_deleted { "true" } else { R::LIVE });
        R::visible(sql, viewer, true);
        for (filter, value) in &self.filters {
            sql.push(" and ");
            let (before, after) = match filter.kind {
                Kind::Where | Kind::Term(_) => filter.sql.split_once("{}").unwrap_or((filter.sql, "")),
                // The parameter is text, whatever it is compared with.
                Kind::Address => (filter.sql, "::text::inet"),
                // Computed once, so that the index by student serves.
                Kind::Student => (filter.sql, "::text)))"),
                Kind::Id
                | Kind::Number
                | Kind::Text
                | Kind::Capitals
                | Kind::Flag
                | Kind::OneOf(_)
                | Kind::From
                | Kind::To
                | Kind::FromDay
                | Kind::ToDay => (filter.sql, ""),
            };
            sql.push(before);
            sql.push(match filter.kind {
                Kind::Where | Kind::Term(_) => "",
                Kind::Student => " = any(array(select students_named(",
                Kind::From | Kind::FromDay => " >= ",
                Kind::To | Kind::ToDay => " <= ",
                Kind::Id | Kind::Number | Kind::Text | Kind::Capitals | Kind::Address | Kind::Flag | Kind::OneOf(_) => {
                    " = "
                }
            });
            match value {
                Value::Number(number) => sql.push_bind(*number),
                Value::Text(text) => sql.push_bind(text.clone()),
                Value::Flag(flag) => sql.push_bind(*flag),
                Value::Moment(moment) => sql.push_bind(*moment),
                Value::Day(day) => sql.push_bind(*day),
            };
            sql.push(after);
        }
        if let (Some(search), Some(text)) = (R::LISTING.search, &self.search) {
            // Every word must be found; `Nguyen, Van An` is how lists print a name.
            let words =
                text.split_whitespace().map(|word| word.trim_matches([',', ';'])).filter(|word| !word.is_empty());
            for word in words.take(10) {
                let (column, begins) = match search {
                    Search::Anywhere(column) => (column, false),
                    Search::Names(column) => (column, is_short(word)),
                };
                sql.push(" and (").push(column).push(" like ");
                if begins {
                    // The pattern without its first sign, `%`.
                    sql.push("substr(search_pattern(").push_bind(word.to_owned()).push("), 2) or ").push(column);
                    sql.push(" like '% ' || substr(search_pattern(").push_bind(word.to_owned()).push("), 2))");
                } else {
                    sql.push("search_pattern(").push_bind(word.to_owned()).push("))");
                }
            }
        }
        if let (Some(column), Some(since)) = (R::LISTING.updated_at, self.updated_since) {
            sql.push(" and ").push(column).push(" >= ").push_bind(since);
        }
    }
}

/// Whether a word has too few letters for an index to tell where they stand together.
fn is_short(word: &str) -> bool {
    let letters: Vec<char> = word.nfd().filter(|letter| !is_combining_mark(*letter)).collect();
    letters.len() <= 2 && letters.iter().all(|letter| letter.is_ascii_alphabetic() || matches!(letter, 'đ' | 'Đ'))
}

/// The ordering's SQL for this viewer.
fn spelt_out(ordering: &Ordering, id: &str, viewer: &Viewer) -> String {
    let caller = viewer.caller_id().unwrap_or_default();
    ordering.sql.replace("{id}", id).replace("{caller}", &caller.to_string())
}

/// The rows after the cursor: a row comparison where all orderings run one way, since an index serves it.
fn push_after(
    sql: &mut QueryBuilder<Postgres>,
    ordering: &[(Ordering, bool)],
    expression: impl Fn(&Ordering) -> String,
    cursor: &Cursor,
) {
    let one_way = ordering.windows(2).all(|pair| matches!(pair, [(_, a), (_, b)] if a == b));
    let bind = |sql: &mut QueryBuilder<Postgres>, ordering: &Ordering, key: &String| {
        // The parameter is text whatever PostgreSQL would infer: the cast to the ordering's type follows it.
        sql.push("(").push_bind(key.clone()).push(format!("::text)::{}", ordering.sql_type));
    };
    if one_way {
        let list = ordering.iter().map(|(ordering, _)| expression(ordering)).collect::<Vec<_>>().join(", ");
        let descending = ordering.first().is_some_and(|(_, descending)| *descending);
        sql.push(format!(" and ({list}) {} (", if descending { "<" } else { ">" }));
        for (place, ((ordering, _), key)) in ordering.iter().zip(&cursor.k).enumerate() {
            sql.push(if place == 0 { "" } else { ", " });
            bind(sql, ordering, key);
        }
        sql.push(")");
        return;
    }
    sql.push(" and (");
    for last in 0..ordering.len() {
        sql.push(if last == 0 { "(" } else { " or (" });
        for (place, ((ordering, descending), key)) in ordering.iter().zip(&cursor.k).take(last + 1).enumerate() {
            sql.push(if place == 0 { "" } else { " and " });
            sql.push(expression(ordering));
            sql.push(match (place == last, descending) {
                (false, _) => " = ",
                (true, true) => " < ",
                (true, false) => " > ",
            });
            bind(sql, ordering, key);
        }
        sql.push(")");
    }
    sql.push(")");
}

/// The column list and, from its last `from` at the start of a line, the rest.
fn split_select(select: &'static str) -> (&'static str, &'static str) {
    select.find("\nfrom ").map_or((select, ""), |place| select.split_at(place))
}

impl Address {
    /// What a cursor of this list is good for: the list as it is filtered and ordered, whatever the size of the page.
    fn signed(&self) -> String {
        let mut pairs: Vec<_> =
            self.rest.iter().filter(|(name, _)| !matches!(name.as_str(), "page_size" | "count")).collect();
        pairs.sort();
        let mut list = self.path.trim_end_matches('/').to_owned();
        for (name, value) in pairs {
            let _ = write!(list, "&{}={}", escaped(name), escaped(value));
        }
        list
    }

    fn next(&self, cursor: &str) -> String {
        let mut link = format!("<{}{}?", self.base, self.path);
        for (name, value) in &self.rest {
            let _ = write!(link, "{}={}&", escaped(name), escaped(value));
        }
        let _ = write!(link, "cursor={cursor}>; rel=\"next\"");
        link
    }
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~,".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// The most bytes of a page, where its list says nothing else. A thousand rows may be small, or a thousand texts of 200,000
/// letters that others wrote.
const LARGEST_PAGE: usize = 8 * 1024 * 1024;

/// A JSON array as it grows.
#[derive(Debug, Default)]
struct Page {
    bytes: Vec<u8>,
    rows: i64,
}

impl Page {
    fn push<T: Serialize>(&mut self, row: &T) -> Answer<()> {
        self.bytes.push(if self.rows == 0 { b'[' } else { b',' });
        serde_json::to_writer(&mut self.bytes, row).map_err(Problem::internal)?;
        self.rows += 1;
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        if self.rows == 0 {
            self.bytes.push(b'[');
        }
        self.bytes.push(b']');
        self.bytes
    }
}

/// A page: a bare JSON array, with `Link` to the next and, when asked, `X-Total-Count`.
pub struct Listed<T> {
    bytes: Vec<u8>,
    next: Option<String>,
    total: Option<i64>,
    of: PhantomData<T>,
}

impl<T: Serialize> Listed<T> {
    /// A list that is always whole.
    ///
    /// # Errors
    /// 500 when the rows cannot be written as JSON.
    pub fn whole(rows: &[T]) -> Answer<Self> {
        let bytes = serde_json::to_vec(rows).map_err(Problem::internal)?;
        Ok(Self { bytes, next: None, total: None, of: PhantomData })
    }
}

impl<T> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let tag = super::answer::etag(&self.bytes);
        let mut response =
            ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "private, no-cache")], self.bytes)
                .into_response();
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        if let Some(next) = self.next.and_then(|next| HeaderValue::from_str(&next).ok()) {
            headers.insert(header::LINK, next);
        }
        if let Some(total) = self.total {
            headers.insert(HeaderName::from_static("x-total-count"), total.into());
        }
        response
    }
}

impl<T: ToSchema> Answers for Listed<T> {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        let schema = schema_of::<T>(schemas);
        notes.answers(200, "A page.", "application/json", Some(json!({ "type": "array", "items": schema })));
        notes.header("Link", "RFC 8288, `rel=\"next\"`, when there is more.");
        notes.header("X-Total-Count", "With `?count=true`.");
    }
}

impl<R: Resource> Describe for Asked<R> {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        for filter in R::LISTING.filters {
            let schema = match filter.kind {
                Kind::Id | Kind::Where => json!({ "type": "integer", "format": "int64", "minimum": 1 }),
                Kind::Number => json!({ "type": "integer", "format": "int32" }),
                Kind::Term(_) => json!({ "type": "string", "description": "A semester such as `2026-S2`" }),
                Kind::Student => json!({ "type": "string", "description": "Id, student number or mail address" }),
                Kind::Text | Kind::Capitals => json!({ "type": "string" }),
                Kind::Address => json!({ "type": "string", "description": "An IP address" }),
                Kind::Flag => json!({ "type": "boolean" }),
                Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
                Kind::From => {
                    json!({ "type": "string", "description": "RFC 3339; a day means its beginning in `TIME_ZONE`" })
                }
                Kind::To => json!({ "type": "string", "description": "RFC 3339; a day means its end in `TIME_ZONE`" }),
                Kind::FromDay | Kind::ToDay => {
                    json!({ "type": "string", "description": "A day, or of a moment its day" })
                }
            };
            notes.parameter("query", filter.name, schema, "");
        }
        if R::LISTING.search.is_some() {
            notes.parameter(
                "query",
                "search",
                json!({ "type": "string", "maxLength": 200 }),
                "Every word must be found, whatever its accents and its case.",
            );
        }
        if R::LISTING.updated_at.is_some() {
            notes.parameter("query", "updated_since", json!({ "type": "string", "format": "date-time" }), "");
        }
        let names = R::LISTING.orderings.iter().map(|o| o.name).collect::<Vec<_>>().join(", ");
        notes.parameter(
            "query",
            "ordering",
            json!({ "type": "string", "default": R::LISTING.default }),
            &format!("Comma-separated, `-` for descending: id, {names}."),
        );
        notes.parameter("query", "page_size", json!({ "type": "integer", "minimum": 1 }), "");
        notes.parameter("query", "cursor", json!({ "type": "string" }), "From the Link header.");
        notes.parameter("query", "count", json!({ "type": "boolean" }), "Adds X-Total-Count.");
        notes.parameter("query", "include_deleted", json!({ "type": "boolean" }), "Administrators only.");
        notes.refuses(400, "An unknown parameter or a bad value, named in `errors`.");
        notes.refuses(403, "`include_deleted` was asked for by somebody who is no administrator.");
    }
}
