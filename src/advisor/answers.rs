//! Answers from the records alone, where there is no language model: to what the app suggests to ask.
//!
//! An answer says what the records hold and whose they are, nothing else. What it cannot answer it says, with what it can.

use sqlx::PgConnection;

use super::store::{self, Child};
use super::topics::{self, Topic};
use crate::access::{Caller, Permission, UserType, Viewer};
use crate::core::attendance::attendance_of;
use crate::enrollment::{Repeats, Standing, Status, UnitToTake, classes_taught, standing, units_to_take};
use crate::http::{Answer, Problem};
use crate::ids::Id;

/// So many lines of each kind.
const LINES: usize = 15;

/// Stands below each answer.
const SOURCE: &str = "(Answered from your records, without a language model.)";

/// What an answer depends on beside the records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) repeats: Repeats,
    pub(super) max_pending: u32,
}

/// The answer to the question.
///
/// # Errors
/// The database's.
pub(super) async fn answer(conn: &mut PgConnection, viewer: &Viewer, rules: Rules, question: &str) -> Answer<String> {
    let caller = viewer.caller().ok_or_else(Problem::not_authenticated)?;
    let topics = topics::of(question);
    let mut parts: Vec<String> = Vec::new();
    for topic in &topics {
        parts.push(match (topic, caller.user_type) {
            (Topic::Events, _) => events(conn, viewer).await?,
            (topic, UserType::Student) => of_student(conn, viewer, caller, rules, *topic).await?,
            (topic, UserType::Parent) => of_children(conn, viewer, caller, rules, *topic).await?,
            (topic, UserType::Staff | UserType::UnitConvenor | UserType::Auditor | UserType::Admin) => {
                of_staff(conn, viewer, caller, *topic).await?
            }
        });
    }
    // Staff get the same words for several topics.
    parts.dedup();
    if parts.is_empty() {
        parts.push(what_there_is(caller.user_type).to_owned());
    }
    parts.push(SOURCE.to_owned());
    Ok(parts.join("\n\n"))
}

/// What can be asked.
fn what_there_is(user_type: UserType) -> &'static str {
    match user_type {
        UserType::Student => {
            "I can answer this only from your records, and did not find in it what I know about. Ask me about:\n\
             - the units you can take next semester\n\
             - your results, grade point average and attendance\n\
             - your social gold\n\
             - events that are coming up\n\
             - your transcript\n\
             - what you still need to graduate\n\
             For anything else, ask the student office."
        }
        UserType::Parent => {
            "I can answer this only from the records you may see, and did not find in it what I know about. Ask me about:\n\
             - the units your child is enrolled in\n\
             - your child's results, attendance and transcript\n\
             - your child's social gold\n\
             - events that are coming up\n\
             Of your child's records I know what your child shares with you. For anything else, ask the student office."
        }
        UserType::Staff | UserType::UnitConvenor | UserType::Auditor | UserType::Admin => {
            "I can answer this only from the records, and did not find in it what I know about. Ask me about:\n\
             - the units you teach, and who waits for a decision there\n\
             - events that are coming up\n\
             Students also ask me about their results, gold, transcript and graduation."
        }
    }
}

/// A heading and at most [`LINES`] lines, and how many more there are.
fn list(heading: &str, lines: &[String]) -> String {
    let shown = lines.iter().take(LINES).map(|line| format!("\n- {line}"));
    let more = match lines.len().saturating_sub(LINES) {
        0 => None,
        more => Some(format!("\nand {more} more.")),
    };
    std::iter::once(format!("{heading}:")).chain(shown).chain(more).collect()
}

/// A number and its noun.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

async fn events(conn: &mut PgConnection, viewer: &Viewer) -> Answer<String> {
    let events = store::events(conn, viewer).await?;
    Ok(if events.is_empty() {
        "No event that you can see is coming up in the next 60 days.".to_owned()
    } else {
        list("Events in the next 60 days that you can see", &events)
    })
}

async fn of_student(
    conn: &mut PgConnection,
    viewer: &Viewer,
    caller: &Caller,
    rules: Rules,
    topic: Topic,
) -> Answer<String> {
    Ok(match topic {
        Topic::Units => {
            let units: Vec<String> =
                units_to_take(conn, caller, rules.max_pending).await?.iter().map(UnitToTake::line).collect();
            let open = if units.is_empty() {
                "There is no unit that you can enrol in now: a unit must be open, have a free seat, and you must have \
                 completed what it asks for."
                    .to_owned()
            } else {
                list("You can enrol in these units now", &units)
            };
            format!("{}\n\n{open}", current(conn, caller.id, "You are").await?)
        }
        Topic::Performance => {
            let standing = standing(conn, viewer, caller.id).await?;
            let results = performance(&standing, rules.repeats, "Your", "You have");
            [results, attendance(conn, caller.id).await?].concat()
        }
        Topic::Gold => gold(conn, caller.id, "Your", "You have").await?,
        Topic::Transcript => {
            let standing = standing(conn, viewer, caller.id).await?;
            let text = transcript(&standing, rules.repeats, "Your");
            format!("{text}\nThe whole transcript can be exported as a file.")
        }
        Topic::Graduation => graduation(conn, viewer, caller.id).await?,
        Topic::Events => events(conn, viewer).await?,
    })
}

/// What the student sits in, or waits for.
async fn current(conn: &mut PgConnection, student: Id, who_is: &str) -> Answer<String> {
    let enrolments = store::enrolments(conn, student).await?;
    let now: Vec<String> = enrolments
        .iter()
        .filter_map(|one| match one.status {
            Status::Enrolled => Some(one.class.clone()),
            Status::Pending => Some(format!("{} (waiting for approval)", one.class)),
            Status::Withdrawn | Status::Completed | Status::Failed => None,
        })
        .collect();
    Ok(if now.is_empty() {
        format!("{who_is} not enrolled in any unit at present.")
    } else {
        list(&format!("{who_is} enrolled in"), &now)
    })
}

fn performance(standing: &Standing, repeats: Repeats, whose: &str, who_has: &str) -> String {
    let Some(gpa) = standing.gpa else { return format!("{who_has} no results yet.") };
    let completed = usize::try_from(standing.units_completed).unwrap_or_default();
    let failures = match standing.failures {
        0 => String::new(),
        number => format!(" Failed results: {number}."),
    };
    format!(
        "{whose} grade point average is {gpa} out of 4; {}.\n{who_has} completed {} with {} credit points.{failures}\n{}",
        repeats.says(),
        count(completed, "unit", "units"),
        standing.credit_points.normalize(),
        list("Latest results", &standing.results.iter().rev().take(5).cloned().collect::<Vec<_>>()),
    )
}

/// How the student attends what they sit in, with an empty line before it; empty when no class has begun.
async fn attendance(conn: &mut PgConnection, student: Id) -> Answer<String> {
    let enrolments = store::enrolments(conn, student).await?;
    let sits: Vec<_> = enrolments.iter().filter(|one| one.status == Status::Enrolled).collect();
    let offerings: Vec<Id> = sits.iter().map(|one| one.offering).collect();
    let counts = attendance_of(conn, student, &offerings).await?;
    let line = |one: &&store::Enrolment| {
        let counted = counts.get(&one.offering)?;
        let rate = counted.attendance_rate?;
        let (attended, held) = (counted.attended_sessions, counted.total_sessions);
        Some(format!("{}: {rate} % ({attended} of {held} classes)", one.class))
    };
    let lines: Vec<String> = sits.iter().filter_map(line).collect();
    Ok(if lines.is_empty() { String::new() } else { format!("\n\n{}", list("Attendance so far", &lines)) })
}

async fn gold(conn: &mut PgConnection, student: Id, whose: &str, who_has: &str) -> Answer<String> {
    let Some(gold) = store::gold(conn, student).await? else {
        return Ok(format!("{who_has} no gold account."));
    };
    let (balance, earned) = (gold.balance, gold.earned);
    let achievements = count(usize::try_from(gold.achievements).unwrap_or_default(), "achievement", "achievements");
    let mut lines =
        vec![format!("{whose} balance is {balance} gold. {who_has} earned {earned} in all, and {achievements}.")];
    if let (Some(next), Some(at)) = (gold.next, gold.next_at) {
        lines.push(format!("The next achievement, {next}, comes at {at} earned: {} to go.", at - earned));
    }
    let entries = store::gold_entries(conn, student).await?;
    if !entries.is_empty() {
        lines.push(list("Latest entries", &entries));
    }
    Ok(lines.join("\n"))
}

fn transcript(standing: &Standing, repeats: Repeats, whose: &str) -> String {
    let Some(gpa) = standing.gpa else {
        return format!("{whose} transcript is empty: there are no results yet.");
    };
    // The newest are what is looked for.
    let results: Vec<String> = standing.results.iter().rev().cloned().collect();
    format!(
        "{}\nCredit points earned: {}. Grade point average: {gpa} out of 4; {}.",
        list(&format!("{whose} transcript, the latest results first"), &results),
        standing.credit_points.normalize(),
        repeats.says(),
    )
}

async fn graduation(conn: &mut PgConnection, viewer: &Viewer, student: Id) -> Answer<String> {
    let standing = standing(conn, viewer, student).await?;
    let earned = standing.credit_points.normalize();
    let Some(course) = store::course(conn, student).await? else {
        let units = count(usize::try_from(standing.units_completed).unwrap_or_default(), "unit", "units");
        return Ok(format!(
            "Your profile names no course, so the records do not say what you need to graduate; ask the student office to \
             add it. You have earned {earned} credit points in {units}."
        ));
    };
    let of_all = match course.credit_points {
        none if none.is_zero() => ".".to_owned(),
        all => format!(" of the {} that it asks for.", all.normalize()),
    };
    let missing: Vec<String> =
        store::missing(conn, student, course.id).await?.iter().map(store::Requirement::line).collect();
    let units = match (course.required, missing.is_empty()) {
        (0, _) => "The records name no unit that your course requires.".to_owned(),
        (_, true) => "You have completed every unit that it requires.".to_owned(),
        (required, false) => list(&format!("Of the {required} units that it requires, these are missing"), &missing),
    };
    let expected = course.expected_graduation.map(|day| format!("Your profile expects you to graduate on {day}."));
    let parts = [format!("Your course is {}. You have earned {earned} credit points{of_all}", course.name), units];
    let last = "Whether you can graduate is for the student office to say.".to_owned();
    Ok(parts.into_iter().chain(expected).chain([last]).collect::<Vec<_>>().join("\n\n"))
}

/// What the children have granted their guardian to see, child by child.
async fn of_children(
    conn: &mut PgConnection,
    viewer: &Viewer,
    caller: &Caller,
    rules: Rules,
    topic: Topic,
) -> Answer<String> {
    let children = store::children(conn, caller).await?;
    if children.is_empty() {
        return Ok("No student is linked to your account. Ask the student office to link your child.".to_owned());
    }
    let mut parts = Vec::new();
    for child in &children {
        parts.push(of_child(conn, viewer, child, rules, topic).await?);
    }
    Ok(parts.join("\n\n"))
}

async fn of_child(
    conn: &mut PgConnection,
    viewer: &Viewer,
    child: &Child,
    rules: Rules,
    topic: Topic,
) -> Answer<String> {
    let name = if child.name.is_empty() { "Your child" } else { &child.name };
    let (whose, who_has) = (format!("{name}'s"), format!("{name} has"));
    let withheld = |what: &str| format!("{name} has not shared {what} with you.");
    Ok(match topic {
        Topic::Units if child.shares("enrolments") => current(conn, child.id, &format!("{name} is")).await?,
        Topic::Units => withheld("enrolments"),
        Topic::Performance if child.shares("transcripts") || child.shares("attendance") => {
            let results = if child.shares("transcripts") {
                performance(&standing(conn, viewer, child.id).await?, rules.repeats, &whose, &who_has)
            } else {
                withheld("results")
            };
            let attendance = if child.shares("attendance") {
                attendance(conn, child.id).await?
            } else {
                format!("\n\n{}", withheld("attendance"))
            };
            results + &attendance
        }
        Topic::Performance => withheld("results and attendance"),
        Topic::Gold if child.shares("gold") => gold(conn, child.id, &whose, &who_has).await?,
        Topic::Gold => withheld("social gold"),
        Topic::Transcript | Topic::Graduation if child.shares("transcripts") => {
            transcript(&standing(conn, viewer, child.id).await?, rules.repeats, &whose)
        }
        Topic::Transcript | Topic::Graduation => withheld("the transcript"),
        Topic::Events => events(conn, viewer).await?,
    })
}

/// What concerns those who work for the university.
async fn of_staff(conn: &mut PgConnection, viewer: &Viewer, caller: &Caller, topic: Topic) -> Answer<String> {
    if topic != Topic::Units {
        return Ok(
            "Results, gold, transcripts and graduation are records of students, and you are not one. Students ask me \
                   about their own; look a student up on the pages of their records."
                .to_owned(),
        );
    }
    if viewer.reach(Permission::ReadTeaching).is_none() {
        return Ok("You do not teach units.".to_owned());
    }
    let classes = classes_taught(conn, caller.id).await?;
    if classes.is_empty() {
        return Ok("You teach no unit that is under way or to come.".to_owned());
    }
    let line = |class: &crate::enrollment::TaughtClass| {
        let enrolled = usize::try_from(class.enrolled).unwrap_or_default();
        let waiting = match class.pending {
            0 => String::new(),
            pending => format!(", {pending} waiting for a decision"),
        };
        format!("{}: {} enrolled{waiting}", class.name, count(enrolled, "student", "students"))
    };
    Ok(list("You teach", &classes.iter().map(line).collect::<Vec<_>>()))
}
