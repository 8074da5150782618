//! `swincms check`: whether the server would run as it is configured, and with `--deploy` whether it should.

mod deploy;

use std::borrow::Cow;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

use super::database::{self, Opened};
use super::out;
use crate::config::{Config, ConfigFaults, Database};
use crate::files::FileStore;
use crate::health::{self, Fault};
use crate::migrate::{self, Step, name};
use crate::telemetry::causes;
use crate::users::mail;
use crate::{db, rights};

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
            Check::skipped("writable"),
            Check::skipped("rights"),
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

/// What can only be looked at in a database that was reached.
const AFTER_THE_DATABASE: [&str; 3] = ["migrations", "writable", "rights"];

/// With a number of processes, also what a deployment needs.
async fn all(config: &Config, processes: Option<u32>) -> anyhow::Result<Vec<Check>> {
    let mode = if config.is_prod() { "prod" } else { "dev" };
    let mut checks = vec![Check::of("configuration", Ok(mode.to_owned()))];
    if !config.file_warnings.is_empty() {
        checks.push(Check {
            name: "env_file".into(),
            status: Status::Warning,
            detail: config.file_warnings.join("\n"),
            remedy: Some("Put the lines of .env right.".into()),
        });
    }
    match database::open(config).await {
        Ok(opened) => {
            let database = Check::of("database", reach(config, &opened).await);
            let reached = database.status == Status::Ok;
            checks.push(database);
            let migrations = if reached { schema(config, &opened).await } else { Check::skipped("migrations") };
            let is_current = matches!(migrations.status, Status::Ok | Status::Warning);
            checks.push(migrations);
            checks.extend(served(config, &opened, reached, is_current).await);
            if let Some(processes) = processes.filter(|_| reached) {
                checks.extend(deploy::database(config, &opened, processes, is_current).await?);
            }
            opened.close().await?;
        }
        Err(error) => {
            checks.push(Check::of("database", Err(error)));
            checks.extend(AFTER_THE_DATABASE.map(Check::skipped));
        }
    }
    checks.push(Check::of("files", write_files(config).await));
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

/// Migrations that have not run or have run otherwise are faults; those of a newer program it can live with.
async fn schema(config: &Config, opened: &Opened) -> Check {
    const NAME: &str = "migrations";
    let owner = opened.owner(config);
    let (steps, unknown) = match (migrate::status(&owner).await, migrate::unknown(&owner).await) {
        (Ok(steps), Ok(unknown)) => (steps, unknown),
        (Err(error), _) | (_, Err(error)) => return Check::of(NAME, Err(error)),
    };
    let named = |is_one: fn(&Step) -> bool| steps.iter().filter(|step| is_one(step)).map(name).collect::<Vec<_>>();
    let (changed, waiting) = (named(|step| step.changed), named(|step| !step.applied));
    if !changed.is_empty() {
        let says =
            "ran here otherwise than they stand in this program; use the released version that the database has seen";
        return Check::of(NAME, Err(anyhow!("{} {says}:\n{}", changed.len(), changed.join("\n"))));
    }
    if !waiting.is_empty() {
        return Check::of(
            NAME,
            Err(anyhow!("{} have not run; run `swincms migrate`:\n{}", waiting.len(), waiting.join("\n"))),
        );
    }
    let all = Check::of(NAME, Ok(format!("all {} have run", steps.len())));
    if unknown.is_empty() {
        return all;
    }
    let unknown: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    Check {
        status: Status::Warning,
        detail: format!(
            "{}; the schema is that of a newer program ({}), and this one runs with it as it is",
            all.detail,
            unknown.join(", ")
        ),
        remedy: Some("Go on to the release that the schema belongs to when it is in order again.".into()),
        ..all
    }
}

/// Whether requests would be served: what `/health/ready` asks of the database, as the server's own role.
async fn served(config: &Config, opened: &Opened, reached: bool, is_current: bool) -> [Check; 2] {
    let [_, writable, rights] = AFTER_THE_DATABASE;
    if !reached {
        return [Check::skipped(writable), Check::skipped(rights)];
    }
    let options = db::session(config, opened.options());
    let asked = async {
        let mut conn = PgConnection::connect_with(&options).await?;
        let unwritable = health::writable(&mut conn).await?;
        // What migrations would make is missing, of course.
        let lacking = if is_current { Some(rights::lacking(&mut conn).await?) } else { None };
        conn.close().await?;
        Ok::<_, sqlx::Error>((unwritable, lacking))
    };
    match asked.await {
        Err(error) => [writable, rights].map(|name| Check::of(name, Err(anyhow!("it could not be asked: {error}")))),
        Ok((unwritable, lacking)) => {
            let found = match unwritable {
                None => Ok("the database can be written".to_owned()),
                Some(fault) => Err(anyhow!("{fault}")),
            };
            let lacking = match lacking {
                None => Check::skipped(rights),
                Some(lacking) if lacking.is_nothing() => {
                    Check::of(rights, Ok("the role may do all that the server does".to_owned()))
                }
                Some(lacking) => Check::of(rights, Err(anyhow!("{}", Fault::Lacking(lacking)))),
            };
            [Check::of(writable, found), lacking]
        }
    }
}

/// Writes a file of our own into both folders, and removes it.
async fn write_files(config: &Config) -> anyhow::Result<String> {
    let root = &config.media_root;
    FileStore::new(root).prepare().with_context(|| format!("{} cannot be made (MEDIA_ROOT)", root.display()))?;
    for folder in ["public", "private"] {
        let path = root.join(folder).join(format!("{}.partial", Uuid::new_v4().simple()));
        let tried = tokio::fs::write(&path, b"written by `swincms check`\n").await;
        tried.with_context(|| format!("{} cannot be written (MEDIA_ROOT)", root.join(folder).display()))?;
        tokio::fs::remove_file(&path).await?;
    }
    if let Some(fault) = health::fault_of_files(root, config.max_upload_bytes as u64) {
        bail!("{fault}");
    }
    Ok(format!("{} can be written", root.display()))
}
