//! The steps of an enrolment: what may follow what, what each needs, and who is told.
//!
//! Single and bulk calls go the same way: hold all that is touched, decide each on its own, then move those that may
//! move in one statement.

use std::collections::{HashMap, HashSet};

use chrono::{Datelike as _, NaiveDate};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::rules::{self, Terms};
use super::store;
use crate::access::{Actor, Permission, Reach, Viewer, refuse_own_case};
use crate::app::AppState;
use crate::audit;
use crate::core::notifications::{Notice, tell};
use crate::decimals::with_places;
use crate::enrollment::{Boundaries, Status, grades};
use crate::http::{Answer, Faults, Problem, Reason};
use crate::ids::Id;

/// An enrolment that is locked, with what decides on its next step.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) id: Id,
    pub(super) student: Id,
    pub(super) offering: Id,
    pub(super) convenor: Option<Id>,
    pub(super) unit_code: String,
    pub(super) unit_name: String,
    pub(super) year: i32,
    pub(super) semester: String,
    /// Whether students can no longer give the seat back themselves.
    pub(super) is_too_late_to_withdraw: bool,
    /// Whether its year is past, or its last class has ended.
    pub(super) is_over: bool,
    pub(super) status: Status,
    pub(super) grade: String,
    pub(super) marks: Option<Decimal>,
    /// Since when it is withdrawn, completed or failed.
    pub(super) day: Option<NaiveDate>,
    /// Whether it has a result, or was deleted with one that nobody had taken back.
    pub(super) had_result: bool,
    pub(super) today: NaiveDate,
}

impl Held {
    /// Whether a reach covers it. Grants of children are no reach to write with.
    fn is_within(&self, reach: Reach, viewer: &Viewer) -> bool {
        reach.is_all()
            || (reach.covers(Reach::OWN_UNITS) && self.convenor.is_some() && self.convenor == viewer.caller_id())
            || (reach.covers(Reach::OWN) && viewer.caller_id() == Some(self.student))
    }

    /// Where it is, for people.
    pub(super) fn class(&self) -> String {
        format!("{} {} {}", self.unit_code, self.year, self.semester)
    }

    pub(super) fn result(&self) -> Value {
        result(self.status, &self.grade, self.marks)
    }
}

/// What an enrolment becomes.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) id: Id,
    pub(super) status: Status,
    pub(super) grade: String,
    pub(super) marks: Option<Decimal>,
    pub(super) reason: String,
    /// `approved` or `rejected`, when it is a decision on a request.
    pub(super) decision: Option<&'static str>,
    /// The day from which a withdrawal or a result holds, where it is not the present one.
    pub(super) day: Option<NaiveDate>,
}

/// What somebody asks to be done with an enrolment.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// Give the seat back.
    Withdraw(Leave),
    /// Grant the seat that is held.
    Approve(Approval),
    /// Refuse it.
    Reject(String),
    /// Bring status, grade and marks to these values.
    Set(Wanted),
}

/// How a seat is given back.
#[derive(Debug, Clone, Default)]
pub(super) struct Leave {
    pub(super) reason: String,
    /// From when on, where staff say so.
    pub(super) withdrawn_date: Option<NaiveDate>,
}

/// How a seat is granted.
#[derive(Debug, Clone)]
pub(super) struct Approval {
    pub(super) notes: String,
    /// Also against the rules of enrolling, which staff may do, and say why.
    pub(super) overrides: bool,
}

/// The marks of a change.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Marks {
    /// They are what they were.
    #[default]
    Stay,
    /// They are these, or none.
    Become(Option<Decimal>),
}

/// The values of a change; those left out stay.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Left out, it follows the grade: a pass grade completes, N and F fail.
    pub(super) status: Option<Status>,
    pub(super) grade: Option<String>,
    pub(super) marks: Marks,
    pub(super) reason: String,
    /// From when on a withdrawal holds, where staff say so.
    pub(super) withdrawn_date: Option<NaiveDate>,
    /// From when on a result holds, where staff say so.
    pub(super) completion_date: Option<NaiveDate>,
}

/// The permission that somebody acts by, how far it reaches, and what marks mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    viewer: &'a Viewer,
    reach: Reach,
    boundaries: &'a Boundaries,
}

impl<'a> By<'a> {
    pub(super) fn of<P>(actor: &'a Actor<P>, app: &'a AppState) -> Self {
        Self { viewer: actor, reach: actor.scope(), boundaries: &app.config.grade_boundaries }
    }
}

/// What became of each that was asked for, in the order of asking; an outcome is the step taken, none where the
/// enrolment was as it should be already.
pub(super) async fn take(
    tx: &mut PgConnection,
    by: By<'_>,
    action: &str,
    asks: &[(Id, Ask)],
) -> Answer<Vec<Answer<Option<Step>>>> {
    let ids: Vec<Id> = asks.iter().map(|(id, _)| *id).collect();
    let held: HashMap<Id, Held> = store::hold(tx, &ids).await?.into_iter().map(|held| (held.id, held)).collect();
    let mut outcomes = Vec::with_capacity(asks.len());
    let mut steps: Vec<(&Held, Step)> = Vec::new();
    let (mut named, mut entering) = (HashSet::new(), HashSet::new());
    for (id, ask) in asks {
        if !named.insert(*id) {
            outcomes.push(Err(Problem::conflict("named_twice", "This enrolment stands twice in the request.")));
            continue;
        }
        let Some(held) = held.get(id) else {
            outcomes.push(Err(Problem::absent()));
            continue;
        };
        let outcome = match step(by, held, ask) {
            Ok(Some(step)) => {
                let fits = refuse_exclusion(tx, held, &step).await?;
                let fits = if fits.is_ok() { refuse_unfit(tx, by, held, ask, &step).await? } else { fits };
                // What one row lets count again, the next is not asked against: the steps are taken together, at the end.
                let is_first = !held.status.counts_again(step.status) || entering.insert(held.student);
                fits.and(if is_first { Ok(Some(step)) } else { Err(one_at_a_time()) })
            }
            outcome => outcome,
        };
        if let Ok(Some(step)) = &outcome {
            steps.push((held, step.clone()));
        }
        outcomes.push(outcome);
    }
    carry_out(tx, Some(by.viewer), action, &steps).await?;
    Ok(outcomes)
}

/// Carries out the steps of enrolments that are held, and tells whom it concerns.
pub(super) async fn carry_out(
    tx: &mut PgConnection,
    author: Option<&Viewer>,
    action: &str,
    steps: &[(&Held, Step)],
) -> Answer<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let author_id = author.and_then(Viewer::caller_id);
    let moves: Vec<Step> = steps.iter().map(|(_, step)| step.clone()).collect();
    let freeing: Vec<Id> = moves.iter().filter(|step| step.status == Status::Withdrawn).map(|step| step.id).collect();
    if freeing.len() > 1 {
        store::lock_offerings_of(tx, &freeing).await?;
    }
    store::move_on(tx, author_id, &moves).await?;
    let enrolled: Vec<Id> = steps
        .iter()
        // Of a result that is taken back no workflow hears: the student was confirmed long ago.
        .filter(|(held, step)| step.status == Status::Enrolled && held.status == Status::Pending)
        .map(|(_, step)| step.id)
        .collect();
    if !enrolled.is_empty() {
        store::announce(tx, &enrolled).await?;
    }
    let notices: Vec<Notice> = steps.iter().filter_map(|(held, step)| notice(author_id, held, step)).collect();
    tell(tx, &notices).await?;
    let change = |(held, step): &(&Held, Step)| {
        let mut after = result(step.status, &step.grade, step.marks);
        if let (Some(after), false) = (after.as_object_mut(), step.reason.is_empty()) {
            after.insert("reason".to_owned(), json!(step.reason));
        }
        (step.id, held.result(), after)
    };
    let changes: Vec<(Id, Value, Value)> = steps.iter().map(change).collect();
    match author {
        Some(author) => audit::record_all(tx, author, action, "enrollment", &changes).await,
        None => audit::of_a_job(tx, action, "enrollment", &changes).await,
    }
}

/// What the student is told.
fn notice(author: Option<Id>, held: &Held, step: &Step) -> Option<Notice> {
    let had_result = held.status.is_finished();
    let verb = match (step.status, step.decision) {
        (Status::Completed | Status::Failed, _) if had_result => "Result corrected",
        (Status::Completed | Status::Failed, _) => "Result recorded",
        (status, _) if status == held.status => return None,
        (Status::Enrolled | Status::Withdrawn, _) if had_result => "Result taken back",
        (Status::Enrolled, _) => "Enrolment confirmed",
        (Status::Withdrawn, Some("rejected")) => "Enrolment rejected",
        (Status::Withdrawn, _) => "Enrolment withdrawn",
        (Status::Pending, _) => return None,
    };
    // Of a result neither the grade nor what was said about it: a notice is read over shoulders.
    let is_result = step.status.is_finished() || had_result;
    let class = for_people(&held.unit_code, &held.unit_name, &held.semester, held.year);
    let what = match (step.status, step.decision) {
        _ if is_result => held.class(),
        (Status::Enrolled, _) => format!("You are enrolled in {class}."),
        (_, Some("rejected")) => format!("Your request to enrol in {class} was not approved."),
        _ => format!("Your enrolment in {class} was withdrawn."),
    };
    let says_why = !is_result && !step.reason.is_empty();
    let description = if says_why { format!("{what} Note: {}", step.reason) } else { what };
    Some(Notice { recipient: held.student, actor: author, verb, description, target: ("enrollment", step.id) })
}

/// A class as notices name it.
pub(super) fn for_people(code: &str, name: &str, semester: &str, year: i32) -> String {
    format!("{code} {name}, {semester} {year}")
}

pub(super) fn result(status: Status, grade: &str, marks: Option<Decimal>) -> Value {
    json!({ "status": status, "grade": grade, "marks": marks.map(|marks| with_places(marks, 2).to_string()) })
}

/// What is to be done, if it may be: none where nothing changes.
fn step(by: By<'_>, held: &Held, ask: &Ask) -> Answer<Option<Step>> {
    if !held.is_within(by.viewer.reach(Permission::ReadEnrollments), by.viewer) {
        return Err(Problem::absent());
    }
    refuse_outsider(by, by.reach, held)?;
    // One's own seat is given back by the rules of students, whatever else one may.
    if !matches!(ask, Ask::Withdraw(_)) {
        refuse_own_case(by.viewer, held.student)?;
    }
    let is_own = by.viewer.caller_id() == Some(held.student);
    let withdrawn = |reason: &str, decision, day| Step {
        id: held.id,
        status: Status::Withdrawn,
        grade: String::new(),
        marks: None,
        reason: reason.to_owned(),
        decision,
        day,
    };
    match ask {
        Ask::Withdraw(_) if !held.status.leads_to(Status::Withdrawn) => Err(no_way(held.status, Status::Withdrawn)),
        Ask::Withdraw(_) if !held.grade.is_empty() && (is_own || !by.reach.is_all()) => Err(Problem::conflict(
            "result_given",
            format!("There is a grade for {} already. Please ask the staff.", held.class()),
        )),
        Ask::Withdraw(_) if held.is_too_late_to_withdraw && (is_own || !by.reach.is_all()) => Err(Problem::conflict(
            "withdrawal_closed",
            format!("The last day to withdraw from {} has passed. Please ask the staff.", held.class()),
        )),
        // A request that was never decided on goes whenever.
        Ask::Withdraw(_) if held.status != Status::Pending && held.is_over && (is_own || !by.reach.is_all()) => {
            Err(Problem::conflict(
                "withdrawal_closed",
                format!("The classes of {} are over. Please ask the staff.", held.class()),
            ))
        }
        Ask::Withdraw(Leave { reason, withdrawn_date }) => {
            let mut faults = Faults::default();
            faults.text("reason", reason, 2000);
            if let Some(day) = *withdrawn_date {
                judge_day(&mut faults, by, held, "withdrawn_date", day, reason);
            }
            faults.check()?;
            Ok(Some(withdrawn(reason, None, *withdrawn_date)))
        }
        Ask::Approve(_) | Ask::Reject(_) if held.status != Status::Pending => Err(Problem::conflict(
            "not_pending",
            format!("The enrolment is {}; only one that is PENDING can be decided on.", held.status.name()),
        )
        .with("current_status", held.status.name())),
        Ask::Approve(Approval { notes, overrides }) => {
            refuse_long("notes", notes)?;
            if *overrides && notes.trim().is_empty() {
                return Err(Problem::invalid("notes", "Say why the rules are overridden."));
            }
            if *overrides && !by.reach.is_all() {
                return Err(Problem::forbidden("Only staff may override the rules of enrolling."));
            }
            Ok(Some(Step {
                id: held.id,
                status: Status::Enrolled,
                grade: String::new(),
                marks: None,
                reason: notes.clone(),
                decision: Some("approved"),
                day: None,
            }))
        }
        Ask::Reject(notes) => {
            refuse_long("notes", notes)?;
            Ok(Some(withdrawn(notes, Some("rejected"), None)))
        }
        Ask::Set(wanted) => set(by, held, wanted),
    }
}

/// 403 unless the reach covers the enrolment.
fn refuse_outsider(by: By<'_>, reach: Reach, held: &Held) -> Answer<()> {
    if held.is_within(reach, by.viewer) {
        return Ok(());
    }
    Err(Problem::forbidden("Only the unit's convenor and staff may do this."))
}

fn no_way(from: Status, to: Status) -> Problem {
    Problem::conflict("illegal_step", format!("An enrolment that is {} cannot become {}.", from.name(), to.name()))
        .with("current_status", from.name())
}

fn one_at_a_time() -> Problem {
    Problem::conflict(
        "one_at_a_time",
        "Another row of this call lets a unit of this student count again. Send this one in a call of its own.",
    )
}

/// A day from which something holds is staff's to say, with a reason, and not in the future.
fn judge_day(faults: &mut Faults, by: By<'_>, held: &Held, field: &'static str, day: NaiveDate, reason: &str) {
    if day == held.today {
        return;
    }
    let is_own = by.viewer.caller_id() == Some(held.student);
    faults.unless(by.reach.is_all() && !is_own, field, "Only staff set the day; leave it out for today.");
    faults.unless(day < held.today, field, "This day has not come yet.");
    faults.unless(day.year() >= 1900, field, "A year from 1900 on is expected.");
    faults.unless(!reason.trim().is_empty(), "reason", "Say why it holds from another day than today.");
}

fn refuse_long(field: &str, text: &str) -> Answer<()> {
    let mut faults = Faults::default();
    faults.text(field, text, 2000);
    faults.check()
}

/// Brings status, grade and marks to the values wanted, as far as the states allow it.
fn set(by: By<'_>, held: &Held, wanted: &Wanted) -> Answer<Option<Step>> {
    let reason = &wanted.reason;
    let from = held.status;
    // Marks say which grade they are, where a result is asked for.
    let is_result = wanted.status.map_or(from.is_finished(), Status::is_finished);
    let by_marks = match wanted.marks {
        Marks::Become(Some(marks)) if is_result && wanted.grade.as_deref().is_none_or(str::is_empty) => {
            by.boundaries.grade_of(marks).map(str::to_owned)
        }
        Marks::Stay | Marks::Become(_) => None,
    };
    let named = by_marks.or_else(|| wanted.grade.clone());
    let follows = named.as_ref().and_then(|grade| of_grade(from, grade));
    let to = wanted.status.or(follows).unwrap_or(from);
    let moves = from != to;
    // What is taken back leaves neither grade nor marks.
    let taken_back = from.is_finished() && matches!(to, Status::Enrolled | Status::Withdrawn);
    let none = String::new();
    let stays = if taken_back { &none } else { &held.grade };
    let grade = named.as_ref().unwrap_or(stays);
    let marks = match wanted.marks {
        Marks::Stay => held.marks.filter(|_| !taken_back),
        Marks::Become(marks) => marks,
    };
    let regraded = held.grade != *grade || held.marks != marks;
    if moves && !(from.leads_to(to) || (taken_back && by.reach.is_all())) {
        return Err(no_way(from, to));
    }
    // To grant or to refuse a seat that is asked for is to decide.
    if moves && from == Status::Pending {
        refuse_outsider(by, by.viewer.reach(Permission::ApproveEnrollments), held)?;
    }
    let days = [
        ("withdrawn_date", wanted.withdrawn_date, to == Status::Withdrawn, "This goes with the status WITHDRAWN."),
        ("completion_date", wanted.completion_date, to.is_finished(), "This goes with a result."),
    ];
    let named_days = days.into_iter().filter_map(|(field, day, fits, says)| Some((field, day?, fits, says)));
    let new_days: Vec<_> = named_days.filter(|(_, day, ..)| moves || Some(*day) != held.day).collect();
    if !moves && !regraded && new_days.is_empty() {
        return Ok(None);
    }
    let cleared = moves && to == Status::Withdrawn && !regraded && !taken_back;
    let has_result = !grade.is_empty() || marks.is_some();
    // The grade and marks of a class that is left go with it; to send others along is to grade what has no class.
    if matches!(to, Status::Pending | Status::Withdrawn) && has_result && !cleared {
        return Err(Problem::conflict(
            "no_result_yet",
            format!("An enrolment that is {} has neither grade nor marks.", to.name()),
        )
        .with("current_status", from.name()));
    }

    let mut faults = Faults::default();
    if !grade.is_empty() && grades::known(grade).is_none() {
        faults.add("grade", format!("`{grade}` is not a grade; known are {}.", grades::all()));
    } else if to == Status::Enrolled && !grade.is_empty() {
        faults.add(
            "grade",
            "A grade completes the enrolment or fails it: leave `status` out, or send COMPLETED or FAILED.",
        );
    } else if to == Status::Completed && !grades::passes(grade) {
        faults.add("grade", "COMPLETED needs a pass grade.");
    } else if to == Status::Failed && !matches!(grade.as_str(), "N" | "F") {
        faults.add("grade", "FAILED needs the grade N or F.");
    }
    if let Some(marks) = marks {
        faults.decimal("marks", marks, 2, Decimal::ZERO..=Decimal::ONE_HUNDRED);
    }
    if let (Some(marks), true) = (marks, to.is_finished() && reason.trim().is_empty())
        && let Some(other) = by.boundaries.contradict(grade, marks)
    {
        faults.add(
            "marks",
            format!("{marks} marks are {other}, not {grade}: correct one of the two, or give a `reason`."),
        );
    }
    for (field, day, fits, says) in &new_days {
        faults.unless(*fits, field, *says);
        judge_day(&mut faults, by, held, field, *day, reason);
    }
    faults.text("reason", reason, 2000);
    if reason.trim().is_empty() {
        let (corrects, replaces) = (from.is_finished(), held.had_result && to.is_finished());
        faults.unless(!corrects, "reason", "A result that was given is being corrected: say why.");
        faults.unless(
            corrects || !replaces,
            "reason",
            "This enrolment had a result when it was deleted: say why it gets another.",
        );
    }
    faults.check()?;

    let decision = (from == Status::Pending && to == Status::Enrolled).then_some("approved");
    let (grade, marks) = if to == Status::Withdrawn { (String::new(), None) } else { (grade.clone(), marks) };
    let day = new_days.first().map(|(_, day, ..)| *day);
    Ok(Some(Step { id: held.id, status: to, grade, marks, reason: reason.clone(), decision, day }))
}

/// The status that a grade brings when none is named; none where a grade brings none.
fn of_grade(from: Status, grade: &str) -> Option<Status> {
    let has_class = matches!(from, Status::Enrolled | Status::Completed | Status::Failed);
    grades::known(grade)
        .filter(|_| has_class)
        .map(|grade| if grades::passes(grade) { Status::Completed } else { Status::Failed })
}

/// Whoever is granted a seat still has to fit: much can have changed since the seat was asked for. The window and the seat itself
/// are settled.
async fn refuse_unfit(tx: &mut PgConnection, by: By<'_>, held: &Held, ask: &Ask, step: &Step) -> Answer<Answer<()>> {
    let returns = held.status.is_finished() && step.status == Status::Enrolled;
    if step.decision != Some("approved") && !returns {
        return Ok(Ok(()));
    }
    let Some(facts) = store::facts(tx, held.student, held.offering).await? else { return Ok(Err(Problem::absent())) };
    let overrides = matches!(ask, Ask::Approve(Approval { overrides: true, .. })) && by.reach.is_all();
    let terms = Terms { by_staff: false, max_pending: u32::MAX };
    let matters = |reason: &Reason| match reason.code {
        // Whoever is back in a class is in it beside what was taken since.
        code if returns => matches!(code, "already_in_unit" | "anti_requisite"),
        "window_not_open" | "window_closed" | "offering_over" | "offering_full" | "already_enrolled"
        | "too_many_pending" => false,
        // An account that is not in use takes no seat, whoever says so.
        "not_a_student" => true,
        _ => !overrides,
    };
    let reasons: Vec<Reason> = rules::broken(&facts, terms).into_iter().filter(matters).collect();
    let says = if returns { "It cannot be taken back as it is" } else { "It cannot be approved as it is" };
    Ok(rules::refuse_now(says, &reasons))
}

/// A corrected failure counts again: not beside a unit that excludes this one and was taken since.
async fn refuse_exclusion(tx: &mut PgConnection, held: &Held, step: &Step) -> Answer<Answer<()>> {
    if !(held.status == Status::Failed && step.status == Status::Completed) {
        return Ok(Ok(()));
    }
    let excluding = store::excluding(tx, held.student, held.offering).await?;
    if excluding.is_empty() {
        return Ok(Ok(()));
    }
    let codes = excluding.join(", ");
    Ok(Err(Problem::conflict(
        "anti_requisite",
        format!(
            "{} cannot be COMPLETED beside {codes}, which it excludes; withdraw that enrolment first.",
            held.unit_code
        ),
    )
    .with("current_status", held.status.name())))
}
