//! The outside world: an HTTP server that a test tells what to answer, and asks what it was sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cluster::runtime;

/// How long a call may be waited for. It is only ever waited for in full by a test that fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// Answers calls over real HTTP on a port of its own, until it is dropped.
///
/// ```ignore
/// let outside = Receiver::start().await;                  // 200 with `{}` to everything
/// outside.url("/hook");                                   // http://127.0.0.1:4711/hook
/// outside.answers(200, json!({ "output": "…" }));         // for the next call; several stand in a queue
/// outside.answers_text(500, "text/plain", "broken");      // the same with any body
/// outside.always(|sent: &Sent| (StatusCode::OK, Json(…)).into_response());     // for those that the queue has nothing for
/// outside.hold();                                         // calls from here on are recorded and hang …
/// outside.release();                                      // … until here
/// outside.until_called(2).await;                          // gives what was sent so far, at least two
/// outside.sent()[0].json["payload"]; outside.sent()[0].header("webhook-id");
/// outside.close().await;                                  // nobody listens there any more
/// ```
pub(crate) struct Receiver {
    base: String,
    shared: Arc<Shared>,
    stop: CancellationToken,
    stopped: CancellationToken,
}

/// A call that came in.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    /// With the query, if there is one.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// The body as it came.
    pub(crate) body: Bytes,
    /// The body; null when it is not JSON.
    pub(crate) json: Value,
}

impl Sent {
    /// A header that must be there, once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().unwrap_or_else(|| panic!("the call has no header {name}"));
        assert!(values.next().is_none(), "the call has the header {name} twice");
        value.to_str().unwrap()
    }
}

type Rule = Arc<dyn Fn(&Sent) -> Response + Send + Sync>;

struct Shared {
    queue: Mutex<VecDeque<Response>>,
    rule: Mutex<Rule>,
    sent: watch::Sender<Vec<Sent>>,
    is_held: watch::Sender<bool>,
}

impl Receiver {
    /// One that answers 200 with `{}`.
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            rule: Mutex::new(Arc::new(|_| json_response(200, &serde_json::json!({})))),
            sent: watch::Sender::new(Vec::new()),
            is_held: watch::Sender::new(false),
        });
        let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
        let (answering, told, tells) = (Arc::clone(&shared), stop.clone(), stopped.clone());
        let launched = runtime().spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let app = Router::new().fallback(move |request: Request| answer(Arc::clone(&answering), request));
            tokio::spawn(async move {
                tokio::select! {
                    served = axum::serve(listener, app) => served.unwrap(),
                    () = told.cancelled() => {}
                }
                tells.cancel();
            });
            format!("http://{address}")
        });
        Self { base: launched.await.unwrap(), shared, stop, stopped }
    }

    /// Where a path of it is; the path begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Answers the next call for which nothing is said yet with this status and JSON.
    #[expect(clippy::needless_pass_by_value, reason = "bodies are written in place")]
    pub(crate) fn answers(&self, status: u16, body: Value) {
        self.queue(json_response(status, &body));
    }

    /// Answers the next call for which nothing is said yet with this body.
    pub(crate) fn answers_text(&self, status: u16, media_type: &'static str, body: impl Into<Vec<u8>>) {
        let status = StatusCode::from_u16(status).unwrap();
        self.queue((status, [("content-type", media_type)], body.into()).into_response());
    }

    /// Gives this answer to the next call for which nothing is said yet.
    pub(crate) fn queue(&self, answer: Response) {
        self.shared.queue.lock().unwrap().push_back(answer);
    }

    /// Answers calls for which nothing else is said by this rule.
    pub(crate) fn always(&self, rule: impl Fn(&Sent) -> Response + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Arc::new(rule);
    }

    /// Lets the calls that come from now on hang, after they have been recorded.
    pub(crate) fn hold(&self) {
        self.shared.is_held.send_replace(true);
    }

    /// Answers the calls that hang.
    pub(crate) fn release(&self) {
        self.shared.is_held.send_replace(false);
    }

    /// All calls so far, the oldest first.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.shared.sent.borrow().clone()
    }

    /// Waits until there were so many calls, and gives all there were.
    #[track_caller]
    pub(crate) fn until_called(&self, times: usize) -> impl Future<Output = Vec<Sent>> {
        let caller = std::panic::Location::caller();
        let mut sent = self.shared.sent.subscribe();
        async move {
            let called = tokio::time::timeout(PATIENCE, sent.wait_for(|sent| sent.len() >= times)).await;
            let Ok(called) = called else { panic!("{caller}: waited in vain for {times} calls") };
            called.unwrap().clone()
        }
    }

    /// Stops to listen: who calls now finds nobody.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.stopped.cancelled().await;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.release();
        self.stop.cancel();
    }
}

fn json_response(status: u16, body: &Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

async fn answer(shared: Arc<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let sent = Sent {
        method: head.method,
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: head.headers,
        json: serde_json::from_slice(&body).unwrap_or_default(),
        body,
    };
    // The answer is taken in the order of arrival, whatever hangs.
    let queued = shared.queue.lock().unwrap().pop_front();
    shared.sent.send_modify(|all| all.push(sent.clone()));
    let mut is_held = shared.is_held.subscribe();
    let _released = is_held.wait_for(|held| !held).await;
    let rule = Arc::clone(&shared.rule.lock().unwrap());
    let mut response = queued.unwrap_or_else(|| rule(&sent));
    // A connection that is kept would still be served after `close`.
    response.headers_mut().insert("connection", HeaderValue::from_static("close"));
    response
}
