//! What every test starts with: a server of its own on a database of its own, and people who send requests to it.
//!
//! ```ignore
//! let app = TestApp::start().await;                       // migrated, empty database; clocks stand at `NOW`
//! let app = TestApp::with(&[("REGISTRATION", "closed")]).await;   // settings as in the environment
//! let app = TestApp::with_background(&[]).await;          // also the probe, the mail queue and sweeping
//! let other = app.second_server().await;                  // like another process on the same database
//!
//! let ann = app.person("student").await;                  // any user type; is a row, a session and a token
//! let (admin, staff) = (app.admin().await, app.staff().await);    // also convenor, student, auditor, parent
//! ann.id; ann.email; ann.username;                        // the password of all is `PASSWORD`
//! ann.log_in().await;                                     // POST /api/token/ with it; fails the test if refused
//!
//! let reply = ann.get("/api/academic/courses/").await;    // post put patch (path, &json) · delete post_bare (path)
//! ann.at(&other).get(path).await;                         // the same person at the other server
//! ann.with("If-Match", &tag).patch(path, &json).await;    // one more header
//! ann.upload(path, Upload::of("file", "notes.pdf", bytes).and("title", "Notes")).await;
//! ann.send(Method::POST, path, "application/json", raw_bytes).await;
//! app.anonymous().get(path).await;                        // nobody; `.with("Authorization", …)` for bad tokens
//! reply.status; reply.headers; reply.body; reply.bytes;   // body: Value, null unless JSON
//! reply.expect(201)["id"];                                // the body, after a check of the status
//! reply.header("etag"); reply.errors("code"); reply.next_page();
//!
//! app.course() · app.unit() · app.unit_of(convenor) · app.offering(capacity) · app.offering_of(unit, capacity)
//! app.enrollment(student, offering, "ENROLLED")           // each → Id; window of offerings open at `NOW`
//!
//! let mut halfway = app.transaction().await;              // somebody else's, on its own connection
//! app.until_someone_waits().await;                        // until a session of this database waits for a lock
//! app.until("what", async || condition).await;            // bounded poll of any condition
//! app.set_time("2026-07-01T00:00:00Z").await;             // moves the clock of tokens and the database's
//! app.db                                                  // a pool of its own, for asserting
//! app.check_invariants().await;                           // tests/invariants.sql returns no rows
//!
//! // Faults: a server with its own limits, behind a proxy that holds or cuts what goes to and from the database.
//! let proxy = Proxy::start(&app).await;                   // .hold() .cut() .open() .hold_at("BEGIN") .until_held()
//! app.another_server().with("DB_POOL_SIZE", "1").limits(limits).through(&proxy).with_background().start().await;
//!
//! // The outside world: an HTTP server that answers as it is told; see [`receiver::Receiver`].
//! let outside = Receiver::start().await;                  // .answers(200, json) .hold() .release() .until_called(1)
//! let app = TestApp::with(&[("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")]).await;    // loopback is refused otherwise
//!
//! let empty = EmptyDatabase::create().await;              // a database without a schema, for migrations
//! ```
//!
//! Every reply is checked against the conventions that hold for all of them (see [`people::Reply`]).
//!
//! The databases are copies of a migrated template in one throw-away cluster per process, on `/dev/shm` where there is
//! one. `TEST_DATABASE_URL` names a server to use instead, which is quicker where each test is a process
//! (`cargo nextest run`): the template is then made once. Databases are dropped in the background, after the servers on
//! them have stopped. `TEST_LOG=debug` shows the servers' logs.

#![allow(clippy::disallowed_methods, reason = "tests may look behind the rules of the server")]
#![allow(dead_code, unused_imports, reason = "offered to every test, whether or not one asks for it at present")]

pub(crate) mod app;
mod cluster;
pub(crate) mod corpus;
pub(crate) mod documented;
pub(crate) mod fixtures;
mod golden;
pub(crate) mod people;
pub(crate) mod probes;
mod proxy;
pub(crate) mod receiver;

pub(crate) use app::{NOW, TestApp, TestServer, invariants};
pub(crate) use cluster::EmptyDatabase;
pub(crate) use golden::assert_golden;
pub(crate) use people::{MISSPELT, PASSWORD, Person, Reply, Sender, Upload};
pub(crate) use probes::{PROBE, Probe, Seen, words_of_the_inside};
pub(crate) use proxy::Proxy;
pub(crate) use receiver::{Receiver, Sent};
