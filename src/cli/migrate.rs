//! `swincms migrate`

use clap::Args;

use super::database::{self, Opened};
use super::out;
use crate::config::Config;
use crate::migrate::{self, Step};

/// What to do instead of running what has not run.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Lists what would run.
    #[arg(long, group = "instead")]
    plan: bool,
    /// Prints the statements of what would run.
    #[arg(long, group = "instead")]
    sql: bool,
    /// Lists all migrations, and whether each has run.
    #[arg(long, group = "instead")]
    status: bool,
    /// Takes back the last N migrations, and with them the data in what they made.
    #[arg(long, value_name = "N", group = "instead", value_parser = clap::value_parser!(u16).range(1..))]
    revert: Option<u16>,
}

/// Brings the schema up to date, or says what that would do, or goes back.
///
/// # Errors
/// When the database cannot be reached, another session blocks it, or a migration fails.
pub(super) async fn run(options: Options, config: Config) -> anyhow::Result<()> {
    let opened = database::open(&config).await?;
    let done = carry_out(&options, &opened, &config).await;
    opened.close().await?;
    done
}

async fn carry_out(options: &Options, opened: &Opened, config: &Config) -> anyhow::Result<()> {
    let owner = opened.owner(config);
    if let Some(count) = options.revert {
        let gone = migrate::revert(&owner, usize::from(count)).await?;
        return list(gone.iter().map(|step| ("reverted", step)));
    }
    let steps = migrate::status(&owner).await?;
    if options.status {
        return list(steps.iter().map(|step| (if step.applied { "applied" } else { "waiting" }, step)));
    }
    let waiting: Vec<&Step> = steps.iter().filter(|step| !step.applied).collect();
    if options.sql {
        let parts = waiting.iter().map(|step| format!("-- {}\n{}\n", name(step), step.sql.trim_end()));
        return Ok(out::print(&parts.collect::<Vec<_>>().concat())?);
    }
    if !options.plan {
        migrate::up(&owner).await?;
    }
    if waiting.is_empty() {
        return Ok(out::print(&format!("the schema is current: all {} migrations have run\n", steps.len()))?);
    }
    let says = if options.plan { "would run" } else { "ran" };
    list(waiting.into_iter().map(|step| (says, step)))
}

fn list<'s>(steps: impl Iterator<Item = (&'static str, &'s Step)>) -> anyhow::Result<()> {
    let lines: Vec<String> = steps.map(|(says, step)| format!("{says}  {}\n", name(step))).collect();
    Ok(out::print(&lines.concat())?)
}

fn name(step: &Step) -> String {
    format!("{} {}", step.version, step.description)
}
