//! Every SQL statement of gold accounts and their ledger.

use sqlx::PgConnection;

use super::ledger::{Entry, Made};
use crate::ids::Id;
use crate::users::accounts::user_brief;

/// The columns of an account.
pub(super) const SELECT: &str = concat!(
    "
select a.id,
       ",
    user_brief!("s", "f"),
    " as student,
       a.current_balance,
       a.lifetime_earned,
       a.updated_at
from gold_accounts a
join users s on s.id = a.student_id
left join stored_files f on f.id = s.profile_image_id and f.deleted_at is null"
);

/// Whether the student has an enrolment, not a withdrawn one, in a unit of this convenor.
pub(super) async fn is_in_unit_of(tx: &mut PgConnection, student: Id, convenor: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
             select
               from enrollments e
               join offerings o on o.id = e.offering_id
              where e.student_id = $1
                and e.deleted_at is null
                and e.status <> 'WITHDRAWN'
                and o.convenor_id = $2) as "is!""#,
        student.0,
        convenor.0
    )
    .fetch_one(tx)
    .await
}

/// Locks the accounts of these students, in the order that everybody does.
pub(super) async fn hold(tx: &mut PgConnection, students: &[Id]) -> sqlx::Result<()> {
    sqlx::query!(
        "select id
           from gold_accounts
          where student_id = any($1)
          order by student_id
            for no key update",
        students as &[Id]
    )
    .fetch_all(tx)
    .await?;
    Ok(())
}

/// What these students have; who has no account is left out.
pub(super) async fn balances(tx: &mut PgConnection, students: &[Id]) -> sqlx::Result<Vec<(Id, i64)>> {
    let rows = sqlx::query!(
        r#"select student_id as "student: Id",
                  current_balance
             from gold_accounts
            where student_id = any($1)"#,
        students as &[Id]
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.student, row.current_balance)).collect())
}

/// Moves the balances and makes the entries, in one statement: each is numbered and has the balance after it.
pub(super) async fn append(tx: &mut PgConnection, author: Option<Id>, entries: &[Entry]) -> sqlx::Result<Vec<Made>> {
    let students: Vec<i64> = entries.iter().map(|entry| entry.student.0).collect();
    let amounts: Vec<i64> = entries.iter().map(Entry::signed).collect();
    let kinds: Vec<&str> = entries.iter().map(Entry::kind_name).collect();
    let reasons: Vec<&str> = entries.iter().map(|entry| entry.reason.as_str()).collect();
    let details: Vec<&str> = entries.iter().map(|entry| entry.details.as_str()).collect();
    sqlx::query_as!(
        Made,
        r#"with sent as (
              select *
                from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[]) with ordinality
                  as s (student_id, amount, transaction_type, reason, details, nth)
           ),
           total as (
              select student_id,
                     sum(amount)::bigint as amount,
                     coalesce(sum(amount) filter (where amount > 0), 0)::bigint as earned,
                     count(*) as entries
                from sent
               group by student_id
           ),
           account as (
              update gold_accounts a
                 set current_balance = a.current_balance + t.amount,
                     lifetime_earned = a.lifetime_earned + t.earned,
                     last_seq = a.last_seq + t.entries,
                     updated_at = rule_now(),
                     updated_by = $6
                from total t
               where a.student_id = t.student_id
              returning a.student_id,
                        a.lifetime_earned,
                        a.current_balance - t.amount as balance_before,
                        a.last_seq - t.entries as seq_before
           ),
           made as (
              insert into gold_transactions (student_id, seq, amount, transaction_type, reason, details, balance_after,
                                             awarded_by_id)
              select s.student_id,
                     a.seq_before + row_number() over so_far,
                     s.amount,
                     s.transaction_type,
                     s.reason,
                     s.details,
                     a.balance_before + sum(s.amount) over so_far,
                     $6
                from sent s
                join account a on a.student_id = s.student_id
              window so_far as (partition by s.student_id order by s.nth)
               order by s.nth
              returning id, student_id, seq, balance_after
           )
           select m.id as "id!: Id",
                  m.balance_after as "balance_after!",
                  a.lifetime_earned as "lifetime_earned!"
             from (select sent.nth,
                          sent.student_id,
                          row_number() over (partition by sent.student_id order by sent.nth) as place
                     from sent) s
             join account a on a.student_id = s.student_id
             join made m on m.student_id = s.student_id and m.seq = a.seq_before + s.place
            order by s.nth"#,
        &students,
        &amounts,
        kinds as _,
        reasons as _,
        details as _,
        author.map(|id| id.0)
    )
    .fetch_all(tx)
    .await
}

/// Gold that has expired.
pub(super) struct Due {
    pub(super) student: Id,
    pub(super) amount: i64,
}

/// Whose gold was not spent within so many days, and how much of it; of these students alone, if any are named.
///
/// What is spent is the oldest, so what is left is the newest: what was earned within that time, if it is still there, and
/// whatever the balance has beyond it is older.
pub(super) async fn due(conn: &mut PgConnection, days: u32, of: Option<&[Id]>) -> sqlx::Result<Vec<Due>> {
    sqlx::query_as!(
        Due,
        r#"select a.student_id as "student: Id",
                  (a.current_balance - recent.earned)::bigint as "amount!"
             from gold_accounts a
            cross join lateral (select coalesce(sum(t.amount), 0) as earned
                                  from gold_transactions t
                                 where t.student_id = a.student_id
                                   and t.amount > 0
                                   and t.created_at > rule_now() - make_interval(days => $1)) recent
            where a.current_balance > recent.earned
              and a.current_balance > 0
              and ($2::bigint[] is null or a.student_id = any($2))
            order by a.student_id
            limit 500"#,
        i32::try_from(days).unwrap_or(i32::MAX),
        of as Option<&[Id]>
    )
    .fetch_all(conn)
    .await
}
