//! The overview of one's own classes: the units one convenes, and the classes one holds.

mod handlers;
mod store;

use sqlx::PgConnection;

use crate::http::Routes;
use crate::ids::Id;

use store::{Seats, Time};

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/enrollment/enrollments").get(
        "/teaching/",
        handlers::teaching,
        "Shows the classes that the caller convenes or instructs.",
    )
}

/// A class under way or to come that somebody teaches.
#[derive(Debug)]
pub(crate) struct TaughtClass {
    /// Such as `COS20001 User-Centred Design, S2 2026`.
    pub(crate) name: String,
    pub(crate) enrolled: i32,
    /// Who wait for a decision.
    pub(crate) pending: i32,
}

/// What the person convenes or instructs that is not past; those under way first.
///
/// # Errors
/// The database's.
pub(crate) async fn classes_taught(conn: &mut PgConnection, person: Id) -> sqlx::Result<Vec<TaughtClass>> {
    let taught = store::taught(conn, person).await?;
    let ids: Vec<Id> = taught.iter().filter(|one| one.time != Time::Past).map(|one| one.id).collect();
    let mut seats = store::seats(conn, &ids).await?;
    let names = store::names(conn, &ids).await?;
    Ok(names
        .into_iter()
        .map(|(id, name)| {
            let Seats { pending, enrolled, .. } = seats.remove(&id).unwrap_or_default();
            TaughtClass { name, enrolled, pending }
        })
        .collect())
}
