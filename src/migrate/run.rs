//! A run of migrations: the lock that makes processes take turns, and each step tried until its locks are free.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use futures_util::future::BoxFuture;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::time::sleep;

use super::blockers::{self, Blocker};
use super::{MIGRATOR, Patience, connect};

/// How long a statement waits for a lock. Whatever needs the table queues behind it for as long.
pub(super) const ATTEMPT: Duration = Duration::from_secs(1);

/// Between attempts, so that what has queued is served.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A session that holds the lock of all who migrate.
pub(super) struct Run {
    session: PgConnection,
    /// Asks who is in the way, while the other one waits.
    beside: PgConnection,
    pid: i32,
    patience: Patience,
    started: Instant,
    told: bool,
}

impl Run {
    /// Waits for whoever migrates just now, and makes the list of migrations if there is none.
    pub(super) async fn begin(owner: &PgConnectOptions, patience: Patience) -> anyhow::Result<Self> {
        let mut session = connect(owner, ATTEMPT.min(patience.time)).await?;
        let beside = connect(owner, ATTEMPT).await?;
        let pid = blockers::pid(&mut session).await?;
        let mut run = Self { session, beside, pid, patience, started: Instant::now(), told: false };
        run.attempt(|session| session.lock()).await?;
        run.attempt(|session| session.ensure_migrations_table(&MIGRATOR.table_name)).await?;
        if let Some(version) = run.session.dirty_version(&MIGRATOR.table_name).await? {
            return Err(anyhow!("{version} was left half done; see its header for how it is put right"));
        }
        Ok(run)
    }

    pub(super) async fn applied(&mut self) -> anyhow::Result<Vec<AppliedMigration>> {
        Ok(self.session.list_applied_migrations(&MIGRATOR.table_name).await?)
    }

    pub(super) async fn apply(&mut self, migration: &'static Migration) -> anyhow::Result<()> {
        self.step(migration, |session| session.apply(&MIGRATOR.table_name, migration)).await
    }

    pub(super) async fn revert(&mut self, migration: &'static Migration) -> anyhow::Result<()> {
        self.step(migration, |session| session.revert(&MIGRATOR.table_name, migration)).await
    }

    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.session.unlock().await?;
        self.beside.close().await?;
        self.session.close().await?;
        Ok(())
    }

    async fn step<T>(
        &mut self,
        migration: &'static Migration,
        work: impl for<'s> Fn(&'s mut PgConnection) -> BoxFuture<'s, Result<T, MigrateError>>,
    ) -> anyhow::Result<()> {
        if !migration.no_tx {
            return self.attempt(work).await.map(drop);
        }
        // What it has done stays done, so it has one attempt, with all the time there is: `concurrently` holds nobody up.
        self.wait_at_most(self.patience.time).await?;
        let (done, seen) = self.watched(work).await;
        self.wait_at_most(ATTEMPT.min(self.patience.time)).await?;
        match done {
            Err(error) if is_blocked(&error) => Err(anyhow!(
                "{}. {} runs outside of a transaction and may be half done; its header says how it is put right",
                says(self.patience, &seen),
                migration.version
            )),
            done => done.map(drop).with_context(|| format!("{} failed outside of a transaction", migration.version)),
        }
    }

    /// Does it, and again whenever a lock was not to be had, for as long as the patience lasts.
    async fn attempt<T>(
        &mut self,
        work: impl for<'s> Fn(&'s mut PgConnection) -> BoxFuture<'s, Result<T, MigrateError>>,
    ) -> anyhow::Result<T> {
        let mut pause = PAUSE;
        loop {
            let (done, seen) = self.watched(&work).await;
            let error = match done {
                Ok(done) => return Ok(done),
                Err(error) if is_blocked(&error) => error,
                Err(error) => {
                    return Err(
                        anyhow::Error::new(error).context("a migration failed; the schema is as it was before it")
                    );
                }
            };
            let left = self.patience.time.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                return Err(anyhow!("{}. Nothing was half done", says(self.patience, &seen)));
            }
            tracing::debug!(%error, "tried again");
            if !self.told {
                self.told = true;
                let who = blockers::list(&seen);
                (self.patience.tell)(&format!("waiting for a lock, at most {:?}{who}", self.patience.time));
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Does it, and looks meanwhile who is in its way.
    async fn watched<T>(
        &mut self,
        work: impl for<'s> Fn(&'s mut PgConnection) -> BoxFuture<'s, Result<T, MigrateError>>,
    ) -> (Result<T, MigrateError>, Vec<Blocker>) {
        let every = (ATTEMPT.min(self.patience.time) / 5).min(Duration::from_millis(100));
        let mut seen = Vec::new();
        let mut working = work(&mut self.session);
        let done = loop {
            tokio::select! {
                done = &mut working => break done,
                () = sleep(every) => {
                    match blockers::of(&mut self.beside, self.pid).await {
                        Ok(found) if !found.is_empty() => seen = found,
                        Ok(_) => {}
                        Err(error) => tracing::debug!(%error, "who is in the way could not be asked"),
                    }
                }
            }
        };
        drop(working);
        (done, seen)
    }

    async fn wait_at_most(&mut self, time: Duration) -> anyhow::Result<()> {
        let sql = format!("set lock_timeout = {}", time.as_millis().max(1));
        self.session.execute(AssertSqlSafe(sql)).await?;
        Ok(())
    }
}

fn says(patience: Patience, seen: &[Blocker]) -> String {
    format!(
        "the migrations are blocked: a lock was not to be had within {:?}{}. End what holds it \
         (`select pg_terminate_backend(pid)`) or wait for it, then start again, with more time if need be (--patience)",
        patience.time,
        blockers::list(seen)
    )
}

fn is_blocked(error: &MigrateError) -> bool {
    if let MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) = error {
        source.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|state| state == "55P03")
    } else {
        false
    }
}
