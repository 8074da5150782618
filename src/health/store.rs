//! Every SQL statement of the probe.

use sqlx::PgConnection;

/// What new transactions of this role may do.
pub(super) struct Mode {
    pub(super) standby: bool,
    pub(super) read_only: bool,
    /// The settings that the database and the role give to new sessions: those that are open keep what they began with.
    pub(super) settings: String,
}

pub(super) async fn mode(conn: &mut PgConnection) -> sqlx::Result<Mode> {
    sqlx::query_as!(
        Mode,
        r#"select pg_is_in_recovery() as "standby!",
                  current_setting('transaction_read_only') = 'on' as "read_only!",
                  coalesce((select string_agg(array_to_string(s.setconfig, ','), ';' order by s.setdatabase, s.setrole)
                              from pg_db_role_setting s
                             where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
                               and s.setrole in (0, (select oid from pg_roles where rolname = session_user))),
                           '') as "settings!""#
    )
    .fetch_one(conn)
    .await
}
