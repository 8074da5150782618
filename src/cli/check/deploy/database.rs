//! What the database says: of the session, the role, the server and the data.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection, PgConnection};

use super::{Check, Found, store};
use crate::cli::database::Opened;
use crate::cli::seed;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::db;

const MIB: i64 = 1024 * 1024;

/// The oldest PostgreSQL that the server runs on.
const OLDEST_SERVER: i32 = 150_000;

/// A process has its pool, the probe's session and the scrape's.
const BESIDE_THE_POOL: u32 = 2;
/// For backups, migrations and whoever looks after the database.
const RESERVE: u32 = 5;

/// How far the database's clock may be from ours.
const SKEW: TimeDelta = TimeDelta::seconds(1);
const BAD_SKEW: TimeDelta = TimeDelta::seconds(30);

const LEAST_PRIVILEGE: &str = "Make the roles with scripts/init-db.sh, and let DATABASE_URL name the application's.";

/// All checks of the database, which has been reached, with this many server processes on it. Only a schema that
/// `is_current` has all tables to look into.
///
/// # Errors
/// When it stops answering.
pub(in super::super) async fn database(
    config: &Config,
    opened: &Opened,
    processes: u32,
    is_current: bool,
) -> anyhow::Result<Vec<Check>> {
    let options = db::session(config, opened.options());
    let mut conn = PgConnection::connect_with(&options).await?;
    let server = store::server(&mut conn).await?;
    let role = store::role(&mut conn).await?;
    let mut checks = vec![
        place(config).named("database_place"),
        tls(&options, server.protocol.as_deref()).named("tls"),
        version(&server).named("server_version"),
        encoding(&server).named("encoding"),
        asked(extensions(&mut conn).await).named("extensions"),
        asked(collations(&mut conn).await).named("collations"),
        attributes(&role).named("role"),
        asked(ownership(&mut conn).await).named("role_owns_nothing"),
        creation(&role).named("role_creates_nothing"),
        asked(kept_records(&mut conn).await).named("role_keeps_records"),
        durability(&server).named("durability"),
        connections(config, &server, &role, processes).named("max_connections"),
        shared_buffers(&server).named("shared_buffers"),
        work_mem(&server).named("work_mem"),
        random_page_cost(&server).named("random_page_cost"),
        statement_timeout(config, &server).named("statement_timeout"),
        asked(time_zone(config, &mut conn).await).named("time_zone"),
        asked(clock(&mut conn).await).named("clock"),
    ];
    if is_current {
        checks.push(asked(demo_accounts(&mut conn).await).named("demo_accounts"));
        checks.push(asked(administrators(&mut conn).await).named("administrators"));
    }
    conn.close().await?;
    Ok(checks)
}

/// A check whose statement the database refuses has failed.
fn asked(found: anyhow::Result<Found>) -> Found {
    found.unwrap_or_else(|error| {
        Found::failed(
            format!("could not be asked: {}", crate::telemetry::causes(error.as_ref())),
            "Give the role its rights: scripts/init-db.sh --grants.",
        )
    })
}

fn place(config: &Config) -> Found {
    match config.database {
        config::Database::Server(_) => Found::ok("a server"),
        config::Database::Embedded => Found::failed(
            "the private cluster of a developer's machine",
            "Set DATABASE_URL to a PostgreSQL server that is looked after and backed up.",
        ),
    }
}

/// Whether nobody on the way can read or change what is said; `protocol` is that of the session's encryption, if any.
fn tls(options: &PgConnectOptions, protocol: Option<&str>) -> Found {
    const REMEDY: &str = "Set POSTGRES_SSLMODE=verify-full, and POSTGRES_SSLROOTCERT to the authority's certificate.";
    let how = protocol.unwrap_or("plain text");
    if options.get_socket().is_some() || config::is_loopback(options.get_host()) {
        return Found::ok(format!("{how}, on this machine"));
    }
    if protocol.is_none() {
        return Found::failed(format!("the session with {} is not encrypted", options.get_host()), REMEDY);
    }
    if !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
        return Found::failed(format!("{how}, but the server's certificate and name are not verified"), REMEDY);
    }
    Found::ok(format!("{how}, verified"))
}

fn version(server: &store::Server) -> Found {
    if server.version < OLDEST_SERVER {
        return Found::failed(format!("PostgreSQL {}", server.version_text), "Upgrade to PostgreSQL 15 or newer.");
    }
    Found::ok(format!("PostgreSQL {}", server.version_text))
}

fn encoding(server: &store::Server) -> Found {
    if server.encoding == "UTF8" {
        return Found::ok("UTF8");
    }
    Found::failed(&server.encoding, "Make the database anew with `encoding 'UTF8' template template0`.")
}

async fn extensions(conn: &mut PgConnection) -> anyhow::Result<Found> {
    let missing = store::missing_extensions(conn).await?;
    if missing.is_empty() {
        return Ok(Found::ok("pg_trgm, btree_gist"));
    }
    Ok(Found::failed(
        format!("{} are missing", missing.join(", ")),
        "As the database's owner: create extension pg_trgm; create extension btree_gist;",
    ))
}

/// Whether indexes still have the order that the libraries of this machine compare by.
async fn collations(conn: &mut PgConnection) -> anyhow::Result<Found> {
    let changed = store::changed_collations(conn).await?;
    if changed.is_empty() {
        return Ok(Found::ok("as when the indexes were built"));
    }
    Ok(Found::failed(
        format!("{}: of another version than when the indexes were built", changed.join(", ")),
        "Lists and unique names may miss rows: stop the servers, `reindex database`, then refresh the versions; see docs/operations.md.",
    ))
}

fn attributes(role: &store::Role) -> Found {
    if role.powers.is_empty() {
        return Found::ok(format!("{}, without special rights", role.name));
    }
    Found::failed(format!("{} has {}", role.name, role.powers.join(", ")), LEAST_PRIVILEGE)
}

async fn ownership(conn: &mut PgConnection) -> anyhow::Result<Found> {
    let owned = store::owned_tables(conn).await?;
    Ok(match owned.as_slice() {
        [] => Found::ok("owns no table, and cannot act for who does"),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            Found::failed(format!("can change or drop the table {first}{more} as its owner"), LEAST_PRIVILEGE)
        }
    })
}

fn creation(role: &store::Role) -> Found {
    if role.creates_in_schema || role.creates_schemas {
        let place = if role.creates_in_schema { "the schema public" } else { "the database" };
        return Found::failed(format!("can create in {place}"), LEAST_PRIVILEGE);
    }
    Found::ok("can create nothing")
}

/// Logs and ledgers are read and added to.
async fn kept_records(conn: &mut PgConnection) -> anyhow::Result<Found> {
    let faults = store::removable_records(conn).await?;
    let mut says = String::new();
    for fault in &faults {
        let between = if says.is_empty() { "can " } else { "; " };
        // Writing to a string does not fail.
        let _written = write!(says, "{between}{} {}", fault.rights, fault.table);
    }
    if says.is_empty() {
        return Ok(Found::ok("logs and ledgers can only be read and added to; no table can be truncated"));
    }
    Ok(Found::failed(says, "Run scripts/init-db.sh --grants as the migration role."))
}

fn durability(server: &store::Server) -> Found {
    let settings = [
        ("fsync", &server.fsync, server.fsync == "on"),
        ("full_page_writes", &server.full_page_writes, server.full_page_writes == "on"),
        ("synchronous_commit", &server.synchronous_commit, server.synchronous_commit != "off"),
    ];
    let bad: Vec<String> =
        settings.iter().filter(|(.., good)| !good).map(|(name, value, _)| format!("{name} = {value}")).collect();
    if bad.is_empty() {
        return Found::ok(format!("synchronous_commit = {}", server.synchronous_commit));
    }
    Found::failed(
        format!("{}: a power cut loses what was answered as done, or the database", bad.join(", ")),
        "Set fsync, full_page_writes and synchronous_commit to on in postgresql.conf.",
    )
}

fn connections(config: &Config, server: &store::Server, role: &store::Role, processes: u32) -> Found {
    let needed = processes.saturating_mul(config.db_pool_size.saturating_add(BESIDE_THE_POOL));
    let of_all = i64::from(needed) + i64::from(RESERVE) + server.reserved_connections;
    if server.max_connections < of_all {
        return Found::failed(
            format!(
                "max_connections = {}, but {processes} processes with DB_POOL_SIZE={} and a reserve need {of_all}",
                server.max_connections, config.db_pool_size
            ),
            "Raise max_connections in postgresql.conf, or lower DB_POOL_SIZE.",
        );
    }
    let limits = [("role", role.connection_limit), ("database", server.connection_limit)];
    if let Some((whose, limit)) = limits.iter().find(|(_, limit)| (0..i64::from(needed)).contains(limit)) {
        return Found::failed(
            format!("the {whose}'s connection limit is {limit}, but {processes} processes need {needed}"),
            "Raise it with `alter role … connection limit`, or `alter database … connection limit`.",
        );
    }
    Found::ok(format!("{} for {processes} processes, which need {of_all}", server.max_connections))
}

fn shared_buffers(server: &store::Server) -> Found {
    let detail = format!("{} MiB", server.shared_buffers / MIB);
    if server.shared_buffers < 128 * MIB {
        return Found::warning(detail, "Set shared_buffers to a quarter of the memory of the database's machine.");
    }
    Found::ok(detail)
}

fn work_mem(server: &store::Server) -> Found {
    let detail = format!("{} KiB", server.work_mem / 1024);
    if server.work_mem < 8 * MIB {
        return Found::warning(detail, "Set work_mem = 16MB: larger sorts go to the disk.");
    }
    if server.work_mem > 256 * MIB {
        return Found::warning(detail, "Set work_mem = 16MB: every sort of every session may take as much.");
    }
    Found::ok(detail)
}

fn random_page_cost(server: &store::Server) -> Found {
    let detail = server.random_page_cost.to_string();
    if server.random_page_cost > 2.0 {
        return Found::warning(detail, "Set random_page_cost = 1.1, unless the data is on disks that turn.");
    }
    Found::ok(detail)
}

fn statement_timeout(config: &Config, server: &store::Server) -> Found {
    if config.db_statement_timeout > config.request_timeout {
        return Found::warning(
            format!("{}: longer than any request waits", server.statement_timeout),
            "Set DB_STATEMENT_TIMEOUT to REQUEST_TIMEOUT or less.",
        );
    }
    Found::ok(&server.statement_timeout)
}

async fn time_zone(config: &Config, conn: &mut PgConnection) -> anyhow::Result<Found> {
    let found = store::time_zone(conn, config.time_zone.name()).await?;
    if !found.known {
        return Ok(Found::failed(
            format!("PostgreSQL does not know {} (TIME_ZONE)", config.time_zone.name()),
            "Bring the database's time zones up to date (the package tzdata), or set another TIME_ZONE.",
        ));
    }
    if !matches!(found.of_the_log.as_str(), "UTC" | "Etc/UTC" | "GMT" | "Etc/GMT") {
        return Ok(Found::warning(
            format!("the database's log has times in {}, the server's in UTC", found.of_the_log),
            "Set log_timezone = 'UTC' in postgresql.conf.",
        ));
    }
    Ok(Found::ok(format!("sessions in {}, rules in {}", found.of_sessions, config.time_zone.name())))
}

/// Whether the database's clock goes like ours, and the rules' like the database's.
async fn clock(conn: &mut PgConnection) -> anyhow::Result<Found> {
    let ours = Clock::system();
    let before = ours.now();
    let theirs = store::clock(conn).await?;
    let after = ours.now();
    if theirs.of_rules_is_set {
        return Ok(Found::failed(
            "the clock of rules stands still: swincms.now is set",
            "Run `alter database … reset \"swincms.now\"`, and the same for the role.",
        ));
    }
    let skew = skew(theirs.now, before, after);
    let detail = format!("{} ms apart", skew.num_milliseconds());
    let remedy = "Let both machines follow a time server (chrony, systemd-timesyncd).";
    Ok(match skew {
        skew if skew > BAD_SKEW => Found::failed(detail, remedy),
        skew if skew > SKEW => Found::warning(detail, remedy),
        _ => Found::ok(detail),
    })
}

/// How far a moment is from the time between two others.
fn skew(theirs: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
    (before - theirs).max(theirs - after).max(TimeDelta::zero())
}

async fn demo_accounts(conn: &mut PgConnection) -> anyhow::Result<Found> {
    let found = store::active_among(conn, &seed::emails()?, seed::CROWD).await?;
    Ok(match found.as_slice() {
        [] => Found::ok("none"),
        found => Found::failed(
            format!("{}: everybody knows their passwords", found.join(", ")),
            "Deactivate these accounts, or begin with a database that was not seeded.",
        ),
    })
}

async fn administrators(conn: &mut PgConnection) -> anyhow::Result<Found> {
    match store::administrators(conn).await? {
        0 => Ok(Found::warning("there is none", "Make one with `swincms createsuperuser`.")),
        1 => Ok(Found::warning(
            "there is one only",
            "Give a second person an administrator's account: if the first loses theirs, only this command line brings one back.",
        )),
        many => Ok(Found::ok(many.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn only_a_verified_session_with_another_machine_is_in_order() {
        let to = |host: &str, mode| PgConnectOptions::new_without_pgpass().host(host).ssl_mode(mode);
        let status = |options: &PgConnectOptions, protocol| tls(options, protocol).status;
        assert_eq!(status(&to("db.example.edu", PgSslMode::VerifyFull), Some("TLSv1.3")), Status::Ok);
        assert_eq!(status(&to("db.example.edu", PgSslMode::VerifyFull), None), Status::Failed);
        assert_eq!(status(&to("db.example.edu", PgSslMode::VerifyCa), Some("TLSv1.3")), Status::Failed);
        assert_eq!(status(&to("db.example.edu", PgSslMode::Prefer), None), Status::Failed);
        assert_eq!(status(&to("127.0.0.1", PgSslMode::Prefer), None), Status::Ok);
    }

    #[test]
    fn a_clock_is_apart_only_by_what_it_is_outside_of_the_question_and_its_answer() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        assert_eq!(skew(at(11), at(10), at(12)), TimeDelta::zero());
        assert_eq!(skew(at(15), at(10), at(12)), TimeDelta::seconds(3));
        assert_eq!(skew(at(8), at(10), at(12)), TimeDelta::seconds(2));
    }
}
