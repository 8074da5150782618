//! Enrolling: taking a seat when every rule allows it.

use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::handlers::Enrollment;
use super::rules::{self, Facts, Terms};
use super::steps::for_people;
use super::store;
use crate::access::throttle::{self, Bucket};
use crate::access::{Actor, Viewer, may};
use crate::app::AppState;
use crate::audit;
use crate::core::notifications::{Notice, tell};
use crate::enrollment::Status;
use crate::http::{Answer, Created, Done, DryRun, Faults, Posted, Problem, Resource, Sight, Trial, Tried, find};
use crate::ids::Id;
use crate::users::naming::StudentRef;

/// How often a seat that was free when it was looked for is asked for again.
const TRIES: u32 = 5;

/// A request for a seat.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewEnrollment {
    /// The offering to sit in.
    offering: Id,
    /// Who is to sit there. Only staff name somebody: a student enrols, and this is ignored.
    #[serde(default)]
    student: Option<StudentRef>,
    /// Why, such as the number of a form; kept in the history. At most 2,000 characters.
    #[serde(default)]
    reason: String,
}

/// `POST /`
pub(super) async fn create(
    actor: Actor<may::CreateEnrollments>,
    State(app): State<AppState>,
    DryRun(only_asked): DryRun,
    Posted { body: wanted, repeat }: Posted<NewEnrollment>,
) -> Answer<Tried<Created<Enrollment>>> {
    let mut faults = Faults::default();
    faults.text("reason", &wanted.reason, 2000);
    faults.check()?;
    let named = match wanted.student.as_ref().filter(|named| !named.is_blank()) {
        Some(named) if actor.scope().is_all() => Some(named.resolve(&mut *app.db.acquire().await?).await?),
        _ => None,
    };
    // For themselves, staff are students like others: they decide on nobody's terms but those.
    let by_staff = actor.scope().is_all() && named != Some(actor.id());
    let terms = Terms { by_staff, max_pending: app.config.max_pending };
    let student = if by_staff {
        named.ok_or_else(|| Problem::invalid("student", "Name the student who is to be enrolled."))?
    } else {
        actor.id()
    };
    if only_asked {
        let mut conn = app.db.acquire().await?;
        let reasons = rules::broken(&facts(&mut conn, student, wanted.offering).await?, terms);
        let status = rules::status_of(&reasons).unwrap_or(StatusCode::CREATED);
        return Done::with(&Trial::of(status, reasons)).map(Tried::Asked);
    }
    // An answer that was kept for its key leaves this as it is.
    let became = Mutex::new("repeated");
    let (actor, wanted, became) = (&actor, &wanted, &became);
    let done = repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let id = enroll(tx, actor, student, wanted, terms).await?;
                let row = find::<Enrollment>(tx, actor, id, Sight::Any).await?;
                *became.lock().unwrap_or_else(PoisonError::into_inner) =
                    if row.status == Status::Enrolled { "enrolled" } else { "pending" };
                Created::with(&Enrollment::shown(row, actor))
            })
        })
        .await;
    app.metrics.enrolments.count(match &done {
        Ok(_) => *became.lock().unwrap_or_else(PoisonError::into_inner),
        Err(problem) if problem.status().is_server_error() => "failed",
        Err(_) => "refused",
    });
    done.map(Tried::Done)
}

/// What the rules are held against; a student or an offering that is not there is named.
async fn facts(conn: &mut PgConnection, student: Id, offering: Id) -> Answer<Facts> {
    match store::facts(conn, student, offering).await? {
        Some(facts) => Ok(facts),
        None if store::is_user(conn, student).await? => {
            Err(Problem::invalid("offering", format!("There is no offering with the id {offering}.")))
        }
        None => Err(Problem::invalid("student", format!("There is no student with the id {student}."))),
    }
}

/// Takes a seat for the student and tells whom it concerns.
///
/// The student's row is held from before the rules are looked at, so that of two requests of one student the second
/// sees what the first has done. The offering's row is held last and shortest: everyone else waits for it.
async fn enroll(
    tx: &mut PgConnection,
    actor: &Viewer,
    student: Id,
    NewEnrollment { offering, reason, .. }: &NewEnrollment,
    terms: Terms,
) -> Answer<Id> {
    let offering = *offering;
    let author = actor.caller_id().unwrap_or(student);
    store::lock_student(tx, student).await?;
    for _ in 0..TRIES {
        let facts = facts(tx, student, offering).await?;
        rules::refuse(&rules::broken(&facts, terms))?;
        let from = facts.here.as_ref().filter(|here| !here.is_deleted).map_or("", |here| here.status.as_str());
        // None when another took the last seat, or closed the offering, since the facts were read: look again.
        if let Some((id, status)) =
            store::take_seat(tx, author, (student, offering), (from, reason), terms.by_staff).await?
        {
            if !terms.by_staff {
                throttle::charge(tx, Bucket::of_enrolments(student)).await?;
            }
            announce(tx, actor, &facts, student, (id, status)).await?;
            let mut after = json!({ "student": student, "offering": offering, "status": status });
            if let (Some(after), false) = (after.as_object_mut(), reason.is_empty()) {
                after.insert("reason".to_owned(), json!(reason));
            }
            audit::record(tx, actor, "create", Enrollment::NAME, Some(id), &Value::Null, &after).await?;
            return Ok(id);
        }
    }
    Err(Problem::unavailable("The offering's seats are changing hands right now. Try again."))
}

/// A request for approval goes to the unit's convenor; who is enrolled at once is told so, and so are the workflows.
async fn announce(
    tx: &mut PgConnection,
    actor: &Viewer,
    facts: &Facts,
    student: Id,
    (id, status): (Id, Status),
) -> Answer<()> {
    let class = for_people(&facts.unit_code, &facts.unit_name, &facts.semester, facts.year);
    let notice = |recipient, verb, description| Notice {
        recipient,
        actor: actor.caller_id(),
        verb,
        description,
        target: (Enrollment::NAME, id),
    };
    if status == Status::Enrolled {
        store::announce(tx, &[id]).await?;
        tell(tx, &[notice(student, "Enrolment confirmed", format!("You are enrolled in {class}."))]).await?;
    } else if let Some(convenor) = facts.convenor {
        let description = format!("{} asks for a seat in {class}.", facts.student_name);
        tell(tx, &[notice(convenor, "Enrolment pending approval", description)]).await?;
    }
    Ok(())
}
