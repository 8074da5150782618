//! The settings of the server: read once, from the environment and `.env`, by nobody else.
//!
//! All faults are reported at once, a line each, and no secret is ever shown. `APP_ENV=dev` (the default) runs with
//! no settings at all; `APP_ENV=prod` has no default for secrets, hosts, origins and the database, so that what was
//! forgotten stops the server instead of weakening it. Every secret can also be given as `NAME_FILE`, the path of a
//! file that holds it. An empty value is the same as none.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono_tz::Tz;
use lettre::message::Mailbox;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tracing_subscriber::EnvFilter;

/// The least a key that signs must have, in characters.
const SHORTEST_KEY: usize = 32;
/// The least the secret shared with n8n must have, in characters.
const SHORTEST_WEBHOOK_SECRET: usize = 16;

/// Everything that can be set, checked and typed.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, named in the environment")]
pub struct Config {
    /// `APP_ENV`: whether this is a developer's machine or the real thing.
    pub app_env: AppEnv,

    /// `BIND`: the address and port to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
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
    /// `ACCESS_TOKEN_MINUTES`: how long an access token is good.
    pub access_token_lifetime: Duration,
    /// `REFRESH_ROTATION`: a refresh token is good once; using it again revokes its session.
    pub refresh_rotation: bool,
    /// `PASSWORD_RESET_URL`: what a reset mail links to; the token is appended as it is.
    pub password_reset_url: String,

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

    /// `GEMINI_API_KEY`: the advisor asks Gemini.
    pub gemini_api_key: Option<SecretString>,
    /// `ADVISOR_URL`: the advisor asks this OpenAI-compatible endpoint.
    pub advisor_url: Option<String>,
    /// `ADVISOR_API_KEY`: the key for [`Config::advisor_url`].
    pub advisor_api_key: Option<SecretString>,
    /// `ADVISOR_MODEL`: the model to ask for.
    pub advisor_model: Option<String>,

    /// `TIME_ZONE`: the zone of times that come without one.
    pub time_zone: Tz,
    /// `LOG_LEVEL`: a filter in `tracing`'s syntax, which parses.
    pub log_level: String,
    /// `LOG_FORMAT`: how log lines look.
    pub log_format: LogFormat,
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

/// Who may create an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Anyone, as a student.
    Open,
    /// Administrators.
    Closed,
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
        let file = dot_env(Path::new(".env")).map_err(|fault| ConfigFaults(vec![fault]))?;
        let lookup = |name: &str| std::env::var(name).ok().or_else(|| file.get(name).cloned());
        Self::parse(&lookup, &kept_secret_key)
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

        let bind = read.parsed(
            "BIND",
            SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            "must be an address and a port, such as 127.0.0.1:8000",
        );
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
            max_upload_bytes: read.number("MAX_UPLOAD_MB", 25_usize, 1..=2047) * 1024 * 1024,
            accel_redirect: read.accel_redirect(),
            data_dir,
            secret_key,
            audit_key,
            registration: read.choice(
                "REGISTRATION",
                if prod { Registration::Closed } else { Registration::Open },
                &[("open", Registration::Open), ("closed", Registration::Closed)],
            ),
            access_token_lifetime: Duration::from_secs(60 * read.number("ACCESS_TOKEN_MINUTES", 60, 1..=1440)),
            refresh_rotation: read.flag("REFRESH_ROTATION", false),
            password_reset_url: read.password_reset_url(public_url.as_deref(), bind),
            public_url,
            mail,
            mail_from,
            n8n_webhook_secret: read.webhook_secret(),
            n8n_api_key: read.secret("N8N_API_KEY"),
            n8n_api_key_hosts: read.hosts("N8N_API_KEY_HOSTS"),
            n8n_import_webhook: read.url("N8N_IMPORT_WEBHOOK"),
            webhook_allowed_hosts: read.hosts("WEBHOOK_ALLOWED_HOSTS"),
            gemini_api_key: read.secret("GEMINI_API_KEY"),
            advisor_url: read.url("ADVISOR_URL"),
            advisor_api_key: read.secret("ADVISOR_API_KEY"),
            advisor_model: read.text("ADVISOR_MODEL"),
            time_zone: read.parsed(
                "TIME_ZONE",
                Tz::Asia__Ho_Chi_Minh,
                "is no time zone of the tz database; write it as Region/City, such as Asia/Ho_Chi_Minh",
            ),
            log_level: read.log_level(),
            log_format: read.choice(
                "LOG_FORMAT",
                if prod { LogFormat::Json } else { LogFormat::Text },
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            ),
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

/// What every setting is read with: looks up, checks, and remembers what is wrong.
///
/// A setting at fault gives its default, so that the rest can be checked too.
struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    prod: bool,
    faults: Vec<Fault>,
}

/// What is said about TLS to the database beside its URL.
#[derive(Default)]
struct DatabaseTls {
    mode: Option<PgSslMode>,
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl<'a> Reader<'a> {
    fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let mut read = Self { lookup, prod: false, faults: Vec::new() };
        read.prod = read.choice("APP_ENV", false, &[("dev", false), ("prod", true)]);
        read
    }

    fn fault(&mut self, setting: &str, text: impl Into<String>) {
        let fault = Fault { setting: setting.into(), text: text.into() };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// A setting under its name or its older one; blank is none.
    fn text(&mut self, name: &str) -> Option<String> {
        let found = |name: &str| {
            let text = (self.lookup)(name)?.trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        found(name).or_else(|| alias(name).and_then(found))
    }

    /// A secret under its name or its older one, given itself or as a file; blank is none.
    fn secret(&mut self, name: &str) -> Option<SecretString> {
        for name in std::iter::once(name).chain(alias(name)) {
            let file_name = format!("{name}_FILE");
            let given = (self.lookup)(name).filter(|text| !text.trim().is_empty());
            let file = (self.lookup)(&file_name).filter(|text| !text.trim().is_empty());
            match (given, file) {
                (Some(_), Some(_)) => {
                    self.fault(name, format!("is set, and so is {file_name}; set only one of the two"));
                    return None;
                }
                (Some(given), None) => return Some(given.into()),
                (None, Some(path)) => {
                    return match fs::read_to_string(path.trim()) {
                        Ok(text) if text.trim().is_empty() => {
                            self.fault(&file_name, "names an empty file; write the secret into it");
                            None
                        }
                        Ok(text) => Some(text.trim_end_matches(['\r', '\n']).into()),
                        Err(error) => {
                            self.fault(&file_name, format!("cannot be read: {error}; check the path and its rights"));
                            None
                        }
                    };
                }
                (None, None) => {}
            }
        }
        None
    }

    fn parsed<T: FromStr>(&mut self, name: &str, default: T, wrong: &str) -> T {
        match self.text(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.fault(name, wrong);
                default
            }
        }
    }

    fn number<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
    {
        match self.text(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(value)) if range.contains(&value) => value,
            Some(Ok(_) | Err(_)) => {
                self.fault(name, format!("must be a whole number from {} to {}", range.start(), range.end()));
                default
            }
        }
    }

    fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.text(name).map(|text| text.to_ascii_lowercase()).as_deref() {
            None => default,
            Some("true" | "1" | "yes" | "on") => true,
            Some("false" | "0" | "no" | "off") => false,
            Some(_) => {
                self.fault(name, "must be true or false");
                default
            }
        }
    }

    fn choice<T: Copy>(&mut self, name: &str, default: T, choices: &[(&str, T)]) -> T {
        let Some(text) = self.text(name) else { return default };
        if let Some((_, value)) = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)) {
            return *value;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.fault(name, format!("must be one of {}", words.join(", ")));
        default
    }

    fn duration(&mut self, name: &str, default_seconds: u64) -> Duration {
        let default = Duration::from_secs(default_seconds);
        let Some(text) = self.text(name) else { return default };
        match parse_duration(&text) {
            Some(duration) if !duration.is_zero() => duration,
            Some(_) | None => {
                self.fault(name, "must be a time above zero, such as 30s, 500ms, 2m or 30 (seconds)");
                default
            }
        }
    }

    fn url(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        if is_http_url(&text) {
            Some(text)
        } else {
            self.fault(name, "must be an http or https URL with a host");
            None
        }
    }

    fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let text = self.text(name)?;
        Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    fn hosts(&mut self, name: &str) -> Vec<String> {
        let mut hosts = Vec::new();
        for item in self.list(name).unwrap_or_default() {
            let host = item.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
            let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
            if host == "*" || is_name || host.parse::<IpAddr>().is_ok() {
                hosts.push(host);
            } else {
                self.fault(name, "must be host names with commas between, without scheme, port and path");
            }
        }
        hosts
    }

    fn public_url(&mut self) -> Option<String> {
        let Some(url) = self.url("PUBLIC_URL") else {
            if self.prod && self.text("PUBLIC_URL").is_none() {
                self.fault("PUBLIC_URL", "is not set; set it to the https address that users open");
            }
            return None;
        };
        if url.contains(['?', '#']) {
            self.fault("PUBLIC_URL", "must not have a query or a fragment; end it after the path");
        }
        if self.prod && !has_scheme(&url, "https") {
            self.fault("PUBLIC_URL", "is not https; passwords would travel in the clear: use an https address");
        }
        Some(url.trim_end_matches('/').to_owned())
    }

    fn password_reset_url(&mut self, public_url: Option<&str>, bind: SocketAddr) -> String {
        let Some(url) = self.url("PASSWORD_RESET_URL") else {
            return format!("{}/reset/", public_url.map_or_else(|| local_url(bind), str::to_owned));
        };
        if self.prod && !has_scheme(&url, "https") {
            self.fault(
                "PASSWORD_RESET_URL",
                "is not https; new passwords would travel in the clear: use an https address",
            );
        }
        url
    }

    fn allowed_hosts(&mut self) -> Vec<String> {
        let hosts = self.hosts("ALLOWED_HOSTS");
        if self.prod && hosts.iter().any(|host| host == "*") {
            self.fault("ALLOWED_HOSTS", "must not be * in prod; list the host names that users open");
        }
        if self.text("ALLOWED_HOSTS").is_some() {
            return hosts;
        }
        if self.prod {
            self.fault("ALLOWED_HOSTS", "is not set; list the host names that users open");
        }
        vec!["localhost".into(), "127.0.0.1".into()]
    }

    fn origins(&mut self) -> Vec<String> {
        const NAME: &str = "CORS_ALLOWED_ORIGINS";
        let Some(items) = self.list(NAME) else {
            if self.prod {
                self.fault(NAME, "is not set; list the origins of the web pages that call this server");
            }
            return vec!["http://localhost:3000".into(), "http://127.0.0.1:3000".into()];
        };
        let mut origins = Vec::new();
        for item in items {
            let origin = item.trim_end_matches('/').to_ascii_lowercase();
            if origin == "*" {
                if self.prod {
                    self.fault(NAME, "must not be * in prod; list the origins of the web pages that call this server");
                }
            } else if !is_origin(&origin) {
                self.fault(NAME, "must be origins with commas between, each scheme://host or scheme://host:port");
                continue;
            }
            origins.push(origin);
        }
        if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
            self.fault(NAME, "must be either * or a list of origins, not both");
        }
        origins
    }

    fn trusted_proxies(&mut self) -> Vec<IpNet> {
        let mut nets = Vec::new();
        for item in self.list("TRUSTED_PROXIES").unwrap_or_default() {
            match item.parse() {
                Ok(net) => nets.push(net),
                Err(()) => self.fault(
                    "TRUSTED_PROXIES",
                    "must be addresses or ranges with commas between, such as 127.0.0.1,10.0.0.0/8",
                ),
            }
        }
        nets
    }

    fn accel_redirect(&mut self) -> Option<String> {
        let location = self.text("ACCEL_REDIRECT")?;
        if !(location.starts_with('/') && location.ends_with('/')) {
            self.fault("ACCEL_REDIRECT", "must begin and end with a slash, such as /protected/");
        }
        Some(location)
    }

    fn log_level(&mut self) -> String {
        let Some(text) = self.text("LOG_LEVEL") else { return "info".into() };
        // Django's names for what has another name here.
        let filter = match text.to_ascii_lowercase().as_str() {
            "warning" => "warn".to_owned(),
            "critical" => "error".to_owned(),
            _ => text,
        };
        if EnvFilter::try_new(&filter).is_err() {
            self.fault("LOG_LEVEL", "must be error, warn, info, debug, trace or a filter such as info,sqlx=debug");
        }
        filter
    }

    fn secret_key(&mut self, data_dir: &Path, keep: &dyn Fn(&Path) -> Result<SecretString, String>) -> SecretString {
        const NAME: &str = "SECRET_KEY";
        let faults_before = self.faults.len();
        if let Some(key) = self.secret(NAME) {
            self.check_key(NAME, &key);
            if self.prod && key.expose_secret().starts_with("django-insecure-") {
                self.fault(NAME, "is one that Django made up for development; make a new one");
            }
            return key;
        }
        if self.faults.len() == faults_before {
            if self.prod {
                self.fault(NAME, NEW_KEY);
            } else {
                match keep(data_dir) {
                    Ok(key) => return key,
                    Err(text) => self.fault(NAME, text),
                }
            }
        }
        SecretString::default()
    }

    fn audit_key(&mut self, secret_key: &SecretString) -> SecretString {
        const NAME: &str = "AUDIT_KEY";
        let faults_before = self.faults.len();
        if let Some(key) = self.secret(NAME) {
            self.check_key(NAME, &key);
            if key.expose_secret() == secret_key.expose_secret() {
                self.fault(
                    NAME,
                    "is the same as SECRET_KEY; use another, so that one can be changed without the other",
                );
            }
            return key;
        }
        if self.prod && self.faults.len() == faults_before {
            self.fault(NAME, NEW_KEY);
        }
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret_key.expose_secret().as_bytes());
        URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, b"audit key")).into()
    }

    fn check_key(&mut self, name: &str, key: &SecretString) {
        if self.prod && key.expose_secret().chars().count() < SHORTEST_KEY {
            self.fault(
                name,
                format!("is shorter than {SHORTEST_KEY} characters; make one with: openssl rand -base64 48"),
            );
        }
    }

    fn webhook_secret(&mut self) -> Option<SecretString> {
        let secret = self.secret("N8N_WEBHOOK_SECRET")?;
        if secret.expose_secret().chars().count() < SHORTEST_WEBHOOK_SECRET {
            self.fault(
                "N8N_WEBHOOK_SECRET",
                format!("is shorter than {SHORTEST_WEBHOOK_SECRET} characters; make one with: openssl rand -base64 24"),
            );
        }
        Some(secret)
    }

    fn mail(&mut self, data_dir: &Path) -> (Mail, Mailbox) {
        let from = self.mail_from();
        let port: u16 = self.number("EMAIL_PORT", 587, 1..=u16::MAX);
        let user = self.text("EMAIL_HOST_USER");
        let password = self.secret("EMAIL_HOST_PASSWORD");
        let tls = match (self.flag("EMAIL_USE_TLS", true), port) {
            (false, _) => MailTls::None,
            (true, 465) => MailTls::Implicit,
            (true, _) => MailTls::StartTls,
        };
        let Some(host) = self.text("EMAIL_HOST") else {
            if self.prod {
                self.fault("EMAIL_HOST", "is not set; set it to the mail server that sends password resets");
            }
            return (Mail::Files(data_dir.join("mail")), from);
        };
        let login = match (user, password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            (Some(_), None) => {
                self.fault("EMAIL_HOST_PASSWORD", "is not set, but EMAIL_HOST_USER is; set both or neither");
                None
            }
            (None, Some(_)) => {
                self.fault("EMAIL_HOST_USER", "is not set, but EMAIL_HOST_PASSWORD is; set both or neither");
                None
            }
        };
        if self.prod && login.is_some() && tls == MailTls::None && !is_loopback(&host) {
            self.fault("EMAIL_USE_TLS", "is false, so the mail password would travel in the clear; set it to true");
        }
        (Mail::Smtp { host, port, login, tls }, from)
    }

    fn mail_from(&mut self) -> Mailbox {
        const NAME: &str = "EMAIL_FROM";
        let text = self.text(NAME);
        if self.prod && text.is_none() {
            self.fault(NAME, "is not set; set it to the sender of mails, such as SwinCMS <noreply@example.edu>");
        }
        if let Ok(from) = text.as_deref().unwrap_or("SwinCMS <noreply@localhost>").parse() {
            return from;
        }
        self.fault(NAME, "must be a mail address, such as SwinCMS <noreply@example.edu>");
        Mailbox::new(None, lettre::Address::new_dangerous("noreply", "localhost"))
    }

    fn database(&mut self) -> (Database, Option<PgConnectOptions>) {
        let tls = self.database_tls();
        let faults_before = self.faults.len();
        let url = self.secret("DATABASE_URL");
        let host = self.text("POSTGRES_HOST");
        let asked = url.is_some() || host.is_some();
        let options = match (url, host) {
            (Some(url), _) => self.database_from_url("DATABASE_URL", &url, &tls),
            (None, Some(host)) => Some(self.database_from_parts(&host, &tls)),
            (None, None) => None,
        };
        if !asked && self.prod && self.faults.len() == faults_before {
            self.fault(
                "DATABASE_URL",
                "is not set, nor is POSTGRES_HOST; set it to postgres://user:password@host:5432/database",
            );
        }
        let migration = self
            .secret("MIGRATION_DATABASE_URL")
            .and_then(|url| self.database_from_url("MIGRATION_DATABASE_URL", &url, &tls));
        if !asked && !self.prod && migration.is_some() {
            self.fault("MIGRATION_DATABASE_URL", "is set, but no database is; set DATABASE_URL too");
        }
        (options.map_or(Database::Embedded, |options| Database::Server(Box::new(options))), migration)
    }

    fn database_tls(&mut self) -> DatabaseTls {
        let mode = self.choice(
            "POSTGRES_SSLMODE",
            None,
            &[
                ("disable", Some(PgSslMode::Disable)),
                ("allow", Some(PgSslMode::Allow)),
                ("prefer", Some(PgSslMode::Prefer)),
                ("require", Some(PgSslMode::Require)),
                ("verify-ca", Some(PgSslMode::VerifyCa)),
                ("verify-full", Some(PgSslMode::VerifyFull)),
            ],
        );
        let tls = DatabaseTls {
            mode,
            root: self.file("POSTGRES_SSLROOTCERT"),
            certificate: self.file("POSTGRES_SSLCERT"),
            key: self.file("POSTGRES_SSLKEY"),
        };
        match (&tls.certificate, &tls.key) {
            (Some(_), None) => {
                self.fault("POSTGRES_SSLKEY", "is not set, but POSTGRES_SSLCERT is; set both or neither");
            }
            (None, Some(_)) => {
                self.fault("POSTGRES_SSLCERT", "is not set, but POSTGRES_SSLKEY is; set both or neither");
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        tls
    }

    /// The path of a file, which must be there.
    fn file(&mut self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(name)?);
        if let Err(error) = fs::File::open(&path) {
            self.fault(name, format!("cannot be read: {error}; check the path and its rights"));
        }
        Some(path)
    }

    fn database_from_url(&mut self, name: &str, url: &SecretString, tls: &DatabaseTls) -> Option<PgConnectOptions> {
        let url = url.expose_secret().trim();
        let known_scheme = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let Some(options) = url.parse::<PgConnectOptions>().ok().filter(|_| known_scheme) else {
            self.fault(
                name,
                "is no PostgreSQL URL; write postgres://user:password@host:5432/database?sslmode=verify-full, \
                 with %-codes for special characters in the password",
            );
            return None;
        };
        if options.get_database().is_none() {
            self.fault(name, "names no database; put its name after the host, as in postgres://host/swincms");
        }
        let says_mode = url.split_once('?').is_some_and(|(_, query)| {
            query.split('&').any(|pair| pair.starts_with("sslmode=") || pair.starts_with("ssl-mode="))
        });
        Some(self.secured(if says_mode { name } else { "POSTGRES_SSLMODE" }, options, says_mode, tls))
    }

    fn database_from_parts(&mut self, host: &str, tls: &DatabaseTls) -> PgConnectOptions {
        let prod = self.prod;
        let mut needed = |name: &str| {
            let text = self.text(name);
            if prod && text.is_none() {
                self.fault(name, "is not set; POSTGRES_HOST needs it");
            }
            text.unwrap_or_else(|| "swincms".into())
        };
        let database = needed("POSTGRES_DB");
        let user = needed("POSTGRES_USER");
        let mut options = PgConnectOptions::new_without_pgpass()
            .port(self.number("POSTGRES_PORT", 5432, 1..=u16::MAX))
            .username(&user)
            .database(&database);
        options = if host.starts_with('/') { options.socket(host) } else { options.host(host) };
        let faults_before = self.faults.len();
        match self.secret("POSTGRES_PASSWORD") {
            Some(password) => options = options.password(password.expose_secret()),
            None if prod
                && self.faults.len() == faults_before
                && tls.certificate.is_none()
                && options.get_socket().is_none() =>
            {
                self.fault("POSTGRES_PASSWORD", "is not set, nor is POSTGRES_SSLCERT; POSTGRES_HOST needs one of them");
            }
            None => {}
        }
        self.secured("POSTGRES_SSLMODE", options, false, tls)
    }

    /// The options with what is said about TLS; in prod the way to another machine must be verified.
    fn secured(
        &mut self,
        name: &str,
        mut options: PgConnectOptions,
        says_mode: bool,
        tls: &DatabaseTls,
    ) -> PgConnectOptions {
        let here = options.get_socket().is_some() || is_loopback(options.get_host());
        if !says_mode {
            let default = if self.prod && !here { PgSslMode::VerifyFull } else { PgSslMode::Prefer };
            options = options.ssl_mode(tls.mode.unwrap_or(default));
        }
        if let Some(path) = &tls.root {
            options = options.ssl_root_cert(path);
        }
        if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        if self.prod && !here && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
            self.fault(
                name,
                "has an sslmode below verify-full, so another machine could pose as the database; use verify-full \
                 (and POSTGRES_SSLROOTCERT for a certificate authority of your own)",
            );
        }
        options.application_name("swincms")
    }
}

const NEW_KEY: &str = "is not set; set it to at least 32 random characters, made with: openssl rand -base64 48";

/// The name a setting had in the Django deployment.
fn alias(name: &str) -> Option<&'static str> {
    match name {
        "SECRET_KEY" => Some("DJANGO_SECRET_KEY"),
        "LOG_LEVEL" => Some("DJANGO_LOG_LEVEL"),
        _ => None,
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at_checked(digits)?;
    let count: u64 = count.parse().ok()?;
    match unit.trim().to_ascii_lowercase().as_str() {
        "ms" => Some(Duration::from_millis(count)),
        "" | "s" => Some(Duration::from_secs(count)),
        "m" => count.checked_mul(60).map(Duration::from_secs),
        "h" => count.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

fn has_scheme(url: &str, scheme: &str) -> bool {
    url.split_once("://").is_some_and(|(found, _)| found.eq_ignore_ascii_case(scheme))
}

fn is_http_url(text: &str) -> bool {
    (has_scheme(text, "http") || has_scheme(text, "https"))
        && text.parse::<Uri>().is_ok_and(|url| url.host().is_some_and(|host| !host.is_empty()))
}

fn is_origin(text: &str) -> bool {
    is_http_url(text) && text.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?', '#', '@', '*']))
}

/// Whether a host is this machine: a socket's folder, `localhost` or a loopback address.
fn is_loopback(host: &str) -> bool {
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// What `.env` says; nothing when there is none.
fn dot_env(path: &Path) -> Result<HashMap<String, String>, Fault> {
    let fault = |text: String| Fault { setting: ".env".into(), text };
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(error) if error.not_found() => return Ok(HashMap::new()),
        Err(error) => return Err(fault(format!("cannot be read: {error}"))),
    };
    let mut found = HashMap::new();
    let mut last = None;
    for line in lines {
        // The error would show the line, and with it perhaps a secret.
        let (name, value) = line.map_err(|_| {
            let place = last.map_or("its first line".to_owned(), |name| format!("the line after {name}"));
            fault(format!("{place} cannot be read; write NAME=value, with quotes around a value that has spaces"))
        })?;
        last = Some(name.clone());
        found.entry(name).or_insert(value);
    }
    Ok(found)
}

/// The key kept in `DATA_DIR/secret_key`, made when it is not there; two processes that start at once get the same.
fn kept_secret_key(data_dir: &Path) -> Result<SecretString, String> {
    let path = data_dir.join("secret_key");
    keep_key_at(&path)
        .map_err(|error| format!("is not set, and none can be kept in {}: {error}; set SECRET_KEY", path.display()))
}

/// Makes `DATA_DIR` where it is missing. It belongs to whom the folder above belongs to, so that a start as root does
/// not lock out the tree's owner.
pub(crate) fn make_data_dir(dir: &Path) -> std::io::Result<()> {
    if dir.try_exists()? {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    same_owner(dir, above)
}

/// Gives to the owner of `model` what root made for them.
fn same_owner(made: &Path, model: &Path) -> std::io::Result<()> {
    let owner = fs::metadata(model)?;
    if fs::metadata(made)?.uid() == 0 && owner.uid() != 0 {
        chown(made, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

fn keep_key_at(path: &Path) -> std::io::Result<SecretString> {
    if !path.try_exists()? {
        let folder = path.parent().unwrap_or(Path::new("."));
        make_data_dir(folder)?;
        let mut random = [0_u8; 48];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
        // Written aside and then linked, so that nobody ever reads half a key and the first of two writers wins.
        let aside = path.with_extension(uuid::Uuid::new_v4().simple().to_string());
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        same_owner(&aside, folder)?;
        let linked = file
            .write_all(URL_SAFE_NO_PAD.encode(random).as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::hard_link(&aside, path));
        fs::remove_file(&aside)?;
        if let Err(error) = linked
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
    }
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    let key = fs::read_to_string(path)?.trim().to_owned();
    if key.len() < SHORTEST_KEY {
        return Err(std::io::Error::other("the file holds no key; delete it and a new one is made"));
    }
    Ok(key.into())
}

/// A setting as `.env.example` and the README show it.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What holds when it is not set, for people; empty when nothing does.
    pub default: &'static str,
    /// Whether it is a secret, so that `NAME_FILE` works too.
    pub secret: bool,
    /// What it is for, in a sentence.
    pub explains: &'static str,
}

impl Setting {
    /// Its row in the README's table.
    #[must_use]
    pub fn row(&self) -> String {
        let file = if self.secret { format!(", `{}_FILE`", self.name) } else { String::new() };
        let default = if self.default.is_empty() { "none" } else { self.default };
        format!("| `{}`{file} | {default} | {} |", self.name, self.explains)
    }
}

const fn setting(name: &'static str, default: &'static str, explains: &'static str) -> Setting {
    Setting { name, default, secret: false, explains }
}

const fn secret(name: &'static str, default: &'static str, explains: &'static str) -> Setting {
    Setting { name, default, secret: true, explains }
}

/// Every setting there is, in the order of `.env.example`.
pub const SETTINGS: &[Setting] = &[
    setting(
        "APP_ENV",
        "dev",
        "`dev` or `prod`; prod has no default for secrets, hosts, origins, mail and the database.",
    ),
    setting("BIND", "127.0.0.1:8000", "Address and port to listen on; `0.0.0.0:8000` in a container."),
    setting("PUBLIC_URL", "dev: from the Host header; prod: needed", "The address that users open; https in prod."),
    setting(
        "ALLOWED_HOSTS",
        "dev: localhost,127.0.0.1; prod: needed",
        "Host names that are answered, without port; `.example.edu` also means all below it; `*` in dev only.",
    ),
    setting(
        "CORS_ALLOWED_ORIGINS",
        "dev: http://localhost:3000,http://127.0.0.1:3000; prod: needed",
        "Origins of the web pages that may call the server; `*` in dev only.",
    ),
    setting(
        "TRUSTED_PROXIES",
        "",
        "Addresses or ranges of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.",
    ),
    setting("SECURE_SSL_REDIRECT", "dev: false; prod: true", "Send requests that came over http to https."),
    setting("HSTS_PRELOAD", "false", "Also ask browsers to keep to https for subdomains, and for the preload list."),
    setting("MAX_CONNECTIONS", "4096", "The most connections open at once."),
    setting(
        "REQUEST_TIMEOUT",
        "30s",
        "The longest a request may take. Times are `500ms`, `30s`, `2m`, `1h` or seconds.",
    ),
    setting("DRAIN_SECONDS", "30", "The longest that open requests are waited for at a stop."),
    setting("PAGE_SIZE_DEFAULT", "500", "Rows of a list when the caller does not say."),
    setting("PAGE_SIZE_MAX", "1000", "The most rows a caller may ask for at once."),
    setting("TIME_ZONE", "Asia/Ho_Chi_Minh", "The zone of times that come without one."),
    secret(
        "DATABASE_URL",
        "dev: a PostgreSQL of its own; prod: this or POSTGRES_HOST needed",
        "postgres://user:password@host:5432/database?sslmode=verify-full; goes before POSTGRES_*.",
    ),
    secret(
        "MIGRATION_DATABASE_URL",
        "as the server",
        "The role that owns the tables, for migrations only, so that the server's own role need not own them.",
    ),
    setting("RUN_MIGRATIONS", "true", "Bring the schema up to date at start-up."),
    setting("POSTGRES_HOST", "", "Host, or folder of the socket, of the database."),
    setting("POSTGRES_PORT", "5432", "Its port."),
    setting("POSTGRES_DB", "dev: swincms; prod: needed", "Its name."),
    setting("POSTGRES_USER", "dev: swincms; prod: needed", "The role to log in as."),
    secret("POSTGRES_PASSWORD", "prod: needed unless there is a client certificate", "The role's password."),
    setting(
        "POSTGRES_SSLMODE",
        "dev: prefer; prod: verify-full",
        "disable, allow, prefer, require, verify-ca or verify-full; in prod nothing less to another machine.",
    ),
    setting(
        "POSTGRES_SSLROOTCERT",
        "the public authorities",
        "File of the authority that signed the database's certificate.",
    ),
    setting("POSTGRES_SSLCERT", "", "File of the client certificate to log in with."),
    setting("POSTGRES_SSLKEY", "", "File of its key."),
    setting("DB_POOL_SIZE", "16", "The most connections to the database, per server process."),
    setting("DB_ACQUIRE_TIMEOUT", "5s", "The longest a request waits for one of them."),
    setting("DB_CONNECT_TIMEOUT", "10s", "The longest it may take to connect."),
    setting("DB_STATEMENT_TIMEOUT", "30s", "The longest a statement may run."),
    setting("DB_IDLE_TX_TIMEOUT", "10s", "The longest a transaction may stay open with nothing to do."),
    setting("DB_MAX_LIFETIME", "600s", "How old a connection grows before it is replaced."),
    setting("PG_BIN", "searched for", "Folder of PostgreSQL's programs, for the database of its own."),
    setting("DATA_DIR", ".data", "What the server keeps in dev: its own database, the secret key, mails."),
    setting("MEDIA_ROOT", "media in DATA_DIR", "Root of the uploaded files."),
    setting("MAX_UPLOAD_MB", "25", "The largest file that is taken, in MiB."),
    setting(
        "ACCEL_REDIRECT",
        "the server sends files itself",
        "nginx's internal location for private files, such as `/protected/`.",
    ),
    secret(
        "SECRET_KEY",
        "dev: made up, kept in DATA_DIR/secret_key; prod: needed",
        "Signs tokens and links; at least 32 characters. Also DJANGO_SECRET_KEY.",
    ),
    secret("AUDIT_KEY", "dev: from SECRET_KEY; prod: needed", "Seals the audit log; at least 32 characters."),
    setting(
        "REGISTRATION",
        "dev: open; prod: closed",
        "`open`: anyone may create a student account; `closed`: admins.",
    ),
    setting("ACCESS_TOKEN_MINUTES", "60", "How long an access token is good."),
    setting("REFRESH_ROTATION", "false", "A refresh token is good once; using it again revokes its session."),
    setting("PASSWORD_RESET_URL", "/reset/ below PUBLIC_URL", "What reset mails link to; the token is appended."),
    setting("EMAIL_HOST", "dev: files in DATA_DIR/mail; prod: needed", "The mail server."),
    setting("EMAIL_PORT", "587", "Its port; 465 speaks TLS from the first byte."),
    setting("EMAIL_HOST_USER", "", "The user to log in as."),
    secret("EMAIL_HOST_PASSWORD", "", "The user's password."),
    setting("EMAIL_USE_TLS", "true", "Whether mail goes over TLS."),
    setting("EMAIL_FROM", "dev: SwinCMS <noreply@localhost>; prod: needed", "The sender of mails."),
    secret(
        "N8N_WEBHOOK_SECRET",
        "calls from n8n are refused",
        "What n8n sends as X-N8N-SECRET; at least 16 characters.",
    ),
    secret("N8N_API_KEY", "", "Sent to the hosts in N8N_API_KEY_HOSTS."),
    setting("N8N_API_KEY_HOSTS", "", "Hosts that are sent N8N_API_KEY."),
    setting("N8N_IMPORT_WEBHOOK", "", "URL that event files are sent to instead of being imported here."),
    setting("WEBHOOK_ALLOWED_HOSTS", "", "Hosts that webhooks may reach though their address is private; any port."),
    secret("GEMINI_API_KEY", "", "Lets the advisor ask Gemini."),
    setting("ADVISOR_URL", "", "An OpenAI-compatible endpoint for the advisor."),
    secret("ADVISOR_API_KEY", "", "Its key."),
    setting("ADVISOR_MODEL", "", "The model the advisor asks for."),
    setting(
        "LOG_LEVEL",
        "info",
        "error, warn, info, debug, trace, or a filter such as `info,sqlx=debug`. Also DJANGO_LOG_LEVEL.",
    ),
    setting("LOG_FORMAT", "dev: text; prod: json", "`text` or `json`."),
];

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by failing")]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;

    const KEY: &str = "an-example-key-that-is-long-enough-to-sign";

    /// The settings with these values, and nothing else.
    fn with(values: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
        Config::from_lookup(&|name| {
            values.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn dev(values: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
        with(&[&[("SECRET_KEY", KEY)], values].concat())
    }

    /// The settings of a sound production set-up, changed by `values`.
    fn prod(values: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
        let sound = [
            ("APP_ENV", "prod"),
            ("SECRET_KEY", KEY),
            ("AUDIT_KEY", "another-example-key-that-is-long-enough"),
            ("PUBLIC_URL", "https://cms.example.edu/"),
            ("ALLOWED_HOSTS", "cms.example.edu,.Campus.example.edu"),
            ("CORS_ALLOWED_ORIGINS", "https://app.example.edu"),
            ("DATABASE_URL", "postgres://cms:p%40ss@db.example.edu/swincms"),
            ("EMAIL_HOST", "mail.example.edu"),
            ("EMAIL_FROM", "SwinCMS <noreply@example.edu>"),
        ];
        with(&[&sound, values].concat())
    }

    /// The names of the settings at fault, in the order of the message.
    fn at_fault(config: Result<Config, ConfigFaults>) -> Vec<String> {
        config.err().map(|faults| faults.0.into_iter().map(|fault| fault.setting).collect()).unwrap_or_default()
    }

    fn server(config: &Config) -> &PgConnectOptions {
        match &config.database {
            Database::Server(options) => options,
            Database::Embedded => panic!("no server is configured"),
        }
    }

    #[test]
    fn dev_has_a_default_for_everything_but_the_key_that_is_kept() {
        let config = dev(&[]).unwrap();
        assert_eq!(config.app_env, AppEnv::Dev);
        assert_eq!(config.bind.to_string(), "127.0.0.1:8000");
        assert!(matches!(config.database, Database::Embedded));
        assert!(matches!(&config.mail, Mail::Files(dir) if dir == Path::new(".data/mail")));
        assert_eq!(config.allowed_hosts, ["localhost", "127.0.0.1"]);
        assert_eq!(config.cors_allowed_origins, ["http://localhost:3000", "http://127.0.0.1:3000"]);
        assert_eq!(config.registration, Registration::Open);
        assert_eq!(config.time_zone, Tz::Asia__Ho_Chi_Minh);
        assert_eq!(config.password_reset_url, "http://localhost:8000/reset/");
        assert_eq!((config.page_size_default, config.page_size_max), (500, 1000));
        assert_eq!(config.max_upload_bytes, 25 * 1024 * 1024);
        assert_eq!(config.db_statement_timeout, Duration::from_secs(30));
        assert_eq!(config.log_format, LogFormat::Text);
        assert!(config.run_migrations && !config.secure_ssl_redirect);
        assert_ne!(config.audit_key.expose_secret(), config.secret_key.expose_secret());
        assert_eq!(at_fault(with(&[])), ["SECRET_KEY"]);
    }

    #[test]
    fn a_sound_production_set_up_is_taken() {
        let config = prod(&[]).unwrap();
        assert_eq!(config.public_url.as_deref(), Some("https://cms.example.edu"));
        assert_eq!(config.password_reset_url, "https://cms.example.edu/reset/");
        assert_eq!(config.registration, Registration::Closed);
        assert_eq!(config.log_format, LogFormat::Json);
        assert!(config.secure_ssl_redirect);
        assert!(matches!(server(&config).get_ssl_mode(), PgSslMode::VerifyFull));
        assert!(matches!(config.mail, Mail::Smtp { port: 587, login: None, tls: MailTls::StartTls, .. }));
    }

    #[test]
    fn a_faulty_production_set_up_is_told_every_fault_at_once() {
        let faults = prod(&[
            ("SECRET_KEY", "hunter2-short"),
            ("AUDIT_KEY", ""),
            ("PUBLIC_URL", "http://cms.example.edu"),
            ("ALLOWED_HOSTS", "*"),
            ("CORS_ALLOWED_ORIGINS", "*"),
            ("DATABASE_URL", ""),
            ("POSTGRES_HOST", "db.example.edu"),
            ("POSTGRES_SSLMODE", "require"),
            ("POSTGRES_SSLCERT", "/nowhere/client.crt"),
            ("POSTGRES_PORT", "0"),
            ("EMAIL_HOST", ""),
            ("EMAIL_FROM", "nobody"),
            ("TRUSTED_PROXIES", "10.0.0.0/33"),
            ("REQUEST_TIMEOUT", "soon"),
            ("RUN_MIGRATIONS", "perhaps"),
            ("TIME_ZONE", "Hanoi"),
            ("REGISTRATION", "maybe"),
            ("N8N_WEBHOOK_SECRET", "tiny-secret"),
            ("LOG_LEVEL", "info,=,="),
            ("BIND", "8000"),
        ])
        .unwrap_err();
        let message = faults.to_string();
        let named: BTreeSet<String> = faults.0.iter().map(|fault| fault.setting.clone()).collect();
        let expected = [
            "ALLOWED_HOSTS",
            "AUDIT_KEY",
            "BIND",
            "CORS_ALLOWED_ORIGINS",
            "EMAIL_FROM",
            "EMAIL_HOST",
            "LOG_LEVEL",
            "N8N_WEBHOOK_SECRET",
            "POSTGRES_DB",
            "POSTGRES_PORT",
            "POSTGRES_SSLCERT",
            "POSTGRES_SSLKEY",
            "POSTGRES_SSLMODE",
            "POSTGRES_USER",
            "PUBLIC_URL",
            "REGISTRATION",
            "REQUEST_TIMEOUT",
            "RUN_MIGRATIONS",
            "SECRET_KEY",
            "TIME_ZONE",
            "TRUSTED_PROXIES",
        ];
        assert_eq!(named.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{message}");
        assert!(message.starts_with(&format!("the configuration has {} faults:\n", faults.0.len())), "{message}");
        assert_eq!(message.lines().count(), faults.0.len() + 1, "a line per fault: {message}");
        assert!(!message.contains("hunter2") && !message.contains("tiny-secret"), "{message}");
    }

    #[test]
    fn prod_without_any_setting_asks_for_what_has_no_default() {
        assert_eq!(
            at_fault(with(&[("APP_ENV", "prod")])),
            [
                "PUBLIC_URL",
                "DATABASE_URL",
                "SECRET_KEY",
                "AUDIT_KEY",
                "EMAIL_FROM",
                "EMAIL_HOST",
                "ALLOWED_HOSTS",
                "CORS_ALLOWED_ORIGINS"
            ]
        );
    }

    #[test]
    fn the_way_to_a_database_elsewhere_is_verified_in_prod() {
        let url = |url: &str| at_fault(prod(&[("DATABASE_URL", url)]));
        let none: [&str; 0] = [];
        assert_eq!(url("postgres://u:p@db.example.edu/cms?sslmode=verify-full"), none);
        assert_eq!(url("postgres://u:p@127.0.0.1/cms?sslmode=disable"), none);
        assert_eq!(url("postgres://u:p@[::1]/cms?sslmode=disable"), none);
        assert_eq!(url("postgres:///cms?host=/run/postgresql&sslmode=disable"), none);
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            assert_eq!(url(&format!("postgres://u:p@db.example.edu/cms?sslmode={mode}")), ["DATABASE_URL"]);
            assert_eq!(url(&format!("postgres://u:p@127.0.0.1/cms?sslmode={mode}&host=10.1.2.3")), ["DATABASE_URL"]);
            assert_eq!(at_fault(prod(&[("POSTGRES_SSLMODE", mode)])), ["POSTGRES_SSLMODE"]);
            assert_eq!(
                at_fault(prod(&[(
                    "MIGRATION_DATABASE_URL",
                    &format!("postgres://o:p@db.example.edu/cms?sslmode={mode}")
                )])),
                ["MIGRATION_DATABASE_URL"]
            );
        }
        assert_eq!(url("postgres://u:p@db.example.edu/cms?sslmode=verify-almost"), ["DATABASE_URL"]);
        assert_eq!(url("postgres://u:p@db.example.edu"), ["DATABASE_URL"]);
        assert_eq!(url("mysql://u:p@db.example.edu/cms"), ["DATABASE_URL"]);
        assert_eq!(
            at_fault(prod(&[
                ("DATABASE_URL", ""),
                ("POSTGRES_HOST", "db.example.edu"),
                ("POSTGRES_DB", "cms"),
                ("POSTGRES_USER", "cms"),
            ])),
            ["POSTGRES_PASSWORD"]
        );
    }

    #[test]
    fn the_parts_of_the_django_deployment_name_the_database() {
        let config = dev(&[
            ("POSTGRES_HOST", "db"),
            ("POSTGRES_PORT", "6543"),
            ("POSTGRES_DB", "cms"),
            ("POSTGRES_USER", "django"),
            ("POSTGRES_PASSWORD", "s3cret-word"),
            ("POSTGRES_SSLMODE", "require"),
        ])
        .unwrap();
        let options = server(&config);
        assert_eq!((options.get_host(), options.get_port()), ("db", 6543));
        assert_eq!((options.get_username(), options.get_database()), ("django", Some("cms")));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Require));
        assert!(!format!("{config:?} {:?}", config.database).contains("s3cret-word"));
    }

    #[test]
    fn secrets_come_from_files_and_under_their_older_names() {
        let dir = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        fs::create_dir(&dir).unwrap();
        let path = dir.join("key");
        fs::write(&path, format!("{KEY}\n")).unwrap();
        let path = path.to_str().unwrap();
        for name in ["SECRET_KEY_FILE", "DJANGO_SECRET_KEY_FILE"] {
            assert_eq!(with(&[(name, path)]).unwrap().secret_key.expose_secret(), KEY);
        }
        assert_eq!(with(&[("DJANGO_SECRET_KEY", KEY)]).unwrap().secret_key.expose_secret(), KEY);
        assert_eq!(at_fault(dev(&[("SECRET_KEY_FILE", path)])), ["SECRET_KEY"]);
        assert_eq!(at_fault(with(&[("SECRET_KEY_FILE", "/nowhere/key")])), ["SECRET_KEY_FILE"]);
        assert_eq!(dev(&[("DJANGO_LOG_LEVEL", "WARNING")]).unwrap().log_level, "warn");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_key_is_kept_once_and_for_its_owner_alone() {
        let dir = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        let key = kept_secret_key(&dir).unwrap();
        assert_eq!(kept_secret_key(&dir).unwrap().expose_secret(), key.expose_secret());
        assert_eq!(fs::metadata(dir.join("secret_key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_line_of_the_file_that_cannot_be_read_is_not_shown() {
        let path = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        fs::write(&path, "BIND=127.0.0.1:1\nSECRET_KEY=hunter2 and more\n").unwrap();
        let fault = dot_env(&path).unwrap_err();
        assert!(fault.text.contains("after BIND") && !fault.text.contains("hunter2"), "{}", fault.text);
        fs::remove_file(&path).unwrap();
        assert!(dot_env(&path).unwrap().is_empty());
    }

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        let drain = |text| dev(&[("DRAIN_SECONDS", text)]).ok().map(|config| config.drain);
        assert_eq!(drain("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(drain("10s"), Some(Duration::from_secs(10)));
        assert_eq!(drain("45"), Some(Duration::from_secs(45)));
        assert_eq!(drain("2m"), Some(Duration::from_secs(120)));
        for wrong in ["0", "-1", "1.5s", "s", "9999999999999999999m", "5 years"] {
            assert_eq!(drain(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_range_of_addresses_holds_what_it_says() {
        let holds = |net: &str, address: &str| net.parse::<IpNet>().unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.0.0.1") && holds("0.0.0.0/0", "1.2.3.4"));
        assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe80::1") && holds("::/0", "::1"));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "host", "10.0.0.0/-1"] {
            assert!(wrong.parse::<IpNet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_are_compared_without_port_and_case() {
        let config = prod(&[]).unwrap();
        for host in ["cms.example.edu", "CMS.example.edu:8443", "campus.example.edu", "a.b.campus.example.edu."] {
            assert!(config.allows_host(host), "{host}");
        }
        for host in ["", "example.edu", "evilcampus.example.edu", "cms.example.edu.evil.org", "cms.example.edu:x"] {
            assert!(!config.allows_host(host), "{host}");
        }
        assert!(dev(&[("ALLOWED_HOSTS", "[::1]")]).unwrap().allows_host("[::1]:8000"));
        assert!(dev(&[("ALLOWED_HOSTS", "*")]).unwrap().allows_host("anything"));
        assert_eq!(at_fault(dev(&[("ALLOWED_HOSTS", "http://localhost")])), ["ALLOWED_HOSTS"]);
        assert_eq!(at_fault(dev(&[("CORS_ALLOWED_ORIGINS", "https://a.example.edu/path")])), ["CORS_ALLOWED_ORIGINS"]);
    }

    #[test]
    fn every_setting_that_is_read_is_listed_and_the_other_way_round() {
        let asked = RefCell::new(BTreeSet::new());
        for host in [None, Some("db")] {
            drop(Config::from_lookup(&|name| {
                asked.borrow_mut().insert(name.to_owned());
                host.filter(|_| name == "POSTGRES_HOST").map(str::to_owned)
            }));
        }
        let mut listed = BTreeSet::new();
        for setting in SETTINGS {
            for name in std::iter::once(setting.name).chain(alias(setting.name)) {
                assert!(listed.insert(name.to_owned()), "{name} is listed twice");
                if setting.secret {
                    listed.insert(format!("{name}_FILE"));
                }
            }
        }
        assert_eq!(asked.into_inner(), listed);
    }

    #[test]
    fn the_example_and_the_readme_explain_every_setting() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let example = fs::read_to_string(root.join(".env.example")).unwrap();
        let readme = fs::read_to_string(root.join("README.md")).unwrap();
        for setting in SETTINGS {
            let block = example_block(setting);
            assert!(example.contains(&block), ".env.example lacks:\n{block}");
            assert!(readme.contains(&setting.row()), "README.md lacks:\n{}", setting.row());
        }
        let lines = example.lines().filter(|line| line.contains('=') && !line.starts_with("# ")).count();
        assert_eq!(lines, SETTINGS.len(), ".env.example sets what is no setting");
    }

    /// What `.env.example` says of a setting. A default of one word stands as its value.
    fn example_block(setting: &Setting) -> String {
        let Setting { name, default, explains, .. } = setting;
        let secret = if setting.secret { format!("# A secret: also as {name}_FILE.\n") } else { String::new() };
        if default.contains(' ') {
            format!("# {explains}\n# Default: {default}\n{secret}#{name}=\n")
        } else {
            format!("# {explains}\n{secret}#{name}={default}\n")
        }
    }
}
