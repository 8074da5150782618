//! Signatures after the Standard Webhooks specification: HMAC-SHA256 over `id.timestamp.body`, so that a receiver knows
//! who sent a message, that nobody changed it, and that it is no replay.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::http::{Answer, Problem};

/// What begins a secret where people see it.
const PREFIX: &str = "whsec_";

/// How many bytes a secret has; the specification asks for 24 to 64.
const BYTES: usize = 32;

/// A new secret.
///
/// # Errors
/// 500 when the system gives no randomness.
pub(super) fn new_secret() -> Answer<Vec<u8>> {
    let mut secret = vec![0_u8; BYTES];
    aws_lc_rs::rand::fill(&mut secret)
        .map_err(|_| Problem::internal(anyhow::anyhow!("the system gives no randomness")))?;
    Ok(secret)
}

/// The secret as receivers are told it.
pub(super) fn spelt(secret: &[u8]) -> String {
    format!("{PREFIX}{}", BASE64_STANDARD.encode(secret))
}

/// The value of `webhook-signature`: a signature with each secret that is valid now, with spaces between.
pub(super) fn signatures(secrets: &[Vec<u8>], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed = [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body].concat();
    let each = secrets.iter().map(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&key, &signed)))
    });
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification's own libraries.
    #[test]
    fn the_specifications_vector_is_signed_alike() {
        let secret = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signatures(std::slice::from_ref(&secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_valid_secret_signs() {
        let signed = signatures(&[vec![1; 32], vec![2; 32]], "msg_1", 1, b"{}");
        let (one, other) = signed.split_once(' ').unwrap();
        assert_eq!(one, signatures(&[vec![1; 32]], "msg_1", 1, b"{}"));
        assert_eq!(other, signatures(&[vec![2; 32]], "msg_1", 1, b"{}"));
    }
}
