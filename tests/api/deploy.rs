//! `swincms check --deploy`, on set-ups as they should be and as they should not.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use swincms::clock::Clock;
use swincms::config::Config;
use swincms::{dev_database, migrate, rights};

use crate::cli::{Said, swincms, swincms_with};
use crate::support::TestApp;

const SOUND: [(&str, &str); 9] = [
    ("APP_ENV", "prod"),
    ("SECRET_KEY", "mY6vGq0xRk2fB9tZ5wLs8nEj3hUc7dPa"),
    ("AUDIT_KEY", "Xo4TzN1eWi6QyK9rVb2SgJ8pHf5MlCuD"),
    ("N8N_WEBHOOK_SECRET", "a6c1f5b0e9d84723"),
    ("PUBLIC_URL", "https://cms.example.edu"),
    ("ALLOWED_HOSTS", "cms.example.edu"),
    ("CORS_ALLOWED_ORIGINS", "https://app.example.edu"),
    ("TRUSTED_PROXIES", "127.0.0.1"),
    ("EMAIL_HOST", "mail.example.edu"),
];

/// Runs the check and gives each check's status; those that are not in order say what to do.
async fn check(app: &TestApp, settings: &[(&str, &str)]) -> (Said, BTreeMap<String, String>) {
    let settings = [&[("EMAIL_FROM", "SwinCMS <noreply@example.edu>")], settings].concat();
    let said = swincms_with(app, &["check", "--deploy", "--json"], &settings, "").await;
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let mut found = BTreeMap::new();
    for check in report["checks"].as_array().unwrap() {
        let (name, status) = (check["name"].as_str().unwrap(), check["status"].as_str().unwrap());
        // What `swincms check` looks at anyway says what to do in its text.
        let by_itself = ["database", "migrations", "writable", "rights", "files"].contains(&name);
        assert!(check["remedy"].is_string() || status == "ok" || by_itself, "{check}");
        assert!(check["remedy"].is_null() || status != "ok", "{check}");
        assert!(found.insert(name.to_owned(), status.to_owned()).is_none(), "{name} is there twice");
    }
    // How much room the machine has that the tests run on is not theirs to say.
    found.remove("disk").unwrap_or_default();
    let failed = found.values().any(|status| status == "failed");
    assert_eq!((report["ok"] == true, said.code), if failed { (false, Some(1)) } else { (true, Some(0)) }, "{report}");
    for (name, value) in settings {
        let secret = name.ends_with("_KEY") || name.ends_with("_SECRET");
        assert!(!secret || !said.out.contains(value), "{name} is shown");
    }
    (said, found)
}

/// The names of those that are not in order.
fn faults(found: &BTreeMap<String, String>) -> Vec<&str> {
    found.iter().filter(|(_, status)| *status != "ok").map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn a_durable_server_with_a_least_privileged_role_is_in_order_and_each_fault_is_named_alone() {
    let app = TestApp::start().await;
    let folder = app.folder().join("deploy");
    let data_dir = folder.display().to_string();
    let lookup = |name: &str| match name {
        "DATA_DIR" => Some(data_dir.clone()),
        "SECRET_KEY" => Some("unused".to_owned()),
        _ => None,
    };
    // As durable as PostgreSQL is, unlike the cluster of the tests.
    let cluster = dev_database::ensure(&Config::from_lookup(&lookup).unwrap()).await.unwrap();
    let owner = cluster.options();
    // Migrating is no `Send` future.
    let (theirs, handle) = (owner.clone(), tokio::runtime::Handle::current());
    tokio::task::spawn_blocking(move || handle.block_on(migrate::up(&theirs))).await.unwrap().unwrap();
    let mut admin = PgConnection::connect_with(&owner).await.unwrap();
    let prepare = "
        create role application login;
        grant select, insert, update on all tables in schema public to application;
        grant delete on sessions to application;
        grant usage on all sequences in schema public to application;
        revoke update on audit_seals from application;
        alter system set log_timezone = 'UTC';
        insert into users (email, username, password_hash, user_type)
        values ('ada@example.edu', 'ada', 'none', 'admin'), ('eve@example.edu', 'eve', 'none', 'admin');";
    let deletes = rights::deleted_from().join(", ");
    let prepare = prepare.replace("grant delete on sessions", &format!("grant delete on {deletes}"));
    for statement in prepare.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        admin.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    }
    for statement in [
        "alter database swincms set work_mem = '16MB'",
        "alter database swincms set random_page_cost = 1.1",
        "select pg_reload_conf()",
    ] {
        admin.execute(statement).await.unwrap();
    }
    let backups = folder.join("backups");
    let newest = Clock::system().now().format("swincms-%Y%m%dT%H%M%SZ").to_string();
    std::fs::create_dir_all(backups.join(&newest)).unwrap();
    let verdict = Clock::system().now().format("good\t%Y-%m-%dT%H:%M:%SZ\t\n").to_string();
    std::fs::write(backups.join(newest).join("verdict"), verdict).unwrap();
    std::fs::create_dir_all(backups.join("swincms-20200101T000000Z")).unwrap();
    let url = owner.clone().username("application").to_url_lossy().to_string();
    let backups = backups.display().to_string();
    let sound = [&SOUND[..], &[("DATABASE_URL", url.as_str()), ("BACKUP_DIR", backups.as_str())]].concat();
    let (said, found) = check(&app, &sound).await;
    assert_eq!(faults(&found), [""; 0], "{}", said.out);
    assert_eq!(found.len(), 42, "{found:?}");

    for (plant, remove, name) in [
        ("alter role application createdb", "alter role application nocreatedb", "role"),
        (
            "grant create on schema public to application",
            "revoke create on schema public from application",
            "role_creates_nothing",
        ),
        (
            "grant delete on audit_log to application",
            "revoke delete on audit_log from application",
            "role_keeps_records",
        ),
        (
            "grant update on audit_seals to application",
            "revoke update on audit_seals from application",
            "role_keeps_records",
        ),
        (
            "grant delete on gold_transactions to application",
            "revoke delete on gold_transactions from application",
            "role_keeps_records",
        ),
        ("grant truncate on units to application", "revoke truncate on units from application", "role_keeps_records"),
        (
            "alter role application set synchronous_commit = off",
            "alter role application reset synchronous_commit",
            "durability",
        ),
        ("alter role application connection limit 10", "alter role application connection limit -1", "max_connections"),
        ("alter role application set swincms.now = '2020-01-01'", "alter role application reset swincms.now", "clock"),
    ] {
        admin.execute(plant).await.unwrap();
        let (_, found) = check(&app, &sound).await;
        assert_eq!(faults(&found), [name], "{plant}");
        admin.execute(remove).await.unwrap();
    }
    // What the database does not let it see is a fault like others.
    admin.execute("revoke select on _sqlx_migrations from application").await.unwrap();
    let (_, found) = check(&app, &sound).await;
    assert_eq!(faults(&found), ["migrations", "rights"]);
    admin.execute("grant select on _sqlx_migrations to application").await.unwrap();
    // Whoever can become the owner is as good as the owner.
    admin.execute("create role owner").await.unwrap();
    admin.execute("alter table pages owner to owner").await.unwrap();
    admin.execute("grant owner to application").await.unwrap();
    let (said, found) = check(&app, &sound).await;
    // An owner may also truncate.
    assert!(faults(&found).contains(&"role_owns_nothing"), "{}", said.out);
    assert!(said.out.contains("the table pages"), "{}", said.out);
    admin.close().await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn every_planted_fault_of_a_bad_set_up_is_named() {
    let app = TestApp::start().await;
    let mut conn = PgConnection::connect_with(&app.options()).await.unwrap();
    for statement in [
        "insert into users (email, username, password_hash) values ('Convenor@swin.edu.au', 'c', 'none')",
        "insert into users (email, username, password_hash) values ('demo000007@swin.edu.au', 'd', 'none')",
        "insert into users (email, username, password_hash, is_active) values ('admin@swin.edu.au', 'a', 'none', false)",
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (20990101000000, 'of another release', true, '', 0)",
        "drop extension pg_trgm cascade",
        "update pg_collation set collversion = '1.0' where collname = 'vi-x-icu'",
    ] {
        conn.execute(statement).await.unwrap();
    }
    let backups = app.folder().join("backups");
    std::fs::create_dir_all(backups.join("swincms-20200101T000000Z")).unwrap();
    let backups = backups.display().to_string();
    let bad = [
        ("SECRET_KEY", "abcabcabcabcabcabcabcabcabcabcabcabcabc"),
        ("AUDIT_KEY", "abcabcabcabcabcabcabc"),
        ("ALLOWED_HOSTS", "*"),
        ("PUBLIC_URL", "http://cms.example.edu"),
        ("CORS_ALLOWED_ORIGINS", "http://app.example.edu"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0"),
        ("LOG_LEVEL", "info,sqlx=debug"),
        ("METRICS_BIND", "0.0.0.0:9100"),
        ("OTLP_ENDPOINT", "http://collector.example.edu:4318"),
        ("DB_POOL_SIZE", "500"),
        ("DB_STATEMENT_TIMEOUT", "60s"),
        ("BACKUP_DIR", backups.as_str()),
    ];
    let (said, found) = check(&app, &bad).await;
    let with = |status: &str| -> Vec<&str> {
        found.iter().filter(|(_, found)| *found == status).map(|(name, _)| name.as_str()).collect()
    };
    let failed = [
        "allowed_hosts",
        "app_env",
        "audit_key",
        "backup",
        "clock",
        "collations",
        "cors_allowed_origins",
        "demo_accounts",
        "durability",
        "extensions",
        "keys_differ",
        "mail",
        "max_connections",
        "public_url",
        "role",
        "role_creates_nothing",
        "role_keeps_records",
        "role_owns_nothing",
        "secret_key",
        "trusted_proxies",
    ];
    assert_eq!(with("failed"), failed, "{}", said.out);
    let mut warned = with("warning");
    // As the machine's own zone is.
    warned.retain(|name| *name != "time_zone");
    let warnings = [
        "administrators",
        "log_level",
        "metrics_bind",
        "migrations",
        "otlp_endpoint",
        "random_page_cost",
        "registration",
        "secure_ssl_redirect",
        "statement_timeout",
        "work_mem",
    ];
    assert_eq!(warned, warnings, "{}", said.out);
    assert!(said.out.contains("Convenor@swin.edu.au, demo000007@swin.edu.au: "), "{}", said.out);
    assert!(said.out.contains("of a newer program (20990101000000)"), "{}", said.out);
    assert!(said.out.contains("vi-x-icu: of another version"), "{}", said.out);

    // For people, the same with what to do.
    let said = swincms_with(&app, &["check", "--deploy"], &bad, "").await;
    assert!(said.out.contains("FAILED   app_env") && said.out.contains("→ Set APP_ENV=prod.\n"), "{}", said.out);
    assert!(said.bad().contains("checks have failed"));
    // And without `--deploy` nothing of it is looked at.
    assert!(swincms(&app, &["check"]).await.ok);
}

#[tokio::test]
async fn migrations_that_have_not_run_fail_and_a_missing_backup_folder_is_skipped() {
    let app = TestApp::start().await;
    assert!(swincms(&app, &["migrate", "--revert", "1", "--yes"]).await.ok);
    let (_, found) = check(&app, &SOUND).await;
    assert_eq!(found["migrations"], "failed");
    assert_eq!(found["backup"], "skipped");
    assert!(!found.contains_key("demo_accounts"), "there may be no tables to look into");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named_one_by_one_with_what_to_do() {
    let app = TestApp::start().await;
    let unusable = [("ALLOWED_HOSTS", "*"), ("PUBLIC_URL", "http://cms.example.edu"), ("AUDIT_KEY", "tiny-7-key")];
    let (said, found) = check(&app, &[&SOUND[..], &unusable].concat()).await;
    assert_eq!(faults(&found), ["ALLOWED_HOSTS", "AUDIT_KEY", "PUBLIC_URL", "database", "files"]);
    assert!(said.out.contains("make one with: openssl rand"), "{}", said.out);
}

#[tokio::test]
async fn a_single_administrator_is_told_of() {
    let app = TestApp::start().await;
    let told = async || {
        let said = swincms_with(&app, &["check", "--deploy", "--json"], &[], "").await;
        let checks: Value = serde_json::from_str(&said.out).unwrap();
        let check = checks["checks"].as_array().unwrap().iter().find(|check| check["name"] == "administrators");
        let check = check.expect("the check").clone();
        (check["status"].as_str().unwrap().to_owned(), check["detail"].as_str().unwrap().to_owned())
    };
    app.admin().await;
    assert_eq!(told().await, ("warning".to_owned(), "there is one only".to_owned()));
    app.admin().await;
    assert_eq!(told().await, ("ok".to_owned(), "2".to_owned()));
}
