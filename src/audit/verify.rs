//! Whether the audit log is as it was sealed: one snapshot of it, every seal and every row that a seal covers.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use secrecy::SecretString;
use serde::Serialize;
use sqlx::PgConnection;

use super::chain::{LENGTH, Seal, SealedRow, Sealer, hex};
use crate::db;
use crate::http::Answer;

/// What was looked at, and what is wrong.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// Rows of the log.
    pub rows: i64,
    /// Rows that a seal should cover.
    pub sealed: i64,
    /// Rows that are newer than the last seal.
    pub not_sealed_yet: i64,
    /// Rows whose details were erased.
    pub details_erased: i64,
    /// Rows whose address and program were erased.
    pub origins_erased: i64,
    /// Seals.
    pub seals: i64,
    /// The last seal's id and HMAC, as `--head` takes it.
    pub head: Option<String>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Something that is wrong.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The row that it is about.
    pub row: Option<i64>,
    /// The seal that it is about.
    pub seal: Option<i64>,
    /// In a sentence.
    pub says: String,
}

impl Report {
    fn row(&mut self, row: i64, says: &str) {
        self.faults.push(Fault { row: Some(row), seal: None, says: format!("Row {row} {says}.") });
    }

    fn seal(&mut self, seal: i64, says: &str) {
        self.faults.push(Fault { row: None, seal: Some(seal), says: format!("Seal {seal} {says}.") });
    }
}

/// Looks at all of it. `head` is a head that was noted before, `<seal>:<hmac>`; it must still be in the chain.
///
/// # Errors
/// The database's failure.
pub async fn verify(pool: &db::Pool, key: &SecretString, head: Option<&str>) -> Answer<Report> {
    let sealer = &Sealer::new(key);
    db::write(pool, |tx, _| Box::pin(look(tx, sealer, head))).await
}

async fn look(tx: &mut PgConnection, sealer: &Sealer, head: Option<&str>) -> Answer<Report> {
    store::stand_still(tx).await?;
    let mut report = Report { rows: store::count(tx).await?, ..Report::default() };
    let mut head_is_there = false;
    let mut last: Option<store::SealRow> = None;
    loop {
        let seals = store::seals_after(tx, last.as_ref()).await?;
        if seals.is_empty() {
            break;
        }
        let ids: Vec<i64> = seals.iter().flat_map(|seal| seal.row_ids.iter().copied()).collect();
        let rows: HashMap<i64, store::Found> =
            store::rows(tx, &ids).await?.into_iter().map(|found| (found.sealed.id, found)).collect();
        for seal in seals {
            look_at_seal(&mut report, sealer, &seal, last.as_ref());
            look_at_rows(&mut report, sealer, &seal, &rows);
            report.seals += 1;
            head_is_there |= head == Some(&seal.head());
            last = Some(seal);
        }
    }
    if let Some(last) = &last {
        report.head = Some(last.head());
        report.sealed = last.total_count;
        for id in store::strangers(tx, &last.to_position, last.to_id).await? {
            report.row(id, "stands among sealed rows, but no seal covers it: it was inserted, or its seal was deleted");
        }
        for id in store::sealed_twice(tx).await? {
            report.row(id, "is covered by two seals: it was moved");
        }
    }
    report.not_sealed_yet = match &last {
        Some(last) => store::count_after(tx, &last.to_position, last.to_id).await?,
        None => report.rows,
    };
    look_at_erasures(tx, &mut report).await?;
    if let (Some(head), false) = (head, head_is_there) {
        let says =
            format!("The head {head} is not in the chain: the log was cut off or sealed anew after it was noted.");
        report.faults.push(Fault { row: None, seal: None, says });
    }
    report.faults.sort_by_key(|fault| (fault.seal, fault.row));
    report.faults.dedup();
    report.ok = report.faults.is_empty();
    Ok(report)
}

fn look_at_seal(report: &mut Report, sealer: &Sealer, seal: &store::SealRow, before: Option<&store::SealRow>) {
    let expected = sealer.of_seal(&Seal {
        id: seal.id,
        from: (&seal.from_position, seal.from_id),
        to: (&seal.to_position, seal.to_id),
        row_count: seal.row_count,
        total_count: seal.total_count,
        previous: &seal.previous_hmac,
        sealed_at: seal.sealed_at,
        row_ids: &seal.row_ids,
        row_hmacs: &seal.row_hmacs,
    });
    if verify_slices_are_equal(expected.as_ref(), &seal.hmac).is_err() {
        report.seal(seal.id, "was edited, or made with another AUDIT_KEY");
    }
    let (previous, total) = before.map_or((&[][..], 0), |before| (before.hmac.as_slice(), before.total_count));
    if seal.previous_hmac != previous || seal.total_count != total + seal.row_count {
        report.seal(seal.id, "does not follow the one before it: a seal was deleted, inserted or moved");
    }
}

fn look_at_rows(report: &mut Report, sealer: &Sealer, seal: &store::SealRow, rows: &HashMap<i64, store::Found>) {
    for (id, hmac) in seal.row_ids.iter().zip(seal.row_hmacs.chunks(LENGTH)) {
        let Some(found) = rows.get(id) else {
            report.row(*id, &format!("was deleted; seal {} covers it", seal.id));
            continue;
        };
        if verify_slices_are_equal(sealer.of_row(&found.sealed).as_ref(), hmac).is_err() {
            report.row(*id, "was edited or moved, or its seal was");
        } else if !found.details_hold {
            report.row(*id, "has other details than when it was sealed");
        } else if !found.origin_holds {
            report.row(*id, "has another address or program than when it was sealed");
        }
    }
}

/// Counts what was erased; each erasure must be named by the row that the anonymising left.
async fn look_at_erasures(tx: &mut PgConnection, report: &mut Report) -> Answer<()> {
    for (kind, erased) in store::erased(tx).await? {
        let told: HashSet<i64> = store::told_of(tx, kind).await?.into_iter().collect();
        let count = i64::try_from(erased.len()).unwrap_or(i64::MAX);
        match kind {
            store::Erasure::Details => report.details_erased = count,
            store::Erasure::Origins => report.origins_erased = count,
        }
        for id in erased.into_iter().filter(|id| !told.contains(id)) {
            let what = match kind {
                store::Erasure::Details => "details",
                store::Erasure::Origins => "address and program",
            };
            report.row(id, &format!("has lost its {what}, and no row tells of an anonymising that erased it"));
        }
    }
    Ok(())
}

/// Every SQL statement of the check.
mod store {
    use sqlx::PgConnection;

    use super::{SealedRow, hex};

    /// Seals that are looked at together.
    const SEALS_AT_ONCE: i64 = 500;

    /// A seal as it stands.
    pub(super) struct SealRow {
        pub(super) id: i64,
        pub(super) from_position: String,
        pub(super) from_id: i64,
        pub(super) to_position: String,
        pub(super) to_id: i64,
        pub(super) row_count: i64,
        pub(super) total_count: i64,
        pub(super) previous_hmac: Vec<u8>,
        pub(super) hmac: Vec<u8>,
        pub(super) sealed_at: i64,
        pub(super) row_ids: Vec<i64>,
        pub(super) row_hmacs: Vec<u8>,
    }

    impl SealRow {
        pub(super) fn head(&self) -> String {
            format!("{}:{}", self.id, hex(&self.hmac))
        }
    }

    /// A row as it stands.
    pub(super) struct Found {
        pub(super) sealed: SealedRow,
        /// Whether the details are those of the digest, or erased.
        pub(super) details_hold: bool,
        /// Whether address and program are.
        pub(super) origin_holds: bool,
    }

    /// What of a row can be erased.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Erasure {
        /// What was changed.
        Details,
        /// The address and the program.
        Origins,
    }

    /// All statements of this transaction see one state.
    pub(super) async fn stand_still(tx: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!("set transaction isolation level repeatable read, read only").execute(tx).await?;
        Ok(())
    }

    pub(super) async fn count(tx: &mut PgConnection) -> sqlx::Result<i64> {
        sqlx::query_scalar!(r#"select count(*) as "count!" from audit_log"#).fetch_one(tx).await
    }

    pub(super) async fn count_after(tx: &mut PgConnection, position: &str, id: i64) -> sqlx::Result<i64> {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from audit_log where (position, id) > ($1::text::xid8, $2)"#,
            position,
            id
        )
        .fetch_one(tx)
        .await
    }

    /// The next seals in the order of what they cover.
    pub(super) async fn seals_after(tx: &mut PgConnection, last: Option<&SealRow>) -> sqlx::Result<Vec<SealRow>> {
        sqlx::query_as!(
            SealRow,
            r#"select id,
                      from_position::text as "from_position!",
                      from_id,
                      to_position::text as "to_position!",
                      to_id,
                      row_count,
                      total_count,
                      previous_hmac,
                      hmac,
                      (extract(epoch from sealed_at) * 1000000)::bigint as "sealed_at!",
                      row_ids,
                      row_hmacs
                 from audit_seals
                where (audit_seals.to_position, to_id) > ($1::text::xid8, $2)
                order by audit_seals.to_position, to_id
                limit $3"#,
            last.map_or("0", |last| last.to_position.as_str()),
            last.map_or(0, |last| last.to_id),
            SEALS_AT_ONCE
        )
        .fetch_all(tx)
        .await
    }

    pub(super) async fn rows(tx: &mut PgConnection, ids: &[i64]) -> sqlx::Result<Vec<Found>> {
        let rows = sqlx::query!(
            r#"select id, user_id, action, resource_type, resource_id, details_digest, origin_digest, request_id,
                      (extract(epoch from created_at) * 1000000)::bigint as "created_at!",
                      position::text as "position!",
                      ((salt = '' and details = '{}')
                          or details_digest = sha256(salt || convert_to(details::text, 'UTF8'))) as "details_hold!",
                      ((origin_salt = '' and ip_address is null and user_agent = '')
                          or origin_digest = sha256(origin_salt
                              || convert_to(coalesce(ip_address::text, '') || e'\n' || user_agent, 'UTF8')))
                          as "origin_holds!"
                 from audit_log
                where id = any($1)"#,
            ids
        )
        .fetch_all(tx)
        .await?;
        let found = rows.into_iter().map(|row| Found {
            details_hold: row.details_hold,
            origin_holds: row.origin_holds,
            sealed: SealedRow {
                id: row.id,
                user_id: row.user_id,
                action: row.action,
                resource_type: row.resource_type,
                resource_id: row.resource_id,
                details_digest: row.details_digest,
                origin_digest: row.origin_digest,
                request_id: row.request_id,
                created_at: row.created_at,
                position: row.position,
            },
        });
        Ok(found.collect())
    }

    /// Rows up to this place that no seal covers.
    pub(super) async fn strangers(tx: &mut PgConnection, position: &str, id: i64) -> sqlx::Result<Vec<i64>> {
        sqlx::query_scalar!(
            "select a.id
               from audit_log a
               left join (select unnest(row_ids) as id from audit_seals) s on s.id = a.id
              where (a.position, a.id) <= ($1::text::xid8, $2)
                and s.id is null",
            position,
            id
        )
        .fetch_all(tx)
        .await
    }

    pub(super) async fn sealed_twice(tx: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
        sqlx::query_scalar!(
            r#"select id as "id!"
                 from (select unnest(row_ids) as id from audit_seals) s
                group by id
               having count(*) > 1"#
        )
        .fetch_all(tx)
        .await
    }

    /// The rows that were erased, and what of them.
    pub(super) async fn erased(tx: &mut PgConnection) -> sqlx::Result<[(Erasure, Vec<i64>); 2]> {
        let details = sqlx::query_scalar!("select id from audit_log where salt = '' order by id");
        let details = details.fetch_all(&mut *tx).await?;
        let origins = sqlx::query_scalar!("select id from audit_log where origin_salt = '' order by id");
        let origins = origins.fetch_all(&mut *tx).await?;
        Ok([(Erasure::Details, details), (Erasure::Origins, origins)])
    }

    /// The rows of which an anonymising says that it erased them.
    pub(super) async fn told_of(tx: &mut PgConnection, kind: Erasure) -> sqlx::Result<Vec<i64>> {
        let name = match kind {
            Erasure::Details => "erased_details",
            Erasure::Origins => "erased_origins",
        };
        sqlx::query_scalar!(
            r#"select e.id::bigint as "id!"
                 from audit_log a
                cross join jsonb_array_elements_text(a.details -> $1) as e (id)
                where a.action = 'anonymise'
                  and a.resource_type = 'user'
                  and jsonb_typeof(a.details -> $1) = 'array'"#,
            name
        )
        .fetch_all(tx)
        .await
    }
}
