//! `swincms import students`: accounts, profiles and enrolments.
//!
//! Students are known by email, without regard to case. An account that is there keeps its password, so that the file
//! of last year does not undo what people have changed since. Enrolments are facts that somebody has decided already:
//! windows, prerequisites and courses are not asked again. What must hold in any case is: seats, anti-requisites, one
//! current offering of a unit, and the order of states.
//!
//! Passwords are checked and hashed between a first look at the database and the transaction, which looks again under
//! locks. Lock order: the right to import, courses, students, enrolments, offerings; each in the order of ids.

use std::collections::HashMap;

use chrono::{Datelike as _, NaiveDate};
use chrono_tz::Tz;
use lettre::Address;
use serde::Deserialize;
use sqlx::PgConnection;

use super::enrollments::{self, Enrollment, EnrollmentRow, Records, Seats, Studies};
use super::report::{Change, Faults, Line, Place, Progress, Report};
use super::rows::{File, Row, day, given, line};
use super::{store, warn_of_ignored};
use crate::access::passwords;
use crate::cli::{audit, hashing};
use crate::config::NameOrder;
use crate::db::{self, Pool};
use crate::http::{self, Answer, Problem};
use crate::users::names;

/// A student as it stands in a file. It is not shown for debugging: there is a password in it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct StudentRow {
    #[serde(deserialize_with = "line")]
    full_name: Option<String>,
    #[serde(deserialize_with = "line")]
    first_name: Option<String>,
    #[serde(deserialize_with = "line")]
    last_name: Option<String>,
    #[serde(deserialize_with = "line")]
    username: Option<String>,
    #[serde(deserialize_with = "line")]
    email: Option<String>,
    password: Option<String>,
    /// The number on the student card.
    #[serde(deserialize_with = "line")]
    student_id: Option<String>,
    #[serde(deserialize_with = "day")]
    date_of_birth: Option<NaiveDate>,
    #[serde(deserialize_with = "line")]
    major: Option<String>,
    enrollments: Option<Vec<EnrollmentRow>>,
}

/// A row that breaks no rule by itself.
struct Student<'r> {
    place: &'r Place,
    email: &'r str,
    username: &'r str,
    first_name: String,
    last_name: String,
    number: Option<&'r str>,
    date_of_birth: Option<NaiveDate>,
    password: Option<&'r str>,
    major: Option<&'r str>,
    enrollments: Vec<Enrollment>,
}

/// Imports a file of students.
///
/// # Errors
/// Every broken row with its fields, or the database's failure; then nothing was written.
pub(super) async fn import(
    pool: &Pool,
    file: &File,
    (zone, name_order): (Tz, NameOrder),
    progress: &Progress,
    dry_run: bool,
) -> anyhow::Result<Report> {
    let mut faults = Faults::default();
    let found = file.rows::<StudentRow>(&["username", "email"], zone, &mut faults)?;
    warn_of_ignored(&found.ignored);
    let students = checked(&found.read, name_order, &mut faults);

    progress.begin("checking", students.len());
    let mut conn = pool.acquire().await?;
    let known = Known::look_up(&mut conn, &students, zone).await?;
    drop(conn);
    let plan = Plan::of(&students, &known, &mut faults);
    let new: Vec<&Student> = plan.new.iter().map(|(student, _)| *student).collect();
    refuse_weak_passwords(&new, progress, &mut faults).await?;
    if !faults.is_empty() {
        return Err(faults.into_error(found.count));
    }
    if dry_run {
        return Ok(plan.report());
    }

    let passwords = new.iter().map(|student| student.password.unwrap_or_default().to_owned()).collect();
    let hashes = hashing::hash_all(passwords, progress).await?;
    let hashes: HashMap<usize, String> = new.iter().map(|student| student.place.number).zip(hashes).collect();
    let (students, hashes, count) = (&students, &hashes, found.count);
    let done = db::write(pool, |tx, _| {
        Box::pin(async move {
            hold(tx, students).await?;
            let known = Known::look_up(tx, students, zone).await?;
            let mut faults = Faults::default();
            let plan = Plan::of(students, &known, &mut faults);
            if !faults.is_empty() {
                return Ok(Err(faults));
            }
            plan.write(tx, hashes, &file.name, progress).await?;
            let report = plan.report();
            audit::note(tx, "import", "student", None, &report.details(&file.name)).await?;
            Ok(Ok(report))
        })
    });
    done.await?.map_err(|faults| faults.into_error(count))
}

/// The rows whose own fields are in order; all others are faults.
fn checked<'r>(rows: &'r [Row<StudentRow>], order: NameOrder, faults: &mut Faults) -> Vec<Student<'r>> {
    let mut emails: HashMap<String, usize> = HashMap::new();
    let mut usernames: HashMap<String, usize> = HashMap::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut students = Vec::with_capacity(rows.len());
    for Row { place, value: row } in rows {
        let mut found = http::Faults::default();
        let email = given(row.email.as_deref()).unwrap_or_default();
        found.name("email", email, 254);
        found.unless(email.is_empty() || email.parse::<Address>().is_ok(), "email", "Enter a valid email address.");
        let username = given(row.username.as_deref()).unwrap_or_default();
        found.name("username", username, 150);
        let plain = username.chars().all(|c| c.is_alphanumeric() || "@.+-_".contains(c));
        found.unless(plain, "username", "Only letters, digits and @ . + - _ are allowed.");
        names::check(&mut found, email, username);
        let (first_name, last_name) = names_of(row, order, &mut found);
        let number = given(row.student_id.as_deref());
        found.text("student_id", number.unwrap_or_default(), 32);
        for (field, value, seen) in [
            ("email", email, &mut emails),
            ("username", username, &mut usernames),
            ("student_id", number.unwrap_or_default(), &mut numbers),
        ] {
            let first = *seen.entry(value.to_lowercase()).or_insert(place.number);
            if first != place.number && !value.is_empty() {
                found.add(field, format!("{value} stands in row {first} already."));
            }
        }
        faults.merge(place, "", found);
        let enrollments = enrollments::checked(place, row.enrollments.as_deref().unwrap_or_default(), faults);
        students.push(Student {
            place,
            email,
            username,
            first_name,
            last_name,
            number,
            date_of_birth: row.date_of_birth,
            password: row.password.as_deref().filter(|password| !password.is_empty()),
            major: given(row.major.as_deref()),
            enrollments,
        });
    }
    students
}

/// The names of a row: as they stand there, or from the full name. A single word is a first name.
fn names_of(row: &StudentRow, order: NameOrder, faults: &mut http::Faults) -> (String, String) {
    let words = |text: Option<&String>| -> Vec<String> {
        text.map(String::as_str).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let (first, last, mut full) =
        (words(row.first_name.as_ref()), words(row.last_name.as_ref()), words(row.full_name.as_ref()));
    let (field, first, last) = if first.is_empty() && last.is_empty() {
        let family = match order {
            NameOrder::FamilyFirst if full.len() > 1 => vec![full.remove(0)],
            NameOrder::GivenFirst if full.len() > 1 => full.pop().into_iter().collect(),
            NameOrder::FamilyFirst | NameOrder::GivenFirst => Vec::new(),
        };
        (("full_name", "full_name"), full, family)
    } else {
        let agrees = full.is_empty() || full == [&*first, &*last].concat() || full == [&*last, &*first].concat();
        faults.unless(agrees, "full_name", "This is not the name that first_name and last_name say.");
        (("first_name", "last_name"), first, last)
    };
    let (first, last) = (first.join(" "), last.join(" "));
    faults.name(field.0, &first, 150);
    faults.text(field.1, &last, 150);
    (first, last)
}

/// Adds every reason against the passwords of accounts that are to be made.
async fn refuse_weak_passwords(new: &[&Student<'_>], progress: &Progress, faults: &mut Faults) -> anyhow::Result<()> {
    struct Check {
        password: Option<String>,
        about: [(&'static str, String); 4],
    }
    let checks: Vec<Check> = new
        .iter()
        .map(|student| Check {
            password: student.password.map(str::to_owned),
            about: [
                ("email address", student.email.to_owned()),
                ("username", student.username.to_owned()),
                ("first name", student.first_name.clone()),
                ("last name", student.last_name.clone()),
            ],
        })
        .collect();
    progress.begin("checking passwords", checks.len());
    let found = hashing::on_all_cores(checks, progress, |check| {
        let mut faults = http::Faults::default();
        match &check.password {
            Some(password) => {
                let about = check.about.each_ref().map(|(what, value)| (*what, value.as_str()));
                passwords::check(&mut faults, "password", password, &about);
            }
            None => faults.add("password", "This field is required for a new account."),
        }
        faults
    });
    for (student, found) in new.iter().zip(found.await?) {
        faults.merge(student.place, "", found);
    }
    Ok(())
}

/// What is in the database about the students of a file.
struct Known {
    by_email: HashMap<String, store::accounts::Known>,
    by_username: HashMap<String, String>,
    by_number: HashMap<String, String>,
    today: NaiveDate,
    courses: Vec<store::accounts::Course>,
    records: Records,
}

impl Known {
    async fn look_up(conn: &mut PgConnection, students: &[Student<'_>], zone: Tz) -> sqlx::Result<Self> {
        let emails: Vec<&str> = students.iter().map(|student| student.email).collect();
        let usernames: Vec<&str> = students.iter().map(|student| student.username).collect();
        let accounts = store::accounts::named(&mut *conn, &emails, &usernames).await?;
        let numbers: Vec<&str> = students.iter().filter_map(|student| student.number).collect();
        let numbered = store::accounts::numbered(&mut *conn, &numbers).await?;
        let today = store::accounts::today(&mut *conn, zone).await?;
        let courses = store::accounts::courses(&mut *conn).await?;
        let wanted = enrollments::named(students.iter().flat_map(|student| &student.enrollments));
        let classes = store::enrollments::places(&mut *conn, &wanted).await?;
        let ids: Vec<i64> = accounts.iter().map(|account| account.id).collect();
        let enrollments = store::enrollments::of_students(&mut *conn, &ids).await?;
        let pairs = store::enrollments::anti_requisites(&mut *conn).await?;
        let names = accounts.iter().map(|account| (account.username.to_lowercase(), account.email.to_lowercase()));
        Ok(Self {
            by_username: names.collect(),
            by_number: numbered.into_iter().map(|(number, email)| (number, email.to_lowercase())).collect(),
            today,
            by_email: accounts.into_iter().map(|account| (account.email.to_lowercase(), account)).collect(),
            courses,
            records: Records::new(classes, enrollments, pairs),
        })
    }

    /// The course that a student's major names by code or by name.
    fn course(&self, major: &str) -> Result<i64, String> {
        let same = |text: &str| text.to_uppercase() == major.to_uppercase();
        if let Some(course) = self.courses.iter().find(|course| same(&course.code)) {
            return Ok(course.id);
        }
        let mut named = self.courses.iter().filter(|course| same(&course.name));
        match (named.next(), named.next()) {
            (Some(course), None) => Ok(course.id),
            (Some(_), Some(_)) => Err(format!("More than one course is named `{major}`; write its code.")),
            (None, _) => Err(format!("There is no course with the code or name `{major}`.")),
        }
    }
}

/// Locks what the rows are about to change or to refer to.
async fn hold(tx: &mut PgConnection, students: &[Student<'_>]) -> sqlx::Result<()> {
    store::one_at_a_time(tx).await?;
    store::accounts::hold_courses(tx).await?;
    let emails: Vec<&str> = students.iter().map(|student| student.email).collect();
    store::accounts::hold(tx, &emails).await?;
    let accounts = store::accounts::named(&mut *tx, &emails, &[]).await?;
    let wanted = enrollments::named(students.iter().flat_map(|student| &student.enrollments));
    let classes = store::enrollments::places(&mut *tx, &wanted).await?;
    let ids: Vec<i64> = accounts.iter().map(|account| account.id).collect();
    let offerings: Vec<i64> = classes.iter().filter_map(|class| class.offering_id).collect();
    store::enrollments::hold(tx, &ids, &offerings).await
}

/// What is to be written.
struct Plan<'p> {
    lines: Vec<(&'p Place, Change, Studies, Option<i64>)>,
    new: Vec<(&'p Student<'p>, Option<i64>)>,
    changed: Vec<store::accounts::Changed<'p>>,
    seats: Seats,
    emails: HashMap<usize, &'p str>,
}

impl<'p> Plan<'p> {
    fn of(students: &'p [Student<'p>], known: &'p Known, faults: &mut Faults) -> Self {
        let mut plan = Self {
            lines: Vec::with_capacity(students.len()),
            new: Vec::new(),
            changed: Vec::new(),
            seats: Seats::default(),
            emails: HashMap::with_capacity(students.len()),
        };
        for student in students {
            let place = student.place;
            let account = known.by_email.get(&student.email.to_lowercase());
            if let Some(account) = account.filter(|account| account.user_type != "student") {
                faults.add(place, "email", format!("This is the account of a user of type {}.", account.user_type));
            }
            let owner = known.by_username.get(&student.username.to_lowercase());
            if owner.is_some_and(|owner| *owner != student.email.to_lowercase()) {
                faults.add(place, "username", "Another account has this user name.");
            }
            let owner = student.number.and_then(|number| known.by_number.get(number));
            if owner.is_some_and(|owner| *owner != student.email.to_lowercase()) {
                faults.add(place, "student_id", "Another student has this number.");
            }
            if student.date_of_birth.is_some_and(|day| day >= known.today || day.year() < 1900) {
                faults.add(place, "date_of_birth", "A day between 1900 and today is expected.");
            }
            let course = student
                .major
                .and_then(|major| known.course(major).map_err(|says| faults.add(place, "major", says)).ok());
            let change = plan.set_account(student, account, course);
            let id = account.map(|account| account.id);
            let studies = enrollments::plan(place, id, &student.enrollments, &known.records, &mut plan.seats, faults);
            plan.emails.insert(place.number, student.email);
            plan.lines.push((place, change, studies, id));
        }
        plan.seats.refuse_too_many(faults);
        plan
    }

    fn set_account(
        &mut self,
        student: &'p Student<'p>,
        account: Option<&store::accounts::Known>,
        course: Option<i64>,
    ) -> Change {
        let Some(now) = account else {
            self.new.push((student, course));
            return Change::Created;
        };
        let course_id = course.or(now.course_id);
        let date_of_birth = student.date_of_birth.or(now.date_of_birth);
        let wanted = store::accounts::Changed {
            id: now.id,
            username: student.username,
            first_name: &student.first_name,
            last_name: &student.last_name,
            date_of_birth,
            course_id,
            student_number: student.number,
        };
        if wanted.is(now) {
            return Change::Unchanged;
        }
        self.changed.push(wanted);
        Change::Updated
    }

    fn report(&self) -> Report {
        let line = |(place, change, studies, _): &(&Place, Change, Studies, Option<i64>)| Line {
            place: (*place).clone(),
            change: *change,
            parts: enrollments::tally(studies),
        };
        Report { row_is: "student", part_is: "enrolment", lines: self.lines.iter().map(line).collect() }
    }

    async fn write(
        &self,
        tx: &mut PgConnection,
        hashes: &HashMap<usize, String>,
        file: &str,
        progress: &Progress,
    ) -> Answer<()> {
        let parts = self.lines.iter().map(|(_, _, studies, _)| studies.new.len() + studies.changed.len());
        progress.begin("writing", self.new.len() + self.changed.len() + parts.sum::<usize>());
        let hash_of = |student: &Student| {
            hashes.get(&student.place.number).map(String::as_str).ok_or_else(|| {
                Problem::conflict("changed_meanwhile", "Accounts were changed during the import; run it again.")
            })
        };
        let accounts = self.new.iter().map(|(student, course_id)| {
            Ok(store::accounts::New {
                email: student.email,
                username: student.username,
                password_hash: hash_of(student)?,
                first_name: &student.first_name,
                last_name: &student.last_name,
                user_type: "student",
                department: "",
                position: "",
                date_of_birth: student.date_of_birth,
                course_id: *course_id,
                student_number: student.number,
            })
        });
        let made = store::accounts::add(tx, &accounts.collect::<Answer<Vec<_>>>()?, progress).await?;
        store::accounts::change(tx, &self.changed, progress).await?;

        let (mut new, mut changed) = (Vec::new(), Vec::new());
        for (place, _, studies, id) in &self.lines {
            let by_email = || self.emails.get(&place.number).and_then(|email| made.get(*email)).copied();
            if let Some(student_id) = id.or_else(by_email) {
                new.extend(studies.new.iter().map(|(offering_id, state)| store::enrollments::New {
                    student_id,
                    offering_id: *offering_id,
                    state: state.clone(),
                }));
            }
            changed.extend(studies.changed.iter().cloned());
        }
        let reason = format!("Imported from {file}");
        store::enrollments::add(tx, &new, &reason, progress).await?;
        store::enrollments::change(tx, &changed, &reason, progress).await?;
        store::enrollments::take_seats(tx, &self.seats.changes()).await?;
        Ok(())
    }
}
