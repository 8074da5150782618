//! Who holds the locks that a session waits for.

use std::fmt::Write as _;

use sqlx::PgConnection;

/// A session that is in the way. What PostgreSQL does not show to the role that migrates is none.
#[derive(Debug, Clone)]
pub(super) struct Blocker {
    pid: i32,
    application: String,
    role: Option<String>,
    seconds: Option<i64>,
    state: Option<String>,
    statement: Option<String>,
}

pub(super) async fn pid(conn: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar!(r#"select pg_backend_pid() as "pid!""#).fetch_one(conn).await
}

/// Those in the way of the session `pid`.
pub(super) async fn of(conn: &mut PgConnection, pid: i32) -> sqlx::Result<Vec<Blocker>> {
    sqlx::query_as!(
        Blocker,
        r#"select a.pid as "pid!",
                  coalesce(a.application_name, '') as "application!",
                  a.usename::text as role,
                  extract(epoch from clock_timestamp() - coalesce(a.xact_start, a.state_change))::bigint as seconds,
                  a.state,
                  left(regexp_replace(a.query, '\s+', ' ', 'g'), 120) as statement
             from pg_stat_activity a
            where a.pid = any(pg_blocking_pids($1))
            order by a.pid
            limit 5"#,
        pid
    )
    .fetch_all(conn)
    .await
}

/// The same for people, to follow a sentence.
pub(super) fn list(blockers: &[Blocker]) -> String {
    let mut says = String::new();
    for blocker in blockers {
        let Blocker { pid, application, role, seconds, state, statement } = blocker;
        let application = if application.is_empty() { "no application_name" } else { application };
        let between = if says.is_empty() { "; held by" } else { ", and by" };
        // Writing to a string does not fail.
        let _written = write!(says, "{between} session {pid} ({application}");
        let _written = role.as_ref().map(|role| write!(says, ", role {role}"));
        let _written = seconds.map(|seconds| write!(says, ", for {seconds} s"));
        let _written = state.as_ref().map(|state| write!(says, ", {state}"));
        says.push(')');
        let _written = statement.as_ref().map(|statement| write!(says, ": {statement}"));
    }
    says
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_with_what_postgres_shows_of_it() {
        let shown = Blocker {
            pid: 4711,
            application: "psql".to_owned(),
            role: Some("ada".to_owned()),
            seconds: Some(36),
            state: Some("idle in transaction".to_owned()),
            statement: Some("select count(*) from users".to_owned()),
        };
        let hidden =
            Blocker { pid: 12, application: String::new(), role: None, seconds: None, state: None, statement: None };
        assert_eq!(
            list(&[shown, hidden]),
            "; held by session 4711 (psql, role ada, for 36 s, idle in transaction): select count(*) from users, and by \
             session 12 (no application_name)"
        );
        assert_eq!(list(&[]), "");
    }
}
