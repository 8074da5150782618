//! Units and their requisites.

use std::collections::HashMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::{CHUNK, column};
use crate::cli::import::report::Progress;

/// A unit that is there.
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) code: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) credit_points: Decimal,
    pub(crate) department: String,
}

/// How a unit is to be.
pub(crate) struct Wanted<'a> {
    pub(crate) code: &'a str,
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
    pub(crate) credit_points: Decimal,
    pub(crate) department: &'a str,
}

impl Wanted<'_> {
    /// Whether it is so already.
    pub(crate) fn is(&self, now: &Known) -> bool {
        (self.name, self.description, self.department) == (&*now.name, &*now.description, &*now.department)
            && self.credit_points == now.credit_points
    }
}

/// A unit and one of its prerequisites.
pub(crate) struct Edge {
    pub(crate) unit_id: i64,
    pub(crate) unit_code: String,
    pub(crate) prerequisite_id: i64,
    pub(crate) prerequisite_code: String,
}

/// Takes the right to change requisites, until the transaction ends. The API takes the same lock: two changes, each
/// without a cycle, could make one together.
pub(crate) async fn hold_requisites(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('change the requisites of units', 0))")
        .execute(tx)
        .await?;
    Ok(())
}

/// The live units with one of these codes, locked against changes until the transaction ends.
pub(crate) async fn hold_named(tx: &mut PgConnection, codes: &[String]) -> sqlx::Result<Vec<Known>> {
    sqlx::query_as!(
        Known,
        "select id, code, name, description, credit_points, department
           from units
          where code_key in (select code_key(w.code) from unnest($1::text[]) as w (code))
            and deleted_at is null
          order by id
            for no key update",
        codes
    )
    .fetch_all(tx)
    .await
}

/// All prerequisites of all units.
pub(crate) async fn prerequisites(tx: &mut PgConnection) -> sqlx::Result<Vec<Edge>> {
    sqlx::query_as!(
        Edge,
        "select p.unit_id, u.code as unit_code, p.prerequisite_id, n.code as prerequisite_code
           from unit_prerequisites p
           join units u on u.id = p.unit_id
           join units n on n.id = p.prerequisite_id
          order by p.unit_id, p.prerequisite_id"
    )
    .fetch_all(tx)
    .await
}

/// The pairs of anti-requisites of these units, the lower id first.
pub(crate) async fn anti_requisites(tx: &mut PgConnection, ids: &[i64]) -> sqlx::Result<Vec<(i64, i64)>> {
    let pairs = sqlx::query!(
        "select lower_unit_id, upper_unit_id
           from unit_anti_requisites
          where lower_unit_id = any($1)
             or upper_unit_id = any($1)
          order by lower_unit_id, upper_unit_id",
        ids
    )
    .fetch_all(tx)
    .await?;
    Ok(pairs.into_iter().map(|pair| (pair.lower_unit_id, pair.upper_unit_id)).collect())
}

/// The ids of the new units, by code.
pub(crate) async fn add(
    tx: &mut PgConnection,
    units: &[&Wanted<'_>],
    progress: &Progress,
) -> sqlx::Result<HashMap<String, i64>> {
    let mut made = HashMap::with_capacity(units.len());
    for units in units.chunks(CHUNK) {
        let new = sqlx::query!(
            "insert into units (code, name, description, credit_points, department)
             select code, name, description, credit_points, department
               from unnest($1::text[], $2::text[], $3::text[], $4::numeric[], $5::text[])
                    as w (code, name, description, credit_points, department)
             returning id, code",
            column(units, |unit| unit.code) as _,
            column(units, |unit| unit.name) as _,
            column(units, |unit| unit.description) as _,
            column(units, |unit| unit.credit_points) as _,
            column(units, |unit| unit.department) as _
        )
        .fetch_all(&mut *tx)
        .await?;
        made.extend(new.into_iter().map(|unit| (unit.code, unit.id)));
        progress.advance(units.len());
    }
    Ok(made)
}

/// Writes what units are to be; their codes stay as they are spelt.
pub(crate) async fn change(
    tx: &mut PgConnection,
    units: &[(i64, Wanted<'_>)],
    progress: &Progress,
) -> sqlx::Result<()> {
    for units in units.chunks(CHUNK) {
        sqlx::query!(
            "update units u
                set name = w.name,
                    description = w.description,
                    credit_points = w.credit_points,
                    department = w.department,
                    updated_at = rule_now(),
                    updated_by = null
               from unnest($1::bigint[], $2::text[], $3::text[], $4::numeric[], $5::text[])
                    as w (id, name, description, credit_points, department)
              where u.id = w.id",
            column(units, |(id, _)| *id) as _,
            column(units, |(_, unit)| unit.name) as _,
            column(units, |(_, unit)| unit.description) as _,
            column(units, |(_, unit)| unit.credit_points) as _,
            column(units, |(_, unit)| unit.department) as _
        )
        .execute(&mut *tx)
        .await?;
        progress.advance(units.len());
    }
    Ok(())
}

/// Marks units as changed.
pub(crate) async fn touch(tx: &mut PgConnection, ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "update units
            set updated_at = rule_now(),
                updated_by = null
          where id = any($1)",
        ids
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn add_prerequisites(tx: &mut PgConnection, pairs: &[(i64, i64)]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into unit_prerequisites (unit_id, prerequisite_id)
         select *
           from unnest($1::bigint[], $2::bigint[])",
        column(pairs, |pair| pair.0) as _,
        column(pairs, |pair| pair.1) as _
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn remove_prerequisites(tx: &mut PgConnection, pairs: &[(i64, i64)]) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from unit_prerequisites p
          using unnest($1::bigint[], $2::bigint[]) as w (unit_id, prerequisite_id)
          where p.unit_id = w.unit_id
            and p.prerequisite_id = w.prerequisite_id",
        column(pairs, |pair| pair.0) as _,
        column(pairs, |pair| pair.1) as _
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn add_anti_requisites(tx: &mut PgConnection, pairs: &[(i64, i64)]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into unit_anti_requisites (lower_unit_id, upper_unit_id)
         select least(a, b), greatest(a, b)
           from unnest($1::bigint[], $2::bigint[]) as w (a, b)",
        column(pairs, |pair| pair.0) as _,
        column(pairs, |pair| pair.1) as _
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) async fn remove_anti_requisites(tx: &mut PgConnection, pairs: &[(i64, i64)]) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from unit_anti_requisites x
          using unnest($1::bigint[], $2::bigint[]) as w (lower_unit_id, upper_unit_id)
          where x.lower_unit_id = w.lower_unit_id
            and x.upper_unit_id = w.upper_unit_id",
        column(pairs, |pair| pair.0) as _,
        column(pairs, |pair| pair.1) as _
    )
    .execute(tx)
    .await?;
    Ok(())
}
