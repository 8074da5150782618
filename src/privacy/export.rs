//! `GET /me/export/`: what is kept about the caller, as one JSON archive.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::tables::{TABLES, Table};
use crate::access::{Actor, may};
use crate::db::Reading;
use crate::http::{Answer, Answers, Notes, Schemas, Shown, name_file};
use crate::ids::Id;

/// The most rows of a table, the newest.
const MOST_ROWS: usize = 10_000;

/// Everything that is kept about a person, but for secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PersonalArchive {
    /// Whose.
    user: Id,
    /// Tables of which only the newest 10,000 rows are here.
    shortened: Vec<&'static str>,
    /// Each table with its rows, as they are stored.
    #[schema(value_type = Object)]
    tables: BTreeMap<&'static str, Vec<Value>>,
}

/// An archive to be saved.
pub(super) struct Attachment(Shown<PersonalArchive>);

/// `GET /me/export/`
pub(super) async fn export(actor: Actor<may::ExportOwnData>, mut conn: Reading) -> Answer<Attachment> {
    let mut archive = PersonalArchive { user: actor.id(), shortened: Vec::new(), tables: BTreeMap::new() };
    for table in TABLES.iter().filter(|table| !table.shown.is_empty()) {
        let mut rows = rows_of(&mut conn, table, actor.id()).await?;
        if rows.len() > MOST_ROWS {
            rows.truncate(MOST_ROWS);
            archive.shortened.push(table.name);
        }
        archive.tables.insert(table.name, rows);
    }
    Shown::with(&archive).map(Attachment)
}

async fn rows_of(conn: &mut PgConnection, table: &Table, person: Id) -> sqlx::Result<Vec<Value>> {
    // What a search looks through says nothing that the other columns do not.
    let secret: Vec<String> = table.secret.split_whitespace().chain(["search_text"]).map(str::to_owned).collect();
    // `$1` in the array's conditions is the first value bound.
    let of_the_person = |sql: &str| sql.replace("$1", &person.to_string());
    let condition = of_the_person(table.shown);
    let mut sql = QueryBuilder::<Postgres>::new("select (to_jsonb(t) - ");
    sql.push_bind(secret).push(")");
    if !table.shown_as.is_empty() {
        sql.push(" || ").push(of_the_person(table.shown_as));
    }
    sql.push(" from ").push(table.name).push(" t where ").push(condition);
    sql.push(" order by t.created_at desc limit ").push(MOST_ROWS + 1);
    sql.build_query_scalar().fetch_all(conn).await
}

impl IntoResponse for Attachment {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        name_file(response.headers_mut(), "attachment", "my-data.json");
        response
    }
}

impl Answers for Attachment {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        Shown::<PersonalArchive>::describe(notes, schemas);
        notes.header("Content-Disposition", "A file to be saved.");
    }
}
