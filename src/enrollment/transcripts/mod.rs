//! Transcripts: what came of a student's enrolments, as the facts were when the result was given.
//!
//! Rows are written with the results (`enrollments::steps`) and only read here. Lists, summary and export are of the same rows,
//! those that the caller's permission reaches: of a student's results a convenor sees those in own units, and the average
//! that a convenor gets is of these (`store::push_visible`).

mod export;
mod handlers;
mod standing;
mod store;
mod summary;

use sqlx::PgConnection;

use crate::access::{Actor, UserType, may};
use crate::http::{Answer, Problem, Routes, list, show};
use crate::ids::Id;
use crate::users::naming::StudentRef;

use handlers::Transcript;

pub(crate) use standing::{Standing, standing};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/enrollment/transcripts")
        .get("/", list::<Transcript>, "Lists the transcript rows that the caller may see.")
        .get(
            "/summary/",
            summary::summary,
            "Shows a student's grade point average and totals, and how they come about.",
        )
        .get("/export/", export::export, "Shows a student's whole transcript to be kept: JSON or a CSV file.")
        .get("/{id}/", show::<Transcript>, "Shows a transcript row.")
}

/// The student whose transcript is asked for: the one named, or else the caller.
async fn subject(
    conn: &mut PgConnection,
    reader: &Actor<may::ReadTranscripts>,
    named: Option<StudentRef>,
) -> Answer<Id> {
    let is_student = reader.caller().is_some_and(|caller| caller.user_type == UserType::Student);
    let student = match named {
        // Others must not find out by it who there is.
        Some(named) if reader.scope().is_all() => named.resolve(conn).await?,
        Some(named) => named.as_id()?,
        None if is_student => reader.id(),
        None => return Err(Problem::invalid("student", "You are no student: name one.")),
    };
    if store::may_see(conn, reader, student).await? { Ok(student) } else { Err(Problem::absent()) }
}
