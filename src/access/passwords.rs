//! Passwords: the policy, argon2id on a bounded pool, and hashes that came from Django.
//!
//! Hashing is the one thing the server does that costs a core for tens of milliseconds. It has a pool of its own, half
//! the cores with a queue of 32: reads stay fast while a lecture hall logs in, and when the queue is full or the wait
//! longer than two seconds the answer is 503 with `Retry-After`.
//!
//! Whoever floods waits for themselves: an address has at most two places of the queue and an account one. All others
//! from there stand in a line of their own, which is short, and take nothing from anybody else. Nothing is hashed without
//! saying who asks, since a place is had from a line alone; and what needs no hash is refused before.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use aws_lc_rs::{constant_time, pbkdf2};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use unicode_normalization::UnicodeNormalization as _;
use zxcvbn::{Score, zxcvbn};

use super::throttle::network;
use crate::http::{Answer, Faults, Problem};

const QUEUE: usize = 32;
const WAIT: Duration = Duration::from_secs(2);

/// Places of the queue that an address has at once.
const OF_AN_ADDRESS: usize = 2;

/// Those that have or wait for a place of one address, or of one account.
const LONGEST_LINE: usize = 66;

/// More rounds than any Django release asks for; a hash that asks for more is not worked on.
const MOST_ROUNDS: u32 = 2_000_000;

/// The longest password that is looked at, in bytes.
const LONGEST: usize = 256;

const GUESSABLE: &str = "This password is too common or too easy to guess.";

/// The bounded pool of hash computations.
#[derive(Clone)]
pub struct Hasher {
    places: Arc<Semaphore>,
    cores: Arc<Semaphore>,
    /// How many cores there are when none is held.
    workers: usize,
    addresses: Arc<Lanes>,
    accounts: Arc<Lanes>,
    nobody: Arc<str>,
}

/// How busy the pool is.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Cores that are held.
    pub working: usize,
    /// Places beyond these.
    pub waiting: usize,
    /// Places that are taken.
    pub places: usize,
}

/// Lanes that lead to the queue, each with the name of those who stand in it. A lane is there while somebody does.
struct Lanes {
    /// Places of the queue that a lane has at once.
    width: usize,
    of: Mutex<HashMap<String, Arc<Lane>>>,
}

struct Lane(Arc<Semaphore>);

/// Somebody in a lane, waiting or at work.
struct Stand {
    lanes: Arc<Lanes>,
    name: String,
    lane: Option<Arc<Lane>>,
}

impl Lanes {
    fn new(width: usize) -> Arc<Self> {
        Arc::new(Self { width, of: Mutex::default() })
    }

    /// Joins a lane, unless its line is too long.
    fn join(self: &Arc<Self>, name: String) -> Answer<Stand> {
        let mut lanes = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(name.clone()).or_insert_with(|| Arc::new(Lane(Arc::new(Semaphore::new(self.width)))));
        // One is the map's.
        if Arc::strong_count(lane) > LONGEST_LINE {
            return Err(busy());
        }
        Ok(Stand { lanes: self.clone(), name, lane: Some(lane.clone()) })
    }
}

impl Stand {
    /// At the head of the line, one after the other.
    async fn turn(&self, until: Instant) -> Answer<OwnedSemaphorePermit> {
        let Some(lane) = &self.lane else { return Err(busy()) };
        let turn = timeout_at(until, lane.0.clone().acquire_owned()).await.map_err(|_| busy())?;
        turn.map_err(|_| busy())
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let mut lanes = self.lanes.of.lock().unwrap_or_else(PoisonError::into_inner);
        self.lane = None;
        if lanes.get(&self.name).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            lanes.remove(&self.name);
        }
    }
}

/// Somebody in the line of an address, who takes no place from others yet.
pub struct Line {
    hasher: Hasher,
    address: Stand,
    until: Instant,
}

/// A place in the queue; whoever has one will be worked on or refused within two seconds of having joined the line.
pub struct Place {
    #[allow(dead_code, reason = "held for its drop; turns are given back before the lanes are left")]
    held: [OwnedSemaphorePermit; 2],
    #[allow(dead_code, reason = "held for its drop")]
    of_account: Option<(OwnedSemaphorePermit, Stand)>,
    #[allow(dead_code, reason = "held for its drop")]
    of_address: Stand,
    until: Instant,
}

/// One of the cores that passwords are hashed on.
pub struct Core(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Line {
    /// A place in the queue, for work on this account's password if there is an account.
    ///
    /// # Errors
    /// 503 when it does not come within two seconds, or the queue is full.
    pub async fn place(self, account: Option<&str>) -> Answer<Place> {
        // The address first: whoever waits for their own address holds up no account.
        let turn = self.address.turn(self.until).await?;
        let of_account = match account {
            Some(account) => {
                let stand = self.hasher.accounts.join(account.to_owned())?;
                Some((stand.turn(self.until).await?, stand))
            }
            None => None,
        };
        let place = self.hasher.places.clone().try_acquire_owned().map_err(|_| busy())?;
        Ok(Place { held: [place, turn], of_account, of_address: self.address, until: self.until })
    }
}

impl Hasher {
    /// With half of the machine's cores.
    ///
    /// # Errors
    /// When the hash that stands for unknown accounts cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, |all| (all.get() / 2).max(1));
        Ok(Self {
            places: Arc::new(Semaphore::new(QUEUE + cores)),
            cores: Arc::new(Semaphore::new(cores)),
            workers: cores,
            addresses: Lanes::new(OF_AN_ADDRESS),
            accounts: Lanes::new(1),
            nobody: nobody()?,
        })
    }

    /// How busy the pool is.
    #[must_use]
    pub fn load(&self) -> Load {
        let working = self.workers.saturating_sub(self.cores.available_permits());
        let places = (QUEUE + self.workers).saturating_sub(self.places.available_permits());
        Load { working, waiting: places.saturating_sub(working), places }
    }

    /// Joins the line of whoever asks from this address.
    ///
    /// # Errors
    /// 503 when that line is too long, or the queue is full: at once, and before anything else was done for them.
    pub fn line(&self, from: IpAddr) -> Answer<Line> {
        if self.places.available_permits() == 0 {
            return Err(busy());
        }
        let address = self.addresses.join(network(from))?;
        Ok(Line { hasher: self.clone(), address, until: Instant::now() + WAIT })
    }

    /// Hashes a new password with argon2id (19 MiB, two passes, one lane), unless it is easy to guess. Finding that out
    /// can take longer than the hash, so it is done here, and after the rules of [`check_rules`].
    ///
    /// # Errors
    /// 400 on `field` when it is easy to guess, 503 when the wait is too long.
    pub async fn hash_new(&self, place: Place, field: &'static str, password: String) -> Answer<String> {
        self.run(place, move || {
            if is_guessable(&password) { Err(Problem::invalid(field, GUESSABLE)) } else { compute(&password) }
        })
        .await?
    }

    /// Hashes a password that is somebody's already.
    ///
    /// # Errors
    /// 503 when the wait is too long.
    pub async fn hash_again(&self, place: Place, password: String) -> Answer<String> {
        self.run(place, move || compute(&password)).await?
    }

    /// Whether `password` is the one that was hashed. Without a hash, for an unknown account, it takes as long and says no.
    ///
    /// # Errors
    /// 503 when the wait is too long.
    pub async fn verify(&self, place: Place, password: String, hash: Option<String>) -> Answer<Fit> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.to_string());
        let fits = self.run(place, move || verify(&password, &hash)).await?;
        Ok(if known { fits } else { Fit::No })
    }

    /// A core to work on; none is worked on while all are held.
    ///
    /// # Errors
    /// 503 when none comes free in two seconds.
    pub async fn core(&self) -> Answer<Core> {
        self.core_until(Instant::now() + WAIT).await
    }

    async fn core_until(&self, until: Instant) -> Answer<Core> {
        let core = timeout_at(until, self.cores.clone().acquire_owned()).await.map_err(|_| busy())?;
        core.map(Core).map_err(|_| busy())
    }

    async fn run<T: Send + 'static>(&self, place: Place, work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let core = self.core_until(place.until).await?;
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop((core, place));
            done
        })
        .await
        .map_err(Problem::internal)
    }
}

/// The hash that stands for unknown accounts. Making it costs as much as any other, so a process makes one.
fn nobody() -> anyhow::Result<Arc<str>> {
    static NOBODY: OnceLock<Arc<str>> = OnceLock::new();
    if let Some(made) = NOBODY.get() {
        return Ok(made.clone());
    }
    let made = compute("nobody has this password").map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(NOBODY.get_or_init(|| made.into()).clone())
}

fn busy() -> Problem {
    Problem::unavailable("Too many people are logging in at this moment. Try again in a second.")
}

/// What came of comparing a password with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is another.
    No,
    /// It is the one.
    Yes,
    /// It is the one, by a hash from before passwords were brought to one form: another keyboard would not open with it.
    OnlyAsTyped,
}

impl Fit {
    /// Whether it is the one.
    #[must_use]
    pub fn is_right(self) -> bool {
        self != Self::No
    }
}

/// Whether a hash should be made anew at the next log-in.
#[must_use]
pub fn is_dated(hash: &str) -> bool {
    !hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
}

/// A password as it is hashed: in one Unicode form (NFKC), whichever the keyboard sends.
pub(crate) fn in_one_form(password: &str) -> String {
    password.nfkc().collect()
}

fn compute(password: &str) -> Answer<String> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(in_one_form(password).as_bytes())
        .map_err(|error| Problem::internal(anyhow::anyhow!("argon2: {error}")))?;
    Ok(hash.to_string())
}

/// Whether a password fits in one Unicode form, or as it was typed: hashes from Django and older ones of ours are of that.
/// How often is hashed depends on the password alone, so that it tells nothing of the account.
fn verify(password: &str, hash: &str) -> Fit {
    if password.len() > LONGEST {
        return Fit::No;
    }
    let form = in_one_form(password);
    let fits = verify_form(&form, hash);
    let as_typed = form != password && verify_form(password, hash);
    match (fits, as_typed) {
        (true, _) => Fit::Yes,
        (false, true) => Fit::OnlyAsTyped,
        (false, false) => Fit::No,
    }
}

fn verify_form(password: &str, hash: &str) -> bool {
    if let Some(django) = hash.strip_prefix("pbkdf2_sha256$") {
        return verify_django(password, django).unwrap_or(false);
    }
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

fn verify_django(password: &str, hash: &str) -> Option<bool> {
    let mut parts = hash.splitn(3, '$');
    let rounds: u32 = parts.next()?.parse().ok().filter(|rounds| *rounds <= MOST_ROUNDS)?;
    let (salt, kept) = (parts.next()?, BASE64_STANDARD.decode(parts.next()?).ok()?);
    let mut made = [0_u8; 32];
    let rounds = std::num::NonZeroU32::new(rounds)?;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt.as_bytes(), password.as_bytes(), &mut made);
    Some(constant_time::verify_slices_are_equal(&made, &kept).is_ok())
}

/// Whether a password is common or easy to guess: only its first 72 letters are looked at, since the time this takes grows
/// with their number. It can be a quarter of a second.
fn is_guessable(password: &str) -> bool {
    let start: String = password.chars().take(72).collect();
    matches!(zxcvbn(&start, &[]).score(), Score::Zero | Score::One)
}

/// Checks a new password against the whole policy and adds every reason against it to `field`: for the command line, where
/// nobody else waits.
pub(crate) fn check(faults: &mut Faults, field: &str, password: &str, about: &[(&str, &str)]) {
    check_rules(faults, field, password, about);
    if is_guessable(password) {
        faults.add(field, GUESSABLE);
    }
}

/// Checks a new password against all of the policy but whether it is easy to guess, which [`Hasher::hash_new`] does, and
/// adds every reason against it to `field`.
///
/// `about` is what the password may not resemble: the owner's names, user name and mail address.
pub fn check_rules(faults: &mut Faults, field: &str, password: &str, about: &[(&str, &str)]) {
    let typed = password;
    let password = &in_one_form(password);
    if password.chars().count() < 8 {
        faults.add(field, "This password is too short. It must contain at least 8 characters.");
    }
    if typed.len() > LONGEST {
        faults.add(field, format!("This password is too long. It may have at most {LONGEST} bytes."));
    }
    if !password.is_empty() && password.chars().all(char::is_numeric) {
        faults.add(field, "This password is entirely numeric.");
    }
    let lower = password.to_lowercase();
    for (what, value) in about {
        let similar = in_one_form(value).to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| {
            let long = word.chars().count() >= 4;
            (long && lower.contains(word)) || (lower.chars().count() >= 4 && word.contains(&lower))
        });
        if similar {
            faults.add(field, format!("This password is too similar to the {what}."));
        }
    }
}
