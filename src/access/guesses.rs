//! Limits on guessing while the database cannot be written: the buckets of [`throttle`](super::throttle) in the memory of this
//! process, beside what the database had counted before. So a process looks at as many guesses as all did together, and
//! forgets them when it ends; a standby is no place to guess at.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::throttle::{Attempt, Bucket, seconds};
use crate::http::{Answer, Problem};

/// The most buckets that are kept. Each guess takes a core for as long as a hash, so those of an hour are fewer.
const MOST: usize = 50_000;

/// What is left in each bucket, and when that was.
#[derive(Debug, Default)]
pub struct Guesses {
    left: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Guesses {
    /// Takes the tokens of an attempt, or none.
    ///
    /// # Errors
    /// 429 with the seconds until there are enough; also when too many are counted already.
    pub fn take(&self, attempt: &Attempt, now: Instant) -> Answer<()> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let buckets = attempt.buckets();
        if left.len() + buckets.len() > MOST {
            // Those that are full again; which they are is known for a bucket that is asked for, and here by the slowest.
            left.retain(|_, (_, at)| now.duration_since(*at).as_secs() < FORGOTTEN_AFTER);
            if left.len() + buckets.len() > MOST {
                return Err(Problem::throttled(60));
            }
        }
        let after = buckets.map(|(bucket, takes)| (bucket.key.clone(), holds(&left, bucket, now) - takes));
        if let Some(wait) = attempt.wait(&after) {
            return Err(Problem::throttled(seconds(wait)));
        }
        left.extend(after.into_iter().map(|(key, tokens)| (key, (tokens, now))));
        Ok(())
    }

    /// Gives back what an attempt has taken.
    pub fn give_back(&self, attempt: &Attempt) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        for (bucket, takes) in attempt.buckets() {
            if let Some((tokens, _)) = left.get_mut(&bucket.key) {
                *tokens = bucket.holds.min(*tokens + takes);
            }
        }
    }
}

/// Seconds after which any bucket of an attempt is full again: twenty tokens, one a minute.
const FORGOTTEN_AFTER: u64 = 20 * 60;

fn holds(left: &HashMap<String, (f64, Instant)>, bucket: &Bucket, now: Instant) -> f64 {
    let since = |at: &Instant| now.duration_since(*at).as_secs_f64();
    left.get(&bucket.key).map_or(bucket.holds, |(tokens, at)| bucket.holds.min(tokens + bucket.a_second * since(at)))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;

    fn attempt(account: &str, host: u8, known: bool) -> Attempt {
        Attempt::new(account, IpAddr::from([192, 0, 2, host]), known)
    }

    #[test]
    fn an_account_has_ten_guesses_for_strangers_and_ten_for_its_own_and_they_come_back() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for _ in 0..10 {
            guesses.take(&attempt("#1", 1, false), now).unwrap();
        }
        assert_eq!(guesses.take(&attempt("#1", 2, false), now).unwrap_err().status(), 429);
        for _ in 0..10 {
            guesses.take(&attempt("#1", 3, true), now).unwrap();
        }
        assert_eq!(guesses.take(&attempt("#1", 3, true), now).unwrap_err().status(), 429);
        guesses.take(&attempt("#2", 1, false), now).unwrap();
        guesses.take(&attempt("#1", 3, true), now + Duration::from_secs(61)).unwrap();
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_a_refusal_takes_nothing() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let mine = attempt("#1", 1, true);
        for _ in 0..50 {
            guesses.take(&mine, now).unwrap();
            guesses.give_back(&mine);
        }
        for number in 0..300 {
            guesses.take(&attempt(&format!("name{number}"), 9, false), now).unwrap();
        }
        for _ in 0..5 {
            assert_eq!(guesses.take(&attempt("name999", 9, false), now).unwrap_err().status(), 429);
        }
        guesses.take(&attempt("name999", 9, false), now + Duration::from_secs(3)).unwrap();
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_what_is_old_makes_room() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let mut number = 0_u32;
        let refused = loop {
            let ip = IpAddr::from((number | 0x0A00_0000).to_be_bytes());
            if let Err(problem) = guesses.take(&Attempt::new(&format!("name{number}"), ip, false), now) {
                break problem;
            }
            number += 1;
            assert!(number < 100_000, "it grows without end");
        };
        assert_eq!(refused.status(), 429);
        let later = now + Duration::from_secs(FORGOTTEN_AFTER);
        guesses.take(&attempt("#1", 1, false), later).unwrap();
        assert_eq!(guesses.left.lock().unwrap().len(), 3);
    }
}
