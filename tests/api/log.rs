//! The log of a real server process.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::support::TestApp;

/// No line takes longer to come; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_mins(1);

/// `swincms serve`, and what it says.
pub(crate) struct Server {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    /// Where it answers.
    pub(crate) base: String,
    metrics: String,
}

impl Server {
    pub(crate) async fn start(app: &TestApp, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_swincms"))
            .arg("serve")
            .env_clear()
            .env("DATABASE_URL", app.options().to_url_lossy().to_string())
            .env("SECRET_KEY", "the key of the tests, forty characters long")
            .env("DATA_DIR", app.folder())
            .env("BIND", "127.0.0.1:0")
            .env("METRICS_BIND", "127.0.0.1:0")
            .env("LOG_FORMAT", "json")
            .envs(settings.iter().copied())
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut server = Self { child, lines, base: String::new(), metrics: String::new() };
        let address = |line: &Value| format!("http://{}", line["address"].as_str().unwrap());
        server.metrics = address(&server.until(|line| line["message"] == "metrics").await);
        server.base = address(&server.until(|line| line["message"] == "ready").await);
        server
    }

    /// Reads up to a line like that.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("the server has ended");
                let line: Value = serde_json::from_str(&line).unwrap();
                if wanted(&line) {
                    return line;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("the line does not come")
    }

    /// Tells it to stop, waits until it has, and gives what else it said.
    pub(crate) async fn stop(mut self) -> Vec<Value> {
        self.kill("TERM").await;
        let rest = async {
            let mut lines = Vec::new();
            while let Some(line) = self.lines.next_line().await.unwrap() {
                lines.push(serde_json::from_str(&line).unwrap());
            }
            assert!(self.child.wait().await.unwrap().success());
            lines
        };
        timeout(PATIENCE, rest).await.expect("the server does not stop")
    }

    async fn kill(&self, signal: &str) {
        let process = self.child.id().unwrap().to_string();
        let told = Command::new("kill").args(["-s", signal, &process]).status().await.unwrap();
        assert!(told.success());
    }

    /// Sends a request and gives the levels of its own lines.
    async fn levels_of_a_request(&mut self) -> Vec<String> {
        let reply = reqwest::get(format!("{}/api/academic/courses/", self.base)).await.unwrap();
        let id = reply.headers()["x-request-id"].to_str().unwrap().to_owned();
        let mut levels = Vec::new();
        loop {
            let line = self.until(|line| line["span"]["id"] == id).await;
            levels.push(line["level"].as_str().unwrap().to_owned());
            if line["message"] == "answered" {
                return levels;
            }
        }
    }

    async fn signal(&mut self, name: &str) {
        self.kill(name).await;
        self.until(|line| line["message"] == format!("log level changed by SIG{name}")).await;
    }
}

#[tokio::test]
async fn a_signal_makes_the_log_say_more_and_another_as_much_as_before() {
    let app = TestApp::start().await;
    // Whether or not traces are recorded, which asks for statements too.
    for settings in [[("LOG_LEVEL", "info")].as_slice(), &[("OTLP_ENDPOINT", "http://127.0.0.1:1")]] {
        let mut server = Server::start(&app, settings).await;
        assert_eq!(server.levels_of_a_request().await, ["INFO"]);
        server.signal("USR1").await;
        assert!(server.levels_of_a_request().await.contains(&"DEBUG".to_owned()));
        server.signal("USR2").await;
        // The line is written just before the level goes down, so that it is always seen.
        let started = std::time::Instant::now();
        while server.levels_of_a_request().await != ["INFO"] {
            assert!(started.elapsed() < PATIENCE, "the log goes on saying more");
        }
        assert!(reqwest::get(format!("{}/metrics", server.metrics)).await.unwrap().status().is_success());
        server.child.kill().await.unwrap();
    }
}

#[tokio::test]
async fn a_slow_request_and_a_slow_statement_are_logged_with_the_route_and_without_values() {
    let app = TestApp::start().await;
    let mut server = Server::start(&app, &[("SLOW_REQUEST", "5ms"), ("SLOW_STATEMENT", "5ms")]).await;
    // A table that nothing but the request asks for: what works in the background would wait, too.
    let mut held = app.transaction().await;
    held.execute("lock table units in access exclusive mode").await.unwrap();
    let asked = reqwest::Client::new().get(format!("{}/api/academic/units/?search=neverlogged", server.base)).send();
    let asked = tokio::spawn(asked);
    app.until("the request waits", async || {
        let waiting = sqlx::query_scalar!(
            r#"select exists (select from pg_locks where relation = 'units'::regclass and not granted) as "waits!""#
        );
        waiting.fetch_one(&app.db).await.unwrap()
    })
    .await;
    // As slow as a statement that works for as long.
    held.execute("select pg_sleep(0.02)").await.unwrap();
    held.rollback().await.unwrap();
    let slow = |line: &Value| line["target"] == "sqlx::query" && line["level"] == "WARN";
    let route = "/api/academic/units/";
    // What runs beside the requests may be slow too.
    let statement = server.until(|line| slow(line) && line["span"]["route"] == route).await;
    assert!(statement.to_string().contains("from units"), "{statement}");
    let request = server.until(|line| line["message"] == "answered slowly").await;
    assert_eq!((&request["span"]["route"], &request["status"]), (&json!(route), &json!(200)), "{request}");
    assert!(request["ms"].as_u64() >= Some(5), "{request}");
    for line in [statement, request] {
        assert!(!line.to_string().contains("neverlogged"), "{line}");
    }
    assert_eq!(asked.await.unwrap().unwrap().status(), 200);
    server.child.kill().await.unwrap();
}

#[tokio::test]
async fn the_token_in_the_link_of_a_mail_is_not_logged() {
    let app = TestApp::start().await;
    let mut server = Server::start(&app, &[("LOG_LEVEL", "debug")]).await;
    reqwest::get(format!("{}/reset/neverlogged", server.base)).await.unwrap();
    let line = server.until(|line| line["message"] == "answered" && line["span"]["route"] == "/reset/{token}").await;
    assert_eq!(line["span"]["path"], "/reset/{token}");
    let rest = server.stop().await;
    assert!(!line.to_string().contains("neverlogged") && !format!("{rest:?}").contains("neverlogged"));
}

#[tokio::test]
async fn probes_are_logged_only_when_more_is_asked_for() {
    let app = TestApp::start().await;
    let server = Server::start(&app, &[]).await;
    for path in ["/health/live", "/health/ready", "/api/academic/courses/"] {
        assert_eq!(reqwest::get(format!("{}{path}", server.base)).await.unwrap().status(), 200);
    }
    let lines = server.stop().await;
    let answered =
        lines.iter().filter(|line| line["message"].as_str().is_some_and(|says| says.starts_with("answered")));
    let routes: Vec<&str> = answered.map(|line| line["span"]["route"].as_str().unwrap()).collect();
    assert_eq!(routes, ["/api/academic/courses/"]);
}

#[tokio::test]
async fn a_hangup_ends_nothing() {
    let app = TestApp::start().await;
    let mut server = Server::start(&app, &[]).await;
    server.kill("HUP").await;
    server.until(|line| line["message"].as_str().unwrap().starts_with("SIGHUP changes nothing")).await;
    let reply = reqwest::get(format!("{}/health/live", server.base)).await.unwrap();
    assert_eq!(reply.status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn a_mail_server_that_says_nothing_does_not_hold_up_a_stop() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let app = TestApp::start().await;
    let ann = app.student().await;
    app.anonymous().post("/api/users/password-reset/", &json!({ "email": ann.email })).await.expect(202);
    let settings = [
        ("EMAIL_HOST", "127.0.0.1"),
        ("EMAIL_PORT", port.as_str()),
        ("EMAIL_USE_TLS", "false"),
        ("DRAIN_SECONDS", "2"),
    ];
    let server = Server::start(&app, &settings).await;
    let _held = timeout(PATIENCE, silent.accept()).await.expect("nobody sends the mail").unwrap();
    // The server's patience with mail is longer than the whole of this test's.
    let said = server.stop().await;
    let told = |line: &&Value| line["message"].as_str().unwrap().starts_with("a mail was not sent before the stop");
    assert_eq!(said.iter().filter(told).count(), 1, "{said:?}");
    let mail = sqlx::query!("select state, attempts, leased_until from mail_outbox");
    let mail = mail.fetch_one(&app.db).await.unwrap();
    assert_eq!((&*mail.state, mail.attempts, mail.leased_until), ("queued", 0, None), "the next process sends it");
}
