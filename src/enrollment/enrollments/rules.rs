//! The rules for enrolling: what is known of a student and an offering, and which rules that breaks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::http::{Answer, Problem, Reason};
use crate::ids::{Id, Moment};

/// What decides whether a student may enrol in an offering, read in one statement.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub(super) struct Facts {
    pub(super) is_active_student: bool,
    pub(super) unit_code: String,
    pub(super) unit_name: String,
    pub(super) year: i32,
    pub(super) semester: String,
    pub(super) convenor: Option<Id>,
    pub(super) student_name: String,
    /// Of the student's profile; empty without one.
    pub(super) academic_status: String,
    pub(super) is_active: bool,
    pub(super) unit_is_active: bool,
    /// Whether its year is past, or its last class has ended.
    pub(super) is_over: bool,
    pub(super) enrollment_start: DateTime<Utc>,
    pub(super) enrollment_end: DateTime<Utc>,
    pub(super) now: DateTime<Utc>,
    pub(super) capacity: i32,
    pub(super) current_enrollment: i32,
    pub(super) requires_approval: bool,
    /// Prerequisites that the student has not completed.
    pub(super) missing: Vec<UnitFact>,
    /// Units that exclude this one, with where the student stands in them.
    pub(super) excluding: Vec<Standing>,
    /// The row for this student and offering.
    pub(super) here: Option<Here>,
    /// Pending or enrolled in other offerings of the unit.
    pub(super) elsewhere: Vec<Standing>,
    /// Completed in any offering of the unit.
    pub(super) completed: Vec<Standing>,
    /// The student's course, when the unit is neither in it nor an elective of any.
    pub(super) foreign_course: Option<UnitFact>,
    pub(super) pending: i64,
}

/// A unit or course by its names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct UnitFact {
    id: Id,
    pub(super) code: String,
    name: String,
}

/// An enrolment of the student that stands in the way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Standing {
    enrollment: Id,
    offering: Id,
    pub(super) unit_code: String,
    year: i32,
    semester: String,
    /// PENDING, ENROLLED or COMPLETED.
    pub(super) status: String,
}

/// The row for this student and offering, live or not.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Here {
    pub(super) id: Id,
    pub(super) status: String,
    pub(super) is_deleted: bool,
}

impl Here {
    /// Whether it is the student's place in the offering now; else enrolling revives it.
    fn holds_a_seat(&self) -> bool {
        !self.is_deleted && self.status != "WITHDRAWN"
    }
}

/// Who asks, as far as the rules care.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Staff enrol students outside the window too, when the classes are over, and whatever their standing.
    pub(super) by_staff: bool,
    /// `MAX_PENDING`
    pub(super) max_pending: u32,
}

/// Every rule that is broken, in the order of the rule book.
pub(super) fn broken(facts: &Facts, terms: Terms) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut refuse = |code, detail: String, facts: Value| reasons.push(Reason { code, detail, facts });
    let class = format!("{} {} {}", facts.unit_code, facts.year, facts.semester);

    if !facts.is_active_student {
        refuse("not_a_student", "Only active students can enrol.".to_owned(), json!({}));
    }
    let stands = matches!(facts.academic_status.as_str(), "suspended" | "graduated");
    if !terms.by_staff && stands {
        refuse(
            "standing",
            format!(
                "A student whose academic status is `{}` cannot enrol. Please ask the staff.",
                facts.academic_status
            ),
            json!({ "academic_status": facts.academic_status }),
        );
    }
    if !facts.is_active {
        refuse("offering_inactive", format!("{class} does not take students."), json!({}));
    }
    if !facts.unit_is_active {
        refuse("unit_inactive", format!("{} is no longer offered.", facts.unit_code), json!({}));
    }
    if !terms.by_staff && facts.is_over {
        refuse("offering_over", format!("The classes of {class} are over. Please ask the staff."), json!({}));
    }
    let (opens, closes) = (Moment(facts.enrollment_start), Moment(facts.enrollment_end));
    if !terms.by_staff && facts.now < facts.enrollment_start {
        refuse(
            "window_not_open",
            format!("Enrolment opens on {}.", opens.for_people()),
            json!({ "enrollment_start": opens }),
        );
    }
    if !terms.by_staff && facts.now >= facts.enrollment_end {
        refuse(
            "window_closed",
            format!("Enrolment closed on {}.", closes.for_people()),
            json!({ "enrollment_end": closes }),
        );
    }
    if facts.capacity > 0 && facts.current_enrollment >= facts.capacity {
        refuse(
            "offering_full",
            format!("All {} seats of {class} are taken.", facts.capacity),
            json!({ "capacity": facts.capacity, "current_enrollment": facts.current_enrollment }),
        );
    }
    if !facts.missing.is_empty() {
        let codes = facts.missing.iter().map(|unit| unit.code.as_str()).collect::<Vec<_>>().join(", ");
        refuse(
            "prerequisite_missing",
            format!("Not completed yet, but required: {codes}."),
            json!({ "missing": facts.missing }),
        );
    }
    if !facts.excluding.is_empty() {
        refuse(
            "anti_requisite",
            format!("{} cannot be taken beside {}.", facts.unit_code, listed(&facts.excluding)),
            json!({ "enrollments": facts.excluding }),
        );
    }
    if let Some(here) = facts.here.as_ref().filter(|here| here.holds_a_seat()) {
        refuse(
            "already_enrolled",
            format!("There is an enrolment in {class} already ({}).", here.status),
            json!({ "enrollment": here.id, "status": here.status }),
        );
    }
    if !facts.elsewhere.is_empty() {
        refuse(
            "already_in_unit",
            format!("There is an enrolment in another offering of the unit: {}.", listed(&facts.elsewhere)),
            json!({ "enrollments": facts.elsewhere }),
        );
    }
    if !facts.completed.is_empty() {
        refuse(
            "already_completed",
            format!("{} has been completed already.", facts.unit_code),
            json!({ "enrollments": facts.completed }),
        );
    }
    if let Some(course) = &facts.foreign_course {
        refuse(
            "not_in_course",
            format!("{} is not a unit of the course {}, nor an elective.", facts.unit_code, course.code),
            json!({ "course": course }),
        );
    }
    if facts.requires_approval && facts.pending >= i64::from(terms.max_pending) {
        refuse(
            "too_many_pending",
            format!("{} enrolments wait for approval already; at most {} may.", facts.pending, terms.max_pending),
            json!({ "pending": facts.pending, "max_pending": terms.max_pending }),
        );
    }
    reasons
}

fn listed(standings: &[Standing]) -> String {
    let one = |standing: &Standing| {
        format!("{} {} {} ({})", standing.unit_code, standing.year, standing.semester, standing.status)
    };
    standings.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Nothing when no rule is broken, else a refusal that names them all.
///
/// # Errors
/// 409 when a seat is all that lacks or there is nothing to do, else 400; `reasons` has every broken rule.
pub(super) fn refuse(reasons: &[Reason]) -> Answer<()> {
    match status_of(reasons) {
        None => Ok(()),
        Some(status) => {
            let detail = reasons.iter().map(|reason| reason.detail.as_str()).collect::<Vec<_>>().join(" ");
            let code = match reasons {
                [only] => only.code,
                _ => "enrollment_refused",
            };
            let reasons = serde_json::to_value(reasons).map_err(Problem::internal)?;
            Err(Problem::new(status, code, detail).with("reasons", reasons))
        }
    }
}

/// The same for an enrolment that is there: 409, since nothing about the request is wrong.
///
/// # Errors
/// 409 with `reasons`.
pub(super) fn refuse_now(says: &str, reasons: &[Reason]) -> Answer<()> {
    if reasons.is_empty() {
        return Ok(());
    }
    let detail = reasons.iter().map(|reason| reason.detail.as_str()).collect::<Vec<_>>().join(" ");
    let code = match reasons {
        [only] => only.code,
        _ => "enrollment_refused",
    };
    let reasons = serde_json::to_value(reasons).map_err(Problem::internal)?;
    Err(Problem::conflict(code, format!("{says}: {detail}")).with("reasons", reasons))
}

/// The status of the refusal; none when no rule is broken.
pub(super) fn status_of(reasons: &[Reason]) -> Option<axum::http::StatusCode> {
    use axum::http::StatusCode;

    if reasons.is_empty() {
        return None;
    }
    let of_the_moment = reasons.iter().all(|reason| matches!(reason.code, "offering_full" | "already_enrolled"));
    Some(if of_the_moment { StatusCode::CONFLICT } else { StatusCode::BAD_REQUEST })
}
