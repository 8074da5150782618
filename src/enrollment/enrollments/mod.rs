//! Enrolments: asking for a seat, deciding, giving results, giving the seat back.

mod close;
mod decide;
mod enroll;
mod handlers;
mod history;
mod leaving;
mod overdue;
mod removal;
mod report;
mod results;
mod rules;
mod steps;
mod store;

use crate::http::{Routes, list, show};

pub(in crate::enrollment) use handlers::{COLUMNS, Enrollment};
pub(crate) use leaving::{Granted, end_seats};
pub(in crate::enrollment) use overdue::withdraw_overdue;
pub(crate) use store::announce;

const OF_ITS_OWN: &str = "Only what was done is counted, and refusals are free: in a rush people ask again and again.";
const TURNED: &str = "The student has enrolled and withdrawn too often; see Retry-After.";

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/enrollment/enrollments")
        .get("/", list::<Enrollment>, "Lists the enrolments that the caller may see.")
        .post("/", enroll::create, "Enrols a student; a refusal names every rule that is broken.")
        .counts_nothing(OF_ITS_OWN)
        .refuses(429, TURNED)
        .post("/bulk-approve/", decide::bulk_approve, "Approves pending enrolments, and reports on each.")
        .post("/bulk-grade/", results::bulk_grade, "Gives results, and reports on each.")
        .get("/{id}/", show::<Enrollment>, "Shows an enrolment.")
        .put("/{id}/", results::replace, "Replaces status, grade and marks of an enrolment.")
        .patch("/{id}/", results::change, "Changes status, grade or marks of an enrolment.")
        .delete("/{id}/", removal::remove, "Deletes an enrolment and frees its seat.")
        .post("/{id}/restore/", removal::restore, "Brings a deleted enrolment back.")
        .get("/{id}/history/", history::history, "Lists the steps of an enrolment, with who took them and why.")
        .post("/{id}/withdraw/", decide::withdraw, "Gives the seat back.")
        .counts_nothing(OF_ITS_OWN)
        .refuses(429, TURNED)
        .post("/{id}/approve/", decide::approve, "Approves a pending enrolment.")
        .post("/{id}/reject/", decide::reject, "Refuses a pending enrolment; the student may ask again.")
        .and(Routes::under("/api/academic/offerings").post(
            "/{id}/close/",
            close::close,
            "Closes an offering: withdraws who sits in it, cancels its classes to come, and tells each person once.",
        ))
}
