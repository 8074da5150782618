//! The units of a course.

use super::handlers::Course;
use crate::academic::units::{Unit, UnitOfCourse};
use crate::access::Visitor;
use crate::db::Reading;
use crate::http::{Answer, Asked, Listed, PathId, Sight, find};

/// `GET /{id}/units/`
pub(super) async fn units(
    visitor: Visitor,
    mut conn: Reading,
    PathId(course): PathId,
    mut asked: Asked<UnitOfCourse>,
) -> Answer<Listed<Unit>> {
    find::<Course>(&mut conn, visitor.as_ref(), course, Sight::Visible).await?;
    asked.narrow("course", course);
    asked.page(&mut conn, visitor.as_ref()).await
}
