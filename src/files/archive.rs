//! Which document an archive is, by what is in it.
//!
//! An archive is whatever its sender wants it to be, so nothing that it says of itself is believed: every place is looked up
//! within the bytes that came, so many entries are read and no more, and so much of one is unpacked.

use std::io::Read as _;

use flate2::read::DeflateDecoder;

/// The entries that are looked at; a document has the one that tells among its first.
const MOST_ENTRIES: usize = 10_000;

/// The most that is unpacked.
const MOST_UNPACKED: u64 = 256 * 1024;

/// The end of an archive stands in front of its comment, of at most 64 KB.
const LONGEST_TAIL: usize = 22 + 0xffff;

/// The parts of an Office document with their types, and the type of an ODF document.
const TELLING: [&[u8]; 2] = [b"[Content_Types].xml", b"mimetype"];

/// What an archive says that it holds: `[Content_Types].xml` of Office, `mimetype` of ODF.
pub(super) enum Says {
    /// The list of parts and their types.
    Parts(String),
    /// The media type.
    Type(String),
}

/// What this archive says that it holds; nothing if it is but an archive, or no whole one.
pub(super) fn says(bytes: &[u8]) -> Option<Says> {
    let tail = bytes.len().saturating_sub(LONGEST_TAIL);
    let end = tail + bytes.get(tail..)?.windows(4).rposition(|four| four == b"PK\x05\x06")?;
    let mut at = number(bytes, end + 16, 4)?;
    for _ in 0..MOST_ENTRIES {
        let entry = bytes.get(at..).filter(|entry| entry.starts_with(b"PK\x01\x02"))?;
        let name_length = number(entry, 28, 2)?;
        let name = entry.get(46..46 + name_length)?;
        if TELLING.contains(&name) {
            let text = text_of(bytes, entry)?;
            let is_office = name == b"[Content_Types].xml";
            return Some(if is_office { Says::Parts(text) } else { Says::Type(text.trim().to_owned()) });
        }
        at += 46 + name_length + number(entry, 30, 2)? + number(entry, 32, 2)?;
    }
    None
}

/// What an entry holds, as text.
fn text_of(bytes: &[u8], entry: &[u8]) -> Option<String> {
    let (method, packed) = (number(entry, 10, 2)?, number(entry, 20, 4)?);
    let head = bytes.get(number(entry, 42, 4)?..).filter(|head| head.starts_with(b"PK\x03\x04"))?;
    let begin = 30 + number(head, 26, 2)? + number(head, 28, 2)?;
    let data = head.get(begin..)?.get(..packed)?;
    let mut text = String::new();
    let read = match method {
        0 => data.take(MOST_UNPACKED).read_to_string(&mut text),
        8 => DeflateDecoder::new(data).take(MOST_UNPACKED).read_to_string(&mut text),
        _ => return None,
    };
    read.ok().map(|_| text)
}

/// A number of so many bytes, the smallest first.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let digits = bytes.get(at..at.checked_add(length)?)?;
    Some(digits.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}
