//! What happens around teaching: classes and who came to them, events, forms, notifications, tickets, pages, files for
//! everybody.
//!
//! Owns `class_sessions`, `attendance_records`, `events` with `event_attendees`, `event_target_*`,
//! `event_dismissals` and `event_content_revisions`, `forms` with `form_versions` and `form_submissions`, `notifications`, `tickets`,
//! `ticket_comments`, `ticket_files`, `pages`, `resources`, `media_assets` and `calendar_links`. What always holds, and where it is kept:
//!
//! - no two classes that take place share a room or an instructor at one time, also when requests race:
//!   `sessions::clashes`, behind it the constraints `class_sessions_share_no_room` and
//!   `class_sessions_share_no_instructor`;
//! - a class has at most one live record of a student: constraint
//!   `attendance_records_are_one_per_session_and_student`;
//! - only students of the offering are marked: `attendance`; a class stays in its offering: `sessions`;
//! - who sees an event is decided in the statement that reads it: `events::store::push_audience`;
//! - content of an event that nobody has confirmed is not shown to its readers, and content that was replaced stays as a
//!   revision: `events::content`;
//! - who submitted a ticket never sees the internal notes on it: [`ticket_comments`];
//! - a live ticket, page or resource refers to live units and offerings only: `Faults::refers`, and the deletes of these
//!   count them;
//! - what was sent in fits the version of the form that it names: `forms::submissions`, behind it the constraint
//!   `form_submissions_pin_a_version`; a version is never changed: `forms::store` only adds them;
//! - whoever is concerned is told in the transaction of the cause: [`notifications`].
//!
//! Lock order: comment, ticket, unit, offering, user; and for classes the record of a student, the class, its offering, its instructor, its room. Marking a whole class
//! holds the class first and then the records, so nothing that holds a live record waits for its class.

pub mod attendance;
pub mod calendar;
pub mod events;
pub mod forms;
pub mod media;
pub mod notifications;
pub mod pages;
pub mod resources;
pub mod sessions;
pub mod ticket_comments;
pub mod tickets;
mod uploads;

use crate::http::Routes;

pub(crate) use events::push_audience;

/// The endpoints of this domain.
pub fn routes() -> Routes {
    sessions::routes()
        .and(attendance::routes())
        .and(events::routes())
        .and(forms::routes())
        .and(notifications::routes())
        .and(tickets::routes())
        .and(ticket_comments::routes())
        .and(pages::routes())
        .and(resources::routes())
        .and(media::routes())
        .and(calendar::routes())
}
