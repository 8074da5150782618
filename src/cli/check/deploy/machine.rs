//! What the machine has: room for files, and backups.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Check, Found};
use crate::backups::{self, Backup, Verdict};
use crate::clock::Clock;
use crate::config::Config;

const GIB: u64 = 1024 * 1024 * 1024;

/// A backup is made every day; two hours are for making it.
const OLDEST_BACKUP: TimeDelta = TimeDelta::hours(26);

/// One a week is verified; a day is for doing it late.
const OLDEST_VERDICT: TimeDelta = TimeDelta::days(8);

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
    let made = match backups::all(folder) {
        Ok(made) => made,
        Err(error) => {
            return Found::failed(
                format!("{} cannot be read: {error}", folder.display()),
                "Set BACKUP_DIR to where scripts/backup-database.sh writes.",
            );
        }
    };
    match made.iter().max() {
        // The folder of a new installation has not been touched since it was made.
        None if is_young(folder, now) => Found::warning(
            format!("there is no backup in {} yet", folder.display()),
            "Make the first: scripts/backup-database.sh.",
        ),
        None => Found::failed(format!("there is no backup in {}", folder.display()), REMEDY),
        Some(Backup { made, .. }) if now - made > OLDEST_BACKUP => {
            Found::failed(format!("the newest is of {made}, {} hours old", (now - made).num_hours()), REMEDY)
        }
        Some(newest) => quality(newest, &made, now),
    }
}

fn is_young(folder: &Path, now: DateTime<Utc>) -> bool {
    let changed = folder.metadata().and_then(|metadata| metadata.modified());
    changed.is_ok_and(|changed| now - DateTime::<Utc>::from(changed) < OLDEST_BACKUP)
}

/// What the scripts have written about a backup: files that it lacks, and what a trial restore of it has found.
fn quality(newest: &Backup, all: &[Backup], now: DateTime<Utc>) -> Found {
    const VERIFY: &str = "Try it: scripts/restore-database.sh --newest --verify, once a week.";
    let made = newest.made;
    let missing = newest.missing();
    if missing > 0 {
        return Found::failed(
            format!("the newest, of {made}, lacks {missing} uploaded files that the database names"),
            "Look for them in backups of other days (missing.txt names them), or remove their rows.",
        );
    }
    if let Some(Verdict { is_good: false, why, .. }) = newest.verdict() {
        return Found::failed(format!("the newest, of {made}, was found bad: {why}"), "Make another, and verify that.");
    }
    // Each is not tried, but one of the last weeks is.
    let tried = all.iter().filter_map(Backup::verdict).filter(|found| found.is_good).map(|found| found.at).max();
    match tried {
        Some(at) if now - at < OLDEST_VERDICT => {
            Found::ok(format!("the newest is of {made}; one was verified on {at}"))
        }
        Some(at) => {
            Found::warning(format!("the newest is of {made}; the last that was verified was so on {at}"), VERIFY)
        }
        None => Found::warning(format!("the newest is of {made}; none was ever verified"), VERIFY),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_backup_is_as_good_as_what_was_found_of_it() {
        let folder = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        let now: DateTime<Utc> = "2026-02-20T03:00:00Z".parse().unwrap();
        let (old, new) = ("swincms-20260213T023000Z", "swincms-20260220T023000Z");
        for name in [old, new] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        let found = || {
            let all = backups::all(&folder).unwrap();
            quality(all.iter().max().unwrap(), &all, now)
        };
        let said = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
        assert_eq!(found().status, Status::Warning);
        said(&format!("{old}/verdict"), "good\t2026-02-13T04:00:00Z\t\n");
        assert_eq!((found().status, found().detail.contains("2026-02-13")), (Status::Ok, true));
        said(&format!("{new}/verdict"), "bad\t2026-02-20T02:50:00Z\tthe dump cannot be restored\n");
        assert_eq!((found().status, found().detail.contains("the dump cannot")), (Status::Failed, true));
        said(&format!("{new}/verdict"), "good\t2026-02-20T02:50:00Z\t\n");
        assert_eq!(found().status, Status::Ok);
        said(&format!("{new}/missing.txt"), "public/a.png\nprivate/b.pdf\n");
        assert_eq!((found().status, found().detail.contains("lacks 2 uploaded")), (Status::Failed, true));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_tenth_of_the_disk_and_a_gibibyte_must_be_free() {
        assert_eq!(room(2 * GIB, 10 * GIB).status, Status::Ok);
        assert_eq!(room(GIB - 1, 2 * GIB).status, Status::Failed);
        assert_eq!(room(9 * GIB, 100 * GIB).status, Status::Failed);
    }
}
