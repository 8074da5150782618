//! How classes were attended: the one place where a rate is made.
//!
//! A rate is what was attended of what was held: present, late and excused in percent of the classes that have begun since the
//! seat was granted. The view `counted_classes` says which classes those are.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::enrollment::percent;
use crate::ids::Id;

/// Attendance of the classes that have begun since the seat was granted, and of earlier ones in which the student was marked;
/// cancelled ones do not count.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct AttendanceCounts {
    /// How many classes have begun.
    pub(crate) total_sessions: i32,
    /// In how many of them anything was marked; where it is less than `total_sessions`, marks are missing.
    pub(crate) marked_sessions: i32,
    /// Present, late or excused.
    pub(crate) attended_sessions: i32,
    pub(crate) present: i32,
    pub(crate) late: i32,
    pub(crate) absent: i32,
    pub(crate) excused: i32,
    /// `attended_sessions` in percent of `total_sessions`, one decimal; null when there were none.
    pub(crate) attendance_rate: Option<f64>,
}

impl AttendanceCounts {
    /// Of as many classes, with these marks.
    pub(super) fn new(held: i32, present: i32, late: i32, absent: i32, excused: i32) -> Self {
        let attended = present + late + excused;
        Self {
            total_sessions: held,
            marked_sessions: attended + absent,
            attended_sessions: attended,
            present,
            late,
            absent,
            excused,
            attendance_rate: percent(attended, held),
        }
    }

    /// All of these together.
    pub(crate) fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        parts.into_iter().fold(Self::default(), |sum, part| {
            Self::new(
                sum.total_sessions + part.total_sessions,
                sum.present + part.present,
                sum.late + part.late,
                sum.absent + part.absent,
                sum.excused + part.excused,
            )
        })
    }
}

/// How the student attended these offerings; those in which they have no granted seat, or no class has begun, are left out.
pub(crate) async fn attendance_of(
    conn: &mut PgConnection,
    student: Id,
    offerings: &[Id],
) -> sqlx::Result<HashMap<Id, AttendanceCounts>> {
    let rows = sqlx::query!(
        r#"select offering_id as "offering!: Id",
                  count(*)::int as "held!",
                  (count(*) filter (where status = 'present'))::int as "present!",
                  (count(*) filter (where status = 'late'))::int as "late!",
                  (count(*) filter (where status = 'absent'))::int as "absent!",
                  (count(*) filter (where status = 'excused'))::int as "excused!"
             from counted_classes
            where student_id = $1
              and offering_id = any($2)
            group by offering_id"#,
        student.0,
        offerings as &[Id]
    )
    .fetch_all(conn)
    .await?;
    let counts = rows
        .into_iter()
        .map(|row| (row.offering, AttendanceCounts::new(row.held, row.present, row.late, row.absent, row.excused)));
    Ok(counts.collect())
}

/// How all who hold a granted seat attended each of these offerings, summed up, and how many of its classes have begun and have a
/// mark.
pub(crate) async fn attendance_by_class(
    conn: &mut PgConnection,
    offerings: &[Id],
) -> sqlx::Result<HashMap<Id, ClassCounts>> {
    let rows = sqlx::query!(
        r#"select offering_id as "offering!: Id",
                  count(*)::int as "held!",
                  (count(*) filter (where status = 'present'))::int as "present!",
                  (count(*) filter (where status = 'late'))::int as "late!",
                  (count(*) filter (where status = 'absent'))::int as "absent!",
                  (count(*) filter (where status = 'excused'))::int as "excused!",
                  count(distinct session_id)::int as "sessions!",
                  (count(distinct session_id) filter (where status is not null))::int as "marked!"
             from counted_classes
            where offering_id = any($1)
            group by offering_id"#,
        offerings as &[Id]
    )
    .fetch_all(conn)
    .await?;
    let classes = rows.into_iter().map(|row| {
        let counts = AttendanceCounts::new(row.held, row.present, row.late, row.absent, row.excused);
        (row.offering, ClassCounts { counts, sessions: row.sessions, marked: row.marked })
    });
    Ok(classes.collect())
}

/// How a whole class attended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ClassCounts {
    /// Of each student and class once.
    pub(crate) counts: AttendanceCounts,
    /// How many classes have begun.
    pub(crate) sessions: i32,
    /// In how many of them somebody is marked.
    pub(crate) marked: i32,
}
