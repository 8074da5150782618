//! A way to the database that a test can block and cut.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use super::app::TestApp;
use super::cluster::runtime;

/// Passes on what goes between a server and its database, or not.
pub(crate) struct Proxy {
    options: PgConnectOptions,
    way: watch::Sender<Way>,
    statements: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Open until the server says this.
    OpenUntil(&'static str),
    /// What the database answers stays here.
    Held,
    /// Nothing goes in or out, and whoever is connected is thrown out.
    Cut,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Proxy {
    /// A way to the test's database.
    pub(crate) async fn start(app: &TestApp) -> Self {
        let behind = app.options();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(listener.local_addr().unwrap().port())
            .username(behind.get_username())
            .database(behind.get_database().unwrap())
            .ssl_mode(PgSslMode::Disable);
        let way = watch::Sender::new(Way::Open);
        let statements = Arc::default();
        runtime().spawn(accept(listener, Arc::new(behind), way.clone(), Arc::clone(&statements)));
        Self { options, way, statements }
    }

    /// How to connect to the database through it.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// How many prepared statements have been executed through it.
    pub(crate) fn statements(&self) -> usize {
        self.statements.load(Ordering::SeqCst)
    }

    /// Lets everything pass, also what was held.
    pub(crate) fn open(&self) {
        self.way.send_replace(Way::Open);
    }

    /// Keeps back what the database answers.
    pub(crate) fn hold(&self) {
        self.way.send_replace(Way::Held);
    }

    /// Keeps it back from when the server says this word.
    pub(crate) fn hold_at(&self, word: &'static str) {
        self.way.send_replace(Way::OpenUntil(word));
    }

    /// Until the word was said.
    pub(crate) async fn until_held(&self) {
        self.way.subscribe().wait_for(|way| *way == Way::Held).await.unwrap();
    }

    /// Ends all connections and takes no new ones, as a database that is away.
    pub(crate) fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

async fn accept(
    listener: std::net::TcpListener,
    behind: Arc<PgConnectOptions>,
    way: watch::Sender<Way>,
    statements: Arc<AtomicUsize>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let (behind, way, statements) = (behind.clone(), way.clone(), statements.clone());
        tokio::spawn(async move {
            if *way.borrow() == Way::Cut {
                return;
            }
            let Some(database) = connect(&behind).await else { return };
            let mut cut = way.subscribe();
            let ((from_server, to_server), (from_database, to_database)) = (split(stream), split(database));
            tokio::select! {
                () = requests(from_server, to_database, &way, &statements) => {}
                () = answers(from_database, to_server, &way) => {}
                _ = cut.wait_for(|way| *way == Way::Cut) => {}
            }
        });
    }
}

async fn connect(behind: &PgConnectOptions) -> Option<Box<dyn Stream>> {
    let port = behind.get_port();
    Some(match behind.get_socket() {
        Some(folder) => {
            let socket: PathBuf = folder.join(format!(".s.PGSQL.{port}"));
            Box::new(UnixStream::connect(socket).await.ok()?)
        }
        None => Box::new(TcpStream::connect((behind.get_host(), port)).await.ok()?),
    })
}

async fn requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: &watch::Sender<Way>,
    statements: &AtomicUsize,
) {
    let mut bytes = vec![0; 16 * 1024];
    let mut messages = Messages::default();
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        // Whoever cuts the way, and then asks, is not to be answered by what has not heard of it yet.
        if *way.borrow() == Way::Cut {
            return;
        }
        let said = &bytes[..length];
        statements.fetch_add(messages.executes(said), Ordering::SeqCst);
        way.send_if_modified(|way| {
            let heard =
                matches!(*way, Way::OpenUntil(word) if said.windows(word.len()).any(|at| at == word.as_bytes()));
            if heard {
                *way = Way::Held;
            }
            heard
        });
        if to.write_all(said).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, way: &watch::Sender<Way>) {
    let mut bytes = vec![0; 16 * 1024];
    let mut state = way.subscribe();
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if state.wait_for(|way| *way != Way::Held).await.is_err() || to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

/// What a client says, cut into messages wherever the reads happen to end: each is a letter and a length that counts
/// itself; the first has no letter.
#[derive(Default)]
struct Messages {
    has_begun: bool,
    head: Vec<u8>,
    left: usize,
}

impl Messages {
    /// How many of the messages that begin in these bytes execute a statement.
    fn executes(&mut self, mut said: &[u8]) -> usize {
        let mut found = 0;
        while !said.is_empty() {
            let body = self.left.min(said.len());
            (self.left, said) = (self.left - body, &said[body..]);
            let letters = usize::from(self.has_begun);
            let head = (letters + 4 - self.head.len()).min(said.len());
            if self.left > 0 || head == 0 {
                continue;
            }
            self.head.extend_from_slice(&said[..head]);
            said = &said[head..];
            if self.head.len() == letters + 4 {
                let length = u32::from_be_bytes(self.head[letters..].try_into().unwrap());
                found += usize::from(self.has_begun && self.head[0] == b'E');
                (self.has_begun, self.left) = (true, length as usize - 4);
                self.head.clear();
            }
        }
        found
    }
}
