//! Every SQL statement of registrations that wait.

use sqlx::{PgConnection, PgExecutor};

use super::Registration;
use crate::ids::Id;

/// The account of a folded address.
pub(super) async fn owner(tx: &mut PgConnection, email: &str) -> sqlx::Result<Option<Id>> {
    sqlx::query_scalar!(r#"select id as "id: Id" from users where lower(email) = $1"#, email).fetch_optional(tx).await
}

/// Keeps what was asked for, and queues the mail with the link.
pub(super) async fn add(tx: &mut PgConnection, asked: &Registration) -> sqlx::Result<()> {
    sqlx::query!(
        "with added as (
             insert into registrations (email, username, first_name, last_name, password_hash, expires_at)
             values ($1, $2, $3, $4, $5, rule_now() + interval '7 days')
             returning id, email)
         insert into mail_outbox (template, recipient, params)
         select 'registration', email, jsonb_build_object('registration', id) from added",
        asked.email,
        asked.username,
        asked.first_name,
        asked.last_name,
        asked.password_hash
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Queues word to an account, while it is active, that somebody registered with its address.
pub(super) async fn tell_owner(tx: &mut PgConnection, user: Id) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into mail_outbox (template, recipient, user_id)
         select 'registered_already', email, id from users where id = $1 and is_active",
        user.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps what the link of a mail is known by; false when this registration does not wait any more.
pub(crate) async fn keep_token(db: impl PgExecutor<'_>, registration: i64, token_hash: &[u8]) -> sqlx::Result<bool> {
    let kept = sqlx::query!(
        "update registrations
            set token_hash = $2
          where id = $1
            and expires_at > rule_now()",
        registration,
        token_hash
    )
    .execute(db)
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// Takes out what waits for this token, while it is good.
pub(super) async fn redeem(tx: &mut PgConnection, token_hash: &[u8]) -> sqlx::Result<Option<Registration>> {
    sqlx::query_as!(
        Registration,
        "delete from registrations
          where token_hash = $1
            and expires_at > rule_now()
      returning email, username, first_name, last_name, password_hash",
        token_hash
    )
    .fetch_optional(tx)
    .await
}
