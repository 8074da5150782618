//! The endpoints below `/api/users/`, and tokens.

mod accounts;
mod email_change;
mod guardians;
mod hostile_tokens;
mod log_in;
mod mail;
mod many_students;
mod password;
mod power;
mod profile_image;
mod registration;
mod reset;
mod roles;
mod scholarships;
mod sessions;
mod student_profiles;
mod throttling;

use serde_json::json;

use crate::support::{Reply, Sender, TestApp};

/// Logs in, or tries to.
async fn enter(from: &Sender, name: &str, password: &str) -> Reply {
    from.post("/api/token/", &json!({ "email": name, "password": password })).await
}

/// The mails that were written to files, oldest first.
fn mails(app: &TestApp) -> Vec<String> {
    let files = std::fs::read_dir(app.folder().join("mail")).unwrap();
    let mut files: Vec<_> =
        files.map(|file| file.unwrap()).filter(|file| file.path().extension() == Some("eml".as_ref())).collect();
    files.sort_by_key(|file| file.metadata().unwrap().modified().unwrap());
    files.iter().map(|file| std::fs::read_to_string(file.path()).unwrap()).collect()
}

/// Until no mail waits.
async fn delivered(app: &TestApp) {
    app.until("all mail is out", async || {
        let sql = sqlx::query_scalar!(r#"select count(*) as "count!" from mail_outbox where state = 'queued'"#);
        sql.fetch_one(&app.db).await.unwrap() == 0
    })
    .await;
}

/// The tokens of the links in all mails to this address, oldest first.
fn tokens(app: &TestApp, email: &str, link: &str) -> Vec<String> {
    let to_them = mails(app).into_iter().filter(|mail| mail.contains(&format!("To: {email}\r\n")));
    to_them
        .map(|mail| {
            let after = mail.split_once(link).unwrap_or_else(|| panic!("no {link} in {mail}")).1;
            after.split_whitespace().next().unwrap().to_owned()
        })
        .collect()
}
