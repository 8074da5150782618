//! The leaderboard: students who want to stand on it, by all that they were ever awarded.
//!
//! It shows names and gold, and nothing that leads to the person. Ranks count only those who stand on it, so that they
//! say nothing of the others.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::access::{Actor, may};
use crate::app::AppState;
use crate::db::Reading;
use crate::http::{Answer, Describe, Listed, Notes, Problem, Routes, Schemas, query_pairs};

/// The most places that are shown.
const MOST: i64 = 100;

/// `?page_size=`: how many places are asked for.
struct Places(i64);

/// A place on the leaderboard.
#[derive(Debug, Serialize, ToSchema)]
struct LeaderboardPlace {
    /// From 1; who has earned the same shares one.
    rank: i64,
    name: String,
    lifetime_earned: i64,
    /// Whether it is the caller.
    is_me: bool,
}

/// The endpoint.
pub(super) fn routes() -> Routes {
    Routes::under("/api/social/leaderboard").get(
        "/",
        leaderboard,
        "Lists the students who want to stand here, by what they were ever awarded.",
    )
}

impl FromRequestParts<AppState> for Places {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let mut places = MOST;
        for (name, value) in query_pairs(head)? {
            if name != "page_size" {
                return Err(Problem::invalid(name, "There is no such parameter."));
            }
            let asked = value.parse().ok().filter(|asked| (1..=MOST).contains(asked));
            let says = format!("A number from 1 to {MOST} is expected.");
            places = asked.ok_or_else(|| Problem::invalid("page_size", says))?;
        }
        Ok(Self(places))
    }
}

impl Describe for Places {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        let schema = json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": MOST });
        notes.parameter("query", "page_size", schema, "How many places are shown.");
        notes.refuses(400, "Malformed or invalid; `errors` names the parameter.");
    }
}

/// `GET /`
async fn leaderboard(
    actor: Actor<may::BeSignedIn>,
    mut conn: Reading,
    Places(places): Places,
) -> Answer<Listed<LeaderboardPlace>> {
    // Ties stand in the order of the accounts, which the index has.
    let shown = sqlx::query_as!(
        LeaderboardPlace,
        r#"select rank() over (order by a.lifetime_earned desc) as "rank!",
                  trim(u.first_name || ' ' || u.last_name) as "name!",
                  a.lifetime_earned,
                  u.id = $2 as "is_me!"
             from gold_accounts a
             join users u on u.id = a.student_id
            where u.leaderboard_opt_in
              and u.is_active
              and u.user_type = 'student'
              and trim(u.first_name || u.last_name) <> ''
              and a.lifetime_earned > 0
              and a.deleted_at is null
            order by a.lifetime_earned desc, a.id
            limit $1"#,
        places,
        actor.id().0
    )
    .fetch_all(&mut *conn)
    .await?;
    Listed::whole(&shown)
}
