//! The units of a course.

use axum::extract::State;

use super::handlers::Course;
use crate::academic::units::{Unit, UnitOfCourse};
use crate::access::Visitor;
use crate::app::AppState;
use crate::http::{Answer, Asked, Listed, PathId, Sight, find};

/// `GET /{id}/units/`
pub(super) async fn units(
    visitor: Visitor,
    State(app): State<AppState>,
    PathId(course): PathId,
    mut asked: Asked<UnitOfCourse>,
) -> Answer<Listed<Unit>> {
    let mut conn = app.db.acquire().await?;
    find::<Course>(&mut conn, visitor.as_ref(), course, Sight::Visible).await?;
    asked.narrow("course", course);
    asked.page(&mut conn, visitor.as_ref()).await
}
