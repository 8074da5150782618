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
use crate::core::attendance::{AttendanceCounts, attendance_of};
use crate::db::Reading;
use crate::enrollment::Status;
use crate::enrollment::enrollments::Enrollment;
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
    /// In how many different units the caller can enrol now.
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
    attendance_summary: AttendanceCounts,
    /// Such as `Mon 09:00-11:00, Thu 13:00-14:00`; empty when nothing is known. Of an available one that the caller cannot take
    /// also why, where it is not for a prerequisite: `Mon 09:00 · full`.
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
    /// Gave the seat back, and cannot take another now.
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

/// `GET /dashboard/`
pub(super) async fn dashboard(
    actor: Actor<may::BeSignedIn>,
    State(app): State<AppState>,
    mut conn: Reading,
) -> Answer<Shown<Dashboard>> {
    let enrollments = store::enrollments(&mut conn, actor.id()).await?;
    let caller = actor.caller();
    let count = |wanted: Status| enrollments.iter().filter(|enrollment| enrollment.status == wanted).count();
    let pending_approval = count(Status::Pending);
    let student = Student {
        id: actor.id(),
        may_wait: usize::try_from(app.config.max_pending).is_ok_and(|most| pending_approval < most),
        is_student: caller.is_some_and(|caller| caller.user_type == UserType::Student),
        course: caller.and_then(|caller| caller.course),
        enrollments: &enrollments,
    };
    let rows = store::offerings(&mut conn, &student).await?;
    let offerings: Vec<Id> = rows.iter().map(|row| row.id).collect();
    let classes = store::classes(&mut conn, &offerings).await?;
    let attendance = attendance_of(&mut conn, actor.id(), &offerings).await?;
    let taught_by: HashMap<Id, Id> = rows
        .iter()
        .filter_map(|row| Some((row.id, classes.get(&row.id).and_then(|slots| most(slots)).or(row.convenor)?)))
        .collect();
    let people: Vec<Id> = taught_by.values().copied().collect();
    let people = store::instructors(&mut conn, &people).await?;

    let statistics = Statistics {
        total_completed: count(Status::Completed),
        total_failed: count(Status::Failed),
        total_withdrawn: count(Status::Withdrawn),
        current_enrolled: count(Status::Enrolled),
        pending_approval,
        available_count: rows.first().map_or(0, |row| row.units_to_take),
    };

    let available_units = rows.iter().filter(|row| row.is_available).map(CardOffering::of).collect();
    let card = |row: &CardRow, own: Option<&Enrollment>| {
        let instructor = taught_by.get(&row.id).and_then(|id| people.get(id)).cloned();
        let slots = classes.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let attended = attendance.get(&row.id).copied().unwrap_or_default();
        Card::of(row, own, (slots, attended), instructor, row.hindrance().as_ref())
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

/// Why the caller cannot enrol, as far as can be said beforehand.
#[derive(Debug, Clone)]
pub(super) enum Hindrance {
    /// It is not to be had, or prerequisites are missing; the card says so elsewhere.
    Said,
    /// For these words.
    Because(String),
}

impl CardRow {
    /// None where the caller can enrol.
    pub(super) fn hindrance(&self) -> Option<Hindrance> {
        if !self.is_available {
            Some(Hindrance::Said)
        } else if let Some(codes) = &self.excluded_by {
            Some(Hindrance::Because(format!("cannot be taken beside {codes}")))
        } else if !self.has_room {
            Some(Hindrance::Because("full".to_owned()))
        } else if !self.may_ask {
            Some(Hindrance::Because("too many of your requests wait already".to_owned()))
        } else if !self.missing.0.is_empty() {
            Some(Hindrance::Said)
        } else {
            None
        }
    }
}

impl Card {
    fn of(
        row: &CardRow,
        own: Option<&Enrollment>,
        (slots, attended): (&[Slot], AttendanceCounts),
        instructor: Option<Instructor>,
        hindrance: Option<&Hindrance>,
    ) -> Self {
        let offering = CardOffering::of(row);
        let label = own.map_or(Label::Available, |own| own.status.into());
        let mut schedule_summary = schedule::summary(slots, &row.notes);
        if let Some(Hindrance::Because(says)) = hindrance {
            schedule_summary.push_str(if schedule_summary.is_empty() { "" } else { " · " });
            schedule_summary.push_str(says);
        }
        Self {
            // A seat that was given back can be taken again.
            status_label: if matches!(label, Label::Withdrawn) && hindrance.is_none() {
                Label::Available
            } else {
                label
            },
            enrollment_id: own.map(|own| own.id),
            grade: own.map(|own| own.grade.clone()).unwrap_or_default(),
            marks: own.and_then(|own| own.marks).and_then(|marks| marks.to_f64()),
            prerequisites_met: offering.prerequisites_met,
            missing_prerequisites: offering.missing_prerequisites.clone(),
            instructor,
            attendance_summary: attended,
            schedule_summary,
            can_enroll: hindrance.is_none(),
            offering,
        }
    }
}
