//! What the log keeps of a write, and who sees how much of that.
//!
//! The log is a second copy of what was written. It must not become a way round the rules of the first: a value is shown to
//! whoever may see it where it stands, and to others only that it changed. What people write to each other is not copied at
//! all, and of a long text only its length and its digest.

use aws_lc_rs::digest;
use serde_json::{Map, Value, json};

use super::chain::hex;
use crate::access::{Permission as P, Viewer};

/// Who sees a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// Whoever reads the log.
    Readers,
    /// Of these, who have the permission for everything.
    With(P),
    /// Nobody.
    Nobody,
}

/// Texts that people write to each other: of them the log has the length alone.
const SAID: &[(&str, &str)] =
    &[("notification", "verb"), ("notification", "description"), ("ticket_comment", "comment"), ("submission", "data")];

/// A person's own affairs, which `users.read_private` shows, and the rights of an account, which are what the log is for.
const OF_USERS: &[(&str, Sees)] = &[
    ("email", Sees::With(P::ReadUsers)),
    ("username", Sees::With(P::ReadUsers)),
    ("first_name", Sees::With(P::ReadUsers)),
    ("last_name", Sees::With(P::ReadUsers)),
    ("department", Sees::With(P::ReadUsers)),
    ("position", Sees::With(P::ReadUsers)),
    ("bio", Sees::With(P::ReadUsers)),
    ("profile_image", Sees::With(P::ReadUsers)),
    ("user_type", Sees::Readers),
    ("is_active", Sees::Readers),
    ("is_staff", Sees::Readers),
    ("is_superuser", Sees::Readers),
    // What reading notifications and anonymising tell: numbers.
    ("marked", Sees::Readers),
    ("erased_details", Sees::Readers),
    ("erased_origins", Sees::Readers),
];

/// Who sees what was written in this field of a resource. A resource that is not named here is not shown.
fn sees(resource_type: &str, field: &str) -> Sees {
    if SAID.contains(&(resource_type, field)) {
        return Sees::Nobody;
    }
    match resource_type {
        "user" => {
            OF_USERS.iter().find(|(name, _)| *name == field).map_or(Sees::With(P::ReadPrivate), |(_, sees)| *sees)
        }
        // Anybody may read these.
        "course" | "course_unit" | "intake" | "offering" | "unit" | "achievement" | "resource" | "media_asset"
        // Rights, and what the server or an operator did: numbers and names of files.
        | "role" | "user_role" | "student" | "" => Sees::Readers,
        "scholarship" => Sees::With(P::ReadScholarships),
        "scholarship_application" => Sees::With(P::ReadScholarshipApplications),
        "unit_resource" => Sees::With(P::ReadUnitResources),
        "class_session" => Sees::With(P::ReadClassSessions),
        "attendance_record" => Sees::With(P::ReadAttendance),
        "enrollment" => Sees::With(P::ReadEnrollments),
        "event" => Sees::With(P::ReadEvents),
        "page" => Sees::With(P::ReadUnpublishedPages),
        "form" => Sees::With(P::ReadInactiveForms),
        "submission" => Sees::With(P::ReadSubmissions),
        "ticket" | "ticket_comment" => Sees::With(P::ReadTickets),
        "gold_transaction" | "gold_account" | "student_achievement" => Sees::With(P::ReadGold),
        "student_profile" => Sees::With(P::ReadStudentProfiles),
        "guardian" | "guardian_grant" => Sees::With(P::ReadGuardians),
        "workflow" | "workflow_execution" | "webhook_message" => Sees::With(P::ReadWorkflows),
        "session" | "calendar_link" => Sees::With(P::ManageSessions),
        // Whom a message went to is between the two.
        _ => Sees::Nobody,
    }
}

/// The details as this viewer sees them.
pub(crate) fn seen(resource_type: &str, details: Value, viewer: &Viewer) -> Value {
    let Value::Object(mut members) = details else { return details };
    let shown = |(field, value): (String, Value)| {
        let is_shown = match sees(resource_type, &field) {
            Sees::Readers => true,
            Sees::With(permission) => viewer.reach(permission).is_all(),
            Sees::Nobody => false,
        };
        let value = if is_shown { value } else { json!({ "changed": true }) };
        (field, value)
    };
    let changes = members.remove("changes");
    let mut told: Map<_, _> = members.into_iter().map(shown).collect();
    if let Some(Value::Object(fields)) = changes {
        told.insert("changes".to_owned(), fields.into_iter().map(shown).collect());
    }
    Value::Object(told)
}

/// The largest value that the log copies, and the largest details, in bytes of JSON. When the details are larger, even
/// shorter values go.
const LARGEST: [usize; 4] = [1024, 256, 64, 16];
const LARGEST_DETAILS: usize = 8 * 1024;

/// What is kept of the details of a write.
pub(super) fn kept(resource_type: &str, details: &Value) -> Value {
    let mut details = details.clone();
    each_value(&mut details, &mut |field, value| {
        if SAID.contains(&(resource_type, field)) && !value.is_null() {
            *value = json!({ "length": length_of(value) });
        }
    });
    for largest in LARGEST {
        each_value(&mut details, &mut |_, value| {
            let bytes = value.to_string().len();
            if bytes > largest && !is_digest(value) {
                *value = digest_of(value);
            }
        });
        if details.to_string().len() <= LARGEST_DETAILS {
            break;
        }
    }
    details
}

/// Every value that was written: of a change the one before and the one after.
fn each_value(details: &mut Value, work: &mut impl FnMut(&str, &mut Value)) {
    let Some(members) = details.as_object_mut() else { return };
    for (name, member) in members {
        if name != "changes" {
            work(name, member);
            continue;
        }
        for (field, sides) in member.as_object_mut().into_iter().flatten() {
            for side in ["before", "after"] {
                if let Some(value) = sides.get_mut(side) {
                    work(field, value);
                }
            }
        }
    }
}

fn length_of(value: &Value) -> usize {
    value.as_str().map_or_else(|| value.to_string().len(), |text| text.chars().count())
}

fn digest_of(value: &Value) -> Value {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    json!({ "length": length_of(value), "sha256": hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()) })
}

fn is_digest(value: &Value) -> bool {
    value.as_object().is_some_and(|members| {
        members.contains_key("length") && members.keys().all(|name| name == "length" || name == "sha256")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_stay_small_whatever_was_written() {
        let long = "x".repeat(20_000);
        let fields = (0..40).map(|n| (format!("field{n}"), json!({ "before": long, "after": format!("{long}{n}") })));
        let details = json!({ "changes": fields.collect::<Map<_, _>>(), "file": long });
        let kept = kept("page", &details);
        assert!(kept.to_string().len() < 16 * 1024, "{} bytes", kept.to_string().len());
        assert_eq!(kept["file"]["length"], 20_000);
        assert_ne!(kept["changes"]["field1"]["after"], kept["changes"]["field2"]["after"]);
    }

    #[test]
    fn a_text_of_a_kilobyte_is_kept_and_a_longer_one_is_digested() {
        let of = |text: &str| kept("page", &json!({ "changes": { "content": { "before": null, "after": text } } }));
        let short = "x".repeat(1022);
        assert_eq!(of(&short)["changes"]["content"]["after"], short);
        let after = &of(&"x".repeat(1023))["changes"]["content"]["after"];
        assert_eq!(after["length"], 1023);
        assert_eq!(after["sha256"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn what_people_say_to_each_other_leaves_its_length_alone() {
        let details =
            json!({ "changes": { "comment": { "before": null, "after": "Xin chào" }, "ticket": { "after": 3 } } });
        let kept = kept("ticket_comment", &details);
        assert_eq!(
            kept,
            json!({ "changes": { "comment": { "before": null, "after": { "length": 8 } }, "ticket": { "after": 3 } } })
        );
    }
}
