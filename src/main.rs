//! The `swincms` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One TLS provider for the database, for mail and for all that may come; libraries that find none panic.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: a TLS provider is already installed");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(swincms::cli::run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", swincms::telemetry::causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
