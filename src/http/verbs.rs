//! The verbs that every resource shares: list, show, create, replace, change, remove, restore.
//!
//! A resource says what its rows are and who sees them ([`Resource`]), and how it is written ([`Writable`]); the order
//! of a write is the same for all and stands here once: access, lock, visibility, `If-Match`, rules, statement,
//! audit, all in one transaction.

#![allow(
    clippy::missing_errors_doc,
    reason = "the refusals of a verb are those of its parts, and the OpenAPI document lists them"
)]

use axum::extract::{FromRequestParts, State};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::answer::{Created, Done, IfMatch, NoContent, Shown};
use super::body::{Bare, Changes, Json, PathId, Posted};
use super::list::{Asked, Listed};
use super::listing::Listing;
use super::problem::{Answer, Faults, Problem, Refusal};
use crate::access::{Access, Actor, Need, Viewer};
use crate::app::AppState;
use crate::audit;
use crate::db::{self, Reading};
use crate::ids::{Id, Moment};

/// Something that can be listed and shown.
pub trait Resource: Sized + Send + Sync + 'static {
    /// A row of [`Self::SELECT`].
    type Row: for<'r> FromRow<'r, PgRow> + Send + Sync + Unpin;
    /// The row as the API shows it.
    type Shown: Serialize + ToSchema + Send + Sync;
    /// Who may read.
    type Reader: Access + FromRequestParts<AppState, Rejection = Problem> + AsRef<Viewer> + Send + Sync;

    /// Singular, in the field's terms; the resource type in the audit log.
    const NAME: &'static str;
    /// The table that is written.
    const TABLE: &'static str;
    /// The table's alias in [`Self::SELECT`].
    const ALIAS: &'static str;
    /// The condition that leaves out deleted rows.
    const LIVE: &'static str;
    /// `select …` and, on a line of its own, `from …`, without conditions: the resource's one list of columns.
    const SELECT: &'static str;
    /// What lists can be asked for.
    const LISTING: Listing;

    /// Adds ` and …` with the rows that the viewer may see, in a list or as a single object.
    fn visible(_sql: &mut QueryBuilder<Postgres>, _viewer: &Viewer, _in_a_list: bool) {}

    /// The row as this viewer sees it.
    fn shown(row: Self::Row, viewer: &Viewer) -> Self::Shown;
}

/// Something that can be created, changed, removed and restored.
pub trait Writable: Resource {
    /// All that a caller can write: the body of a `POST` or `PUT`. What is not a field here cannot be sent.
    type Fields: DeserializeOwned + Serialize + ToSchema + Send + Sync;
    /// The permission that every write needs.
    type Write: Need;

    /// How violated constraints are told.
    const REFUSALS: &'static [Refusal] = &[];
    /// Whether a public file goes with the row: it is served while the row is live, and no longer.
    const HAS_PUBLIC_FILE: bool = false;
    /// Live rows that keep a row from being deleted: what they are called, and a statement that counts those of `$1`.
    const REFERRED_BY: &'static [(&'static str, &'static str)] = &[];

    /// The writable part of a row.
    fn fields(row: &Self::Row) -> Self::Fields;

    /// Refuses callers whose scope does not reach the new fields or the row: 403.
    fn allowed(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        target: Target<'_, Self>,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// Checks the rules for `fields`, and reports all that are broken; `id` and `before` when the row exists.
    fn check(
        tx: &mut PgConnection,
        fields: &Self::Fields,
        before: Option<(Id, &Self::Fields)>,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// Inserts a row.
    fn insert(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        fields: &Self::Fields,
    ) -> impl Future<Output = Answer<Id>> + Send;

    /// Writes the fields of a row.
    fn update(
        tx: &mut PgConnection,
        actor: &Actor<Self::Write>,
        id: Id,
        fields: &Self::Fields,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// Says beside the object, which has just been changed, what its writer may not have thought of.
    fn remark(
        _tx: &mut PgConnection,
        _id: Id,
        _before: &Self::Fields,
        _after: &Self::Fields,
        _shown: &mut Self::Shown,
    ) -> impl Future<Output = Answer<()>> + Send {
        async { Ok(()) }
    }
}

/// Who made a row and when, as resources with `+audit` show it.
#[derive(Debug, Clone, FromRow, Serialize, ToSchema)]
pub struct Audited {
    pub(crate) created_at: Moment,
    pub(crate) updated_at: Moment,
    /// Who made the row.
    pub created_by: Option<Id>,
    updated_by: Option<Id>,
    deleted_at: Option<Moment>,
    is_deleted: bool,
}

/// What a write is about to touch.
pub enum Target<'a, R: Writable> {
    /// A row that these fields will make, or that will have them.
    New(&'a R::Fields),
    /// A row that is there.
    Row(&'a R::Row),
}

/// Which rows [`find`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Live rows that the viewer may see.
    Visible,
    /// Deleted rows.
    Deleted,
    /// Any row, after one's own write.
    Any,
}

/// One row.
///
/// # Errors
/// 404 when it is not there or not visible.
pub async fn find<R: Resource>(conn: &mut PgConnection, viewer: &Viewer, id: Id, sight: Sight) -> Answer<R::Row> {
    let mut sql = QueryBuilder::new(R::SELECT);
    sql.push(" where ").push(R::ALIAS).push(".id = ").push_bind(id);
    match sight {
        Sight::Visible => {
            sql.push(" and ").push(R::LIVE);
            R::visible(&mut sql, viewer, false);
        }
        Sight::Deleted => {
            sql.push(" and not (").push(R::LIVE).push(")");
        }
        Sight::Any => {}
    }
    sql.build_query_as().fetch_optional(conn).await?.ok_or_else(Problem::absent)
}

/// `GET /`
pub async fn list<R: Resource>(reader: R::Reader, mut conn: Reading, asked: Asked<R>) -> Answer<Listed<R::Shown>> {
    asked.page(&mut conn, reader.as_ref()).await
}

/// `GET /{id}/`
pub async fn show<R: Resource>(reader: R::Reader, mut conn: Reading, PathId(id): PathId) -> Answer<Shown<R::Shown>> {
    let row = find::<R>(&mut conn, reader.as_ref(), id, Sight::Visible).await?;
    Shown::with(&R::shown(row, reader.as_ref()))
}

/// `POST /`
pub async fn create<R: Writable>(
    actor: Actor<R::Write>,
    State(app): State<AppState>,
    Posted { body: fields, repeat }: Posted<R::Fields>,
) -> Answer<Created<R::Shown>> {
    let (actor, fields) = (&actor, &fields);
    repeat
        .write(
            &app,
            Some(actor.id()),
            |tx, _| Box::pin(R::allowed(tx, actor, Target::New(fields))),
            |tx, _| {
                Box::pin(async move {
                    let row = insert::<R>(tx, actor, fields).await?;
                    Created::with(&R::shown(row, actor))
                })
            },
        )
        .await
}

/// Checks, inserts and audits a new row.
///
/// # Errors
/// What the rules and constraints refuse with.
pub async fn insert<R: Writable>(tx: &mut PgConnection, actor: &Actor<R::Write>, fields: &R::Fields) -> Answer<R::Row> {
    R::check(tx, fields, None).await?;
    let id = R::insert(tx, actor, fields).await.map_err(|problem| problem.explained(R::REFUSALS))?;
    audit::record(tx, actor, "create", R::NAME, Some(id), &Value::Null, &json_of(fields)?).await?;
    find::<R>(tx, actor, id, Sight::Any).await
}

/// `PUT /{id}/`
pub async fn replace<R: Writable>(
    actor: Actor<R::Write>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    Json(fields): Json<R::Fields>,
) -> Answer<Shown<R::Shown>> {
    let (actor, condition, fields) = (&actor, &condition, &fields);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = locked::<R>(tx, actor, id, condition).await?;
            update::<R>(tx, actor, id, &row, fields).await
        })
    })
    .await
}

/// `PATCH /{id}/`
pub async fn change<R: Writable>(
    actor: Actor<R::Write>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    changes: Changes<R::Fields>,
) -> Answer<Shown<R::Shown>> {
    let (actor, condition, changes) = (&actor, &condition, &changes);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = locked::<R>(tx, actor, id, condition).await?;
            let fields = changes.onto(&R::fields(&row))?;
            update::<R>(tx, actor, id, &row, &fields).await
        })
    })
    .await
}

/// `DELETE /{id}/`
pub async fn remove<R: Writable>(
    actor: Actor<R::Write>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
) -> Answer<NoContent> {
    let (actor, condition) = (&actor, &condition);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = locked::<R>(tx, actor, id, condition).await?;
            refuse_if_referred_to::<R>(tx, id).await?;
            set_deleted::<R>(tx, actor, id, true).await?;
            let before = json_of(&R::fields(&row))?;
            audit::record(tx, actor, "delete", R::NAME, Some(id), &before, &Value::Null).await?;
            Ok(NoContent)
        })
    })
    .await?;
    place_file::<R>(&app).await;
    Ok(NoContent)
}

/// After the commit. What fails here the sweep does later.
pub(crate) async fn place_file<R: Writable>(app: &AppState) {
    if R::HAS_PUBLIC_FILE
        && let Err(problem) = app.files.place(&app.db).await
    {
        tracing::warn!(%problem, "a file is not where it belongs yet");
    }
}

/// `POST /{id}/restore/`
pub async fn restore<R: Writable>(
    actor: Actor<crate::access::may::RestoreDeleted>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Bare { repeat }: Bare,
) -> Answer<Done<R::Shown>> {
    let actor = &actor;
    let done = repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                lock::<R>(tx, id).await?;
                let row = find::<R>(tx, actor, id, Sight::Deleted).await?;
                let fields = R::fields(&row);
                R::check(tx, &fields, Some((id, &fields))).await.map_err(|problem| {
                    Problem::conflict("cannot_be_restored", format!("It cannot be restored as it is: {problem}"))
                })?;
                let restored = set_deleted::<R>(tx, actor, id, false).await;
                restored.map_err(|problem| problem.explained(R::REFUSALS))?;
                audit::record(tx, actor, "restore", R::NAME, Some(id), &Value::Null, &json_of(&fields)?).await?;
                let row = find::<R>(tx, actor, id, Sight::Any).await?;
                Done::with(&R::shown(row, actor))
            })
        })
        .await?;
    place_file::<R>(&app).await;
    Ok(done)
}

/// Locks the row, then reads it as the caller sees it and checks the caller's reach and condition.
pub(crate) async fn locked<R: Writable>(
    tx: &mut PgConnection,
    actor: &Actor<R::Write>,
    id: Id,
    condition: &IfMatch,
) -> Answer<R::Row> {
    lock::<R>(tx, id).await?;
    let row = find::<R>(tx, actor, id, Sight::Visible).await?;
    R::allowed(tx, actor, Target::Row(&row)).await?;
    let shown = R::shown(find::<R>(tx, actor, id, Sight::Visible).await?, actor);
    condition.holds_for(&shown)?;
    Ok(row)
}

/// Holds a row, deleted or not, until the transaction ends.
pub(crate) async fn lock<R: Resource>(tx: &mut PgConnection, id: Id) -> Answer<()> {
    let mut sql = QueryBuilder::<Postgres>::new("select id from ");
    sql.push(R::TABLE).push(" where id = ").push_bind(id).push(" for no key update");
    sql.build().fetch_optional(tx).await?.map(|_| ()).ok_or_else(Problem::absent)
}

/// Checks, writes and audits new fields for a row that is locked.
pub(crate) async fn update<R: Writable>(
    tx: &mut PgConnection,
    actor: &Actor<R::Write>,
    id: Id,
    row: &R::Row,
    fields: &R::Fields,
) -> Answer<Shown<R::Shown>> {
    let before = R::fields(row);
    R::allowed(tx, actor, Target::New(fields)).await?;
    R::check(tx, fields, Some((id, &before))).await?;
    R::update(tx, actor, id, fields).await.map_err(|problem| problem.explained(R::REFUSALS))?;
    audit::record(tx, actor, "update", R::NAME, Some(id), &json_of(&before)?, &json_of(fields)?).await?;
    let mut shown = R::shown(find::<R>(tx, actor, id, Sight::Any).await?, actor);
    let plain = Shown::with(&shown)?;
    R::remark(tx, id, &before, fields, &mut shown).await?;
    plain.saying(&shown)
}

async fn refuse_if_referred_to<R: Writable>(tx: &mut PgConnection, id: Id) -> Answer<()> {
    let mut counts = serde_json::Map::new();
    for (what, sql) in R::REFERRED_BY {
        let count: i64 = QueryBuilder::<Postgres>::new(*sql).build_query_scalar().bind(id).fetch_one(&mut *tx).await?;
        if count > 0 {
            counts.insert((*what).to_owned(), count.into());
        }
    }
    if counts.is_empty() {
        return Ok(());
    }
    let list = counts.iter().map(|(what, count)| format!("{what}: {count}")).collect::<Vec<_>>().join(", ");
    Err(Problem::conflict(
        "still_referred_to",
        format!("Other records still refer to this {} ({list}).", R::NAME.replace('_', " ")),
    )
    .with("counts", counts))
}

/// Marks a locked row as deleted, or as live again.
pub(crate) async fn set_deleted<R: Resource>(
    tx: &mut PgConnection,
    actor: &Viewer,
    id: Id,
    deleted: bool,
) -> Answer<()> {
    let mut sql = QueryBuilder::<Postgres>::new("update ");
    sql.push(R::TABLE).push(" set deleted_at = case when ").push_bind(deleted);
    sql.push(" then rule_now() end, updated_at = rule_now(), updated_by = ").push_bind(actor.caller_id());
    sql.push(" where id = ").push_bind(id);
    sql.build().execute(tx).await?;
    Ok(())
}

fn json_of<T: Serialize>(value: &T) -> Answer<Value> {
    serde_json::to_value(value).map_err(Problem::internal)
}

impl Faults {
    /// The field must name a live row of `R`. The row stays locked against deletion until the transaction ends.
    ///
    /// # Errors
    /// The database's failure.
    pub async fn refers<R: Resource>(&mut self, tx: &mut PgConnection, field: &str, id: Option<Id>) -> Answer<()> {
        let Some(id) = id else {
            self.add(field, "This field is required.");
            return Ok(());
        };
        let mut sql = QueryBuilder::<Postgres>::new("select id from ");
        sql.push(R::TABLE).push(" ").push(R::ALIAS).push(" where id = ").push_bind(id);
        sql.push(" and ").push(R::LIVE).push(" for share");
        if sql.build().fetch_optional(tx).await?.is_none() {
            self.add(field, format!("There is no {} with the id {id}.", R::NAME.replace('_', " ")));
        }
        Ok(())
    }
}
