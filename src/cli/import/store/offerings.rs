//! Offerings and the intakes they belong to.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{CHUNK, column};
use crate::cli::import::report::Progress;

/// An offering that is there.
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) unit_id: i64,
    pub(crate) year: i32,
    pub(crate) semester: String,
    pub(crate) enrollment_start: DateTime<Utc>,
    pub(crate) enrollment_end: DateTime<Utc>,
    pub(crate) capacity: i32,
    pub(crate) current_enrollment: i32,
    pub(crate) notes: String,
}

/// An offering that is to be made.
pub(crate) struct New {
    pub(crate) unit_id: i64,
    pub(crate) year: i32,
    pub(crate) semester: &'static str,
    pub(crate) enrollment_start: DateTime<Utc>,
    pub(crate) enrollment_end: DateTime<Utc>,
    pub(crate) capacity: i32,
    pub(crate) notes: String,
}

/// How an offering is to be.
pub(crate) struct Changed {
    pub(crate) id: i64,
    pub(crate) enrollment_start: DateTime<Utc>,
    pub(crate) enrollment_end: DateTime<Utc>,
    pub(crate) capacity: i32,
    pub(crate) notes: String,
}

impl Changed {
    /// Whether it is so already.
    pub(crate) fn is(&self, now: &Known) -> bool {
        (self.enrollment_start, self.enrollment_end, self.capacity, &self.notes)
            == (now.enrollment_start, now.enrollment_end, now.capacity, &now.notes)
    }
}

/// The live offerings of these units, locked against changes until the transaction ends.
pub(crate) async fn hold_of_units(tx: &mut PgConnection, units: &[i64]) -> sqlx::Result<Vec<Known>> {
    sqlx::query_as!(
        Known,
        "select id, unit_id, year, semester, enrollment_start, enrollment_end, capacity, current_enrollment, notes
           from offerings
          where unit_id = any($1)
            and deleted_at is null
          order by id
            for no key update",
        units
    )
    .fetch_all(tx)
    .await
}

/// Makes the offerings, and the intakes that are missing.
pub(crate) async fn add(tx: &mut PgConnection, offerings: &[New], progress: &Progress) -> sqlx::Result<()> {
    let (years, semesters) = (column(offerings, |o| o.year), column(offerings, |o| o.semester));
    sqlx::query!(
        "insert into intakes (year, semester, made_for_offering)
         select distinct year, semester, true
           from unnest($1::int[], $2::text[]) as w (year, semester)
          order by year, semester
             on conflict (year, semester) where deleted_at is null do nothing",
        &years as _,
        &semesters as _
    )
    .execute(&mut *tx)
    .await?;
    // Locked against deletion, as whoever makes one offering does.
    sqlx::query!(
        "select id
           from intakes
          where (year, semester) in (select * from unnest($1::int[], $2::text[]))
            and deleted_at is null
          order by id
            for share",
        &years as _,
        &semesters as _
    )
    .fetch_all(&mut *tx)
    .await?;
    for offerings in offerings.chunks(CHUNK) {
        sqlx::query!(
            "insert into offerings (unit_id, year, semester, intake_id, enrollment_start, enrollment_end, capacity, notes)
             select w.unit_id, w.year, w.semester, i.id, w.enrollment_start, w.enrollment_end, w.capacity, w.notes
               from unnest($1::bigint[], $2::int[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::int[], $7::text[])
                    as w (unit_id, year, semester, enrollment_start, enrollment_end, capacity, notes)
               join intakes i on i.year = w.year and i.semester = w.semester and i.deleted_at is null",
            column(offerings, |o| o.unit_id) as _,
            column(offerings, |o| o.year) as _,
            column(offerings, |o| o.semester) as _,
            column(offerings, |o| o.enrollment_start) as _,
            column(offerings, |o| o.enrollment_end) as _,
            column(offerings, |o| o.capacity) as _,
            column(offerings, |o| o.notes.as_str()) as _
        )
        .execute(&mut *tx)
        .await?;
        progress.advance(offerings.len());
    }
    Ok(())
}

/// Writes what offerings are to be.
pub(crate) async fn change(tx: &mut PgConnection, offerings: &[Changed], progress: &Progress) -> sqlx::Result<()> {
    for offerings in offerings.chunks(CHUNK) {
        sqlx::query!(
            "update offerings o
                set enrollment_start = w.enrollment_start,
                    enrollment_end = w.enrollment_end,
                    capacity = w.capacity,
                    notes = w.notes,
                    updated_at = rule_now(),
                    updated_by = null
               from unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::int[], $5::text[])
                    as w (id, enrollment_start, enrollment_end, capacity, notes)
              where o.id = w.id",
            column(offerings, |o| o.id) as _,
            column(offerings, |o| o.enrollment_start) as _,
            column(offerings, |o| o.enrollment_end) as _,
            column(offerings, |o| o.capacity) as _,
            column(offerings, |o| o.notes.as_str()) as _
        )
        .execute(&mut *tx)
        .await?;
        progress.advance(offerings.len());
    }
    Ok(())
}
