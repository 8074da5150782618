//! The schema's history: what has run, what would run, forwards and back.
//!
//! Several processes that start at once take turns at an advisory lock, so each migration runs exactly once. No statement
//! waits longer than [`run::ATTEMPT`] for a lock, since everything else queues behind it; it is tried again, with pauses, for as
//! long as the [`Patience`] lasts, and then the message says who held the lock.

mod blockers;
mod loss;
mod run;

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use sqlx::migrate::{AppliedMigration, Migrate, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

pub use loss::{Loss, loss};
use run::Run;

/// The migrations, embedded.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// How long is tried for locks that others hold, and whom it is told that somebody is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For all of it together.
    pub time: Duration,
    /// Hears once who is waited for.
    pub tell: fn(&str),
}

impl Default for Patience {
    fn default() -> Self {
        Self { time: Duration::from_mins(1), tell: |says| tracing::warn!("{says}") }
    }
}

/// A migration and whether it has run.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// What it does.
    pub description: String,
    /// Its statements.
    pub sql: String,
    /// Whether it has run here.
    pub applied: bool,
    /// Whether what has run here was other statements.
    pub changed: bool,
}

/// What has run in a database, beside what this program knows.
#[derive(Debug, Default)]
pub struct Standing {
    /// Migrations that have not run, each as its number and what it does.
    pub waiting: Vec<String>,
    /// Those that have run otherwise than they stand in this program.
    pub changed: Vec<String>,
    /// The numbers of those that this program does not know.
    pub unknown: Vec<i64>,
}

/// Runs what has not run yet, and says what that was. Migrations of a newer program are left as they are.
///
/// # Errors
/// When the database cannot be reached, a lock is not to be had, a migration has run otherwise than it stands in this
/// program, or one fails.
pub async fn up(owner: &PgConnectOptions) -> anyhow::Result<Vec<Step>> {
    up_within(Patience::default(), owner).await
}

/// The same with another patience.
///
/// # Errors
/// As [`up`].
pub async fn up_within(patience: Patience, owner: &PgConnectOptions) -> anyhow::Result<Vec<Step>> {
    let steps = status(owner).await?;
    refuse_changed(&steps)?;
    if steps.iter().all(|step| step.applied) {
        // Nothing is written, so that a server starts on a database that can only be read.
        return Ok(Vec::new());
    }
    let mut run = Run::begin(owner, patience).await?;
    // Somebody else may have run them while the lock was waited for.
    let applied = run.applied().await?;
    let mut ran = Vec::new();
    for migration in forward().filter(|ours| !applied.iter().any(|done| done.version == ours.version)) {
        run.apply(migration).await?;
        ran.push(step(migration, &[]));
    }
    run.end().await?;
    Ok(ran)
}

/// Takes back the last `count` migrations, the newest first.
///
/// # Errors
/// As [`up`]; when fewer have run, and when a newer program's have run after them.
pub async fn revert(owner: &PgConnectOptions, count: usize) -> anyhow::Result<Vec<Step>> {
    revert_within(Patience::default(), owner, count).await
}

/// The same with another patience.
///
/// # Errors
/// As [`revert`].
pub async fn revert_within(patience: Patience, owner: &PgConnectOptions, count: usize) -> anyhow::Result<Vec<Step>> {
    let mut run = Run::begin(owner, patience).await?;
    let gone = last(&run.applied().await?, count)?;
    for step in &gone {
        let down = backward(step.version)?;
        run.revert(down).await?;
    }
    run.end().await?;
    Ok(gone)
}

/// The last `count` of what has run, the newest first.
fn last(applied: &[AppliedMigration], count: usize) -> anyhow::Result<Vec<Step>> {
    let ours: Vec<Step> = forward().map(|migration| step(migration, applied)).filter(|step| step.applied).collect();
    refuse_changed(&ours)?;
    let keep = ours.len().checked_sub(count).ok_or_else(|| anyhow!("only {} migrations have run", ours.len()))?;
    let gone: Vec<Step> = ours.into_iter().skip(keep).rev().collect();
    let from = gone.last().map_or(i64::MAX, |step| step.version);
    let newer: Vec<String> =
        unknown_among(applied).iter().filter(|version| **version > from).map(ToString::to_string).collect();
    if !newer.is_empty() {
        bail!("{} of a newer program have run after them; take those back with that program first", newer.join(", "));
    }
    Ok(gone)
}

fn refuse_changed(steps: &[Step]) -> anyhow::Result<()> {
    let changed: Vec<String> = steps.iter().filter(|step| step.changed).map(name).collect();
    if changed.is_empty() {
        return Ok(());
    }
    bail!(
        "the schema is of another program: {} ran here otherwise than it stands in this program. No migration was tried. \
         Use the released version that the database has seen",
        changed.join(", ")
    )
}

/// Every migration, and whether it has run.
///
/// # Errors
/// When the database cannot be reached.
pub async fn status(owner: &PgConnectOptions) -> anyhow::Result<Vec<Step>> {
    let applied = applied_at(owner).await?;
    Ok(forward().map(|migration| step(migration, &applied)).collect())
}

/// The numbers of migrations that have run here and are not in this program.
///
/// # Errors
/// When the database cannot be reached.
pub async fn unknown(role: &PgConnectOptions) -> anyhow::Result<Vec<i64>> {
    Ok(unknown_among(&applied_at(role).await?))
}

/// What has run in the database of this session.
///
/// # Errors
/// When it cannot be asked.
pub async fn standing(conn: &mut PgConnection) -> anyhow::Result<Standing> {
    let applied = applied(conn).await?;
    let mut standing = Standing { unknown: unknown_among(&applied), ..Standing::default() };
    for step in forward().map(|migration| step(migration, &applied)) {
        if step.changed {
            standing.changed.push(name(&step));
        } else if !step.applied {
            standing.waiting.push(name(&step));
        }
    }
    Ok(standing)
}

/// How a migration is named to people.
#[must_use]
pub fn name(step: &Step) -> String {
    format!("{} {}", step.version, step.description)
}

fn step(migration: &Migration, applied: &[AppliedMigration]) -> Step {
    let done = applied.iter().find(|done| done.version == migration.version);
    Step {
        version: migration.version,
        description: migration.description.to_string(),
        sql: migration.sql.as_str().to_owned(),
        applied: done.is_some(),
        changed: done.is_some_and(|done| done.checksum != migration.checksum),
    }
}

fn unknown_among(applied: &[AppliedMigration]) -> Vec<i64> {
    let is_ours = |done: &AppliedMigration| forward().any(|ours| ours.version == done.version);
    applied.iter().filter(|done| !is_ours(done)).map(|done| done.version).collect()
}

async fn applied_at(options: &PgConnectOptions) -> anyhow::Result<Vec<AppliedMigration>> {
    let mut conn = connect(options, Patience::default().time).await?;
    let applied = applied(&mut conn).await?;
    conn.close().await?;
    Ok(applied)
}

async fn applied(conn: &mut PgConnection) -> anyhow::Result<Vec<AppliedMigration>> {
    let known: bool = sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "known!""#)
        .fetch_one(&mut *conn)
        .await?;
    Ok(if known { conn.list_applied_migrations(&MIGRATOR.table_name).await? } else { Vec::new() })
}

fn forward() -> impl Iterator<Item = &'static Migration> {
    MIGRATOR.iter().filter(|migration| !migration.migration_type.is_down_migration())
}

fn backward(version: i64) -> anyhow::Result<&'static Migration> {
    let mut down = MIGRATOR.iter().filter(|migration| migration.migration_type == MigrationType::ReversibleDown);
    down.find(|migration| migration.version == version).ok_or_else(|| anyhow!("{version} has no way back"))
}

async fn connect(owner: &PgConnectOptions, lock_timeout: Duration) -> anyhow::Result<PgConnection> {
    let options = owner.clone().application_name("swincms migrations").options([
        ("timezone", "UTC".to_owned()),
        // Not that a table is already there.
        ("client_min_messages", "warning".to_owned()),
        ("lock_timeout", lock_timeout.as_millis().max(1).to_string()),
        ("statement_timeout", "0".to_owned()),
    ]);
    // Waiting is told otherwise, and that a migration takes its time is no fault.
    let options = options.log_slow_statements(log::LevelFilter::Off, Duration::ZERO);
    PgConnection::connect_with(&options).await.context("cannot connect to the database to look after its schema")
}
