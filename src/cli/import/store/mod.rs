//! Every SQL statement of the imports and of the demo data: all work on sets of rows.

pub(crate) mod accounts;
pub(crate) mod enrollments;
pub(crate) mod offerings;
pub(crate) mod units;

/// Rows in one statement: enough that the way to the database does not count, few enough to show progress.
const CHUNK: usize = 2_000;
