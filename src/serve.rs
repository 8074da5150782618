//! The accept loop, and the drain when the server is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::timeout::TimeoutBody;

/// How much clients may ask of the accept loop.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take to send a request's head, and how long an idle connection is kept.
    pub head: Duration,
    /// How long a client may pause within a request's body.
    pub pause: Duration,
    /// How long open requests are waited for at a stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            head: Duration::from_secs(10),
            pause: Duration::from_secs(10),
            drain: Duration::from_secs(30),
        }
    }
}

/// With every request: tells that the server stops, for answers that would not end by themselves.
#[derive(Debug, Clone)]
pub struct Stopping(pub CancellationToken);

/// Serves until `stop`, then stops accepting and waits at most `limits.drain` for open requests.
///
/// HTTP/1.1 alone: telling the version apart would read from the client without a time-out, and nginx in front speaks
/// nothing newer to us.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    loop {
        // A place first: beyond the cap, connections wait in the kernel's queue.
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = async {
                let place = places.clone().acquire_owned().await;
                (listener.accept().await, place)
            } => accepted,
        };
        let (Ok((stream, peer)), Ok(place)) = accepted else {
            // Out of file descriptors, most likely: accepting again at once would only spin.
            tracing::warn!("a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = connection(stream, peer, router.clone(), limits, Stopping(stop.clone()));
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    tracing::info!("draining");
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were still open after {} s", limits.drain.as_secs());
    }
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    stopping: Stopping,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl hyper::service::HttpService<
        hyper::body::Incoming,
        ResBody = axum::body::Body,
        Future = impl Send,
        Error = std::convert::Infallible,
    >,
> {
    // An answer is one write; waiting to gather more would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = router.map_request(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request: Request = request.map(|body| axum::body::Body::new(TimeoutBody::new(limits.pause, body)));
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(stopping.clone());
        request
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
}
