//! Closing an offering: it does not take place. Everybody leaves it, its classes are cancelled, and all are told why.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::steps::{Held, Step, carry_out};
use super::store::hold;
use crate::academic::offerings::Offering;
use crate::access::{Actor, Permission, may};
use crate::app::AppState;
use crate::audit;
use crate::core::notifications::{Notice, tell};
use crate::core::sessions::{cancel_classes, hold_coming};
use crate::db;
use crate::enrollment::Status;
use crate::http::{Answer, Done, DryRun, Faults, PathId, Posted, Problem, Reason, Resource, Trial, Tried};
use crate::ids::Id;

/// How often it is tried again when somebody has got in since it was looked for.
const TRIES: u32 = 5;

const ALREADY: (&str, &str) =
    ("already_closed", "This offering is closed already: it is not active, and nobody sits in it.");

/// Why an offering is closed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct Closing {
    /// Kept in each history, and told to everybody; at most 2,000 characters.
    #[schema(required)]
    reason: String,
}

/// What closing an offering has done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClosedOffering {
    offering: Id,
    /// How many enrolments were withdrawn. Results that were given stand.
    withdrawn_count: usize,
    /// How many classes that were to come were cancelled.
    cancelled_count: usize,
    /// How many people were told.
    told_count: usize,
}

/// What became of an attempt.
enum Attempt {
    Closed(ClosedOffering),
    Already,
    /// Somebody has got in since it was looked who is there.
    Late,
}

/// `POST /{id}/close/`
pub(super) async fn close(
    actor: Actor<may::WriteOfferings>,
    State(app): State<AppState>,
    PathId(id): PathId,
    DryRun(only_asked): DryRun,
    Posted { body: Closing { reason }, repeat }: Posted<Closing>,
) -> Answer<Tried<Done<ClosedOffering>>> {
    let needed = [Permission::WithdrawEnrollments, Permission::WriteClassSessions];
    if !(actor.scope().is_all() && needed.iter().all(|permission| actor.reach(*permission).is_all())) {
        return Err(Problem::forbidden("Only staff may close an offering."));
    }
    let (actor, reason, zone) = (&actor, reason.as_str(), app.config.time_zone.name());
    if only_asked {
        let told = db::rehearse(&app.db, |tx, _| Box::pin(closed(tx, actor, id, reason, zone))).await?;
        let trial = if let Some(closed) = told {
            Trial::of(StatusCode::OK, Vec::new()).answering(&closed)?
        } else {
            let (code, says) = ALREADY;
            let reason = Reason { code, detail: says.to_owned(), facts: json!({ "offering": id }) };
            Trial::of(StatusCode::CONFLICT, vec![reason])
        };
        return Done::with(&trial).map(Tried::Asked);
    }
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let (code, says) = ALREADY;
                let closed = closed(tx, actor, id, reason, zone).await?;
                Done::with(&closed.ok_or_else(|| Problem::conflict(code, says))?)
            })
        })
        .await
        .map(Tried::Done)
}

/// Closes the offering; none when it is closed already.
async fn closed(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteOfferings>,
    id: Id,
    reason: &str,
    zone: &str,
) -> Answer<Option<ClosedOffering>> {
    let mut faults = Faults::default();
    faults.name("reason", reason, 2000);
    faults.check()?;
    for _ in 0..TRIES {
        store::begin_attempt(tx).await?;
        match attempt(tx, actor, id, reason, zone).await? {
            Attempt::Closed(closed) => return Ok(Some(closed)),
            Attempt::Already => return Ok(None),
            // Which gives back what was held, so that it is held in its order again.
            Attempt::Late => store::take_attempt_back(tx).await?,
        }
    }
    Err(Problem::unavailable("The offering's seats are changing hands right now. Try again."))
}

/// Holds students, enrolments, classes and at last the offering; from then on nobody gets in.
async fn attempt(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteOfferings>,
    id: Id,
    reason: &str,
    zone: &str,
) -> Answer<Attempt> {
    let open = store::open_in(tx, id).await?;
    let held = hold(tx, &open).await?;
    let classes = hold_coming(tx, id, zone).await?;
    let Some(offering) = store::hold_offering(tx, id).await? else { return Err(Problem::absent()) };
    let is_held = |open: &Id| held.iter().any(|held| held.id == *open);
    if !store::open_in(tx, id).await?.iter().all(is_held) || hold_coming(tx, id, zone).await?.len() != classes.len() {
        return Ok(Attempt::Late);
    }

    let steps: Vec<(&Held, Step)> = held
        .iter()
        .filter(|held| matches!(held.status, Status::Pending | Status::Enrolled))
        .map(|held| (held, withdrawn(held, reason)))
        .collect();
    if !offering.is_active && steps.is_empty() && classes.is_empty() {
        return Ok(Attempt::Already);
    }
    let teachers = store::teachers(tx, id).await?;
    store::deactivate_offering(tx, actor.id(), id).await?;
    carry_out(tx, Some(actor), "close", &steps).await?;
    let cancelled_count = cancel_classes(tx, actor, &classes, reason).await?.len();

    let withdrawn_count = steps.len();
    let students: BTreeSet<Id> = steps.iter().map(|(held, _)| held.student).collect();
    let class = format!("{} {} {}", offering.unit_code, offering.year, offering.semester);
    let description = format!("{class}: {reason} (withdrawn: {withdrawn_count}, classes cancelled: {cancelled_count})");
    let notices: Vec<Notice> = teachers
        .into_iter()
        .filter(|teacher| *teacher != actor.id() && !students.contains(teacher))
        .map(|recipient| Notice {
            recipient,
            actor: actor.caller_id(),
            verb: "Class closed",
            description: description.clone(),
            target: (Offering::NAME, id),
        })
        .collect();
    tell(tx, &notices).await?;
    let before = json!({ "is_active": offering.is_active });
    let after = json!({
        "is_active": false, "reason": reason, "withdrawn": withdrawn_count, "cancelled": cancelled_count,
    });
    audit::record(tx, actor, "close", Offering::NAME, Some(id), &before, &after).await?;
    let told_count = students.len() + notices.len();
    Ok(Attempt::Closed(ClosedOffering { offering: id, withdrawn_count, cancelled_count, told_count }))
}

fn withdrawn(held: &Held, reason: &str) -> Step {
    Step {
        id: held.id,
        status: Status::Withdrawn,
        grade: String::new(),
        marks: None,
        reason: reason.to_owned(),
        decision: None,
        day: None,
    }
}

/// Every SQL statement of closing.
mod store {
    use sqlx::PgConnection;

    use crate::ids::Id;

    /// An offering that is locked.
    pub(super) struct HeldOffering {
        pub(super) unit_code: String,
        pub(super) year: i32,
        pub(super) semester: String,
        pub(super) is_active: bool,
    }

    pub(super) async fn begin_attempt(tx: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!("savepoint closing").execute(tx).await?;
        Ok(())
    }

    /// Gives back what has been held since the attempt began.
    pub(super) async fn take_attempt_back(tx: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query!("rollback to savepoint closing").execute(tx).await?;
        Ok(())
    }

    /// The enrolments that have no result yet and hold a seat.
    pub(super) async fn open_in(tx: &mut PgConnection, offering: Id) -> sqlx::Result<Vec<Id>> {
        sqlx::query_scalar!(
            r#"select id as "id: Id"
                 from enrollments
                where offering_id = $1
                  and status in ('PENDING', 'ENROLLED')
                  and deleted_at is null"#,
            offering.0
        )
        .fetch_all(tx)
        .await
    }

    /// Locks a live offering.
    pub(super) async fn hold_offering(tx: &mut PgConnection, id: Id) -> sqlx::Result<Option<HeldOffering>> {
        sqlx::query_as!(
            HeldOffering,
            "select u.code as unit_code, o.year, o.semester, o.is_active
               from offerings o
               join units u on u.id = o.unit_id
              where o.id = $1
                and o.deleted_at is null
                for no key update of o",
            id.0
        )
        .fetch_optional(tx)
        .await
    }

    pub(super) async fn deactivate_offering(tx: &mut PgConnection, author: Id, id: Id) -> sqlx::Result<()> {
        sqlx::query!(
            "update offerings
                set is_active = false,
                    updated_at = rule_now(),
                    updated_by = $2
              where id = $1",
            id.0,
            author.0
        )
        .execute(tx)
        .await?;
        Ok(())
    }

    /// Who convenes the offering or instructs a class of it, and has an active account.
    pub(super) async fn teachers(tx: &mut PgConnection, offering: Id) -> sqlx::Result<Vec<Id>> {
        sqlx::query_scalar!(
            r#"select p.id as "id: Id"
                 from users p
                where p.is_active
                  and (p.id = (select o.convenor_id
                                 from offerings o
                                where o.id = $1)
                       or p.id in (select s.instructor_id
                                     from class_sessions s
                                    where s.offering_id = $1
                                      and s.deleted_at is null))
                order by p.id"#,
            offering.0
        )
        .fetch_all(tx)
        .await
    }
}
