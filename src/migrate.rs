//! The schema's history: what has run, what would run, forwards and back.
//!
//! Several processes that start at once take turns at an advisory lock, so each migration runs exactly once. Whoever
//! waits longer than [`PATIENCE`] for that lock or for a table gives up and says what to look for.

use std::time::Duration;

use anyhow::{Context, anyhow};
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

/// The migrations, embedded.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// How long a migration waits for a lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// A migration and whether it has run.
#[derive(Debug)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// What it does.
    pub description: String,
    /// Its statements.
    pub sql: String,
    /// Whether it has run here.
    pub applied: bool,
}

/// Runs what has not run yet.
///
/// # Errors
/// When the database cannot be reached, a lock is not to be had, or a migration fails.
pub async fn up(owner: &PgConnectOptions) -> anyhow::Result<()> {
    up_within(PATIENCE, owner).await
}

/// The same with another time to wait for a lock.
///
/// # Errors
/// As [`up`].
pub async fn up_within(patience: Duration, owner: &PgConnectOptions) -> anyhow::Result<()> {
    let mut conn = connect(owner, patience).await?;
    MIGRATOR.run(&mut conn).await.map_err(|error| explained(error, patience))?;
    conn.close().await?;
    Ok(())
}

/// Takes back the last `count` migrations, the newest first.
///
/// # Errors
/// As [`up`], and when fewer have run.
pub async fn revert(owner: &PgConnectOptions, count: usize) -> anyhow::Result<Vec<Step>> {
    let steps = status(owner).await?;
    let applied: Vec<Step> = steps.into_iter().filter(|step| step.applied).collect();
    let keep = applied.len().checked_sub(count).ok_or_else(|| anyhow!("only {} migrations have run", applied.len()))?;
    let target = keep.checked_sub(1).and_then(|last| applied.get(last)).map_or(0, |step| step.version);
    let mut conn = connect(owner, PATIENCE).await?;
    MIGRATOR.undo(&mut conn, target).await.map_err(|error| explained(error, PATIENCE))?;
    conn.close().await?;
    Ok(applied.into_iter().skip(keep).rev().collect())
}

/// Every migration, and whether it has run.
///
/// # Errors
/// When the database cannot be reached.
pub async fn status(owner: &PgConnectOptions) -> anyhow::Result<Vec<Step>> {
    let mut conn = connect(owner, PATIENCE).await?;
    let applied = applied(&mut conn).await?;
    conn.close().await?;
    Ok(forward()
        .map(|migration| Step {
            version: migration.version,
            description: migration.description.to_string(),
            sql: migration.sql.as_str().to_owned(),
            applied: applied.iter().any(|done| done.version == migration.version),
        })
        .collect())
}

/// The numbers of migrations that have run here and are not in this program, or not as they ran.
///
/// # Errors
/// When the database cannot be reached.
pub async fn unknown(role: &PgConnectOptions) -> anyhow::Result<Vec<i64>> {
    let mut conn = connect(role, PATIENCE).await?;
    let applied = applied(&mut conn).await?;
    conn.close().await?;
    let is_ours =
        |done: &AppliedMigration| forward().any(|ours| ours.version == done.version && ours.checksum == done.checksum);
    Ok(applied.iter().filter(|done| !is_ours(done)).map(|done| done.version).collect())
}

async fn applied(conn: &mut PgConnection) -> anyhow::Result<Vec<AppliedMigration>> {
    let known: bool = sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "known!""#)
        .fetch_one(&mut *conn)
        .await?;
    Ok(if known { conn.list_applied_migrations(&MIGRATOR.table_name).await? } else { Vec::new() })
}

fn forward() -> impl Iterator<Item = &'static Migration> {
    MIGRATOR.iter().filter(|migration| migration.migration_type != MigrationType::ReversibleDown)
}

async fn connect(owner: &PgConnectOptions, patience: Duration) -> anyhow::Result<PgConnection> {
    let options = owner.clone().application_name("swincms migrations").options([
        ("timezone", "UTC".to_owned()),
        // Not that a table is already there.
        ("client_min_messages", "warning".to_owned()),
        ("lock_timeout", patience.as_millis().to_string()),
        ("statement_timeout", "0".to_owned()),
    ]);
    PgConnection::connect_with(&options).await.context("cannot connect to the database to look after its schema")
}

fn explained(error: MigrateError, patience: Duration) -> anyhow::Error {
    let blocked = if let MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) = &error {
        source.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|state| state == "55P03")
    } else {
        false
    };
    if blocked {
        return anyhow!(
            "the migrations are blocked: another session has held a lock for {patience:?}. Another server may be migrating, or a \
             long transaction is open; find it with `select pid, state, query from pg_stat_activity where state <> 'idle'`, \
             then start again. Nothing was half done."
        );
    }
    anyhow::Error::new(error).context("a migration failed; the schema is as it was before it")
}
