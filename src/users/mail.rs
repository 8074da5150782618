//! The mail queue: rows of `mail_outbox`, written in the transaction that causes them, delivered by every server process.
//!
//! A row is leased, sent, and marked; a failure is tried again after 1, 2, 4 … minutes, for two days. What the server refuses for
//! good is given up at once; when it is the server that fails, all that is queued waits a minute, so that not each mail finds out
//! for itself. No secret waits in the queue: a reset token is made when its mail is.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use lettre::message::header::{
    ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue, MIME_VERSION_1_0,
};
use lettre::message::{Body, Mailbox};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncFileTransport, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::access::tokens;
use crate::app::AppState;
use crate::config::{Config, Mail, MailTls};
use crate::http::{Answer, Problem};
use crate::telemetry::causes;
use crate::users::names::for_mail;
use crate::users::{email_change, registrations};

const EVERY: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

/// How the server is known by an authority of our own, beside the world's.
fn trusting(host: &str, ca: &Path) -> anyhow::Result<TlsParameters> {
    let read = std::fs::read(ca).with_context(|| format!("EMAIL_CA_FILE: {} cannot be read", ca.display()))?;
    let certificate = Certificate::from_pem(&read)
        .with_context(|| format!("EMAIL_CA_FILE: {} holds no certificate", ca.display()))?;
    Ok(TlsParameters::builder(host.to_owned()).add_root_certificate(certificate).build()?)
}

enum Transport {
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    Files(AsyncFileTransport<Tokio1Executor>),
}

impl Transport {
    fn of(config: &Config) -> anyhow::Result<Self> {
        Ok(match &config.mail {
            Mail::Files(folder) => {
                std::fs::create_dir_all(folder)?;
                Self::Files(AsyncFileTransport::new(folder))
            }
            Mail::Smtp { host, port, login, tls, ca } => {
                let builder = match tls {
                    MailTls::None => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host),
                    MailTls::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host)?,
                    MailTls::Implicit => AsyncSmtpTransport::<Tokio1Executor>::relay(host)?,
                };
                let builder = match (tls, ca) {
                    (MailTls::None, _) | (_, None) => builder,
                    (MailTls::StartTls, Some(ca)) => builder.tls(Tls::Required(trusting(host, ca)?)),
                    (MailTls::Implicit, Some(ca)) => builder.tls(Tls::Wrapper(trusting(host, ca)?)),
                };
                let builder = builder.port(*port).timeout(Some(PATIENCE));
                let builder = match login {
                    Some((user, password)) => {
                        builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()))
                    }
                    None => builder,
                };
                Self::Smtp(Box::new(builder.build()))
            }
        })
    }

    /// What the server said.
    async fn send(&self, message: Message) -> Result<String, Failure> {
        // The transport's own patience is for each step of the conversation.
        let sent = async {
            match self {
                Self::Smtp(transport) => {
                    // First whether the server speaks with us: what it refuses then is this mail.
                    match transport.test_connection().await {
                        Ok(true) => {}
                        Ok(false) => return Err(Failure::of_server("the mail server does not answer as one")),
                        Err(error) => return Err(Failure::of_server(causes(&error))),
                    }
                    // The session goes back to the pool in a task of its own; then this takes the same.
                    yield_now().await;
                    match transport.send(message).await {
                        Ok(said) => Ok(said.message().collect::<Vec<_>>().join(" ")),
                        Err(error) if error.is_permanent() => {
                            Err(Failure { why: causes(&error), is_final: true, is_of_server: false })
                        }
                        Err(error) if error.is_transient() => Err(Failure::of_mail(causes(&error))),
                        Err(error) => Err(Failure::of_server(causes(&error))),
                    }
                }
                Self::Files(transport) => match transport.send(message).await {
                    Ok(id) => Ok(format!("written as {id}")),
                    Err(error) => Err(Failure::of_server(causes(&error))),
                },
            }
        };
        let late =
            || Failure::of_server(format!("the mail server has not answered for {} s", (PATIENCE * 2).as_secs()));
        timeout(PATIENCE * 2, sent).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Why a mail is not sent.
struct Failure {
    why: String,
    /// Trying again would be answered the same.
    is_final: bool,
    /// No other mail would fare better.
    is_of_server: bool,
}

impl Failure {
    fn of_server(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_final: false, is_of_server: true }
    }

    fn of_mail(why: impl Into<String>) -> Self {
        Self { why: why.into(), is_final: false, is_of_server: false }
    }
}

/// Sends a trial mail, and says what the mail server said.
///
/// # Errors
/// Why it could not be sent.
pub async fn send_trial(config: &Config, to: &str) -> anyhow::Result<String> {
    let transport = Transport::of(config)?;
    let to: Mailbox = for_mail(to).context("no mail can reach this address")?.parse()?;
    let text = "This is a trial mail of `swincms check --mail`. If you can read it, mail works.\n".to_owned();
    let message = built(config, to, "A trial mail", text)?;
    transport.send(message).await.map_err(|failure| anyhow::anyhow!("{}", failure.why))
}

/// Delivers until `stop`.
pub async fn deliver(app: AppState, stop: CancellationToken) {
    let transport = match Transport::of(&app.config) {
        Ok(transport) => transport,
        Err(error) => {
            tracing::error!(%error, "mail cannot be sent: the mail settings do not work");
            return;
        }
    };
    while !stop.is_cancelled() {
        let sent = if app.database.is_read_only() { Ok(false) } else { next(&app, &transport, &stop).await };
        match sent {
            Ok(true) => continue,
            Ok(false) => {}
            Err(problem) => tracing::debug!(%problem, "the mail queue could not be read"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
    }
}

/// Sends one mail, if one is due.
async fn next(app: &AppState, transport: &Transport, stop: &CancellationToken) -> Answer<bool> {
    let due = sqlx::query!(
        "update mail_outbox
            set leased_until = rule_now() + interval '2 minutes',
                attempts = attempts + 1
          where id = (select id
                        from mail_outbox
                       where state = 'queued'
                         and next_at <= rule_now()
                         and (leased_until is null or leased_until < rule_now())
                       order by next_at, id
                       limit 1
                         for update skip locked)
         returning id, template, user_id, recipient, params, attempts, created_at < rule_now() - interval '2 days' as \"old!\",
                   security_version is distinct from coalesce((select u.security_version from users u where u.id = user_id), 1)
                       as \"is_void!\""
    )
    .fetch_optional(&mut *app.db.acquire().await?)
    .await?;
    let Some(mail) = due else { return Ok(false) };
    // What it was asked for under has ended: the password, the address or the activity of the account has changed.
    if mail.is_void {
        sqlx::query!("update mail_outbox set state = 'skipped', leased_until = null where id = $1", mail.id)
            .execute(&mut *app.db.acquire().await?)
            .await?;
        return Ok(true);
    }
    let sent = match message(app, &mail.template, mail.user_id, &mail.recipient, &mail.params).await {
        Ok(Some(message)) => {
            let sent = tokio::select! {
                sent = transport.send(message) => Some(sent),
                () = given_up(stop, app.config.drain) => None,
            };
            let Some(sent) = sent else {
                tracing::warn!(mail = mail.id, "a mail was not sent before the stop; the next process sends it");
                return hand_back(app, mail.id).await.map(|()| false);
            };
            sent
        }
        Ok(None) => {
            skip(app, mail.id).await?;
            return Ok(true);
        }
        Err(problem) => Err(Failure::of_mail(problem.to_string())),
    };
    match sent {
        Ok(_) => {
            sqlx::query!(
                "update mail_outbox
                    set state = 'sent', sent_at = rule_now(), leased_until = null
                  where id = $1",
                mail.id
            )
            .execute(&mut *app.db.acquire().await?)
            .await?;
        }
        Err(failure) => {
            tracing::warn!(
                mail = mail.id,
                error = failure.why,
                given_up = failure.is_final,
                "a mail could not be sent"
            );
            let error: String = failure.why.chars().take(2000).collect();
            if failure.is_of_server {
                let put_off = put_off(app).await?;
                tracing::warn!(put_off, "the mail server fails: what is queued waits a minute");
            }
            sqlx::query!(
                "update mail_outbox
                    set state = case when $2 then 'dead' else 'queued' end,
                        leased_until = null,
                        last_error = $3,
                        next_at = rule_now() + least(interval '1 hour', interval '1 minute' * power(2, least($4, 10) - 1))
                  where id = $1",
                mail.id,
                mail.old || failure.is_final,
                error,
                mail.attempts
            )
            .execute(&mut *app.db.acquire().await?)
            .await?;
        }
    }
    Ok(true)
}

/// Ends a moment before the drain does, when the server is told to stop.
async fn given_up(stop: &CancellationToken, drain: Duration) {
    stop.cancelled().await;
    sleep(drain.saturating_sub(Duration::from_secs(1))).await;
}

/// Lets go of a mail that was not sent, as if it had not been tried.
async fn hand_back(app: &AppState, mail: i64) -> Answer<()> {
    sqlx::query!("update mail_outbox set leased_until = null, attempts = attempts - 1 where id = $1", mail)
        .execute(&mut *app.db.acquire().await?)
        .await?;
    Ok(())
}

/// Lets all that is due wait a minute, in all processes; how many.
async fn put_off(app: &AppState) -> Answer<u64> {
    let done = sqlx::query!(
        "update mail_outbox
            set next_at = rule_now() + interval '1 minute'
          where id in (select id
                         from mail_outbox
                        where state = 'queued'
                          and next_at < rule_now() + interval '1 minute'
                          and (leased_until is null or leased_until < rule_now())
                          for update skip locked)"
    )
    .execute(&mut *app.db.acquire().await?)
    .await?;
    Ok(done.rows_affected())
}

/// Takes a mail that has lost its reason out of the queue.
async fn skip(app: &AppState, mail: i64) -> Answer<()> {
    sqlx::query!("update mail_outbox set state = 'skipped', leased_until = null where id = $1", mail)
        .execute(&mut *app.db.acquire().await?)
        .await?;
    Ok(())
}

/// The mail; none when there is no reason for it any more.
async fn message(
    app: &AppState,
    template: &str,
    user: Option<i64>,
    recipient: &str,
    params: &Value,
) -> Answer<Option<Message>> {
    let (subject, text) = match (template, user) {
        ("password_reset", Some(user)) => ("Set a new password", password_reset(app, user).await?),
        ("email_change_notice", _) => ("Your address is about to change", EMAIL_CHANGE_NOTICE.to_owned()),
        ("email_change", Some(user)) => match email_change(app, user, recipient).await? {
            Some(text) => ("Confirm your address", text),
            None => return Ok(None),
        },
        ("registered_already", _) => ("You have an account already", REGISTERED_ALREADY.to_owned()),
        ("registration", _) => match registration(app, params).await? {
            Some(text) => ("Confirm your address", text),
            None => return Ok(None),
        },
        _ => return Err(Problem::internal(anyhow::anyhow!("there is no mail `{template}`"))),
    };
    let to = for_mail(recipient).ok_or_else(|| Problem::internal(anyhow::anyhow!("no mail can reach this address")))?;
    let to: Mailbox = to.parse().map_err(Problem::internal)?;
    built(&app.config, to, subject, text).map(Some).map_err(Problem::internal)
}

fn built(config: &Config, to: Mailbox, subject: &str, text: String) -> Result<Message, lettre::error::Error> {
    let from = config.mail_from.clone();
    // Large receivers take no mail without an id, and relays need not add one.
    let id = format!("<{}@{}>", uuid::Uuid::now_v7().simple(), from.email.domain());
    let message = Message::builder()
        .message_id(Some(id))
        .date_now()
        .from(from)
        .to(to)
        .subject(subject)
        .header(AutoSubmitted)
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN);
    message.body(as_it_is(text))
}

/// Says that a program wrote it (RFC 3834), so that no absence notice comes back.
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Lines that mail may carry as they are stay so: folded after 76 letters, a link could not be read from the file that a
/// mail is in dev.
fn as_it_is(text: String) -> Body {
    if text.is_ascii() && text.lines().all(|line| line.len() <= 998) {
        return Body::dangerous_pre_encoded(text.replace('\n', "\r\n").into_bytes(), ContentTransferEncoding::SevenBit);
    }
    Body::new(text)
}

/// Makes the one-use token and the text around its link.
async fn password_reset(app: &AppState, user: i64) -> Answer<String> {
    let token = tokens::random()?;
    sqlx::query!(
        "insert into password_reset_tokens (user_id, token_hash, expires_at)
         values ($1, $2, rule_now() + interval '1 hour')",
        user,
        tokens::hash(&token)
    )
    .execute(&mut *app.db.acquire().await?)
    .await?;
    Ok(format!(
        "Somebody, most likely you, asked for a new password of your account.\n\n\
         Set it here within an hour; the link works once:\n\n{}{token}\n\n\
         If it was not you, do nothing: your password stays as it is.\n",
        app.config.password_reset_url
    ))
}

/// Goes to the present address: whoever reads it may be the only one who knows that the change is not wanted.
const EMAIL_CHANGE_NOTICE: &str = "Another address was given for your account. A mail with a link went there; once that is \
     confirmed, this address is not yours to log in with any more.\n\n\
     If you do not know of it, tell the administration at once, and set a new password: that ends the change.\n";

/// Goes to an address that somebody registers with though it has an account; who registered is told nothing of it.
const REGISTERED_ALREADY: &str = "Somebody, most likely you, registered with this address, which has an account already. Log in with \
     it; if you do not know the password any more, ask for a new one where you log in.\n\n\
     If it was not you, do nothing: your account stays as it is.\n";

/// Makes the one-use token and the text around its link; nothing when the registration does not wait any more.
async fn registration(app: &AppState, params: &Value) -> Answer<Option<String>> {
    let Some(id) = params["registration"].as_i64() else { return Ok(None) };
    let token = tokens::random()?;
    let waits = registrations::keep_token(&mut *app.db.acquire().await?, id, &tokens::hash(&token)).await?;
    Ok(waits.then(|| {
        format!(
            "Somebody, most likely you, registered an account with this address.\n\n\
             Confirm it here within a week, then log in; the link works once:\n\n{}{token}\n\n\
             If it was not you, do nothing: there will be no account.\n",
            app.config.email_confirm_url
        )
    }))
}

/// Makes the one-use token and the text around its link; nothing when this address is not waited for any more.
async fn email_change(app: &AppState, user: i64, recipient: &str) -> Answer<Option<String>> {
    let token = tokens::random()?;
    let waits = email_change::keep_token(&mut *app.db.acquire().await?, user, recipient, &tokens::hash(&token)).await?;
    Ok(waits.then(|| {
        format!(
            "This address was given as the new one of an account.\n\n\
             Confirm it here within a day; the link works once:\n\n{}{token}\n\n\
             If you do not know of it, do nothing: the account keeps its address.\n",
            app.config.email_confirm_url
        )
    }))
}
