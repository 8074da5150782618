//! What the audit log's seals are made over: a row's facts and a seal's, each with its length before it, so that nothing
//! can be moved from one field into the next.
//!
//! A row's details and where it came from are in its HMAC by their salted digests alone, so that both can be erased.

use std::fmt::Write as _;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key, Tag};
use secrecy::{ExposeSecret, SecretString};

/// How long an HMAC is, in bytes.
pub(super) const LENGTH: usize = 32;

/// Makes and checks HMACs with `AUDIT_KEY`.
#[derive(Debug)]
pub(super) struct Sealer(Key);

/// A row of the log as it is sealed.
#[derive(Debug)]
pub(super) struct SealedRow {
    pub(super) id: i64,
    pub(super) user_id: Option<i64>,
    pub(super) action: String,
    pub(super) resource_type: String,
    pub(super) resource_id: Option<i64>,
    pub(super) details_digest: Vec<u8>,
    pub(super) origin_digest: Vec<u8>,
    pub(super) request_id: String,
    /// Microseconds since 1970.
    pub(super) created_at: i64,
    pub(super) position: String,
}

/// A seal, but for its own HMAC.
#[derive(Debug)]
pub(super) struct Seal<'a> {
    pub(super) id: i64,
    pub(super) from: (&'a str, i64),
    pub(super) to: (&'a str, i64),
    pub(super) row_count: i64,
    pub(super) total_count: i64,
    pub(super) previous: &'a [u8],
    /// Microseconds since 1970.
    pub(super) sealed_at: i64,
    pub(super) row_ids: &'a [i64],
    pub(super) row_hmacs: &'a [u8],
}

impl Sealer {
    pub(super) fn new(key: &SecretString) -> Self {
        Self(Key::new(HMAC_SHA256, key.expose_secret().as_bytes()))
    }

    /// The HMAC of a row.
    pub(super) fn of_row(&self, row: &SealedRow) -> Tag {
        let mut said = Said::begin("audit row");
        said.number(row.id);
        said.perhaps(row.user_id);
        said.bytes(row.action.as_bytes());
        said.bytes(row.resource_type.as_bytes());
        said.perhaps(row.resource_id);
        said.bytes(&row.details_digest);
        said.bytes(&row.origin_digest);
        said.bytes(row.request_id.as_bytes());
        said.number(row.created_at);
        said.bytes(row.position.as_bytes());
        hmac::sign(&self.0, &said.0)
    }

    /// The HMAC of a seal.
    pub(super) fn of_seal(&self, seal: &Seal<'_>) -> Tag {
        let mut said = Said::begin("audit seal");
        said.number(seal.id);
        for (position, id) in [seal.from, seal.to] {
            said.bytes(position.as_bytes());
            said.number(id);
        }
        said.number(seal.row_count);
        said.number(seal.total_count);
        said.bytes(seal.previous);
        said.number(seal.sealed_at);
        for id in seal.row_ids {
            said.number(*id);
        }
        said.bytes(seal.row_hmacs);
        hmac::sign(&self.0, &said.0)
    }
}

struct Said(Vec<u8>);

impl Said {
    fn begin(what: &str) -> Self {
        let mut said = Self(Vec::new());
        said.bytes(what.as_bytes());
        said
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u64).to_be_bytes());
        self.0.extend(bytes);
    }

    fn number(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    fn perhaps(&mut self, number: Option<i64>) {
        match number {
            Some(number) => self.number(number),
            None => self.bytes(&[]),
        }
    }
}

/// In hexadecimal, as heads are logged.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
