//! Work for all cores, and passwords, which are most of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::anyhow;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher};

use super::import::report::Progress;
use crate::access::passwords::in_one_form;

/// Does `each` to all items, as many at a time as there are cores. The results stand in the order of the items.
///
/// # Errors
/// When a worker panics.
pub(super) async fn on_all_cores<T, R>(items: Vec<T>, progress: &Progress, each: fn(&T) -> R) -> anyhow::Result<Vec<R>>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let progress = progress.clone();
    let work = move || {
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(index) else { return done };
                done.push((index, each(item)));
                progress.advance(1);
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from).min(items.len());
        let mut done = thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
            let ends = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a worker panicked")));
            ends.collect::<anyhow::Result<Vec<_>>>()
        })?
        .into_iter()
        .flatten()
        .collect::<Vec<_>>();
        done.sort_unstable_by_key(|(index, _)| *index);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    };
    tokio::task::spawn_blocking(work).await?
}

/// Hashes passwords with argon2id, as the server does.
///
/// # Errors
/// When one cannot be hashed.
pub(super) async fn hash_all(passwords: Vec<String>, progress: &Progress) -> anyhow::Result<Vec<String>> {
    progress.begin("hashing passwords", passwords.len());
    on_all_cores(passwords, progress, |password| hash(password)).await?.into_iter().collect()
}

/// Hashes one password.
///
/// # Errors
/// When it cannot be hashed.
pub(super) fn hash(password: &str) -> anyhow::Result<String> {
    let hash: anyhow::Result<PasswordHash> =
        Argon2::default().hash_password(in_one_form(password).as_bytes()).map_err(|error| anyhow!("argon2: {error}"));
    Ok(hash?.to_string())
}

#[cfg(test)]
mod tests {
    use crate::access::passwords::is_dated;

    #[test]
    fn a_hash_made_here_need_not_be_made_anew_at_the_log_in() {
        assert!(!is_dated(&super::hash("violet-Kettle-58").unwrap()));
    }
}
