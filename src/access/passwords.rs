//! Passwords: the policy, argon2id on a bounded pool, and hashes that came from Django.
//!
//! Hashing is the one thing the server does that costs a core for tens of milliseconds. It has a pool of its own, half
//! the cores with a queue of 32: reads stay fast while a lecture hall logs in, and when the queue is full or the wait
//! longer than two seconds the answer is 503 with `Retry-After`, at once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use aws_lc_rs::{constant_time, pbkdf2};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zxcvbn::{Score, zxcvbn};

use crate::http::{Answer, Faults, Problem};

const QUEUE: usize = 32;
const WAIT: Duration = Duration::from_secs(2);

/// More rounds than any Django release asks for; a hash that asks for more is not worked on.
const MOST_ROUNDS: u32 = 2_000_000;

/// The longest password that is looked at, in bytes.
const LONGEST: usize = 256;

/// The bounded pool of hash computations.
#[derive(Clone)]
pub struct Hasher {
    places: Arc<Semaphore>,
    cores: Arc<Semaphore>,
    /// How many cores there are when none is held.
    workers: usize,
    nobody: Arc<str>,
}

/// How busy the pool is.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Cores that are held.
    pub working: usize,
    /// Places beyond these.
    pub waiting: usize,
}

/// A place in the queue; whoever has one will be worked on or refused within two seconds.
pub struct Place(#[allow(dead_code, reason = "held for its drop")] tokio::sync::OwnedSemaphorePermit);

/// One of the cores that passwords are hashed on.
pub struct Core(#[allow(dead_code, reason = "held for its drop")] tokio::sync::OwnedSemaphorePermit);

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
            nobody: nobody()?,
        })
    }

    /// How busy the pool is.
    #[must_use]
    pub fn load(&self) -> Load {
        let working = self.workers.saturating_sub(self.cores.available_permits());
        let places = (QUEUE + self.workers).saturating_sub(self.places.available_permits());
        Load { working, waiting: places.saturating_sub(working) }
    }

    /// A place in the queue.
    ///
    /// # Errors
    /// 503 when it is full.
    pub fn place(&self) -> Answer<Place> {
        self.places.clone().try_acquire_owned().map(Place).map_err(|_| busy())
    }

    /// Hashes a new password with argon2id (19 MiB, two passes, one lane).
    ///
    /// # Errors
    /// 503 when the pool is full.
    pub async fn hash(&self, password: String) -> Answer<String> {
        let place = self.place()?;
        self.run(place, move || compute(&password)).await?
    }

    /// Whether `password` is the one that was hashed. Without a hash, for an unknown account, it takes as long and says no.
    ///
    /// # Errors
    /// 503 when the wait is too long.
    pub async fn verify(&self, place: Place, password: String, hash: Option<String>) -> Answer<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.to_string());
        let fits = self.run(place, move || verify(&password, &hash)).await?;
        Ok(known && fits)
    }

    /// A core to work on; none is worked on while all are held.
    ///
    /// # Errors
    /// 503 when none comes free in two seconds.
    pub async fn core(&self) -> Answer<Core> {
        let core = timeout(WAIT, self.cores.clone().acquire_owned()).await.map_err(|_| busy())?;
        core.map(Core).map_err(|_| busy())
    }

    async fn run<T: Send + 'static>(&self, place: Place, work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let core = self.core().await?;
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

/// Whether a hash should be made anew at the next log-in.
#[must_use]
pub fn is_dated(hash: &str) -> bool {
    !hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
}

fn compute(password: &str) -> Answer<String> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| Problem::internal(anyhow::anyhow!("argon2: {error}")))?;
    Ok(hash.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    if password.len() > LONGEST {
        return false;
    }
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

/// Checks a new password against the policy and adds every reason against it to `field`.
///
/// `about` is what the password may not resemble: the owner's names, user name and mail address.
pub fn check(faults: &mut Faults, field: &str, password: &str, about: &[(&str, &str)]) {
    if password.chars().count() < 8 {
        faults.add(field, "This password is too short. It must contain at least 8 characters.");
    }
    if password.len() > LONGEST {
        faults.add(field, format!("This password is too long. It may have at most {LONGEST} bytes."));
    }
    if !password.is_empty() && password.chars().all(char::is_numeric) {
        faults.add(field, "This password is entirely numeric.");
    }
    let start: String = password.chars().take(72).collect();
    if matches!(zxcvbn(&start, &[]).score(), Score::Zero | Score::One) {
        faults.add(field, "This password is too common or too easy to guess.");
    }
    let lower = password.to_lowercase();
    for (what, value) in about {
        let similar = value.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| {
            let long = word.chars().count() >= 4;
            (long && lower.contains(word)) || (lower.chars().count() >= 4 && word.contains(&lower))
        });
        if similar {
            faults.add(field, format!("This password is too similar to the {what}."));
        }
    }
}
