//! Plain text: in which encoding it is, and whether it is nothing else as well.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};

use crate::http::sheet::text_of;

/// The encoding of a plain text, in UTF-8, in UTF-16 with a mark, or in one of the old ones of Windows that are in use here;
/// nothing if it is none, or could be taken for a page or a script.
pub(super) fn charset_of(bytes: &[u8]) -> Option<&'static str> {
    let (charset, text) = match text_of(bytes) {
        Ok(text) if matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) => ("utf-16", text),
        Ok(text) => ("utf-8", text),
        Err(_) => of_windows(bytes)?,
    };
    is_plain(&text).then_some(charset)
}

/// Western European and Vietnamese text as old programs write it.
fn of_windows(bytes: &[u8]) -> Option<(&'static str, Cow<'_, str>)> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    let encoding = detector.guess(Some(b"vn"), Utf8Detection::Deny);
    let charset =
        ["windows-1252", "windows-1258"].into_iter().find(|known| encoding.name().eq_ignore_ascii_case(known))?;
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some((charset, text))
}

/// No control characters, and nothing that a browser could take for a page or a shell for a script.
fn is_plain(text: &str) -> bool {
    let plain = !text.is_empty() && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{c}'));
    let lower = text.chars().take(1024).collect::<String>().to_ascii_lowercase();
    let markup = ["<!doctype", "<html", "<script", "<svg", "<?xml", "<body", "<iframe"];
    plain && !begins_as_code(text) && !markup.iter().any(|sign| lower.contains(sign))
}

/// Whether a browser could take it for a page, or a shell for a script, by how it begins.
pub(super) fn begins_as_code(text: &str) -> bool {
    let start = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let is_tag = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || "!?/".contains(c));
    start.starts_with("#!") || start.strip_prefix('<').is_some_and(is_tag)
}
