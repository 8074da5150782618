//! Keys that are made from the server's secret, one for each purpose: what is signed for one is worth nothing for another.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use secrecy::{ExposeSecret as _, SecretString};

/// The key for a purpose, which is named in a few words that never change.
#[must_use]
pub(crate) fn derived(secret: &SecretString, purpose: &str) -> Key {
    let server = Key::new(HMAC_SHA256, secret.expose_secret().as_bytes());
    Key::new(HMAC_SHA256, sign(&server, purpose.as_bytes()).as_ref())
}
