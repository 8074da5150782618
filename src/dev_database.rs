//! A PostgreSQL that nobody has to set up: made and run by the server itself on a developer's machine, and a
//! throw-away one for tests.
//!
//! The cluster listens on a unix socket in a folder of its own that nobody else may enter, and on no TCP port. What
//! holds:
//!
//! - several processes share one cluster: each holds a shared lock on the file `users`, and the last one to leave stops
//!   it; whoever starts or stops it holds an exclusive lock on the file `setup` meanwhile. The kernel gives locks back
//!   when a process dies, however it dies;
//! - a process that is killed leaves the cluster running, and the next one finds it; a cluster that is killed is
//!   started again by whoever uses it, or by the next one to come;
//! - a cluster is there whole or not at all: it is made aside and then renamed;
//! - PostgreSQL refuses to run as root, so root runs it as the owner of the folder, and in a folder of root's own as
//!   `postgres`, else as `nobody`, in a place that this user can reach.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tracing::{info, warn};

use crate::config::{self, Config};

/// The database that is made in the cluster.
const DATABASE: &str = "swincms";
/// The role that owns the cluster.
const ROLE: &str = "postgres";
/// The number in the socket's name; there is no TCP port.
const PORT: u16 = 5432;
/// The oldest PostgreSQL that the schema works with.
const OLDEST: u32 = 15;
/// The longest path of a socket that every system takes, with the zero at its end.
const LONGEST_SOCKET_PATH: usize = 104;
/// How long PostgreSQL may take to be ready; after a crash it first repeats its log.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How often it is asked meanwhile.
const POLL: Duration = Duration::from_millis(10);
/// How often its users look whether it still runs.
const WATCH: Duration = Duration::from_millis(500);

/// Where PostgreSQL's programs are put: a folder, what names in it begin with, and where in those the programs are.
const PLACES: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr/local", "pgsql", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// What to do when there are none.
const HOW_TO_INSTALL: &str = "\
Install it:
  Debian, Ubuntu  apt-get install postgresql
  Fedora          dnf install postgresql-server
  Alpine          apk add postgresql
  macOS           brew install postgresql@17
Or set PG_BIN to the folder of initdb, pg_ctl and postgres, or DATABASE_URL to a server that runs.";

/// The developer's database, up for as long as this is held.
///
/// [`stop`](Self::stop) it at the end; dropping it does the same without saying what went wrong.
#[derive(Debug)]
pub struct DevDatabase {
    server: Arc<Server>,
    share: Option<Share>,
}

/// What a user of the cluster holds.
#[derive(Debug)]
struct Share {
    /// Locked shared.
    users: File,
    /// Dropped to end the watch.
    watching: Sender<()>,
    watch: JoinHandle<()>,
}

/// Brings the developer's database up: makes the cluster under `DATA_DIR` and the database in it where they are
/// missing, starts what does not run, joins what does.
///
/// # Errors
///
/// When PostgreSQL is not installed (the text says what to do), cannot be run, or does not become ready.
pub async fn ensure(config: &Config) -> anyhow::Result<DevDatabase> {
    let data_dir = config.data_dir.clone();
    let pg_bin = config.pg_bin.clone();
    let database = tokio::task::spawn_blocking(move || join(&data_dir, pg_bin.as_deref())).await??;
    create_database(&database.server.options()).await?;
    info!("embedded database: psql -h {} -U {ROLE} {DATABASE}", database.server.socket_dir.display());
    Ok(database)
}

impl DevDatabase {
    /// How to connect to it.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        self.server.options().database(DATABASE)
    }

    /// Leaves the cluster, and stops it when nobody else uses it.
    ///
    /// # Errors
    ///
    /// When it does not stop.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.leave()).await?
    }

    fn leave(&mut self) -> anyhow::Result<()> {
        let Some(Share { users, watching, watch }) = self.share.take() else { return Ok(()) };
        drop(watching);
        // A watch that panicked has ended as well.
        drop(watch.join());
        let _setup = self.server.lock_setup()?;
        users.unlock()?;
        match users.try_lock() {
            Ok(()) => self.server.stop(),
            Err(fs::TryLockError::WouldBlock) => {
                info!("the embedded database goes on: another process uses it");
                Ok(())
            }
            Err(fs::TryLockError::Error(error)) => Err(error).context("cannot lock the embedded database"),
        }
    }
}

impl Drop for DevDatabase {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            warn!("the embedded database does not stop: {error:#}");
        }
    }
}

/// A cluster for tests: fast, not durable, and gone when this is dropped or its process ends, however it ends.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    /// A shell that waits for the end of its input, then stops the cluster and removes it.
    remover: Child,
}

impl Cluster {
    /// Makes and starts a cluster in a new folder below `dir`; for root below `/tmp` when the user who runs it cannot
    /// reach `dir`. `pg_bin` is the folder of PostgreSQL's programs; without it they are searched for.
    ///
    /// # Errors
    ///
    /// As [`ensure`].
    pub fn throw_away(dir: &Path, pg_bin: Option<&Path>) -> anyhow::Result<Self> {
        let name = format!("pg-{}", hash(uuid::Uuid::new_v4().as_bytes()));
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let mut homes = vec![dir.join(&name)];
        let account = Account::of_this_process()?;
        if account.is_root {
            homes.push(Path::new("/tmp").join(&name));
        }
        let server = Server::at(&homes, &account, pg_bin, THROW_AWAY)?;
        // Started before the cluster is, so that nothing can be left behind.
        let remover = Command::new("sh")
            .args(["-c", REMOVE, "sh"])
            .arg(server.data())
            .arg(&server.home)
            .arg(&server.socket_dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        let cluster = Self { server, remover };
        cluster.server.create(&["--no-sync"])?;
        cluster.server.bring_up()?;
        Ok(cluster)
    }

    /// How to connect to it, as the superuser, to the database `postgres`.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        self.server.options().database("postgres")
    }

    /// Stops the cluster and removes it.
    ///
    /// # Errors
    ///
    /// When something of it is left.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.remove()?;
        if self.server.home.try_exists()? {
            bail!("{} cannot be removed", self.server.home.display());
        }
        Ok(())
    }

    fn remove(&mut self) -> io::Result<ExitStatus> {
        // `wait` closes the shell's input first.
        self.remover.wait()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            warn!("a test's database is left in {}: {error}", self.server.home.display());
        }
    }
}

/// Waits for the end of the input, then stops the cluster with data `$1` at once and removes the folders `$2` and `$3`.
const REMOVE: &str = r#"
read -r _
pid=$(head -n 1 "$1/postmaster.pid") && kill -QUIT "$pid"
tries=0
while [ -n "$pid" ] && [ "$tries" -lt 100 ] && kill -0 "$pid"; do
    tries=$((tries + 1))
    sleep 0.05
done
rm -rf -- "$2" "$3"
"#;

/// Settings of the developer's cluster: its data is kept, so it is as durable as PostgreSQL is.
const KEPT: &[&str] = &["max_connections=200"];

/// Settings of a cluster whose data nobody will miss.
const THROW_AWAY: &[&str] = &[
    "max_connections=300",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "min_wal_size=32MB",
    "max_wal_size=256MB",
];

/// Makes, starts or joins the cluster below `data_dir`.
fn join(data_dir: &Path, pg_bin: Option<&Path>) -> anyhow::Result<DevDatabase> {
    config::make_data_dir(data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
    let data_dir = data_dir.canonicalize()?;
    let account = Account::of_this_process()?;
    let mut homes = vec![data_dir.join("postgres")];
    if account.is_root {
        let name = format!("swincms-dev-{}", hash(data_dir.as_os_str().as_encoded_bytes()));
        homes.extend(["/var/lib", "/tmp"].map(|dir| Path::new(dir).join(&name)));
    }
    let server = Server::at(&homes, &account, pg_bin, KEPT)?;
    if homes.first() != Some(&server.home) {
        warn!(
            "the user who runs PostgreSQL for root cannot reach {}: the embedded database is in {}",
            data_dir.display(),
            server.home.display()
        );
    }

    let setup = server.lock_setup()?;
    if !server.data().try_exists()? {
        server.create(&[])?;
    }
    server.bring_up()?;
    let users = server.lock_file("users")?;
    users.lock_shared()?;
    drop(setup);

    let server = Arc::new(server);
    let (watching, stopped) = mpsc::channel::<()>();
    let watched = Arc::clone(&server);
    let watch = thread::Builder::new().name("dev-database".into()).spawn(move || {
        while stopped.recv_timeout(WATCH) == Err(RecvTimeoutError::Timeout) {
            if watched.has_crashed() {
                warn!("the embedded database is gone: starting it again");
                let again = watched.lock_setup().and_then(|_setup| {
                    // Another of its users may have been quicker.
                    if watched.has_crashed() { watched.bring_up() } else { Ok(()) }
                });
                if let Err(error) = again {
                    warn!("the embedded database does not start: {error:#}");
                }
            }
        }
    })?;
    Ok(DevDatabase { server, share: Some(Share { users, watching, watch }) })
}

/// Makes the database where it is missing; several processes may try at once.
async fn create_database(options: &PgConnectOptions) -> anyhow::Result<()> {
    let mut postgres = PgConnection::connect_with(&options.clone().database("postgres")).await?;
    let there = postgres.fetch_optional("select from pg_database where datname = 'swincms'").await?;
    if there.is_none()
        && let Err(error) = postgres.execute("create database swincms").await
    {
        // It is there by now (42P04), or another process is just making it (23505, 55006).
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if !matches!(code.as_deref(), Some("42P04" | "23505")) {
            return Err(error).context("cannot create the database in the embedded cluster");
        }
    }
    postgres.close().await?;
    Ok(())
}

/// Who runs this process.
#[derive(Debug)]
struct Account {
    uid: u32,
    is_root: bool,
}

impl Account {
    fn of_this_process() -> anyhow::Result<Self> {
        let uid = id(&["-u"])?;
        Ok(Self { uid, is_root: uid == 0 })
    }
}

/// A user's number and their group's.
type Ids = (u32, u32);

/// What the program `id` answers.
fn id(arguments: &[&str]) -> anyhow::Result<u32> {
    let output = Command::new("id").args(arguments).output().context("cannot run id")?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().parse();
    answer.with_context(|| format!("id {} does not answer with a number", arguments.join(" ")))
}

/// Whom root runs PostgreSQL as in a new folder below `parent`: its owner, so that they can use the cluster too; for
/// root's own, and those of somebody whom this machine does not know (a mounted folder's), a user made for such things.
fn unprivileged(parent: &Path) -> anyhow::Result<Ids> {
    let owner = fs::metadata(parent)?;
    if owner.uid() != 0 {
        let mut name = Command::new("id");
        name.arg("-un").uid(owner.uid()).gid(owner.gid()).current_dir("/").stderr(Stdio::null()).stdout(Stdio::null());
        if name.status().is_ok_and(|status| status.success()) {
            return Ok((owner.uid(), owner.gid()));
        }
    }
    let ids = |user| anyhow::Ok((id(&["-u", user])?, id(&["-g", user])?));
    ids("postgres").or_else(|_| ids("nobody")).context("PostgreSQL cannot run as root, and there is no user for it")
}

/// A cluster: its folder, and how it is run.
#[derive(Debug)]
struct Server {
    programs: Programs,
    /// Whom to run PostgreSQL as, when not as whoever runs this process.
    run_as: Option<Ids>,
    /// The folder of all that belongs to the cluster, open to the user who runs it alone.
    home: PathBuf,
    socket_dir: PathBuf,
    settings: &'static [&'static str],
}

impl Server {
    /// Prepares the first of `homes` that PostgreSQL can use.
    fn at(
        homes: &[PathBuf],
        account: &Account,
        pg_bin: Option<&Path>,
        settings: &'static [&'static str],
    ) -> anyhow::Result<Self> {
        let mut reasons = Vec::new();
        for home in homes {
            match prepare_home(home, account) {
                Ok(run_as) => {
                    return Ok(Self {
                        programs: Programs::find(pg_bin, version_of(&home.join("data"))?)?,
                        socket_dir: prepare_socket_dir(home, account, run_as)?,
                        run_as,
                        home: home.clone(),
                        settings,
                    });
                }
                Err(error) => reasons.push(format!("{}: {error:#}", home.display())),
            }
        }
        bail!("there is no folder for the embedded database; set DATA_DIR to one\n{}", reasons.join("\n"))
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    fn socket(&self) -> PathBuf {
        self.socket_dir.join(socket_name())
    }

    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(PORT)
            .username(ROLE)
            .ssl_mode(PgSslMode::Disable)
            .application_name(DATABASE)
    }

    /// One of PostgreSQL's programs, run as who may, in a folder and with an environment that cannot disturb it.
    fn command(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        if let Some((uid, gid)) = self.run_as {
            command.uid(uid).gid(gid);
        }
        command.stdin(Stdio::null());
        command
    }

    /// A file to lock, which belongs to the user who runs the cluster.
    fn lock_file(&self, name: &str) -> anyhow::Result<File> {
        let path = self.home.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if let Some((uid, gid)) = self.run_as {
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
        }
        Ok(file)
    }

    /// Waits for the right to start and stop the cluster; it ends when the file is dropped.
    fn lock_setup(&self) -> anyhow::Result<File> {
        let file = self.lock_file("setup")?;
        file.lock().context("cannot lock the embedded database")?;
        Ok(file)
    }

    /// Makes the cluster's files.
    fn create(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let aside = self.home.join("data.new");
        // Not every system has C.UTF-8 (macOS): there the characters of another, in the same order.
        let locales: [&[&str]; 2] = [&["--locale=C.UTF-8"], &["--locale=C", "--lc-ctype=en_US.UTF-8"]];
        let mut said = String::new();
        for locale in locales {
            if aside.try_exists()? {
                fs::remove_dir_all(&aside)?;
            }
            let output = self
                .command("initdb")
                .arg("-D")
                .arg(&aside)
                // The folder of the socket keeps others out.
                .args(["--username", ROLE, "--auth=trust", "--encoding=UTF8"])
                .args(locale)
                .args(arguments)
                .output()
                .context("cannot run initdb")?;
            if output.status.success() {
                return fs::rename(&aside, self.data()).context("cannot put the embedded database in place");
            }
            String::from_utf8_lossy(&output.stderr).trim().clone_into(&mut said);
            if !said.contains("locale") {
                break;
            }
        }
        bail!("the embedded database cannot be made; initdb says:\n{said}")
    }

    /// Waits until the cluster is ready, having started it when it does not run. Only under the lock.
    fn bring_up(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if self.is_running() {
                // Somebody's who was killed before it was ready, perhaps.
                if self.is_ready(None) {
                    return Ok(());
                }
            } else if self.start(deadline)? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("the embedded database is not ready after {} s:\n{}", START_TIMEOUT.as_secs(), self.last_words());
            }
            thread::sleep(POLL);
        }
    }

    /// Starts the cluster and waits for it; false when it could not start for a reason that goes away.
    fn start(&self, deadline: Instant) -> anyhow::Result<bool> {
        self.clear_false_claim()?;
        // The old log says why it had to be started again.
        match fs::rename(self.log(), self.home.join("log.old")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let log = File::create(self.log())?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        for setting in ["listen_addresses=", "unix_socket_permissions=0700", "timezone=UTC", "log_timezone=UTC"] {
            command.args(["-c", setting]);
        }
        command.arg("-c").arg(format!("port={PORT}"));
        command.arg("-c").arg(format!("unix_socket_directories={}", self.socket_dir.display()));
        for setting in self.settings {
            command.args(["-c", setting]);
        }
        let mut child = command
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at the terminal is for the server, not for its database.
            .process_group(0)
            .spawn()
            .context("cannot run postgres")?;
        let pid = child.id();
        // Somebody must wait for it, or a killed PostgreSQL would look alive to the next one.
        let ended = Arc::new(OnceLock::new());
        let ending = Arc::clone(&ended);
        thread::Builder::new().name("dev-database-end".into()).spawn(move || {
            if let Ok(status) = child.wait() {
                ending.get_or_init(|| status);
            }
        })?;
        while Instant::now() < deadline {
            if self.is_ready(Some(pid)) {
                return Ok(true);
            }
            if let Some(status) = ended.get() {
                let words = self.last_words();
                // Left over from a PostgreSQL that was killed; its last processes are about to end.
                if words.contains("pre-existing shared memory block") || words.contains("postmaster.pid") {
                    thread::sleep(POLL * 10);
                    return Ok(false);
                }
                bail!("the embedded database does not start ({status}); postgres says:\n{words}");
            }
            thread::sleep(POLL);
        }
        Ok(false)
    }

    /// Stops the cluster, ending its sessions. Only under the lock.
    fn stop(&self) -> anyhow::Result<()> {
        let output = self
            .command("pg_ctl")
            .arg("-D")
            .arg(self.data())
            .args(["-m", "fast", "-w", "-t", "30", "stop"])
            .output()
            .context("cannot run pg_ctl")?;
        if !output.status.success() && self.is_running() {
            bail!("pg_ctl says: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// What `postmaster.pid` says; nothing when the cluster was stopped in order.
    fn postmaster(&self) -> Option<Postmaster> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        Some(Postmaster {
            pid: lines.next()?.trim().parse().ok()?,
            says_ready: lines.nth(6).is_some_and(|status| status.trim() == "ready"),
        })
    }

    /// Whether the cluster has ended without being stopped.
    fn has_crashed(&self) -> bool {
        self.postmaster().is_some() && !self.is_running()
    }

    /// Whether the process that `postmaster.pid` names is there, and is this cluster's.
    fn is_running(&self) -> bool {
        let data = self.data();
        let started = self.postmaster().and_then(|postmaster| process(postmaster.pid));
        started.is_some_and(|line| line.contains(&*data.to_string_lossy()))
    }

    /// Removes a `postmaster.pid` whose number belongs to another program by now, which PostgreSQL would take for
    /// itself. (It sees on its own that nobody has the number.)
    fn clear_false_claim(&self) -> anyhow::Result<()> {
        if self.postmaster().is_some_and(|postmaster| process(postmaster.pid).is_some()) {
            // Time for what is left of the old one to end; should it not, PostgreSQL sees its shared memory.
            thread::sleep(Duration::from_secs(1));
            fs::remove_file(self.data().join("postmaster.pid"))?;
        }
        Ok(())
    }

    /// Whether the cluster says that it is ready and takes a connection. The file alone may be an old one's.
    fn is_ready(&self, started: Option<u32>) -> bool {
        self.postmaster().is_some_and(|postmaster| {
            postmaster.says_ready
                && started.is_none_or(|pid| pid == postmaster.pid)
                && takes_connections(&self.socket())
        })
    }

    /// The end of the log.
    fn last_words(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

/// What `postmaster.pid` says.
#[derive(Debug, Clone, Copy)]
struct Postmaster {
    pid: u32,
    says_ready: bool,
}

/// The command line of the process with this number; nothing when there is none, or one that is dead and not yet buried.
fn process(pid: u32) -> Option<String> {
    let line = if Path::new("/proc/self/cmdline").exists() {
        fs::read(format!("/proc/{pid}/cmdline")).ok()?
    } else {
        Command::new("ps").args(["-o", "args=", "-p", &pid.to_string()]).output().ok()?.stdout
    };
    let line = String::from_utf8_lossy(&line).trim().to_owned();
    (!line.is_empty() && line != "<defunct>").then_some(line)
}

/// Whether PostgreSQL at this socket lets the superuser in.
fn takes_connections(socket: &Path) -> bool {
    let greet = || -> io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        // Start-up message: its length, protocol 3.0, names and values, a zero at the end.
        let mut message = vec![0, 0, 0, 0, 0, 3, 0, 0];
        message.extend_from_slice(format!("user\0{ROLE}\0database\0postgres\0\0").as_bytes());
        let length = u32::try_from(message.len()).unwrap_or_default();
        for (place, byte) in message.iter_mut().zip(length.to_be_bytes()) {
            *place = byte;
        }
        stream.write_all(&message)?;
        let mut answer = [0_u8];
        stream.read_exact(&mut answer)?;
        // Good-bye.
        stream.write_all(&[b'X', 0, 0, 0, 4])?;
        // R: who you are is settled; E: an error, such as one that it is still starting.
        Ok(answer == *b"R")
    };
    greet().unwrap_or(false)
}

/// Makes the cluster's folder, or checks the one that is there, and says whom to run PostgreSQL as.
fn prepare_home(home: &Path, account: &Account) -> anyhow::Result<Option<Ids>> {
    if let Err(error) = DirBuilder::new().mode(0o700).create(home)
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(error.into());
    }
    let found = fs::symlink_metadata(home)?;
    if !found.is_dir() {
        bail!("is no folder");
    }
    let run_as = match (account.is_root, found.uid()) {
        (true, 0) => Some(unprivileged(home.parent().unwrap_or(home))?),
        (true, owner) => Some((owner, found.gid())),
        (false, owner) if owner == account.uid => None,
        (false, owner) => {
            bail!("belongs to the user with number {owner}, who ran the server here; remove it to start anew")
        }
    };
    own(home, run_as)?;
    // Whether that user gets there at all depends on every folder above.
    let mut reach = Command::new("sh");
    reach.args(["-c", r#"test -r "$1" && test -w "$1" && test -x "$1""#, "sh"]).arg(home).current_dir("/");
    if let Some((uid, gid)) = run_as {
        reach.uid(uid).gid(gid);
    }
    if !reach.status().context("cannot run sh")?.success() {
        // Not empty: somebody's cluster, which another look may reach.
        drop(fs::remove_dir(home));
        bail!("cannot be reached by the user who runs PostgreSQL");
    }
    Ok(run_as)
}

/// Gives a folder to the user who runs PostgreSQL, and to nobody else.
fn own(dir: &Path, run_as: Option<Ids>) -> anyhow::Result<()> {
    if let Some((uid, gid)) = run_as {
        std::os::unix::fs::chown(dir, Some(uid), Some(gid))?;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    if fs::metadata(dir)?.permissions().mode() & 0o077 != 0 {
        bail!("its file system does not keep rights; PostgreSQL needs one that does");
    }
    Ok(())
}

/// The folder of the socket: in the cluster's own, else a short one below `/tmp`.
fn prepare_socket_dir(home: &Path, account: &Account, run_as: Option<Ids>) -> anyhow::Result<PathBuf> {
    let dir = home.join("socket");
    let text = dir.as_os_str().as_encoded_bytes();
    let fits = text.len() + "/".len() + socket_name().len() < LONGEST_SOCKET_PATH;
    // PostgreSQL takes a list of folders.
    let plain = dir.to_str().is_some_and(|text| !text.contains([',', '"']));
    let uid = run_as.map_or(account.uid, |(uid, _)| uid);
    let dir = if fits && plain { dir } else { PathBuf::from(format!("/tmp/swincms-{uid}-{}", hash(text))) };
    if let Err(error) = DirBuilder::new().mode(0o700).create(&dir)
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("cannot make {}", dir.display()));
    }
    // Below /tmp anybody may have made it.
    let found = fs::symlink_metadata(&dir)?;
    if !found.is_dir() || !(found.uid() == uid || found.uid() == account.uid) {
        bail!("{} is not ours; remove it", dir.display());
    }
    own(&dir, run_as)?;
    Ok(dir)
}

fn socket_name() -> String {
    format!(".s.PGSQL.{PORT}")
}

/// The major version of the cluster in this folder; nothing when there is none.
fn version_of(data: &Path) -> anyhow::Result<Option<u32>> {
    match fs::read_to_string(data.join("PG_VERSION")) {
        Ok(text) => Ok(Some(text.trim().parse().context("the embedded database has no readable version")?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A short name for something long.
fn hash(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    URL_SAFE_NO_PAD.encode(digest.as_ref().get(..9).unwrap_or_default())
}

/// PostgreSQL's programs.
#[derive(Debug)]
struct Programs {
    dir: PathBuf,
    major: u32,
}

impl Programs {
    /// Looks for programs that can run the cluster of version `wanted`, or any when there is no cluster yet.
    fn find(pg_bin: Option<&Path>, wanted: Option<u32>) -> anyhow::Result<Self> {
        if let Some(dir) = pg_bin {
            // Commands are run in another folder.
            let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
            let Some(programs) = Self::look(dir) else {
                bail!("PG_BIN names no folder with initdb, pg_ctl and postgres in it");
            };
            return match programs.fault(wanted) {
                None => Ok(programs),
                Some(fault) => bail!("PG_BIN has PostgreSQL {}; {fault}", programs.major),
            };
        }
        let mut found = Vec::from_iter(on_path().and_then(Self::look));
        if let Some(programs) = found.pop_if(|programs| programs.fault(wanted).is_none()) {
            return Ok(programs);
        }
        found.extend(PLACES.iter().flat_map(folders).filter_map(Self::look));
        found.sort_by_key(|programs| programs.major);
        let fitting = found.iter().rposition(|programs| programs.fault(wanted).is_none());
        if let Some(place) = fitting {
            return Ok(found.swap_remove(place));
        }
        match found.pop() {
            None => bail!("PostgreSQL ({OLDEST} or newer) is not installed.\n{HOW_TO_INSTALL}"),
            Some(programs) => {
                let fault = programs.fault(wanted).unwrap_or_default();
                bail!("PostgreSQL {} is installed; {fault}\n{HOW_TO_INSTALL}", programs.major)
            }
        }
    }

    /// The programs in a folder; nothing unless all are there and run.
    fn look(dir: PathBuf) -> Option<Self> {
        if !["initdb", "pg_ctl", "postgres"].iter().all(|name| dir.join(name).exists()) {
            return None;
        }
        let mut programs = Self { dir, major: 0 };
        let output = programs.command("pg_ctl").arg("--version").output().ok()?;
        // As in `pg_ctl (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, version) = said.split_once("(PostgreSQL) ")?;
        programs.major = version.split(|sign: char| !sign.is_ascii_digit()).next()?.parse().ok()?;
        Some(programs)
    }

    /// Why these programs will not do.
    fn fault(&self, wanted: Option<u32>) -> Option<String> {
        match wanted {
            Some(wanted) if wanted != self.major => Some(format!(
                "the embedded database was made by PostgreSQL {wanted}: install that one, or remove the database's \
                 folder to start anew"
            )),
            None if self.major < OLDEST => Some(format!("{OLDEST} or newer is needed.")),
            Some(_) | None => None,
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.dir.join(program));
        command.current_dir("/").env("LC_ALL", "C");
        for name in ["PGDATA", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS", "PG_COLOR"] {
            command.env_remove(name);
        }
        command
    }
}

/// The folder of the `postgres` that a shell would run.
fn on_path() -> Option<PathBuf> {
    let output = Command::new("sh").args(["-c", "command -v postgres"]).output().ok()?;
    let program = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    program.canonicalize().ok()?.parent().map(Path::to_owned)
}

/// The folders that one of [`PLACES`] means.
fn folders((parent, prefix, below): &(&str, &str, &str)) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()))
        .map(|entry| entry.path().join(below))
        .collect()
}
