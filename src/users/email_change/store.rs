//! Every SQL statement of changes of address.

use sqlx::{PgConnection, PgExecutor};

use crate::ids::Id;

/// Lets a new address wait, in place of another, and queues the mails: the link to it, and word of it to the present one.
pub(super) async fn wait_for(tx: &mut PgConnection, user: Id, email: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into email_changes (user_id, email, expires_at)
         values ($1, $2, rule_now() + interval '24 hours')
         on conflict (user_id) do update
            set email = excluded.email,
                token_hash = null,
                created_at = excluded.created_at,
                expires_at = excluded.expires_at",
        user.0,
        email
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into mail_outbox (template, recipient, user_id, state)
         select 'email_change_notice', email, id, 'queued' from users where id = $1
          union all
         select 'email_change', $2, $1, 'queued'",
        user.0,
        email
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends what waits; the address, if there was one.
pub(super) async fn end(tx: &mut PgConnection, user: Id) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!("delete from email_changes where user_id = $1 returning email", user.0).fetch_optional(tx).await
}

/// Keeps what the link of a mail is known by; false when this address is not waited for any more.
pub(crate) async fn keep_token(
    db: impl PgExecutor<'_>,
    user: i64,
    email: &str,
    token_hash: &[u8],
) -> sqlx::Result<bool> {
    let kept = sqlx::query!(
        "update email_changes
            set token_hash = $3
          where user_id = $1
            and email = $2
            and expires_at > rule_now()",
        user,
        email,
        token_hash
    )
    .execute(db)
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// Whose token this is.
pub(super) async fn holder(db: impl PgExecutor<'_>, token_hash: &[u8]) -> sqlx::Result<Option<Id>> {
    sqlx::query_scalar!(r#"select user_id as "user_id: Id" from email_changes where token_hash = $1"#, token_hash)
        .fetch_optional(db)
        .await
}

/// Uses a token of this user, while it is good: the address before and the new one.
pub(super) async fn redeem(
    tx: &mut PgConnection,
    user: Id,
    token_hash: &[u8],
) -> sqlx::Result<Option<(String, String)>> {
    let redeemed = sqlx::query!(
        "delete from email_changes c
          using users u
          where c.user_id = $1
            and c.token_hash = $2
            and c.expires_at > rule_now()
            and u.id = c.user_id
      returning u.email as before, c.email as after",
        user.0,
        token_hash
    )
    .fetch_optional(tx)
    .await?;
    Ok(redeemed.map(|row| (row.before, row.after)))
}

pub(super) async fn set_email(tx: &mut PgConnection, user: Id, email: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update users
            set email = $2, updated_at = rule_now(), updated_by = $1
          where id = $1",
        user.0,
        email
    )
    .execute(tx)
    .await?;
    Ok(())
}
