//! Every SQL statement of password resets, but the making of a token, which is the mail's.

use sqlx::{PgConnection, PgExecutor};

use crate::ids::Id;

/// The active account of a folded address.
pub(super) async fn account(tx: &mut PgConnection, email: &str) -> sqlx::Result<Option<Id>> {
    sqlx::query_scalar!(
        r#"select id as "id: Id"
             from users
            where lower(email) = $1
              and is_active"#,
        email
    )
    .fetch_optional(tx)
    .await
}

/// Queues a mail to an account, or a row that is taken back again.
pub(super) async fn queue(tx: &mut PgConnection, user: Option<Id>, email: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into mail_outbox (template, recipient, user_id)
         select 'password_reset', coalesce(u.email, $2), u.id
           from (select) asked
           left join users u on u.id = $1",
        user.map(|id| id.0),
        email
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Begins what [`end`] may take back.
pub(super) async fn begin(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("savepoint asked").execute(tx).await?;
    Ok(())
}

/// Keeps what was written since [`begin`], or takes it back: a statement either way, and the transaction goes on.
pub(super) async fn end(tx: &mut PgConnection, keep: bool) -> sqlx::Result<()> {
    if keep {
        sqlx::query!("release savepoint asked").execute(tx).await?;
    } else {
        sqlx::query!("rollback to savepoint asked").execute(tx).await?;
    }
    Ok(())
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
              and t.security_version = u.security_version
              and u.is_active"#,
        token_hash
    )
    .fetch_optional(db)
    .await
}

/// Uses a token, and with it all others of its user; false when it is not good any more.
pub(super) async fn redeem(tx: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<bool> {
    let user = sqlx::query_scalar!(
        "update password_reset_tokens t
            set used_at = rule_now()
           from users u
          where t.token_hash = $1
            and t.used_at is null
            and t.expires_at > rule_now()
            and u.id = t.user_id
            and u.security_version = t.security_version
        returning t.user_id",
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
