//! Every SQL statement of logging in and out.

use sqlx::{PgConnection, PgExecutor};

use crate::access::tokens::REFRESH_HOURS;
use crate::http::Origin;
use crate::ids::{Id, Moment};

/// What logging in needs to know of an account.
pub(super) struct Account {
    pub(super) id: Id,
    pub(super) password_hash: String,
    pub(super) is_active: bool,
    pub(super) password_changed_at: Moment,
    pub(super) security_version: i64,
    /// Whether the account has logged in from this address before.
    pub(super) known_address: bool,
}

/// The account of a folded mail address or user name; an address goes before a name.
pub(super) async fn account(db: impl PgExecutor<'_>, name: &str, address: &[u8]) -> sqlx::Result<Option<Account>> {
    sqlx::query_as!(
        Account,
        r#"select u.id as "id: Id",
                  u.password_hash,
                  u.is_active,
                  u.password_changed_at as "password_changed_at: Moment",
                  u.security_version,
                  exists (select from login_addresses a
                           where a.user_id = u.id
                             and a.address_hash = $2) as "known_address!"
             from users u
            where lower(u.email) = $1
               or lower(u.username) = $1
            order by lower(u.email) = $1 desc, u.id
            limit 1"#,
        name,
        address
    )
    .fetch_optional(db)
    .await
}

/// The id of the next session: its tokens name it before it is stored.
pub(super) async fn next_session(tx: &mut PgConnection) -> sqlx::Result<Id> {
    sqlx::query_scalar!(r#"select nextval(pg_get_serial_sequence('sessions', 'id')) as "id!: Id""#).fetch_one(tx).await
}

/// Stores a session.
pub(super) async fn open(
    tx: &mut PgConnection,
    session: Id,
    user: Id,
    refresh_hash: &[u8],
    origin: &Origin,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into sessions (id, user_id, refresh_hash, expires_at, ip_address, user_agent)
         values ($1, $2, $3, rule_now() + make_interval(hours => $4), $5::text::inet, $6)",
        session.0,
        user.0,
        refresh_hash,
        i32::try_from(REFRESH_HOURS).unwrap_or(24),
        origin.ip.to_string(),
        origin.agent
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Notes the time of a log-in, and a hash that was made anew. Locks the account; false when it is not as it was read any
/// more: deactivated, or with another password.
pub(super) async fn enter(tx: &mut PgConnection, account: &Account, new_hash: Option<&str>) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update users
            set last_login = rule_now(), password_hash = coalesce($3, password_hash)
          where id = $1
            and is_active
            and password_changed_at = $2",
        account.id.0,
        account.password_changed_at.0,
        new_hash
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Remembers the address of a log-in.
pub(super) async fn remember(tx: &mut PgConnection, user: Id, address: &[u8]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into login_addresses (user_id, address_hash)
         values ($1, $2)
         on conflict (user_id, address_hash) do update
            set last_used_at = rule_now()",
        user.0,
        address
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Marks a live session with this refresh token as used.
pub(super) async fn refresh(db: impl PgExecutor<'_>, session: Id, user: Id, hash: &[u8]) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update sessions s
            set last_used_at = rule_now()
           from users u
          where s.id = $1
            and s.user_id = $2
            and s.refresh_hash = $3
            and s.revoked_at is null
            and s.expires_at > rule_now()
            and u.id = s.user_id
            and u.security_version = s.security_version
            and u.is_active",
        session.0,
        user.0,
        hash
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How long a session lasts at most, however often its refresh token is exchanged; then the password is asked for again.
const LONGEST_SESSION_DAYS: i32 = 30;

/// Whether [`refresh`] would find the session, asked where nothing can be written.
pub(super) async fn may_refresh(db: impl PgExecutor<'_>, session: Id, user: Id, hash: &[u8]) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from sessions s
                            join users u on u.id = s.user_id
                           where s.id = $1
                             and s.user_id = $2
                             and s.refresh_hash = $3
                             and s.revoked_at is null
                             and s.expires_at > rule_now()
                             and u.security_version = s.security_version
                             and u.is_active) as "may!""#,
        session.0,
        user.0,
        hash
    )
    .fetch_one(db)
    .await
}

/// An account as a token without a session has it.
pub(super) struct Unstored {
    /// Whether the account is active, and still as it was when the token was made.
    pub(super) stands: bool,
    /// Whether the session of the database can only read.
    pub(super) read_only: bool,
}

pub(super) async fn unstored(db: impl PgExecutor<'_>, user: Id, version: i64) -> sqlx::Result<Unstored> {
    sqlx::query_as!(
        Unstored,
        r#"select exists (select from users
                           where id = $1
                             and is_active
                             and security_version = $2) as "stands!",
                  current_setting('transaction_read_only') = 'on' as "read_only!""#,
        user.0,
        version
    )
    .fetch_one(db)
    .await
}

/// Exchanges the refresh token of a live session.
pub(super) async fn rotate(
    db: impl PgExecutor<'_>,
    session: Id,
    user: Id,
    old: &[u8],
    new: &[u8],
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update sessions s
            set last_used_at = rule_now(),
                refresh_hash = $4,
                expires_at = least(rule_now() + make_interval(hours => $5), s.created_at + make_interval(days => $6))
           from users u
          where s.id = $1
            and s.user_id = $2
            and s.refresh_hash = $3
            and s.revoked_at is null
            and s.expires_at > rule_now()
            and u.id = s.user_id
            and u.security_version = s.security_version
            and u.is_active",
        session.0,
        user.0,
        old,
        new,
        i32::try_from(REFRESH_HOURS).unwrap_or(24),
        LONGEST_SESSION_DAYS
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether the session is live and its user active.
pub(super) async fn is_live(db: impl PgExecutor<'_>, session: Id, user: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from sessions s
                            join users u on u.id = s.user_id
                           where s.id = $1
                             and s.user_id = $2
                             and s.revoked_at is null
                             and s.expires_at > rule_now()
                             and s.security_version = u.security_version
                             and u.is_active) as "live!""#,
        session.0,
        user.0
    )
    .fetch_one(db)
    .await
}

/// Whether there is such a session of this user, live or not.
pub(super) async fn has_session(db: impl PgExecutor<'_>, session: Id, user: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from sessions
                           where id = $1
                             and user_id = $2) as "there!""#,
        session.0,
        user.0
    )
    .fetch_one(db)
    .await
}

/// Revokes a session; false when it was not live.
pub(super) async fn revoke(db: impl PgExecutor<'_>, session: Id, reason: &str) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update sessions
            set revoked_at = rule_now(), revoked_reason = $2
          where id = $1
            and revoked_at is null",
        session.0,
        reason
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
