//! What goes on at the demo's campus: classes and who was there, events, gold, and what people are told. All of it stands
//! around the day of the run, so that every page of the app shows something whenever the demo is shown.
//!
//! It is written with the people whom it is about: where one of them was there before, nothing is added to what they have.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use super::calendar::Semester;
use super::store::{self, Event, Gold, Notice, Session};
use crate::http::{Answer, Problem};

const EVENTS: &str = include_str!("../demo/events.json");
const NOTICES: &str = include_str!("../demo/notices.json");
const GOLD: &str = include_str!("../demo/gold.json");

/// Weeks with classes before the one of the run, and after it.
const WEEKS: (i64, i64) = (4, 4);

/// Where and when the demo stands.
pub(super) struct Scene<'a> {
    pub(super) now: DateTime<Utc>,
    pub(super) zone: Tz,
    pub(super) semesters: &'a [Semester; 4],
    /// The accounts that this run has made, by their address.
    pub(super) people: &'a HashMap<String, i64>,
    /// The ids of units by their code.
    pub(super) units: &'a HashMap<String, i64>,
    /// The ids of offerings by code, year and semester.
    pub(super) offerings: &'a HashMap<(String, i32, String), i64>,
}

/// When the class of a unit meets, and who convenes it.
pub(super) struct Meeting<'a> {
    pub(super) code: &'a str,
    pub(super) day: &'a str,
    pub(super) time: &'a str,
    pub(super) hours: i64,
    pub(super) convenor: Option<i64>,
}

/// How much was made.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) sessions: usize,
    pub(super) attendance: usize,
    pub(super) events: usize,
    pub(super) gold: usize,
    pub(super) notices: usize,
}

#[derive(Deserialize)]
struct DemoEvent {
    title: String,
    description: String,
    /// From the day of the run.
    days: i64,
    time: NaiveTime,
    hours: i64,
    location: String,
    visibility: String,
    #[serde(default)]
    for_all_students: bool,
    #[serde(default)]
    unit: Option<String>,
    /// The unit whose class of this semester it is for.
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    student: Option<String>,
    by: String,
    #[serde(default)]
    content: Map<String, Value>,
    #[serde(default)]
    meta: Map<String, Value>,
    status: String,
    #[serde(default)]
    confirmed: bool,
}

#[derive(Deserialize)]
struct DemoNotice {
    to: String,
    #[serde(default)]
    from: Option<String>,
    verb: String,
    description: String,
    hours_ago: i64,
    unread: bool,
}

#[derive(Deserialize)]
struct DemoGold {
    student: String,
    by: String,
    amount: i64,
    kind: String,
    reason: String,
    days_ago: i64,
}

/// Fills the campus.
pub(super) async fn fill(tx: &mut PgConnection, scene: &Scene<'_>, meetings: &[Meeting<'_>]) -> Answer<Made> {
    let [_, last, current, next] = *scene.semesters;
    let sessions = scene.sessions(meetings, last, current);
    let mut made = Made { sessions: store::add_sessions(tx, &sessions).await?, ..Made::default() };
    let offerings: Vec<i64> = sessions.iter().map(|session| session.offering).collect();
    made.attendance = store::mark_attendance(tx, &offerings, scene.zone.name()).await?;

    for event in read::<DemoEvent>("events.json", EVENTS)? {
        if let Some(event) = scene.event(event, current) {
            store::add_event(tx, &event).await?;
            made.events += 1;
        }
    }
    let gold = scene.gold(read("gold.json", GOLD)?);
    store::add_gold(tx, &gold).await?;
    made.gold = gold.len();
    let notices = scene.notices(read("notices.json", NOTICES)?);
    store::add_notices(tx, &notices).await?;
    made.notices = notices.len();

    let people: Vec<i64> = scene.people.values().copied().collect();
    store::tell_convenors(tx, &people).await?;
    store::grant_to_guardians(tx, &people).await?;
    if let Some(student) = scene.people.get("student@swin.edu.au") {
        let open = scene.offerings.get(&class("INF10018", next));
        store::open_at_once(tx, open.copied()).await?;
        store::fill_up(tx, *student, current.year(), current.name()).await?;
    }
    Ok(made)
}

fn read<T: for<'de> Deserialize<'de>>(name: &'static str, text: &str) -> Answer<Vec<T>> {
    super::read(name, text).map_err(Problem::internal)
}

fn class(code: &str, semester: Semester) -> (String, i32, String) {
    (code.to_owned(), semester.year(), semester.name().to_owned())
}

impl Scene<'_> {
    fn today(&self) -> NaiveDate {
        self.now.with_timezone(&self.zone).date_naive()
    }

    fn moment(&self, days: i64, time: NaiveTime) -> DateTime<Utc> {
        let local = (self.today() + TimeDelta::days(days)).and_time(time).and_local_timezone(self.zone);
        // Some clocks skip an hour in spring.
        local.earliest().map_or(self.now + TimeDelta::days(days), |at| at.to_utc())
    }

    /// The weekly classes of the units with a convenor: of this semester around today, of the last one at its middle.
    fn sessions(&self, meetings: &[Meeting<'_>], last: Semester, current: Semester) -> Vec<Session> {
        let monday = self.today().week(chrono::Weekday::Mon).first_day();
        let middle = (last.last_day() - Days::new(70)).week(chrono::Weekday::Mon).first_day();
        let stand_ins = ["staff@swin.edu.au", "admin@swin.edu.au"].map(|email| self.people.get(email).copied());
        let mut busy = HashSet::new();
        let mut sessions = Vec::new();
        for (place, meeting) in meetings.iter().enumerate() {
            let Some(convenor) = meeting.convenor else { continue };
            let (Ok(day), Ok(start)) = (meeting.day.parse::<chrono::Weekday>(), meeting.time.parse::<NaiveTime>())
            else {
                continue;
            };
            let offered = [(last, middle, 0, 4), (current, monday, -WEEKS.0, WEEKS.0 + WEEKS.1 + 1)];
            let offered: Vec<_> = offered
                .into_iter()
                .filter_map(|(semester, from, first, weeks)| {
                    let offering = self.offerings.get(&class(meeting.code, semester)).copied()?;
                    Some((offering, from + TimeDelta::weeks(first), weeks))
                })
                .collect();
            if offered.is_empty() {
                continue;
            }
            // Nobody is in two rooms at once.
            let mut free = [Some(convenor), stand_ins[0], stand_ins[1]].into_iter().flatten();
            let instructor = free.find(|person| busy.insert((*person, day, start)));
            for (offering, from, weeks) in offered {
                for week in 0..weeks {
                    let days = TimeDelta::weeks(week) + TimeDelta::days(i64::from(day.num_days_from_monday()));
                    sessions.push(Session {
                        offering,
                        date: from + days,
                        start,
                        end: start + TimeDelta::hours(meeting.hours),
                        location: format!("EN{}", 101 + place),
                        instructor,
                    });
                }
            }
        }
        sessions
    }

    fn event(&self, event: DemoEvent, current: Semester) -> Option<Event> {
        let by = *self.people.get(&event.by)?;
        let start = self.moment(event.days, event.time);
        let day = start.with_timezone(&self.zone).format("%A, %-d %B").to_string();
        let content: Map<String, Value> = event
            .content
            .into_iter()
            .map(|(name, text)| (name, json!(text.as_str().unwrap_or_default().replace("{day}", &day))))
            .collect();
        let mut meta = event.meta;
        if event.confirmed {
            meta.insert("confirmed_by".to_owned(), json!(by));
            meta.insert("confirmed_at".to_owned(), json!(crate::ids::Moment(self.now)));
        }
        let known = |email: &Option<String>| email.as_ref().map(|email| self.people.get(email).copied());
        let student = match known(&event.student) {
            Some(None) => return None,
            Some(student) => student,
            None => None,
        };
        let of_class = event.class.as_ref().map(|code| self.offerings.get(&class(code, current)).copied());
        let offering = match of_class {
            Some(None) => return None,
            Some(offering) => offering,
            None => None,
        };
        Some(Event {
            title: event.title,
            description: event.description,
            start,
            end: start + TimeDelta::hours(event.hours),
            location: event.location,
            visibility: event.visibility,
            for_all_students: event.for_all_students,
            unit: event.unit.and_then(|code| self.units.get(&code).copied()),
            offering,
            student,
            generated_at: (!content.is_empty()).then_some(self.now),
            content: Value::Object(content),
            meta: Value::Object(meta),
            status: event.status,
            by,
        })
    }

    /// Entries with what each account holds after it, the oldest first.
    fn gold(&self, entries: Vec<DemoGold>) -> Vec<Gold> {
        let mut so_far: HashMap<i64, (i64, i64)> = HashMap::new();
        let known = entries.into_iter().filter_map(|entry| {
            let (student, by) = (*self.people.get(&entry.student)?, *self.people.get(&entry.by)?);
            let (seq, balance) = so_far.entry(student).or_default();
            *seq += 1;
            *balance += entry.amount;
            Some(Gold {
                student,
                seq: *seq,
                amount: entry.amount,
                kind: entry.kind,
                reason: entry.reason,
                balance: *balance,
                by,
                at: self.now - TimeDelta::days(entry.days_ago),
            })
        });
        known.collect()
    }

    fn notices(&self, notices: Vec<DemoNotice>) -> Vec<Notice> {
        let known = notices.into_iter().filter_map(|notice| {
            Some(Notice {
                to: *self.people.get(&notice.to)?,
                from: notice.from.and_then(|from| self.people.get(&from).copied()),
                verb: notice.verb,
                description: notice.description,
                unread: notice.unread,
                at: self.now - TimeDelta::hours(notice.hours_ago),
            })
        });
        known.collect()
    }
}
