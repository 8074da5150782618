//! The steps of an enrolment: what it was and became, by whom and why.

use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::FromRow;
use utoipa::ToSchema;

use super::handlers::Enrollment;
use super::store;
use crate::access::{Actor, Viewer, may};
use crate::db::Reading;
use crate::decimals::two_places;
use crate::http::{Answer, Asked, Filter, Kind, Listed, Listing, Ordering, PathId, Resource, Sight, find};
use crate::ids::{Id, Moment};

/// A step of an enrolment.
#[derive(Debug, FromRow, Serialize, ToSchema)]
pub(super) struct EnrollmentStep {
    id: Id,
    /// Empty for the first step, also of an enrolment that was deleted and asked for anew.
    from_status: String,
    to_status: String,
    from_grade: String,
    to_grade: String,
    #[serde(serialize_with = "two_places")]
    #[schema(value_type = Option<String>, example = "78.00")]
    from_marks: Option<Decimal>,
    #[serde(serialize_with = "two_places")]
    #[schema(value_type = Option<String>, example = "78.00")]
    to_marks: Option<Decimal>,
    /// Whether the enrolment was deleted after it.
    deleted: bool,
    /// `approved` or `rejected`; empty when it was no decision.
    decision: String,
    /// What was noted.
    reason: String,
    /// Who took it; null when the server did.
    changed_by: Option<Id>,
    created_at: Moment,
}

/// Whose steps are shown is said by the path alone.
const OF_ENROLLMENT: Filter = Filter::new("enrollment", "h.enrollment_id", Kind::Id);

impl Resource for EnrollmentStep {
    type Row = Self;
    type Shown = Self;
    type Reader = Actor<may::ReadEnrollments>;

    const NAME: &'static str = "enrollment_step";
    const TABLE: &'static str = "enrollment_history";
    const ALIAS: &'static str = "h";
    const LIVE: &'static str = "true";
    const SELECT: &'static str = store::SELECT_STEP;
    const LISTING: Listing = Listing {
        filters: &[],
        orderings: &[Ordering::new("created_at", "h.created_at", "timestamptz")],
        default: "id",
        search: None,
        updated_at: None,
    };

    fn shown(row: Self, _: &Viewer) -> Self {
        row
    }
}

/// `GET /{id}/history/`
pub(super) async fn history(
    actor: Actor<may::ReadEnrollments>,
    mut conn: Reading,
    PathId(id): PathId,
    mut asked: Asked<EnrollmentStep>,
) -> Answer<Listed<EnrollmentStep>> {
    find::<Enrollment>(&mut conn, &actor, id, Sight::Visible).await?;
    asked.confine(OF_ENROLLMENT, id);
    asked.page(&mut conn, &actor).await
}
