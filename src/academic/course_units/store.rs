//! Every SQL statement of the units of courses.

use sqlx::PgConnection;

use super::handlers::CourseUnitFields;
use crate::ids::Id;

/// The columns of a unit's place in a course.
pub(super) const SELECT: &str = "
select cu.id,
       cu.course_id as course,
       cu.unit_id as unit,
       cu.is_elective,
       cu.created_at,
       cu.updated_at
from course_units cu";

pub(super) async fn add(tx: &mut PgConnection, author: Id, place: &CourseUnitFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into course_units (course_id, unit_id, is_elective, created_by, updated_by)
           values ($1, $2, $3, $4, $4)
           returning id as "id: Id""#,
        place.course as Option<Id>,
        place.unit as Option<Id>,
        place.is_elective,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, place: &CourseUnitFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update course_units
            set course_id = $2,
                unit_id = $3,
                is_elective = $4,
                updated_at = rule_now(),
                updated_by = $5
          where id = $1",
        id.0,
        place.course as Option<Id>,
        place.unit as Option<Id>,
        place.is_elective,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}
