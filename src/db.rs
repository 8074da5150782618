//! The pool of database sessions, and the one way to write: [`write()`].
//!
//! sqlx's own pool asks the server on every release whether the session still lives, which costs a third of the
//! throughput; this one (deadpool around sqlx's connections) asks only when there is reason to doubt. And sqlx 0.9.0
//! leaves a session inside a transaction when `begin` is cancelled: later writes on it would vanish with it. Three
//! things keep that from happening: requests run in a task of their own that a disconnect cannot cancel
//! (`http::own_task`), a session that comes back before its transaction has ended is closed, and PostgreSQL ends a
//! session that idles in a transaction.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use deadpool::managed::{self, Metrics, PoolError, RecycleError, RecycleResult, Timeouts};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::app::AppState;
use crate::config::Config;
use crate::http::{self, Answer, Describe, Notes, Problem, Schemas};

/// How often a transaction is run again after a serialisation failure or a deadlock.
const TRIES: u32 = 3;

/// The shared pool.
#[derive(Debug, Clone)]
pub struct Pool {
    sessions: managed::Pool<Sessions>,
}

/// How busy the pool is.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The most sessions there can be.
    pub most: usize,
    /// Those that are open.
    pub open: usize,
    /// Of these, those that nobody holds.
    pub idle: usize,
    /// Who waits for one.
    pub waiting: usize,
}

/// A session of the pool, for as long as it is held.
#[derive(Debug)]
pub struct Session {
    held: managed::Object<Sessions>,
}

/// Reasons to doubt that sessions still live, counted: each session is asked once for each.
static DOUBTS: AtomicU64 = AtomicU64::new(0);

/// Something failed as it does when a session has died: every session is asked before it is used again.
pub fn doubt() {
    DOUBTS.fetch_add(1, Ordering::Relaxed);
}

#[derive(Debug)]
struct Sessions {
    options: PgConnectOptions,
    connect_timeout: Duration,
    max_lifetime: Duration,
    /// Counts how often what sessions begin with has changed.
    generation: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    session: PgConnection,
    since: Instant,
    doubts: u64,
    generation: u64,
    in_transaction: bool,
}

impl managed::Manager for Sessions {
    type Type = Kept;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<Kept> {
        let doubts = DOUBTS.load(Ordering::Relaxed);
        let generation = self.generation.load(Ordering::Relaxed);
        let connecting = PgConnection::connect_with(&self.options);
        let session =
            tokio::time::timeout(self.connect_timeout, connecting).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        Ok(Kept { session, since: Instant::now(), doubts, generation, in_transaction: false })
    }

    async fn recycle(&self, kept: &mut Kept, _: &Metrics) -> RecycleResult<sqlx::Error> {
        if kept.in_transaction {
            return Err(RecycleError::message("its transaction was never ended"));
        }
        if kept.since.elapsed() > self.max_lifetime {
            return Err(RecycleError::message("it is old"));
        }
        if kept.generation != self.generation.load(Ordering::Relaxed) {
            return Err(RecycleError::message("new ones begin with other settings"));
        }
        let doubts = DOUBTS.load(Ordering::Relaxed);
        if kept.doubts != doubts {
            let asked = tokio::time::timeout(self.connect_timeout, kept.session.ping()).await;
            asked.map_err(|_| sqlx::Error::PoolTimedOut)??;
            kept.doubts = doubts;
        }
        Ok(())
    }
}

/// The pool that the settings ask for. It connects when first asked.
///
/// # Errors
/// When the settings make no pool.
pub fn pool(config: &Config, options: PgConnectOptions) -> anyhow::Result<Pool> {
    let manager = Sessions {
        options: session(config, options),
        connect_timeout: config.db_connect_timeout,
        max_lifetime: config.db_max_lifetime,
        generation: AtomicU64::new(0),
    };
    let sessions = managed::Pool::builder(manager)
        .max_size(usize::try_from(config.db_pool_size)?)
        .timeouts(Timeouts { wait: Some(config.db_acquire_timeout), create: None, recycle: None })
        .runtime(deadpool::Runtime::Tokio1)
        .build()?;
    Ok(Pool { sessions })
}

impl Pool {
    /// A session; waits for one at most `DB_ACQUIRE_TIMEOUT`.
    ///
    /// # Errors
    /// 503 when none comes free, or the database cannot be reached.
    pub async fn acquire(&self) -> Answer<Session> {
        match self.sessions.get().await {
            Ok(held) => Ok(Session { held }),
            Err(PoolError::Backend(error)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "no database session came free");
                Err(Problem::unavailable("The server is busy. Try again shortly."))
            }
        }
    }

    /// How busy the pool is.
    #[must_use]
    pub fn load(&self) -> Load {
        let now = self.sessions.status();
        Load { most: now.max_size, open: now.size, idle: now.available, waiting: now.waiting }
    }

    /// How sessions connect.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.sessions.manager().options.clone()
    }

    /// Has every session made anew before it is used again: new ones begin with other settings of the database or the role.
    pub fn renew(&self) {
        self.sessions.manager().generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives out no more sessions and closes those that are free.
    pub fn close(&self) {
        self.sessions.close();
    }
}

/// A session on its way from the look-up of the caller to the handler of a read, in the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct Lent(Arc<Mutex<Option<Session>>>);

impl Lent {
    pub(crate) fn new(session: Session) -> Self {
        Self(Arc::new(Mutex::new(Some(session))))
    }
}

/// A session for a read: the one that the caller was looked up with, or else one of the pool.
#[derive(Debug)]
pub struct Reading(Session);

impl FromRequestParts<AppState> for Reading {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        let lent = head.extensions.remove::<Lent>();
        let lent = lent.and_then(|Lent(slot)| slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        match lent {
            Some(session) => Ok(Self(session)),
            None => app.db.acquire().await.map(Self),
        }
    }
}

impl Describe for Reading {
    fn describe(_: &mut Notes, _: &mut Schemas) {}
}

impl Deref for Reading {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl Deref for Session {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.held.session
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.held.session
    }
}

/// The settings that every session of ours has.
pub fn session(config: &Config, options: PgConnectOptions) -> PgConnectOptions {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    // Such a line has the statement's text and the request's route, but no values.
    let options = options.log_slow_statements(log::LevelFilter::Warn, config.slow_statement);
    options.application_name("swincms").statement_cache_capacity(256).options([
        ("timezone", "UTC".to_owned()),
        // Whose day it is, for `local_day()`.
        ("swincms.time_zone", config.time_zone.name().to_owned()),
        // Which repeats count for an average, for `grades::results!`.
        ("swincms.gpa_repeats", config.gpa_repeats.name().to_owned()),
        ("statement_timeout", milliseconds(config.db_statement_timeout)),
        ("idle_in_transaction_session_timeout", milliseconds(config.db_idle_tx_timeout)),
        ("swincms.online_locations", config.online_locations.join("|")),
        // The planner thinks statements with many subqueries dear, and compiling them takes longer than they do.
        ("jit", "off".to_owned()),
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

/// Runs `work` in a transaction of its own and commits it; a failure rolls all of it back, and so does a member of the body that
/// nothing has read, where the caller wants that refused.
///
/// A serialisation failure or a deadlock runs `work` again, at most three times in all, so `work` does nothing
/// outside the transaction that may not be done twice.
///
/// # Errors
/// What `work` refuses with, or the database's failure.
pub async fn write<'env, T, W>(pool: &Pool, work: W) -> Answer<T>
where
    W: for<'t> Fn(&'t mut PgConnection, Scope<'t, 'env>) -> InTx<'t, T> + Send + Sync,
    T: Send,
{
    transact(pool, End::Commit, work).await
}

/// Runs `work` as [`write()`] does, and takes back all that it has written.
///
/// # Errors
/// What `work` refuses with, or the database's failure.
pub async fn rehearse<'env, T, W>(pool: &Pool, work: W) -> Answer<T>
where
    W: for<'t> Fn(&'t mut PgConnection, Scope<'t, 'env>) -> InTx<'t, T> + Send + Sync,
    T: Send,
{
    transact(pool, End::Rollback, work).await
}

/// How a transaction ends that nothing went wrong in.
#[derive(Clone, Copy)]
enum End {
    Commit,
    Rollback,
}

#[expect(clippy::disallowed_methods, reason = "the one place that begins transactions")]
async fn transact<'env, T, W>(pool: &Pool, end: End, work: W) -> Answer<T>
where
    W: for<'t> Fn(&'t mut PgConnection, Scope<'t, 'env>) -> InTx<'t, T> + Send + Sync,
    T: Send,
{
    let mut tried = 1;
    loop {
        let mut session = pool.acquire().await?;
        session.held.in_transaction = true;
        let mut tx = session.begin().await?;
        let worked = work(&mut tx, Scope::new()).await.and_then(|done| http::refuse_if_strict().map(|()| done));
        let done = match worked {
            Ok(done) => match end {
                End::Commit => tx.commit().await.map(|()| done).map_err(Problem::from),
                End::Rollback => tx.rollback().await.map(|()| done).map_err(Problem::from),
            },
            Err(refused) => tx.rollback().await.map_err(Problem::from).and(Err(refused)),
        };
        // Whatever left the transaction open (a panic, a task that was ended) also left this out: see `recycle`.
        session.held.in_transaction = matches!(&done, Err(problem) if problem.doubts_the_session());
        match done {
            Err(problem) if problem.asks_for_another_try() && tried < TRIES => tried += 1,
            done => return done,
        }
    }
}
