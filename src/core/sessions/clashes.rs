//! Clashes: a room and an instructor have one class at a time.
//!
//! Whoever writes a class that takes place first holds its instructor and then its room until the transaction ends, and
//! only then looks for classes in the way. Of two requests for one room the second so sees what the first has written,
//! on whichever server process it runs, and can say what it clashes with. Behind it stand the constraints
//! `class_sessions_share_no_room` and `class_sessions_share_no_instructor`, for whatever else writes.

use std::collections::BTreeSet;

use chrono::{NaiveDate, NaiveTime};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::handlers::ClassSessionFields;
use super::store;
use crate::http::{Answer, Problem, Reason};
use crate::ids::Id;

/// The code of the refusal.
const CODE: &str = "clash";

/// What two classes cannot share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum What {
    /// The room that the location names (`room_of` in the database): `Online` and the like are none.
    Room,
    /// Who holds the class.
    Instructor,
}

/// A class that is in the way.
#[derive(Debug, Serialize)]
pub(super) struct Clash {
    date: NaiveDate,
    what: What,
    /// The class that is there already.
    session: Id,
    /// Its unit.
    unit_code: String,
    start_time: NaiveTime,
    end_time: Option<NaiveTime>,
}

/// What a class takes on its day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) start_time: NaiveTime,
    pub(super) end_time: Option<NaiveTime>,
    pub(super) location: &'a str,
    pub(super) instructor: Option<Id>,
}

/// A class that overlaps, and what it shares.
#[derive(Debug)]
pub(super) struct Overlap {
    pub(super) id: Id,
    pub(super) date: NaiveDate,
    pub(super) start_time: NaiveTime,
    pub(super) end_time: Option<NaiveTime>,
    pub(super) unit_code: String,
    pub(super) in_the_room: bool,
    pub(super) by_the_instructor: bool,
}

impl<'a> Place<'a> {
    /// None without a time.
    pub(super) fn of(fields: &'a ClassSessionFields) -> Option<Self> {
        Some(Self {
            start_time: fields.start_time?,
            end_time: fields.end_time,
            location: &fields.location,
            instructor: fields.instructor,
        })
    }

    /// As [`hold_all`], for one.
    pub(super) async fn hold(&self, tx: &mut PgConnection) -> sqlx::Result<()> {
        hold_all(tx, &[*self]).await
    }

    /// Classes in the way on these days, other than `itself`.
    pub(super) async fn clashes(
        &self,
        conn: &mut PgConnection,
        days: &[NaiveDate],
        itself: Option<Id>,
    ) -> sqlx::Result<Vec<Clash>> {
        let overlaps = store::overlaps(conn, self, days, itself).await?;
        let clash = |overlap: &Overlap, what| Clash {
            date: overlap.date,
            what,
            session: overlap.id,
            unit_code: overlap.unit_code.clone(),
            start_time: overlap.start_time,
            end_time: overlap.end_time,
        };
        Ok(overlaps
            .iter()
            .flat_map(|overlap| {
                let room = overlap.in_the_room.then(|| clash(overlap, What::Room));
                let instructor = overlap.by_the_instructor.then(|| clash(overlap, What::Instructor));
                room.into_iter().chain(instructor)
            })
            .collect())
    }
}

impl Clash {
    /// What is in the way, for people.
    fn detail(&self, place: &Place<'_>) -> String {
        let what = match self.what {
            What::Room => format!("The room {} is", place.location.trim()),
            What::Instructor => "The instructor is".to_owned(),
        };
        let time = spoken(self.date, self.start_time, self.end_time);
        format!("{what} taken by {} on {time}.", self.unit_code)
    }

    /// The same as a reason not to.
    pub(super) fn reason(&self, place: &Place<'_>) -> Reason {
        Reason { code: CODE, detail: self.detail(place), facts: json!(self) }
    }
}

/// Waits until nobody else places a class with these instructors or in these rooms, and keeps it so until the
/// transaction ends. Names are held in their order, so that two requests cannot wait for each other.
pub(super) async fn hold_all(tx: &mut PgConnection, places: &[Place<'_>]) -> sqlx::Result<()> {
    let instructors = places.iter().filter_map(|place| place.instructor);
    let instructors: BTreeSet<String> = instructors.map(|person| format!("the instructor {person}")).collect();
    let rooms = places.iter().map(|place| place.location).filter(|room| !room.trim().is_empty());
    let rooms: BTreeSet<String> = rooms.map(|room| format!("the room {room}")).collect();
    for name in instructors.iter().chain(&rooms) {
        store::hold(tx, name).await?;
    }
    Ok(())
}

/// 409 with the clashes, if there are any.
pub(super) fn refuse(place: &Place<'_>, clashes: &[Clash]) -> Answer<()> {
    refuse_for(&clashes.iter().map(|clash| clash.reason(place)).collect::<Vec<_>>())
}

/// The same for clashes of several classes.
pub(super) fn refuse_for(clashes: &[Reason]) -> Answer<()> {
    let Some(first) = clashes.first() else { return Ok(()) };
    let more = match clashes.len() - 1 {
        0 => String::new(),
        others => format!(" Clashes beside this one: {others}."),
    };
    let facts: Vec<&Value> = clashes.iter().map(|clash| &clash.facts).collect();
    Err(Problem::conflict(CODE, first.detail.clone() + &more).with("clashes", json!(facts)))
}

/// Such as `Mon 2026-03-02 09:00-11:00`.
pub(super) fn spoken(date: NaiveDate, start: NaiveTime, end: Option<NaiveTime>) -> String {
    let starts = format!("{} {}", date.format("%a %Y-%m-%d"), start.format("%H:%M"));
    end.map_or_else(|| starts.clone(), |end| format!("{starts}-{}", end.format("%H:%M")))
}
