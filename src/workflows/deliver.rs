//! The workers of the queue: one in each server process, each with a few calls under way at once.
//!
//! A message is leased, its lease committed, and only then is it sent, so that no transaction waits for a stranger. A
//! worker that dies leaves a lease that runs out, and the message is sent again under the same id: at least once. Of the
//! messages about one object only the oldest that is pending is ever leased, so they arrive in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::circuits::{Circuits, State};
use super::client::{Failure, Message};
use super::guard::bare;
use super::store::{self, Leased, Receiver};
use crate::app::AppState;
use crate::http::Answer;
use crate::ids::Id;

/// How often the queue is looked at when it was empty.
const POLL: Duration = Duration::from_millis(250);
/// How long a message is one process's alone.
const LEASE: Duration = Duration::from_secs(30);
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Calls under way at once: in all, and to one receiver, so that a slow one does not take all turns.
const MOST_CALLS: usize = 16;
const MOST_CALLS_TO_ONE: usize = 8;
/// How often what is past its time is given up.
const GIVE_UP_EVERY: Duration = Duration::from_mins(1);

/// Delivers until `stop`, then waits for the calls that are under way.
pub async fn deliver(app: AppState, stop: CancellationToken) {
    let mut worker = Worker::new(&app);
    let mut gave_up: Option<Instant> = None;
    while !stop.is_cancelled() {
        let writes = !app.database.is_read_only();
        if writes && gave_up.is_none_or(|at| at.elapsed() >= GIVE_UP_EVERY / worker.speed) {
            gave_up = Some(Instant::now());
            match give_up(&app).await {
                Ok(0) => {}
                Ok(count) => {
                    tracing::warn!(count, "gave up on webhook messages; see /api/users/webhook-outbox/?state=dead");
                }
                Err(problem) => tracing::warn!(%problem, "could not look after the webhook queue"),
            }
        }
        let begun = if writes { worker.begin(&app).await } else { Ok(0) };
        let begun = begun.unwrap_or_else(|problem| {
            tracing::warn!(%problem, "could not read the webhook queue");
            0
        });
        // With something begun there may be more, as soon as a call has ended; else new messages are waited for.
        let idle = if begun == 0 { POLL / worker.speed.min(10) } else { Duration::ZERO };
        tokio::select! {
            () = stop.cancelled() => break,
            () = worker.ended(), if worker.is_busy() => {}
            () = sleep(idle), if !worker.is_full() => {}
        }
    }
    // What does not end in time is sent again, by whoever comes next.
    if timeout(PATIENCE, worker.finish()).await.is_err() {
        tracing::warn!("webhook calls were still under way at the stop");
    }
}

async fn give_up(app: &AppState) -> Answer<u64> {
    Ok(store::give_up(&mut *app.db.acquire().await?).await?)
}

struct Worker {
    calls: JoinSet<Option<Id>>,
    /// How many calls are under way to each receiver.
    busy: HashMap<Option<Id>, usize>,
    circuits: Arc<Circuits>,
    speed: u32,
}

impl Worker {
    fn new(app: &AppState) -> Self {
        let speed = app.config.webhook_speed;
        Self { calls: JoinSet::new(), busy: HashMap::new(), circuits: Arc::new(Circuits::new(speed)), speed }
    }

    fn is_busy(&self) -> bool {
        !self.calls.is_empty()
    }

    fn is_full(&self) -> bool {
        self.calls.len() >= MOST_CALLS
    }

    /// Waits until a call has ended.
    async fn ended(&mut self) {
        if let Some(Ok(receiver)) = self.calls.join_next().await
            && let Some(count) = self.busy.get_mut(&receiver)
        {
            *count = count.saturating_sub(1);
        }
    }

    async fn finish(&mut self) {
        while self.is_busy() {
            self.ended().await;
        }
    }

    /// Leases what is due and begins to send it; how many messages that are.
    async fn begin(&mut self, app: &AppState) -> Answer<usize> {
        if self.is_full() {
            return Ok(0);
        }
        let mut conn = app.db.acquire().await?;
        let import = app.config.n8n_import_webhook.as_deref();
        let mut begun = 0;
        for mut receiver in store::due(&mut conn, import.is_some()).await? {
            let target = if let Some(configuration) = &receiver.configuration {
                configuration.0.target().to_owned()
            } else {
                // It has no secret of its own.
                let shared = app.config.n8n_webhook_secret.as_ref();
                receiver.secrets.extend(shared.map(|secret| secret.expose_secret().as_bytes().to_vec()));
                import.unwrap_or_default().to_owned()
            };
            let host = host_of(&target);
            let room = match self.circuits.state(&host, Instant::now()) {
                State::Open => 0,
                State::HalfOpen => 1,
                State::Closed => MOST_CALLS_TO_ONE,
            };
            let busy = self.busy.entry(receiver.workflow).or_default();
            let room = room.saturating_sub(*busy).min(MOST_CALLS.saturating_sub(self.calls.len()));
            if room == 0 {
                continue;
            }
            let lease = LEASE.as_secs_f64() * 1000.0 / f64::from(self.speed);
            let most = i64::try_from(room).unwrap_or(1);
            let leased = store::lease(&mut conn, receiver.workflow, most, lease).await?;
            *busy += leased.len();
            begun += leased.len();
            let call =
                Arc::new(Call { receiver, target, host, circuits: Arc::clone(&self.circuits), speed: self.speed });
            for message in leased {
                self.calls.spawn(Arc::clone(&call).make(app.clone(), message));
            }
        }
        Ok(begun)
    }
}

/// How a receiver is called.
struct Call {
    receiver: Receiver,
    target: String,
    host: String,
    circuits: Arc<Circuits>,
    speed: u32,
}

impl Call {
    /// Sends a message and writes down how that ended.
    async fn make(self: Arc<Self>, app: AppState, message: Leased) -> Option<Id> {
        let ended = self.send(&app, &message).await;
        match &ended {
            Ok(_) => self.circuits.answered(&self.host),
            Err(failure) => {
                self.circuits.failed(&self.host, Instant::now());
                tracing::warn!(message = message.id.0, attempt = message.attempt, says = %failure.says, "a webhook failed");
            }
        }
        if let Err(problem) = self.end(&app, &message, &ended).await {
            tracing::warn!(%problem, message = message.id.0, "could not write down how a webhook ended; it is sent again");
        }
        self.receiver.workflow
    }

    async fn send(&self, app: &AppState, message: &Leased) -> Result<Value, Failure> {
        let (_, event_id) = message.object_key.split_once(':').unwrap_or_default();
        let sent = Message {
            url: &self.target,
            id: &format!("msg_{}", message.id),
            event_id,
            timestamp: message.created_at,
            payload: &message.payload,
            secrets: &self.receiver.secrets,
        };
        app.outbound.send(&sent, app.clock.now(), PATIENCE / self.speed).await
    }

    async fn end(&self, app: &AppState, message: &Leased, ended: &Result<Value, Failure>) -> Answer<()> {
        let mut conn = app.db.acquire().await?;
        Ok(store::end_delivery(&mut conn, message, ended, f64::from(self.speed)).await?)
    }
}

fn host_of(target: &str) -> String {
    let url = reqwest::Url::parse(target).ok();
    bare(url.as_ref().and_then(reqwest::Url::host_str).unwrap_or_default())
}
