//! The mail queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::mails;
use crate::cli::swincms_with;
use crate::support::TestApp;

/// A mail server that keeps what it is sent, and refuses recipients whom it has been told to.
#[derive(Clone, Default)]
struct Mailbox {
    refused: Arc<Mutex<BTreeMap<String, &'static str>>>,
    kept: Arc<Mutex<Vec<(String, String)>>>,
}

impl Mailbox {
    /// Its port.
    async fn open(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let own = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                tokio::spawn(async move { own.talk(stream).await });
            }
        });
        port
    }

    async fn talk(&self, stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 mail.example.edu\r\n").await?;
        let mut to = String::new();
        while let Some(line) = lines.next_line().await? {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let answer = match verb.as_str() {
                "EHLO" | "HELO" => "250 mail.example.edu\r\n",
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    self.refused.lock().unwrap().get(&to).copied().unwrap_or("250 ok\r\n")
                }
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await?;
                    let mut text = String::new();
                    while let Some(line) = lines.next_line().await? {
                        if line == "." {
                            break;
                        }
                        text.push_str(&line);
                        text.push('\n');
                    }
                    self.kept.lock().unwrap().push((to.clone(), text));
                    "250 kept\r\n"
                }
                "QUIT" => {
                    write.write_all(b"221 bye\r\n").await?;
                    return Ok(());
                }
                _ => "250 ok\r\n",
            };
            write.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    }

    fn recipients(&self) -> Vec<String> {
        self.kept.lock().unwrap().iter().map(|(to, _)| to.clone()).collect()
    }
}

#[tokio::test]
async fn a_mail_has_all_that_large_receivers_ask_for() {
    let app = TestApp::with_background(&[("EMAIL_FROM", "Campus <noreply@campus.example.edu>")]).await;
    let ann = app.student().await;
    app.anonymous().post("/api/users/password-reset/", &json!({ "email": ann.email })).await.expect(202);
    super::delivered(&app).await;
    let mail = mails(&app).pop().unwrap();
    let (head, text) = mail.split_once("\r\n\r\n").unwrap();
    let mut headers: Vec<(String, String)> = head
        .split("\r\n")
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap())
        .collect();
    headers.sort();
    let value = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
    let id = value("Message-ID");
    assert!(id.starts_with('<') && id.ends_with("@campus.example.edu>") && id.len() > 40, "{id}");
    assert!(value("Date").ends_with(" +0000"));
    let plain: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !["Date", "Message-ID"].contains(name))
        .collect();
    assert_eq!(
        plain,
        [
            ("Auto-Submitted", "auto-generated"),
            ("Content-Transfer-Encoding", "7bit"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("From", "Campus <noreply@campus.example.edu>"),
            ("MIME-Version", "1.0"),
            ("Subject", "Set a new password"),
            ("To", ann.email.as_str()),
        ]
    );
    assert!(
        text.starts_with("Somebody, most likely you,") && text.is_ascii() && !text.replace("\r\n", "").contains('\n')
    );
}

#[tokio::test]
async fn addresses_that_no_mail_can_reach_are_refused_at_the_door() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let with = |email: &str| {
        json!({
            "email": email, "username": "n", "password": "harbour-Quilt-77", "confirm_password": "harbour-Quilt-77",
        })
    };
    for email in [
        "a@[127.0.0.1]",
        "\"quoted local\"@swin.edu.vn",
        "\"quoted\"@swin.edu.vn",
        "a@swin",
        "nguyễn@swin.edu.vn",
        "an@xn--ihc-uqa4598avha.vn",
    ] {
        for by in [app.anonymous(), (*admin).clone()] {
            let reply = by.post("/api/users/users/", &with(email)).await;
            assert_eq!(
                (reply.status.as_u16(), reply.errors("email").is_empty()),
                (400, false),
                "{email}: {}",
                reply.body
            );
        }
        let ann = app.student().await;
        let reply = admin.patch(&format!("/api/users/users/{}/", ann.id), &json!({ "email": email })).await;
        assert_eq!((reply.status.as_u16(), reply.errors("email").is_empty()), (400, false), "{email}: {}", reply.body);
    }
}

#[tokio::test]
async fn a_mail_to_a_domain_in_other_letters_goes_to_its_ascii_form() {
    let app = TestApp::with_background(&[]).await;
    let admin = app.admin().await;
    let person = json!({
        "email": "an@đạihọc.vn", "username": "an", "password": "harbour-Quilt-77",
        "confirm_password": "harbour-Quilt-77",
    });
    admin.post("/api/users/users/", &person).await.expect(201);
    ask(&app, "an@ĐẠIHỌC.vn").await;
    super::delivered(&app).await;
    let mail = mails(&app).pop().unwrap();
    assert!(mail.contains("\r\nTo: an@xn--ihc-uqa4598avha.vn\r\n"), "{mail}");
}

async fn with_mail_server(port: &str) -> TestApp {
    TestApp::with_background(&[("EMAIL_HOST", "127.0.0.1"), ("EMAIL_PORT", port), ("EMAIL_USE_TLS", "false")]).await
}

async fn ask(app: &TestApp, email: &str) {
    app.anonymous().post("/api/users/password-reset/", &json!({ "email": email })).await.expect(202);
}

/// State, attempts, whether it is due again, and the error, of the mail to this address.
async fn mail_to(app: &TestApp, email: &str) -> (String, i32, bool, String) {
    let sql = sqlx::query!(
        r#"select state, attempts, next_at <= rule_now() as "due!", last_error from mail_outbox where recipient = $1"#,
        email
    );
    let row = sql.fetch_one(&app.db).await.unwrap();
    (row.state, row.attempts, row.due, row.last_error)
}

async fn until_tried(app: &TestApp, email: &str, times: i32) {
    app.until("the mail was tried", async || {
        let sql = sqlx::query_scalar!(
            r#"select attempts >= $2 and leased_until is null as "tried!" from mail_outbox where recipient = $1"#,
            email,
            times
        );
        sql.fetch_one(&app.db).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_mail_that_is_refused_is_tried_again_and_holds_up_no_other() {
    let mailbox = Mailbox::default();
    let app = with_mail_server(&mailbox.open().await).await;
    let (ann, bob) = (app.student().await, app.student().await);
    mailbox.refused.lock().unwrap().insert(ann.email.clone(), "451 too busy for this one\r\n");
    ask(&app, &ann.email).await;
    ask(&app, &bob.email).await;
    app.until("the other mail is out", async || mail_to(&app, &bob.email).await.0 == "sent").await;
    until_tried(&app, &ann.email, 1).await;
    let (state, attempts, due, error) = mail_to(&app, &ann.email).await;
    assert_eq!((state.as_str(), attempts, due), ("queued", 1, false), "it waits a minute");
    assert!(error.contains("too busy for this one"), "{error}");
    assert_eq!(mailbox.recipients(), [bob.email.as_str()]);

    app.set_time("2026-03-02T02:01:00Z").await;
    until_tried(&app, &ann.email, 2).await;
    let wait = sqlx::query_scalar!(
        r#"select extract(epoch from next_at - rule_now())::float8 as "seconds!" from mail_outbox where recipient = $1"#,
        ann.email
    );
    assert_eq!(wait.fetch_one(&app.db).await.unwrap(), 120.0, "then two");

    mailbox.refused.lock().unwrap().clear();
    app.set_time("2026-03-02T02:03:00Z").await;
    app.until("the mail is out", async || mail_to(&app, &ann.email).await.0 == "sent").await;
    assert_eq!(mailbox.recipients(), [bob.email.as_str(), ann.email.as_str()]);
    let text = mailbox.kept.lock().unwrap()[1].1.clone();
    assert!(text.contains("Subject: Set a new password") && text.contains("/reset/"), "{text}");
}

#[tokio::test]
async fn what_is_refused_for_good_is_given_up_at_once() {
    let mailbox = Mailbox::default();
    let app = with_mail_server(&mailbox.open().await).await;
    let (ann, bob) = (app.student().await, app.student().await);
    mailbox.refused.lock().unwrap().insert(ann.email.clone(), "550 5.1.1 no such person\r\n");
    ask(&app, &ann.email).await;
    until_tried(&app, &ann.email, 1).await;
    let (state, attempts, _, error) = mail_to(&app, &ann.email).await;
    assert_eq!((state.as_str(), attempts), ("dead", 1));
    assert!(error.contains("no such person"), "{error}");
    // It says nothing of the others.
    ask(&app, &bob.email).await;
    app.until("the other mail is out", async || mail_to(&app, &bob.email).await.0 == "sent").await;
}

#[tokio::test]
async fn a_mail_server_that_fails_lets_all_that_is_queued_wait() {
    // It takes connections, and greets with a refusal.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let calls = Arc::new(Mutex::new(0));
    let counted = calls.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *counted.lock().unwrap() += 1;
            let _gone = stream.write_all(b"554 we take no mail from you\r\n").await;
        }
    });
    let app = TestApp::start().await;
    let people = [app.student().await, app.student().await, app.student().await];
    for person in &people {
        ask(&app, &person.email).await;
    }
    let settings = [("EMAIL_HOST", "127.0.0.1"), ("EMAIL_PORT", port.as_str()), ("EMAIL_USE_TLS", "false")];
    let mut server = app.another_server().with_background();
    for (name, value) in settings {
        server = server.with(name, value);
    }
    let _server = server.start().await;
    let first = &people[0].email;
    until_tried(&app, first, 1).await;
    for person in &people {
        let (state, attempts, due, _) = mail_to(&app, &person.email).await;
        assert_eq!((state.as_str(), attempts, due), ("queued", i32::from(person.email == *first), false));
    }
    assert_eq!(*calls.lock().unwrap(), 1, "the others did not find out for themselves");
}

#[tokio::test]
async fn a_trial_mail_says_what_the_server_said() {
    let mailbox = Mailbox::default();
    let port = mailbox.open().await;
    let app = TestApp::start().await;
    let settings = [("EMAIL_HOST", "127.0.0.1"), ("EMAIL_PORT", port.as_str()), ("EMAIL_USE_TLS", "false")];
    let said = swincms_with(&app, &["check", "--mail", "ada@swin.edu.au"], &settings, "").await.good();
    assert!(said.contains("trial_mail") && said.contains("sent to ada@swin.edu.au: kept"), "{said}");
    assert_eq!(mailbox.recipients(), ["ada@swin.edu.au"]);
    mailbox.refused.lock().unwrap().insert("bob@swin.edu.au".to_owned(), "550 5.1.1 no such person\r\n");
    let said = swincms_with(&app, &["check", "--mail", "bob@swin.edu.au"], &settings, "").await;
    assert!(!said.ok && said.out.contains("no such person"), "{}", said.out);
    let said = swincms_with(&app, &["check", "--mail", "no address"], &settings, "").await;
    assert!(!said.ok && said.out.contains("no mail can reach this address"), "{}", said.out);
    // An authority of one's own that cannot be read is a fault of the configuration.
    let wrong = [&settings[..], &[("EMAIL_CA_FILE", "/nowhere/ca.pem")]].concat();
    let said = swincms_with(&app, &["check"], &wrong, "").await;
    assert!(!said.ok && said.out.contains("EMAIL_CA_FILE"), "{}", said.out);
}

#[tokio::test]
async fn a_mail_server_that_is_away_gets_the_mail_when_it_is_back() {
    // Nobody listens on a port that was just given back.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let app = with_mail_server(&address.port().to_string()).await;
    let ann = app.student().await;
    ask(&app, &ann.email).await;
    until_tried(&app, &ann.email, 1).await;
    let (state, _, due, error) = mail_to(&app, &ann.email).await;
    assert_eq!((state.as_str(), due, error.is_empty()), ("queued", false, false));

    let mailbox = Mailbox::default();
    let listener = TcpListener::bind(address).await.unwrap();
    let own = mailbox.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let own = own.clone();
            tokio::spawn(async move { own.talk(stream).await });
        }
    });
    app.set_time("2026-03-02T02:01:00Z").await;
    app.until("the mail is out", async || mail_to(&app, &ann.email).await.0 == "sent").await;
    assert_eq!(mailbox.recipients(), [ann.email.as_str()]);
}

#[tokio::test]
async fn a_mail_that_cannot_be_written_holds_up_no_other_and_is_given_up_after_two_days() {
    let app = TestApp::with_background(&[]).await;
    let ann = app.student().await;
    let sql = sqlx::query!(
        "insert into mail_outbox (template, recipient, user_id, created_at)
         values ('no_such_mail', 'young@example.edu', $1, rule_now()),
                ('no_such_mail', 'old@example.edu', $1, rule_now() - interval '49 hours'),
                ('password_reset', 'no address', $1, rule_now())",
        ann.id.0
    );
    sql.execute(&app.db).await.unwrap();
    ask(&app, &ann.email).await;
    app.until("the good mail is out", async || mail_to(&app, &ann.email).await.0 == "sent").await;
    for (email, state) in [("young@example.edu", "queued"), ("old@example.edu", "dead"), ("no address", "queued")] {
        until_tried(&app, email, 1).await;
        assert_eq!(mail_to(&app, email).await.0, state, "{email}");
    }
    assert_eq!(mails(&app).len(), 1);
}

#[tokio::test]
async fn a_mail_that_another_server_is_sending_is_left_to_it_while_its_lease_lasts() {
    let app = TestApp::with_background(&[]).await;
    let ann = app.student().await;
    let sql = sqlx::query!(
        "insert into mail_outbox (template, recipient, user_id, next_at, leased_until)
         values ('password_reset', 'leased@example.edu', $1, rule_now() - interval '3 hours', rule_now() + interval '1 minute'),
                ('password_reset', 'left@example.edu', $1, rule_now() - interval '2 hours', rule_now() - interval '1 second'),
                ('password_reset', 'later@example.edu', $1, rule_now() + interval '1 minute', null)",
        ann.id.0
    );
    sql.execute(&app.db).await.unwrap();
    // The queue goes by time, so whoever is later has seen all before.
    ask(&app, &ann.email).await;
    for email in ["left@example.edu", ann.email.as_str()] {
        app.until("the mail is out", async || mail_to(&app, email).await.0 == "sent").await;
    }
    for (email, state) in [("leased@example.edu", "queued"), ("later@example.edu", "queued")] {
        let (now, attempts, ..) = mail_to(&app, email).await;
        assert_eq!((now.as_str(), attempts), (state, 0), "{email}");
    }
    assert_eq!(mails(&app).len(), 2);
}

#[tokio::test]
async fn each_mail_is_sent_once_by_however_many_servers() {
    let mailbox = Mailbox::default();
    let app = with_mail_server(&mailbox.open().await).await;
    let (second, third) = (app.another_server().with_background(), app.another_server().with_background());
    let _others = tokio::join!(second.start(), third.start());
    let mut expected = BTreeSet::new();
    for _ in 0..20 {
        let who = app.student().await;
        ask(&app, &who.email).await;
        expected.insert(who.email);
    }
    app.until("all mail is out", async || {
        let sql = sqlx::query_scalar!(r#"select count(*) as "count!" from mail_outbox where state = 'queued'"#);
        sql.fetch_one(&app.db).await.unwrap() == 0
    })
    .await;
    let sent = mailbox.recipients();
    assert_eq!((sent.len(), sent.into_iter().collect::<BTreeSet<_>>()), (20, expected));
}
