//! Notifications as they come, by server-sent events.
//!
//! One task for each process asks the database for what is new, four times a second and only while somebody listens;
//! listeners hold no database session. A notification's place is the transaction that told it and its id, and it is sent
//! once every transaction before it has ended: one that commits late is not passed over. A transaction that takes long
//! therefore delays what was told after it began.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::store::{self, Heard};
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::db::Reading;
use crate::http::{Answer, Answers, Describe, Notes, Problem, Schemas, query_pairs};
use crate::ids::Id;
use crate::serve::Stopping;

/// How often the database is asked.
const EVERY: Duration = Duration::from_millis(250);

/// Every how many rounds the listeners' sessions are looked at: once a second.
const SESSIONS_EVERY: u32 = 4;

/// How often a silent stream says that it still lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The most streams of a process, and of a person in a process.
const MOST: usize = 1000;
const MOST_OF_A_PERSON: usize = 8;

/// The most notifications for a listener in a round; more wait for the next. As many fit into the listener's queue, so
/// that a client who does not read is left alone.
pub(super) const BATCH: u8 = 100;

/// A notification's place among all: the transaction that told it, and its id. With the id 0 it is before all that the
/// transaction told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) transaction: u64,
    pub(super) id: i64,
}

impl Position {
    /// As it is sent: opaque to clients.
    fn spelt(self) -> String {
        format!("{}-{}", self.transaction, self.id)
    }

    fn read(text: &str) -> Option<Self> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (transaction, id) = text.split_once('-').filter(|(one, other)| digits(one) && digits(other))?;
        Some(Self { transaction: transaction.parse().ok()?, id: id.parse().ok()? })
    }
}

/// What could be seen at a moment: a snapshot of PostgreSQL's, for as long as transactions of that time are looked at.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) snapshot: String,
    /// What ended before, can be seen.
    pub(super) from: u64,
    /// What began at this or after it, cannot.
    pub(super) until: u64,
}

/// Who asks in a round, and for what.
pub(super) struct Asking {
    pub(super) listener: i64,
    pub(super) person: Id,
    pub(super) after: Position,
    pub(super) seen: Option<Seen>,
}

/// From where a listener listens.
struct Start {
    after: Position,
    seen: Option<Seen>,
}

/// Who listens, in this process.
#[derive(Debug, Default)]
pub struct Streams(Mutex<Listeners>);

#[derive(Debug, Default)]
struct Listeners {
    all: Vec<Listener>,
    last: i64,
    /// Whether the task that asks the database runs.
    served: bool,
}

/// A stream that is open.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) number: i64,
    pub(super) person: Id,
    session: Id,
    /// What was sent, and what was before it.
    pub(super) after: Position,
    /// What could be seen when it came, if it came to hear only of what is new.
    seen: Option<Seen>,
    queue: mpsc::Sender<Event>,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.lock().all.iter().filter(|listener| !listener.queue.is_closed()).count()
    }

    /// A new listener's queue.
    fn join(&self, app: &AppState, person: Id, session: Id, from: Start) -> Answer<mpsc::Receiver<Event>> {
        let (queue, events) = mpsc::channel(BATCH.into());
        let mut listeners = self.lock();
        listeners.all.retain(|listener| !listener.queue.is_closed());
        if listeners.all.len() >= MOST {
            return Err(Problem::unavailable("The server has as many open streams as it can keep.").retry_after(30));
        }
        if listeners.all.iter().filter(|listener| listener.person == person).count() >= MOST_OF_A_PERSON {
            let says = format!("You have {MOST_OF_A_PERSON} open streams. Close one, then try again.");
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", says).retry_after(30));
        }
        listeners.last += 1;
        let number = listeners.last;
        listeners.all.push(Listener { number, person, session, after: from.after, seen: from.seen, queue });
        if !std::mem::replace(&mut listeners.served, true) {
            tokio::spawn(serve(app.clone()));
        }
        Ok(events)
    }

    /// Forgets who has gone; whether anybody is left.
    fn anybody(&self) -> bool {
        let mut listeners = self.lock();
        listeners.all.retain(|listener| !listener.queue.is_closed());
        listeners.served = !listeners.all.is_empty();
        listeners.served
    }
}

/// Asks the database for as long as somebody listens.
async fn serve(app: AppState) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round = 0_u32;
    loop {
        rounds.tick().await;
        if !app.streams.anybody() {
            return;
        }
        if let Err(problem) = serve_once(&app, round.is_multiple_of(SESSIONS_EVERY)).await {
            tracing::warn!(%problem, "could not look for notifications");
            sleep(Duration::from_secs(1)).await;
        }
        round = round.wrapping_add(1);
    }
}

async fn serve_once(app: &AppState, look_at_sessions: bool) -> Answer<()> {
    let conn = &mut *app.db.acquire().await?;
    if look_at_sessions {
        let sessions: Vec<Id> = app.streams.lock().all.iter().map(|listener| listener.session).collect();
        let live = store::live(conn, &sessions).await?;
        // Those who have come since were looked at when they came.
        let gone = |listener: &Listener| sessions.contains(&listener.session) && !live.contains(&listener.session);
        app.streams.lock().all.retain(|listener| !gone(listener));
    }
    let until = Position { transaction: store::now(conn).await?.from, id: 0 };
    let asking: Vec<Asking> = {
        let listeners = app.streams.lock();
        let ready = |listener: &&Listener| listener.after < until && listener.queue.capacity() == usize::from(BATCH);
        let ask = |listener: &Listener| Asking {
            listener: listener.number,
            person: listener.person,
            after: listener.after,
            seen: listener.seen.clone(),
        };
        listeners.all.iter().filter(ready).map(ask).collect()
    };
    if asking.is_empty() {
        return Ok(());
    }
    let mut heard: HashMap<i64, Vec<Heard>> = asking.iter().map(|one| (one.listener, Vec::new())).collect();
    for one in store::heard(conn, &asking, until).await? {
        heard.entry(one.listener).or_default().push(one);
    }
    let mut listeners = app.streams.lock();
    'listeners: for listener in &mut listeners.all {
        let Some(heard) = heard.get(&listener.number) else { continue };
        for one in heard {
            let place = Position { transaction: one.transaction()?, id: one.notification.id().0 };
            let event = Event::default().event("notification").id(place.spelt());
            let event = event.json_data(one.notification.clone().for_recipient()).map_err(Problem::internal)?;
            // The queue has room for all of a round, or its reader is gone.
            if listener.queue.try_send(event).is_err() {
                continue 'listeners;
            }
            listener.after = place;
        }
        if heard.len() < usize::from(BATCH) {
            listener.after = until;
            listener.seen.take_if(|seen| seen.until <= until.transaction);
        }
    }
    Ok(())
}

/// From where a stream is asked for, and what ends it.
pub(super) struct Wanted {
    after: Option<Position>,
    stop: CancellationToken,
}

impl FromRequestParts<AppState> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        // A browser that connects again asks for the same address: the header is newer.
        let header = head.headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?").to_owned());
        let asked = query_pairs(head)?.into_iter().find(|(name, _)| name == "last_event_id").map(|(_, value)| value);
        let after =
            match header.or(asked).filter(|text| !text.is_empty()) {
                Some(text) => Some(Position::read(&text).ok_or_else(|| {
                    Problem::invalid("last_event_id", "This is not the id of an event of this stream.")
                })?),
                None => None,
            };
        let stop = head.extensions.get::<Stopping>().map(|Stopping(stop)| stop.clone()).unwrap_or_default();
        Ok(Self { after, stop })
    }
}

impl Describe for Wanted {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        let says = "The id of the last event that was received; what was told since comes first.";
        notes.parameter("header", "Last-Event-ID", json!({ "type": "string" }), says);
        notes.parameter("query", "last_event_id", json!({ "type": "string" }), "The same, when there is no header.");
        notes.refuses(400, "Malformed.");
        notes.refuses(429, "The caller has too many open streams.");
    }
}

/// A stream of events.
pub(super) struct Notified {
    from: Position,
    events: mpsc::Receiver<Event>,
    stop: CancellationToken,
}

impl IntoResponse for Notified {
    fn into_response(self) -> Response {
        // Without data: a client that is cut off before the first notification knows from where to go on.
        let first = Event::default().id(self.from.spelt()).retry(Duration::from_secs(2));
        let state = (Some(first), self.events, self.stop);
        let events = futures_util::stream::unfold(state, |(first, mut events, stop)| async move {
            let next = if first.is_some() {
                first
            } else {
                tokio::select! {
                    next = events.recv() => next,
                    () = stop.cancelled() => None,
                }
            };
            next.map(|event| (Ok::<_, Infallible>(event), (None, events, stop)))
        });
        let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // nginx would gather what is to be sent at once.
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        response
    }
}

impl Answers for Notified {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        let says = "Events named `notification`, each with its position as `id` and a Notification as `data`.";
        notes.answers(200, says, "text/event-stream", Some(json!({ "type": "string" })));
    }
}

/// `GET /stream/`
pub(super) async fn stream(
    actor: Actor<may::ReadNotifications>,
    State(app): State<AppState>,
    mut conn: Reading,
    wanted: Wanted,
) -> Answer<Notified> {
    let seen = store::now(&mut conn).await?;
    drop(conn);
    let now = Position { transaction: seen.from, id: 0 };
    // Positions of another database's life, after a restore, may be ahead of ours.
    let from = match wanted.after {
        Some(after) => Start { after: after.min(now), seen: None },
        None => Start { after: now, seen: Some(seen) },
    };
    let after = from.after;
    let events = app.streams.join(&app, actor.id(), actor.session(), from)?;
    Ok(Notified { from: after, events, stop: wanted.stop })
}
