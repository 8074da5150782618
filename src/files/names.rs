//! What a file is called: by its sender in the head of its part, and by us once we know what it is.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::http::text::one_line;

/// The most bytes of a name, as file systems have it.
const LONGEST: usize = 255;

/// Other endings that files of a type have, by the ending that we give it.
const ENDINGS: &[(&str, &str)] = &[
    ("jpg", "jpg jpeg jpe jfif"),
    ("txt", "txt csv tsv md log json tex srt vtt"),
    // Some programs write documents so that they are only known as archives.
    ("zip", "zip docx xlsx pptx odt ods odp"),
    ("doc", "doc dot"),
];

/// The name of a file: the last step of what its sender calls it, in one line, with an ending that its bytes stand for,
/// in at most 255 bytes.
pub(super) fn kept(sent: &str, ending: &str) -> String {
    let name = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = one_line(name);
    let has = name.rsplit_once('.').map(|(_, has)| has.to_ascii_lowercase());
    let fitting = ENDINGS.iter().find(|(known, _)| *known == ending).map_or(ending, |(_, all)| all);
    let is_right = has.as_ref().is_some_and(|has| fitting.split_whitespace().any(|known| known == has));
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, has)) if is_right => (stem, has),
        Some(_) | None => (&*name, ending),
    };
    let stem = if stem.is_empty() { "file" } else { stem };
    let most = LONGEST.saturating_sub(ending.len() + 1);
    let end = (0..=stem.len().min(most)).rev().find(|end| stem.is_char_boundary(*end)).unwrap_or_default();
    format!("{}.{ending}", stem.get(..end).unwrap_or_default())
}

/// What the head of a part says in its `Content-Disposition`: the field, and the name of the file if it is one.
///
/// Read as clients write it and not as one of the standards has it: with `filename*` (RFC 8187), which goes first, names
/// in encoded words (RFC 2047) or in Latin-1, `\"` or `%22` for a quotation mark, and parameters in any case.
pub(super) fn of_part(head: &[u8]) -> (String, Option<String>) {
    let head = String::from_utf8(head.to_vec()).unwrap_or_else(|_| head.iter().map(|byte| char::from(*byte)).collect());
    let (mut field, mut plain, mut extended) = (String::new(), None, None);
    for (name, value) in parameters(&head) {
        match name.as_str() {
            "name" => field = value,
            "filename" => plain = Some(value),
            "filename*" => extended = of_extended(&value),
            _ => {}
        }
    }
    (field, extended.or_else(|| plain.map(|name| of_encoded_words(&name).unwrap_or(name))))
}

fn parameters(head: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut letters = head.chars().skip_while(|letter| *letter != ';').skip(1).peekable();
    while letters.peek().is_some() {
        let mut name = String::new();
        while let Some(letter) = letters.next_if(|letter| !"=;".contains(*letter)) {
            name.push(letter);
        }
        if letters.next() != Some('=') {
            continue;
        }
        let mut value = String::new();
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let is_quoted = letters.next_if_eq(&'"').is_some();
        if is_quoted {
            while let Some(letter) = letters.next_if(|letter| *letter != '"') {
                let is_escape = letter == '\\' && letters.peek().is_some_and(|next| "\"\\".contains(*next));
                value.push(if is_escape { letters.next().unwrap_or(letter) } else { letter });
            }
            // As browsers spell what would end the name.
            value = value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
        }
        let rest: String = std::iter::from_fn(|| letters.next_if(|letter| *letter != ';')).collect();
        if !is_quoted {
            rest.trim().clone_into(&mut value);
        }
        letters.next();
        found.push((name.trim().to_ascii_lowercase(), value));
    }
    found
}

/// `UTF-8''%C4%90%C6%A1n.pdf`
fn of_extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _, text) = (parts.next()?, parts.next()?, parts.next()?);
    in_charset(charset, unescaped(text.as_bytes(), b'%')?)
}

/// `=?UTF-8?B?xJDGoW4=?= =?UTF-8?Q?.pdf?=`; blanks between such words are not part of the text.
fn of_encoded_words(text: &str) -> Option<String> {
    let (mut out, mut rest, mut is_first) = (String::new(), text, true);
    while let Some((before, word)) = rest.split_once("=?") {
        let mut parts = word.splitn(3, '?');
        let (charset, encoding, coded) = (parts.next()?, parts.next()?, parts.next()?);
        let (coded, after) = coded.split_once("?=")?;
        let bytes = match encoding {
            "B" | "b" => BASE64_STANDARD.decode(coded).ok()?,
            "Q" | "q" => unescaped(coded.replace('_', " ").as_bytes(), b'=')?,
            _ => return None,
        };
        if is_first || !before.trim().is_empty() {
            out.push_str(before);
        }
        out.push_str(&in_charset(charset, bytes)?);
        (rest, is_first) = (after, false);
    }
    out.push_str(rest);
    (!is_first).then_some(out)
}

fn in_charset(charset: &str, bytes: Vec<u8>) -> Option<String> {
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" | "us-ascii" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

/// Bytes of which some stand as `sign` and two hexadecimal digits.
fn unescaped(bytes: &[u8], sign: u8) -> Option<Vec<u8>> {
    let (mut out, mut bytes) = (Vec::new(), bytes.iter().copied());
    while let Some(byte) = bytes.next() {
        if byte == sign {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{kept, of_part};

    #[test]
    fn a_name_keeps_its_ending_and_gets_the_one_that_its_bytes_stand_for() {
        let long = "ế".repeat(255);
        for (sent, ending, name) in [
            ("Đơn xin nghỉ.pdf", "pdf", "Đơn xin nghỉ.pdf".to_owned()),
            ("../../etc/x.PDF", "pdf", "x.PDF".to_owned()),
            ("C:\\scans\\x.pdf", "pdf", "x.pdf".to_owned()),
            ("marks.pdf.exe", "pdf", "marks.pdf.exe.pdf".to_owned()),
            ("invoice\u{202e}fdp.exe", "pdf", "invoicefdp.exe.pdf".to_owned()),
            ("photo.JPEG", "jpg", "photo.JPEG".to_owned()),
            ("marks.csv", "txt", "marks.csv".to_owned()),
            ("run.bat", "txt", "run.bat.txt".to_owned()),
            ("notes", "txt", "notes.txt".to_owned()),
            ("dir/", "pdf", "file.pdf".to_owned()),
            ("", "pdf", "file.pdf".to_owned()),
            (".pdf", "pdf", "file.pdf".to_owned()),
            (&format!("{long}.pdf"), "pdf", format!("{}.pdf", "ế".repeat(83))),
            (&format!("{}.pdf", "a".repeat(300)), "pdf", format!("{}.pdf", "a".repeat(251))),
        ] {
            assert_eq!(kept(sent, ending), name, "{sent}");
        }
    }

    #[test]
    fn the_head_of_a_part_is_read_as_clients_write_it() {
        for (head, name) in [
            ("form-data; name=\"file\"; filename=\"a.pdf\"", Some("a.pdf")),
            ("form-data; name=file; filename=a.pdf", Some("a.pdf")),
            ("form-data; name=\"file\"; filename*=utf-8''%C4%90%C6%A1n.pdf", Some("Đơn.pdf")),
            ("form-data; name=\"file\"; filename*=UTF-8'vi'%C4%90.pdf; filename=\"x.pdf\"", Some("Đ.pdf")),
            ("form-data; name=\"file\"; filename=\"x.pdf\"; filename*=koi8-r''%C4.pdf", Some("x.pdf")),
            ("form-data; name=\"file\"; filename*=utf-8''%C4; filename=\"x.pdf\"", Some("x.pdf")),
            ("Form-Data; NAME=\"file\"; FileName=\"a;b.pdf\"", Some("a;b.pdf")),
            ("form-data; name=\"file\"; filename=\"a\\\"b.pdf\"", Some("a\"b.pdf")),
            ("form-data; name=\"file\"; filename=\"a%22b.pdf\"", Some("a\"b.pdf")),
            ("form-data; name=\"file\"; filename=\"C:\\scans\\a.pdf\"", Some("C:\\scans\\a.pdf")),
            ("form-data; name=\"file\"; filename=\"=?UTF-8?B?xJDGoW4=?= =?utf-8?q?_x=2Epdf?=\"", Some("Đơn x.pdf")),
            ("form-data; name=\"file\"; filename=\"\"", Some("")),
            ("form-data; filename; name=\"file\"", None),
            ("form-data; name=\"file\"", None),
        ] {
            assert_eq!(of_part(head.as_bytes()), ("file".to_owned(), name.map(str::to_owned)), "{head}");
        }
        let latin = b"form-data; name=\"file\"; filename=\"caf\xe9.pdf\"";
        assert_eq!(of_part(latin), ("file".to_owned(), Some("café.pdf".to_owned())));
    }
}
