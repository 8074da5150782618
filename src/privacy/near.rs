//! References to near misses: what a receipt gives out, and what confirming it replaces.
//!
//! A reference says by itself where it points, and is sealed, so that nothing of the person has to be kept for it: it is
//! good during the erasure and after it, when nobody knows any more what was looked for. It holds the text's digest, under
//! the server's key, so that only what somebody has seen is replaced.

use std::collections::BTreeSet;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Key, sign};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use super::mentions::{Found, columns, locked, replaced, write};
use super::needles::{Certainty, Hit};
use super::tables::TABLES;
use crate::access::keys;
use crate::http::{Answer, Faults, Problem};
use crate::ids::Id;

/// Seals references and opens them.
pub(super) struct Near(Key);

/// Where a near miss is: table, row, column, place in JSON, places in the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Reference(String, i64, String, String, Vec<(usize, usize)>);

/// The bytes of a seal, and of the digest before it.
const LENGTH: usize = 16;

impl Reference {
    pub(super) fn of(table: &str, row: i64, column: &str, place: &str, hits: &[Hit]) -> Self {
        let spans = hits.iter().map(|hit| (hit.at.start, hit.at.end)).collect();
        Self(table.to_owned(), row, column.to_owned(), place.to_owned(), spans)
    }

    fn hits(&self) -> Vec<Hit> {
        self.4.iter().map(|(start, end)| Hit { at: *start..*end, certainty: Certainty::Sure }).collect()
    }
}

impl Near {
    pub(super) fn new(secret: &SecretString) -> Self {
        Self(keys::derived(secret, "near misses of an erasure"))
    }

    /// The reference for a receipt.
    pub(super) fn seal(&self, person: Id, reference: &Reference, text: &str) -> String {
        // Strings and numbers are always written.
        let said = serde_json::to_vec(reference).unwrap_or_default();
        let mut sealed = self.digest(text);
        let seal = self.of(person, &sealed, &said);
        sealed.extend(seal);
        sealed.extend(said);
        BASE64_URL_SAFE_NO_PAD.encode(sealed)
    }

    /// What a receipt gave out for this person, with the digest of the text.
    fn open(&self, person: Id, sealed: &str) -> Option<(Reference, Vec<u8>)> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(sealed.trim()).ok()?;
        let (digest, rest) = bytes.split_at_checked(LENGTH)?;
        let (seal, said) = rest.split_at_checked(LENGTH)?;
        verify_slices_are_equal(&self.of(person, digest, said), seal).ok()?;
        Some((serde_json::from_slice(said).ok()?, digest.to_vec()))
    }

    fn of(&self, person: Id, digest: &[u8], said: &[u8]) -> Vec<u8> {
        let what = [format!("reference {person}\n").as_bytes(), digest, said].concat();
        sign(&self.0, &what).as_ref().iter().take(LENGTH).copied().collect()
    }

    fn digest(&self, text: &str) -> Vec<u8> {
        let what = [b"text\n", text.as_bytes()].concat();
        sign(&self.0, &what).as_ref().iter().take(LENGTH).copied().collect()
    }

    /// Replaces what these references point at, all of them or none.
    ///
    /// # Errors
    /// 400 naming each that no receipt gave out for this person, 409 when a text is not as it was.
    pub(super) async fn confirm(
        &self,
        tx: &mut PgConnection,
        person: Id,
        sealed: &[String],
        found: &mut Found,
    ) -> Answer<()> {
        let mut faults = Faults::default();
        let mut wanted = BTreeSet::new();
        for (nth, sealed) in sealed.iter().enumerate() {
            match self.open(person, sealed) {
                Some((reference, digest)) => {
                    wanted.insert((reference, digest, nth));
                }
                None => faults.add(format!("confirm[{nth}]"), "This is not the id of a near miss of this person."),
            }
        }
        faults.check()?;
        let mut last = None;
        for (reference, digest, nth) in wanted {
            // The same one twice is meant once.
            if last.as_ref() == Some(&reference) {
                continue;
            }
            if !self.replace(tx, &reference, &digest, found).await? {
                let Reference(table, row, column, ..) = reference;
                let says = format!(
                    "What confirm[{nth}] means has changed since ({column} of {table} {row}). Nothing was done. Ask again with \
                     dry_run=true; for somebody already erased, edit the text by hand."
                );
                return Err(Problem::conflict("near_miss_changed", says));
            }
            last = Some(reference);
        }
        Ok(())
    }

    /// Whether the text was there as it was seen.
    async fn replace(
        &self,
        tx: &mut PgConnection,
        reference: &Reference,
        digest: &[u8],
        found: &mut Found,
    ) -> Answer<bool> {
        let Reference(name, row, column, place, _) = reference;
        let holds = |text: &str| verify_slices_are_equal(&self.digest(text), digest).is_ok();
        if name == "audit_log" {
            let text = super::log::details(tx, *row).await?;
            let is_there = text.is_some_and(|text| holds(&text));
            if is_there {
                super::log::erase(tx, &[*row]).await?;
                found.details.push(*row);
            }
            return Ok(is_there);
        }
        let mut named = TABLES.iter().filter(|table| table.name == name);
        let found_there = named.find_map(|table| Some((table, columns(table).find(|known| known == column)?)));
        let Some((table, column)) = found_there else { return Ok(false) };
        let Some(mut texts) = locked(tx, table, *row).await? else { return Ok(false) };
        let Some(value) = texts.get_mut(column) else { return Ok(false) };
        let Some(text) = value.pointer_mut(place).filter(|text| text.as_str().is_some_and(holds)) else {
            return Ok(false);
        };
        *text = Value::String(replaced(text.as_str().unwrap_or_default(), &reference.hits()));
        write(tx, table, *row, &[(column, value.take())]).await?;
        found.rows.insert((table.name, *row));
        Ok(true)
    }
}
