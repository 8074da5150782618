//! Every SQL statement of the ledger's entries.

use chrono::NaiveDate;
use chrono_tz::Tz;
use sqlx::PgConnection;

use crate::ids::Id;
use crate::social::gold::ledger::Entry;
use crate::users::accounts::user_brief;

/// The columns of an entry.
pub(super) const SELECT: &str = concat!(
    "
select t.id,
       ",
    user_brief!("s", "f"),
    " as student,
       t.amount,
       t.transaction_type,
       t.reason,
       t.details,
       t.balance_after,
       case when b.id is not null then ",
    user_brief!("b", "g"),
    " end as awarded_by,
       t.created_at
from gold_transactions t
join users s on s.id = t.student_id
left join stored_files f on f.id = s.profile_image_id and f.deleted_at is null
left join users b on b.id = t.awarded_by_id
left join stored_files g on g.id = b.profile_image_id and g.deleted_at is null"
);

/// Whether this student has an account, as every student does.
pub(super) async fn has_account(tx: &mut PgConnection, student: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select exists (select from gold_accounts where student_id = $1) as "has!""#, student.0)
        .fetch_one(tx)
        .await
}

/// A student whom a row may mean.
pub(super) struct Meant {
    /// The row's place among those that were asked for, from 1.
    pub(super) nth: i64,
    pub(super) student: Id,
}

/// Whom these rows mean, each by e-mail address, student number or id (none where it cannot be one); of students with an
/// enrolment, not a withdrawn one, in a unit of this convenor alone, if one is named.
pub(super) async fn meant(
    tx: &mut PgConnection,
    spelt: &[String],
    ids: &[Option<i64>],
    convenor: Option<Id>,
) -> sqlx::Result<Vec<Meant>> {
    sqlx::query_as!(
        Meant,
        r#"with sent as (
              select *
                from unnest($1::text[], $2::bigint[]) with ordinality as s (spelt, id, nth)
           ),
           meant as (
              select s.nth, u.id
                from sent s
                join users u on lower(u.email) = lower(s.spelt)
               union
              select s.nth, p.user_id
                from sent s
                join student_profiles p on p.student_id = s.spelt
               where p.deleted_at is null
               union
              select s.nth, s.id
                from sent s
               where s.id is not null
           )
           select m.nth as "nth!",
                  a.student_id as "student!: Id"
             from meant m
             join gold_accounts a on a.student_id = m.id
            where $3::bigint is null
               or a.student_id = any(array(select e.student_id
                                             from enrollments e
                                             join offerings o on o.id = e.offering_id
                                            where e.deleted_at is null
                                              and e.status <> 'WITHDRAWN'
                                              and o.convenor_id = $3))
            order by m.nth, a.student_id"#,
        spelt,
        ids as &[Option<i64>],
        convenor as Option<Id>
    )
    .fetch_all(tx)
    .await
}

/// An entry that is already in the ledger.
pub(super) struct Repeated {
    /// Which of those that were asked for is like it, from 1.
    pub(super) nth: i64,
    /// The day on which it was made, in this zone.
    pub(super) day: NaiveDate,
}

/// Which of these awards are in the ledger already as this person's, of the last thirty days.
pub(super) async fn repeated(
    tx: &mut PgConnection,
    by: Id,
    entries: &[&Entry],
    zone: Tz,
) -> sqlx::Result<Vec<Repeated>> {
    let students: Vec<i64> = entries.iter().map(|entry| entry.student.0).collect();
    let amounts: Vec<i64> = entries.iter().map(|entry| entry.amount).collect();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.name()).collect();
    let reasons: Vec<&str> = entries.iter().map(|entry| entry.reason.as_str()).collect();
    let details: Vec<&str> = entries.iter().map(|entry| entry.details.as_str()).collect();
    sqlx::query_as!(
        Repeated,
        r#"select r.nth as "nth!",
                  (max(t.created_at) at time zone $7)::date as "day!"
             from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])
                  with ordinality as r (student_id, amount, kind, reason, details, nth)
             join gold_transactions t
                  on t.student_id = r.student_id
                     and t.created_at > rule_now() - interval '30 days'
                     and t.amount = r.amount
                     and t.transaction_type = r.kind
                     and t.reason = r.reason
                     and t.details = r.details
            where t.awarded_by_id = $6
            group by r.nth
            order by r.nth"#,
        &students,
        &amounts,
        kinds as _,
        reasons as _,
        details as _,
        by as Id,
        zone.name()
    )
    .fetch_all(tx)
    .await
}
