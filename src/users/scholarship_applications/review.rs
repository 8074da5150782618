//! Deciding on applications.

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::handlers::{Application, ApplicationRow, ApplicationStatus};
use super::store;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::core::notifications::{Notice, tell};
use crate::http::{Answer, Done, Faults, PathId, Posted, Problem, Resource, Sight, find};
use crate::ids::Id;
use crate::users::scholarships::awards_left;

/// What became of an application.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ScholarshipReview)]
pub(super) struct Review {
    /// approved, rejected or waitlisted.
    status: ApplicationStatus,
    /// For the student to read, in place of those of a review before; at most 20,000 characters. Needed when an award is
    /// taken back.
    #[serde(default)]
    reviewer_notes: String,
}

/// `POST /{id}/review/`
pub(super) async fn review(
    actor: Actor<may::ReviewScholarships>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Posted { body, repeat }: Posted<Review>,
) -> Answer<Done<Application>> {
    let (actor, review) = (&actor, &body);
    repeat
        .write(
            &app,
            Some(actor.id()),
            |tx, _| Box::pin(async move { find::<Application>(tx, actor, id, Sight::Visible).await.map(|_| ()) }),
            |tx, _| {
                Box::pin(async move {
                    decide(tx, actor, id, review).await?;
                    let row = find::<Application>(tx, actor, id, Sight::Any).await?;
                    Done::with(&Application::shown(row, actor))
                })
            },
        )
        .await
}

async fn decide(tx: &mut PgConnection, actor: &Actor<may::ReviewScholarships>, id: Id, review: &Review) -> Answer<()> {
    store::lock(tx, id).await?;
    let row = find::<Application>(tx, actor, id, Sight::Visible).await?;
    actor.decide_on(row.student)?;
    check(&row, review)?;
    if review.status == ApplicationStatus::Approved && !awards_left(tx, row.scholarship).await? {
        return Err(Problem::conflict(
            "awards_exhausted",
            "All awards of this scholarship are given. Waitlist the application, or raise the scholarship's `max_awards`.",
        ));
    }
    store::review(tx, actor.id(), id, review.status, &review.reviewer_notes).await?;
    let before = json!({ "status": row.status, "reviewer_notes": row.reviewer_notes });
    let after = json!({ "status": review.status, "reviewer_notes": review.reviewer_notes });
    audit::record(tx, actor, "review", Application::NAME, Some(id), &before, &after).await?;
    let notice = Notice {
        recipient: row.student,
        actor: Some(actor.id()),
        verb: match review.status {
            ApplicationStatus::Approved => "Scholarship approved",
            ApplicationStatus::Rejected | ApplicationStatus::Pending => "Scholarship rejected",
            ApplicationStatus::Waitlisted => "Scholarship waitlisted",
        },
        description: row.scholarship_name,
        target: (Application::NAME, id),
    };
    Ok(tell(tx, &[notice]).await?)
}

/// Whether this step is one of the state machine, and is explained where it must be.
fn check(row: &ApplicationRow, review: &Review) -> Answer<()> {
    use ApplicationStatus::{Approved, Pending, Rejected, Waitlisted};

    let mut faults = Faults::default();
    faults.text("reviewer_notes", &review.reviewer_notes, 20_000);
    faults.unless(review.status != Pending, "status", "One of approved, rejected, waitlisted is expected.");
    let takes_back = (row.status, review.status) == (Approved, Rejected);
    faults.unless(
        !takes_back || !review.reviewer_notes.trim().is_empty(),
        "reviewer_notes",
        "Say why the award is taken back.",
    );
    faults.check()?;
    match (row.status, review.status) {
        (Pending | Waitlisted, Approved | Rejected) | (Pending, Waitlisted) | (Approved, Rejected) => Ok(()),
        (from, to) => Err(Problem::conflict(
            "illegal_step",
            format!("An application that is {} cannot become {}.", from.name(), to.name()),
        )),
    }
}
