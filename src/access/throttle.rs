//! Limits on guessing, kept in PostgreSQL and so shared by all server processes: token buckets.
//!
//! An attempt takes its tokens before the password is looked at, so that attempts at once cannot slip past, and gives
//! them back when it succeeds: failures count, successes do not. Unknown accounts have buckets like known ones.
//!
//! - An account has ten tokens for addresses that it has logged in from before and ten for all others, and gets one a
//!   minute; together at most 30 attempts are looked at in ten minutes. A stranger's guessing does not shut its owner out.
//! - An address has 300 in ten minutes: a lecture hall shares one.

use std::net::IpAddr;

use aws_lc_rs::digest;
use sqlx::{PgConnection, PgPool};

use crate::db;
use crate::http::{Answer, Problem};

/// A bucket: its key, how many tokens it holds, and how many it gets in a second.
#[derive(Debug, Clone)]
pub struct Bucket {
    key: String,
    holds: f64,
    a_second: f64,
}

impl Bucket {
    fn new(key: String, holds: f64, seconds_a_token: f64) -> Self {
        Self { key, holds, a_second: 1.0 / seconds_a_token }
    }

    /// The buckets that a log-in attempt takes from.
    #[must_use]
    pub fn of_log_in(account: &str, ip: IpAddr, known_address: bool) -> Vec<Self> {
        let account = digest_of(&account.to_lowercase());
        let side = if known_address { "known" } else { "other" };
        vec![
            Self::new(format!("login:{account}:{side}"), 10.0, 60.0),
            // 20 and one a minute: 30 in any ten minutes. A stranger can take ten and then what comes in, so at least
            // ten stay for addresses that the account knows.
            Self::new(format!("login:{account}"), 20.0, 60.0),
            Self::new(format!("login:{}", digest_of(&network(ip))), 300.0, 2.0),
        ]
    }

    /// Password resets: three for each account and hour.
    #[must_use]
    pub fn of_reset(account: &str) -> Self {
        Self::new(format!("reset:{}", digest_of(&account.to_lowercase())), 3.0, 1200.0)
    }
}

/// A client with IPv6 has a whole /64 to itself, and is counted by it.
fn network(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// What is stored of an address that an account has logged in from.
#[must_use]
pub fn address_hash(ip: IpAddr) -> Vec<u8> {
    digest::digest(&digest::SHA256, network(ip).as_bytes()).as_ref().to_vec()
}

fn digest_of(text: &str) -> String {
    use base64::Engine;
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(hash.as_ref().get(..16).unwrap_or_default())
}

/// Takes a token from each bucket, or from none.
///
/// # Errors
/// 429 with the seconds until the emptiest has one again.
pub async fn take(pool: &PgPool, buckets: &[Bucket]) -> Answer<()> {
    db::write(pool, |tx, _| Box::pin(take_within(tx, buckets))).await
}

/// Takes a token from each bucket within a transaction, which the refusal rolls back.
///
/// # Errors
/// 429 with the seconds until the emptiest has one again.
pub async fn take_within(tx: &mut PgConnection, buckets: &[Bucket]) -> Answer<()> {
    let (keys, holds, rates) = columns(buckets);
    // Keys are locked in their order, so that two attempts cannot wait for each other.
    let taken = sqlx::query_scalar!(
        r#"insert into throttle_buckets as bucket (key, tokens, updated_at)
           select asked.key, asked.holds - 1, rule_now()
             from unnest($1::text[], $2::float8[], $3::float8[]) as asked (key, holds, a_second)
            order by asked.key
           on conflict (key) do update
              set tokens = (select least(asked.holds, bucket.tokens
                                     + asked.a_second * greatest(0, extract(epoch from rule_now() - bucket.updated_at)))
                              from unnest($1::text[], $2::float8[], $3::float8[]) as asked (key, holds, a_second)
                             where asked.key = bucket.key) - 1,
                  updated_at = greatest(bucket.updated_at, rule_now())
           returning tokens"#,
        &keys,
        &holds,
        &rates
    )
    .fetch_all(tx)
    .await?;
    let longest = buckets.iter().map(|bucket| bucket.a_second).fold(f64::INFINITY, f64::min);
    let emptiest = taken.into_iter().fold(0.0, f64::min);
    if emptiest >= 0.0 {
        return Ok(());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bucket of ours fills within an hour")]
    let seconds = (-emptiest / longest).ceil().clamp(1.0, 3600.0) as u64;
    Err(Problem::throttled(seconds))
}

/// Takes a token if there is one, and says whether there was: where being refused must not show.
///
/// # Errors
/// The database's failure.
pub async fn has_taken(tx: &mut PgConnection, bucket: &Bucket) -> Answer<bool> {
    let taken = sqlx::query_scalar!(
        r#"insert into throttle_buckets as bucket (key, tokens, updated_at)
           values ($1, $2::float8 - 1, rule_now())
           on conflict (key) do update
              set tokens = least($2::float8, bucket.tokens
                             + $3::float8 * greatest(0, extract(epoch from rule_now() - bucket.updated_at))) - 1,
                  updated_at = greatest(bucket.updated_at, rule_now())
           returning tokens >= 0 as "taken!""#,
        bucket.key,
        bucket.holds,
        bucket.a_second
    )
    .fetch_one(&mut *tx)
    .await?;
    if !taken {
        give_back(tx, std::slice::from_ref(bucket)).await?;
    }
    Ok(taken)
}

/// Gives the tokens of a success back.
///
/// # Errors
/// The database's failure.
pub async fn give_back(tx: &mut PgConnection, buckets: &[Bucket]) -> Answer<()> {
    let (keys, holds, _) = columns(buckets);
    sqlx::query!(
        "update throttle_buckets bucket
            set tokens = least(asked.holds, bucket.tokens + 1)
           from (select key, holds
                   from unnest($1::text[], $2::float8[]) as asked (key, holds)
                  order by key) asked
          where bucket.key = asked.key",
        &keys,
        &holds
    )
    .execute(tx)
    .await?;
    Ok(())
}

fn columns(buckets: &[Bucket]) -> (Vec<String>, Vec<f64>, Vec<f64>) {
    let mut buckets = buckets.to_vec();
    buckets.sort_by(|a, b| a.key.cmp(&b.key));
    (
        buckets.iter().map(|bucket| bucket.key.clone()).collect(),
        buckets.iter().map(|bucket| bucket.holds).collect(),
        buckets.iter().map(|bucket| bucket.a_second).collect(),
    )
}
