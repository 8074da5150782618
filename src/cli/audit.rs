//! `swincms audit`: the check of the log; and the log's rows for what is done at the command line, where there is no caller
//! and no request.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::Value;
use sqlx::PgConnection;

use super::{database, out};
use crate::audit::{Report, verify};
use crate::config::Config;
use crate::ids::Id;

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Compares the audit log with its seals, and names each row that was changed by hand.
    #[command(
        after_help = "Example:\n  swincms audit verify\n  swincms audit verify --head 812:5b1e…   # as the server's log has it"
    )]
    Verify(Options),
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Prints JSON: `{"ok": …, "rows": …, "head": …, "faults": [{"row", "seal", "says"}]}`.
    #[arg(long)]
    json: bool,
    /// A head that was noted before, which must still be in the chain.
    #[arg(long, value_name = "SEAL:HMAC")]
    head: Option<String>,
}

/// Does what `swincms audit …` asks for.
///
/// # Errors
/// When the log is not as it was sealed.
pub(super) async fn run(what: What, config: Config) -> anyhow::Result<()> {
    let What::Verify(options) = what;
    let key = config.audit_key.clone();
    let report = database::with(config, async |pool| {
        verify(pool, &key, options.head.as_deref()).await.map_err(anyhow::Error::from)
    })
    .await?;
    out::print(&if options.json { format!("{}\n", serde_json::to_string_pretty(&report)?) } else { text(&report) })?;
    match report.faults.len() {
        0 => Ok(()),
        1 => bail!("1 fault in the audit log"),
        many => bail!("{many} faults in the audit log"),
    }
}

fn text(report: &Report) -> String {
    let mut lines = vec![
        format!("rows   {}, of which {} are not sealed yet", report.rows, report.not_sealed_yet),
        format!("erased {} details, {} addresses and programs", report.details_erased, report.origins_erased),
        format!("seals  {}, over {} rows", report.seals, report.sealed),
        format!("head   {}", report.head.as_deref().unwrap_or("none")),
    ];
    lines.extend(report.faults.iter().map(|fault| fault.says.clone()));
    if report.ok {
        lines.push("The audit log is as it was sealed.".to_owned());
    }
    lines.join("\n") + "\n"
}

/// Writes what was done to what.
///
/// # Errors
/// The database's failure.
pub(super) async fn note(
    tx: &mut PgConnection,
    action: &str,
    resource_type: &str,
    resource_id: Option<Id>,
    details: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into audit_log (action, resource_type, resource_id, details, user_agent)
         values ($1, $2, $3, $4, 'swincms command line')",
        action,
        resource_type,
        resource_id.map(|id| id.0),
        details
    )
    .execute(tx)
    .await?;
    Ok(())
}
