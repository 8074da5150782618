//! Tests of the settings, which need nothing but text.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by failing")]

use std::cell::RefCell;
use std::collections::BTreeSet;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use secrecy::ExposeSecret as _;
use sqlx::postgres::PgSslMode;

use super::keep::*;
use super::reader::*;
use super::*;

const KEY: &str = "an-example-key-that-is-long-enough-to-sign";

/// The settings with these values, and nothing else.
fn with(values: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
    Config::from_lookup(&|name| values.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
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
    assert_eq!(config.allowed_hosts, ["localhost", "127.0.0.1", "::1"]);
    assert_eq!(config.cors_allowed_origins, ["http://localhost:3000", "http://127.0.0.1:3000"]);
    assert_eq!(config.registration, Registration::Open);
    assert_eq!(config.time_zone, Tz::Asia__Ho_Chi_Minh);
    assert_eq!(config.password_reset_url, "http://localhost:8000/reset/");
    assert_eq!(config.email_confirm_url, "http://localhost:8000/confirm-email/");
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
            at_fault(prod(&[("MIGRATION_DATABASE_URL", &format!("postgres://o:p@db.example.edu/cms?sslmode={mode}"))])),
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
fn times_are_read_with_and_without_a_unit() {
    let drain = |text| dev(&[("DRAIN_SECONDS", text)]).ok().map(|config| config.drain);
    assert_eq!(drain("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(drain("10s"), Some(Duration::from_secs(10)));
    assert_eq!(drain("45"), Some(Duration::from_secs(45)));
    assert_eq!(drain("2m"), Some(Duration::from_mins(2)));
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
fn traces_go_to_the_collectors_path_and_credentials_never_in_the_clear() {
    assert!(dev(&[("OTLP_SAMPLE", "0.5")]).unwrap().otlp.is_none());
    for endpoint in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"] {
        let otlp = prod(&[("OTLP_ENDPOINT", endpoint), ("OTLP_HEADERS", "x-key = demo")]).unwrap().otlp.unwrap();
        assert_eq!((otlp.url.as_str(), otlp.sample), ("http://127.0.0.1:4318/v1/traces", 1.0));
        assert!(otlp.headers["x-key"] == "demo" && !format!("{otlp:?}").contains("demo"));
    }
    let headers = ("OTLP_HEADERS", "Authorization=Basic ZGVtbzpkZW1v==,x-scope=a");
    let otlp = prod(&[("OTLP_ENDPOINT", "https://otlp.example.edu"), headers, ("OTLP_SAMPLE", "0")]).unwrap();
    let otlp = otlp.otlp.unwrap();
    assert_eq!((&otlp.headers["authorization"], otlp.sample), (&"Basic ZGVtbzpkZW1v==".parse().unwrap(), 0.0));
    let elsewhere = ("OTLP_ENDPOINT", "http://otlp.example.edu:4318");
    assert!(prod(&[elsewhere]).unwrap().otlp.unwrap().is_in_the_clear());
    assert_eq!(at_fault(prod(&[elsewhere, headers])), ["OTLP_ENDPOINT"]);
    for (name, wrong) in [
        ("OTLP_SAMPLE", "2"),
        ("OTLP_SAMPLE", "NaN"),
        ("OTLP_HEADERS", "Bearer secret"),
        ("OTLP_HEADERS", "x y=z"),
        ("OTLP_ENDPOINT", "127.0.0.1:4318"),
        ("OTLP_ENDPOINT", "https://user:secret@otlp.example.edu"),
        ("OTLP_ENDPOINT", "https://otlp.example.edu/?key=secret"),
    ] {
        let refused = dev(&[(name, wrong)]);
        assert!(!refused.as_ref().err().unwrap().to_string().contains("secret"));
        assert_eq!(at_fault(refused), [name], "{wrong}");
    }
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
