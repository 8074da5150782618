//! The command line.

mod database;
mod serve;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::telemetry;

/// Course management server for a university.
#[derive(Debug, Parser)]
#[command(
    name = "swincms",
    version,
    about,
    after_help = "Settings come from the environment and .env; see .env.example."
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
    /// Prints the OpenAPI document.
    #[command(after_help = "Example:\n  swincms openapi > openapi.json")]
    Openapi,
}

/// Reads the command line and does what it says.
///
/// # Errors
/// What went wrong, for people.
pub async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let command = arguments.command.unwrap_or(Command::Serve);
    if matches!(command, Command::Openapi) {
        println!("{}", serde_json::to_string_pretty(&crate::http::openapi::document(&crate::app::routes()))?);
        return Ok(());
    }
    let config = Config::read()?;
    telemetry::start(&config);
    match command {
        Command::Serve => serve::run(config).await,
        Command::Openapi => Ok(()),
    }
}
