//! `swincms check`: whether the server would run as it is configured, and with `--deploy` whether it should.

mod deploy;

use std::borrow::Cow;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::database::{self, Opened};
use super::out;
use crate::config::{Config, ConfigFaults, Database};
use crate::files::FileStore;
use crate::telemetry::causes;
use crate::users::mail;
use crate::{db, migrate};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Prints JSON: `{"ok": …, "checks": [{"name", "status", "detail", "remedy"}]}`.
    #[arg(long)]
    json: bool,
    /// Also checks all that a production deployment needs, and says what to do about each fault.
    #[arg(long)]
    deploy: bool,
    /// Also sends a trial mail to this address, and says what the mail server said.
    #[arg(long, value_name = "TO")]
    mail: Option<String>,
    /// How many server processes share the database.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "deploy", value_parser = clap::value_parser!(u32).range(1..=1000))]
    processes: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Check {
    name: Cow<'static, str>,
    status: Status,
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<Cow<'static, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// It runs, but it could be better.
    Warning,
    Failed,
    /// Another check has failed before it, or there is nothing to look at.
    Skipped,
}

impl Check {
    fn of(name: &'static str, found: anyhow::Result<String>) -> Self {
        let (status, detail) = match found {
            Ok(detail) => (Status::Ok, detail),
            Err(error) => (Status::Failed, causes(error.as_ref())),
        };
        Self { name: name.into(), status, detail, remedy: None }
    }

    fn skipped(name: &'static str) -> Self {
        Self { name: name.into(), status: Status::Skipped, detail: String::new(), remedy: None }
    }

    fn line(&self) -> String {
        let mark = match self.status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Failed => "FAILED",
            Status::Skipped => "skipped",
        };
        let line =
            format!("{mark:<8} {:<22} {}", self.name, self.detail.replace('\n', "\n                                "));
        let remedy = self.remedy.as_ref().map(|remedy| format!("\n         {:<22} → {remedy}", "")).unwrap_or_default();
        format!("{}{remedy}\n", line.trim_end())
    }
}

/// Looks at the configuration, the database, the schema and the file store.
///
/// # Errors
/// When something is not as it must be.
pub(super) async fn run(options: Options, config: Result<Config, ConfigFaults>) -> anyhow::Result<()> {
    let checks = match config {
        Ok(config) => {
            let mut checks = all(&config, options.deploy.then_some(options.processes)).await?;
            if let Some(to) = &options.mail {
                let sent = mail::send_trial(&config, to).await;
                checks.push(Check::of("trial_mail", sent.map(|said| format!("sent to {to}: {said}"))));
            }
            checks
        }
        Err(faults) if options.deploy => deploy::faults(faults),
        Err(faults) => vec![
            Check::of("configuration", Err(faults.into())),
            Check::skipped("database"),
            Check::skipped("migrations"),
            Check::skipped("files"),
        ],
    };
    let failed = checks.iter().filter(|check| check.status == Status::Failed).count();
    let report = Report { ok: failed == 0, checks };
    let text = if options.json {
        format!("{}\n", serde_json::to_string_pretty(&report)?)
    } else {
        report.checks.iter().map(Check::line).collect()
    };
    out::print(&text)?;
    match failed {
        0 => Ok(()),
        1 => bail!("1 check has failed"),
        many => bail!("{many} checks have failed"),
    }
}

/// With a number of processes, also what a deployment needs.
async fn all(config: &Config, processes: Option<u32>) -> anyhow::Result<Vec<Check>> {
    let mode = if config.is_prod() { "prod" } else { "dev" };
    let mut checks = vec![Check::of("configuration", Ok(mode.to_owned()))];
    match database::open(config).await {
        Ok(opened) => {
            let database = Check::of("database", reach(config, &opened).await);
            let reached = database.status == Status::Ok;
            checks.push(database);
            let migrations = if reached {
                Check::of("migrations", schema(config, &opened).await)
            } else {
                Check::skipped("migrations")
            };
            let is_current = migrations.status == Status::Ok;
            checks.push(migrations);
            if let Some(processes) = processes.filter(|_| reached) {
                checks.extend(deploy::database(config, &opened, processes, is_current).await?);
            }
            opened.close().await?;
        }
        Err(error) => {
            checks.push(Check::of("database", Err(error)));
            checks.push(Check::skipped("migrations"));
        }
    }
    checks.push(Check::of("files", write_files(&config.media_root).await));
    if processes.is_some() {
        checks.extend(deploy::settings(config));
        checks.extend(deploy::machine(config));
    }
    Ok(checks)
}

async fn reach(config: &Config, opened: &Opened) -> anyhow::Result<String> {
    let options = db::session(config, opened.options());
    let connect = timeout(config.db_connect_timeout, PgConnection::connect_with(&options));
    let mut conn = connect
        .await
        .with_context(|| format!("no answer within {} s", config.db_connect_timeout.as_secs_f64()))?
        .context("it cannot be reached")?;
    let version = sqlx::query_scalar!(r#"select current_setting('server_version') as "version!""#);
    let version = version.fetch_one(&mut conn).await?;
    conn.close().await?;
    let which = match &config.database {
        Database::Embedded => "the private cluster",
        Database::Server(_) => "a server",
    };
    Ok(format!("PostgreSQL {version}, {which}"))
}

async fn schema(config: &Config, opened: &Opened) -> anyhow::Result<String> {
    let steps = migrate::status(&opened.owner(config)).await?;
    let waiting: Vec<String> = steps
        .iter()
        .filter(|step| !step.applied)
        .map(|step| format!("{} {}", step.version, step.description))
        .collect();
    if !waiting.is_empty() {
        bail!("{} have not run; run `swincms migrate`:\n{}", waiting.len(), waiting.join("\n"));
    }
    Ok(format!("all {} have run", steps.len()))
}

/// Writes a file of our own into both folders, and removes it.
async fn write_files(root: &Path) -> anyhow::Result<String> {
    FileStore::new(root).prepare().with_context(|| format!("{} cannot be made (MEDIA_ROOT)", root.display()))?;
    for folder in ["public", "private"] {
        let path = root.join(folder).join(format!("{}.partial", Uuid::new_v4().simple()));
        let tried = tokio::fs::write(&path, b"written by `swincms check`\n").await;
        tried.with_context(|| format!("{} cannot be written (MEDIA_ROOT)", root.join(folder).display()))?;
        tokio::fs::remove_file(&path).await?;
    }
    Ok(format!("{} can be written", root.display()))
}
