//! Every SQL statement of sessions, but those of logging in and out.

use sqlx::PgConnection;

use crate::ids::Id;

/// The columns of a session.
pub(super) const SELECT: &str = "
select s.id,
       s.user_id as \"user\",
       s.created_at,
       s.last_used_at,
       s.expires_at,
       coalesce(host(s.ip_address), '') as ip,
       s.user_agent as agent
from sessions s";

/// Revokes a live session, of this owner if one is given; false when there is none.
pub(super) async fn revoke(tx: &mut PgConnection, session: Id, owner: Option<Id>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update sessions
            set revoked_at = rule_now(), revoked_reason = 'revoked'
          where id = $1
            and ($2::bigint is null or user_id = $2)
            and revoked_at is null
            and expires_at > rule_now()",
        session.0,
        owner.map(|id| id.0)
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Revokes every live session of a user, but one if it is given, which goes on under the account's present number.
pub(crate) async fn revoke_all(tx: &mut PgConnection, user: Id, but: Option<Id>, reason: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update sessions
            set revoked_at = rule_now(), revoked_reason = $3
          where user_id = $1
            and ($2::bigint is null or id <> $2)
            and revoked_at is null",
        user.0,
        but.map(|id| id.0),
        reason
    )
    .execute(&mut *tx)
    .await?;
    if let Some(kept) = but {
        sqlx::query!(
            "update sessions s
                set security_version = u.security_version
               from users u
              where s.id = $1
                and u.id = s.user_id",
            kept.0
        )
        .execute(tx)
        .await?;
    }
    Ok(())
}
