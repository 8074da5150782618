//! `swincms migrate`

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::database::{self, Opened};
use super::out;
use crate::config::{self, Config};
use crate::migrate::{self, Patience, Step, name};

/// What to do instead of running what has not run.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(super) struct Options {
    /// Lists what would run.
    #[arg(long, group = "instead")]
    plan: bool,
    /// Prints the statements of what would run.
    #[arg(long, group = "instead")]
    sql: bool,
    /// Lists all migrations, and whether each has run; also those that this program does not know.
    #[arg(long, group = "instead")]
    status: bool,
    /// Takes back the last N migrations, and with them the data in what they made: says what goes, and asks.
    #[arg(long, value_name = "N", group = "instead", value_parser = clap::value_parser!(u16).range(1..))]
    revert: Option<u16>,
    /// Does not ask: what --revert takes away is gone.
    #[arg(long, requires = "revert")]
    yes: bool,
    /// How long is tried for locks that others hold. No attempt waits longer than a second, so that nobody else waits long.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = patience)]
    patience: Duration,
}

fn patience(text: &str) -> Result<Duration, String> {
    let time = config::parse_duration(text).filter(|time| !time.is_zero() && *time <= Duration::from_hours(24));
    time.ok_or_else(|| "must be a time above zero and up to a day, such as 90s, 10m or 2h".to_owned())
}

impl Options {
    fn patience(&self) -> Patience {
        Patience { time: self.patience, tell: |says| eprintln!("{says}") }
    }
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
        let loss = migrate::loss(options.patience(), &owner, usize::from(count)).await?;
        out::print(&says(&loss))?;
        if !options.yes {
            confirm(loss.steps.len()).await?;
        }
        let gone = migrate::revert_within(options.patience(), &owner, usize::from(count)).await?;
        return list(gone.iter().map(|step| ("reverted", step)));
    }
    if options.status || options.plan || options.sql {
        return show(options, &migrate::status(&owner).await?, &migrate::unknown(&owner).await?);
    }
    let ran = migrate::up_within(options.patience(), &owner).await?;
    if ran.is_empty() {
        return current(migrate::status(&owner).await?.len());
    }
    list(ran.iter().map(|step| ("ran", step)))
}

fn show(options: &Options, steps: &[Step], unknown: &[i64]) -> anyhow::Result<()> {
    if options.status {
        let state = |step: &Step| match step {
            Step { changed: true, .. } => "changed",
            Step { applied: true, .. } => "applied",
            Step { .. } => "waiting",
        };
        list(steps.iter().map(|step| (state(step), step)))?;
        let lines = unknown.iter().map(|version| format!("unknown  {version} has run, and is not in this program\n"));
        return Ok(out::print(&lines.collect::<String>())?);
    }
    let waiting: Vec<&Step> = steps.iter().filter(|step| !step.applied).collect();
    if options.sql {
        let parts = waiting.iter().map(|step| format!("-- {}\n{}\n", name(step), step.sql.trim_end()));
        return Ok(out::print(&parts.collect::<Vec<_>>().concat())?);
    }
    if waiting.is_empty() {
        return current(steps.len());
    }
    list(waiting.into_iter().map(|step| ("would run", step)))
}

fn current(count: usize) -> anyhow::Result<()> {
    Ok(out::print(&format!("the schema is current: all {count} migrations have run\n"))?)
}

fn says(loss: &migrate::Loss) -> String {
    let steps = loss.steps.iter().map(|step| format!("takes back  {}\n", name(step)));
    let gone = loss.gone.iter().map(|gone| format!("lost        {gone}\n"));
    let untried =
        loss.untried.iter().map(|step| format!("lost        what is in what {step} made, which cannot be tried\n"));
    let nothing =
        (loss.gone.is_empty() && loss.untried.is_empty()).then(|| "lost        no table, column or row\n".to_owned());
    steps.chain(gone).chain(untried).chain(nothing).collect()
}

/// Asks on a terminal.
async fn confirm(count: usize) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!("nothing was taken back: this is no terminal to ask on; say --yes if what is lost may go");
    }
    let question = if count == 1 { "Take it back?".to_owned() } else { format!("Take these {count} back?") };
    let asked = tokio::task::spawn_blocking(move || {
        eprint!("{question} Type yes: ");
        io::stderr().flush()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        io::Result::Ok(line.trim() == "yes")
    });
    if !asked.await?? {
        bail!("nothing was taken back");
    }
    Ok(())
}

fn list<'s>(steps: impl Iterator<Item = (&'static str, &'s Step)>) -> anyhow::Result<()> {
    let lines: Vec<String> = steps.map(|(says, step)| format!("{says}  {}\n", name(step))).collect();
    Ok(out::print(&lines.concat())?)
}
