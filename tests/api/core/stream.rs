//! The stream of notifications.

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use swincms::ids::Id;

use crate::academic::run;
use crate::support::{Person, TestApp};

const STREAM: &str = "/api/core/notifications/stream/";

/// How long an event may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// An open stream.
pub(crate) struct Stream {
    response: reqwest::Response,
    text: String,
    /// The id of the last event.
    last: String,
}

/// An event with data: its name and the data.
pub(crate) type Told = (String, Value);

impl Stream {
    /// This person's stream at the server with this address.
    pub(crate) async fn open(base: &str, person: &Person, last: Option<&str>) -> Self {
        let request = reqwest::Client::builder().no_proxy().build().unwrap().get(format!("{base}{STREAM}"));
        let mut request = request.bearer_auth(&person.access);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        for (name, value) in
            [("content-type", "text/event-stream"), ("cache-control", "no-cache"), ("x-accel-buffering", "no")]
        {
            assert_eq!(response.headers()[name], value);
        }
        let mut stream = Self { response, text: String::new(), last: String::new() };
        // The first event is a position without data.
        assert!(stream.event().await.unwrap().is_none());
        assert!(!stream.last.is_empty());
        stream
    }

    /// The next event, with its name and data if it has any; `None` at the end of the stream.
    pub(crate) async fn event(&mut self) -> Option<Option<Told>> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let fields: Vec<(String, String)> = event
                    .lines()
                    .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.into(), value.into())))
                    .collect();
                let rest = rest.to_owned();
                self.text = rest;
                let field =
                    |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
                if let Some(id) = field("id") {
                    self.last = id;
                }
                return Some(field("data").map(|data| (field("event").unwrap(), serde_json::from_str(&data).unwrap())));
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("an event in time");
            self.text.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    /// The verb of the next notification.
    async fn verb(&mut self) -> String {
        let (name, data) = self.event().await.expect("the stream is open").expect("data");
        assert_eq!(name, "notification");
        data["verb"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn tell(on: impl PgExecutor<'_>, person: &Person, verb: &str) -> Id {
    let sql = sqlx::query_scalar!(
        "insert into notifications (recipient_id, verb) values ($1, $2) returning id",
        person.id.0,
        verb
    );
    Id(sql.fetch_one(on).await.unwrap())
}

/// Until the server has looked for notifications, from beginning to end, since now.
async fn until_it_has_looked(app: &TestApp) {
    for _ in 0..2 {
        let asked = sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(&app.db).await.unwrap();
        app.until("the server has looked for notifications", async || {
            let looks = sqlx::query_scalar!(
                r#"select count(*) as "n!"
                     from pg_stat_activity
                    where datname = current_database()
                      and pid <> pg_backend_pid()
                      and query_start > $1
                      and query like '%pg_current_snapshot%'"#,
                asked
            );
            looks.fetch_one(&app.db).await.unwrap() > 0
        })
        .await;
    }
}

#[tokio::test]
async fn what_one_server_tells_reaches_a_client_of_another() {
    let app = TestApp::start().await;
    let other = app.second_server().await;
    let (admin, ann, bob) = (app.admin().await, app.student().await, app.student().await);
    tell(&app.db, &ann, "before").await;
    // An earlier transaction that is still open makes nothing that was told before look new.
    let mut open = app.transaction().await;
    let on: &mut PgConnection = &mut open;
    tell(on, &ann, "never").await;
    tell(&app.db, &ann, "just before").await;
    let mut fresh = Stream::open(&other.base, &ann, None).await;
    open.rollback().await.unwrap();
    let mut anns = Stream::open(&other.base, &ann, None).await;
    let mut bobs = Stream::open(&other.base, &bob, None).await;
    let offering = app.offering(0).await;
    let enrollment = app.enrollment(ann.id, offering, "PENDING").await;
    let path = format!("/api/enrollment/enrollments/{enrollment}/approve/");
    let started = Instant::now();
    admin.post_bare(&path).await.expect(200);
    let (name, data) = anns.event().await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!((name.as_str(), &data["verb"]), ("notification", &"Enrolment confirmed".into()));
    assert_eq!(fresh.verb().await, "Enrolment confirmed");
    // As the list shows it.
    assert_eq!(data, ann.get("/api/core/notifications/").await.body[0]);
    // Nobody else was told; what comes next to the other is the other's.
    tell(&app.db, &bob, "of Bob").await;
    assert_eq!(bobs.verb().await, "of Bob");
    // An idle stream holds no session of the database: as many as there are in the pool, and it still answers.
    let mut idle = Vec::new();
    for _ in 0..6 {
        idle.push(Stream::open(&other.base, &bob, None).await);
    }
    bob.at(&other).get("/api/core/notifications/").await.expect(200);
}

#[tokio::test]
async fn who_comes_back_misses_nothing_and_gets_nothing_twice() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let stream = Stream::open(app.base(), &ann, None).await;
    let beginning = stream.last.clone();
    // Cut off before the first one already.
    drop(stream);
    tell(&app.db, &ann, "1").await;
    let mut stream = Stream::open(app.base(), &ann, Some(&beginning)).await;
    tell(&app.db, &ann, "2").await;
    assert_eq!([stream.verb().await, stream.verb().await], ["1", "2"]);
    let second = stream.last.clone();
    drop(stream);
    // More than one round sends, some of them told in one transaction.
    run(
        &app.db,
        format!(
            "insert into notifications (recipient_id, verb) select {}, n::text from generate_series(3, 250) n",
            ann.id
        ),
    )
    .await;
    tell(&app.db, &ann, "251").await;
    let mut stream = Stream::open(app.base(), &ann, Some(&second)).await;
    for wanted in 3..=251 {
        assert_eq!(stream.verb().await, wanted.to_string());
        if wanted == 120 {
            let last = stream.last.clone();
            stream = Stream::open(app.base(), &ann, Some(&last)).await;
        }
    }
    let path = format!("{STREAM}?last_event_id={}", "x");
    assert_eq!(ann.get(&path).await.errors("last_event_id").len(), 1);
    for bad in ["7", "-", "7-", "-7", "+7-1", "7-1-1", "99999999999999999999-1"] {
        assert_eq!(ann.with("Last-Event-ID", bad).get(STREAM).await.refusal(), (400, "invalid"), "{bad}");
    }
}

#[tokio::test]
async fn transactions_that_commit_in_reverse_order_lose_nothing() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let mut stream = Stream::open(app.base(), &ann, None).await;
    let mut early = app.transaction().await;
    let on: &mut PgConnection = &mut early;
    tell(on, &ann, "early").await;
    let mut late = app.transaction().await;
    let on: &mut PgConnection = &mut late;
    tell(on, &ann, "late").await;
    late.commit().await.unwrap();
    // The stream must not go past the one that is open: a client that comes back now must not either.
    until_it_has_looked(&app).await;
    let resumed = stream.last.clone();
    early.commit().await.unwrap();
    let mut again = Stream::open(app.base(), &ann, Some(&resumed)).await;
    tell(&app.db, &ann, "end").await;
    for stream in [&mut stream, &mut again] {
        assert_eq!([stream.verb().await, stream.verb().await, stream.verb().await], ["early", "late", "end"]);
    }
}

#[tokio::test]
async fn a_stream_needs_a_live_session_and_ends_with_it() {
    let app = TestApp::start().await;
    assert_eq!(app.anonymous().get(STREAM).await.refusal(), (401, "not_authenticated"));
    let ann = app.student().await;
    let other = ann.new_session(&app).await;
    let (mut one, mut kept) =
        (Stream::open(app.base(), &ann, None).await, Stream::open(app.base(), &other, None).await);
    other.delete(&format!("/api/users/sessions/{}/", ann.session)).await.expect(204);
    let started = Instant::now();
    assert!(one.event().await.is_none(), "the stream ends");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(ann.get(STREAM).await.refusal(), (401, "token_not_valid"));
    tell(&app.db, &ann, "still here").await;
    assert_eq!(kept.verb().await, "still here");
    run(&app.db, format!("update users set is_active = false where id = {}", ann.id)).await;
    assert!(kept.event().await.is_none());
}

#[tokio::test]
async fn a_person_has_a_bounded_number_of_streams() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.student().await, app.student().await);
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(Stream::open(app.base(), &ann, None).await);
    }
    let refused = ann.get(STREAM).await;
    assert_eq!(refused.refusal(), (429, "too_many_streams"));
    assert!(refused.header("retry-after").is_some());
    Stream::open(app.base(), &bob, None).await;
    open.pop();
    app.until("a place comes free", async || {
        let request = reqwest::Client::new().get(format!("{}{STREAM}", app.base())).bearer_auth(&ann.access);
        request.send().await.unwrap().status() == 200
    })
    .await;
}

#[tokio::test]
async fn a_stream_outlives_the_time_of_a_request_and_ends_when_the_server_stops() {
    let app = TestApp::start().await;
    let other = app.another_server().with("REQUEST_TIMEOUT", "1").start().await;
    let ann = app.student().await;
    let mut stream = Stream::open(&other.base, &ann, None).await;
    let opened = Instant::now();
    app.until("the time of a request is over", async || opened.elapsed() > Duration::from_millis(1500)).await;
    tell(&app.db, &ann, "late").await;
    assert_eq!(stream.verb().await, "late");
    let started = Instant::now();
    other.stop.cancel();
    assert!(stream.event().await.is_none(), "the stream ends");
    tokio::time::timeout(PATIENCE, other.stopped.cancelled()).await.expect("the server drains");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // The client goes on at another server.
    tell(&app.db, &ann, "meanwhile").await;
    assert_eq!(Stream::open(app.base(), &ann, Some(&stream.last)).await.verb().await, "meanwhile");
}
