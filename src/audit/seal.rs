//! The job that seals the audit log: every second, the rows that have become visible since, chained to what was sealed
//! before. Every server process runs it; one at a time seals.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::chain::{Seal, SealedRow, Sealer, hex};
use crate::app::AppState;
use crate::db;
use crate::http::{Answer, Problem};
use crate::telemetry::Repeated;

const EVERY: Duration = Duration::from_secs(1);
/// The most rows of one seal.
const MOST_ROWS: i64 = 2000;

/// Runs every second until `stop`.
pub async fn look_after(app: AppState, stop: CancellationToken) {
    let sealer = Sealer::new(&app.config.audit_key);
    let mut told = Repeated::default();
    while !stop.is_cancelled() {
        // What cannot be written waits, and is sealed later.
        let done = if app.database.is_read_only() { Ok(None) } else { seal_next(&app.db, &sealer).await };
        match done {
            Ok(Some(done)) => {
                let Done { seal, rows, total, head } = done;
                // Who cuts the end off the log cannot reach this line: `audit verify --head` compares it.
                tracing::info!(rows, total, head = format!("{seal}:{head}"), "audit log sealed");
                if rows == MOST_ROWS {
                    continue;
                }
            }
            Ok(None) => {}
            Err(problem) => {
                if let Some(times) = told.again() {
                    tracing::warn!(%problem, times, "the audit log could not be sealed");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

struct Done {
    seal: i64,
    rows: i64,
    total: i64,
    head: String,
}

/// Seals what can be sealed, at most [`MOST_ROWS`]; `None` when there is nothing, or another process is at it.
async fn seal_next(pool: &db::Pool, sealer: &Sealer) -> Answer<Option<Done>> {
    db::write(pool, |tx, _| Box::pin(seal_once(tx, sealer))).await
}

async fn seal_once(tx: &mut PgConnection, sealer: &Sealer) -> Answer<Option<Done>> {
    if !store::its_turn(tx).await? {
        return Ok(None);
    }
    let head = store::head(tx).await?;
    let (position, id, previous, total) =
        head.map_or_else(|| ("0".to_owned(), 0, Vec::new(), 0), |h| (h.to_position, h.to_id, h.hmac, h.total_count));
    let rows = store::rows_after(tx, &position, id, MOST_ROWS).await?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(None) };
    let row_count = i64::try_from(rows.len()).map_err(Problem::internal)?;
    let row_ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let row_hmacs: Vec<u8> = rows.iter().flat_map(|row| sealer.of_row(row).as_ref().to_vec()).collect();
    let (id, sealed_at) = store::next(tx).await?;
    let seal = Seal {
        id,
        from: (&first.position, first.id),
        to: (&last.position, last.id),
        row_count,
        total_count: total + row_count,
        previous: &previous,
        sealed_at,
        row_ids: &row_ids,
        row_hmacs: &row_hmacs,
    };
    let hmac = sealer.of_seal(&seal);
    store::add(tx, &seal, hmac.as_ref()).await?;
    Ok(Some(Done { seal: id, rows: row_count, total: seal.total_count, head: hex(hmac.as_ref()) }))
}

/// Every SQL statement of the job.
mod store {
    use sqlx::PgConnection;

    use super::{Seal, SealedRow};

    /// The last seal.
    pub(super) struct Head {
        pub(super) to_position: String,
        pub(super) to_id: i64,
        pub(super) hmac: Vec<u8>,
        pub(super) total_count: i64,
    }

    /// Whether no other process is at it; the others keep away until the transaction ends.
    pub(super) async fn its_turn(tx: &mut PgConnection) -> sqlx::Result<bool> {
        sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock(hashtextextended('audit.seal', 0)) as "got_it!""#)
            .fetch_one(tx)
            .await
    }

    pub(super) async fn head(tx: &mut PgConnection) -> sqlx::Result<Option<Head>> {
        sqlx::query_as!(
            Head,
            r#"select to_position::text as "to_position!", to_id, hmac, total_count
                 from audit_seals
                order by to_position desc, to_id desc
                limit 1"#
        )
        .fetch_optional(tx)
        .await
    }

    /// The rows after this place, in their order, as far as no row can come in between any more.
    pub(super) async fn rows_after(
        tx: &mut PgConnection,
        position: &str,
        id: i64,
        most: i64,
    ) -> sqlx::Result<Vec<SealedRow>> {
        sqlx::query_as!(
            SealedRow,
            r#"select id, user_id, action, resource_type, resource_id, details_digest, origin_digest, request_id,
                      (extract(epoch from created_at) * 1000000)::bigint as "created_at!",
                      position::text as "position!"
                 from audit_log
                where position < pg_snapshot_xmin(pg_current_snapshot())
                  and (position, id) > ($1::text::xid8, $2)
                order by audit_log.position, id
                limit $3"#,
            position,
            id,
            most
        )
        .fetch_all(tx)
        .await
    }

    /// The id of the next seal, and the time in microseconds since 1970.
    pub(super) async fn next(tx: &mut PgConnection) -> sqlx::Result<(i64, i64)> {
        let next = sqlx::query!(
            r#"select nextval(pg_get_serial_sequence('audit_seals', 'id')) as "id!",
                      (extract(epoch from clock_timestamp()) * 1000000)::bigint as "now!""#
        )
        .fetch_one(tx)
        .await?;
        Ok((next.id, next.now))
    }

    pub(super) async fn add(tx: &mut PgConnection, seal: &Seal<'_>, hmac: &[u8]) -> sqlx::Result<()> {
        sqlx::query!(
            "insert into audit_seals (id, from_position, from_id, to_position, to_id, row_count, total_count,
                                      previous_hmac, hmac, sealed_at, row_ids, row_hmacs)
             values ($1, $2::text::xid8, $3, $4::text::xid8, $5, $6, $7, $8, $9,
                     timestamptz 'epoch' + $10::bigint * interval '1 microsecond', $11, $12)",
            seal.id,
            seal.from.0,
            seal.from.1,
            seal.to.0,
            seal.to.1,
            seal.row_count,
            seal.total_count,
            seal.previous,
            hmac,
            seal.sealed_at,
            seal.row_ids,
            seal.row_hmacs
        )
        .execute(tx)
        .await?;
        Ok(())
    }
}
