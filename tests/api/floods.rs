//! What one person, or one address, can make many rows of: all of it is counted.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::json;
use swincms::access::{Grants, Permission, UserType};
use swincms::app::routes;
use swincms::http::Route;

use crate::support::{Reply, Sender, TestApp};

/// What nobody has to be logged in for, and what bounds it.
const OPEN: [(&str, &str); 8] = [
    ("POST /api/token/", "guesses of the address and of the account; a session needs the right password"),
    ("POST /api/token/compat/", "the same"),
    ("POST /api/token/refresh/", "changes the session that there is"),
    ("POST /api/token/verify/", "only reads"),
    ("POST /api/token/logout/", "changes the session that there is"),
    ("POST /api/users/password-reset/", "resets of the address and of the account"),
    ("POST /api/users/password-reset/confirm/", "needs a link, and each is good once"),
    ("POST /api/users/email/confirm/", "needs a link, and each is good once"),
];

/// What does not cost a student or parent a whole token.
const CHEAPER: [(&str, f64); 7] = [
    ("POST /api/askai/chat/", 0.0),
    ("POST /api/core/notifications/mark-all-read/", 0.1),
    ("DELETE /api/core/notifications/{id}/", 0.1),
    ("PATCH /api/core/notifications/{id}/", 0.1),
    ("PUT /api/core/notifications/{id}/", 0.1),
    ("POST /api/enrollment/enrollments/", 0.0),
    ("POST /api/enrollment/enrollments/{id}/withdraw/", 0.0),
];

fn name(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

fn may_call(route: &Route, user_type: UserType) -> bool {
    match route.access {
        "public" | "anyone" | "signed in" => true,
        code => Permission::ALL
            .iter()
            .find(|permission| permission.code() == code)
            .is_some_and(|permission| !Grants::of(user_type, false, false).reach(*permission).is_none()),
    }
}

/// The answer to a call of what is not there, by somebody who may call.
async fn call(sender: &Sender, route: &Route) -> Reply {
    let parts = route.path.split('/').map(|part| if part.starts_with('{') { "9007199254740990" } else { part });
    sender.call(route.method.clone(), &parts.collect::<Vec<_>>().join("/")).await
}

#[tokio::test]
async fn whatever_a_student_or_parent_changes_is_counted_or_named_here() {
    let app = TestApp::with(&[("PERSON_WRITES_AT_ONCE", "1")]).await;
    let people = [(UserType::Student, app.student().await), (UserType::Parent, app.parent().await)];
    for (_, person) in &people {
        person.patch("/api/users/users/update_profile/", &json!({})).await.expect(200);
    }
    let table = routes();
    let (mut open, mut cheaper) = (BTreeSet::new(), Vec::new());
    for route in table.lines().iter().filter(|route| route.method != Method::GET) {
        for (user_type, person) in &people {
            if !may_call(route, *user_type) {
                continue;
            }
            let reply = call(person, route).await;
            if route.access == "public" {
                open.insert(name(route));
                continue;
            }
            let is_counted = reply.status.as_u16() == 429;
            assert_eq!(is_counted, route.cost().0 > 0.0, "{} by {user_type:?}: {}", name(route), reply.status);
        }
        if let Some((cost, why)) = route.counts {
            assert!(why.len() > 20, "{} says why", name(route));
            cheaper.push((name(route), cost.0));
        }
    }
    assert_eq!(open, OPEN.iter().map(|(name, _)| (*name).to_owned()).collect());
    cheaper.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut named = CHEAPER.map(|(name, cost)| (name.to_owned(), cost)).to_vec();
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(cheaper, named);
}

#[tokio::test]
async fn a_person_writes_so_much_at_once_and_then_so_much_a_minute_whatever_it_is_and_wherever() {
    let app = TestApp::with(&[("PERSON_WRITES_AT_ONCE", "30"), ("PERSON_WRITES_A_MINUTE", "5")]).await;
    let server = app.second_server().await;
    let (ann, ben, sam) = (app.student().await, app.student().await, app.staff().await);
    let message = json!({ "recipient": sam.id, "verb": "Question", "description": "Is there a class?" });
    let ticket = json!({ "title": "Door", "description": "It does not open." });
    for number in 0..30 {
        let sender = if number % 2 == 0 { ann.clone() } else { ann.at(&server) };
        match number % 3 {
            0 => sender.post("/api/core/notifications/", &message).await.expect(201),
            1 => sender.post("/api/core/tickets/", &ticket).await.expect(201),
            _ => sender.patch("/api/users/users/update_profile/", &json!({ "bio": "x" })).await.expect(200),
        };
    }
    let told = || async {
        let sql =
            sqlx::query_scalar!(r#"select count(*) as "told!" from notifications where recipient_id = $1"#, sam.id.0);
        sql.fetch_one(&app.db).await.unwrap()
    };
    let before = told().await;
    let reply = ann.post("/api/core/notifications/", &message).await;
    assert_eq!((reply.refusal(), reply.header("retry-after")), ((429, "throttled"), Some("12")));
    assert_eq!(reply.body["detail"], "You have changed a lot within a short time. Try again in 12 seconds.");
    ann.at(&server).post("/api/core/tickets/", &ticket).await.expect(429);
    assert_eq!(told().await, before);
    // Reading costs nothing, a new session brings nothing, and others are not concerned.
    ann.get("/api/core/tickets/").await.expect(200);
    ann.new_session(&app).await.post("/api/core/tickets/", &ticket).await.expect(429);
    ben.post("/api/core/tickets/", &ticket).await.expect(201);
    app.set_time("2026-03-02T02:00:12Z").await;
    ann.post("/api/core/tickets/", &ticket).await.expect(201);
    ann.post("/api/core/tickets/", &ticket).await.expect(429);
}

#[tokio::test]
async fn who_works_for_the_university_writes_more() {
    let app = TestApp::with(&[("PERSON_WRITES_AT_ONCE", "1")]).await;
    let ticket = json!({ "title": "Door", "description": "It does not open." });
    let (tutor, helper) = (app.student().await, app.student().await);
    let sql = sqlx::query!("update users set is_staff = true where id = $1", tutor.id.0);
    sql.execute(&app.db).await.unwrap();
    for who in [app.staff().await, app.convenor().await, app.admin().await, tutor] {
        for _ in 0..12 {
            let reply = who.post("/api/core/tickets/", &ticket).await;
            assert_ne!(reply.status.as_u16(), 429, "{}", who.user_type);
        }
    }
    let sql = sqlx::query!(
        "with role as (insert into roles (name, permissions) values ('Helper', '{tickets.read}') returning id)
         insert into user_roles (user_id, role_id)
         select $1, id from role",
        helper.id.0
    );
    sql.execute(&app.db).await.unwrap();
    for number in 0..12 {
        let reply = helper.post("/api/core/tickets/", &ticket).await;
        assert_eq!(reply.status.as_u16() == 429, number >= 10, "{number}: {}", reply.body);
    }
}

#[tokio::test]
async fn enrolling_and_withdrawing_again_and_again_comes_to_an_end_and_asking_in_vain_does_not_count() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let (offering, full) = (app.offering(5).await, app.offering(1).await);
    app.enrollment(app.student().await.id, full, "ENROLLED").await;
    let enrol = |offering| async move { json!({ "offering": offering }) };
    for _ in 0..3 {
        ann.post("/api/enrollment/enrollments/", &enrol(full).await).await.expect(409);
    }
    let reply = ann.post("/api/enrollment/enrollments/", &enrol(offering).await).await;
    let id = reply.expect(201)["id"].clone();
    let bucket = sqlx::query_scalar!("select tokens from throttle_buckets where key like 'enrolments:%'");
    assert_eq!(bucket.fetch_one(&app.db).await.unwrap(), 199.0);
    // As if it had gone on like this.
    let sql = sqlx::query!("update throttle_buckets set tokens = 1 where key like 'enrolments:%'");
    sql.execute(&app.db).await.unwrap();
    ann.post(&format!("/api/enrollment/enrollments/{id}/withdraw/"), &json!({})).await.expect(200);
    let reply = ann.post("/api/enrollment/enrollments/", &enrol(offering).await).await;
    assert_eq!((reply.refusal(), reply.header("retry-after")), ((429, "throttled"), Some("30")));
    // It holds no seat.
    let taken = sqlx::query_scalar!("select current_enrollment from offerings where id = $1", offering.0);
    assert_eq!(taken.fetch_one(&app.db).await.unwrap(), 0);
}

/// The rows of the table in docs/operations.md: table, who makes rows, how many, what removes them.
fn bounds() -> Vec<[String; 4]> {
    let page = include_str!("../../docs/operations.md");
    let section = page.split("\n## ").find(|section| section.starts_with("What grows")).unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| {
            let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
            cells.try_into().unwrap_or_else(|cells| panic!("{cells:?} are not four"))
        })
        .collect()
}

#[tokio::test]
async fn each_table_has_a_bound_and_what_removes_its_rows() {
    let app = TestApp::start().await;
    let tables = sqlx::query_scalar!(
        r#"select table_name::text as "name!"
             from information_schema.tables
            where table_schema = 'public'
              and table_type = 'BASE TABLE'
              and table_name <> '_sqlx_migrations'"#
    );
    let tables: BTreeSet<String> = tables.fetch_all(&app.db).await.unwrap().into_iter().collect();
    let bounds = bounds();
    let told: BTreeSet<String> = bounds.iter().map(|[table, ..]| table.trim_matches('`').to_owned()).collect();
    assert_eq!(told, tables, "docs/operations.md, under What grows");
    assert_eq!(bounds.len(), tables.len(), "a table stands there twice");
    for [table, who, most, removes] in &bounds {
        assert!([who, most, removes].iter().all(|cell| !cell.is_empty()), "{table}");
        // Rows that strangers make are never for keeping, unless they become somebody.
        let is_kept = removes.starts_with("kept: ");
        assert!(
            is_kept || removes.starts_with("swept: ") || removes.starts_with("with ") || removes.starts_with("at "),
            "{table}: {removes}"
        );
        assert!(!is_kept || who != "anybody", "{table}");
        let sweeps = include_str!("../../src/sweep.rs").contains(&format!("delete from {}\n", table.trim_matches('`')));
        let of_files = table == "`stored_files`";
        assert_eq!(removes.starts_with("swept: "), sweeps || of_files, "{table} and src/sweep.rs");
    }
}

/// How many rows there are of each that is swept, and how many of these are past their time.
async fn of_each(app: &TestApp) -> Vec<(String, i64, i64)> {
    let left = sqlx::query!(
        r#"select 'calls' as "table!", count(*) as "rows!", count(*) filter (where trigger_event = 'old') as "old!"
             from workflow_executions
           union all
           select 'messages', count(*), count(*) filter (where trigger_event = 'old') from webhook_outbox
           union all
           select 'mails', count(*), count(*) filter (where recipient = 'old') from mail_outbox
           union all
           select 'told', count(*), count(*) filter (where verb = 'old') from notifications
           union all
           select 'links', count(*), count(*) filter (where token_hash = sha256('old')) from calendar_links
           union all
           select 'keys', count(*), count(*) filter (where key = 'old') from idempotency_keys
           union all
           select 'buckets', count(*), count(*) filter (where key = 'old') from throttle_buckets
           union all
           select 'sessions', count(*), count(*) filter (where user_agent = 'old') from sessions
           union all
           select 'tokens', count(*), count(*) filter (where token_hash = sha256('old')) from password_reset_tokens
           union all
           select 'addresses', count(*), count(*) filter (where address_hash = 'old') from login_addresses"#
    );
    let left = left.fetch_all(&app.db).await.unwrap();
    left.into_iter().map(|row| (row.table, row.rows, row.old)).collect()
}

#[tokio::test]
async fn what_has_had_its_time_is_swept_and_nothing_else() {
    let settings = [
        ("KEEP_MAIL_DAYS", "30"),
        ("KEEP_WORKFLOW_DAYS", "90"),
        ("KEEP_MESSAGES_DAYS", "365"),
        ("PERSON_WRITES_AT_ONCE", "30"),
    ];
    let app = TestApp::with(&settings).await;
    let ann = app.student().await;
    // Each twice: just before its time and just after. What is still to be done stays however old it is.
    let sql = sqlx::query!(
        "with age as (
            select * from (values ('young', -interval '1 minute'), ('old', interval '1 minute')) a (name, past)
         ),
         mails as (
            insert into mail_outbox (template, recipient, state, sent_at, created_at)
            select 'x', name, state, case when state = 'sent' then rule_now() end, rule_now() - interval '30 days' - past
              from age, unnest(array['sent', 'dead', 'skipped', 'queued']) state
         ),
         calls as (
            insert into workflow_executions (trigger_event, status, end_time, created_at)
            select name, 'completed', rule_now(), rule_now() - interval '90 days' - past from age
         ),
         messages as (
            insert into webhook_outbox (trigger_event, object_key, state, delivered_at, created_at)
            select name, 'event:1', state, case when state = 'delivered' then rule_now() end,
                   rule_now() - interval '90 days' - past
              from age, unnest(array['delivered', 'dead', 'skipped', 'pending']) state
         ),
         told as (
            insert into notifications (recipient_id, verb, unread, deleted_at, updated_at)
            select $1, name, unread, case when deleted then rule_now() end, rule_now() - kept - past
              from age, (values (false, false, interval '365 days'), (true, true, interval '365 days'),
                                (true, false, interval '1095 days')) as n (unread, deleted, kept)
         ),
         links as (
            insert into calendar_links (user_id, token_hash, revoked_at)
            select $1, sha256(name::bytea), rule_now() - interval '30 days' - past from age
         ),
         keys as (
            insert into idempotency_keys (user_id, key, target, body_hash, created_at)
            select $1, name, 'x', '', now() - interval '24 hours' - past from age
         ),
         buckets as (
            insert into throttle_buckets (key, tokens, updated_at)
            select name, 1, rule_now() - interval '2 hours' - past from age
         ),
         ended as (
            insert into sessions (user_id, refresh_hash, expires_at, user_agent)
            select $1, sha256(''), rule_now() - interval '30 days' - past, name from age
         ),
         tokens as (
            insert into password_reset_tokens (user_id, token_hash, expires_at)
            select $1, sha256(name::bytea), rule_now() - interval '1 day' - past from age
         )
         insert into login_addresses (user_id, address_hash, last_used_at)
         select $1, name::bytea, rule_now() - interval '180 days' - past from age",
        ann.id.0
    );
    sql.execute(&app.db).await.unwrap();
    // A message that a young call names stays with it.
    let sql = sqlx::query!(
        "with message as (
            insert into webhook_outbox (trigger_event, object_key, state, delivered_at, created_at)
            values ('named', 'event:1', 'delivered', rule_now(), rule_now() - interval '91 days')
            returning id
         )
         insert into workflow_executions (trigger_event, message_id, status, end_time)
         select 'young', id, 'completed', rule_now()
           from message"
    );
    sql.execute(&app.db).await.unwrap();

    for _ in 0..2 {
        swincms::sweep::once(&app.state).await.unwrap();
        let left = of_each(&app).await;
        let left: Vec<_> = left.iter().map(|(table, rows, old)| (table.as_str(), *rows, *old)).collect();
        // Of the mails and messages those that wait are as old as the others.
        let expected = [
            ("calls", 2, 0),
            ("messages", 6, 1),
            ("mails", 5, 1),
            ("told", 3, 0),
            ("links", 1, 0),
            ("keys", 1, 0),
            ("buckets", 1, 0),
            ("sessions", 2, 0),
            ("tokens", 1, 0),
            ("addresses", 1, 0),
        ];
        assert_eq!(left, expected);
    }
}

#[tokio::test]
async fn a_sweep_waits_for_nobody_and_takes_as_many_steps_as_it_needs() {
    let app = TestApp::with(&[("PERSON_WRITES_AT_ONCE", "30")]).await;
    let sql = sqlx::query!(
        "insert into throttle_buckets (key, tokens, updated_at)
         select 'old' || i, 1, rule_now() - interval '3 hours' from generate_series(1, 2500) i"
    );
    sql.execute(&app.db).await.unwrap();
    let mut rival = app.transaction().await;
    sqlx::query!("select key from throttle_buckets where key = 'old7' for update")
        .fetch_all(&mut *rival)
        .await
        .unwrap();
    swincms::sweep::once(&app.state).await.unwrap();
    assert_eq!(left_over(&app).await, 1, "the one that is held");
    rival.commit().await.unwrap();
    swincms::sweep::once(&app.state).await.unwrap();
    assert_eq!(left_over(&app).await, 0);
}

async fn left_over(app: &TestApp) -> i64 {
    sqlx::query_scalar!(r#"select count(*) as "left!" from throttle_buckets"#).fetch_one(&app.db).await.unwrap()
}
