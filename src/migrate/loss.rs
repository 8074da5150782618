//! What would be lost if migrations were taken back: found out by taking them back in a transaction that is rolled back.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use super::run::ATTEMPT;
use super::{Patience, Step, applied, backward, connect, last, name};

/// What would go.
#[derive(Debug, Default)]
pub struct Loss {
    /// The migrations, the newest first.
    pub steps: Vec<Step>,
    /// Such as `table events (12 rows)`, `column users.phone (3 values)` and `2 rows of pages`.
    pub gone: Vec<String>,
    /// Migrations that cannot be tried, since they run outside of a transaction.
    pub untried: Vec<String>,
}

/// What taking back the last `count` migrations would take away.
///
/// # Errors
/// When the database cannot be reached, fewer have run, or they cannot be tried.
pub async fn loss(patience: Patience, owner: &PgConnectOptions, count: usize) -> anyhow::Result<Loss> {
    let started = std::time::Instant::now();
    let mut conn = connect(owner, ATTEMPT.min(patience.time)).await?;
    loop {
        let tried = rehearse(&mut conn, count).await;
        // Whatever it has come to.
        conn.execute("rollback").await?;
        match tried {
            Err(error) if is_blocked(&error) && started.elapsed() < patience.time => {
                tokio::time::sleep(Duration::from_secs(1).min(patience.time)).await;
            }
            Err(error) if is_blocked(&error) => {
                return Err(error.context(
                    "what would go cannot be found out: another session holds a lock; see `pg_stat_activity`, or give more \
                     time (--patience)",
                ));
            }
            Err(error) => return Err(error),
            Ok((mut loss, gone)) => {
                loss.gone = gone.say(&mut conn).await?;
                conn.close().await?;
                return Ok(loss);
            }
        }
    }
}

fn is_blocked(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    failure.and_then(sqlx::error::DatabaseError::code).is_some_and(|state| state == "55P03")
}

/// Tables, columns of tables that stay, and rows that are deleted.
struct Gone {
    tables: Vec<String>,
    columns: Vec<(String, String)>,
    rows: Vec<(String, i64)>,
}

/// Leaves its transaction open.
async fn rehearse(conn: &mut PgConnection, count: usize) -> anyhow::Result<(Loss, Gone)> {
    conn.execute("begin").await?;
    let mut loss = Loss { steps: last(&applied(conn).await?, count)?, ..Loss::default() };
    let before = columns(conn).await?;
    for step in &loss.steps {
        let down = backward(step.version)?;
        // What is older stands on it.
        if down.no_tx || !loss.untried.is_empty() {
            loss.untried.push(name(step));
        } else {
            conn.execute(down.sql.clone()).await?;
        }
    }
    let after = columns(conn).await?;
    let tables = |of: &BTreeSet<(String, String)>| of.iter().map(|(table, _)| table.clone()).collect::<BTreeSet<_>>();
    let stay = tables(&after);
    let gone = Gone {
        tables: tables(&before).difference(&stay).cloned().collect(),
        columns: before.difference(&after).filter(|(table, _)| stay.contains(table)).cloned().collect(),
        rows: deleted(conn).await?,
    };
    Ok((loss, gone))
}

async fn columns(conn: &mut PgConnection) -> sqlx::Result<BTreeSet<(String, String)>> {
    let found = sqlx::query!(
        r#"select c.relname::text as "table!", a.attname::text as "column!"
             from pg_class c
             join pg_attribute a on a.attrelid = c.oid
            where c.relnamespace = 'public'::regnamespace
              and c.relkind in ('r', 'p')
              and a.attnum > 0
              and not a.attisdropped"#
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(|row| (row.table, row.column)).collect())
}

/// The rows that this transaction has deleted, of each table that is still there.
async fn deleted(conn: &mut PgConnection) -> sqlx::Result<Vec<(String, i64)>> {
    let found = sqlx::query!(
        r#"select relname::text as "table!", n_tup_del as "rows!"
             from pg_stat_xact_user_tables
            where schemaname = 'public'
              and n_tup_del > 0
            order by relname"#
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(|row| (row.table, row.rows)).collect())
}

impl Gone {
    /// Counts what is there now.
    async fn say(self, conn: &mut PgConnection) -> sqlx::Result<Vec<String>> {
        let mut says = Vec::new();
        for table in self.tables {
            let rows = count(conn, "*", &table).await?;
            says.push(format!("table {table} ({rows} rows)"));
        }
        for (table, column) in self.columns {
            let values = count(conn, &quoted(&column), &table).await?;
            says.push(format!("column {table}.{column} ({values} values)"));
        }
        says.extend(self.rows.into_iter().map(|(table, rows)| format!("{rows} rows of {table}")));
        Ok(says)
    }
}

async fn count(conn: &mut PgConnection, what: &str, table: &str) -> sqlx::Result<i64> {
    let sql = format!("select count({what}) from public.{}", quoted(table));
    conn.fetch_one(AssertSqlSafe(sql)).await?.try_get(0)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
