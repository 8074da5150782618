//! Every SQL statement of offerings.

use sqlx::PgConnection;

use super::handlers::OfferingFields;
use crate::academic::semester::Semester;
use crate::academic::units::unit_brief;
use crate::ids::{Id, Moment};

/// The columns of an offering.
pub(super) const SELECT: &str = concat!(
    "
select o.id,
       ",
    unit_brief!(),
    " as unit,
       o.year,
       o.semester,
       o.intake_id as intake,
       o.convenor_id as convenor,
       o.enrollment_start,
       o.enrollment_end,
       o.withdraw_until,
       o.capacity,
       o.current_enrollment,
       o.requires_approval,
       o.is_active,
       o.notes,
       o.created_at,
       o.updated_at
from offerings o
join units u on u.id = o.unit_id"
);

/// SQL for a column that `#[sqlx(json)] offering: Offering` reads, where `o` is the row of `offerings` and `u` that of
/// its unit; for `concat!`.
macro_rules! offering_json {
    () => {
        concat!(
            "jsonb_build_object(
           'id', o.id,
           'unit', ",
            crate::academic::units::unit_brief!(),
            ",
           'year', o.year,
           'semester', o.semester,
           'intake', o.intake_id,
           'convenor', o.convenor_id,
           'enrollment_start', o.enrollment_start,
           'enrollment_end', o.enrollment_end,
           'withdraw_until', o.withdraw_until,
           'capacity', o.capacity,
           'current_enrollment', o.current_enrollment,
           'requires_approval', o.requires_approval,
           'is_active', o.is_active,
           'notes', o.notes,
           'created_at', o.created_at,
           'updated_at', o.updated_at)"
        )
    };
}
pub(crate) use offering_json;

/// Whether students can enrol now.
pub(super) const OPEN: &str = "(o.is_active and o.enrollment_start <= rule_now() and rule_now() < o.enrollment_end)";

/// Whether a seat is free.
pub(super) const HAS_SEATS: &str = "(o.capacity = 0 or o.current_enrollment < o.capacity)";

/// How many live events are about the offering `$1` or for its students.
pub(super) const COUNT_EVENTS: &str = "
select count(*)
  from events e
 where e.deleted_at is null
   and (e.related_offering_id = $1
        or exists (select from event_target_offerings t where t.event_id = e.id and t.offering_id = $1))";

/// Whether this user convenes a live offering; none when there is no such offering.
pub(super) async fn convenes(tx: &mut PgConnection, user: Id, offering: Id) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar!(
        r#"select convenor_id is not distinct from $2 as "convenes!"
             from offerings
            where id = $1
              and deleted_at is null"#,
        offering.0,
        user.0
    )
    .fetch_optional(tx)
    .await
}

/// Whether this user convenes the offering that there is of this unit in this year and semester.
pub(super) async fn convenes_term(tx: &mut PgConnection, user: Id, offering: &OfferingFields) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select
                            from offerings
                           where unit_id = $2
                             and year = $3
                             and semester = $4
                             and convenor_id = $1
                             and deleted_at is null) as "convenes!""#,
        user.0,
        offering.unit as Option<Id>,
        offering.year,
        offering.semester as Option<Semester>
    )
    .fetch_one(tx)
    .await
}

/// Whether anybody has been enrolled in the offering.
pub(super) async fn has_enrollments(tx: &mut PgConnection, offering: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select exists (select from enrollments where offering_id = $1) as "has!""#, offering.0)
        .fetch_one(tx)
        .await
}

/// What is known of an offering but not written with it.
pub(super) struct Standing {
    pub(super) intake: Id,
    pub(super) current_enrollment: i32,
    /// Whether there are enrolments, of whatever status, or classes, also such as can be restored.
    pub(super) is_used: bool,
    pub(super) is_deleted: bool,
}

pub(super) async fn standing(tx: &mut PgConnection, id: Id) -> sqlx::Result<Standing> {
    sqlx::query_as!(
        Standing,
        r#"select intake_id as "intake: Id",
                  current_enrollment,
                  exists (select from enrollments e where e.offering_id = o.id)
                      or exists (select from class_sessions s where s.offering_id = o.id)
                      as "is_used!",
                  deleted_at is not null as "is_deleted!"
             from offerings o
            where id = $1"#,
        id.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn add(tx: &mut PgConnection, author: Id, offering: &OfferingFields, intake: Id) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into offerings (unit_id, year, semester, intake_id, enrollment_start, enrollment_end, withdraw_until,
                                  capacity, requires_approval, is_active, notes, convenor_id, created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $13, $12, $12)
           returning id as "id: Id""#,
        offering.unit as Option<Id>,
        offering.year,
        offering.semester as Option<Semester>,
        intake.0,
        offering.enrollment_start as Option<Moment>,
        offering.enrollment_end as Option<Moment>,
        offering.withdraw_until as Option<Moment>,
        offering.capacity,
        offering.requires_approval,
        offering.is_active,
        offering.notes,
        author.0,
        offering.convenor as Option<Id>
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    offering: &OfferingFields,
    intake: Id,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update offerings
            set unit_id = $2,
                year = $3,
                semester = $4,
                intake_id = $5,
                enrollment_start = $6,
                enrollment_end = $7,
                withdraw_until = $8,
                capacity = $9,
                requires_approval = $10,
                is_active = $11,
                notes = $12,
                convenor_id = $14,
                updated_at = rule_now(),
                updated_by = $13
          where id = $1",
        id.0,
        offering.unit as Option<Id>,
        offering.year,
        offering.semester as Option<Semester>,
        intake.0,
        offering.enrollment_start as Option<Moment>,
        offering.enrollment_end as Option<Moment>,
        offering.withdraw_until as Option<Moment>,
        offering.capacity,
        offering.requires_approval,
        offering.is_active,
        offering.notes,
        author.0,
        offering.convenor as Option<Id>
    )
    .execute(tx)
    .await?;
    Ok(())
}
