//! What the overview of one's own classes is on the wire.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::store::{self, Records, Seats, Upcoming};
use crate::academic::offerings::Offering;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::db::Reading;
use crate::enrollment::percent;
use crate::http::{Answer, Resource, Shown};
use crate::ids::Id;

/// The classes that the caller convenes or instructs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Teaching {
    summary: Summary,
    /// Offerings that are active or have students, by `-year`, semester and unit code; at most 500.
    classes: Vec<Class>,
}

/// All classes of the overview together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeachingSummary)]
struct Summary {
    total_classes: usize,
    /// Seats taken; who sits in two of the classes counts twice.
    total_students: i32,
    /// Enrolments that wait for a decision.
    pending_approvals: i32,
    /// Present, late and excused in percent of all that was marked, one decimal; null when nothing was.
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
    /// The next class that has not begun; null when none is to come.
    upcoming_session: Option<Upcoming>,
}

/// How many enrolments are in each state.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = StatusBreakdown)]
struct Breakdown {
    pending: i32,
    enrolled: i32,
    withdrawn: i32,
    completed: i32,
    failed: i32,
}

/// What was marked in the classes, each record once; classes that were cancelled do not count.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClassAttendance)]
struct Attendance {
    present: i32,
    late: i32,
    absent: i32,
    excused: i32,
    /// Present, late and excused in percent of all records, one decimal; null when there are none.
    attendance_rate: Option<f64>,
}

/// `GET /teaching/`
pub(super) async fn teaching(
    actor: Actor<may::ReadTeaching>,
    State(app): State<AppState>,
    mut conn: Reading,
) -> Answer<Shown<Teaching>> {
    let offerings = store::offerings(&mut conn, actor.id()).await?;
    let ids: Vec<Id> = offerings.iter().map(|offering| offering.id).collect();
    let mut seats = store::seats(&mut conn, &ids).await?;
    let mut records = store::attendance(&mut conn, &ids).await?;
    let mut upcoming = store::upcoming(&mut conn, &ids, app.config.time_zone.name()).await?;

    let classes: Vec<Class> = offerings
        .into_iter()
        .map(|offering| {
            let Seats { pending, enrolled, withdrawn, completed, failed } =
                seats.remove(&offering.id).unwrap_or_default();
            Class {
                students_total: pending + enrolled + completed + failed,
                status_breakdown: Breakdown { pending, enrolled, withdrawn, completed, failed },
                attendance: Attendance::of(&records.remove(&offering.id).unwrap_or_default()),
                upcoming_session: upcoming.remove(&offering.id),
                offering: Offering::shown(offering, &actor),
            }
        })
        .collect();

    let sum = |part: fn(&Class) -> i32| classes.iter().map(part).sum::<i32>();
    let summary = Summary {
        total_classes: classes.len(),
        total_students: sum(|class| class.students_total),
        pending_approvals: sum(|class| class.status_breakdown.pending),
        average_attendance: percent(sum(|class| class.attendance.there()), sum(|class| class.attendance.all())),
    };
    Shown::with(&Teaching { summary, classes })
}

impl Attendance {
    fn of(records: &Records) -> Self {
        let Records { present, late, absent, excused } = *records;
        let counts = Self { present, late, absent, excused, attendance_rate: None };
        Self { attendance_rate: percent(counts.there(), counts.all()), ..counts }
    }

    fn there(&self) -> i32 {
        self.present + self.late + self.excused
    }

    fn all(&self) -> i32 {
        self.there() + self.absent
    }
}
