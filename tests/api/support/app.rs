//! A server of a test's own.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres, Transaction};
use swincms::access::passwords::Place;
use swincms::app::{AppState, router};
use swincms::clock::Clock;
use swincms::config::{self, Config};
use swincms::ids::Id;
use swincms::serve::Limits;
use swincms::{background, db, serve, telemetry};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cluster::{Database, runtime};
use super::people::{Person, Sender};
use super::proxy::Proxy;

/// Where all clocks stand: a Monday in the enrolment window of 2026 S1, as the fixtures and factories have it.
pub(crate) const NOW: &str = "2026-03-02T02:00:00Z";

/// How long a condition may take to come true. It is only ever waited for in full by a test that fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server with its database. Dropping it stops the server and drops the database, in the background.
pub(crate) struct TestApp {
    /// A pool of the test's own, for asserting.
    pub(crate) db: PgPool,
    /// The server's state.
    pub(crate) state: AppState,
    /// The time of tokens and links; [`TestApp::set_time`] moves it together with the database's.
    pub(crate) clock: Clock,
    server: TestServer,
    settings: Vec<(String, String)>,
    folder: PathBuf,
    count: AtomicU32,
    // Last, so that it goes when the others have been told.
    database: Option<Database>,
    ends: Arc<Mutex<Vec<End>>>,
}

/// A server process, or what is like one: its own state and pool on the test's database.
pub(crate) struct TestServer {
    /// Its state.
    pub(crate) state: AppState,
    /// Such as `http://127.0.0.1:4711`.
    pub(crate) base: String,
    /// Told to stop the server.
    pub(crate) stop: CancellationToken,
    /// Tells that it has.
    pub(crate) stopped: CancellationToken,
}

/// A further server that is not started yet.
pub(crate) struct AnotherServer<'a> {
    app: &'a TestApp,
    settings: Vec<(String, String)>,
    limits: Limits,
    options: PgConnectOptions,
    with_background: bool,
}

impl AnotherServer<'_> {
    /// With one more setting, named as in the environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With these limits to the accept loop.
    pub(crate) fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Behind this proxy to the database.
    pub(crate) fn through(self, proxy: &Proxy) -> Self {
        Self { options: proxy.options(), ..self }
    }

    /// Logged in to the database as this role.
    pub(crate) fn by_role(self, role: &str) -> Self {
        Self { options: self.options.username(role), ..self }
    }

    /// With what runs beside the requests.
    pub(crate) fn with_background(self) -> Self {
        Self { with_background: true, ..self }
    }

    /// Starts it.
    pub(crate) async fn start(self) -> TestServer {
        let app = self.app;
        let settings: Vec<_> = self.settings.iter().chain(&app.settings).cloned().collect();
        let config = config_of(&settings, &app.folder, &self.options);
        let (server, end) = launch(config, self.options, app.clock.clone(), self.with_background, self.limits).await;
        app.ends.lock().unwrap().push(end);
        server
    }
}

impl TestServer {
    /// `127.0.0.1:4711`
    pub(crate) fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }
}

/// What is waited for before the database is dropped.
struct End {
    stop: CancellationToken,
    served: JoinHandle<()>,
    pool: db::Pool,
}

impl TestApp {
    /// A server on an empty database.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with some settings, named as in the environment.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::build(settings, false).await
    }

    /// The same, and what runs beside the requests: the probe of the database, the mail queue, sweeping.
    pub(crate) async fn with_background(settings: &[(&str, &str)]) -> Self {
        Self::build(settings, true).await
    }

    async fn build(settings: &[(&str, &str)], with_background: bool) -> Self {
        let settings: Vec<_> = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let database = Database::create(NOW).await;
        let folder = std::env::temp_dir().join(&database.name);
        let clock = Clock::fixed(moment(NOW));
        let ends: Arc<Mutex<Vec<End>>> = Arc::default();
        let config = config_of(&settings, &folder, &database.options);
        let options = database.options.clone();
        let (server, end) = launch(config, options, clock.clone(), with_background, Limits::default()).await;
        ends.lock().unwrap().push(end);
        let db = PgPoolOptions::new().max_connections(20).connect_lazy_with(database.options.clone());
        Self {
            db,
            state: server.state.clone(),
            clock,
            server,
            settings,
            folder,
            count: AtomicU32::new(0),
            database: Some(database),
            ends,
        }
    }

    /// Another server on the same database, with the same settings and clock.
    pub(crate) async fn second_server(&self) -> TestServer {
        self.another_server().start().await
    }

    /// Another server on the same database, with something of its own.
    pub(crate) fn another_server(&self) -> AnotherServer<'_> {
        AnotherServer {
            app: self,
            settings: Vec::new(),
            limits: Limits::default(),
            options: self.options(),
            with_background: false,
        }
    }

    /// How to connect to the test's database, as the owner of its tables.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.database.as_ref().unwrap().options.clone()
    }

    /// Where the server keeps files and mails.
    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Such as `http://127.0.0.1:4711`.
    pub(crate) fn base(&self) -> &str {
        &self.server.base
    }

    /// The server that the test was started with.
    pub(crate) fn server(&self) -> &TestServer {
        &self.server
    }

    /// Nobody.
    pub(crate) fn anonymous(&self) -> Sender {
        Sender::new(&self.server.base)
    }

    /// A person of this user type, with a session and a token. Students have a profile and a gold account.
    pub(crate) async fn person(&self, user_type: &str) -> Person {
        Person::create(self, user_type, self.number()).await
    }

    /// A student.
    pub(crate) async fn student(&self) -> Person {
        self.person("student").await
    }

    /// A member of staff.
    pub(crate) async fn staff(&self) -> Person {
        self.person("staff").await
    }

    /// A convenor, so far of no unit.
    pub(crate) async fn convenor(&self) -> Person {
        self.person("unit_convenor").await
    }

    /// An auditor.
    pub(crate) async fn auditor(&self) -> Person {
        self.person("auditor").await
    }

    /// A parent.
    pub(crate) async fn parent(&self) -> Person {
        self.person("parent").await
    }

    /// An administrator.
    pub(crate) async fn admin(&self) -> Person {
        self.person("admin").await
    }

    /// A course.
    pub(crate) async fn course(&self) -> Id {
        let number = self.number();
        let (code, name) = (format!("CRS{number}"), format!("Course {number}"));
        let sql = sqlx::query_scalar!("insert into courses (code, name) values ($1, $2) returning id", code, name);
        Id(sql.fetch_one(&self.db).await.unwrap())
    }

    /// A unit without a convenor.
    pub(crate) async fn unit(&self) -> Id {
        self.add_unit(None).await
    }

    /// A unit of this convenor.
    pub(crate) async fn unit_of(&self, convenor: Id) -> Id {
        self.add_unit(Some(convenor.0)).await
    }

    async fn add_unit(&self, convenor: Option<i64>) -> Id {
        let number = self.number();
        let sql = sqlx::query_scalar!(
            "insert into units (code, name, convenor_id) values ($1, $2, $3) returning id",
            format!("UNT{number:05}"),
            format!("Unit {number}"),
            convenor
        );
        Id(sql.fetch_one(&self.db).await.unwrap())
    }

    /// An offering of a unit of its own, in 2026 S1, open at [`NOW`]; 0 seats are unlimited.
    pub(crate) async fn offering(&self, capacity: i32) -> Id {
        self.offering_of(self.unit().await, capacity).await
    }

    /// An offering of this unit, in 2026 S1, open at [`NOW`]; 0 seats are unlimited.
    pub(crate) async fn offering_of(&self, unit: Id, capacity: i32) -> Id {
        let sql = sqlx::query_scalar!(
            "with made as (
                insert into intakes (year, semester)
                select 2026, 'S1'
                 where not exists (select from intakes where year = 2026 and semester = 'S1' and deleted_at is null)
                returning id
             )
             insert into offerings (unit_id, year, semester, intake_id, enrollment_start, enrollment_end, capacity)
             select $1, 2026, 'S1', intake.id, '2026-01-12T00:00:00Z', '2026-03-13T00:00:00Z', $2
               from (select id from made
                     union all
                     select id from intakes where year = 2026 and semester = 'S1' and deleted_at is null) intake
             returning id",
            unit.0,
            capacity
        );
        Id(sql.fetch_one(&self.db).await.unwrap())
    }

    /// An enrolment in this state, with all that belongs to it: its seat, its history, and when graded (P or N) its
    /// transcript.
    pub(crate) async fn enrollment(&self, student: Id, offering: Id, status: &str) -> Id {
        let grade = match status {
            "COMPLETED" => "P",
            "FAILED" => "N",
            _ => "",
        };
        let sql = sqlx::query_scalar!(
            r#"with seat as (
                update offerings
                   set current_enrollment = current_enrollment + 1
                 where id = $2
                   and $3 <> 'WITHDRAWN'
             ),
             made as (
                insert into enrollments (student_id, offering_id, status, grade, withdrawn_date, completion_date)
                values ($1, $2, $3, $4,
                        case when $3 = 'WITHDRAWN' then rule_now()::date end,
                        case when $3 in ('COMPLETED', 'FAILED') then rule_now()::date end)
                returning *
             ),
             history as (
                insert into enrollment_history (enrollment_id, from_status, to_status, to_grade)
                select id, '', status, grade
                  from made
             ),
             transcript as (
                insert into transcripts (enrollment_id, student_id, unit_code, unit_name, semester, year, credit_points,
                                         status, grade, grade_point, completion_date)
                select e.id, e.student_id, u.code, u.name, o.semester, o.year, u.credit_points, e.status, e.grade,
                       case e.grade when 'P' then 1.0 else 0.0 end, e.completion_date
                  from made e
                  join offerings o on o.id = e.offering_id
                  join units u on u.id = o.unit_id
                 where e.status in ('COMPLETED', 'FAILED')
             )
             select id as "id!" from made"#,
            student.0,
            offering.0,
            status,
            grade
        );
        Id(sql.fetch_one(&self.db).await.unwrap())
    }

    /// All places of the server's queue of password hashes, taken from as many addresses as that needs.
    pub(crate) async fn all_places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for number in 0..u16::MAX {
            let Ok(line) =
                self.state.hasher.line(IpAddr::from([10, 200, number.to_be_bytes()[0], number.to_be_bytes()[1]]))
            else {
                break;
            };
            places.push(line.place(None).await.unwrap());
        }
        places
    }

    /// Somebody else's transaction, on a connection of its own.
    pub(crate) async fn transaction(&self) -> Transaction<'static, Postgres> {
        self.db.begin().await.unwrap()
    }

    /// Until a session of this database waits for a lock that another one holds.
    pub(crate) async fn until_someone_waits(&self) {
        self.until_so_many_wait(1).await;
    }

    /// Until this many sessions of this database wait for locks.
    pub(crate) async fn until_so_many_wait(&self, sessions: i64) {
        self.until("sessions wait for a lock", async || {
            let waiting = sqlx::query_scalar!(
                r#"select count(*) as "count!"
                     from pg_stat_activity
                    where datname = current_database()
                      and wait_event_type = 'Lock'"#
            );
            waiting.fetch_one(&self.db).await.unwrap() >= sessions
        })
        .await;
    }

    /// Until the condition holds; fails the test when that takes longer than a minute.
    pub(crate) async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let started = Instant::now();
        while !condition().await {
            assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// Moves the clock of tokens and links, and the database's clock of rules for sessions that are open already.
    pub(crate) async fn set_time(&self, now: &str) {
        self.clock.set(moment(now));
        // A session has read the database's setting when it began, so the function itself is told.
        let sql = format!(
            "create or replace function rule_now() returns timestamptz language sql stable parallel safe
             as $$ select timestamptz '{now}' $$"
        );
        self.db.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    /// Nothing in the database breaks what `tests/invariants.sql` says always holds.
    pub(crate) async fn check_invariants(&self) {
        for query in invariants() {
            let broken = self.db.fetch_all(query).await.unwrap();
            assert!(broken.is_empty(), "{} rows break: {query}", broken.len());
        }
    }

    /// A number that no other factory of this test gets.
    fn number(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let ends = std::mem::take(&mut *self.ends.lock().unwrap());
        let (database, folder) = (self.database.take(), self.folder.clone());
        // Here and, for what a server still writes, below: the process may end before the rest is done.
        let _gone = std::fs::remove_dir_all(&folder);
        runtime().spawn(async move {
            for End { stop, served, pool } in ends {
                stop.cancel();
                // A server that a test has left with a stuck request is not waited for.
                let _stopped = tokio::time::timeout(Duration::from_secs(5), served).await;
                pool.close();
            }
            if let Some(database) = database {
                database.remove().await;
            }
            let _gone = tokio::fs::remove_dir_all(folder).await;
        });
    }
}

/// The statements of `tests/invariants.sql`.
pub(crate) fn invariants() -> impl Iterator<Item = &'static str> {
    include_str!("../../invariants.sql").split(";\n").map(str::trim).filter(|query| !query.is_empty())
}

/// A moment in RFC 3339.
fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn config_of(settings: &[(String, String)], folder: &std::path::Path, options: &PgConnectOptions) -> Config {
    let defaults = [
        ("SECRET_KEY", "the key of the tests, forty characters long".to_owned()),
        ("DATA_DIR", folder.display().to_string()),
        ("DB_POOL_SIZE", "4".to_owned()),
        // The clocks stand, so nobody would ever get anything back.
        ("PERSON_WRITES_AT_ONCE", "100000".to_owned()),
        ("LOG_LEVEL", std::env::var("TEST_LOG").unwrap_or_else(|_| "off".to_owned())),
    ];
    let lookup = |wanted: &str| {
        let given = settings.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        given.or_else(|| defaults.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone()))
    };
    let mut config = Config::from_lookup(&lookup).unwrap();
    config.database = config::Database::Server(Box::new(options.clone()));
    config
}

/// Starts a server on the runtime that outlives the test.
async fn launch(
    config: Config,
    options: PgConnectOptions,
    clock: Clock,
    with_background: bool,
    limits: Limits,
) -> (TestServer, End) {
    // A role with no more rights than the server's, in a database that gives it them; else the owner.
    let role = std::env::var("TEST_SERVER_ROLE").ok().filter(|role| !role.is_empty());
    let options = role.into_iter().fold(options, |options, role| options.username(&role));
    let launched = runtime().spawn(async move {
        telemetry::start(&config);
        let pool = db::pool(&config, options).unwrap();
        let state = AppState::new(config, pool.clone(), clock).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = format!("http://{address}");
        let stop = CancellationToken::new();
        let beside = with_background.then(|| background::start(&state, &stop));
        let stopped = CancellationToken::new();
        let (app, told, tells) = (router(&state), stop.clone(), stopped.clone());
        let served = tokio::spawn(async move {
            serve::serve(listener, app, limits, told).await;
            tells.cancel();
            if let Some(beside) = beside {
                beside.wait(tokio::time::Instant::now() + std::time::Duration::from_mins(1)).await;
            }
        });
        let end = End { stop: stop.clone(), served, pool };
        (TestServer { state, base, stop, stopped }, end)
    });
    launched.await.unwrap()
}
