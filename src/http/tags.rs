//! What the OpenAPI document's operations are grouped by. Generated clients make a module of each tag.

use serde_json::{Value, json};

/// A tag: the beginnings of its paths, its name, and what it is about in a sentence.
type Tag = (&'static [&'static str], &'static str, &'static str);

/// Tags in their groups. Of several beginnings that a path has, the longest counts.
const GROUPS: &[(&str, &[Tag])] = &[
    (
        "Access",
        &[
            (&["/api/token/"], "Tokens", "Logging in and out, and keeping a token fresh."),
            (&["/api/users/sessions/"], "Log-in sessions", "Where somebody is logged in."),
            (
                &["/api/users/password-reset/", "/api/users/users/me/password/", "/reset/"],
                "Passwords",
                "Changing a password, and setting one that was forgotten.",
            ),
            (
                &["/api/users/email/", "/confirm-email/"],
                "Mail addresses",
                "Confirming the mail address of a new account or a changed one.",
            ),
            (
                &["/api/users/permissions/", "/api/users/roles/"],
                "Roles",
                "Permissions beside those of a user type, in named sets.",
            ),
            (&["/api/users/user-roles/"], "Role holders", "Who holds which role, and for how long."),
        ],
    ),
    (
        "People",
        &[
            (
                &["/api/users/", "/api/users/users/", "/api/users/update_profile/"],
                "Users",
                "Accounts and their profiles.",
            ),
            (
                &["/api/users/students/", "/api/users/student-profiles/"],
                "Students",
                "Students, with their number, course and standing.",
            ),
            (&["/api/users/guardians/"], "Guardians", "Parents, their children, and what each of these lets them see."),
            (&["/api/users/scholarships/"], "Scholarships", "What students can apply for."),
            (
                &["/api/users/scholarship-applications/"],
                "Scholarship applications",
                "Applications, their documents, and the decisions on them.",
            ),
        ],
    ),
    (
        "Catalogue",
        &[
            (&["/api/academic/courses/"], "Courses", "Programmes that students study."),
            (&["/api/academic/course-units/"], "Course units", "Which units belong to which course."),
            (&["/api/academic/units/"], "Units", "Subjects, with their prerequisites and convenors."),
            (&["/api/academic/intakes/"], "Intakes", "The semesters of a year."),
            (
                &["/api/academic/offerings/"],
                "Offerings",
                "Units as they are taught in a semester, and who sits in them.",
            ),
            (&["/api/academic/unit-resources/"], "Unit resources", "Files and links of a unit."),
        ],
    ),
    (
        "Study",
        &[
            (
                &["/api/enrollment/enrollments/", "/api/enrollment/approvals/"],
                "Enrolments",
                "Seats in offerings, from the request to the result.",
            ),
            (&["/api/enrollment/transcripts/"], "Transcripts", "Results, and the averages of them."),
            (&["/api/core/sessions/"], "Classes", "When and where an offering is taught."),
            (&["/api/core/attendance/"], "Attendance", "Who was in which class."),
        ],
    ),
    (
        "Campus",
        &[
            (
                &["/api/core/events/"],
                "Events",
                "What happens on campus, whom it is for, and the texts that announce it.",
            ),
            (
                &["/api/core/calendar-link/", "/api/core/calendar.ics/"],
                "Calendar",
                "Classes and events as a feed for calendar programs.",
            ),
            (&["/api/core/notifications/"], "Notifications", "What somebody is told, as a list and as a stream."),
            (
                &["/api/core/tickets/", "/api/core/ticket-comments/"],
                "Tickets",
                "Requests to staff, with comments and files.",
            ),
            (&["/api/core/forms/"], "Forms", "Forms that people fill in, each with a JSON Schema."),
            (&["/api/core/submissions/"], "Submissions", "What was sent in with forms."),
            (&["/api/core/pages/"], "Pages", "Texts to read, by their slug."),
            (&["/api/core/resources/"], "Library", "Files for students and staff."),
            (&["/api/core/media/"], "Media", "Pictures and files that pages use."),
            (&["/api/files/", "/media/"], "Files", "The files behind the links that other answers have."),
            (
                &["/api/askai/"],
                "Advisor",
                "Questions about the caller's own studies, answered by a language model or from the records.",
            ),
        ],
    ),
    (
        "Gold",
        &[
            (&["/api/social/social-gold/"], "Gold accounts", "How much gold a student has."),
            (&["/api/social/transactions/"], "Gold transactions", "The ledger of gold, and awards for many at once."),
            (&["/api/social/leaderboard/"], "Leaderboard", "Who has earned the most gold."),
            (&["/api/social/achievements/"], "Achievements", "What can be achieved, with a badge."),
            (&["/api/social/student-achievements/"], "Student achievements", "Who has achieved what."),
        ],
    ),
    (
        "Operation",
        &[
            (&["/api/users/audit-log/"], "Audit log", "Who changed what, and when."),
            (&["/api/users/n8n-workflows/"], "Workflows", "Addresses outside that are called when something happens."),
            (&["/api/users/n8n-logs/"], "Workflow calls", "How calls of workflows went."),
            (&["/api/users/webhook-outbox/"], "Webhook outbox", "Calls that are still to be delivered."),
            (&["/health/"], "Health", "Whether the server runs and can serve."),
            (
                &["/api/schema/", "/api/docs/", "/api/redoc/", "/", "/favicon.ico"],
                "Documentation",
                "This document, and its page.",
            ),
        ],
    ),
];

fn tags() -> impl Iterator<Item = &'static Tag> {
    GROUPS.iter().flat_map(|(_, tags)| tags.iter())
}

/// The tag of a path; none of a path that nobody has thought of, which the document's test refuses.
pub(super) fn tag_of(path: &str) -> &'static str {
    let beginnings = tags().flat_map(|(beginnings, name, _)| beginnings.iter().map(move |start| (start, name)));
    // Every path begins like the one of the first page.
    let fits = beginnings.filter(|(start, _)| path == **start || (**start != "/" && path.starts_with(**start)));
    fits.max_by_key(|(start, _)| start.len()).map_or("", |(_, name)| name)
}

/// All of them, each with its sentence.
pub(super) fn all() -> Value {
    tags().map(|(_, name, says)| json!({ "name": name, "description": says })).collect()
}

/// The groups, as readers of `x-tagGroups` have them.
pub(super) fn groups() -> Value {
    let names = |tags: &[Tag]| tags.iter().map(|(_, name, _)| json!(name)).collect::<Value>();
    GROUPS.iter().map(|(group, tags)| json!({ "name": group, "tags": names(tags) })).collect()
}
