//! The text of files as people's programs save them.

use std::borrow::Cow;
use std::fmt;

/// What a file is that has no text that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoText {
    /// A workbook of a spreadsheet program.
    Workbook,
    /// In an encoding from before Unicode.
    OldEncoding,
    /// UTF-16 that does not say which of the two byte orders it has.
    Unmarked,
    /// UTF-16 that breaks off or was damaged.
    Damaged,
    /// No text at all.
    Binary,
}

impl fmt::Display for NoText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workbook => "This is a workbook, not a text file.",
            Self::OldEncoding => {
                "The file is not in UTF-8 but, it seems, in an older encoding of Windows (such as Windows-1252 or \
                 Windows-1258), in which letters get lost."
            }
            Self::Unmarked => "The file seems to be in UTF-16 without a byte order mark.",
            Self::Damaged => "The file is in UTF-16, but damaged or cut off.",
            Self::Binary => "This is not a text file.",
        })
    }
}

/// The text of a file in UTF-8, with or without a byte order mark, or in UTF-16 with one.
///
/// # Errors
/// What the file is instead.
pub fn text_of(bytes: &[u8]) -> Result<Cow<'_, str>, NoText> {
    let text = match bytes {
        // A zip archive, and the container of the older formats.
        [b'P', b'K', 3, 4, ..] | [0xd0, 0xcf, 0x11, 0xe0, ..] => return Err(NoText::Workbook),
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)?),
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(std::str::from_utf8(rest).map_err(|_| other_than_utf8(bytes))?),
        _ => Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| other_than_utf8(bytes))?),
    };
    if text.contains('\0') { Err(other_than_utf8(bytes)) } else { Ok(text) }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, NoText> {
    let (units, rest) = bytes.as_chunks();
    let text = char::decode_utf16(units.iter().map(|pair| unit(*pair))).collect::<Result<String, _>>();
    text.ok().filter(|_| rest.is_empty()).ok_or(NoText::Damaged)
}

/// Old encodings have no null characters; the ASCII in UTF-16 has one in every other place, and in one kind of place only.
fn other_than_utf8(bytes: &[u8]) -> NoText {
    let nulls = |odd: usize| bytes.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (nulls(0), nulls(1));
    let most = even.max(odd);
    if most == 0 {
        let control = |byte: &u8| *byte < b' ' && !matches!(*byte, b'\t' | b'\n' | b'\r' | 0x0c);
        if bytes.iter().any(control) { NoText::Binary } else { NoText::OldEncoding }
    } else if bytes.len().is_multiple_of(2) && most > bytes.len() / 8 && even.min(odd) * 8 < most {
        NoText::Unmarked
    } else {
        NoText::Binary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_save_is_read_or_known_for_what_it_is() {
        for (bytes, read) in [
            (&b"An"[..], Ok("An")),
            (b"\xef\xbb\xbfAn", Ok("An")),
            (b"\xff\xfeA\0\xbf\x1e", Ok("Aế")),
            (b"\xfe\xff\0A\x1e\xbf", Ok("Aế")),
            (b"\xff\xfeA\0n", Err(NoText::Damaged)),
            (b"\xff\xfe\x00\xd8A\0", Err(NoText::Damaged)),
            (b"A\0n\0,\0b\0", Err(NoText::Unmarked)),
            (b"\0A\0n\0,\0b", Err(NoText::Unmarked)),
            (b"Jos\xe9,2026", Err(NoText::OldEncoding)),
            (b"PK\x03\x04...", Err(NoText::Workbook)),
            (b"\xd0\xcf\x11\xe0...", Err(NoText::Workbook)),
            (b"\x89PNG\r\n\x1a\n", Err(NoText::Binary)),
            (b"a\0,2026-03-10,one", Err(NoText::Binary)),
        ] {
            assert_eq!(text_of(bytes).as_deref(), read.as_ref().copied(), "{bytes:?}");
        }
    }
}
