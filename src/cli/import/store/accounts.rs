//! Accounts, with what belongs to every student.

use std::collections::HashMap;

use chrono::NaiveDate;
use chrono_tz::Tz;
use sqlx::{PgConnection, PgExecutor};

use super::{CHUNK, column};
use crate::cli::import::report::Progress;
use crate::ids::Id;
use crate::users::names;

/// An account that is there.
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) email: String,
    pub(crate) username: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) user_type: String,
    pub(crate) date_of_birth: Option<NaiveDate>,
    pub(crate) course_id: Option<i64>,
    /// The number on the student card.
    pub(crate) student_number: Option<String>,
}

/// An account that is to be made.
pub(crate) struct New<'a> {
    pub(crate) email: &'a str,
    pub(crate) username: &'a str,
    pub(crate) password_hash: &'a str,
    pub(crate) first_name: &'a str,
    pub(crate) last_name: &'a str,
    pub(crate) user_type: &'a str,
    pub(crate) department: &'a str,
    pub(crate) position: &'a str,
    pub(crate) date_of_birth: Option<NaiveDate>,
    /// Of students only.
    pub(crate) course_id: Option<i64>,
    /// The number on the student card; made from the id when there is none.
    pub(crate) student_number: Option<&'a str>,
}

/// How a student's account is to be.
pub(crate) struct Changed<'a> {
    pub(crate) id: i64,
    pub(crate) username: &'a str,
    pub(crate) first_name: &'a str,
    pub(crate) last_name: &'a str,
    pub(crate) date_of_birth: Option<NaiveDate>,
    pub(crate) course_id: Option<i64>,
    /// As it is when there is none.
    pub(crate) student_number: Option<&'a str>,
}

impl Changed<'_> {
    /// Whether the account is so already.
    pub(crate) fn is(&self, now: &Known) -> bool {
        let same_number = self.student_number.is_none_or(|number| now.student_number.as_deref() == Some(number));
        let person = (self.username, self.first_name, self.last_name, self.date_of_birth);
        same_number
            && person == (&*now.username, &*now.first_name, &*now.last_name, now.date_of_birth)
            && self.course_id == now.course_id
    }
}

/// A programme of study.
pub(crate) struct Course {
    pub(crate) id: i64,
    pub(crate) code: String,
    pub(crate) name: String,
}

/// The accounts with one of these addresses or user names.
pub(crate) async fn named(db: impl PgExecutor<'_>, emails: &[&str], usernames: &[&str]) -> sqlx::Result<Vec<Known>> {
    sqlx::query_as!(
        Known,
        r#"with found as (
               select id from users where lower(email) in (select lower(e) from unnest($1::text[]) as w (e))
               union
               select id from users where lower(username) in (select lower(u) from unnest($2::text[]) as w (u))
           )
           select u.id, u.email, u.username, u.first_name, u.last_name, u.user_type, u.date_of_birth,
                  p.course_id as "course_id?", p.student_id as "student_number?"
             from found
             join users u on u.id = found.id
             left join student_profiles p on p.user_id = u.id and p.deleted_at is null
            order by u.id"#,
        emails as _,
        usernames as _
    )
    .fetch_all(db)
    .await
}

/// Locks the accounts with one of these addresses until the transaction ends.
pub(crate) async fn hold(tx: &mut PgConnection, emails: &[&str]) -> sqlx::Result<()> {
    sqlx::query!(
        "select id
           from users
          where lower(email) in (select lower(e) from unnest($1::text[]) as w (e))
          order by id
            for no key update",
        emails as _
    )
    .fetch_all(tx)
    .await?;
    Ok(())
}

/// Whose these student numbers are: the number and the address.
pub(crate) async fn numbered(db: impl PgExecutor<'_>, numbers: &[&str]) -> sqlx::Result<Vec<(String, String)>> {
    let found = sqlx::query!(
        "select p.student_id, u.email
           from student_profiles p
           join users u on u.id = p.user_id
          where p.student_id = any($1)
            and p.deleted_at is null",
        numbers as _
    );
    Ok(found.fetch_all(db).await?.into_iter().map(|found| (found.student_id, found.email)).collect())
}

/// The day in this zone.
pub(crate) async fn today(db: impl PgExecutor<'_>, zone: Tz) -> sqlx::Result<NaiveDate> {
    sqlx::query_scalar!(r#"select (rule_now() at time zone $1)::date as "today!""#, zone.name()).fetch_one(db).await
}

/// All live courses.
pub(crate) async fn courses(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Course>> {
    sqlx::query_as!(
        Course,
        "select id, code, name
           from courses
          where deleted_at is null
          order by id"
    )
    .fetch_all(db)
    .await
}

/// Locks courses against deletion until the transaction ends.
pub(crate) async fn hold_courses(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "select id
           from courses
          where deleted_at is null
          order by id
            for share"
    )
    .fetch_all(tx)
    .await?;
    Ok(())
}

/// Makes accounts; students get a profile with a number of their own and a gold account. Returns the ids by address.
pub(crate) async fn add(
    tx: &mut PgConnection,
    accounts: &[New<'_>],
    progress: &Progress,
) -> sqlx::Result<HashMap<String, i64>> {
    let mut made = HashMap::with_capacity(accounts.len());
    for accounts in accounts.chunks(CHUNK) {
        let new = sqlx::query!(
            "with wanted as (
                select *
                  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                              $8::text[], $9::bigint[], $10::text[], $11::text[], $12::date[])
                       as w (email, username, password_hash, first_name, last_name, user_type, department, position,
                             course_id, username_key, student_number, date_of_birth)
             ),
             account as (
                insert into users (email, username, password_hash, first_name, last_name, user_type, department, position,
                                   username_key, date_of_birth)
                select email, username, password_hash, first_name, last_name, user_type, department, position, username_key,
                       date_of_birth
                  from wanted
                returning id, email, user_type
             ),
             profile as (
                insert into student_profiles (user_id, student_id, course_id)
                select a.id,
                       coalesce(w.student_number, 'S-' || lpad(a.id::text, greatest(8, length(a.id::text)), '0')),
                       w.course_id
                  from account a
                  join wanted w on w.email = a.email
                 where a.user_type = 'student'
             ),
             gold as (
                insert into gold_accounts (student_id)
                select id
                  from account
                 where user_type = 'student'
             )
             select id, email from account",
            column(accounts, |account| account.email) as _,
            column(accounts, |account| account.username) as _,
            column(accounts, |account| account.password_hash) as _,
            column(accounts, |account| account.first_name) as _,
            column(accounts, |account| account.last_name) as _,
            column(accounts, |account| account.user_type) as _,
            column(accounts, |account| account.department) as _,
            column(accounts, |account| account.position) as _,
            column(accounts, |account| account.course_id) as _,
            column(accounts, |account| names::look(account.username)) as _,
            column(accounts, |account| account.student_number) as _,
            column(accounts, |account| account.date_of_birth) as _
        )
        .fetch_all(&mut *tx)
        .await?;
        made.extend(new.into_iter().map(|account| (account.email, account.id)));
        progress.advance(accounts.len());
    }
    Ok(made)
}

/// Writes what students' accounts are to be.
pub(crate) async fn change(tx: &mut PgConnection, accounts: &[Changed<'_>], progress: &Progress) -> sqlx::Result<()> {
    for accounts in accounts.chunks(CHUNK) {
        let ids = column(accounts, |account| account.id);
        sqlx::query!(
            "update users u
                set username = w.username,
                    username_key = w.username_key,
                    first_name = w.first_name,
                    last_name = w.last_name,
                    date_of_birth = w.date_of_birth,
                    updated_at = rule_now(),
                    updated_by = null
               from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::date[])
                    as w (id, username, first_name, last_name, username_key, date_of_birth)
              where u.id = w.id
                and (u.username, u.first_name, u.last_name, u.date_of_birth)
                    is distinct from (w.username, w.first_name, w.last_name, w.date_of_birth)",
            &ids as _,
            column(accounts, |account| account.username) as _,
            column(accounts, |account| account.first_name) as _,
            column(accounts, |account| account.last_name) as _,
            column(accounts, |account| names::look(account.username)) as _,
            column(accounts, |account| account.date_of_birth) as _
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "update student_profiles p
                set course_id = w.course_id,
                    student_id = coalesce(w.student_number, p.student_id),
                    updated_at = rule_now(),
                    updated_by = null
               from unnest($1::bigint[], $2::bigint[], $3::text[]) as w (user_id, course_id, student_number)
              where p.user_id = w.user_id
                and p.deleted_at is null
                and (p.course_id is distinct from w.course_id
                     or p.student_id <> w.student_number)",
            &ids as _,
            column(accounts, |account| account.course_id) as _,
            column(accounts, |account| account.student_number) as _
        )
        .execute(&mut *tx)
        .await?;
        progress.advance(accounts.len());
    }
    Ok(())
}

/// Which of these names are taken: address, user name.
pub(crate) async fn taken(db: impl PgExecutor<'_>, email: &str, username: &str) -> sqlx::Result<(bool, bool)> {
    let taken = sqlx::query!(
        r#"select exists (select from users where lower(email) = lower($1)) as "email!",
                  exists (select from users
                           where lower(username) = lower($2)
                              or coalesce(username_key, lower(username)) = $3) as "username!""#,
        email,
        username,
        names::look(username).unwrap_or_else(|| names::fold(username))
    )
    .fetch_one(db)
    .await?;
    Ok((taken.email, taken.username))
}

/// Makes an administrator.
pub(crate) async fn add_superuser(
    tx: &mut PgConnection,
    email: &str,
    username: &str,
    password_hash: &str,
) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into users (email, username, password_hash, user_type, is_staff, is_superuser, username_key)
           values ($1, $2, $3, 'admin', true, true, $4)
           returning id as "id: Id""#,
        email,
        username,
        password_hash,
        names::look(username)
    )
    .fetch_one(tx)
    .await
}
