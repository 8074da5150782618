//! Every SQL statement of password resets, but the making of a token, which is the mail's.

use sqlx::{PgConnection, PgExecutor};

use crate::ids::Id;

/// Queues a mail, or a row that is never sent when no active account has this address or too many were asked for.
pub(super) async fn queue(tx: &mut PgConnection, email: &str, allowed: bool) -> sqlx::Result<Option<Id>> {
    sqlx::query_scalar!(
        r#"insert into mail_outbox (template, recipient, user_id, state)
           select 'password_reset', coalesce(u.email, $1), u.id, case when u.id is not null and $2 then 'queued' else 'skipped' end
             from (select) asked
             left join users u on lower(u.email) = lower($1) and u.is_active
           returning user_id as "user_id: Id""#,
        email,
        allowed
    )
    .fetch_one(tx)
    .await
}

/// Whose token this is, while it is good.
pub(super) async fn holder(db: impl PgExecutor<'_>, token_hash: &[u8]) -> sqlx::Result<Option<Id>> {
    sqlx::query_scalar!(
        r#"select t.user_id as "user_id: Id"
             from password_reset_tokens t
             join users u on u.id = t.user_id
            where t.token_hash = $1
              and t.used_at is null
              and t.expires_at > rule_now()
              and u.is_active"#,
        token_hash
    )
    .fetch_optional(db)
    .await
}

/// Uses a token, and with it all others of its user; false when it is not good any more.
pub(super) async fn redeem(tx: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<bool> {
    let user = sqlx::query_scalar!(
        "update password_reset_tokens
            set used_at = rule_now()
          where token_hash = $1
            and used_at is null
            and expires_at > rule_now()
        returning user_id",
        token_hash
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(user) = user else { return Ok(false) };
    sqlx::query!(
        "update password_reset_tokens
            set used_at = rule_now()
          where user_id = $1
            and used_at is null",
        user
    )
    .execute(tx)
    .await?;
    Ok(true)
}
