//! What a class is told when it moves, is cancelled, or takes place after all.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use sqlx::PgConnection;

use super::clashes::spoken;
use super::handlers::{ClassSession, SessionStatus, SessionType};
use super::store;
use crate::access::Viewer;
use crate::core::notifications::{Notice, tell};
use crate::http::{Answer, Resource};
use crate::ids::Id;

/// What can be told: of one class, and of several.
const VERBS: [(&str, &str); 3] = [
    ("Class moved", "Classes moved"),
    ("Class cancelled", "Classes cancelled"),
    ("Class reinstated", "Classes reinstated"),
];

/// As many classes are spelt out in a notice; of those beyond there is the number.
const MOST: usize = 20;

/// What has become of a class.
struct News<'a> {
    verb: &'static str,
    class: &'a ClassSession,
    /// Whose class of what kind.
    head: String,
    what: String,
}

/// Tells those who sit in the offerings, or wait for a seat, what has become of classes of theirs, before and after: one
/// notification a person for all that was moved, one for all that was cancelled, and so on. Answers how many were told.
pub(super) async fn tell_classes(
    tx: &mut PgConnection,
    actor: &Viewer,
    changes: &[(ClassSession, ClassSession)],
    reason: &str,
) -> Answer<usize> {
    let told: Vec<_> = changes.iter().filter_map(|(before, after)| Some((after, change(before, after)?))).collect();
    let mut offerings: Vec<Id> = told.iter().map(|(class, _)| class.offering).collect();
    offerings.sort_unstable();
    offerings.dedup();
    let codes: HashMap<Id, String> = store::unit_codes(tx, &offerings).await?.into_iter().collect();
    let mut of_offering: HashMap<Id, Vec<News<'_>>> = HashMap::new();
    for (class, (verb, what)) in told {
        let code = codes.get(&class.offering).map(String::as_str).unwrap_or_default();
        let head = format!("{code} {}", spoken_type(class.session_type));
        of_offering.entry(class.offering).or_default().push(News { verb, class, head, what });
    }
    let mut students: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    for (student, offering) in store::seated(tx, &offerings).await? {
        students.entry(student).or_default().push(offering);
    }
    let mut notices = Vec::new();
    for (student, offerings) in &students {
        for (verb, verb_of_several) in VERBS {
            let of_theirs = offerings.iter().filter_map(|offering| of_offering.get(offering)).flatten();
            let mut news: Vec<&News<'_>> = of_theirs.filter(|news| news.verb == verb).collect();
            news.sort_by_key(|news| (news.class.date, news.class.start_time, news.class.id));
            let Some(first) = news.first() else { continue };
            notices.push(Notice {
                recipient: *student,
                actor: actor.caller_id(),
                verb: if news.len() > 1 { verb_of_several } else { verb },
                description: description(&news, reason),
                target: (ClassSession::NAME, first.class.id),
            });
        }
    }
    tell(tx, &notices).await?;
    Ok(students.len())
}

/// What has become of it, if that is news.
fn change(before: &ClassSession, after: &ClassSession) -> Option<(&'static str, String)> {
    use SessionStatus::{Cancelled, Scheduled};

    let (was, is) = (place(before), place(after));
    match (before.status, after.status) {
        (Scheduled, Cancelled) => Some(("Class cancelled", was)),
        (Cancelled, Scheduled) => Some(("Class reinstated", is)),
        (Scheduled, Scheduled) if was != is => Some(("Class moved", format!("from {was} to {is}"))),
        (Scheduled, Scheduled) | (Cancelled, Cancelled) => None,
    }
}

/// Such as `COS10001 lecture: Mon 2026-03-02 09:00-11:00, EN101. Holiday`; what they are is said once for all that follow
/// each other.
fn description(news: &[&News<'_>], reason: &str) -> String {
    let mut said = String::new();
    let mut head = "";
    for one in news.iter().take(MOST) {
        if !said.is_empty() {
            said.push_str("; ");
        }
        if head != one.head {
            head = &one.head;
            said.push_str(head);
            said.push_str(": ");
        }
        said.push_str(&one.what);
    }
    if news.len() > MOST {
        let _written = write!(said, "; and {} more", news.len() - MOST);
    }
    said.push('.');
    if !reason.is_empty() {
        said.push(' ');
        said.push_str(reason);
    }
    said
}

/// When and where, for people.
fn place(class: &ClassSession) -> String {
    let time = spoken(class.date, class.start_time, class.end_time);
    if class.location.is_empty() { time } else { format!("{time}, {}", class.location) }
}

fn spoken_type(session_type: SessionType) -> &'static str {
    match session_type {
        SessionType::Lecture => "lecture",
        SessionType::Tutorial => "tutorial",
        SessionType::Lab => "lab",
        SessionType::Other => "class",
    }
}
