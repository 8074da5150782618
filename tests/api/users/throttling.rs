//! Limits on guessing. What is looked at is 401, what is not is 429, whether the password is right or not.

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::json;
use swincms::access::passwords::Core;

use super::enter;
use crate::support::{PASSWORD, Person, Reply, Sender, TestApp};

const WRONG: &str = "not-the-Password-1";

/// Behind a proxy that names the client's address.
async fn start() -> TestApp {
    TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await
}

fn from(app: &TestApp, address: &str) -> Sender {
    app.anonymous().with("X-Forwarded-For", address)
}

/// How many of these were looked at, when all others were throttled.
fn looked_at(replies: &[Reply]) -> usize {
    for reply in replies {
        match reply.refusal() {
            (401, "no_active_account") => {}
            (429, "throttled") => assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() > 0),
            _ => panic!("{} {}", reply.status, reply.body),
        }
    }
    replies.iter().filter(|reply| reply.status.as_u16() == 401).count()
}

async fn guess(from: &Sender, name: &str, times: usize) -> Vec<Reply> {
    let mut replies = Vec::new();
    for _ in 0..times {
        replies.push(enter(from, name, WRONG).await);
    }
    replies
}

/// A minute of the morning on which the clocks stand.
async fn set_minute(app: &TestApp, minute: u32) {
    app.set_time(&format!("2026-03-02T{:02}:{:02}:00Z", 2 + minute / 60, minute % 60)).await;
}

async fn logs_in(from: &Sender, who: &Person) {
    enter(from, &who.email, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_stranger_guesses_ten_times_and_shuts_nobody_else_out() {
    let app = start().await;
    let (home, elsewhere) = (from(&app, "10.0.0.1"), from(&app, "10.9.9.9"));
    let ann = app.student().await;
    logs_in(&home, &ann).await;
    let mut others = Vec::new();
    for _ in 0..30 {
        others.push(app.student().await);
    }

    let replies = guess(&elsewhere, &ann.email, 40).await;
    assert_eq!(looked_at(&replies), 10);
    assert_eq!(looked_at(&replies[..10]), 10, "the first ten");
    // The right one is as good as a wrong one there, and at any other address that the account does not know.
    for stranger in [&elsewhere, &from(&app, "10.9.9.10")] {
        let reply = enter(stranger, &ann.email, PASSWORD).await;
        assert_eq!((reply.refusal(), reply.header("retry-after")), ((429, "throttled"), Some("60")));
        let reply =
            stranger.post("/api/token/compat/", &json!({ "username": ann.username, "password": PASSWORD })).await;
        assert_eq!(reply.refusal(), (429, "throttled"), "the user name is no way round");
    }
    logs_in(&home, &ann).await;
    for ten in others.chunks(10) {
        join_all(ten.iter().map(|other| logs_in(&elsewhere, other))).await;
    }
    logs_in(&home, &ann).await;
}

#[tokio::test]
async fn unknown_and_inactive_accounts_are_throttled_like_any_other() {
    let app = start().await;
    let (ann, ida, ben) = (app.student().await, app.student().await, app.student().await);
    let sql = sqlx::query!("update users set is_active = false where id = $1", ida.id.0);
    sql.execute(&app.db).await.unwrap();
    let sender = from(&app, "10.0.0.1").with("X-Request-Id", "the-same");
    // Each as an address and as a user name, in this case and that: nothing tells what there is behind it.
    let names = [
        (ann.email.as_str(), WRONG),
        ("no@example.edu", PASSWORD),
        (ida.email.as_str(), PASSWORD),
        (ben.username.as_str(), WRONG),
        ("nobody", PASSWORD),
    ];
    let mut bodies = Vec::new();
    for (name, password) in names {
        let mut replies = Vec::new();
        for (number, field) in ["email", "username"].into_iter().cycle().take(12).enumerate() {
            let name = if number % 3 == 0 { name.to_uppercase() } else { name.to_owned() };
            replies.push(sender.post("/api/token/", &json!({ field: name, "password": password })).await);
        }
        assert_eq!((looked_at(&replies[..10]), looked_at(&replies)), (10, 10), "{name}");
        bodies.extend(replies.into_iter().skip(10).map(|reply| (reply.bytes, reply.headers["retry-after"].clone())));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "a refusal tells one account from another");
}

#[tokio::test]
async fn an_account_gets_one_attempt_a_minute_and_has_all_again_after_ten() {
    let app = start().await;
    let ann = app.student().await;
    let mut address = 0;
    for (minute, attempts) in [(0, 10), (1, 1), (2, 1), (4, 2), (5, 1), (15, 10), (115, 10)] {
        set_minute(&app, minute).await;
        let mut replies = Vec::new();
        for _ in 0..12 {
            address += 1;
            replies.extend(guess(&from(&app, &format!("10.0.0.{address}")), &ann.email, 1).await);
        }
        assert_eq!(looked_at(&replies), attempts, "in minute {minute}");
    }
}

#[tokio::test]
async fn the_wait_that_a_refusal_names_is_enough_and_not_too_long() {
    let app = start().await;
    let (ann, ben, cay) = (app.student().await, app.student().await, app.student().await);
    let (home, elsewhere) = (from(&app, "10.0.0.1"), from(&app, "10.9.9.9"));
    for who in [&ann, &cay] {
        logs_in(&home, who).await;
    }
    // Strangers also wait until the owner has back what the owner has used up.
    guess(&home, &cay.email, 4).await;
    let start = app.clock.now();
    for (sender, who, seconds) in [(&home, &ann, 60), (&elsewhere, &ben, 60), (&elsewhere, &cay, 300)] {
        assert_eq!(looked_at(&guess(sender, &who.email, 10).await), 10);
        let reply = enter(sender, &who.email, PASSWORD).await;
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some(seconds.to_string().as_str())));
    }
    for (second, sender, who) in [(60, &home, &ann), (60, &elsewhere, &ben), (300, &elsewhere, &cay)] {
        for (second, status) in [(second - 1, 429), (second, 401)] {
            app.set_time(&(start + chrono::TimeDelta::seconds(second)).to_rfc3339()).await;
            enter(sender, &who.email, WRONG).await.expect(status);
        }
    }
}

#[tokio::test]
async fn at_most_thirty_attempts_in_ten_minutes_are_looked_at_whatever_the_addresses() {
    let app = start().await;
    let ann = app.student().await;
    let homes = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    for home in homes {
        logs_in(&from(&app, home), &ann).await;
    }
    let mut each = Vec::new();
    for minute in 0..20 {
        set_minute(&app, minute).await;
        let mut replies = Vec::new();
        for round in 0..12 {
            replies.extend(guess(&from(&app, homes[round % 3]), &ann.email, 1).await);
            replies.extend(guess(&from(&app, &format!("10.5.{minute}.{round}")), &ann.email, 1).await);
        }
        each.push(looked_at(&replies));
    }
    assert_eq!(each[0], 20, "ten from addresses that it knows, ten from others");
    for (minute, ten) in each.windows(10).enumerate() {
        let sum: usize = ten.iter().sum();
        assert!((10..=30).contains(&sum), "{sum} in the ten minutes from {minute}: {each:?}");
    }
}

#[tokio::test]
async fn guessing_that_never_ends_leaves_the_owner_all_of_their_attempts() {
    let app = start().await;
    let (home, elsewhere) = (from(&app, "10.0.0.1"), from(&app, "10.9.9.9"));
    let ann = app.student().await;
    logs_in(&home, &ann).await;
    for minute in 0..15 {
        set_minute(&app, minute).await;
        assert!(looked_at(&guess(&elsewhere, &ann.email, 11).await) <= 10);
        // A mistake a minute, and each is looked at.
        assert_eq!(looked_at(&guess(&home, &ann.email, 1).await), 1, "in minute {minute}");
        assert!(looked_at(&guess(&elsewhere, &ann.email, 1).await) <= 1);
    }
    assert_eq!(looked_at(&guess(&home, &ann.email, 12).await), 9);
    set_minute(&app, 16).await;
    guess(&elsewhere, &ann.email, 2).await;
    logs_in(&home, &ann).await;
}

#[tokio::test]
async fn attempts_at_once_do_not_slip_past() {
    let app = start().await;
    let ann = app.student().await;
    let server = app.second_server().await;
    let senders: Vec<_> = (0..20).map(|number| from(&app, &format!("10.0.0.{number}"))).collect();
    let attempts = senders.iter().enumerate().map(|(number, sender)| {
        let sender = if number % 2 == 0 { sender.clone() } else { sender.at(&server) };
        let name = &ann.email;
        async move { enter(&sender, name, WRONG).await }
    });
    assert_eq!(looked_at(&join_all(attempts).await), 10);
}

#[tokio::test]
async fn successes_do_not_count() {
    let app = start().await;
    let ann = app.student().await;
    for number in 0..12 {
        logs_in(&from(&app, &format!("10.0.0.{number}")), &ann).await;
    }
    let home = from(&app, "10.0.0.1");
    assert_eq!(looked_at(&guess(&home, &ann.email, 3).await), 3);
    for _ in 0..3 {
        // Locks are taken in one order, so that those who come together do not wait for each other.
        join_all((0..4).map(|_| logs_in(&home, &ann))).await;
    }
    let left = sqlx::query_scalar!("select tokens from throttle_buckets where key like 'login:%' order by tokens");
    let left = left.fetch_all(&app.db).await.unwrap();
    // Three failures, and not one more for the successes.
    assert_eq!(left[..3], [7.0, 17.0, 297.0]);
    assert!(left[3..].iter().all(|tokens| *tokens == 300.0), "{left:?}");
}

#[tokio::test]
async fn what_was_taken_is_given_back_once_and_never_more_than_there_was() {
    let app = start().await;
    let ann = app.student().await;
    let home = from(&app, "10.0.0.1");
    guess(&home, &ann.email, 1).await;
    set_minute(&app, 60).await;
    logs_in(&home, &ann).await;
    let left = sqlx::query_scalar!("select tokens from throttle_buckets where key like 'login:%' order by tokens");
    assert_eq!(left.fetch_all(&app.db).await.unwrap(), [10.0, 20.0, 300.0]);
}

#[tokio::test]
async fn an_address_has_three_hundred_failures_in_ten_minutes() {
    let app = start().await;
    let (ann, ben) = (app.student().await, app.student().await);
    let (hall, elsewhere) = (from(&app, "10.0.0.1"), from(&app, "10.0.0.2"));
    assert_eq!(looked_at(&guess(&hall, "no1@example.edu", 1).await), 1);
    // As if there had been 297 more.
    let sql = sqlx::query!("update throttle_buckets set tokens = tokens - 297 where tokens = 299");
    assert_eq!(sql.execute(&app.db).await.unwrap().rows_affected(), 1);
    assert_eq!(looked_at(&guess(&hall, "no2@example.edu", 1).await), 1);
    assert_eq!(looked_at(&guess(&hall, &ben.email, 2).await), 1);
    for name in [ann.email.as_str(), "no3@example.edu"] {
        let reply = enter(&hall, name, PASSWORD).await;
        assert_eq!((reply.refusal(), reply.header("retry-after")), ((429, "throttled"), Some("2")));
    }
    logs_in(&elsewhere, &ann).await;
    // What the address refuses costs the account nothing.
    let full = sqlx::query_scalar!(r#"select count(*) as "full!" from throttle_buckets where tokens in (10, 20)"#);
    assert!(full.fetch_one(&app.db).await.unwrap() >= 2);
    app.set_time("2026-03-02T02:00:02Z").await;
    assert_eq!(looked_at(&guess(&hall, "no4@example.edu", 2).await), 1);
    app.set_time("2026-03-02T02:10:02Z").await;
    logs_in(&hall, &ann).await;
}

#[tokio::test]
async fn a_client_with_ipv6_is_counted_and_known_by_its_network() {
    let app = start().await;
    let (ann, ben) = (app.student().await, app.student().await);
    logs_in(&from(&app, "2001:db8:1:1::1"), &ann).await;
    assert_eq!(looked_at(&guess(&from(&app, "2001:db8:1:2::1"), &ann.email, 12).await), 10);
    logs_in(&from(&app, "2001:db8:1:1:ffff::2"), &ann).await;
    enter(&from(&app, "2001:db8:1:3::1"), &ann.email, PASSWORD).await.expect(429);
    // An IPv4 address is the same in either spelling.
    logs_in(&from(&app, "10.0.0.1"), &ben).await;
    guess(&from(&app, "10.0.0.2"), &ben.email, 10).await;
    logs_in(&from(&app, "::ffff:10.0.0.1"), &ben).await;
}

#[tokio::test]
async fn an_address_that_no_proxy_of_ours_has_written_is_not_believed() {
    let app = TestApp::start().await;
    guess(&from(&app, "10.0.0.1"), "no@example.edu", 1).await;
    guess(&from(&app, "10.0.0.2"), "no@example.edu", 1).await;
    let addresses = sqlx::query_scalar!("select tokens from throttle_buckets where tokens > 20");
    assert_eq!(addresses.fetch_all(&app.db).await.unwrap(), [298.0], "both came from 127.0.0.1");

    let app = start().await;
    // The left one is the client's own invention; the proxy wrote the right one.
    guess(&from(&app, "10.0.0.1, 10.0.0.3"), "no@example.edu", 1).await;
    guess(&from(&app, "10.0.0.2, 10.0.0.3"), "no@example.edu", 1).await;
    let addresses = sqlx::query_scalar!("select tokens from throttle_buckets where tokens > 20");
    assert_eq!(addresses.fetch_all(&app.db).await.unwrap(), [298.0]);
}

/// All cores that passwords are hashed on, so that whoever has a place waits until they are given back.
fn all_cores(app: &TestApp) -> Vec<Core> {
    let mut cores = Vec::new();
    while let Some(Ok(core)) = app.state.hasher.core().now_or_never() {
        cores.push(core);
    }
    cores
}

#[tokio::test]
async fn one_address_takes_two_places_of_the_queue_and_one_account_takes_one() {
    let app = start().await;
    let ann = app.student().await;
    let cores = all_cores(&app);
    let taken = || app.state.hasher.load().places;
    let mut others = Vec::new();
    // 40 from one address, and as many who know Ann's name.
    for number in 0..40 {
        let stranger = from(&app, "10.9.9.9");
        others.push(tokio::spawn(async move { enter(&stranger, &format!("no{number}@example.edu"), WRONG).await }));
    }
    app.until("two have a place", async || taken() == 2).await;
    for number in 0..5 {
        let (stranger, email) = (from(&app, &format!("10.7.0.{number}")), ann.email.clone());
        others.push(tokio::spawn(async move { enter(&stranger, &email, WRONG).await }));
    }
    app.until("one more has", async || taken() == 3).await;
    // A stranger to all of them gets the next place, and is in when there is a core.
    let ben = app.student().await;
    let home = from(&app, "10.0.0.1");
    let ((), ()) = tokio::join!(logs_in(&home, &ben), async {
        app.until("Ben has a place", async || taken() == 4).await;
        // Whoever only waits has left nothing, not even a counter: two of the flood, one of Ann's, and Ben have two for the
        // account each, and one for the address.
        let counters = async || {
            let sql = sqlx::query_scalar!(r#"select count(*) as "count!" from throttle_buckets"#);
            sql.fetch_one(&app.db).await.unwrap()
        };
        app.until("they have counters", async || counters().await >= 11).await;
        assert_eq!(counters().await, 11);
        drop(cores);
    });
    for other in others {
        let reply = other.await.unwrap();
        assert!([401, 503].contains(&reply.status.as_u16()), "{}", reply.status);
    }
    assert_eq!(taken(), 0, "everybody has left");
}

#[tokio::test]
async fn the_line_of_an_address_is_short_and_beyond_it_nothing_is_done() {
    let app = start().await;
    let ann = app.student().await;
    let hasher = &app.state.hasher;
    let mut line = Vec::new();
    while let Ok(stand) = hasher.line("2001:db8:1:1::1".parse().unwrap()) {
        line.push(stand);
    }
    assert_eq!(line.len(), 66, "two at work and 64 in line");
    // The whole network stands in it, and leaves no trace.
    let reply = enter(&from(&app, "2001:db8:1:1::2"), &ann.email, PASSWORD).await;
    assert_eq!((reply.refusal(), reply.header("retry-after")), ((503, "unavailable"), Some("1")));
    let buckets = sqlx::query_scalar!(r#"select count(*) as "count!" from throttle_buckets"#);
    assert_eq!(buckets.fetch_one(&app.db).await.unwrap(), 0);
    logs_in(&from(&app, "2001:db8:1:2::1"), &ann).await;
    line.pop();
    logs_in(&from(&app, "2001:db8:1:1::2"), &ann).await;
}

#[tokio::test]
async fn what_needs_no_hash_is_refused_while_the_queue_is_full() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1"), ("REGISTRATIONS_AT_ONCE", "3")]).await;
    let ann = app.student().await;
    let body = |email: &str, password: &str| json!({ "email": email, "username": "zoe", "password": password, "confirm_password": password });
    let users = "/api/users/users/";
    let cores = all_cores(&app);
    let _full = app.all_places().await;
    let nobody = from(&app, "10.0.0.1");
    // Rules, taken names, and links that are none.
    nobody.post(users, &body("zoe@example.edu", "a")).await.expect(400);
    assert_eq!(nobody.post(users, &body(&ann.email, "harbour-Quilt-77")).await.refusal(), (409, "already_taken"));
    let no_link = json!({ "token": "x", "new_password": "harbour-Quilt-77" });
    nobody.post("/api/users/password-reset/confirm/", &no_link).await.expect(400);
    let short = json!({ "current_password": PASSWORD, "new_password": "a" });
    ann.post("/api/users/users/me/password/", &short).await.expect(400);
    // What would be hashed, or guessed at, is told to come again, which costs nothing; and beyond the bucket not even that.
    for _ in 0..4 {
        assert_eq!(nobody.post(users, &body("zoe@example.edu", "password123")).await.refusal(), (503, "unavailable"));
    }
    for _ in 0..2 {
        assert_eq!(nobody.post(users, &body(&ann.email, "harbour-Quilt-77")).await.refusal(), (409, "already_taken"));
    }
    assert_eq!(nobody.post(users, &body("zoe@example.edu", "harbour-Quilt-77")).await.refusal(), (429, "throttled"));
    drop(cores);
}

#[tokio::test]
async fn who_has_used_up_the_guesses_waits_for_no_place() {
    let app = start().await;
    let ann = app.student().await;
    let elsewhere = from(&app, "10.9.9.9");
    guess(&elsewhere, &ann.email, 10).await;
    // Both places of the address are taken: whoever waits for one waits in vain.
    let place = async || app.state.hasher.line([10, 9, 9, 9].into()).unwrap().place(None).await.unwrap();
    let _places = (place().await, place().await);
    assert_eq!(enter(&elsewhere, &ann.email, PASSWORD).await.refusal(), (429, "throttled"));
    assert_eq!(enter(&elsewhere, "no@example.edu", PASSWORD).await.refusal(), (503, "unavailable"));
}

#[tokio::test]
async fn logging_in_again_and_again_comes_to_an_end_and_opens_no_session_then() {
    let app = start().await;
    let (ann, ben) = (app.student().await, app.student().await);
    let home = from(&app, "10.0.0.1");
    logs_in(&home, &ann).await;
    // As if it had gone on like this.
    let sql = sqlx::query!("update throttle_buckets set tokens = 1 where key like 'sessions:%' and tokens = 599");
    assert_eq!(sql.execute(&app.db).await.unwrap().rows_affected(), 1);
    logs_in(&home, &ann).await;
    let made = async || {
        let sql = sqlx::query!(
            r#"select (select count(*) from sessions) as "sessions!", (select count(*) from audit_log) as "audited!""#
        );
        let row = sql.fetch_one(&app.db).await.unwrap();
        (row.sessions, row.audited)
    };
    let before = made().await;
    let reply = enter(&from(&app, "10.0.0.2"), &ann.email, PASSWORD).await;
    assert_eq!((reply.refusal(), reply.header("retry-after")), ((429, "throttled"), Some("6")));
    assert_eq!(made().await, before);
    logs_in(&home, &ben).await;
}
