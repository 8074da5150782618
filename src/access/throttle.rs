//! Limits on guessing, kept in PostgreSQL and so shared by all server processes: token buckets.
//!
//! An attempt takes its tokens before the password is looked at, so that attempts at once cannot slip past, and gets
//! them back unless it was wrong: failures count, successes do not, and neither does what a full queue refuses. Unknown
//! accounts have buckets like known ones. While the database cannot be written, [`guesses`](super::guesses) counts.
//!
//! - An account has ten tokens for addresses that it has logged in from before and ten for all others, and gets one a
//!   minute; together at most 30 attempts are looked at in ten minutes. A stranger's guessing, however long it goes on,
//!   takes nothing of what its owner has: one row holds the tokens for known addresses, another those of the account, and
//!   strangers take only what the account has beyond the first.
//! - An address has 300 and gets them back in ten minutes: a lecture hall shares one.

use std::net::IpAddr;
use std::time::Instant;

use aws_lc_rs::digest;
use axum::http::StatusCode;
use sqlx::PgConnection;

use super::passwords::{Fit, Line};
use crate::app::AppState;
use crate::config::Config;
use crate::db::{self, Pool};
use crate::http::{Answer, Problem};
use crate::ids::Id;

/// What an account has for addresses that it knows; beside it, as many for all others.
const OF_KNOWN: f64 = 10.0;

/// What rounding may add up to, in tokens.
const ROUNDING: f64 = 1e-6;

/// A bucket: its key, how many tokens it holds, and how many it gets in a second.
#[derive(Debug, Clone)]
pub struct Bucket {
    pub(super) key: String,
    pub(super) holds: f64,
    pub(super) a_second: f64,
}

impl Bucket {
    fn new(key: String, holds: f64, seconds_a_token: f64) -> Self {
        Self { key, holds, a_second: 1.0 / seconds_a_token }
    }

    /// Password resets: three for each account and hour.
    #[must_use]
    pub fn of_reset(account: &str) -> Self {
        Self::new(format!("reset:{}", digest_of(account)), 3.0, 1200.0)
    }

    /// Asking for password resets from an address, whosever: `RESETS_AT_ONCE`, and `RESETS_AN_HOUR` more.
    #[must_use]
    pub fn of_resets_from(ip: IpAddr, config: &Config) -> Self {
        let key = format!("resets:{}", digest_of(&network(ip)));
        Self::new(key, f64::from(config.resets_at_once), an_hour(config.resets_an_hour))
    }

    /// Registering from an address: `REGISTRATIONS_AT_ONCE`, and `REGISTRATIONS_AN_HOUR` more.
    #[must_use]
    pub fn of_registrations_from(ip: IpAddr, config: &Config) -> Self {
        let key = format!("registrations:{}", digest_of(&network(ip)));
        Self::new(key, f64::from(config.registrations_at_once), an_hour(config.registrations_an_hour))
    }

    /// What a person writes, whatever it is: `PERSON_WRITES_AT_ONCE`, and `PERSON_WRITES_A_MINUTE` more, or so many
    /// times as much.
    #[must_use]
    pub fn of_writes(person: Id, times: u32, config: &Config) -> Self {
        let times = f64::from(times);
        let seconds = 60.0 / (f64::from(config.person_writes_a_minute) * times);
        Self::new(format!("writes:{person}"), f64::from(config.person_writes_at_once) * times, seconds)
    }

    /// Logging in with the right password, which leaves a session and a line of the audit log: 600, and as many in an hour.
    #[must_use]
    pub fn of_log_ins(person: Id) -> Self {
        Self::new(format!("sessions:{person}"), 600.0, 6.0)
    }

    /// Enrolling and withdrawing by oneself, each of which leaves rows that are kept: 200, and 120 more in an hour.
    #[must_use]
    pub fn of_enrolments(person: Id) -> Self {
        Self::new(format!("enrolments:{person}"), 200.0, 30.0)
    }

    /// Notices to a whole class, each of which makes as many rows as sit in it: ten for each person, and one more a minute.
    #[must_use]
    pub fn of_class_notices(person: Id) -> Self {
        Self::new(format!("class_notices:{person}"), 10.0, 60.0)
    }

    /// Questions to the advisor: ten for each person, and one more every six seconds.
    #[must_use]
    pub fn of_advisor(person: Id) -> Self {
        Self::new(format!("advisor:{person}"), 10.0, 6.0)
    }
}

/// The seconds for each of so many in an hour.
fn an_hour(tokens: u32) -> f64 {
    3600.0 / f64::from(tokens)
}

/// The hours after which a bucket that nobody took from is full again, whichever it is.
#[must_use]
pub fn full_after_hours(config: &Config) -> u32 {
    let resets = config.resets_at_once.div_ceil(config.resets_an_hour);
    let registrations = config.registrations_at_once.div_ceil(config.registrations_an_hour);
    let writes = config.person_writes_at_once.div_ceil(config.person_writes_a_minute * 60);
    // Enrolments are the slowest of those that cannot be set.
    resets.max(registrations).max(writes).max(2)
}

/// A guess at an account's password from an address.
#[derive(Debug, Clone)]
pub struct Attempt {
    subject: String,
    from_known: bool,
    /// What is left for addresses that the account knows. Never more than `account` has, so that what that has beyond it
    /// is for all others, and never more than [`OF_KNOWN`].
    known: Bucket,
    account: Bucket,
    address: Bucket,
}

impl Attempt {
    /// At this account, as `#` and its id or else a folded name; it has logged in from this address before or has not.
    #[must_use]
    pub fn new(subject: &str, ip: IpAddr, from_known: bool) -> Self {
        let account = digest_of(subject);
        Self {
            subject: subject.to_owned(),
            from_known,
            known: Bucket::new(format!("login:{account}:known"), OF_KNOWN, 60.0),
            account: Bucket::new(format!("login:{account}"), OF_KNOWN + 10.0, 60.0),
            address: Bucket::new(format!("login:{}", digest_of(&network(ip))), 300.0, 2.0),
        }
    }

    /// The buckets in the order of their keys, each with what the attempt takes from it. The first of an account is
    /// looked at in any case.
    pub(super) fn buckets(&self) -> [(&Bucket, f64); 3] {
        let mut buckets =
            [(&self.known, if self.from_known { 1.0 } else { 0.0 }), (&self.account, 1.0), (&self.address, 1.0)];
        buckets.sort_by(|(a, _), (b, _)| a.key.cmp(&b.key));
        buckets
    }

    /// The seconds until there is enough of everything, by what each bucket would hold after the attempt.
    pub(super) fn wait(&self, after: &[(String, f64)]) -> Option<f64> {
        let left =
            |bucket: &Bucket| after.iter().find(|(key, _)| *key == bucket.key).map_or(0.0, |(_, tokens)| *tokens);
        let (known, account, address) = (left(&self.known), left(&self.account), left(&self.address));
        let own = if self.from_known { known } else { account - known };
        let mut seconds: f64 = 0.0;
        if own < -ROUNDING {
            // Others get nothing before those from known addresses have all of theirs.
            let first = if self.from_known { 0.0 } else { OF_KNOWN - known };
            seconds = (first - own) / self.account.a_second;
        }
        if address < -ROUNDING {
            seconds = seconds.max(-address / self.address.a_second);
        }
        (seconds > 0.0).then_some(seconds)
    }
}

/// A client with IPv6 has a whole /64 to itself, and is counted by it.
pub(super) fn network(ip: IpAddr) -> String {
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

/// Whether `password` is the one that was hashed, as an attempt. Without a hash it takes as long and says no.
///
/// # Errors
/// 429 with the seconds until another attempt may be made, before a place is waited for; 503 when the wait is too long,
/// which costs nothing.
pub async fn guess(
    app: &AppState,
    attempt: &Attempt,
    line: Line,
    password: String,
    hash: Option<String>,
) -> Answer<Fit> {
    refuse_spent(&app.db, attempt).await?;
    // Nothing is written for those who wait in vain.
    let place = line.place(Some(&attempt.subject)).await?;
    let is_kept = match take(&app.db, attempt).await {
        Err(problem) if problem.cannot_write() => {
            app.guesses.take(attempt, Instant::now())?;
            false
        }
        taken => taken.map(|()| true)?,
    };
    let fits = app.hasher.verify(place, password, hash).await;
    if !matches!(fits, Ok(Fit::No)) {
        if is_kept {
            let given = db::write(&app.db, |tx, _| Box::pin(give_back(tx, attempt))).await;
            // Whoever knows the password does not lose by it; the tokens come back with time.
            given.or_else(|problem| if problem.cannot_write() { Ok(()) } else { Err(problem) })?;
        } else {
            app.guesses.give_back(attempt);
        }
    }
    fits
}

/// Refuses an attempt whose buckets are empty, by a look at them: those who come at once are told apart by [`take`].
async fn refuse_spent(pool: &Pool, attempt: &Attempt) -> Answer<()> {
    let buckets = attempt.buckets();
    let (keys, ..) = columns(&buckets);
    let found = sqlx::query!(
        r#"select key, tokens, greatest(0, extract(epoch from rule_now() - updated_at))::float8 as "seconds!"
             from throttle_buckets
            where key = any($1)"#,
        &keys
    )
    .fetch_all(&mut *pool.acquire().await?)
    .await?;
    let after = buckets.map(|(bucket, takes)| {
        let has = found.iter().find(|found| found.key == bucket.key);
        let has = has.map_or(bucket.holds, |found| found.tokens + bucket.a_second * found.seconds);
        (bucket.key.clone(), bucket.holds.min(has) - takes)
    });
    attempt.wait(&after).map_or(Ok(()), |wait| Err(Problem::throttled(seconds(wait))))
}

/// Takes the tokens of an attempt, or none.
async fn take(pool: &Pool, attempt: &Attempt) -> Answer<()> {
    db::write(pool, |tx, _| {
        Box::pin(async move {
            // The refusal rolls back what was taken.
            match attempt.wait(&take_from(tx, &attempt.buckets()).await?) {
                None => Ok(()),
                Some(wait) => Err(Problem::throttled(seconds(wait))),
            }
        })
    })
    .await
}

/// Takes from each bucket, whether it has as much or not, and says what it has then.
async fn take_from(tx: &mut PgConnection, buckets: &[(&Bucket, f64)]) -> sqlx::Result<Vec<(String, f64)>> {
    let rates: Vec<f64> = buckets.iter().map(|(bucket, _)| bucket.a_second).collect();
    let (keys, holds, takes) = columns(buckets);
    // Keys are locked in their order, so that two attempts cannot wait for each other. Whoever waited for the lock has
    // begun before the other, and must not set the time back.
    let left = sqlx::query!(
        r#"insert into throttle_buckets as bucket (key, tokens, updated_at)
           select asked.key, asked.holds - asked.takes, rule_now()
             from unnest($1::text[], $2::float8[], $4::float8[]) as asked (key, holds, takes)
            order by asked.key
           on conflict (key) do update
              set tokens = (select least(asked.holds, bucket.tokens
                                     + asked.a_second * greatest(0, extract(epoch from rule_now() - bucket.updated_at)))
                                   - asked.takes
                              from unnest($1::text[], $2::float8[], $3::float8[], $4::float8[])
                                   as asked (key, holds, a_second, takes)
                             where asked.key = bucket.key),
                  updated_at = greatest(bucket.updated_at, rule_now())
           returning key, tokens"#,
        &keys,
        &holds,
        &rates,
        &takes
    )
    .fetch_all(tx)
    .await?;
    Ok(left.into_iter().map(|bucket| (bucket.key, bucket.tokens)).collect())
}

/// Gives back what an attempt has taken.
async fn give_back(tx: &mut PgConnection, attempt: &Attempt) -> Answer<()> {
    give_back_to(tx, &attempt.buckets()).await?;
    Ok(())
}

async fn give_back_to(tx: &mut PgConnection, buckets: &[(&Bucket, f64)]) -> sqlx::Result<()> {
    let (keys, holds, takes) = columns(buckets);
    // An update that joins would lock the rows in any order.
    sqlx::query!(
        "with held as materialized (
            select key
              from throttle_buckets
             where key = any($1)
             order by key
               for no key update
         )
         update throttle_buckets bucket
            set tokens = least(asked.holds, bucket.tokens + asked.takes)
           from held
           join unnest($1::text[], $2::float8[], $3::float8[]) as asked (key, holds, takes) on asked.key = held.key
          where bucket.key = held.key",
        &keys,
        &holds,
        &takes
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Takes a token.
///
/// # Errors
/// 429 with the seconds until there is one.
pub async fn charge(tx: &mut PgConnection, bucket: Bucket) -> Answer<()> {
    let short = take_from(tx, &[(&bucket, 1.0)]).await?.iter().map(|(_, tokens)| -tokens).fold(0.0, f64::max);
    // The refusal rolls back what was taken.
    if short > ROUNDING { Err(Problem::throttled(seconds(short / bucket.a_second))) } else { Ok(()) }
}

/// Gives back the token of what did not come to pass.
///
/// # Errors
/// The database's failure.
pub async fn refund(tx: &mut PgConnection, bucket: Bucket) -> Answer<()> {
    give_back_to(tx, &[(&bucket, 1.0)]).await?;
    Ok(())
}

/// Takes so much for something that a person writes, in a statement of its own: it costs whether or not what follows is
/// refused.
///
/// # Errors
/// 429 with the seconds until there is enough.
pub(super) async fn charge_write(session: &mut PgConnection, bucket: &Bucket, cost: f64) -> Answer<()> {
    let one = [(bucket, cost)];
    let short = take_from(&mut *session, &one).await?.iter().map(|(_, tokens)| -tokens).fold(0.0, f64::max);
    if short <= ROUNDING {
        return Ok(());
    }
    give_back_to(session, &one).await?;
    let wait = seconds(short / bucket.a_second);
    Err(Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "throttled",
        format!("You have changed a lot within a short time. Try again in {wait} seconds."),
    )
    .retry_after(wait))
}

/// Whole seconds to wait.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "buckets fill within days")]
pub(super) fn seconds(wait: f64) -> u64 {
    wait.ceil().clamp(1.0, 86_400.0) as u64
}

/// Takes a token if there is one, and says whether there was: where being refused must not show.
///
/// # Errors
/// The database's failure.
pub async fn has_taken(tx: &mut PgConnection, bucket: &Bucket) -> Answer<bool> {
    let one = [(bucket, 1.0)];
    let has = take_from(tx, &one).await?.iter().all(|(_, tokens)| *tokens >= -ROUNDING);
    if !has {
        give_back_to(tx, &one).await?;
    }
    Ok(has)
}

fn columns(buckets: &[(&Bucket, f64)]) -> (Vec<String>, Vec<f64>, Vec<f64>) {
    (
        buckets.iter().map(|(bucket, _)| bucket.key.clone()).collect(),
        buckets.iter().map(|(bucket, _)| bucket.holds).collect(),
        buckets.iter().map(|(_, takes)| *takes).collect(),
    )
}
