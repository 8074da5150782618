//! Clients that hang up, dawdle or come in crowds, and a database that goes away.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;
use sqlx::Executor as _;
use swincms::db;
use swincms::serve::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Person, Proxy, TestApp, TestServer};

const COURSES: &str = "/api/academic/courses/";

/// No fault takes longer to show; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection of its own, to be ill-treated.
struct Line(TcpStream);

impl Line {
    async fn to(server: &TestServer) -> Self {
        Self(TcpStream::connect(server.address()).await.unwrap())
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    }

    async fn post(&mut self, person: &Person, code: &str) {
        let body = json!({ "code": code, "name": "Sent by hand" }).to_string();
        self.send(format!(
            "POST {COURSES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            person.access,
            body.len()
        ))
        .await;
    }

    /// The status of an answer, which is read to its end.
    async fn status(&mut self) -> u16 {
        let mut answer = Vec::new();
        let whole = async {
            loop {
                assert_ne!(self.0.read_buf(&mut answer).await.unwrap(), 0, "hung up instead of answering");
                let text = String::from_utf8_lossy(&answer).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    return head.split(' ').nth(1).unwrap().parse().unwrap();
                }
            }
        };
        timeout(PATIENCE, whole).await.expect("no answer")
    }

    /// Everything that comes until the server hangs up.
    async fn until_closed(&mut self) -> String {
        let mut rest = Vec::new();
        let closed = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("the server does not hang up");
        // A reset is as good.
        drop(closed);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// One connection at a time: when the next one is answered, all that belonged to the one before is gone.
fn one_at_a_time() -> Limits {
    Limits { connections: 1, ..Limits::default() }
}

async fn until_it_has_noticed(server: &TestServer) {
    let mut line = Line::to(server).await;
    line.get("/health/live").await;
    assert_eq!(line.status().await, 200);
}

async fn is_there(app: &TestApp, code: &str) -> bool {
    let sql = sqlx::query_scalar!(r#"select exists (select from courses where code = $1) as "there!""#, code);
    sql.fetch_one(&app.db).await.unwrap()
}

async fn none_idles_in_a_transaction(app: &TestApp) -> bool {
    let sql = sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from pg_stat_activity
            where datname = current_database()
              and application_name = 'swincms'
              and state like 'idle in transaction%'"#
    );
    sql.fetch_one(&app.db).await.unwrap() == 0
}

// ---- Clients that hang up ----

#[tokio::test]
async fn a_write_goes_on_to_its_end_when_its_client_hangs_up() {
    let app = TestApp::start().await;
    let server = app.another_server().limits(one_at_a_time()).start().await;
    let staff = app.staff().await;
    // Somebody else's course of this code, not committed: the write waits for what becomes of it.
    let mut halfway = app.transaction().await;
    halfway.execute("insert into courses (code, name) values ('ALONE', 'x')").await.unwrap();
    let mut client = Line::to(&server).await;
    client.post(&staff, "ALONE").await;
    app.until_someone_waits().await;
    drop(client);
    until_it_has_noticed(&server).await;
    halfway.rollback().await.unwrap();
    app.until("the write is done", async || is_there(&app, "ALONE").await).await;
    app.until("its session is free", async || none_idles_in_a_transaction(&app).await).await;
}

#[tokio::test]
async fn later_writes_do_not_vanish_after_a_client_hung_up_while_its_transaction_began() {
    let app = TestApp::start().await;
    let proxy = Proxy::start(&app).await;
    let server = app.another_server().with("DB_POOL_SIZE", "2").limits(one_at_a_time()).through(&proxy).start().await;
    let staff = app.staff().await;
    let _in_use = server.state.db.acquire().await.unwrap();
    proxy.hold_at("BEGIN");
    let mut client = Line::to(&server).await;
    client.post(&staff, "FIRST").await;
    proxy.until_held().await;
    drop(client);
    until_it_has_noticed(&server).await;
    proxy.open();

    // On the pool's other session. Were the transaction of before still open, this would be a part of it, and go with it.
    let mut session = server.state.db.acquire().await.unwrap();
    session.execute("insert into throttle_buckets values ('later', 1, now())").await.unwrap();
    drop(session);
    let mut line = Line::to(&server).await;
    line.post(&staff, " ").await;
    assert_eq!(line.status().await, 400);
    line.post(&staff, "SECOND").await;
    assert_eq!(line.status().await, 201);

    let kept = sqlx::query_scalar!("select key from throttle_buckets").fetch_all(&app.db).await.unwrap();
    assert_eq!(kept, ["later"]);
    assert!(is_there(&app, "SECOND").await);
    app.until("no session idles in a transaction", async || none_idles_in_a_transaction(&app).await).await;
}

#[tokio::test]
async fn a_write_that_is_dropped_while_it_begins_leaves_no_transaction_in_the_pool() {
    let app = TestApp::start().await;
    let proxy = Proxy::start(&app).await;
    let server = app.another_server().with("DB_POOL_SIZE", "2").through(&proxy).start().await;
    let pool = &server.state.db;
    let _in_use = pool.acquire().await.unwrap();
    drop(pool.acquire().await.unwrap());
    proxy.hold_at("BEGIN");
    tokio::select! {
        done = db::write(pool, |_, _| Box::pin(async { Ok(()) })) => panic!("begun before it was held: {done:?}"),
        () = proxy.until_held() => {}
    }
    proxy.open();
    let mut session = pool.acquire().await.unwrap();
    session.execute("insert into throttle_buckets values ('later', 1, now())").await.unwrap();
    let kept = sqlx::query_scalar!("select key from throttle_buckets").fetch_all(&app.db).await.unwrap();
    assert_eq!(kept, ["later"]);
    app.until("no session idles in a transaction", async || none_idles_in_a_transaction(&app).await).await;
}

#[tokio::test]
async fn crowds_that_hang_up_in_mid_transaction_leave_nothing_behind() {
    let app = TestApp::start().await;
    let server = app.server();
    let staff = app.staff().await;
    let mut halfway = app.transaction().await;
    halfway.execute("insert into courses (code, name) values ('CROWD', 'x')").await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Line::to(server).await;
        client.post(&staff, "CROWD").await;
        clients.push(client);
    }
    // As many as the pool has sessions.
    app.until_so_many_wait(4).await;
    drop(clients);
    halfway.rollback().await.unwrap();
    app.until("one of them has won", async || is_there(&app, "CROWD").await).await;
    app.until("no session idles in a transaction", async || none_idles_in_a_transaction(&app).await).await;
    for number in 0..8 {
        let code = format!("AFTER{number}");
        staff.post(COURSES, &json!({ "code": code, "name": "x" })).await.expect(201);
        assert!(is_there(&app, &code).await);
    }
}

#[tokio::test]
async fn a_session_that_idles_in_a_transaction_is_ended_by_the_database() {
    let app = TestApp::start().await;
    let server = app.another_server().with("DB_IDLE_TX_TIMEOUT", "50ms").start().await;
    let mut forgotten = server.state.db.acquire().await.unwrap();
    forgotten.execute("begin").await.unwrap();
    app.until("it is ended", async || none_idles_in_a_transaction(&app).await).await;
    assert!(forgotten.execute("select 1").await.is_err());
    drop(forgotten);
    // The pool finds that out.
    let nobody = app.anonymous().at(&server);
    app.until("the server serves again", async || nobody.get(COURSES).await.status == StatusCode::OK).await;
}

#[tokio::test]
async fn the_database_compiles_no_statement() {
    let app = TestApp::start().await;
    let mut session = app.state.db.acquire().await.unwrap();
    let jit = sqlx::query_scalar!(r#"select current_setting('jit') as "jit!""#).fetch_one(&mut *session).await;
    assert_eq!(jit.unwrap(), "off");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_and_still_done() {
    let app = TestApp::start().await;
    let server = app.another_server().with("REQUEST_TIMEOUT", "100ms").start().await;
    let staff = app.staff().await.at(&server);
    let mut halfway = app.transaction().await;
    halfway.execute("insert into courses (code, name) values ('SLOW', 'x')").await.unwrap();
    let reply = staff.post(COURSES, &json!({ "code": "SLOW", "name": "x" })).await;
    assert_eq!(reply.refusal(), (503, "unavailable"));
    assert!(reply.header("retry-after").is_some());
    halfway.rollback().await.unwrap();
    app.until("the write is done", async || is_there(&app, "SLOW").await).await;
}

// ---- Clients that dawdle, and crowds ----

#[tokio::test]
async fn who_does_not_finish_a_requests_head_is_hung_up_on() {
    let app = TestApp::start().await;
    let limits = Limits { head: Duration::from_millis(500), ..Limits::default() };
    let server = app.another_server().limits(limits).start().await;
    let mut dawdlers = Vec::new();
    for half in ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let mut line = Line::to(&server).await;
        line.send(half).await;
        dawdlers.push(line);
    }
    // One that has been served, and then says nothing.
    let mut idle = Line::to(&server).await;
    idle.get("/health/live").await;
    assert_eq!(idle.status().await, 200);
    dawdlers.push(idle);
    app.anonymous().at(&server).get(COURSES).await.expect(200);
    for mut line in dawdlers {
        let said = line.until_closed().await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
}

#[tokio::test]
async fn who_stops_within_a_body_is_answered_and_hung_up_on() {
    let app = TestApp::start().await;
    let limits = Limits { pause: Duration::from_millis(150), ..Limits::default() };
    let server = app.another_server().limits(limits).start().await;
    let staff = app.staff().await;
    for (media_type, half) in
        [("application/json", "{\"code\""), ("multipart/form-data; boundary=edge", "--edge\r\nContent-")]
    {
        let path = if media_type == "application/json" { COURSES } else { "/api/users/users/me/profile_image/" };
        let mut line = Line::to(&server).await;
        line.send(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: {media_type}\r\n\
             Content-Length: 1000\r\n\r\n{half}",
            staff.access
        ))
        .await;
        let said = line.until_closed().await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    }
    app.anonymous().at(&server).get(COURSES).await.expect(200);
}

#[tokio::test]
async fn beyond_the_cap_connections_wait_for_a_place() {
    let app = TestApp::start().await;
    let server = app.another_server().limits(Limits { connections: 2, ..Limits::default() }).start().await;
    let (mut one, mut two) = (Line::to(&server).await, Line::to(&server).await);
    for line in [&mut one, &mut two] {
        line.get("/health/live").await;
        assert_eq!(line.status().await, 200);
    }
    let mut three = Line::to(&server).await;
    three.get("/health/live").await;
    // The others go on being served, again and again, and the third is not.
    for _ in 0..20 {
        for line in [&mut one, &mut two] {
            line.get(COURSES).await;
            assert_eq!(line.status().await, 200);
        }
    }
    let nothing = three.0.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    drop(one);
    assert_eq!(three.status().await, 200);
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_finishes_what_it_has_begun() {
    let app = TestApp::start().await;
    let server = app.second_server().await;
    let staff = app.staff().await.at(&server);
    let mut idle = Line::to(&server).await;
    idle.get("/health/live").await;
    assert_eq!(idle.status().await, 200);
    let mut halfway = app.transaction().await;
    halfway.execute("insert into courses (code, name) values ('LAST', 'x')").await.unwrap();
    let wanted = json!({ "code": "LAST", "name": "x" });
    let (reply, ()) = tokio::join!(staff.post(COURSES, &wanted), async {
        app.until_someone_waits().await;
        server.stop.cancel();
        app.until("new clients are refused", async || TcpStream::connect(server.address()).await.is_err()).await;
        assert!(!server.stopped.is_cancelled());
        halfway.rollback().await.unwrap();
    });
    reply.expect(201);
    timeout(PATIENCE, server.stopped.cancelled()).await.expect("the server does not stop");
    idle.until_closed().await;
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_does_not_wait_for_ever() {
    let app = TestApp::start().await;
    let limits = Limits { drain: Duration::from_millis(100), ..Limits::default() };
    let server = app.another_server().limits(limits).start().await;
    let staff = app.staff().await;
    let mut halfway = app.transaction().await;
    halfway.execute("insert into courses (code, name) values ('STUCK', 'x')").await.unwrap();
    let mut client = Line::to(&server).await;
    client.post(&staff, "STUCK").await;
    app.until_someone_waits().await;
    server.stop.cancel();
    timeout(PATIENCE, server.stopped.cancelled()).await.expect("the server does not stop");
}

// ---- A database that goes away ----

/// What a request would take that waits for a session of the pool: the drills measure how quick it really is.
const WAIT_FOR_A_SESSION: Duration = Duration::from_secs(5);

/// Every answer of the API is 503, without a wait for the database, until it is back; then every request is served.
async fn is_away_and_comes_back(app: &TestApp, server: &TestServer, proxy: &Proxy) {
    let (nobody, staff) = (app.anonymous().at(server), app.staff().await.at(server));
    app.until("the server knows", async || nobody.get("/health/ready").await.status == 503).await;
    for _ in 0..3 {
        let started = Instant::now();
        for reply in
            [nobody.get(COURSES).await, staff.post(COURSES, &json!({})).await, nobody.get("/health/ready").await]
        {
            assert_eq!(reply.refusal(), (503, "unavailable"));
            assert!(reply.header("retry-after").is_some());
        }
        assert!(started.elapsed() < WAIT_FOR_A_SESSION, "{:?}", started.elapsed());
        nobody.get("/health/live").await.expect(200);
    }
    proxy.open();
    app.until("the server is ready", async || nobody.get("/health/ready").await.status == 200).await;
    for number in 0..8 {
        nobody.get(COURSES).await.expect(200);
        staff.post(COURSES, &json!({ "code": format!("BACK{number}"), "name": "x" })).await.expect(201);
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_told_quickly_and_served_from_when_it_is_back() {
    let app = TestApp::start().await;
    let proxy = Proxy::start(&app).await;
    let server = app.another_server().through(&proxy).with_background().start().await;
    let nobody = app.anonymous().at(&server);
    // Fill the pool with sessions that are about to die.
    let lists = futures_util::future::join_all((0..8).map(|_| nobody.get(COURSES))).await;
    assert!(lists.iter().all(|reply| reply.status == 200));
    proxy.cut();
    let started = Instant::now();
    assert_eq!(nobody.get(COURSES).await.refusal(), (503, "unavailable"));
    assert!(started.elapsed() < WAIT_FOR_A_SESSION, "{:?}", started.elapsed());
    is_away_and_comes_back(&app, &server, &proxy).await;
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_told_quickly_too() {
    let app = TestApp::start().await;
    let proxy = Proxy::start(&app).await;
    let server = app.another_server().through(&proxy).with_background().start().await;
    app.anonymous().at(&server).get(COURSES).await.expect(200);
    proxy.hold();
    is_away_and_comes_back(&app, &server, &proxy).await;
}
