//! What the machine has: room for files, and backups.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::{Check, Found};
use crate::clock::Clock;
use crate::config::Config;

const GIB: u64 = 1024 * 1024 * 1024;

/// A backup is made every day; two hours are for making it.
const OLDEST_BACKUP: TimeDelta = TimeDelta::hours(26);

/// How the folder of a backup is called: see `scripts/backup-database.sh`.
const BACKUP_NAME: &str = "swincms-%Y%m%dT%H%M%SZ";

/// All checks of the machine.
pub(in super::super) fn machine(config: &Config) -> Vec<Check> {
    vec![disk(config).named("disk"), backup(config, Clock::system().now()).named("backup")]
}

fn disk(config: &Config) -> Found {
    let root = &config.media_root;
    let space = match rustix::fs::statvfs(root) {
        Ok(space) => space,
        Err(error) => {
            return Found::failed(
                format!("{} cannot be looked at: {error}", root.display()),
                "Set MEDIA_ROOT to a folder that the server may write.",
            );
        }
    };
    room(space.f_bavail.saturating_mul(space.f_frsize), space.f_blocks.saturating_mul(space.f_frsize))
}

fn room(free: u64, all: u64) -> Found {
    let detail = format!("{} MiB of {} MiB are free in MEDIA_ROOT", free / (GIB / 1024), all / (GIB / 1024));
    if free < GIB || free < all / 10 {
        return Found::failed(detail, "Make room: at least 1 GiB and a tenth of the disk must be free.");
    }
    Found::ok(detail)
}

fn backup(config: &Config, now: DateTime<Utc>) -> Found {
    const REMEDY: &str = "Run scripts/backup-database.sh every day, and look why it has not.";
    let Some(folder) = &config.backup_dir else {
        return Found::skipped(
            "BACKUP_DIR is not set, so nobody knows whether there is a backup",
            "Set BACKUP_DIR to where scripts/backup-database.sh writes.",
        );
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return Found::failed(
                format!("{} cannot be read: {error}", folder.display()),
                "Set BACKUP_DIR to where scripts/backup-database.sh writes.",
            );
        }
    };
    let made = entries.filter_map(|entry| made_at(entry.ok()?.file_name().to_str()?)).max();
    match made {
        None => Found::failed(format!("there is no backup in {}", folder.display()), REMEDY),
        Some(made) if now - made > OLDEST_BACKUP => {
            Found::failed(format!("the newest is of {made}, {} hours old", (now - made).num_hours()), REMEDY)
        }
        Some(made) => Found::ok(format!("the newest is of {made}")),
    }
}

/// When a backup was made, by its name; none for what is no backup, or not a whole one.
fn made_at(name: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(name, BACKUP_NAME).ok().map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_backup_is_what_has_the_name_of_a_whole_one() {
        let made = made_at("swincms-20260131T023000Z").unwrap();
        assert_eq!(made.to_rfc3339(), "2026-01-31T02:30:00+00:00");
        for other in [".unfinished-swincms-20260131T023000Z", "swincms-20260131T023000Z.tmp", "swincms-new", ".lock"] {
            assert_eq!(made_at(other), None, "{other}");
        }
    }

    #[test]
    fn a_tenth_of_the_disk_and_a_gibibyte_must_be_free() {
        assert_eq!(room(2 * GIB, 10 * GIB).status, Status::Ok);
        assert_eq!(room(GIB - 1, 2 * GIB).status, Status::Failed);
        assert_eq!(room(9 * GIB, 100 * GIB).status, Status::Failed);
    }
}
