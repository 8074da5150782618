//! `swincms createsuperuser`

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::Args;
use lettre::Address;
use serde_json::json;

use super::import::store::accounts;
use super::{audit, database, hashing, out};
use crate::access::passwords;
use crate::config::Config;
use crate::db::{self, Pool};
use crate::http::{Faults, Problem, Refusal};
use crate::users::names;

/// What violated constraints mean: somebody was quicker.
const REFUSALS: &[Refusal] = &[
    Refusal::taken("users_email_is_unique", "email", "A user with this email already exists."),
    Refusal::taken("users_username_is_unique", "username", "A user with this username already exists."),
];

/// Who it is to be. What is left out is asked for on a terminal.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The mail address to log in with.
    #[arg(long)]
    email: Option<String>,
    /// The user name.
    #[arg(long)]
    username: Option<String>,
}

/// Makes an administrator who may do everything.
///
/// # Errors
/// Every reason against the address, the user name and the password.
pub(super) async fn run(options: Options, config: Config) -> anyhow::Result<()> {
    database::with(config, async |pool| create(options, pool).await).await
}

async fn create(options: Options, pool: &Pool) -> anyhow::Result<()> {
    let given = given_password()?;
    let asks = io::stdin().is_terminal();
    if !asks && (options.email.is_none() || options.username.is_none() || given.is_none()) {
        bail!(
            "this is no terminal to ask on: give --email and --username, and the password in SUPERUSER_PASSWORD or a file that \
             SUPERUSER_PASSWORD_FILE names"
        );
    }
    // `su -c` has an input that looks like a terminal and none to ask on; better told before the first answer than after it.
    if given.is_none()
        && let Err(error) = std::fs::File::open("/dev/tty")
    {
        bail!(
            "the password cannot be asked for: there is no terminal (/dev/tty: {error}). With `runuser -u swincms -- swincms \
             createsuperuser` or `su -P` there is one; or give the password in SUPERUSER_PASSWORD, or in a file that \
             SUPERUSER_PASSWORD_FILE names"
        );
    }
    // One question at a time, each until its answer will do; what came by option or environment is not asked again.
    let email = match options.email {
        Some(email) => email.trim().to_owned(),
        None => ask("Email address: ", async |email| faults_of(pool, email, "", None).await).await?,
    };
    let username = match options.username {
        Some(username) => username.trim().to_owned(),
        None => ask("Username: ", async |username| faults_of(pool, "", username, None).await).await?,
    };
    let mut faults = faults_of(pool, &email, &username, given.as_deref()).await?;
    faults.unless(!email.is_empty(), "email", "This field is required and may not be blank.");
    faults.unless(!username.is_empty(), "username", "This field is required and may not be blank.");
    faults.check()?;
    let password = match given {
        Some(password) => password,
        None => ask_password(pool, &email, &username).await?,
    };
    let hash = tokio::task::spawn_blocking(move || hashing::hash(&password)).await??;

    let (email, username, hash) = (email.as_str(), username.as_str(), hash.as_str());
    let made = db::write(pool, |tx, _| {
        Box::pin(async move {
            let id = accounts::add_superuser(tx, email, username, hash)
                .await
                .map_err(|error| Problem::from(error).explained(REFUSALS))?;
            let details = json!({ "email": email, "username": username, "user_type": "admin", "is_superuser": true });
            audit::note(tx, "create", "user", Some(id), &details).await?;
            Ok(id)
        })
    });
    let id = made.await?;
    Ok(out::print(&format!("created the administrator {username} <{email}> (id {id})\n"))?)
}

/// The password of a script.
#[expect(clippy::disallowed_methods, reason = "a script's word to this one command, not a setting of the server")]
fn given_password() -> anyhow::Result<Option<String>> {
    if let Some(password) = std::env::var("SUPERUSER_PASSWORD").ok().filter(|password| !password.is_empty()) {
        return Ok(Some(password));
    }
    let Some(path) = std::env::var_os("SUPERUSER_PASSWORD_FILE").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let path = std::path::Path::new(&path);
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("SUPERUSER_PASSWORD_FILE: {} cannot be read", path.display()))?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// What is wrong with an address, a user name and a password; what is empty has not been asked for yet.
async fn faults_of(pool: &Pool, email: &str, username: &str, password: Option<&str>) -> anyhow::Result<Faults> {
    let mut faults = Faults::default();
    let (email_taken, username_taken) = accounts::taken(&mut *pool.acquire().await?, email, username).await?;
    if !email.is_empty() {
        faults.text("email", email, 254);
        faults.unless(email.parse::<Address>().is_ok(), "email", "Enter a valid email address.");
        faults.unless(!email_taken, "email", "A user with this email already exists.");
    }
    if !username.is_empty() {
        faults.text("username", username, 150);
        let plain = username.chars().all(|c| c.is_alphanumeric() || "@.+-_".contains(c));
        faults.unless(plain, "username", "Only letters, digits and @ . + - _ are allowed.");
        if !email.is_empty() {
            names::check(&mut faults, email, username);
        }
        faults.unless(!username_taken, "username", "A user with this username already exists.");
    }
    if let Some(password) = password {
        passwords::check(&mut faults, "password", password, &[("email address", email), ("username", username)]);
    }
    Ok(faults)
}

/// Asks until the answer will do.
async fn ask(question: &'static str, check: impl AsyncFn(&str) -> anyhow::Result<Faults>) -> anyhow::Result<String> {
    loop {
        let read = tokio::task::spawn_blocking(move || {
            eprint!("{question}");
            io::stderr().flush()?;
            let mut line = String::new();
            let length = io::stdin().lock().read_line(&mut line)?;
            io::Result::Ok((length > 0).then(|| line.trim().to_owned()))
        });
        let Some(answer) = read.await?? else { bail!("no answer was given; nothing was created") };
        if answer.is_empty() {
            continue;
        }
        match check(&answer).await?.check() {
            Ok(()) => return Ok(answer),
            Err(refused) => say(&refused),
        }
    }
}

/// Asks for a password twice, without showing it.
async fn ask_password(pool: &Pool, email: &str, username: &str) -> anyhow::Result<String> {
    loop {
        let read = tokio::task::spawn_blocking(|| {
            let once = rpassword::prompt_password("Password: ")?;
            let again = rpassword::prompt_password("Password (again): ")?;
            io::Result::Ok((once, again))
        });
        let (password, again) = read.await?.context("the password cannot be asked for")?;
        if password != again {
            eprintln!("The two passwords are not the same.");
            continue;
        }
        match faults_of(pool, email, username, Some(&password)).await?.check() {
            Ok(()) => return Ok(password),
            Err(refused) => say(&refused),
        }
    }
}

fn say(refused: &Problem) {
    for says in refused.errors().values().flatten() {
        eprintln!("{says}");
    }
}
