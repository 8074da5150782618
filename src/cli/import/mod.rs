//! `swincms import`: units and students from JSON files.
//!
//! A file is imported whole or not at all: one transaction, and every broken row is named before anything is written.
//! Importing the same file again changes nothing. What a file does not say of a row that is there already stays as
//! it is. The statements work on sets of rows, so that the time goes into PostgreSQL's tables and indexes; only the
//! hashing of passwords takes longer, and it runs on all cores before the transaction begins.

mod enrollments;
mod offerings;
pub(super) mod report;
mod rows;
pub(super) mod store;
mod students;
pub(super) mod units;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::report::Progress;
use self::rows::File;
use super::{database, out};
use crate::config::Config;

pub(super) use offerings::OfferingRow;
pub(super) use report::Place;
pub(super) use rows::Row;

/// What to import.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Imports units with their requisites and offerings.
    #[command(after_help = UNITS_HELP)]
    Units(Options),
    /// Imports students with their enrolments.
    #[command(after_help = STUDENTS_HELP)]
    Students(Options),
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The JSON file; `-` reads standard input.
    file: PathBuf,
    /// Checks and reports, and writes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Prints the sums without a line for each row.
    #[arg(long, short)]
    quiet: bool,
}

const UNITS_HELP: &str = r#"Example:
  swincms import units units.json

The file is an array of
  {"code": "COS20007", "name": "Object Oriented Programming", "description": "…", "credit_points": "12.5",
   "department": "Computing Technologies", "prerequisites": ["COS10009"], "anti_requisites": [],
   "offerings": [{"year": 2026, "semester": "S1", "enrollment_start": "2026-01-12", "enrollment_end": "2026-03-13",
                  "capacity": 120, "class_hours": 3, "meeting_day": "Mon", "meeting_time": "09:00"}]}

Units are known by code, offerings by unit, year and semester: what is there is updated, the rest is created. Requisites
may stand later in the file. A list of prerequisites replaces the one that is there. Members that are left out keep
what is there. Class hours and meeting times go into the offering's notes."#;

const STUDENTS_HELP: &str = r#"Example:
  swincms import students students.json

The file is an array of
  {"full_name": "Nguyễn Văn An", "username": "s100000001", "email": "s100000001@swin.edu.au", "password": "…",
   "student_id": "S-104567", "date_of_birth": "2006-05-17", "major": "BA-CS",
   "enrollments": [{"unit": "COS10009", "year": 2025, "semester": "S1", "status": "COMPLETED", "grade": "HD",
                    "marks": "91.00", "completion_date": "2025-06-20"}]}

The first word of a full name is the family name, or with NAME_ORDER=given_first the last one; a file that knows better
gives `first_name` and `last_name`. Without `student_id` a new student gets a number of the server's.

Students are known by email. `major` is the code or the name of a course. An account that is there keeps its password
and its other enrolments. Enrolments are taken as decided: windows, prerequisites and courses are not asked again, but
capacity, anti-requisites, one current offering of a unit, and the order of states are. Without `completion_date` a
result counts from the day of the import."#;

/// Imports a file.
///
/// # Errors
/// Every broken row with its fields, or what keeps the file from being read or written.
pub(super) async fn run(what: What, config: Config) -> anyhow::Result<()> {
    let options = match &what {
        What::Units(options) | What::Students(options) => options,
    };
    let (dry_run, quiet) = (options.dry_run, options.quiet);
    let file = File::read(&options.file).await?;
    let (zone, name_order) = (config.time_zone, config.name_order);
    let progress = Progress::new();
    let report = database::with(config, async |pool| match &what {
        What::Units(_) => units::import(pool, &file, zone, &progress, dry_run).await,
        What::Students(_) => students::import(pool, &file, (zone, name_order), &progress, dry_run).await,
    });
    let report = report.await?;
    let took = progress.end();
    let last = if dry_run {
        format!("{}: checked in {:.2} s; nothing was written (--dry-run)\n", file.name, took.all.as_secs_f64())
    } else {
        let (all, writing) = (took.all.as_secs_f64(), took.writing.as_secs_f64());
        format!("{}: imported in {all:.2} s, of which {writing:.2} s to write {} rows\n", file.name, took.rows)
    };
    Ok(out::print(&(report.text(quiet) + &last))?)
}

/// Says which members of a file mean nothing here: a misspelt name would otherwise be lost in silence.
fn warn_of_ignored(rows: &std::collections::BTreeMap<String, usize>) {
    for (name, times) in rows {
        eprintln!("warning: `{name}` means nothing here and is left out ({times} ×)");
    }
}
