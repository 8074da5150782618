//! Changing the classes of a weekly series from a day on, all or none.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use chrono::{NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::clashes::{self, Place};
use super::handlers::{
    ClassSession, ClassSessionFields, SessionStatus, SessionType, check_all_but_the_day, check_day, refuse_foreign,
    time_of_day,
};
use super::notices::tell_classes;
use super::store::{self, Which};
use crate::access::{Actor, Permission, may};
use crate::app::AppState;
use crate::audit;
use crate::db;
use crate::http::{
    Answer, Changes, Describe, Done, DryRun, Faults, Notes, Problem, Reason, Resource, Schemas, Trial, Tried, Writable,
    path_text,
};
use crate::ids::{Id, day_or_null, or_null};

/// What the classes of a series get from a day on; what is left out stays as it is with each of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct SeriesFields {
    /// Classes on or after this day are changed. It is needed.
    #[serde(deserialize_with = "day_or_null")]
    from: Option<NaiveDate>,
    /// Classes on or before this day; null for all that follow.
    #[serde(deserialize_with = "day_or_null")]
    to: Option<NaiveDate>,
    /// What kind of class it is.
    session_type: SessionType,
    /// `HH:MM` or `HH:MM:SS`.
    #[serde(deserialize_with = "time_of_day")]
    start_time: Option<NaiveTime>,
    /// After `start_time`; null when it is not known.
    #[serde(deserialize_with = "time_of_day")]
    end_time: Option<NaiveTime>,
    /// The room; empty for none.
    location: String,
    /// An active user.
    #[serde(deserialize_with = "or_null")]
    instructor: Option<Id>,
    /// Who sits in the classes is told when they are cancelled.
    status: SessionStatus,
}

/// The classes that were changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangedSeries {
    /// How many differ from what they were.
    changed_count: usize,
    /// How many people were told.
    told_count: usize,
    /// What they share.
    series: Uuid,
    /// By date.
    sessions: Vec<ClassSession>,
}

/// The `{series}` of the path. What is no series names nothing: 404.
#[derive(Debug)]
pub(super) struct PathSeries(Uuid);

impl FromRequestParts<AppState> for PathSeries {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        path_text(head, app, "series").await?.parse().map(Self).map_err(|_| Problem::absent())
    }
}

impl Describe for PathSeries {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        notes.parameter("path", "series", json!({ "type": "string", "format": "uuid" }), "What the classes share.");
        notes.refuses(404, "Not there, or not visible to the caller.");
    }
}

/// `PATCH /series/{series}/`
pub(super) async fn change(
    actor: Actor<may::WriteClassSessions>,
    State(app): State<AppState>,
    PathSeries(series): PathSeries,
    DryRun(only_asked): DryRun,
    changes: Changes<SeriesFields>,
) -> Answer<Tried<Done<ChangedSeries>>> {
    let (actor, changes) = (&actor, &changes);
    if only_asked {
        let told = db::rehearse(&app.db, |tx, _| Box::pin(change_all(tx, actor, series, changes))).await?;
        let trial = match told {
            Ok(done) => Trial::of(StatusCode::OK, Vec::new()).answering(&done)?,
            Err(clashes) => Trial::of(StatusCode::CONFLICT, clashes),
        };
        return Done::with(&trial).map(Tried::Asked);
    }
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            match change_all(tx, actor, series, changes).await? {
                Ok(done) => Done::with(&done).map(Tried::Done),
                Err(clashes) => Err(clashes::refuse_for(&clashes).err().unwrap_or_else(Problem::absent)),
            }
        })
    })
    .await
}

/// Changes the classes, or says what is in their way.
async fn change_all(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteClassSessions>,
    series: Uuid,
    changes: &Changes<SeriesFields>,
) -> Answer<Result<ChangedSeries, Vec<Reason>>> {
    let reach = actor.reach(Permission::ReadClassSessions);
    let classes = store::hold_classes(tx, Which::Series(series), actor.caller_id(), reach).await?;
    let Some(first) = classes.first() else { return Err(Problem::absent()) };
    refuse_foreign(tx, actor, Some(first.offering)).await?;
    let wanted = wanted(tx, &classes, changes).await?;

    let places: Vec<Place<'_>> = wanted.iter().filter_map(|(_, fields)| taken_by(fields)).collect();
    clashes::hold_all(tx, &places).await?;
    let mut in_the_way = Vec::new();
    // One after the other, so that each also sees where those before it are now.
    for (class, fields) in &wanted {
        if let Some(place) = taken_by(fields) {
            let found = place.clashes(tx, &[class.date], Some(class.id)).await?;
            if !found.is_empty() {
                in_the_way.extend(found.iter().map(|clash| clash.reason(&place)));
                continue;
            }
        }
        let written = store::replace(tx, actor.id(), class.id, fields).await;
        written.map_err(|error| Problem::from(error).explained(ClassSession::REFUSALS))?;
    }
    if !in_the_way.is_empty() {
        return Ok(Err(in_the_way));
    }

    let ids: Vec<Id> = wanted.iter().map(|(class, _)| class.id).collect();
    let sessions = store::classes(tx, &ids).await?;
    let mut moved = Vec::with_capacity(wanted.len());
    let mut log = Vec::with_capacity(wanted.len());
    for (class, fields) in &wanted {
        log.push((class.id, json_of(&ClassSession::fields(class))?, json_of(fields)?));
        moved.extend(sessions.iter().find(|after| after.id == class.id).map(|after| ((*class).clone(), after.clone())));
    }
    audit::record_all(tx, actor, "update", ClassSession::NAME, &log).await?;
    let told_count = tell_classes(tx, actor, &moved, "").await?;
    Ok(Ok(ChangedSeries { changed_count: sessions.len(), told_count, series, sessions }))
}

/// The classes that will differ, with what they will be.
async fn wanted<'a>(
    tx: &mut PgConnection,
    classes: &'a [ClassSession],
    changes: &Changes<SeriesFields>,
) -> Answer<Vec<(&'a ClassSession, ClassSessionFields)>> {
    let SeriesFields { from, to, .. } = changes.onto(&SeriesFields::default())?;
    let mut faults = Faults::default();
    check_day(&mut faults, "from", from);
    if let (Some(from), Some(to)) = (from, to) {
        faults.unless(from <= to, "to", "The last day cannot be before the first.");
    }
    let is_within = |day: NaiveDate| from.is_some_and(|from| from <= day) && to.is_none_or(|to| day <= to);
    let there: Vec<&ClassSession> = classes.iter().filter(|class| is_within(class.date)).collect();
    faults.unless(
        !there.is_empty() || from.is_none(),
        "from",
        "No class of this series is on or after this day, up to `to`.",
    );
    faults.check()?;
    let mut wanted = Vec::new();
    for class in there {
        let before = ClassSession::fields(class);
        let fields = changed(&before, changes)?;
        if json_of(&before)? != json_of(&fields)? {
            let mut faults = Faults::default();
            check_all_but_the_day(tx, &mut faults, &fields, Some(&before)).await?;
            faults.check()?;
            wanted.push((class, fields));
        }
    }
    Ok(wanted)
}

/// What a class becomes; it stays in its offering and on its day.
fn changed(now: &ClassSessionFields, changes: &Changes<SeriesFields>) -> Answer<ClassSessionFields> {
    let SeriesFields { from: _, to: _, session_type, start_time, end_time, location, instructor, status } = changes
        .onto(&SeriesFields {
            from: None,
            to: None,
            session_type: now.session_type,
            start_time: now.start_time,
            end_time: now.end_time,
            location: now.location.clone(),
            instructor: now.instructor,
            status: now.status,
        })?;
    let (offering, date) = (now.offering, now.date);
    Ok(ClassSessionFields { offering, session_type, date, start_time, end_time, location, instructor, status })
}

/// What a class takes on its day; nothing when it does not take place.
fn taken_by(fields: &ClassSessionFields) -> Option<Place<'_>> {
    Place::of(fields).filter(|_| fields.status == SessionStatus::Scheduled)
}

fn json_of(fields: &ClassSessionFields) -> Answer<Value> {
    serde_json::to_value(fields).map_err(Problem::internal)
}
