//! What the advisor knows of a person: their own records, and what must not leave the house.

use std::fmt::Write as _;

use sqlx::{PgConnection, QueryBuilder, Row};

use crate::access::{Caller, UserType, Viewer};
use crate::core::push_audience;
use crate::http::{Answer, Problem};
use crate::ids::Id;

/// So many enrolments, the newest first; classes of the next two weeks; events that are to come.
const ENROLLMENTS: i64 = 60;
const CLASSES: i64 = 40;
const EVENTS: i64 = 20;

/// What says who a person is.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) email: String,
    pub(super) username: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) phone_number: String,
    pub(super) address_line1: String,
    pub(super) address_line2: String,
    pub(super) postal_code: String,
    pub(super) student_id: String,
    pub(super) emergency_contact_name: String,
    pub(super) emergency_contact_phone: String,
}

impl Identity {
    /// All of it, and each word of the names.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let names = [&self.first_name, &self.last_name, &self.emergency_contact_name];
        let whole = [
            &self.email,
            &self.username,
            &self.phone_number,
            &self.address_line1,
            &self.address_line2,
            &self.postal_code,
            &self.student_id,
            &self.emergency_contact_phone,
        ];
        let words = names.into_iter().flat_map(|name| name.split_whitespace());
        names.into_iter().chain(whole).map(String::as_str).chain(words)
    }

    /// The digits of the phone number.
    pub(super) fn phone_digits(&self) -> String {
        self.phone_number.chars().filter(char::is_ascii_digit).collect()
    }
}

pub(super) async fn person(conn: &mut PgConnection, id: Id) -> sqlx::Result<Identity> {
    sqlx::query_as!(
        Identity,
        r#"select u.email,
                  u.username,
                  u.first_name,
                  u.last_name,
                  u.phone_number,
                  u.address_line1,
                  u.address_line2,
                  u.postal_code,
                  coalesce(p.student_id, '') as "student_id!",
                  u.emergency_contact_name,
                  u.emergency_contact_phone
             from users u
             left join student_profiles p on p.user_id = u.id and p.deleted_at is null
            where u.id = $1"#,
        id.0
    )
    .fetch_one(conn)
    .await
}

/// The caller's enrolments, classes, events and gold, as text.
pub(super) async fn records(
    conn: &mut PgConnection,
    viewer: &Viewer,
    sees_all_events: bool,
    zone: &str,
) -> Answer<String> {
    let caller = viewer.caller().ok_or_else(Problem::not_authenticated)?;
    let mut text = String::new();
    push_enrollments(conn, caller, &mut text).await?;
    push_classes(conn, caller, zone, &mut text).await?;
    push_events(conn, caller, sees_all_events, zone, &mut text).await?;
    if let Some(gold) = gold(conn, caller).await? {
        push(&mut text, &format!("Social gold: {gold}"));
    }
    Ok(text)
}

fn push(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _written = writeln!(text, "{line}");
}

async fn push_enrollments(conn: &mut PgConnection, caller: &Caller, text: &mut String) -> sqlx::Result<()> {
    let rows = sqlx::query!(
        "select u.code, u.name, o.year, o.semester, e.status, e.grade
           from enrollments e
           join offerings o on o.id = e.offering_id
           join units u on u.id = o.unit_id
          where e.student_id = $1
            and e.deleted_at is null
          order by o.year desc, o.semester desc, u.code, e.id
          limit $2",
        caller.id.0,
        ENROLLMENTS
    )
    .fetch_all(conn)
    .await?;
    push(text, if rows.is_empty() { "Enrolments: none" } else { "Enrolments:" });
    for row in rows {
        let grade = if row.grade.is_empty() { String::new() } else { format!(", grade {}", row.grade) };
        push(text, &format!("- {} {}, {} {}: {}{grade}", row.code, row.name, row.semester, row.year, row.status));
    }
    Ok(())
}

async fn push_classes(conn: &mut PgConnection, caller: &Caller, zone: &str, text: &mut String) -> sqlx::Result<()> {
    let rows = sqlx::query!(
        "select u.code, s.session_type, s.date, s.start_time, s.location
           from class_sessions s
           join offerings o on o.id = s.offering_id
           join units u on u.id = o.unit_id
          where s.offering_id = any(array(select e.offering_id
                                            from enrollments e
                                           where e.student_id = $1
                                             and e.status = 'ENROLLED'
                                             and e.deleted_at is null))
            and s.date between (rule_now() at time zone $2)::date and (rule_now() at time zone $2)::date + 14
            and s.status = 'scheduled'
            and s.deleted_at is null
          order by s.date, s.start_time, s.id
          limit $3",
        caller.id.0,
        zone,
        CLASSES
    )
    .fetch_all(conn)
    .await?;
    push(text, if rows.is_empty() { "Classes in the next two weeks: none" } else { "Classes in the next two weeks:" });
    for row in rows {
        let place = if row.location.is_empty() { String::new() } else { format!(", {}", row.location) };
        let time = row.start_time.format("%H:%M");
        push(
            text,
            &format!("- {} {} {time} {} {}{place}", row.date, row.date.format("%a"), row.code, row.session_type),
        );
    }
    Ok(())
}

async fn push_events(
    conn: &mut PgConnection,
    caller: &Caller,
    all: bool,
    zone: &str,
    text: &mut String,
) -> sqlx::Result<()> {
    let mut sql = QueryBuilder::new("select e.title, e.location, to_char(e.start at time zone ");
    sql.push_bind(zone.to_owned());
    sql.push(
        ", 'YYYY-MM-DD HH24:MI') as starts
           from events e
          where e.deleted_at is null
            and e.start between rule_now() and rule_now() + interval '60 days'",
    );
    if !all {
        push_audience(&mut sql, Some(caller.id), caller.user_type == UserType::Student);
    }
    sql.push(" order by e.start, e.id limit ").push_bind(EVENTS);
    let rows = sql.build().fetch_all(conn).await?;
    push(text, if rows.is_empty() { "Events to come: none" } else { "Events to come:" });
    for row in rows {
        let (title, location, starts): (String, String, String) =
            (row.try_get("title")?, row.try_get("location")?, row.try_get("starts")?);
        let place = if location.is_empty() { String::new() } else { format!(", {location}") };
        push(text, &format!("- {starts} {title}{place}"));
    }
    Ok(())
}

async fn gold(conn: &mut PgConnection, caller: &Caller) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "select current_balance
           from gold_accounts
          where student_id = $1
            and deleted_at is null",
        caller.id.0
    )
    .fetch_optional(conn)
    .await
}
