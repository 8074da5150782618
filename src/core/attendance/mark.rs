//! Marking a whole class in one call.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::handlers::{AttendanceRecord, AttendanceStatus, NOT_IN_THE_CLASS, cancelled, refuse_early, refuse_outsider};
use super::store::{self, HeldRecord, Marked};
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::core::sessions::ClassSession;
use crate::http::{Answer, Done, Faults, PathId, Posted, Problem, Resource, Sight, find};
use crate::ids::Id;
use crate::users::naming::{StudentRef, resolve_all};

/// The most records of a call.
const MOST: usize = 1000;

/// How a class was attended.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Roll {
    /// At most 1,000.
    #[serde(default)]
    records: Vec<RollRecord>,
    /// What everyone else who sits in the offering is marked as; without it they stay as they are.
    default: Option<AttendanceStatus>,
}

/// How a student attended.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RollRecord {
    /// By id, student number or mail address.
    student: StudentRef,
    status: AttendanceStatus,
    /// At most 20,000 characters; left out, what is noted stays.
    notes: Option<String>,
}

/// What became of each student. All that could be done was done, in one transaction.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RollReport {
    /// How many are marked as asked, those that were so already among them.
    done_count: usize,
    /// How many records were refused.
    refused_count: usize,
    /// The records in the order of the request, then those marked by default, by student.
    results: Vec<RollResult>,
}

/// What became of a student's record.
#[derive(Debug, Serialize, ToSchema)]
struct RollResult {
    /// The place in the request, from 0; null for who was marked by default.
    row: Option<usize>,
    /// Null where nobody in the class has the number or address.
    student: Option<Id>,
    /// Whether the student is marked as asked.
    ok: bool,
    /// The record; null when it was refused.
    id: Option<Id>,
    /// The record's status; null when it was refused.
    status: Option<AttendanceStatus>,
    /// The code of the refusal; empty when it was done.
    code: String,
    /// The refusal for people; empty when it was done.
    detail: String,
    /// What is wrong with which field.
    errors: BTreeMap<String, Vec<String>>,
}

/// `POST /sessions/{id}/attendance/`
pub(super) async fn mark(
    actor: Actor<may::WriteAttendance>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Posted { body: roll, repeat }: Posted<Roll>,
) -> Answer<Done<RollReport>> {
    let least = usize::from(roll.default.is_none());
    let rows = roll.records.len();
    if !(least..=MOST).contains(&rows) {
        return Err(Problem::invalid("records", format!("From {least} to {MOST} records are expected, not {rows}.")));
    }
    let (actor, roll) = (&actor, &roll);
    repeat
        .write(
            &app,
            Some(actor.id()),
            |tx, _| {
                Box::pin(async move {
                    find::<ClassSession>(tx, actor, id, Sight::Visible).await?;
                    refuse_outsider(tx, actor, id).await
                })
            },
            |tx, _| Box::pin(async move { Done::with(&call(tx, actor, id, roll).await?) }),
        )
        .await
}

/// Marks those who can be marked, and reports on all.
async fn call(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteAttendance>,
    session: Id,
    roll: &Roll,
) -> Answer<RollReport> {
    let class = store::hold_class(tx, session).await?.ok_or_else(Problem::absent)?;
    if class.is_cancelled {
        return Err(cancelled());
    }
    for status in roll.records.iter().map(|record| record.status).chain(roll.default) {
        refuse_early(class.begins_later.as_deref(), Some(status))?;
    }
    let held = store::hold_records(tx, session).await?;
    let held: HashMap<Id, HeldRecord> = held.into_iter().map(|record| (record.student, record)).collect();
    let students = store::class_of(tx, class.offering).await?;

    let named: Vec<StudentRef> = roll.records.iter().map(|record| record.student.clone()).collect();
    let named = resolve_all(tx, &named).await?.into_iter().map(Result::ok).collect::<Vec<_>>();
    let asked = decide(actor, (roll, &named), &students, &held);
    let changes: Vec<&Marked> =
        asked.iter().filter_map(|(_, _, wanted)| wanted.as_ref().ok()).filter(|mark| differs(mark, &held)).collect();
    let mut ids: HashMap<Id, Id> = held.iter().map(|(student, record)| (*student, record.id)).collect();
    if !changes.is_empty() {
        ids.extend(store::put(tx, actor.id(), session, &changes).await?);
    }
    let mut present = Vec::new();
    let (mut created, mut updated) = (Vec::new(), Vec::new());
    for mark in changes {
        let Some(id) = ids.get(&mark.student).copied() else { continue };
        let before = held.get(&mark.student);
        if mark.status == AttendanceStatus::Present && before.is_none_or(|before| before.status != mark.status) {
            present.push(id);
        }
        let json_of = |status: AttendanceStatus, notes: &str| json!({ "session": session, "student": mark.student, "status": status, "notes": notes });
        let is = json_of(mark.status, &mark.notes);
        match before {
            Some(before) => updated.push((id, json_of(before.status, &before.notes), is)),
            None => created.push((id, Value::Null, is)),
        }
    }
    audit::record_all(tx, actor, "create", AttendanceRecord::NAME, &created).await?;
    audit::record_all(tx, actor, "update", AttendanceRecord::NAME, &updated).await?;
    if !present.is_empty() {
        store::announce(tx, &present).await?;
    }
    Ok(RollReport::of(asked, &ids))
}

/// What a student is to be marked as, or why not; with the place in the request.
type Decided = (Option<usize>, Option<Id>, Answer<Marked>);

/// What is to be done with each student who is named, and with the others when there is a default.
fn decide(
    actor: &Actor<may::WriteAttendance>,
    (roll, people): (&Roll, &[Option<Id>]),
    students: &[Id],
    held: &HashMap<Id, HeldRecord>,
) -> Vec<Decided> {
    let in_class: HashSet<Id> = students.iter().copied().collect();
    let kept = |student: &Id| held.get(student).map(|record| record.notes.clone()).unwrap_or_default();
    let mut named = HashSet::new();
    let mut asked: Vec<Decided> = Vec::new();
    let absent =
        || Problem::new(StatusCode::BAD_REQUEST, "not_enrolled", NOT_IN_THE_CLASS).on("student", NOT_IN_THE_CLASS);
    for (row, (record, student)) in roll.records.iter().zip(people).enumerate() {
        // Whom nobody knows and who is not in the class look the same.
        let Some(student) = *student else {
            asked.push((Some(row), None, Err(absent())));
            continue;
        };
        let mark =
            || Marked { student, status: record.status, notes: record.notes.clone().unwrap_or_else(|| kept(&student)) };
        let wanted = if !named.insert(student) {
            Err(Problem::conflict("named_twice", "This student stands twice in the request."))
        // Who was marked and has left since can still be corrected, as a single record can.
        } else if !in_class.contains(&student) && !held.contains_key(&student) {
            Err(absent())
        } else if let Err(own_case) = actor.decide_on(student) {
            Err(own_case)
        } else {
            let mut faults = Faults::default();
            faults.text("notes", record.notes.as_deref().unwrap_or_default(), 20_000);
            faults.check().map(|()| mark())
        };
        asked.push((Some(row), Some(student), wanted));
    }
    if let Some(status) = roll.default {
        let others = students.iter().filter(|student| !named.contains(student) && **student != actor.id());
        asked.extend(
            others
                .map(|student| (None, Some(*student), Ok(Marked { student: *student, status, notes: kept(student) }))),
        );
    }
    asked
}

fn differs(mark: &Marked, held: &HashMap<Id, HeldRecord>) -> bool {
    held.get(&mark.student).is_none_or(|record| record.status != mark.status || record.notes != mark.notes)
}

impl RollReport {
    fn of(asked: Vec<Decided>, ids: &HashMap<Id, Id>) -> Self {
        let results: Vec<RollResult> = asked
            .into_iter()
            .map(|(row, student, wanted)| match wanted {
                Ok(mark) => RollResult {
                    row,
                    student,
                    ok: true,
                    id: student.and_then(|student| ids.get(&student).copied()),
                    status: Some(mark.status),
                    code: String::new(),
                    detail: String::new(),
                    errors: BTreeMap::new(),
                },
                Err(problem) => RollResult {
                    row,
                    student,
                    ok: false,
                    id: None,
                    status: None,
                    code: problem.code().to_owned(),
                    detail: problem.detail().to_owned(),
                    errors: problem.errors().clone(),
                },
            })
            .collect();
        let refused_count = results.iter().filter(|result| !result.ok).count();
        Self { done_count: results.len() - refused_count, refused_count, results }
    }
}
