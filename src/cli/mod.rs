//! The command line.

mod audit;
mod check;
mod database;
mod hashing;
mod import;
mod migrate;
mod out;
mod seed;
mod serve;
mod superuser;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::telemetry;

/// Course management server for a university.
#[derive(Debug, Parser)]
#[command(
    name = "swincms",
    version,
    about,
    after_help = "Settings come from the environment and .env; see .env.example.\n\nExample:\n  swincms seed && swincms"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the API (the default).
    #[command(after_help = "Example:\n  BIND=127.0.0.1:8000 swincms serve")]
    Serve,
    /// Brings the database's schema up to date.
    #[command(after_help = "Example:\n  swincms migrate --plan\n  swincms migrate\n  swincms migrate --revert 1")]
    Migrate(migrate::Options),
    /// Creates an administrator.
    #[command(
        after_help = "Example:\n  swincms createsuperuser\n  SUPERUSER_PASSWORD=… swincms createsuperuser --email ada@swin.edu.au --username ada"
    )]
    Createsuperuser(superuser::Options),
    /// Fills the database with demo data; what is there already stays as it is.
    #[command(after_help = "Example:\n  swincms seed\n  swincms seed --students 5000")]
    Seed(seed::Options),
    /// Imports units or students from a JSON file.
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        after_help = "Example:\n  swincms import units units.json\n  swincms import students - < students.json"
    )]
    Import {
        #[command(subcommand)]
        what: import::What,
    },
    /// Checks the configuration, the database, its schema and the file store.
    #[command(
        after_help = "Example:\n  swincms check && swincms serve\n  swincms check --deploy --processes 4\n  swincms check --deploy --json\n  swincms check --mail ada@swin.edu.au"
    )]
    Check(check::Options),
    /// Prints the OpenAPI document.
    #[command(after_help = "Example:\n  swincms openapi > openapi.json")]
    Openapi,
    /// Looks at the audit log.
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        after_help = "Example:\n  swincms audit verify"
    )]
    Audit {
        #[command(subcommand)]
        what: audit::What,
    },
}

/// Reads the command line and does what it says.
///
/// # Errors
/// What went wrong, for people.
pub async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let config = Config::read()?;
            let log_level = telemetry::start(&config);
            serve::run(config, log_level).await
        }
        Command::Migrate(options) => migrate::run(options, Config::read()?).await,
        Command::Createsuperuser(options) => Box::pin(superuser::run(options, Config::read()?)).await,
        Command::Seed(options) => Box::pin(seed::run(options, Config::read()?)).await,
        Command::Import { what } => Box::pin(import::run(what, Config::read()?)).await,
        Command::Check(options) => check::run(options, Config::read()).await,
        Command::Audit { what } => Box::pin(audit::run(what, Config::read()?)).await,
        Command::Openapi => {
            let document = crate::http::openapi::document(&crate::app::routes());
            Ok(out::print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?)
        }
    }
}
