//! Every SQL statement of the imports and of the demo data: all work on sets of rows.

pub(crate) mod accounts;
pub(crate) mod demo;
pub(crate) mod enrollments;
pub(crate) mod offerings;
pub(crate) mod units;

/// Rows in one statement: enough that the way to the database does not count, few enough to show progress.
const CHUNK: usize = 2_000;

/// One column of these rows, for `unnest`.
fn column<'r, T, V>(rows: &'r [T], of: impl Fn(&'r T) -> V) -> Vec<V> {
    rows.iter().map(of).collect()
}

/// One import or seeding at a time: two of them would each check against what the other is about to change.
pub(crate) async fn one_at_a_time(tx: &mut sqlx::PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('import', 0))").execute(tx).await?;
    Ok(())
}
