//! The authorisation matrix, generated: every route of the table for every subject. A new route is in it without being
//! listed, and what the code says of it stands in `matrix.txt`.

use std::fmt::Write as _;

use axum::http::Method;
use swincms::access::{Grants, Permission, Reach, UserType};
use swincms::app::routes;
use swincms::http::Route;

use crate::support::{Reply, Sender, TestApp, assert_golden};

const USER_TYPES: [(&str, UserType); 6] = [
    ("student", UserType::Student),
    ("parent", UserType::Parent),
    ("unit_convenor", UserType::UnitConvenor),
    ("staff", UserType::Staff),
    ("auditor", UserType::Auditor),
    ("admin", UserType::Admin),
];

/// What a route asks of its caller.
enum Asks {
    /// Nothing; a token is not even read.
    Nothing,
    /// A good token, if one is sent.
    NoBadToken,
    /// A token.
    Token,
    /// A permission.
    Permission(Permission),
    /// The secret that is shared with n8n, which is no person's.
    Secret,
}

fn asks(route: &Route) -> Asks {
    match route.access {
        "public" => Asks::Nothing,
        "anyone" => Asks::NoBadToken,
        "signed in" => Asks::Token,
        "n8n" => Asks::Secret,
        code => {
            let permission = Permission::ALL.iter().find(|permission| permission.code() == code);
            Asks::Permission(
                *permission.unwrap_or_else(|| panic!("{} asks for `{code}`, which is nothing", route.path)),
            )
        }
    }
}

/// Somebody who calls.
struct Subject {
    name: String,
    grants: Grants,
    sender: Sender,
}

/// A route's address; what it names is not there, so that nothing changes and the access alone decides.
fn address(route: &Route) -> String {
    let parts = route.path.split('/').map(|part| if part.starts_with('{') { "9007199254740990" } else { part });
    let address = parts.collect::<Vec<_>>().join("/");
    // A stream has no end to wait for; from nowhere it does not begin.
    if address.ends_with("/stream/") { address + "?last_event_id=none" } else { address }
}

#[test]
fn the_matrix_is_what_the_code_says() {
    let mut text =
        String::from("# Who may call what, and how far it reaches; written by the tests (UPDATE_GOLDEN=1).\n");
    let _ = write!(text, "{:<7} {:<62} {:<24}", "", "", "access");
    for (name, _) in USER_TYPES {
        let _ = write!(text, " {name:<14}");
    }
    // Moving a route in the code is no change of access.
    let table = routes();
    let mut lines: Vec<&Route> = table.lines().iter().collect();
    lines.sort_by_key(|route| (route.path.clone(), route.method.to_string()));
    for route in lines {
        let _ = write!(text, "\n{}", line(route).trim_end());
    }
    assert_golden("matrix.txt", &(text + "\n"));
}

fn line(route: &Route) -> String {
    let mut line = format!("{:<7} {:<62} {:<24}", route.method.as_str(), route.path, route.access);
    for (_, user_type) in USER_TYPES {
        let cell = match asks(route) {
            Asks::Nothing | Asks::NoBadToken | Asks::Token => "yes".to_owned(),
            Asks::Secret => "-".to_owned(),
            Asks::Permission(permission) => {
                let reach = Grants::of(user_type, false, false).reach(permission);
                if reach.is_none() { "-".to_owned() } else { reach.names().collect::<Vec<_>>().join("+") }
            }
        };
        let _ = write!(line, " {cell:<14}");
    }
    line
}

#[tokio::test]
async fn every_route_lets_in_whom_its_permission_names_and_nobody_else() {
    let app = TestApp::with(&[("DB_POOL_SIZE", "16")]).await;
    let mut subjects = Vec::new();
    for (name, user_type) in USER_TYPES {
        let person = app.person(name).await;
        subjects.push((name.to_owned(), Grants::of(user_type, false, false), person));
    }
    for (flag, is_staff, is_superuser) in [("is_staff", true, false), ("is_superuser", false, true)] {
        let person = app.person("parent").await;
        let sql = sqlx::query!(
            "update users set is_staff = $2, is_superuser = $3 where id = $1",
            person.id.0,
            is_staff,
            is_superuser
        );
        sql.execute(&app.db).await.unwrap();
        subjects.push((format!("parent with {flag}"), Grants::of(UserType::Parent, is_staff, is_superuser), person));
    }
    let known = subjects.into_iter().map(|(name, grants, person)| Subject { name, grants, sender: (*person).clone() });
    let subjects: Vec<Subject> = known.collect();

    let table = routes();
    let calls = table.lines().iter().flat_map(|route| subjects.iter().map(move |subject| check(route, subject)));
    let wrong = all(calls).await;
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is wrong with one cell of the matrix.
async fn check(route: &Route, subject: &Subject) -> Option<String> {
    let (expected, reach) = match asks(route) {
        Asks::Nothing | Asks::NoBadToken | Asks::Token => (true, Reach::OWN),
        Asks::Secret => (false, Reach::NONE),
        Asks::Permission(permission) => {
            let reach = subject.grants.reach(permission);
            (!reach.is_none(), reach)
        }
    };
    let reply = subject.sender.call(route.method.clone(), &address(route)).await;
    let right = match asks(route) {
        Asks::Secret => is_refused_for_the_secret(&reply),
        _ if expected => is_let_in(route, &reply),
        Asks::Nothing | Asks::NoBadToken | Asks::Token | Asks::Permission(_) => {
            is_refused_for_the_permission(route, &reply)
        }
    };
    let reach = reach.names().collect::<Vec<_>>().join("+");
    (!right).then(|| said(route, &format!("{} ({reach})", subject.name), &reply))
}

fn is_refused_for_the_permission(route: &Route, reply: &Reply) -> bool {
    reply.refusal() == (403, "permission_denied")
        && reply.body["detail"] == format!("You do not have the permission `{}`.", route.access)
}

fn is_refused_for_the_secret(reply: &Reply) -> bool {
    reply.refusal() == (403, "permission_denied")
        && reply.body["detail"] == "The header X-N8N-SECRET is missing or wrong."
}

/// Whatever else is wrong with the request, it was not the caller.
fn is_let_in(route: &Route, reply: &Reply) -> bool {
    let bad_token = reply.refusal() == (401, "token_not_valid") || reply.refusal() == (401, "not_authenticated");
    !bad_token && !is_refused_for_the_permission(route, reply) && !reply.status.is_server_error()
}

fn said(route: &Route, subject: &str, reply: &Reply) -> String {
    let body = String::from_utf8_lossy(&reply.bytes).chars().take(200).collect::<String>();
    format!("{} {} ({}) as {subject}: {} {body}", route.method, route.path, route.access, reply.status)
}

#[tokio::test]
async fn n8n_is_let_in_where_its_secret_is_asked_for_and_nowhere_else() {
    let app = TestApp::with(&[("N8N_WEBHOOK_SECRET", "shared with n8n alone"), ("DB_POOL_SIZE", "16")]).await;
    let n8n = app.anonymous().with("X-N8N-SECRET", "shared with n8n alone");
    let table = routes();
    let wrong = all(table.lines().iter().map(|route| {
        let n8n = &n8n;
        async move {
            let reply = n8n.call(route.method.clone(), &address(route)).await;
            let right = match asks(route) {
                Asks::Nothing | Asks::NoBadToken => is_let_in(route, &reply),
                Asks::Token | Asks::Permission(_) => reply.refusal() == (401, "not_authenticated"),
                Asks::Secret => is_let_in(route, &reply) && !is_refused_for_the_secret(&reply),
            };
            (!right).then(|| said(route, "n8n", &reply))
        }
    }))
    .await;
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn strangers_are_refused_wherever_a_token_is_needed() {
    let app = TestApp::with(&[("DB_POOL_SIZE", "16")]).await;
    let nobody = app.anonymous();
    let liars = [nobody.with("Authorization", "Bearer a.b.c"), nobody.with("Authorization", "Basic YTpi")];
    let table = routes();
    let wrong = all(table.lines().iter().map(|route| {
        let (nobody, liars) = (&nobody, &liars);
        async move {
            let reply = nobody.call(route.method.clone(), &address(route)).await;
            let right = match asks(route) {
                Asks::Nothing | Asks::NoBadToken => is_let_in(route, &reply),
                Asks::Token | Asks::Permission(_) => reply.refusal() == (401, "not_authenticated"),
                Asks::Secret => is_refused_for_the_secret(&reply),
            };
            if !right {
                return Some(said(route, "nobody", &reply));
            }
            for liar in liars {
                let reply = liar.call(route.method.clone(), &address(route)).await;
                let right = match asks(route) {
                    // A call that checks a token in its body may well refuse the lack of one.
                    Asks::Nothing => !reply.status.is_server_error(),
                    Asks::NoBadToken | Asks::Token | Asks::Permission(_) => reply.refusal() == (401, "token_not_valid"),
                    Asks::Secret => is_refused_for_the_secret(&reply),
                };
                if !right {
                    return Some(said(route, "somebody with a bad token", &reply));
                }
            }
            None
        }
    }))
    .await;
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_route_answers_with_and_without_its_final_slash() {
    let app = TestApp::with(&[("DB_POOL_SIZE", "16")]).await;
    let admin = app.admin().await;
    let table = routes();
    let wrong = all(table.lines().iter().filter(|route| route.method == Method::GET).map(|route| {
        let admin = &admin;
        async move {
            let path = address(route);
            let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
            let (one, other) = (admin.get(&path).await, admin.get(&other).await);
            let same = one.status == other.status || !path.ends_with('/');
            (!same).then(|| format!("{path}: {} with the slash, {} without", one.status, other.status))
        }
    }))
    .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Does all calls, some at a time, and gathers what is wrong.
async fn all(calls: impl Iterator<Item = impl Future<Output = Option<String>>>) -> Vec<String> {
    use futures_util::StreamExt as _;
    futures_util::stream::iter(calls).buffer_unordered(16).filter_map(async |wrong| wrong).collect().await
}
