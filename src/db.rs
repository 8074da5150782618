//! The pool, and the one way to write: [`write()`].
//!
//! sqlx 0.9.0 leaves a pooled session inside a transaction when `begin` is cancelled; later writes on it would vanish
//! with it. Three things keep that from happening: requests run in a task of their own that a disconnect cannot cancel
//! (`http::own_task`), every session is rolled back when it returns to the pool, and PostgreSQL ends a session that
//! idles in a transaction.

use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgConnection, PgPool, Row};

use crate::config::Config;
use crate::http::{Answer, Problem};

/// How often a transaction is run again after a serialisation failure or a deadlock.
const TRIES: u32 = 3;

/// The shared pool. It connects when first asked; a database that is away is found by the first use or the probe.
pub fn pool(config: &Config, options: PgConnectOptions) -> PgPool {
    let options = session(config, options);
    PgPoolOptions::new()
        .max_connections(config.db_pool_size)
        .acquire_timeout(config.db_acquire_timeout)
        .max_lifetime(config.db_max_lifetime)
        // A ping before each use costs a third of the throughput; a dead session is found by its first statement.
        .test_before_acquire(false)
        .after_release(|session, _| {
            Box::pin(async move {
                if left_inside_a_transaction(session).await? {
                    session.execute("rollback").await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// Whether this session is inside a transaction block, by PostgreSQL's own word: after a cancelled `begin` sqlx
/// believes that none is open. A block that has already failed answers with an error, and the pool closes the session.
async fn left_inside_a_transaction(session: &mut PgConnection) -> sqlx::Result<bool> {
    // A statement of the simple protocol starts a transaction of its own, at its own time, unless one is open. (The
    // extended protocol, behind `query!`, has a time for each of its messages.)
    let row = session.fetch_one(sqlx::raw_sql("select now() <> statement_timestamp()")).await?;
    row.try_get(0)
}

/// The settings that every session of ours has.
pub fn session(config: &Config, options: PgConnectOptions) -> PgConnectOptions {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    options.application_name("swincms").options([
        ("timezone", "UTC".to_owned()),
        ("statement_timeout", milliseconds(config.db_statement_timeout)),
        ("idle_in_transaction_session_timeout", milliseconds(config.db_idle_tx_timeout)),
    ])
}

/// What runs inside a transaction.
pub type InTx<'t, T> = Pin<Box<dyn Future<Output = Answer<T>> + Send + 't>>;

/// Tells the compiler that what the work borrows (`'env`) outlives the transaction (`'t`); there is nothing in it.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'t, 'env: 't>(PhantomData<&'t &'env ()>);

impl Scope<'_, '_> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

/// Runs `work` in a transaction of its own and commits it; a failure rolls all of it back.
///
/// A serialisation failure or a deadlock runs `work` again, at most three times in all, so `work` does nothing
/// outside the transaction that may not be done twice.
///
/// # Errors
/// What `work` refuses with, or the database's failure.
#[expect(clippy::disallowed_methods, reason = "the one place that begins transactions")]
pub async fn write<'env, T, W>(pool: &PgPool, work: W) -> Answer<T>
where
    W: for<'t> Fn(&'t mut PgConnection, Scope<'t, 'env>) -> InTx<'t, T> + Send + Sync,
    T: Send,
{
    let mut tried = 1;
    loop {
        let mut tx = pool.begin().await?;
        let done = match work(&mut tx, Scope::new()).await {
            Ok(done) => tx.commit().await.map(|()| done).map_err(Problem::from),
            Err(refused) => {
                tx.rollback().await?;
                Err(refused)
            }
        };
        match done {
            Err(problem) if problem.asks_for_another_try() && tried < TRIES => tried += 1,
            done => return done,
        }
    }
}
