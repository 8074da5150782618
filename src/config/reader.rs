//! What every setting is read with.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lettre::message::Mailbox;
use secrecy::{ExposeSecret as _, SecretString};
use tracing_subscriber::EnvFilter;

use crate::enrollment::Boundaries;

use super::{Fault, IpNet, Mail, MailTls, SHORTEST_KEY, SHORTEST_WEBHOOK_SECRET, local_url};

/// What every setting is read with: looks up, checks, and remembers what is wrong.
///
/// A setting at fault gives its default, so that the rest can be checked too.
pub(super) struct Reader<'a> {
    pub(super) lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) prod: bool,
    pub(super) faults: Vec<Fault>,
}
impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let mut read = Self { lookup, prod: false, faults: Vec::new() };
        read.prod = read.choice("APP_ENV", false, &[("dev", false), ("prod", true)]);
        read
    }

    pub(super) fn fault(&mut self, setting: &str, text: impl Into<String>) {
        let fault = Fault { setting: setting.into(), text: text.into() };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// A setting under its name or its older one; blank is none.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let found = |name: &str| {
            let text = (self.lookup)(name)?.trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        found(name).or_else(|| alias(name).and_then(found))
    }

    /// A secret under its name or its older one, given itself or as a file; blank is none.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
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

    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, default: T, wrong: &str) -> T {
        match self.text(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.fault(name, wrong);
                default
            }
        }
    }

    pub(super) fn number<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
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

    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
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

    pub(super) fn choice<T: Copy>(&mut self, name: &str, default: T, choices: &[(&str, T)]) -> T {
        let Some(text) = self.text(name) else { return default };
        if let Some((_, value)) = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text)) {
            return *value;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.fault(name, format!("must be one of {}", words.join(", ")));
        default
    }

    pub(super) fn duration(&mut self, name: &str, default_seconds: u64) -> Duration {
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

    pub(super) fn grade_boundaries(&mut self) -> Boundaries {
        let Some(text) = self.text("GRADE_BOUNDARIES") else { return Boundaries::default() };
        text.parse().unwrap_or_else(|says: String| {
            self.fault("GRADE_BOUNDARIES", says);
            Boundaries::default()
        })
    }

    pub(super) fn address(&mut self, name: &str) -> Option<SocketAddr> {
        let text = self.text(name)?;
        let address = text.parse().ok();
        if address.is_none() {
            self.fault(name, "must be an address and a port, such as 127.0.0.1:8000");
        }
        address
    }

    pub(super) fn url(&mut self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        if is_http_url(&text) {
            Some(text)
        } else {
            self.fault(name, "must be an http or https URL with a host");
            None
        }
    }

    pub(super) fn list(&mut self, name: &str) -> Option<Vec<String>> {
        let text = self.text(name)?;
        Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    /// Words and phrases, with commas between.
    pub(super) fn words(&mut self, name: &str) -> Vec<String> {
        let words = self.list(name).unwrap_or_default();
        if words.iter().any(|word| !word.chars().all(|c| c.is_alphanumeric() || c == ' ' || c == '-')) {
            self.fault(name, "must be words of letters, digits, blanks and hyphens, with commas between");
        }
        words
    }

    pub(super) fn hosts(&mut self, name: &str) -> Vec<String> {
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

    pub(super) fn public_url(&mut self) -> Option<String> {
        let Some(url) = self.url("PUBLIC_URL") else {
            if self.prod && self.text("PUBLIC_URL").is_none() {
                self.fault("PUBLIC_URL", "is not set; set it to the https address that users open");
            }
            return None;
        };
        if url.contains(['?', '#']) {
            self.fault("PUBLIC_URL", "must not have a query or a fragment; end it after the host");
        } else if url.split_once("://").is_some_and(|(_, rest)| rest.trim_end_matches('/').contains('/')) {
            self.fault("PUBLIC_URL", "has a path, below which nothing is served; end it after the host");
        }
        if self.prod && !has_scheme(&url, "https") {
            self.fault("PUBLIC_URL", "is not https; passwords would travel in the clear: use an https address");
        }
        Some(url.trim_end_matches('/').to_owned())
    }

    /// What the link of a mail begins with: `name`, or a page of ours, `below` the public address.
    pub(super) fn link(
        &mut self,
        name: &'static str,
        below: &str,
        public_url: Option<&str>,
        bind: SocketAddr,
    ) -> String {
        let Some(url) = self.url(name) else {
            return format!("{}/{below}/", public_url.map_or_else(|| local_url(bind), str::to_owned));
        };
        if self.prod && !has_scheme(&url, "https") {
            self.fault(name, "is not https; the tokens of links would travel in the clear: use an https address");
        }
        url
    }

    pub(super) fn allowed_hosts(&mut self) -> Vec<String> {
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
        vec!["localhost".into(), "127.0.0.1".into(), "::1".into()]
    }

    pub(super) fn origins(&mut self) -> Vec<String> {
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

    pub(super) fn trusted_proxies(&mut self) -> Vec<IpNet> {
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

    pub(super) fn accel_redirect(&mut self) -> Option<String> {
        let location = self.text("ACCEL_REDIRECT")?;
        if !(location.starts_with('/') && location.ends_with('/')) {
            self.fault("ACCEL_REDIRECT", "must begin and end with a slash, such as /protected/");
        }
        Some(location)
    }

    pub(super) fn log_level(&mut self) -> String {
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

    pub(super) fn secret_key(
        &mut self,
        data_dir: &Path,
        keep: &dyn Fn(&Path) -> Result<SecretString, String>,
    ) -> SecretString {
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

    pub(super) fn audit_key(&mut self, secret_key: &SecretString) -> SecretString {
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

    pub(super) fn check_key(&mut self, name: &str, key: &SecretString) {
        if self.prod && key.expose_secret().chars().count() < SHORTEST_KEY {
            self.fault(
                name,
                format!("is shorter than {SHORTEST_KEY} characters; make one with: openssl rand -base64 48"),
            );
        }
    }

    pub(super) fn webhook_secret(&mut self) -> Option<SecretString> {
        let secret = self.secret("N8N_WEBHOOK_SECRET")?;
        if secret.expose_secret().chars().count() < SHORTEST_WEBHOOK_SECRET {
            self.fault(
                "N8N_WEBHOOK_SECRET",
                format!("is shorter than {SHORTEST_WEBHOOK_SECRET} characters; make one with: openssl rand -base64 24"),
            );
        }
        Some(secret)
    }

    pub(super) fn mail(&mut self, data_dir: &Path) -> (Mail, Mailbox) {
        let from = self.mail_from();
        let port: u16 = self.number("EMAIL_PORT", 587, 1..=u16::MAX);
        let user = self.text("EMAIL_HOST_USER");
        let password = self.secret("EMAIL_HOST_PASSWORD");
        let tls = match (self.flag("EMAIL_USE_TLS", true), port) {
            (false, _) => MailTls::None,
            (true, 465) => MailTls::Implicit,
            (true, _) => MailTls::StartTls,
        };
        let ca = self.text("EMAIL_CA_FILE").map(PathBuf::from);
        if let Some(error) = ca.as_ref().and_then(|path| std::fs::File::open(path).err()) {
            self.fault("EMAIL_CA_FILE", format!("names no file that can be read: {error}"));
        }
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
        (Mail::Smtp { host, port, login, tls, ca }, from)
    }

    pub(super) fn mail_from(&mut self) -> Mailbox {
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
}

pub(super) const NEW_KEY: &str =
    "is not set; set it to at least 32 random characters, made with: openssl rand -base64 48";

/// The name a setting had in the Django deployment.
pub(super) fn alias(name: &str) -> Option<&'static str> {
    match name {
        "SECRET_KEY" => Some("DJANGO_SECRET_KEY"),
        "LOG_LEVEL" => Some("DJANGO_LOG_LEVEL"),
        _ => None,
    }
}

pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
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

pub(super) fn has_scheme(url: &str, scheme: &str) -> bool {
    url.split_once("://").is_some_and(|(found, _)| found.eq_ignore_ascii_case(scheme))
}

pub(super) fn is_http_url(text: &str) -> bool {
    (has_scheme(text, "http") || has_scheme(text, "https"))
        && text.parse::<Uri>().is_ok_and(|url| url.host().is_some_and(|host| !host.is_empty()))
}

pub(super) fn is_origin(text: &str) -> bool {
    is_http_url(text) && text.split_once("://").is_some_and(|(_, rest)| !rest.contains(['/', '?', '#', '@', '*']))
}

/// Whether a host is this machine: a socket's folder, `localhost` or a loopback address.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}
