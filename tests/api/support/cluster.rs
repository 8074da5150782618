//! The databases of tests: copies of one migrated template.
//!
//! Each process holds an advisory lock of its own in the database `postgres`; its databases carry the lock's number in
//! their names. A database whose number nobody holds belongs to a process that has ended, and the next one drops it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::digest;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use swincms::dev_database::Cluster;
use swincms::migrate;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, OnceCell, OwnedSemaphorePermit, Semaphore};

/// The advisory lock under which the template is made.
const TEMPLATE_LOCK: i64 = 7_092;

/// The most databases at a time: a copy has 12 MB, and all together must stay below 2 GB.
const MOST: usize = 100;

/// How many used ones stay in a cluster that goes with this process: dropping them takes time from the tests.
const KEPT: usize = 50;

/// What a cluster with that many needs.
const ROOM_KIB: u64 = 2 * 1024 * 1024;

/// The runtime of all that outlives a test: servers that drain, databases that are dropped.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        // As `main` does; it may be there already.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

/// The server that the databases are on.
struct Databases {
    options: PgConnectOptions,
    /// In the database `postgres`; holds this process's lock.
    admin: Mutex<PgConnection>,
    template: String,
    /// How it is copied: 20 ms by the file where nothing is synced, which takes a checkpoint; 50 ms through the log.
    strategy: &'static str,
    number: i64,
    used: Mutex<VecDeque<Database>>,
    places: std::sync::Arc<Semaphore>,
    /// Gone when this process ends.
    cluster: Option<Cluster>,
}

/// A test's database.
pub(super) struct Database {
    pub(super) options: PgConnectOptions,
    pub(super) name: String,
    place: OwnedSemaphorePermit,
}

impl Database {
    /// A new copy of the template, with the clock of rules standing at `now`.
    pub(super) async fn create(now: &str) -> Self {
        let server = databases().await;
        let database = Self::copy(server, &server.template).await;
        run(&server.admin, format!("alter database {} set swincms.now = '{now}'", database.name)).await;
        database
    }

    async fn copy(server: &Databases, template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let place = server.places.clone().acquire_owned().await.unwrap();
        let name = format!("swincms_test_{}_{}", server.number, COUNT.fetch_add(1, Ordering::Relaxed));
        run(&server.admin, format!("create database {name} template {template} strategy {}", server.strategy)).await;
        Self { options: server.options.clone().database(&name), name, place }
    }

    /// Drops it, now or later; whoever is still connected is thrown out.
    pub(super) async fn remove(self) {
        let server = databases().await;
        let oldest = {
            let mut used = server.used.lock().await;
            used.push_back(self);
            let kept = if server.cluster.is_some() { KEPT } else { 0 };
            if used.len() > kept { used.pop_front() } else { None }
        };
        if let Some(Self { name, place, .. }) = oldest {
            let mut admin = server.admin.lock().await;
            // Should it fail, the database goes with the cluster, or with the next process that sweeps.
            let _gone = admin.execute(AssertSqlSafe(format!("drop database {name} with (force)"))).await;
            drop(place);
        }
    }
}

/// A database without a schema.
pub(crate) struct EmptyDatabase(Option<Database>);

impl EmptyDatabase {
    /// A new one.
    pub(crate) async fn create() -> Self {
        Self(Some(Database::copy(databases().await, "template0").await))
    }

    /// How to connect to it, as its owner.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.0.as_ref().unwrap().options.clone()
    }
}

impl Drop for EmptyDatabase {
    fn drop(&mut self) {
        if let Some(database) = self.0.take() {
            runtime().spawn(database.remove());
        }
    }
}

async fn databases() -> &'static Databases {
    static DATABASES: OnceCell<Databases> = OnceCell::const_new();
    // Migrating is no `Send` future, so it is no task, but a thread of its own waits for it.
    let open = || async { tokio::task::spawn_blocking(|| runtime().block_on(open())).await.unwrap() };
    DATABASES.get_or_init(open).await
}

async fn open() -> Databases {
    let named = std::env::var("TEST_DATABASE_URL").ok().filter(|url| !url.is_empty());
    let (options, cluster) = if let Some(url) = named {
        (url.parse::<PgConnectOptions>().expect("TEST_DATABASE_URL is no database URL"), None)
    } else {
        let programs = std::env::var("PG_BIN").ok().filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let make = move || Cluster::throw_away(&place_for_cluster(), programs.as_deref());
        let cluster = tokio::task::spawn_blocking(make).await;
        let cluster = cluster.unwrap().unwrap();
        (cluster.options(), Some(cluster))
    };
    let options = options.database("postgres");
    let mut admin = PgConnection::connect_with(&options).await.expect("cannot connect to the server for tests");
    let number = i64::from(uuid::Uuid::new_v4().as_fields().0);
    sqlx::query!("select pg_advisory_lock($1)", number).fetch_one(&mut admin).await.unwrap();
    let template = make_template(&options, &mut admin).await;
    let synced = sqlx::query_scalar!(r#"select current_setting('fsync') = 'on' as "synced!""#);
    let strategy = if synced.fetch_one(&mut admin).await.unwrap() { "wal_log" } else { "file_copy" };
    if cluster.is_none() {
        runtime().spawn(sweep(options.clone(), number));
    }
    let places = std::sync::Arc::new(Semaphore::new(MOST));
    Databases { options, admin: Mutex::new(admin), template, strategy, number, used: Mutex::default(), places, cluster }
}

/// Memory if there is enough of it, else the folder for temporary files.
fn place_for_cluster() -> PathBuf {
    let shm = Path::new("/dev/shm");
    let free = Command::new("df").args(["-Pk", "/dev/shm"]).output().ok().and_then(|output| {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()
    });
    if free.is_some_and(|kib| kib >= ROOM_KIB) { shm.to_owned() } else { std::env::temp_dir() }
}

/// The migrated template of this schema: made once per server, under another name until it is whole.
async fn make_template(options: &PgConnectOptions, admin: &mut PgConnection) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    for migration in migrate::MIGRATOR.iter() {
        hash.update(migration.sql.as_str().as_bytes());
    }
    let hash: [u8; 8] = hash.finish().as_ref()[..8].try_into().unwrap();
    let template = format!("swincms_template_{:016x}", u64::from_be_bytes(hash));
    sqlx::query!("select pg_advisory_lock($1)", TEMPLATE_LOCK).fetch_one(&mut *admin).await.unwrap();
    let there = sqlx::query_scalar!(r#"select count(*) as "count!" from pg_database where datname = $1"#, template);
    if there.fetch_one(&mut *admin).await.unwrap() == 0 {
        let unfinished = format!("{template}_unfinished");
        let sql = format!("drop database if exists {unfinished} with (force)");
        admin.execute(AssertSqlSafe(sql)).await.unwrap();
        admin.execute(AssertSqlSafe(format!("create database {unfinished}"))).await.unwrap();
        migrate::up(&options.clone().database(&unfinished)).await.unwrap();
        let sql = format!("alter database {unfinished} rename to {template}");
        admin.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    sqlx::query!("select pg_advisory_unlock($1)", TEMPLATE_LOCK).fetch_one(&mut *admin).await.unwrap();
    template
}

/// Drops what processes that have ended have left on a server that outlives them.
async fn sweep(options: PgConnectOptions, own: i64) {
    let Ok(mut session) = PgConnection::connect_with(&options).await else { return };
    let names = sqlx::query_scalar!(r"select datname::text from pg_database where datname like 'swincms\_test\_%'");
    for name in names.fetch_all(&mut session).await.unwrap_or_default().into_iter().flatten() {
        let Some(number) = name.split('_').nth(2).and_then(|number| number.parse::<i64>().ok()) else { continue };
        if number == own {
            continue;
        }
        let free = sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "free!""#, number);
        if free.fetch_one(&mut session).await.is_ok_and(|free| free) {
            // Another sweeper may have been quicker.
            let _gone = session.execute(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await;
            let _freed = sqlx::query!("select pg_advisory_unlock($1)", number).fetch_one(&mut session).await;
        }
    }
}

async fn run(admin: &Mutex<PgConnection>, sql: String) {
    admin.lock().await.execute(AssertSqlSafe(sql)).await.unwrap();
}
