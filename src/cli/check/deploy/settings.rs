//! What the settings say.

use std::collections::HashSet;

use axum::http::Uri;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Check, Found};
use crate::config::{Config, Mail, MailTls, Registration};

/// The least a key that signs must have: characters, and different ones among them.
const LONG: usize = 32;
const VARIED: usize = 12;
/// Two keys that share as many characters in a row are alike.
const ALIKE: usize = 16;

/// All checks of the settings.
pub(in super::super) fn settings(config: &Config) -> Vec<Check> {
    vec![
        app_env(config).named("app_env"),
        key(&config.secret_key).named("secret_key"),
        key(&config.audit_key).named("audit_key"),
        keys(config).named("keys_differ"),
        webhooks(config).named("n8n_webhook_secret"),
        public_url(config).named("public_url"),
        hosts(config).named("allowed_hosts"),
        origins(config).named("cors_allowed_origins"),
        proxies(config).named("trusted_proxies"),
        https(config).named("secure_ssl_redirect"),
        registration(config).named("registration"),
        mail(config).named("mail"),
        log_level(config).named("log_level"),
        metrics(config).named("metrics_bind"),
        traces(config).named("otlp_endpoint"),
    ]
}

fn app_env(config: &Config) -> Found {
    if config.is_prod() {
        return Found::ok("prod");
    }
    Found::failed("dev: whatever matters for safety has a default", "Set APP_ENV=prod.")
}

fn key(key: &SecretString) -> Found {
    const REMEDY: &str = "Make a new one with: openssl rand -base64 48";
    let key = key.expose_secret();
    let (long, varied) = (key.chars().count(), key.chars().collect::<HashSet<_>>().len());
    if long < LONG {
        return Found::failed(format!("has {long} characters; at least {LONG} are needed"), REMEDY);
    }
    if varied < VARIED {
        return Found::failed(format!("has {varied} different characters, and so is no random key"), REMEDY);
    }
    Found::ok(format!("{long} characters"))
}

fn keys(config: &Config) -> Found {
    let mut keys = vec![("SECRET_KEY", &config.secret_key), ("AUDIT_KEY", &config.audit_key)];
    keys.extend(config.n8n_webhook_secret.as_ref().map(|secret| ("N8N_WEBHOOK_SECRET", secret)));
    let pairs = keys.iter().enumerate().flat_map(|(at, one)| keys.iter().skip(at + 1).map(move |other| (one, other)));
    for ((one_name, one), (other_name, other)) in pairs {
        if are_alike(one.expose_secret(), other.expose_secret()) {
            let detail = format!("{one_name} and {other_name} are alike: who learns one knows much of the other");
            return Found::failed(detail, "Make each on its own with: openssl rand -base64 48");
        }
    }
    Found::ok(format!("{} secrets, none like another", keys.len()))
}

/// Whether two texts are the same or have [`ALIKE`] characters in a row in common.
fn are_alike(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    one == other || one.windows(ALIKE).any(|part| other.windows(ALIKE).any(|rest| part == rest))
}

fn webhooks(config: &Config) -> Found {
    match &config.n8n_webhook_secret {
        Some(_) => Found::ok("calls from n8n must show it"),
        None => Found::ok("none: calls from n8n are refused"),
    }
}

fn public_url(config: &Config) -> Found {
    let Some(url) = &config.public_url else {
        return Found::failed(
            "is not set, so links are made from what clients send",
            "Set PUBLIC_URL to the https address that users open.",
        );
    };
    if !url.starts_with("https://") {
        return Found::failed(format!("{url} is not https"), "Set PUBLIC_URL to an https address.");
    }
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
    if !config.allows_host(&host) {
        return Found::failed(
            format!("{host} is not among ALLOWED_HOSTS, so whoever opens {url} is refused"),
            "Add the host to ALLOWED_HOSTS.",
        );
    }
    Found::ok(url)
}

fn hosts(config: &Config) -> Found {
    let hosts = config.allowed_hosts.join(",");
    if config.allowed_hosts.iter().any(|host| host == "*") {
        return Found::failed("every host is answered", "List the host names that users open in ALLOWED_HOSTS.");
    }
    let local = |host: &String| host == "localhost" || host == "127.0.0.1";
    if config.allowed_hosts.iter().all(local) {
        return Found::warning(
            format!("{hosts}: only this machine is answered"),
            "List the host names that users open in ALLOWED_HOSTS.",
        );
    }
    Found::ok(hosts)
}

fn origins(config: &Config) -> Found {
    const REMEDY: &str = "List the https origins of the web pages that call the server in CORS_ALLOWED_ORIGINS.";
    if config.cors_allowed_origins.iter().any(|origin| origin == "*") {
        return Found::failed("every web page may call the server", REMEDY);
    }
    let plain: Vec<&str> = config
        .cors_allowed_origins
        .iter()
        .filter(|origin| !origin.starts_with("https://"))
        .map(String::as_str)
        .collect();
    if !plain.is_empty() {
        return Found::failed(format!("{} can be read and changed on its way", plain.join(",")), REMEDY);
    }
    Found::ok(config.cors_allowed_origins.join(","))
}

fn proxies(config: &Config) -> Found {
    const REMEDY: &str = "Set TRUSTED_PROXIES to the addresses of the proxies in front, and to nothing else.";
    if config.trusted_proxies.iter().any(crate::config::IpNet::is_everything) {
        return Found::failed("everybody is believed to be a proxy, and may say where they come from", REMEDY);
    }
    if !config.trusted_proxies.is_empty() {
        return Found::ok(format!("{} addresses or ranges", config.trusted_proxies.len()));
    }
    if config.secure_ssl_redirect {
        return Found::failed("none: behind a proxy every request is taken for http and redirected for ever", REMEDY);
    }
    Found::warning("none: behind a proxy all clients seem to have its address, and share its limits", REMEDY)
}

fn https(config: &Config) -> Found {
    if config.secure_ssl_redirect {
        return Found::ok("what comes over http is sent to https");
    }
    Found::warning(
        "what comes over http is answered, unless a proxy redirects it",
        "Leave SECURE_SSL_REDIRECT at its default for prod, true.",
    )
}

fn registration(config: &Config) -> Found {
    match config.registration {
        Registration::Closed => Found::ok("administrators make accounts"),
        Registration::Confirmed => Found::ok("whoever confirms an address may make a student account"),
        Registration::Open => {
            Found::warning("anyone may make a student account", "Set REGISTRATION=closed, unless that is meant.")
        }
    }
}

fn mail(config: &Config) -> Found {
    match &config.mail {
        Mail::Files(_) => Found::failed("mails are written to files", "Set EMAIL_HOST to the mail server."),
        Mail::Smtp { host, tls: MailTls::None, .. } if !crate::config::is_loopback(host) => Found::warning(
            format!("links that reset passwords travel to {host} in the clear"),
            "Set EMAIL_USE_TLS=true, if the mail server can.",
        ),
        Mail::Smtp { host, .. } => Found::ok(host),
    }
}

fn log_level(config: &Config) -> Found {
    if ["debug", "trace"].iter().any(|much| config.log_level.to_ascii_lowercase().contains(much)) {
        return Found::warning(
            format!("{}: the log grows fast and says much", config.log_level),
            "Set LOG_LEVEL=info; SIGUSR1 logs more for as long as it is needed.",
        );
    }
    Found::ok(&config.log_level)
}

fn metrics(config: &Config) -> Found {
    match config.metrics_bind {
        None => Found::ok("none: nothing is measured"),
        Some(address) if address.ip().is_unspecified() => Found::warning(
            format!("{address}: whoever reaches this machine can read the metrics"),
            "Set METRICS_BIND to an address that only Prometheus reaches, or see that a firewall or the container's network keeps others out.",
        ),
        Some(address) => Found::ok(address.to_string()),
    }
}

fn traces(config: &Config) -> Found {
    let Some(otlp) = &config.otlp else { return Found::ok("none: no traces are recorded") };
    let url = otlp.url.parse::<Uri>().ok();
    let host = url.as_ref().and_then(Uri::host).unwrap_or_default();
    if otlp.is_in_the_clear() {
        return Found::warning(
            format!("paths and statements travel to {host} in the clear"),
            "Set OTLP_ENDPOINT to an https address, or to a collector on this machine.",
        );
    }
    Found::ok(format!("{host}, a share of {}", otlp.sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_alike_when_much_of_one_stands_in_the_other() {
        assert!(are_alike("one secret for everything", "one secret for everything"));
        assert!(are_alike("0123456789abcdefg-secret", "audit-0123456789abcdefg"));
        assert!(!are_alike("0123456789abcd-secret-key", "0123456789abcd-audit-key"));
        assert!(!are_alike("", "something"));
    }
}
