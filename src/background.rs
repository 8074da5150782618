//! What runs beside the requests: the probes of the database and of the files, the mail queue, webhooks, pending enrolments,
//! overdue content, gold that expires, the audit log's seals, and sweeping.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::app::AppState;
use crate::health;

/// How often what has expired is swept away.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// What runs, by its name.
pub struct Running(Vec<(&'static str, JoinHandle<()>)>);

impl Running {
    fn add(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.0.push((name, tokio::spawn(work)));
    }

    /// Waits until all has come to its end, at most until then; what has not.
    pub async fn wait(self, until: Instant) -> Vec<&'static str> {
        let mut late = Vec::new();
        for (name, task) in self.0 {
            if timeout_at(until, task).await.is_err() {
                late.push(name);
            }
        }
        late
    }
}

/// Starts all of it; each comes to its end when `stop` has been told.
pub fn start(app: &AppState, stop: &CancellationToken) -> Running {
    let mut running = Running(Vec::new());
    running.add("the probe of the database", health::look_after(app.clone(), stop.clone()));
    running.add("the probe of the files", health::look_after_files(app.clone(), stop.clone()));
    running.add("mail", crate::users::mail::deliver(app.clone(), stop.clone()));
    running.add("pending enrolments", crate::enrollment::pending::look_after(app.clone(), stop.clone()));
    running.add("content of events", crate::core::events::look_after_content(app.clone(), stop.clone()));
    running.add("webhooks", crate::workflows::deliver(app.clone(), stop.clone()));
    running.add("gold that expires", crate::social::gold::expire::look_after(app.clone(), stop.clone()));
    running.add("seals of the audit log", crate::audit::seal::look_after(app.clone(), stop.clone()));
    running.add("sweeping", sweep(app.clone(), stop.clone()));
    running
}

/// Removes what has outlived its use. Every server process sweeps; rows are gone after the first.
async fn sweep(app: AppState, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if !app.database.is_read_only()
            && let Err(error) = crate::sweep::once(&app).await
        {
            tracing::warn!(%error, "could not sweep");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(SWEEP_EVERY) => {}
        }
    }
}
