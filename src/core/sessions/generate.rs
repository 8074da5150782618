//! Generating classes from a weekly pattern.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{Datelike, NaiveDate, NaiveTime, Weekday};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::clashes::{self, Place};
use super::handlers::{
    ClassSession, ClassSessionFields, SessionStatus, SessionType, check_all_but_the_day, check_day, check_year,
    refuse_foreign, time_of_day,
};
use super::store;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::http::{Answer, Created, Done, DryRun, Faults, Posted, Problem, Reason, Resource, Trial, Tried, Writable};
use crate::ids::{Id, day_or_null, or_null};

/// The most days from the first to the last.
const MOST_DAYS: i64 = 366;

/// A class every week, on the same day at the same time.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct WeeklyPattern {
    /// The offering.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    offering: Option<Id>,
    /// 1 (Monday) to 7, or a name such as `Mon` or `Monday`.
    #[serde(deserialize_with = "weekday")]
    #[schema(required, value_type = String, example = "Mon")]
    weekday: Option<Weekday>,
    /// `HH:MM` or `HH:MM:SS`.
    #[serde(deserialize_with = "time_of_day")]
    #[schema(required)]
    start_time: Option<NaiveTime>,
    /// After `start_time`; null when it is not known.
    #[serde(deserialize_with = "time_of_day")]
    end_time: Option<NaiveTime>,
    /// Classes are on or after this day.
    #[schema(required)]
    #[serde(deserialize_with = "day_or_null")]
    first_date: Option<NaiveDate>,
    /// Classes are on or before this day, at most 366 days in all.
    #[schema(required)]
    #[serde(deserialize_with = "day_or_null")]
    last_date: Option<NaiveDate>,
    /// Days without a class, such as holidays.
    except: Vec<NaiveDate>,
    /// What kind of class it is.
    session_type: SessionType,
    /// The room; empty for none.
    location: String,
    /// An active user.
    #[serde(deserialize_with = "or_null")]
    instructor: Option<Id>,
}

/// The classes that were made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GeneratedSessions {
    created_count: usize,
    /// What they share.
    series: Uuid,
    /// By date.
    sessions: Vec<ClassSession>,
}

/// Reads a day of the week.
fn weekday<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Weekday>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sent {
        Number(u8),
        Text(String),
    }
    const SAYS: &str = "a weekday such as `Mon` or `Monday`, or a number from 1 (Monday) to 7, is expected";
    let day = match Option::<Sent>::deserialize(from).map_err(|_| D::Error::custom(SAYS))? {
        None => return Ok(None),
        Some(Sent::Number(number)) => numbered(number),
        Some(Sent::Text(text)) => text.parse().ok().or_else(|| numbered(text.parse().ok()?)),
    };
    day.map(Some).ok_or_else(|| D::Error::custom(SAYS))
}

fn numbered(number: u8) -> Option<Weekday> {
    Weekday::try_from(number.checked_sub(1)?).ok()
}

/// `POST /generate/`
pub(super) async fn generate(
    actor: Actor<may::WriteClassSessions>,
    State(app): State<AppState>,
    DryRun(only_asked): DryRun,
    Posted { body: pattern, repeat }: Posted<WeeklyPattern>,
) -> Answer<Tried<Created<GeneratedSessions>>> {
    let fields = ClassSessionFields {
        offering: pattern.offering,
        session_type: pattern.session_type,
        date: None,
        start_time: pattern.start_time,
        end_time: pattern.end_time,
        location: pattern.location.clone(),
        instructor: pattern.instructor,
        status: SessionStatus::Scheduled,
    };
    if only_asked {
        let mut conn = app.db.acquire().await?;
        refuse_foreign(&mut conn, &actor, fields.offering).await?;
        let (days, place) = check(&mut conn, &pattern, &fields).await?;
        let clashes = place.clashes(&mut conn, &days, None).await?;
        let status = if clashes.is_empty() { StatusCode::CREATED } else { StatusCode::CONFLICT };
        let reasons: Vec<Reason> = clashes.iter().map(|clash| clash.reason(&place)).collect();
        return Done::with(&Trial::of(status, reasons)).map(Tried::Asked);
    }
    let (actor, pattern, fields) = (&actor, &pattern, &fields);
    repeat
        .write(
            &app,
            Some(actor.id()),
            |tx, _| Box::pin(refuse_foreign(tx, actor, fields.offering)),
            |tx, _| Box::pin(async move { Created::with(&add(tx, actor, pattern, fields).await?) }),
        )
        .await
        .map(Tried::Done)
}

/// Adds all of the classes, or refuses.
async fn add(
    tx: &mut PgConnection,
    actor: &Actor<may::WriteClassSessions>,
    pattern: &WeeklyPattern,
    fields: &ClassSessionFields,
) -> Answer<GeneratedSessions> {
    let (days, place) = check(tx, pattern, fields).await?;
    place.hold(tx).await?;
    clashes::refuse(&place, &place.clashes(tx, &days, None).await?)?;
    let series = Uuid::new_v4();
    let added = store::add_series(tx, actor.id(), fields, &days, series).await;
    let sessions = added.map_err(|error| Problem::from(error).explained(ClassSession::REFUSALS))?;
    for class in &sessions {
        let after = ClassSessionFields { date: Some(class.date), ..fields.clone() };
        let after = serde_json::to_value(after).map_err(Problem::internal)?;
        audit::record(tx, actor, "generate", ClassSession::NAME, Some(class.id), &Value::Null, &after).await?;
    }
    Ok(GeneratedSessions { created_count: sessions.len(), series, sessions })
}

/// The days of the pattern, and what a class takes on each.
async fn check<'a>(
    conn: &mut PgConnection,
    pattern: &WeeklyPattern,
    fields: &'a ClassSessionFields,
) -> Answer<(Vec<NaiveDate>, Place<'a>)> {
    let mut faults = Faults::default();
    check_all_but_the_day(conn, &mut faults, fields, None).await?;
    faults.unless(pattern.weekday.is_some(), "weekday", "This field is required.");
    check_day(&mut faults, "first_date", pattern.first_date);
    check_day(&mut faults, "last_date", pattern.last_date);
    let mut days = Vec::new();
    if let (Some(first), Some(last)) = (pattern.first_date, pattern.last_date) {
        let length = (last - first).num_days() + 1;
        if length < 1 {
            faults.add("last_date", "The last day cannot be before the first.");
        } else if length > MOST_DAYS {
            faults.add("last_date", format!("A pattern has at most {MOST_DAYS} days, not {length}."));
        } else if let Some(weekday) = pattern.weekday {
            let all = first.iter_days().take_while(|day| *day <= last);
            days = all.filter(|day| day.weekday() == weekday && !pattern.except.contains(day)).collect();
            faults.unless(!days.is_empty(), "weekday", "No day of this pattern remains to have a class on.");
            let ends = [("first_date", days.first().copied()), ("last_date", days.last().copied())];
            check_year(conn, &mut faults, fields.offering, &ends).await?;
        }
    }
    faults.check()?;
    let place = Place::of(fields).ok_or_else(|| Problem::invalid("start_time", "This field is required."))?;
    Ok((days, place))
}
