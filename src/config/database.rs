//! Which database, and how the way to it is protected.

use std::fs;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::Database;
use super::reader::{Reader, is_loopback};

/// What is said about TLS to the database beside its URL.
#[derive(Default)]
struct DatabaseTls {
    mode: Option<PgSslMode>,
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}
impl Reader<'_> {
    pub(super) fn database(&mut self) -> (Database, Option<PgConnectOptions>) {
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
