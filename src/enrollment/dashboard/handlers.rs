//! What the dashboard is on the wire, and how it is put together.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::extract::State;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;
use utoipa::ToSchema;

use super::schedule;
use super::store::{self, CardRow, Instructor, MOST_CARDS, Missing, Slot, Student};
use crate::academic::semester::Semester;
use crate::access::{Actor, UserType, may};
use crate::app::AppState;
use crate::db::Reading;
use crate::enrollment::enrollments::Enrollment;
use crate::enrollment::{Status, percent};
use crate::http::{Answer, Resource, Shown};
use crate::ids::Id;

/// A student's own enrolments and what there is to enrol in; for anybody else only the enrolments they once had.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Dashboard {
    /// Withdrawn, completed or failed; newest first.
    past_enrollments: Vec<Enrollment>,
    /// Pending or enrolled; newest first.
    current_enrollments: Vec<Enrollment>,
    /// What is available, by unit code: active, open now, of a unit that the caller's course allows (any without a
    /// course) and in which the caller neither sits nor has passed, and not failed itself. At most 500.
    available_units: Vec<CardOffering>,
    /// A card for each own enrolment, newest first, then one for each further available offering; at most 500 in all.
    offering_cards: Vec<Card>,
    statistics: Statistics,
}

/// How many there are of each.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DashboardStatistics)]
struct Statistics {
    total_completed: usize,
    total_failed: usize,
    total_withdrawn: usize,
    current_enrolled: usize,
    pending_approval: usize,
    /// All available offerings, also those beyond the 500 that are shown.
    available_count: i64,
}

/// An offering as the caller stands to it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OfferingCard)]
struct Card {
    offering: CardOffering,
    status_label: Label,
    /// The caller's enrolment.
    enrollment_id: Option<Id>,
    /// Empty until there is one.
    grade: String,
    marks: Option<f64>,
    prerequisites_met: bool,
    missing_prerequisites: Vec<Missing>,
    /// Who holds most of the classes; without classes the unit's convenor.
    instructor: Option<Instructor>,
    attendance_summary: Attendance,
    /// Such as `Mon 09:00-11:00, Thu 13:00-14:00`; empty when nothing is known.
    schedule_summary: String,
    /// Whether the caller can enrol now, as far as can be said beforehand: it is available, with a free seat, all
    /// prerequisites are completed, no unit that excludes this one was taken, and no more than may be waits already.
    can_enroll: bool,
}

/// What is shown of an offering.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct CardOffering {
    id: Id,
    semester: Semester,
    year: i32,
    notes: String,
    unit: CardUnit,
    /// Whether the caller has completed all of them.
    prerequisites_met: bool,
    missing_prerequisites: Vec<Missing>,
}

/// What is shown of an offering's unit.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct CardUnit {
    id: Id,
    code: String,
    name: String,
    credit_points: f64,
    /// For the caller's major; null without one.
    is_elective: Option<bool>,
}

/// How the caller stands to an offering.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CardLabel)]
enum Label {
    /// Completed.
    Passed,
    /// Sits in it.
    Enrolled,
    /// Waits for a decision.
    Selected,
    /// Could enrol, as far as the offering goes.
    Available,
    /// Did not pass.
    Failed,
    /// Gave the seat back; `can_enroll` says whether there is another chance.
    Withdrawn,
}

impl From<Status> for Label {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Selected,
            Status::Enrolled => Self::Enrolled,
            Status::Withdrawn => Self::Withdrawn,
            Status::Completed => Self::Passed,
            Status::Failed => Self::Failed,
        }
    }
}

/// The caller's attendance of the classes that have begun; cancelled ones do not count.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CardAttendance)]
struct Attendance {
    /// How many classes have begun.
    total_sessions: i32,
    /// Present, late or excused.
    attended_sessions: i32,
    present: i32,
    late: i32,
    absent: i32,
    /// `attended_sessions` in percent of `total_sessions`, one decimal; null when there were none.
    attendance_rate: Option<f64>,
}

/// `GET /dashboard/`
pub(super) async fn dashboard(
    actor: Actor<may::BeSignedIn>,
    State(app): State<AppState>,
    mut conn: Reading,
) -> Answer<Shown<Dashboard>> {
    let enrollments = store::enrollments(&mut conn, actor.id()).await?;
    let caller = actor.caller();
    let student = Student {
        is_student: caller.is_some_and(|caller| caller.user_type == UserType::Student),
        course: caller.and_then(|caller| caller.course),
        enrollments: &enrollments,
    };
    let rows = store::offerings(&mut conn, &student).await?;
    let offerings: Vec<Id> = rows.iter().map(|row| row.id).collect();
    let classes = store::classes(&mut conn, &offerings, actor.id(), app.config.time_zone.name()).await?;
    let taught_by: HashMap<Id, Id> = rows
        .iter()
        .filter_map(|row| Some((row.id, classes.get(&row.id).and_then(|slots| most(slots)).or(row.convenor)?)))
        .collect();
    let people: Vec<Id> = taught_by.values().copied().collect();
    let people = store::instructors(&mut conn, &people).await?;

    let count = |wanted: Status| enrollments.iter().filter(|enrollment| enrollment.status == wanted).count();
    let statistics = Statistics {
        total_completed: count(Status::Completed),
        total_failed: count(Status::Failed),
        total_withdrawn: count(Status::Withdrawn),
        current_enrolled: count(Status::Enrolled),
        pending_approval: count(Status::Pending),
        available_count: rows.iter().find_map(|row| row.available).unwrap_or_default(),
    };
    let may_wait = usize::try_from(app.config.max_pending).is_ok_and(|most| statistics.pending_approval < most);

    let available_units = rows.iter().filter(|row| row.available.is_some()).map(CardOffering::of).collect();
    let card = |row: &CardRow, own: Option<&Enrollment>| {
        let instructor = taught_by.get(&row.id).and_then(|id| people.get(id)).cloned();
        let slots = classes.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        Card::of(row, own, slots, instructor, may_wait)
    };
    let by_id: HashMap<Id, &CardRow> = rows.iter().map(|row| (row.id, row)).collect();
    let own = enrollments.iter().filter_map(|own| Some(card(by_id.get(&own.offering.id)?, Some(own))));
    let theirs: HashSet<Id> = enrollments.iter().map(|own| own.offering.id).collect();
    let others = rows.iter().filter(|row| !theirs.contains(&row.id)).map(|row| card(row, None));
    let offering_cards = own.chain(others).take(MOST_CARDS).collect();

    let shown = enrollments.into_iter().map(|enrollment| Enrollment::shown(enrollment, &actor));
    let (current_enrollments, past_enrollments) =
        shown.partition(|enrollment| matches!(enrollment.status, Status::Pending | Status::Enrolled));
    Shown::with(&Dashboard { past_enrollments, current_enrollments, available_units, offering_cards, statistics })
}

/// Who holds most of the classes; of several the one who was there first.
fn most(slots: &[Slot]) -> Option<Id> {
    let mut held: BTreeMap<Id, i32> = BTreeMap::new();
    for slot in slots {
        if let Some(instructor) = slot.instructor {
            *held.entry(instructor).or_default() += slot.sessions;
        }
    }
    held.into_iter().max_by_key(|(id, sessions)| (*sessions, std::cmp::Reverse(*id))).map(|(id, _)| id)
}

impl CardOffering {
    fn of(row: &CardRow) -> Self {
        Self {
            id: row.id,
            semester: row.semester,
            year: row.year,
            notes: row.notes.clone(),
            unit: CardUnit {
                id: row.unit,
                code: row.code.clone(),
                name: row.name.clone(),
                credit_points: row.credit_points,
                is_elective: row.is_elective,
            },
            prerequisites_met: row.missing.0.is_empty(),
            missing_prerequisites: row.missing.0.clone(),
        }
    }
}

impl Card {
    fn of(
        row: &CardRow,
        own: Option<&Enrollment>,
        slots: &[Slot],
        instructor: Option<Instructor>,
        may_wait: bool,
    ) -> Self {
        let offering = CardOffering::of(row);
        Self {
            status_label: own.map_or(Label::Available, |own| own.status.into()),
            enrollment_id: own.map(|own| own.id),
            grade: own.map(|own| own.grade.clone()).unwrap_or_default(),
            marks: own.and_then(|own| own.marks).and_then(|marks| marks.to_f64()),
            prerequisites_met: offering.prerequisites_met,
            missing_prerequisites: offering.missing_prerequisites.clone(),
            instructor,
            attendance_summary: Attendance::of(slots),
            schedule_summary: schedule::summary(slots, &row.notes),
            can_enroll: row.available.is_some()
                && offering.prerequisites_met
                && row.has_room
                && !row.is_excluded
                && (may_wait || !row.requires_approval),
            offering,
        }
    }
}

impl Attendance {
    fn of(slots: &[Slot]) -> Self {
        let sum = |part: fn(&Slot) -> i32| slots.iter().map(part).sum::<i32>();
        let (held, present, late) = (sum(|slot| slot.held), sum(|slot| slot.present), sum(|slot| slot.late));
        let attended = present + late + sum(|slot| slot.excused);
        Self {
            total_sessions: held,
            attended_sessions: attended,
            present,
            late,
            absent: sum(|slot| slot.absent),
            attendance_rate: percent(attended, held),
        }
    }
}
