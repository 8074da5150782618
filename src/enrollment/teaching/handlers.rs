//! What the overview of one's own classes is on the wire.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::store::{self, Seats, Taught, Time, Upcoming};
use crate::academic::offerings::Offering;
use crate::access::{Actor, may};
use crate::core::attendance::{AttendanceCounts, attendance_by_class};
use crate::db::Reading;
use crate::http::{Answer, Resource, Shown};
use crate::ids::Id;

/// The classes that the caller convenes or instructs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Teaching {
    summary: Summary,
    /// Offerings that are active or have students: those under way first, then what is to come, the next first, then the past, the
    /// latest first, each by unit code; at most 500.
    classes: Vec<Class>,
}

/// The classes that are under way or to come together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeachingSummary)]
struct Summary {
    total_classes: usize,
    /// The people who sit in them or wait for a seat, each once.
    total_students: i32,
    /// Enrolments that wait for a decision, of all classes.
    pending_approvals: i32,
    /// Enrolments without a result in classes that are over.
    results_due: i32,
    /// Present, late and excused in percent of the classes held, summed over the students, one decimal; null when none was.
    average_attendance: Option<f64>,
}

/// An offering that the caller convenes or instructs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaughtClass)]
struct Class {
    offering: Offering,
    /// Seats taken: all enrolments but the withdrawn ones.
    students_total: i32,
    status_breakdown: Breakdown,
    attendance: Attendance,
    /// Enrolments without a result, once the classes are over or the year is past.
    results_due: i32,
    /// The next class that has not begun; null when none is to come.
    upcoming_session: Option<Upcoming>,
}

/// How many enrolments are in each state; where there are none the state is left out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = StatusBreakdown)]
struct Breakdown {
    #[serde(skip_serializing_if = "is_none")]
    #[schema(required = false)]
    pending: i32,
    #[serde(skip_serializing_if = "is_none")]
    #[schema(required = false)]
    enrolled: i32,
    #[serde(skip_serializing_if = "is_none")]
    #[schema(required = false)]
    withdrawn: i32,
    #[serde(skip_serializing_if = "is_none")]
    #[schema(required = false)]
    completed: i32,
    #[serde(skip_serializing_if = "is_none")]
    #[schema(required = false)]
    failed: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_none(count: &i32) -> bool {
    *count == 0
}

/// How those who hold a granted seat attended the classes that have begun, each student and class once; classes that were cancelled
/// do not count.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClassAttendance)]
struct Attendance {
    present: i32,
    late: i32,
    absent: i32,
    excused: i32,
    /// How many classes have begun.
    held_sessions: i32,
    /// In how many of them somebody is marked; where it is less than `held_sessions`, the rate is low for want of marks.
    marked_sessions: i32,
    /// Present, late and excused in percent of all that could be, one decimal; null when no class has begun.
    attendance_rate: Option<f64>,
}

/// `GET /teaching/`
pub(super) async fn teaching(actor: Actor<may::ReadTeaching>, mut conn: Reading) -> Answer<Shown<Teaching>> {
    let taught = store::taught(&mut conn, actor.id()).await?;
    let ids: Vec<Id> = taught.iter().map(|one| one.id).collect();
    let going_on: HashMap<Id, Taught> = taught.into_iter().map(|one| (one.id, one)).collect();
    let is_live = |id: &Id| going_on.get(id).is_some_and(|one| one.time != Time::Past);
    let live: Vec<Id> = ids.iter().copied().filter(is_live).collect();
    let offerings = store::offerings(&mut conn, &ids).await?;
    let mut seats = store::seats(&mut conn, &ids).await?;
    let attended = attendance_by_class(&mut conn, &ids).await?;
    let mut upcoming = store::upcoming(&mut conn, &ids).await?;

    let classes: Vec<Class> = offerings
        .into_iter()
        .map(|offering| {
            let Seats { pending, enrolled, withdrawn, completed, failed } =
                seats.remove(&offering.id).unwrap_or_default();
            let is_over = going_on.get(&offering.id).is_some_and(|one| one.is_over);
            let counted = attended.get(&offering.id).copied().unwrap_or_default();
            let AttendanceCounts { present, late, absent, excused, attendance_rate, .. } = counted.counts;
            let (held_sessions, marked_sessions) = (counted.sessions, counted.marked);
            Class {
                students_total: pending + enrolled + completed + failed,
                status_breakdown: Breakdown { pending, enrolled, withdrawn, completed, failed },
                attendance: Attendance {
                    present,
                    late,
                    absent,
                    excused,
                    held_sessions,
                    marked_sessions,
                    attendance_rate,
                },
                results_due: if is_over { enrolled } else { 0 },
                upcoming_session: upcoming.remove(&offering.id),
                offering: Offering::shown(offering, &actor),
            }
        })
        .collect();

    let sum = |part: fn(&Class) -> i32| classes.iter().map(part).sum::<i32>();
    let of_the_live = live.iter().filter_map(|id| attended.get(id)).map(|class| &class.counts);
    let summary = Summary {
        total_classes: live.len(),
        total_students: store::people(&mut conn, &live).await?,
        pending_approvals: sum(|class| class.status_breakdown.pending),
        results_due: sum(|class| class.results_due),
        average_attendance: AttendanceCounts::sum(of_the_live).attendance_rate,
    };
    Shown::with(&Teaching { summary, classes })
}
