//! The database that the configuration names: a server, or the private cluster of a developer's machine.

use std::time::Duration;

use anyhow::bail;
use sqlx::postgres::PgConnectOptions;

use crate::config::{Config, Database};
use crate::db::Pool;
use crate::dev_database::{self, DevDatabase};
use crate::{db, migrate};

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

    /// How to connect to it as the owner of the schema.
    pub(super) fn owner(&self, config: &Config) -> PgConnectOptions {
        config.migration.clone().unwrap_or_else(|| self.options())
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

/// Does a command's work on a database whose schema is current, and leaves the database whatever comes of it.
///
/// # Errors
/// When the database cannot be had, its schema is not current, or the work fails.
pub(super) async fn with<T>(
    mut config: Config,
    work: impl AsyncFnOnce(&Pool) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    // A command may work for as long as it takes; these limits are for requests.
    config.db_statement_timeout = Duration::ZERO;
    config.db_idle_tx_timeout = Duration::ZERO;
    let opened = open(&config).await?;
    // On the heap: beside the settings, which are large, it would be too much for a stack.
    let done = Box::pin(work_on(&opened, &config, work)).await;
    opened.close().await?;
    done
}

async fn work_on<T>(
    opened: &Opened,
    config: &Config,
    work: impl AsyncFnOnce(&Pool) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    be_current(opened, config).await?;
    let pool = db::pool(config, opened.options())?;
    let done = work(&pool).await;
    pool.close();
    done
}

/// A developer's schema is brought up to date on the way; a real one is changed by who means to.
async fn be_current(opened: &Opened, config: &Config) -> anyhow::Result<()> {
    let owner = opened.owner(config);
    if config.run_migrations && !config.is_prod() {
        return migrate::up(&owner).await.map(drop);
    }
    let waiting = migrate::status(&owner).await?.iter().filter(|step| !step.applied).count();
    if waiting > 0 {
        bail!("the schema is not current: {waiting} migrations have not run; run `swincms migrate` first");
    }
    Ok(())
}
