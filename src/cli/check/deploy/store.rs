//! Every SQL statement of the checks.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// The server, as our session sees it. Sizes are in bytes.
pub(super) struct Server {
    pub(super) version: i32,
    pub(super) version_text: String,
    pub(super) encoding: String,
    /// Of the session's encryption, if it has any.
    pub(super) protocol: Option<String>,
    pub(super) fsync: String,
    pub(super) full_page_writes: String,
    pub(super) synchronous_commit: String,
    pub(super) max_connections: i64,
    pub(super) reserved_connections: i64,
    /// -1 is none.
    pub(super) connection_limit: i64,
    pub(super) shared_buffers: i64,
    pub(super) work_mem: i64,
    pub(super) random_page_cost: f64,
    pub(super) statement_timeout: String,
}

pub(super) async fn server(conn: &mut PgConnection) -> sqlx::Result<Server> {
    sqlx::query_as!(
        Server,
        r#"select current_setting('server_version_num')::int as "version!",
                  current_setting('server_version') as "version_text!",
                  pg_encoding_to_char(database.encoding)::text as "encoding!",
                  case when session.ssl then coalesce(session.version, 'TLS') end as protocol,
                  current_setting('fsync') as "fsync!",
                  current_setting('full_page_writes') as "full_page_writes!",
                  current_setting('synchronous_commit') as "synchronous_commit!",
                  current_setting('max_connections')::bigint as "max_connections!",
                  current_setting('superuser_reserved_connections')::bigint as "reserved_connections!",
                  database.datconnlimit::bigint as "connection_limit!",
                  pg_size_bytes(current_setting('shared_buffers')) as "shared_buffers!",
                  pg_size_bytes(current_setting('work_mem')) as "work_mem!",
                  current_setting('random_page_cost')::float8 as "random_page_cost!",
                  current_setting('statement_timeout') as "statement_timeout!"
             from pg_database database
             left join pg_stat_ssl session on session.pid = pg_backend_pid()
            where database.datname = current_database()"#
    )
    .fetch_one(conn)
    .await
}

/// The role that the server logs in as.
pub(super) struct Role {
    pub(super) name: String,
    /// What it may do that has nothing to do with tables.
    pub(super) powers: Vec<String>,
    pub(super) connection_limit: i64,
    pub(super) creates_in_schema: bool,
    pub(super) creates_schemas: bool,
}

pub(super) async fn role(conn: &mut PgConnection) -> sqlx::Result<Role> {
    sqlx::query_as!(
        Role,
        r#"select rolname::text as "name!",
                  array_remove(array[
                      case when rolsuper then 'superuser' end,
                      case when rolcreatedb then 'createdb' end,
                      case when rolcreaterole then 'createrole' end,
                      case when rolreplication then 'replication' end,
                      case when rolbypassrls then 'bypassrls' end
                  ], null) as "powers!",
                  rolconnlimit::bigint as "connection_limit!",
                  has_schema_privilege('public', 'create') as "creates_in_schema!",
                  has_database_privilege(current_database(), 'create') as "creates_schemas!"
             from pg_roles
            where rolname = current_user"#
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn missing_extensions(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select name as "name!"
             from unnest(array['pg_trgm', 'btree_gist']) name
            where name not in (select extname from pg_extension)"#
    )
    .fetch_all(conn)
    .await
}

/// The collations by which this database compares whose library is of another version than when its indexes were built.
pub(super) async fn changed_collations(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select collname::text as "name!"
             from pg_collation
            where collname in ('vi-x-icu', 'und-x-icu')
              and collversion <> pg_collation_actual_version(oid)
           union all
           select 'the database''s own'
             from pg_database
            where datname = current_database()
              and datcollversion <> pg_database_collation_actual_version(oid)
            order by 1"#
    )
    .fetch_all(conn)
    .await
}

/// The tables that the role owns, or whose owner it can become.
pub(super) async fn owned_tables(conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select relname::text as "name!"
             from pg_class
            where relnamespace = 'public'::regnamespace
              and relkind in ('r', 'p')
              and pg_has_role(relowner, 'member')
            order by relname"#
    )
    .fetch_all(conn)
    .await
}

/// A table, and what the role may do with it but should not.
pub(super) struct Removable {
    pub(super) table: String,
    pub(super) rights: String,
}

/// Records that are only added to are known by their trigger. Some have texts that can be blanked, by an update.
pub(super) async fn removable_records(conn: &mut PgConnection) -> sqlx::Result<Vec<Removable>> {
    sqlx::query_as!(
        Removable,
        r#"with tables as (
            select c.oid, c.relname::text as name,
                   coalesce(bool_or(p.proname in ('refuse_change', 'refuse_audit_change', 'refuse_change_but_blanks')),
                            false) as kept,
                   coalesce(bool_or(p.proname <> 'refuse_change'), false) as blanked
              from pg_class c
              left join (pg_trigger t
                         join pg_proc p
                           on p.oid = t.tgfoid
                          and p.proname in ('refuse_change', 'refuse_audit_change', 'refuse_change_but_blanks'))
                on t.tgrelid = c.oid
               and not t.tgisinternal
               and t.tgtype & 1 = 1
               and t.tgtype & 24 = 24
             where c.relnamespace = 'public'::regnamespace
               and c.relkind in ('r', 'p')
             group by c.oid, c.relname
         ),
         rights as (
            select name, array_remove(array[
                       case when has_table_privilege(oid, 'truncate') then 'truncate' end,
                       case when kept and has_table_privilege(oid, 'delete') then 'delete from' end,
                       case when kept and not blanked and has_table_privilege(oid, 'update') then 'update' end
                   ], null) as held
              from tables
         )
         select name as "table!", array_to_string(held, ', ') as "rights!"
           from rights
          where cardinality(held) > 0
          order by name"#
    )
    .fetch_all(conn)
    .await
}

/// Zones of times.
pub(super) struct Zones {
    pub(super) of_sessions: String,
    pub(super) of_the_log: String,
    /// Whether the database knows the zone that was asked for.
    pub(super) known: bool,
}

pub(super) async fn time_zone(conn: &mut PgConnection, name: &str) -> sqlx::Result<Zones> {
    sqlx::query_as!(
        Zones,
        r#"select current_setting('timezone') as "of_sessions!",
                  current_setting('log_timezone') as "of_the_log!",
                  exists (select from pg_timezone_names where name = $1) as "known!""#,
        name
    )
    .fetch_one(conn)
    .await
}

/// The database's clock.
pub(super) struct Times {
    pub(super) now: DateTime<Utc>,
    pub(super) of_rules_is_set: bool,
}

pub(super) async fn clock(conn: &mut PgConnection) -> sqlx::Result<Times> {
    sqlx::query_as!(
        Times,
        r#"select clock_timestamp() as "now!",
                  coalesce(current_setting('swincms.now', true), '') <> '' as "of_rules_is_set!""#
    )
    .fetch_one(conn)
    .await
}

/// Active accounts with one of these addresses, or one like the pattern; at most twenty.
pub(super) async fn active_among(
    conn: &mut PgConnection,
    emails: &[String],
    pattern: &str,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select email
           from users
          where is_active
            and (lower(email) = any($1) or lower(email) ~ $2)
          order by email
          limit 20",
        emails,
        pattern
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn administrators(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from users
            where (user_type = 'admin' or is_superuser)
              and is_active"#
    )
    .fetch_one(conn)
    .await
}
