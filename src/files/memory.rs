//! How much memory files may take in this process, whoever sends how many of them.
//!
//! A file of a hundred kilobytes can be a picture of a quarter of a gigabyte, and turning or writing a picture makes copies
//! of it. So there are two budgets for all requests together: what has come of bodies, and what pictures become. Whoever
//! finds nothing left waits a little, and is refused then: nobody is served by a process that the system has ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::http::{Answer, Problem};

/// What bodies with files may hold together: four of the largest, in KiB.
const BODIES: u32 = 128 * 1024;

/// What pictures may take together while they are drawn anew, in KiB.
const PICTURES: u32 = 228 * 1024;

/// How long somebody waits for others to be done.
const PATIENCE: Duration = Duration::from_secs(5);

/// The two budgets.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    bodies: Arc<Semaphore>,
    pictures: Arc<Semaphore>,
    patience: Duration,
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Share {
    /// The two as one.
    fn with(&mut self, more: Self) {
        self.0.merge(more.0);
    }
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            bodies: Arc::new(Semaphore::new(BODIES as usize)),
            pictures: Arc::new(Semaphore::new(PICTURES as usize)),
            patience: PATIENCE,
        }
    }

    /// The most that a picture can be given, in bytes.
    pub(super) const fn largest_picture() -> u64 {
        PICTURES as u64 * 1024
    }

    /// Room for so many more bytes of a body.
    ///
    /// # Errors
    /// 503 when there is none for five seconds.
    pub(super) async fn for_body(&self, held: &mut Option<Share>, bytes: usize) -> Answer<()> {
        let share = self.take(&self.bodies, bytes as u64).await?;
        match held {
            Some(held) => held.with(share),
            None => *held = Some(share),
        }
        Ok(())
    }

    /// Room for a picture that takes so many bytes.
    ///
    /// # Errors
    /// 503 when there is none for five seconds.
    pub(super) async fn for_picture(&self, bytes: u64) -> Answer<Share> {
        self.take(&self.pictures, bytes).await
    }

    async fn take(&self, budget: &Arc<Semaphore>, bytes: u64) -> Answer<Share> {
        let busy = || {
            Problem::unavailable("Too many files are being worked on at this moment. Try again shortly.").retry_after(5)
        };
        let kib = u32::try_from(bytes.div_ceil(1024)).map_err(Problem::internal)?;
        let permit = timeout(self.patience, budget.clone().acquire_many_owned(kib)).await.map_err(|_| busy())?;
        permit.map(Share).map_err(|_| busy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_given_is_never_more_than_there_is_and_who_finds_nothing_left_is_refused() {
        let memory = Memory { patience: Duration::ZERO, ..Memory::new() };
        let all = memory.for_picture(Memory::largest_picture()).await.unwrap();
        let refused = memory.for_picture(1).await.unwrap_err();
        assert_eq!(refused.status(), 503);
        drop(all);
        memory.for_picture(Memory::largest_picture()).await.unwrap();

        let mut held = None;
        for _ in 0..4 {
            memory.for_body(&mut held, 32 * 1024 * 1024).await.unwrap();
        }
        assert_eq!(memory.for_body(&mut None, 1).await.unwrap_err().status(), 503);
        drop(held);
        memory.for_body(&mut None, 128 * 1024 * 1024).await.unwrap();
    }
}
