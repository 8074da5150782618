//! `swincms seed`: two courses, their units, people of every kind, and what the students have done so far.
//!
//! Offerings follow the date of the run: the current and the next semester are open, the two before them hold the
//! students' results. What is there already stays as it is, whoever made it, so that a second run changes nothing
//! and nobody's data is overwritten. Everything is written in one transaction.

mod calendar;
mod campus;
mod people;
mod picture;
mod store;
mod studies;

use std::collections::{HashMap, HashSet};

use anyhow::{Context, bail};
use chrono_tz::Tz;
use clap::Args;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;

use self::calendar::Semester;
use self::campus::{Meeting, Scene};
use self::people::Person;
use self::picture::Picture;
use self::studies::{Catalogue, Class};
use super::import::report::{Progress, Tally, noun};
use super::import::store::{accounts, demo, enrollments as records, one_at_a_time};
use super::import::units::{self, UnitRow};
use super::import::{OfferingRow, Place, Row};
use super::{audit, database, hashing, out};
use crate::config::Config;
use crate::db;
use crate::files::Written;
use crate::http::{Answer, Problem};
use crate::ids::{Id, Moment};

const PEOPLE: &str = include_str!("../demo/people.json");

/// The addresses of the crowd that `--students` makes, as a pattern of PostgreSQL.
pub(super) const CROWD: &str = r"^demo\d{6}@swin\.edu\.au$";

/// The mail addresses of all other accounts of the demo, in lower case.
///
/// # Errors
/// When the demo's own file is broken.
pub(super) fn emails() -> anyhow::Result<Vec<String>> {
    let named: Vec<Person> = read("people.json", PEOPLE)?;
    Ok(named.into_iter().map(|person| person.email.to_lowercase()).collect())
}

/// How much demo data.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Also makes this many students with studies of their own, all with the same password.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=200_000))]
    students: u32,
    /// Writes demo data with known passwords into a production database.
    #[arg(long)]
    force: bool,
}

/// A unit of the catalogue, and when its class meets.
#[derive(Debug, Deserialize)]
struct DemoUnit {
    #[serde(flatten)]
    unit: UnitRow,
    class_hours: Decimal,
    meeting_day: String,
    meeting_time: String,
}

/// A course and its units.
#[derive(Debug, Deserialize)]
struct DemoCourse {
    code: String,
    name: String,
    description: String,
    duration_years: Decimal,
    credit_points: Decimal,
    department: String,
    units: Vec<DemoCourseUnit>,
}

#[derive(Debug, Deserialize)]
struct DemoCourseUnit {
    code: String,
    is_elective: bool,
}

/// What was made.
#[derive(Debug, Default)]
struct Made {
    courses: usize,
    units: Tally,
    offerings: Tally,
    accounts: usize,
    enrollments: usize,
    campus: campus::Made,
    /// Who gets a picture, if this run has made them.
    pictured: Option<Id>,
}

/// Fills the database with demo data.
///
/// # Errors
/// In prod without `--force`, or when the database cannot be written.
pub(super) async fn run(options: Options, config: Config) -> anyhow::Result<()> {
    if config.is_prod() && !options.force {
        bail!(
            "this is a production database (APP_ENV=prod), and demo accounts have known passwords; --force seeds it all the same"
        );
    }
    let (zone, media_root) = (config.time_zone, config.media_root.clone());
    let courses: Vec<DemoCourse> = read("courses.json", include_str!("../demo/courses.json"))?;
    let catalogue: Vec<DemoUnit> = read("units.json", include_str!("../demo/units.json"))?;
    let named: Vec<Person> = read("people.json", PEOPLE)?;
    let crowd: Vec<Person> = (0..options.students).map(Person::in_crowd).collect();
    let progress = Progress::new();
    let people: Vec<&Person> = named.iter().chain(&crowd).collect();

    let made = database::with(config, async |pool| {
        let there = there(&mut *pool.acquire().await?, &people).await?;
        let missing: Vec<&Person> = people.iter().copied().filter(|person| !there.has(person)).collect();
        let hashes = hash(&missing, &progress).await?;
        let (courses, catalogue, people) = (&courses, &catalogue, &people);
        let is_pictured = missing.iter().any(|person| person.email == picture::OF);
        let picture = if is_pictured { Some(Picture::draw(&media_root).await?) } else { None };
        let written = Written::default();
        let (hashes, progress, picture, hangs) = (&hashes, &progress, &picture, &written);
        let done = db::write(pool, |tx, _| {
            Box::pin(async move {
                let made = write(tx, zone, courses, catalogue, people, hashes, progress).await?;
                if let (Some(owner), Some(picture)) = (made.pictured, picture) {
                    picture.hang(tx, owner, hangs).await?;
                }
                if made.anything() {
                    audit::note(tx, "seed", "", None, &made.details()).await?;
                }
                Ok(made)
            })
        });
        let made = done.await?;
        written.keep();
        Ok(made)
    });
    let made = made.await?;
    let took = progress.end();
    out::print(&format!("{made}in {:.2} s\n\n{}", took.all.as_secs_f64(), log_ins(&named, &crowd)))?;
    Ok(())
}

fn log_ins(named: &[Person], crowd: &[Person]) -> String {
    let line = |who: &str, person: &Person| format!("  {:<14} {who:<24} {}\n", person.user_type, person.password);
    let mut text = "Demo log-ins (everybody knows these passwords: never for real data):\n".to_owned();
    text.extend(named.iter().map(|person| line(&person.email, person)));
    if let (Some(first), Some(last)) = (crowd.first(), crowd.last()) {
        text.push_str(&line(&format!("{} … {}", first.email, last.email), first));
    }
    text + "An account that was there before keeps its own password.\n"
}

fn read<T: for<'de> Deserialize<'de>>(name: &'static str, text: &str) -> anyhow::Result<T> {
    serde_json::from_str(text).with_context(|| format!("the demo data in {name} does not fit"))
}

/// The names that are taken.
struct There {
    emails: HashSet<String>,
    usernames: HashSet<String>,
}

impl There {
    fn has(&self, person: &Person) -> bool {
        self.emails.contains(&person.email.to_lowercase()) || self.usernames.contains(&person.username.to_lowercase())
    }
}

async fn there(conn: &mut PgConnection, people: &[&Person]) -> sqlx::Result<There> {
    let emails: Vec<&str> = people.iter().map(|person| person.email.as_str()).collect();
    let usernames: Vec<&str> = people.iter().map(|person| person.username.as_str()).collect();
    let known = accounts::named(conn, &emails, &usernames).await?;
    Ok(There {
        emails: known.iter().map(|account| account.email.to_lowercase()).collect(),
        usernames: known.iter().map(|account| account.username.to_lowercase()).collect(),
    })
}

/// Hashes by address. The crowd's password is hashed once: it is published anyway, and ten thousand hashes would take
/// minutes.
async fn hash(missing: &[&Person], progress: &Progress) -> anyhow::Result<HashMap<String, String>> {
    let (crowd, named): (Vec<&Person>, Vec<&Person>) = missing.iter().copied().partition(|person| person.crowd);
    let first = crowd.first().copied();
    let passwords = named.iter().copied().chain(first).map(|person| person.password.clone()).collect();
    let hashes = hashing::hash_all(passwords, progress).await?;
    let shared = first.and(hashes.last()).cloned().unwrap_or_default();
    let own = named.iter().zip(hashes).map(|(person, hash)| (person.email.clone(), hash));
    Ok(own.chain(crowd.iter().map(|person| (person.email.clone(), shared.clone()))).collect())
}

#[allow(clippy::too_many_lines, reason = "the order of the steps is what there is to read")]
async fn write(
    tx: &mut PgConnection,
    zone: Tz,
    courses: &[DemoCourse],
    catalogue: &[DemoUnit],
    people: &[&Person],
    hashes: &HashMap<String, String>,
    progress: &Progress,
) -> Answer<Made> {
    one_at_a_time(tx).await?;
    let now = demo::now(tx).await?;
    let semesters = Semester::around(now.with_timezone(&zone).date_naive());
    let mut made = Made::default();

    // Units and offerings that are there keep what they have.
    let codes: Vec<String> = catalogue.iter().filter_map(|demo| demo.unit.code.clone()).collect();
    let before: HashMap<String, i64> = demo::units(tx, &codes).await?.into_iter().collect();
    let offered: HashSet<(String, i32, String)> =
        demo::offerings(tx, &codes).await?.into_iter().map(|class| (class.code, class.year, class.semester)).collect();
    let rows: Vec<Row<UnitRow>> = catalogue
        .iter()
        .enumerate()
        .map(|(index, demo)| row(index, demo, &semesters, zone, &before, &offered))
        .collect();
    let report = units::apply(tx, &rows, &HashSet::new(), progress, false)
        .await?
        .map_err(|faults| Problem::internal(faults.into_error(rows.len())))?;
    (made.units, made.offerings) = report.tallies();
    let unit_ids: HashMap<String, i64> = demo::units(tx, &codes).await?.into_iter().collect();

    let mut course_ids: HashMap<&str, i64> = HashMap::new();
    for course in courses {
        if let Some(id) = demo::course(tx, &course.code).await? {
            course_ids.insert(&course.code, id);
            continue;
        }
        let numbers = (course.duration_years, course.credit_points);
        let id = demo::add_course(tx, &course.code, &course.name, &course.description, numbers, &course.department);
        let id = id.await?;
        course_ids.insert(&course.code, id);
        let listed = course.units.iter().filter_map(|unit| Some((*unit_ids.get(&unit.code)?, unit.is_elective)));
        demo::add_course_units(tx, id, &listed.collect::<Vec<_>>()).await?;
        made.courses += 1;
    }

    let there = there(tx, people).await?;
    let missing: Vec<&Person> = people.iter().copied().filter(|person| !there.has(person)).collect();
    let new = missing.iter().map(|person| accounts::New {
        email: &person.email,
        username: &person.username,
        password_hash: hashes.get(&person.email).map(String::as_str).unwrap_or_default(),
        first_name: &person.first_name,
        last_name: &person.last_name,
        user_type: &person.user_type,
        department: &person.department,
        position: &person.position,
        course_id: person.course.as_deref().and_then(|code| course_ids.get(code)).copied(),
        student_number: None,
        date_of_birth: None,
    });
    progress.begin("accounts", missing.len());
    let ids = accounts::add(tx, &new.collect::<Vec<_>>(), progress).await?;
    made.accounts = ids.len();
    made.pictured = ids.get(picture::OF).copied().map(Id);

    for person in &missing {
        let Some(id) = ids.get(&person.email) else { continue };
        let new_units = person.units.iter().filter(|code| !before.contains_key(*code));
        let convened: Vec<i64> = new_units.filter_map(|code| unit_ids.get(code)).copied().collect();
        demo::set_convenor(tx, *id, &convened).await?;
        let child = person.child.as_ref().and_then(|child| ids.get(child));
        if let Some(child) = child {
            demo::add_guardian(tx, *id, *child).await?;
        }
    }

    let offerings = demo::offerings(tx, &codes).await?;
    let classes: HashMap<(String, i32, String), i64> =
        offerings.iter().map(|class| ((class.code.clone(), class.year, class.semester.clone()), class.id)).collect();
    let rooms = offerings.into_iter().map(|class| Class {
        id: class.id,
        code: class.code,
        year: class.year,
        semester: class.semester,
        free: (class.capacity > 0).then_some(class.capacity - class.current_enrollment),
    });
    let mut studies = Catalogue::new(
        catalogue.iter().map(|demo| &demo.unit),
        courses.iter().map(|course| {
            let (electives, core): (Vec<_>, Vec<_>) = course.units.iter().partition(|unit| unit.is_elective);
            (course.code.as_str(), core.into_iter().chain(electives).map(|unit| unit.code.as_str()).collect())
        }),
        rooms,
    );
    let mut enrollments = Vec::new();
    for (index, person) in people.iter().filter(|person| person.user_type == "student").enumerate() {
        if let (Some(id), Some(course)) = (ids.get(&person.email), &person.course) {
            enrollments.extend(studies.of_student(index, *id, course, &semesters));
        }
    }
    progress.begin("enrolments", enrollments.len());
    records::add(tx, &enrollments, "Demo data", progress).await?;
    records::take_seats(tx, &studies.seats_taken()).await?;
    made.enrollments = enrollments.len();

    let meetings: Vec<Meeting<'_>> = catalogue.iter().filter_map(|demo| meeting(demo, people, &ids, &before)).collect();
    let scene = Scene { now, zone, semesters: &semesters, people: &ids, units: &unit_ids, offerings: &classes };
    made.campus = campus::fill(tx, &scene, &meetings).await?;
    Ok(made)
}

/// When a unit's class meets, with its convenor if this run has put them in charge.
fn meeting<'a>(
    demo: &'a DemoUnit,
    people: &[&Person],
    ids: &HashMap<String, i64>,
    before: &HashMap<String, i64>,
) -> Option<Meeting<'a>> {
    let code = demo.unit.code.as_ref()?;
    let is_of = |person: &&&Person| !before.contains_key(code) && person.units.contains(code);
    let convenor = people.iter().find(is_of).and_then(|person| ids.get(&person.email)).copied();
    Some(Meeting {
        code,
        day: &demo.meeting_day,
        time: &demo.meeting_time,
        hours: demo.class_hours.to_i64()?,
        convenor,
    })
}

/// A unit as an import would read it: whole when it is new, else only the offerings that are missing.
fn row(
    index: usize,
    demo: &DemoUnit,
    semesters: &[Semester; 4],
    zone: Tz,
    units: &HashMap<String, i64>,
    offered: &HashSet<(String, i32, String)>,
) -> Row<UnitRow> {
    let code = demo.unit.code.clone().unwrap_or_default();
    let level = studies::level(&code);
    let [before_last, last, current, next] = *semesters;
    let held = [(before_last, level <= 1), (last, level <= 2), (current, true), (next, true)];
    let missing = held.into_iter().filter(|(semester, held)| {
        *held && !offered.contains(&(code.clone(), semester.year(), semester.name().to_owned()))
    });
    let offerings = missing.map(|(semester, _)| {
        let (opens, closes) = semester.window(zone);
        OfferingRow {
            year: Some(semester.year()),
            semester: Some(semester.name().to_owned()),
            enrollment_start: Some(Moment(opens)),
            enrollment_end: Some(Moment(closes)),
            // First-year lectures take everyone, later units have rooms.
            capacity: Some(match level {
                0 | 1 => 0,
                2 => 120,
                _ => 60,
            }),
            class_hours: Some(demo.class_hours),
            meeting_day: Some(demo.meeting_day.clone()),
            meeting_time: Some(demo.meeting_time.clone()),
        }
    });
    let offerings = Some(offerings.collect());
    let place = Place { number: index + 1, label: code.clone() };
    let value = if units.contains_key(&code) {
        UnitRow { code: Some(code), offerings, ..UnitRow::default() }
    } else {
        UnitRow { offerings, ..demo.unit.clone() }
    };
    Row { place, value }
}

impl Made {
    fn anything(&self) -> bool {
        let made = [self.courses, self.units.created, self.offerings.created, self.accounts, self.enrollments];
        made.into_iter().any(|count| count > 0)
    }

    fn parts(&self) -> [(&'static str, usize); 10] {
        [
            ("course", self.courses),
            ("unit", self.units.created),
            ("offering", self.offerings.created),
            ("account", self.accounts),
            ("enrolment", self.enrollments),
            ("class meeting", self.campus.sessions),
            ("attendance record", self.campus.attendance),
            ("event", self.campus.events),
            ("gold transaction", self.campus.gold),
            ("notification", self.campus.notices),
        ]
    }

    fn details(&self) -> serde_json::Value {
        self.parts().into_iter().map(|(one, count)| (noun(one, 2), json!({ "created": count }))).collect()
    }
}

impl std::fmt::Display for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.anything() {
            return f.write_str("everything was there already; nothing was written, ");
        }
        for (index, (one, count)) in self.parts().into_iter().enumerate() {
            write!(f, "{}{count} {}", if index == 0 { "created " } else { ", " }, noun(one, count))?;
        }
        f.write_str(" ")
    }
}
