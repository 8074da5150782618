//! The database that the configuration names: a server, or the private cluster of a developer's machine.

use sqlx::postgres::PgConnectOptions;

use crate::config::{Config, Database};
use crate::dev_database::{self, DevDatabase};

/// How to reach the database; the private cluster stays up for as long as this is held.
pub(super) struct Opened {
    options: PgConnectOptions,
    private: Option<DevDatabase>,
}

/// Brings a private cluster up if there is no server.
///
/// # Errors
/// What to do when PostgreSQL's programs are missing.
pub(super) async fn open(config: &Config) -> anyhow::Result<Opened> {
    Ok(match &config.database {
        Database::Server(options) => Opened { options: options.as_ref().clone(), private: None },
        Database::Embedded => {
            let private = dev_database::ensure(config).await?;
            Opened { options: private.options(), private: Some(private) }
        }
    })
}

impl Opened {
    /// How to connect to it.
    pub(super) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Leaves a private cluster; the last to leave stops it.
    ///
    /// # Errors
    /// When it does not stop.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        match self.private {
            Some(private) => private.stop().await,
            None => Ok(()),
        }
    }
}
