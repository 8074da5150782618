//! The settings of the server: read once, from the environment and `.env`, by nobody else.
//!
//! All faults are reported at once, a line each, and no secret is ever shown. `APP_ENV=dev` (the default) runs with
//! no settings at all; `APP_ENV=prod` has no default for secrets, hosts, origins and the database, so that what was
//! forgotten stops the server instead of weakening it. Every secret can also be given as `NAME_FILE`, the path of a
//! file that holds it. An empty value is the same as none.

mod database;
mod env_file;
mod keep;
mod otlp;
mod reader;
mod settings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use lettre::message::Mailbox;
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;

use crate::enrollment::{Boundaries, Repeats};

use keep::kept_secret_key;
pub(crate) use keep::make_data_dir;
use reader::Reader;
pub(crate) use reader::is_loopback;

pub use otlp::Otlp;
pub(crate) use reader::parse_duration;
pub use settings::{SETTINGS, Setting};

/// The least a key that signs must have, in characters.
const SHORTEST_KEY: usize = 32;
/// The least the secret shared with n8n must have, in characters.
const SHORTEST_WEBHOOK_SECRET: usize = 16;

/// Everything that can be set, checked and typed.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, named in the environment")]
pub struct Config {
    /// What is odd about `.env`, in sentences.
    pub file_warnings: Vec<String>,

    /// `APP_ENV`: whether this is a developer's machine or the real thing.
    pub app_env: AppEnv,

    /// `BIND`: the address and port to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// `METRICS_BIND`: where Prometheus fetches the metrics; none when it does not.
    pub metrics_bind: Option<SocketAddr>,
    /// `PUBLIC_URL`: how the world reaches the server, without a final slash. Always there, and https, in prod; without
    /// it (dev) absolute URLs are made from a Host that [`Config::allows_host`] accepts.
    pub public_url: Option<String>,
    /// `ALLOWED_HOSTS`: lower case, without port; `.example.org` stands for the domain and all below it.
    pub allowed_hosts: Vec<String>,
    /// `CORS_ALLOWED_ORIGINS`: `scheme://host[:port]`, or a single `*` (dev only).
    pub cors_allowed_origins: Vec<String>,
    /// `TRUSTED_PROXIES`: whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `SECURE_SSL_REDIRECT`: a request that came over plain http is sent to https.
    pub secure_ssl_redirect: bool,
    /// `HSTS_PRELOAD`: `Strict-Transport-Security` also says `includeSubDomains; preload`.
    pub hsts_preload: bool,
    /// `MAX_CONNECTIONS`: the most connections that are open at once.
    pub max_connections: usize,
    /// `REQUEST_TIMEOUT`: the longest a request may take.
    pub request_timeout: Duration,
    /// `DRAIN_SECONDS`: the longest that open requests are waited for when the server stops.
    pub drain: Duration,
    /// `PAGE_SIZE_DEFAULT`: rows of a list when the caller does not say; never above [`Config::page_size_max`].
    pub page_size_default: u32,
    /// `PAGE_SIZE_MAX`: the most rows a caller may ask for in one page.
    pub page_size_max: u32,
    /// `MAX_PENDING`: the most enrolments of a student that wait for a decision at once.
    pub max_pending: u32,
    /// `PENDING_DAYS`: after so many days an enrolment that nobody decided on is withdrawn.
    pub pending_days: u32,
    /// `GRADE_BOUNDARIES`: from which marks on which grade is given; none are checked without it.
    pub grade_boundaries: Boundaries,
    /// `GPA_REPEATS`: which of several results in one unit count for the grade point average.
    pub gpa_repeats: Repeats,
    /// `GOLD_EXPIRES_AFTER`: gold that was not spent within so many days expires; none when it never does.
    pub gold_expires_after: Option<u32>,

    /// `DATABASE_URL`, or `POSTGRES_*`, or in dev neither: where the data is.
    pub database: Database,
    /// `MIGRATION_DATABASE_URL`: the owner's role, for migrations only; without it they run as [`Config::database`].
    pub migration: Option<PgConnectOptions>,
    /// `RUN_MIGRATIONS`: whether the server brings the schema up to date when it starts.
    pub run_migrations: bool,
    /// `DB_POOL_SIZE`: the most connections this process holds to the database.
    pub db_pool_size: u32,
    /// `DB_ACQUIRE_TIMEOUT`: the longest a request waits for a connection of the pool.
    pub db_acquire_timeout: Duration,
    /// `DB_CONNECT_TIMEOUT`: the longest it may take to open a connection.
    pub db_connect_timeout: Duration,
    /// `DB_STATEMENT_TIMEOUT`: the longest a statement may run.
    pub db_statement_timeout: Duration,
    /// `DB_IDLE_TX_TIMEOUT`: the longest a transaction may stay open with nothing to do.
    pub db_idle_tx_timeout: Duration,
    /// `DB_MAX_LIFETIME`: how old a connection grows before it is replaced.
    pub db_max_lifetime: Duration,
    /// `PG_BIN`: the folder of PostgreSQL's programs, for the embedded database.
    pub pg_bin: Option<PathBuf>,

    /// `DATA_DIR`: what the server keeps beside the database in dev: the embedded cluster, the secret key, mails.
    pub data_dir: PathBuf,
    /// `MEDIA_ROOT`: the root of the file store, public and private files.
    pub media_root: PathBuf,
    /// `BACKUP_DIR`: where backups are written; `swincms check --deploy` looks at the newest.
    pub backup_dir: Option<PathBuf>,
    /// `MAX_UPLOAD_MB`: the largest file that is taken, in bytes.
    pub max_upload_bytes: usize,
    /// `ACCEL_REDIRECT`: nginx's internal location for private files, with a slash at both ends; without it the server
    /// sends the bytes itself.
    pub accel_redirect: Option<String>,

    /// `SECRET_KEY`: signs tokens and links.
    pub secret_key: SecretString,
    /// `AUDIT_KEY`: seals the audit log. In dev without one it is derived from [`Config::secret_key`].
    pub audit_key: SecretString,
    /// `REGISTRATION`: who may create an account.
    pub registration: Registration,
    /// `REGISTRATIONS_AT_ONCE`: how often people register from one address without a pause.
    pub registrations_at_once: u32,
    /// `REGISTRATIONS_AN_HOUR`: how often beyond these.
    pub registrations_an_hour: u32,
    /// `RESETS_AT_ONCE`: how many links for a new password are asked for from one address without a pause.
    pub resets_at_once: u32,
    /// `RESETS_AN_HOUR`: how many beyond these.
    pub resets_an_hour: u32,
    /// `PERSON_WRITES_AT_ONCE`: how much a student or parent writes without a pause.
    pub person_writes_at_once: u32,
    /// `PERSON_WRITES_A_MINUTE`: how much beyond that.
    pub person_writes_a_minute: u32,
    /// `KEEP_MAIL_DAYS`: how long a mail that was sent, or never could be, stays in the queue's table.
    pub keep_mail_days: u32,
    /// `KEEP_WORKFLOW_DAYS`: how long calls of workflows and what came of them are kept.
    pub keep_workflow_days: u32,
    /// `KEEP_MESSAGES_DAYS`: how long a message is kept that was read.
    pub keep_messages_days: u32,
    /// `ACCESS_TOKEN_MINUTES`: how long an access token is good.
    pub access_token_lifetime: Duration,
    /// `REFRESH_ROTATION`: a refresh token is good once; using it again revokes its session.
    pub refresh_rotation: bool,
    /// `PASSWORD_RESET_URL`: what a reset mail links to; the token is appended as it is.
    pub password_reset_url: String,
    /// `EMAIL_CONFIRM_URL`: what a mail to a new address links to; the token is appended as it is.
    pub email_confirm_url: String,

    /// `EMAIL_HOST` and its kin: where mail goes.
    pub mail: Mail,
    /// `EMAIL_FROM`: who mail comes from.
    pub mail_from: Mailbox,

    /// `N8N_WEBHOOK_SECRET`: what n8n shows in `X-N8N-SECRET`; without one such calls are refused.
    pub n8n_webhook_secret: Option<SecretString>,
    /// `N8N_API_KEY`: sent to [`Config::n8n_api_key_hosts`], to no other host.
    pub n8n_api_key: Option<SecretString>,
    /// `N8N_API_KEY_HOSTS`: lower case, without port.
    pub n8n_api_key_hosts: Vec<String>,
    /// `N8N_IMPORT_WEBHOOK`: where event files are sent instead of being imported here.
    pub n8n_import_webhook: Option<String>,
    /// `WEBHOOK_ALLOWED_HOSTS`: hosts that webhooks may reach though their address is private; lower case, any port.
    pub webhook_allowed_hosts: Vec<String>,
    /// `WORKFLOW_TIMEOUT`: how long an answer of a workflow, or of the advisor's endpoint, is waited for.
    pub workflow_timeout: Duration,
    /// `WEBHOOK_SPEED`: how many times faster than life the queue of webhooks tries again and gives up waiting.
    pub webhook_speed: u32,

    /// `GEMINI_API_KEY`: the advisor asks Gemini.
    pub gemini_api_key: Option<SecretString>,
    /// `GEMINI_URL`: where Gemini is.
    pub gemini_url: String,
    /// `ADVISOR_URL`: the advisor asks this OpenAI-compatible endpoint.
    pub advisor_url: Option<String>,
    /// `ADVISOR_API_KEY`: the key for [`Config::advisor_url`].
    pub advisor_api_key: Option<SecretString>,
    /// `ADVISOR_MODEL`: the model to ask for.
    pub advisor_model: Option<String>,

    /// `TIME_ZONE`: the zone of times that come without one.
    pub time_zone: Tz,
    /// `NAME_ORDER`: which part of a full name is the family name.
    pub name_order: NameOrder,
    /// `ONLINE_LOCATIONS`: what else people call a class that meets in no room.
    pub online_locations: Vec<String>,
    /// `LOG_LEVEL`: a filter in `tracing`'s syntax, which parses.
    pub log_level: String,
    /// `LOG_FORMAT`: how log lines look.
    pub log_format: LogFormat,
    /// `SLOW_REQUEST`: a request that takes as long is logged as slow.
    pub slow_request: Duration,
    /// `SLOW_STATEMENT`: a statement that takes as long is logged as slow.
    pub slow_statement: Duration,
    /// `OTLP_ENDPOINT` and its kin: where traces go; none when they are not recorded.
    pub otlp: Option<Otlp>,
}

/// Whose machine this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppEnv {
    /// A developer's: everything has a default.
    Dev,
    /// The real thing: nothing that matters for safety has a default.
    Prod,
}

/// Where the data is.
#[derive(Clone)]
pub enum Database {
    /// In a private cluster that the server runs itself (dev only).
    Embedded,
    /// On a PostgreSQL server.
    Server(Box<PgConnectOptions>),
}

/// Which part of a full name is the family name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOrder {
    /// The first word, as in Nguyễn Văn An.
    FamilyFirst,
    /// The last word, as in Hana Nakamura.
    GivenFirst,
}

impl NameOrder {
    const SPELT: &[(&str, Self)] = &[("family_first", Self::FamilyFirst), ("given_first", Self::GivenFirst)];
}

/// Who may create an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Anyone, as a student.
    Open,
    /// Anyone who reads the mail of the address, as a student.
    Confirmed,
    /// Administrators.
    Closed,
}

impl Registration {
    const SPELT: &[(&str, Self)] = &[("open", Self::Open), ("confirmed", Self::Confirmed), ("closed", Self::Closed)];
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where mail goes.
#[derive(Debug, Clone)]
pub enum Mail {
    /// To a mail server.
    Smtp {
        /// `EMAIL_HOST`.
        host: String,
        /// `EMAIL_PORT`.
        port: u16,
        /// `EMAIL_HOST_USER` and `EMAIL_HOST_PASSWORD`, when the server wants to know who sends.
        login: Option<(String, SecretString)>,
        /// `EMAIL_USE_TLS`.
        tls: MailTls,
        /// `EMAIL_CA_FILE`: an authority that is trusted beside those of the world.
        ca: Option<PathBuf>,
    },
    /// Into this folder, a file each (dev only).
    Files(PathBuf),
}

/// How the way to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Not at all.
    None,
    /// Begun in the clear, then turned to TLS; a server that cannot is refused.
    StartTls,
    /// TLS from the first byte (port 465).
    Implicit,
}

/// A range of addresses, such as `10.0.0.0/8`; a single address is a range of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNet {
    address: IpAddr,
    prefix: u32,
}

impl IpNet {
    /// Whether every address is in the range.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// Whether the address is in the range; `::ffff:10.0.0.1` counts as `10.0.0.1`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(of)) => {
                same_prefix(u128::from(net.to_bits()), u128::from(of.to_bits()), 32 - self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(of)) => same_prefix(net.to_bits(), of.to_bits(), 128 - self.prefix),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Whether two addresses are equal but for the last `free` bits.
fn same_prefix(one: u128, other: u128, free: u32) -> bool {
    (one ^ other).checked_shr(free).unwrap_or(0) == 0
}

impl FromStr for IpNet {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().map_err(|_| ())?)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| ())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        if prefix > longest { Err(()) } else { Ok(Self { address, prefix }) }
    }
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting's name.
    pub setting: String,
    /// What is wrong, and what to do about it.
    pub text: String,
}

/// Everything that is wrong with the settings; shown as one message with a line per fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFaults(
    /// Never empty.
    pub Vec<Fault>,
);

impl fmt::Display for ConfigFaults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(out, "the configuration has a fault:")?,
            many => write!(out, "the configuration has {many} faults:")?,
        }
        for Fault { setting, text } in &self.0 {
            write!(out, "\n  {setting}: {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}

// Connection options carry the password in the clear and show it in their own `Debug`.
impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => out.write_str("Embedded"),
            Self::Server(options) => out
                .debug_struct("Server")
                .field("host", &options.get_socket().map_or(options.get_host().into(), |path| path.to_string_lossy()))
                .field("port", &options.get_port())
                .field("database", &options.get_database())
                .field("user", &options.get_username())
                .field("sslmode", &options.get_ssl_mode())
                .finish(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Config")
            .field("app_env", &self.app_env)
            .field("bind", &self.bind)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads the environment, and `.env` in the current folder for what the environment does not say.
    ///
    /// In dev without a `SECRET_KEY` one is made up and kept in `DATA_DIR/secret_key`, so that tokens outlive a restart.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn read() -> Result<Self, ConfigFaults> {
        let file = env_file::read(Path::new(".env")).map_err(ConfigFaults)?;
        let lookup = |name: &str| std::env::var(name).ok().or_else(|| file.values.get(name).cloned());
        let config = Self::parse(&lookup, &kept_secret_key)?;
        Ok(Self { file_warnings: file.warnings, ..config })
    }

    /// Reads the settings that `lookup` finds by name. Apart from files that a setting names, nothing else is looked at:
    /// here even dev needs a `SECRET_KEY`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigFaults> {
        Self::parse(lookup, &|_| Err("is not set; set it to at least 32 random characters".into()))
    }

    /// Whether this is the real thing.
    #[must_use]
    pub fn is_prod(&self) -> bool {
        self.app_env == AppEnv::Prod
    }

    /// Whether a `Host` header, with or without port, names this server.
    #[must_use]
    pub fn allows_host(&self, header: &str) -> bool {
        let host = without_port(header).trim_end_matches('.').to_ascii_lowercase();
        !host.is_empty()
            && self.allowed_hosts.iter().any(|allowed| match allowed.strip_prefix('.') {
                Some(domain) => host == domain || host.strip_suffix(domain).is_some_and(|below| below.ends_with('.')),
                None => allowed == "*" || *allowed == host,
            })
    }

    fn parse(
        lookup: &dyn Fn(&str) -> Option<String>,
        keep_key: &dyn Fn(&Path) -> Result<SecretString, String>,
    ) -> Result<Self, ConfigFaults> {
        let mut read = Reader::new(lookup);
        let prod = read.prod;

        let bind = read.address("BIND").unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)));
        let public_url = read.public_url();
        let page_size_max = read.number("PAGE_SIZE_MAX", 1000, 1..=10_000);
        let data_dir = PathBuf::from(read.text("DATA_DIR").unwrap_or_else(|| ".data".into()));
        let (database, migration) = read.database();
        let secret_key = read.secret_key(&data_dir, keep_key);
        let audit_key = read.audit_key(&secret_key);
        let (mail, mail_from) = read.mail(&data_dir);

        let config = Self {
            app_env: if prod { AppEnv::Prod } else { AppEnv::Dev },
            bind,
            metrics_bind: read.address("METRICS_BIND"),
            allowed_hosts: read.allowed_hosts(),
            cors_allowed_origins: read.origins(),
            trusted_proxies: read.trusted_proxies(),
            secure_ssl_redirect: read.flag("SECURE_SSL_REDIRECT", prod),
            hsts_preload: read.flag("HSTS_PRELOAD", false),
            max_connections: read.number("MAX_CONNECTIONS", 4096, 1..=1_000_000),
            request_timeout: read.duration("REQUEST_TIMEOUT", 30),
            drain: read.duration("DRAIN_SECONDS", 30),
            page_size_default: read.number("PAGE_SIZE_DEFAULT", 500.min(page_size_max), 1..=page_size_max),
            page_size_max,
            max_pending: read.number("MAX_PENDING", 8, 1..=1000),
            pending_days: read.number("PENDING_DAYS", 14, 1..=3650),
            file_warnings: Vec::new(),
            grade_boundaries: read.grade_boundaries(),
            gpa_repeats: read.choice("GPA_REPEATS", Repeats::All, Repeats::SPELT),
            gold_expires_after: Some(read.number("GOLD_EXPIRES_AFTER", 0, 0..=36_500)).filter(|days| *days > 0),
            database,
            migration,
            run_migrations: read.flag("RUN_MIGRATIONS", true),
            db_pool_size: read.number("DB_POOL_SIZE", 16, 2..=1000),
            db_acquire_timeout: read.duration("DB_ACQUIRE_TIMEOUT", 5),
            db_connect_timeout: read.duration("DB_CONNECT_TIMEOUT", 10),
            db_statement_timeout: read.duration("DB_STATEMENT_TIMEOUT", 30),
            db_idle_tx_timeout: read.duration("DB_IDLE_TX_TIMEOUT", 10),
            db_max_lifetime: read.duration("DB_MAX_LIFETIME", 600),
            pg_bin: read.text("PG_BIN").map(PathBuf::from),
            media_root: read.text("MEDIA_ROOT").map_or_else(|| data_dir.join("media"), PathBuf::from),
            backup_dir: read.text("BACKUP_DIR").map(PathBuf::from),
            max_upload_bytes: read.number("MAX_UPLOAD_MB", 25_usize, 1..=2047) * 1024 * 1024,
            accel_redirect: read.accel_redirect(),
            data_dir,
            secret_key,
            audit_key,
            registration: read.choice(
                "REGISTRATION",
                if prod { Registration::Closed } else { Registration::Open },
                Registration::SPELT,
            ),
            registrations_at_once: read.number("REGISTRATIONS_AT_ONCE", 60, 1..=100_000),
            registrations_an_hour: read.number("REGISTRATIONS_AN_HOUR", 60, 1..=100_000),
            resets_at_once: read.number("RESETS_AT_ONCE", 30, 1..=100_000),
            resets_an_hour: read.number("RESETS_AN_HOUR", 60, 1..=100_000),
            person_writes_at_once: read.number("PERSON_WRITES_AT_ONCE", 30, 1..=100_000),
            person_writes_a_minute: read.number("PERSON_WRITES_A_MINUTE", 5, 1..=100_000),
            keep_mail_days: read.number("KEEP_MAIL_DAYS", 30, 1..=36_500),
            keep_workflow_days: read.number("KEEP_WORKFLOW_DAYS", 90, 1..=36_500),
            keep_messages_days: read.number("KEEP_MESSAGES_DAYS", 365, 1..=36_500),
            access_token_lifetime: Duration::from_secs(60 * read.number("ACCESS_TOKEN_MINUTES", 60, 1..=1440)),
            refresh_rotation: read.flag("REFRESH_ROTATION", false),
            password_reset_url: read.link("PASSWORD_RESET_URL", "reset", public_url.as_deref(), bind),
            email_confirm_url: read.link("EMAIL_CONFIRM_URL", "confirm-email", public_url.as_deref(), bind),
            public_url,
            mail,
            mail_from,
            n8n_webhook_secret: read.webhook_secret(),
            n8n_api_key: read.secret("N8N_API_KEY"),
            n8n_api_key_hosts: read.hosts("N8N_API_KEY_HOSTS"),
            n8n_import_webhook: read.url("N8N_IMPORT_WEBHOOK"),
            webhook_allowed_hosts: read.hosts("WEBHOOK_ALLOWED_HOSTS"),
            workflow_timeout: read.duration("WORKFLOW_TIMEOUT", 20),
            webhook_speed: read.number("WEBHOOK_SPEED", 1, 1..=1000),
            gemini_api_key: read.secret("GEMINI_API_KEY"),
            gemini_url: read
                .url("GEMINI_URL")
                .unwrap_or_else(|| "https://generativelanguage.googleapis.com/v1beta".into()),
            advisor_url: read.url("ADVISOR_URL"),
            advisor_api_key: read.secret("ADVISOR_API_KEY"),
            advisor_model: read.text("ADVISOR_MODEL"),
            time_zone: read.parsed(
                "TIME_ZONE",
                Tz::Asia__Ho_Chi_Minh,
                "is no time zone of the tz database; write it as Region/City, such as Asia/Ho_Chi_Minh",
            ),
            name_order: read.choice("NAME_ORDER", NameOrder::FamilyFirst, NameOrder::SPELT),
            online_locations: read.words("ONLINE_LOCATIONS"),
            log_level: read.log_level(),
            log_format: read.choice(
                "LOG_FORMAT",
                if prod { LogFormat::Json } else { LogFormat::Text },
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            ),
            slow_request: read.duration("SLOW_REQUEST", 1),
            slow_statement: read.duration("SLOW_STATEMENT", 1),
            otlp: read.otlp(),
        };
        if read.faults.is_empty() { Ok(config) } else { Err(ConfigFaults(read.faults)) }
    }
}

/// The host of a `Host` header or an authority.
fn without_port(header: &str) -> &str {
    if let Some((address, _)) = header.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match header.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => header,
    }
}

/// How a browser on this machine reaches the server.
fn local_url(bind: SocketAddr) -> String {
    format!("http://localhost:{}", bind.port())
}
