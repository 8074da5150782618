//! The endpoints below `/api/users/`, and tokens.

mod accounts;
mod guardians;
mod hostile_tokens;
mod log_in;
mod mail;
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
