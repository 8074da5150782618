//! The file store: what was uploaded, where it lies, and who may fetch it.
//!
//! Owns `stored_files` and the folders `public/` and `private/` under `MEDIA_ROOT`. What always holds:
//!
//! - a file's name on the disk is random and ours; what the uploader called it is kept beside it and never a path;
//! - its type is what its bytes say, of a list of types that no browser runs;
//! - public files are served under `/media/`, private ones only by a signed link that is valid for ten minutes;
//! - the bytes are on the disk before the row commits; when the row does not commit they are removed.

mod archive;
mod handlers;
mod kinds;
mod memory;
mod names;
mod plain;
mod store;
mod upload;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use secrecy::SecretString;

use crate::access::keys;
use crate::http::Routes;
use crate::ids::Id;

pub use kinds::Accepts;
pub use store::{Accepted, Admitted, FileStore, Stored, Written};
pub use upload::{Upload, UploadedFile};

/// How long a signed link is valid, in seconds.
const LINK_SECONDS: i64 = 600;

/// Signs and checks links to private files.
#[derive(Debug)]
pub struct Links(hmac::Key);

impl Links {
    /// With a key of its own, made from the server's secret.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        Self(keys::derived(secret, "links to private files"))
    }

    /// The address of a private file.
    #[must_use]
    pub fn private(&self, base_url: &str, file: Id, now: DateTime<Utc>) -> String {
        // Rounded to a minute, so that an object's ETag does not change with every read.
        let until = (now.timestamp() / 60 + 1) * 60 + LINK_SECONDS;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, said(file, until).as_bytes()));
        format!("{base_url}/api/files/{file}/?exp={until}&sig={signature}")
    }

    /// Whether we made this link and its time is not over.
    #[must_use]
    pub fn holds(&self, file: Id, until: i64, signature: &str, now: DateTime<Utc>) -> bool {
        let Ok(signature) = BASE64_URL_SAFE_NO_PAD.decode(signature) else { return false };
        until > now.timestamp() && hmac::verify(&self.0, said(file, until).as_bytes(), &signature).is_ok()
    }
}

fn said(file: Id, until: i64) -> String {
    format!("{file}\n{until}")
}

/// The endpoints that serve files.
pub fn routes() -> Routes {
    Routes::under("/media").get("/{name}", handlers::public, "Serves a public file.").and(
        Routes::under("/api/files").get(
            "/{id}/",
            handlers::private,
            "Serves a private file to the holder of a signed link.",
        ),
    )
}
