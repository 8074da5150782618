//! Cancelling many classes at once: those of a day, and those that an offering still has.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::handlers::{ClassSession, SessionStatus, check_day, refuse_foreign};
use super::notices::tell_classes;
use super::store::{self, Which};
use crate::academic::offerings::Offering;
use crate::access::{Actor, Reach, Viewer, may};
use crate::app::AppState;
use crate::audit;
use crate::db;
use crate::http::{Answer, Done, DryRun, Faults, Posted, Problem, Resource, Trial, Tried, Writable};
use crate::ids::{Id, day_or_null};

/// The most offerings that are named.
const MOST: usize = 1000;

/// A day without classes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct DayOff {
    /// The day in `TIME_ZONE`.
    #[schema(required)]
    #[serde(deserialize_with = "day_or_null")]
    date: Option<NaiveDate>,
    /// Classes of these offerings alone, at most 1,000; left out or null, of all whose classes the caller may write.
    offerings: Option<Vec<Id>>,
    /// What those are told who sit in them, such as the name of the holiday; at most 2,000 characters.
    #[schema(required)]
    reason: String,
}

/// The classes that were cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CancelledClasses {
    cancelled_count: usize,
    /// How many people were told.
    told_count: usize,
    /// By time.
    sessions: Vec<ClassSession>,
}

/// `POST /cancel/`
pub(super) async fn cancel_day(
    actor: Actor<may::WriteClassSessions>,
    State(app): State<AppState>,
    DryRun(only_asked): DryRun,
    Posted { body: day_off, repeat }: Posted<DayOff>,
) -> Answer<Tried<Done<CancelledClasses>>> {
    let (actor, day_off) = (&actor, &day_off);
    if only_asked {
        let cancelled = db::rehearse(&app.db, |tx, _| {
            Box::pin(async move {
                allowed(tx, actor, day_off).await?;
                cancel(tx, actor, day_off).await
            })
        });
        let trial = Trial::of(StatusCode::OK, Vec::new()).answering(&cancelled.await?)?;
        return Done::with(&trial).map(Tried::Asked);
    }
    repeat
        .write(
            &app,
            Some(actor.id()),
            |tx, _| Box::pin(allowed(tx, actor, day_off)),
            |tx, _| Box::pin(async move { Done::with(&cancel(tx, actor, day_off).await?) }),
        )
        .await
        .map(Tried::Done)
}

async fn allowed(tx: &mut PgConnection, actor: &Actor<may::WriteClassSessions>, day_off: &DayOff) -> Answer<()> {
    for offering in day_off.offerings.iter().flatten().take(MOST) {
        refuse_foreign(tx, actor, Some(*offering)).await?;
    }
    Ok(())
}

async fn cancel(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteClassSessions>,
    day_off: &DayOff,
) -> Answer<CancelledClasses> {
    let mut faults = Faults::default();
    check_day(&mut faults, "date", day_off.date);
    faults.name("reason", &day_off.reason, 2000);
    if let Some(offerings) = &day_off.offerings {
        let says = format!("Name 1 to {MOST} offerings, or leave this out for all whose classes you may write.");
        faults.unless((1..=MOST).contains(&offerings.len()), "offerings", says);
    }
    // Classes are held before their offerings, as when one is changed.
    let classes = match (day_off.date, &day_off.offerings) {
        (Some(day), named) if faults.is_empty() => {
            let which = named.as_ref().map_or(Which::On(day), |offerings| Which::OnIn(day, offerings));
            store::hold_classes(tx, which, actor.caller_id(), actor.scope()).await?
        }
        _ => Vec::new(),
    };
    for (place, offering) in day_off.offerings.iter().flatten().take(MOST).enumerate() {
        faults.refers::<Offering>(tx, &format!("offerings[{place}]"), Some(*offering)).await?;
    }
    faults.check()?;
    let sessions = cancel_classes(tx, actor, &classes, &day_off.reason).await?;
    let changes: Vec<_> = classes.iter().cloned().map(|class| (class.clone(), cancelled(class))).collect();
    let told_count = tell_classes(tx, actor, &changes, &day_off.reason).await?;
    Ok(CancelledClasses { cancelled_count: sessions.len(), told_count, sessions })
}

/// Locks the classes of an offering that are still to come. Whoever calls may write them.
pub(crate) async fn hold_coming(tx: &mut PgConnection, offering: Id, zone: &str) -> Answer<Vec<ClassSession>> {
    Ok(store::hold_classes(tx, Which::Coming(offering, zone), None, Reach::ALL).await?)
}

/// Cancels classes, which are locked, and tells nobody.
pub(crate) async fn cancel_classes(
    tx: &mut PgConnection,
    actor: &Viewer,
    classes: &[ClassSession],
    reason: &str,
) -> Answer<Vec<ClassSession>> {
    let ids: Vec<Id> = classes.iter().map(|class| class.id).collect();
    store::cancel(tx, actor.caller_id(), &ids).await?;
    let mut log = Vec::with_capacity(classes.len());
    for class in classes {
        let mut after = json_of(&cancelled(class.clone()))?;
        if let Some(members) = after.as_object_mut() {
            members.insert("reason".to_owned(), json!(reason));
        }
        log.push((class.id, json_of(class)?, after));
    }
    audit::record_all(tx, actor, "cancel", ClassSession::NAME, &log).await?;
    Ok(store::classes(tx, &ids).await?)
}

fn cancelled(mut class: ClassSession) -> ClassSession {
    class.status = SessionStatus::Cancelled;
    class
}

fn json_of(class: &ClassSession) -> Answer<Value> {
    serde_json::to_value(ClassSession::fields(class)).map_err(Problem::internal)
}
