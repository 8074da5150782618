//! What can keep a request from being served.

use std::fmt;

use crate::rights::Lacking;

/// One thing that is not as it must be. [`Fault::says`] is for anybody who asks; what it displays, with names in it, is for
/// who looks after the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The database does not answer.
    Away,
    /// The database is a standby of another.
    Standby,
    /// Transactions are read-only by a setting.
    ReadOnly,
    /// The database's disk is full.
    Full,
    /// These migrations have not run.
    Behind(Vec<String>),
    /// These migrations have run otherwise than they stand in this program.
    Changed(Vec<String>),
    /// Tables are not there, or rights.
    Lacking(Lacking),
    /// Files cannot be stored, for this reason.
    Files(String),
}

impl Fault {
    /// A permanent name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Standby => "standby",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::Behind(_) => "migrations_waiting",
            Self::Changed(_) => "migrations_changed",
            Self::Lacking(lacking) if lacking.tables.is_empty() => "rights_missing",
            Self::Lacking(_) => "tables_missing",
            Self::Files(_) => "files",
        }
    }

    /// A sentence that gives no names away.
    #[must_use]
    pub fn says(&self) -> &'static str {
        match self {
            Self::Away => "The database cannot be reached.",
            Self::Standby => "The database is a standby: it can only be read.",
            Self::ReadOnly => "The database can only be read.",
            Self::Full => "The database cannot write now: its disk is full.",
            Self::Behind(_) => "The database waits to be brought up to date: migrations have not run.",
            Self::Changed(_) => "The database's schema is of another program than this.",
            Self::Lacking(lacking) if lacking.tables.is_empty() => {
                "The database's role lacks rights that the server needs."
            }
            Self::Lacking(_) => "The database lacks tables that the server needs.",
            Self::Files(_) => "Files cannot be stored.",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => f.write_str("the database is away"),
            Self::Standby => f.write_str("the database is a standby: it can only be read"),
            Self::ReadOnly => f.write_str(
                "the database can only be read: default_transaction_read_only is on for it, for the role or in postgresql.conf",
            ),
            Self::Full => f.write_str("the database cannot write now: its disk is full"),
            Self::Behind(steps) => {
                let (count, have) = (steps.len(), if steps.len() == 1 { "migration has" } else { "migrations have" });
                write!(f, "{count} {have} not run; run `swincms migrate`: {}", some(steps))
            }
            Self::Changed(steps) => write!(
                f,
                "the schema is of another program: {} ran otherwise than it stands in this one; run the released version",
                some(steps)
            ),
            Self::Lacking(Lacking { tables, rights }) => {
                if !tables.is_empty() {
                    write!(f, "tables are not there: {}", some(tables))?;
                }
                if !rights.is_empty() {
                    let between = if tables.is_empty() { "" } else { "; " };
                    write!(f, "{between}the role may not {}; run scripts/init-db.sh --grants", some(rights))?;
                }
                Ok(())
            }
            Self::Files(why) => write!(f, "files cannot be stored: {why}"),
        }
    }
}

/// The first of many: a line is read by people.
fn some(names: &[String]) -> String {
    const MOST: usize = 5;
    let first: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
    let more = names.len().saturating_sub(MOST);
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_is_told_has_no_name_in_it_and_what_the_operator_is_told_has() {
        let names = |count: usize| (0..count).map(|number| format!("name{number}")).collect::<Vec<_>>();
        for fault in [
            Fault::Behind(names(1)),
            Fault::Changed(names(2)),
            Fault::Lacking(Lacking { tables: names(1), rights: Vec::new() }),
            Fault::Lacking(Lacking { tables: Vec::new(), rights: names(7) }),
            Fault::Files("name0".to_owned()),
        ] {
            assert!(!fault.says().contains("name0") && fault.to_string().contains("name0"), "{fault}");
        }
        let many = Fault::Lacking(Lacking { tables: names(1), rights: names(7) }).to_string();
        assert!(many.contains("name4 and 2 more"), "{many}");
        assert!(Fault::Behind(names(1)).to_string().starts_with("1 migration has not run"));
        assert!(Fault::Behind(names(2)).to_string().starts_with("2 migrations have not run"));
    }
}
