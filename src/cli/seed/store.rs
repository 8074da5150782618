//! Every SQL statement of the demo's campus.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

/// A class meeting.
pub(super) struct Session {
    pub(super) offering: i64,
    pub(super) date: NaiveDate,
    pub(super) start: NaiveTime,
    pub(super) end: NaiveTime,
    pub(super) location: String,
    pub(super) instructor: Option<i64>,
}

/// Something that is on.
pub(super) struct Event {
    pub(super) title: String,
    pub(super) description: String,
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
    pub(super) location: String,
    pub(super) visibility: String,
    pub(super) for_all_students: bool,
    pub(super) unit: Option<i64>,
    /// Whose students it is for.
    pub(super) offering: Option<i64>,
    /// Whom it is for.
    pub(super) student: Option<i64>,
    pub(super) content: Value,
    pub(super) meta: Value,
    pub(super) status: String,
    pub(super) generated_at: Option<DateTime<Utc>>,
    pub(super) by: i64,
}

/// An entry of an account of gold.
pub(super) struct Gold {
    pub(super) student: i64,
    pub(super) seq: i64,
    pub(super) amount: i64,
    pub(super) kind: String,
    pub(super) reason: String,
    pub(super) balance: i64,
    pub(super) by: i64,
    pub(super) at: DateTime<Utc>,
}

/// Something that somebody is told.
pub(super) struct Notice {
    pub(super) to: i64,
    pub(super) from: Option<i64>,
    pub(super) verb: String,
    pub(super) description: String,
    pub(super) unread: bool,
    pub(super) at: DateTime<Utc>,
}

/// Adds the classes, but for those of offerings that have some, and those whose room or instructor is taken.
pub(super) async fn add_sessions(tx: &mut PgConnection, sessions: &[Session]) -> sqlx::Result<usize> {
    let of = |value: fn(&Session) -> i64| sessions.iter().map(value).collect::<Vec<_>>();
    let dates: Vec<NaiveDate> = sessions.iter().map(|session| session.date).collect();
    let starts: Vec<NaiveTime> = sessions.iter().map(|session| session.start).collect();
    let ends: Vec<NaiveTime> = sessions.iter().map(|session| session.end).collect();
    let locations: Vec<&str> = sessions.iter().map(|session| session.location.as_str()).collect();
    let instructors: Vec<Option<i64>> = sessions.iter().map(|session| session.instructor).collect();
    let done = sqlx::query!(
        "insert into class_sessions (offering_id, date, start_time, end_time, location, instructor_id)
         select *
           from unnest($1::bigint[], $2::date[], $3::time[], $4::time[], $5::text[], $6::bigint[])
                as w (offering_id, date, start_time, end_time, location, instructor_id)
          where not exists (select from class_sessions s where s.offering_id = w.offering_id)
             on conflict do nothing",
        &of(|session| session.offering),
        &dates,
        &starts,
        &ends,
        locations as _,
        instructors as _
    )
    .execute(tx)
    .await?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// Marks those who are or were in these offerings in each of their classes before today: most present, some not.
pub(super) async fn mark_attendance(tx: &mut PgConnection, offerings: &[i64], zone: &str) -> sqlx::Result<usize> {
    let done = sqlx::query!(
        "insert into attendance_records (session_id, student_id, status, marked_by_id, created_at, updated_at)
         select session_id, student_id,
                case (class + student_id) % 9
                    when 0 then 'absent'
                    when 3 then 'late'
                    when 6 then 'excused'
                    else 'present'
                end,
                instructor_id, held, held
           from (select s.id as session_id, e.student_id, s.instructor_id,
                        (s.date + s.start_time) at time zone $2 as held,
                        row_number() over (partition by e.student_id order by s.date, s.start_time, s.id) as class
                   from class_sessions s
                   join enrollments e
                     on e.offering_id = s.offering_id
                    and e.status in ('ENROLLED', 'COMPLETED', 'FAILED')
                    and e.deleted_at is null
                  where s.offering_id = any($1)
                    and s.status = 'scheduled'
                    and s.deleted_at is null
                    and s.date < (rule_now() at time zone $2)::date) as meeting
             on conflict do nothing",
        offerings,
        zone
    )
    .execute(tx)
    .await?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// Adds an event with whom it is for.
pub(super) async fn add_event(tx: &mut PgConnection, event: &Event) -> sqlx::Result<()> {
    sqlx::query!(
        r#"with made as (
            insert into events (title, description, start, "end", location, visibility, target_all_students,
                                related_unit_id, generated_content, generation_meta, generation_status,
                                last_generated_at, created_by, updated_by)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)
            returning id
         ),
         for_student as (
            insert into event_target_students (event_id, student_id)
            select id, $14::bigint from made where $14::bigint is not null
         )
         insert into event_target_offerings (event_id, offering_id)
         select id, $15::bigint from made where $15::bigint is not null"#,
        event.title,
        event.description,
        event.start,
        event.end,
        event.location,
        event.visibility,
        event.for_all_students,
        event.unit,
        event.content,
        event.meta,
        event.status,
        event.generated_at,
        event.by,
        event.student as Option<i64>,
        event.offering as Option<i64>
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Adds entries to accounts that have none, and the achievements that they reach, which are made if there are none at all.
pub(super) async fn add_gold(tx: &mut PgConnection, entries: &[Gold]) -> sqlx::Result<()> {
    let of = |value: fn(&Gold) -> i64| entries.iter().map(value).collect::<Vec<_>>();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    let reasons: Vec<&str> = entries.iter().map(|entry| entry.reason.as_str()).collect();
    let moments: Vec<DateTime<Utc>> = entries.iter().map(|entry| entry.at).collect();
    sqlx::query!(
        "insert into gold_transactions (student_id, seq, amount, transaction_type, reason, balance_after, awarded_by_id,
                                        created_at)
         select *
           from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                       $8::timestamptz[])",
        &of(|entry| entry.student),
        &of(|entry| entry.seq),
        &of(|entry| entry.amount),
        kinds as _,
        reasons as _,
        &of(|entry| entry.balance),
        &of(|entry| entry.by),
        &moments
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "update gold_accounts a
            set current_balance = t.balance,
                lifetime_earned = t.earned,
                last_seq = t.entries
           from (select student_id, sum(amount)::bigint as balance, count(*) as entries,
                        (sum(amount) filter (where transaction_type in ('AWARD', 'BONUS')))::bigint as earned
                   from gold_transactions
                  where student_id = any($1)
                  group by student_id) as t
          where a.student_id = t.student_id",
        &of(|entry| entry.student)
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into achievements (name, description, points_required)
         select *
           from (values ('First steps', 'Earn your first 20 points of social gold.', 20::bigint),
                        ('Pillar of the campus', 'Earn 100 points of social gold.', 100::bigint),
                        ('Legend of the campus', 'Earn 500 points of social gold.', 500::bigint))
                as w (name, description, points_required)
          where not exists (select from achievements)"
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into student_achievements (student_id, achievement_id, points_at_earning)
         select g.student_id, a.id, g.lifetime_earned
           from gold_accounts g
           join achievements a on a.points_required <= g.lifetime_earned and a.is_active and a.deleted_at is null
          where g.student_id = any($1)
             on conflict do nothing",
        &of(|entry| entry.student)
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Tells people.
pub(super) async fn add_notices(tx: &mut PgConnection, notices: &[Notice]) -> sqlx::Result<()> {
    let to: Vec<i64> = notices.iter().map(|notice| notice.to).collect();
    let from: Vec<Option<i64>> = notices.iter().map(|notice| notice.from).collect();
    let verbs: Vec<&str> = notices.iter().map(|notice| notice.verb.as_str()).collect();
    let descriptions: Vec<&str> = notices.iter().map(|notice| notice.description.as_str()).collect();
    let unread: Vec<bool> = notices.iter().map(|notice| notice.unread).collect();
    let moments: Vec<DateTime<Utc>> = notices.iter().map(|notice| notice.at).collect();
    sqlx::query!(
        "insert into notifications (recipient_id, actor_id, verb, description, unread, created_at, updated_at)
         select recipient_id, actor_id, verb, description, unread, at, at
           from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::boolean[], $6::timestamptz[])
                as w (recipient_id, actor_id, verb, description, unread, at)",
        &to,
        from as _,
        verbs as _,
        descriptions as _,
        &unread,
        &moments
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Tells the convenors of the units what these people ask for.
pub(super) async fn tell_convenors(tx: &mut PgConnection, people: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into notifications (recipient_id, actor_id, verb, description, target_content_type, target_object_id)
         select o.convenor_id, e.student_id, 'Enrolment pending approval',
                trim(s.first_name || ' ' || s.last_name) || ' asks for a seat in ' || u.code || ' ' || u.name || ', '
                    || o.semester || ' ' || o.year || '.',
                'enrollment', e.id
           from enrollments e
           join users s on s.id = e.student_id
           join offerings o on o.id = e.offering_id
           join units u on u.id = o.unit_id
          where e.student_id = any($1)
            and o.convenor_id = any($1)
            and e.status = 'PENDING'
            and e.deleted_at is null
          order by e.id",
        people
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Lets the guardians among these people see what their children, who are among them too, have.
pub(super) async fn grant_to_guardians(tx: &mut PgConnection, people: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into guardian_grants (guardian_id, student_id, scopes, granted_by_id)
         select l.guardian_id, l.student_id, array['enrolments', 'transcripts', 'attendance', 'gold'], l.student_id
           from guardian_students l
           join guardians g on g.id = l.guardian_id
          where g.user_id = any($1)
            and l.student_id = any($1)",
        people
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Lets students into this offering without approval.
pub(super) async fn open_at_once(tx: &mut PgConnection, offering: Option<i64>) -> sqlx::Result<()> {
    sqlx::query!("update offerings set requires_approval = false where id = $1 and current_enrollment = 0", offering)
        .execute(tx)
        .await?;
    Ok(())
}

/// Makes one offering of the student's course full, in which they are not.
pub(super) async fn fill_up(tx: &mut PgConnection, student: i64, year: i32, semester: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update offerings
            set capacity = current_enrollment
          where id = (select o.id
                        from offerings o
                        join student_profiles p on p.user_id = $1
                        join course_units c on c.unit_id = o.unit_id and c.course_id = p.course_id
                       where o.year = $2
                         and o.semester = $3
                         and o.current_enrollment > 0
                         and o.deleted_at is null
                         and not exists (select
                                           from enrollments e
                                           join offerings other on other.id = e.offering_id
                                          where e.student_id = $1
                                            and other.unit_id = o.unit_id)
                       order by o.id
                       limit 1)",
        student,
        year,
        semester
    )
    .execute(tx)
    .await?;
    Ok(())
}
