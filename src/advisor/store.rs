//! What the advisor knows of a person: their own records, and what must not leave the house.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder, Row};

use crate::access::{Caller, Permission, UserType, Viewer};
use crate::core::push_audience;
use crate::enrollment::Status;
use crate::ids::Id;
use crate::users::guardians;

/// So many enrolments, the newest first; classes of the next two weeks; events that are to come; entries of gold, the newest
/// first; units that a course requires; children.
const ENROLLMENTS: i64 = 60;
const CLASSES: i64 = 40;
const EVENTS: i64 = 20;
const ENTRIES: i64 = 5;
const REQUIREMENTS: i64 = 60;
const CHILDREN: i64 = 10;

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

/// An enrolment of a student.
pub(super) struct Enrolment {
    pub(super) offering: Id,
    pub(super) status: Status,
    /// Such as `COS10009 Introduction to Programming, S1 2026`.
    pub(super) class: String,
    pub(super) grade: String,
}

/// The student's enrolments, the newest first.
pub(super) async fn enrolments(conn: &mut PgConnection, student: Id) -> sqlx::Result<Vec<Enrolment>> {
    sqlx::query_as!(
        Enrolment,
        r#"select o.id as "offering: Id",
                  e.status as "status: Status",
                  u.code || ' ' || u.name || ', ' || o.semester || ' ' || o.year as "class!",
                  e.grade
             from enrollments e
             join offerings o on o.id = e.offering_id
             join units u on u.id = o.unit_id
            where e.student_id = $1
              and e.deleted_at is null
            order by o.year desc, o.semester desc, u.code, e.id
            limit $2"#,
        student.0,
        ENROLLMENTS
    )
    .fetch_all(conn)
    .await
}

/// The classes of the next two weeks in which the student sits, such as `2026-03-05 Thu 09:30 COS10009 lecture, Room 1`.
pub(super) async fn classes(conn: &mut PgConnection, student: Id) -> sqlx::Result<Vec<String>> {
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
            and s.date between local_day() and local_day() + 14
            and s.status = 'scheduled'
            and s.deleted_at is null
          order by s.date, s.start_time, s.id
          limit $2",
        student.0,
        CLASSES
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let (day, time) = (row.date.format("%Y-%m-%d %a"), row.start_time.format("%H:%M"));
            format!("{day} {time} {} {}{}", row.code, row.session_type, at(&row.location))
        })
        .collect())
}

/// The events of the next 60 days that the viewer may see, such as `2026-03-09 09:00 Open Day, Hall`.
pub(super) async fn events(conn: &mut PgConnection, viewer: &Viewer) -> sqlx::Result<Vec<String>> {
    let mut sql = QueryBuilder::<Postgres>::new(
        "select e.title, e.location, to_char(local_time_of(e.start), 'YYYY-MM-DD HH24:MI') as starts
           from events e
          where e.deleted_at is null
            and e.start between rule_now() and rule_now() + interval '60 days'",
    );
    if !viewer.reach(Permission::ReadEvents).is_all() {
        let is_student = viewer.caller().is_some_and(|caller| caller.user_type == UserType::Student);
        push_audience(&mut sql, viewer.caller_id(), is_student);
    }
    sql.push(" order by e.start, e.id limit ").push_bind(EVENTS);
    let rows = sql.build().fetch_all(conn).await?;
    let event = |row: &sqlx::postgres::PgRow| -> sqlx::Result<String> {
        let (title, location, starts): (String, String, String) =
            (row.try_get("title")?, row.try_get("location")?, row.try_get("starts")?);
        Ok(format!("{starts} {title}{}", at(&location)))
    };
    rows.iter().map(event).collect()
}

/// The place behind a comma, if there is one.
fn at(location: &str) -> String {
    if location.is_empty() { String::new() } else { format!(", {location}") }
}

/// A student's gold.
pub(super) struct Gold {
    pub(super) balance: i64,
    pub(super) earned: i64,
    /// The achievement that is next, and what has to be earned for it.
    pub(super) next: Option<String>,
    pub(super) next_at: Option<i64>,
    pub(super) achievements: i64,
}

pub(super) async fn gold(conn: &mut PgConnection, student: Id) -> sqlx::Result<Option<Gold>> {
    sqlx::query_as!(
        Gold,
        r#"select g.current_balance as balance,
                  g.lifetime_earned as earned,
                  next.name as "next?",
                  next.points_required as "next_at?",
                  (select count(*)
                     from student_achievements sa
                    where sa.student_id = g.student_id
                      and sa.deleted_at is null) as "achievements!"
             from gold_accounts g
             left join lateral (select a.name, a.points_required
                                  from achievements a
                                 where a.deleted_at is null
                                   and a.is_active
                                   and a.points_required > g.lifetime_earned
                                   and not exists (select
                                                     from student_achievements sa
                                                    where sa.student_id = g.student_id
                                                      and sa.achievement_id = a.id)
                                 order by a.points_required, a.id
                                 limit 1) next on true
            where g.student_id = $1
              and g.deleted_at is null"#,
        student.0
    )
    .fetch_optional(conn)
    .await
}

/// The newest entries of a student's gold, such as `2026-03-01: +15, Volunteer at welcome week`.
pub(super) async fn gold_entries(conn: &mut PgConnection, student: Id) -> sqlx::Result<Vec<String>> {
    let rows = sqlx::query!(
        r#"select to_char(local_time_of(created_at), 'YYYY-MM-DD') as "day!", amount, reason
             from gold_transactions
            where student_id = $1
            order by seq desc
            limit $2"#,
        student.0,
        ENTRIES
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| format!("{}: {:+}, {}", row.day, row.amount, row.reason)).collect())
}

/// The course of a student.
pub(super) struct Course {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) credit_points: Decimal,
    pub(super) expected_graduation: Option<NaiveDate>,
    /// How many units it requires.
    pub(super) required: i64,
}

/// The course on the student's profile.
pub(super) async fn course(conn: &mut PgConnection, student: Id) -> sqlx::Result<Option<Course>> {
    sqlx::query_as!(
        Course,
        r#"select c.id as "id: Id",
                  c.code || ' ' || c.name as "name!",
                  c.credit_points,
                  sp.expected_graduation,
                  (select count(*)
                     from course_units cu
                    where cu.course_id = c.id
                      and not cu.is_elective
                      and cu.deleted_at is null) as "required!"
             from student_profiles sp
             join courses c on c.id = sp.course_id
            where sp.user_id = $1
              and sp.deleted_at is null"#,
        student.0
    )
    .fetch_optional(conn)
    .await
}

/// A unit that a course requires.
pub(super) struct Requirement {
    /// Code and name.
    pub(super) unit: String,
    /// Whether the student sits in it.
    pub(super) is_under_way: bool,
}

impl Requirement {
    /// Such as `COS20001 User-Centred Design (enrolled now)`.
    pub(super) fn line(&self) -> String {
        format!("{}{}", self.unit, if self.is_under_way { " (enrolled now)" } else { "" })
    }
}

/// The units that the course requires and the student has not completed, by code.
pub(super) async fn missing(conn: &mut PgConnection, student: Id, course: Id) -> sqlx::Result<Vec<Requirement>> {
    sqlx::query_as!(
        Requirement,
        r#"select u.code || ' ' || u.name as "unit!",
                  coalesce(own.is_under_way, false) as "is_under_way!"
             from course_units cu
             join units u on u.id = cu.unit_id
             left join (select o.unit_id,
                               bool_or(e.status = 'COMPLETED') as is_completed,
                               bool_or(e.status = 'ENROLLED') as is_under_way
                          from enrollments e
                          join offerings o on o.id = e.offering_id
                         where e.student_id = $1
                           and e.deleted_at is null
                         group by o.unit_id) own on own.unit_id = u.id
            where cu.course_id = $2
              and not cu.is_elective
              and cu.deleted_at is null
              and own.is_completed is not true
            order by u.code, u.id
            limit $3"#,
        student.0,
        course.0,
        REQUIREMENTS
    )
    .fetch_all(conn)
    .await
}

/// A student whose guardian somebody is.
#[derive(Debug, FromRow)]
pub(super) struct Child {
    pub(super) id: Id,
    pub(super) name: String,
    /// The scopes that the student has granted.
    shares: Vec<String>,
}

impl Child {
    /// Whether the student has granted this scope.
    pub(super) fn shares(&self, scope: &str) -> bool {
        self.shares.iter().any(|shared| shared == scope)
    }
}

/// The guardian's children, by name.
pub(super) async fn children(conn: &mut PgConnection, guardian: &Caller) -> sqlx::Result<Vec<Child>> {
    let guardian = Some(guardian.id);
    let mut sql = QueryBuilder::<Postgres>::new(
        "select s.id, btrim(s.first_name || ' ' || s.last_name) as name, array_remove(array[",
    );
    for (place, scope) in ["enrolments", "transcripts", "attendance", "gold"].into_iter().enumerate() {
        sql.push(if place == 0 { "case when " } else { ", case when " });
        guardians::push_granted(&mut sql, guardian, "s.id", scope);
        sql.push(" then ").push_bind(scope).push("::text end");
    }
    sql.push("], null) as shares from users s where ");
    guardians::push_children(&mut sql, guardian, "s.id");
    sql.push(" order by name, s.id limit ").push_bind(CHILDREN);
    sql.build_query_as().fetch_all(conn).await
}
