//! Attendance: who came to which class.
//!
//! Students read their own, parents by grant (`attendance`), convenors that of their units, instructors that of their
//! classes; marked by the class's instructor, the unit's convenor and staff. Only students of the offering can be
//! marked: those who are enrolled, or were to the end and have a result.

mod counts;
mod handlers;
mod mark;
mod store;
mod summary;

use crate::http::{Routes, change, list, remove, replace, restore, show};

pub(crate) use counts::{AttendanceCounts, attendance_by_class, attendance_of};
pub use handlers::{AttendanceFields, AttendanceRecord, AttendanceStatus};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/core/attendance")
        .get("/", list::<AttendanceRecord>, "Lists the attendance that the caller may see.")
        .post("/", handlers::create, "Marks a student in a class.")
        .get("/summary/", summary::summary, "Sums up a student's attendance, or that of a class.")
        .get("/{id}/", show::<AttendanceRecord>, "Shows the record of a student in a class.")
        .put("/{id}/", replace::<AttendanceRecord>, "Replaces a record.")
        .patch("/{id}/", change::<AttendanceRecord>, "Changes a record.")
        .delete("/{id}/", remove::<AttendanceRecord>, "Deletes a record.")
        .post("/{id}/restore/", restore::<AttendanceRecord>, "Brings a deleted record back.")
        .and(Routes::under("/api/core/sessions").post(
            "/{id}/attendance/",
            mark::mark,
            "Marks a whole class, and reports on each student.",
        ))
}
