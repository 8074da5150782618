//! What `scripts/backup-database.sh` has made, and what was found of it.

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};

/// How the folder of a backup is called.
const NAME: &str = "swincms-%Y%m%dT%H%M%SZ";

/// A whole backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backup {
    /// When it was made, by its name.
    pub made: DateTime<Utc>,
    path: PathBuf,
}

/// What `restore-database.sh --verify` has found.
#[derive(Debug)]
pub struct Verdict {
    /// Whether it can be restored.
    pub is_good: bool,
    /// When that was found.
    pub at: DateTime<Utc>,
    /// Why not.
    pub why: String,
}

/// The backups in a folder, in no order.
///
/// # Errors
/// When the folder cannot be read.
pub fn all(folder: &Path) -> std::io::Result<Vec<Backup>> {
    let entries = std::fs::read_dir(folder)?;
    Ok(entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some(Backup { made: made_at(entry.file_name().to_str()?)?, path: entry.path() })
        })
        .collect())
}

impl Backup {
    /// How many uploaded files it lacks that the database names.
    #[must_use]
    pub fn missing(&self) -> usize {
        std::fs::read_to_string(self.path.join("missing.txt")).map_or(0, |names| names.lines().count())
    }

    /// None where nobody has tried it.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let text = std::fs::read_to_string(self.path.join("verdict")).ok()?;
        let mut cells = text.trim_end().splitn(3, '\t');
        let is_good = cells.next()? == "good";
        let at = cells.next()?.parse().ok()?;
        Some(Verdict { is_good, at, why: cells.next().unwrap_or_default().to_owned() })
    }

    /// Whether nothing speaks against it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.missing() == 0 && self.verdict().is_none_or(|verdict| verdict.is_good)
    }
}

/// None for what is no backup, or not a whole one.
fn made_at(name: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(name, NAME).ok().map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_what_has_the_name_of_a_whole_one() {
        let made = made_at("swincms-20260131T023000Z").unwrap();
        assert_eq!(made.to_rfc3339(), "2026-01-31T02:30:00+00:00");
        for other in [".unfinished-swincms-20260131T023000Z", "swincms-20260131T023000Z.tmp", "swincms-new", ".lock"] {
            assert_eq!(made_at(other), None, "{other}");
        }
    }
}
