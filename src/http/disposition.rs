//! `Content-Disposition` of answers: how a file is called by whoever saves it (RFC 6266).

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue, header};
use unicode_normalization::UnicodeNormalization as _;

/// Says that the answer is a file of this name, to be shown `inline` or saved as an `attachment`.
///
/// The name stands there twice if it is not plain: for all that read RFC 8187 as it is, for others in ASCII.
pub fn name_file(headers: &mut HeaderMap, place: &str, name: &str) {
    let plain = in_ascii(name);
    let mut value = format!("{place}; filename=\"{plain}\"");
    if plain != name {
        let _ = write!(value, "; filename*=UTF-8''{}", escaped(name));
    }
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
}

/// The name without accents, in letters that need no quoting anywhere.
fn in_ascii(name: &str) -> String {
    name.nfd()
        .filter(|letter| !('\u{300}'..='\u{36f}').contains(letter))
        .map(|letter| match letter {
            'đ' | 'ð' => 'd',
            'Đ' | 'Ð' => 'D',
            plain if plain.is_ascii_alphanumeric() || "._- ".contains(plain) => plain,
            _ => '_',
        })
        .collect()
}

fn escaped(name: &str) -> String {
    name.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::name_file;

    #[test]
    fn a_name_cannot_leave_its_header_and_stays_what_it_is() {
        for (name, value) in [
            ("Plan B.pdf", "inline; filename=\"Plan B.pdf\""),
            (
                "Đơn xin nghỉ.pdf",
                "inline; filename=\"Don xin nghi.pdf\"; filename*=UTF-8''%C4%90%C6%A1n%20xin%20ngh%E1%BB%89.pdf",
            ),
            ("a\"; x=\"\r\n.csv", "inline; filename=\"a__ x____.csv\"; filename*=UTF-8''a%22%3B%20x%3D%22%0D%0A.csv"),
        ] {
            let mut headers = HeaderMap::new();
            name_file(&mut headers, "inline", name);
            assert_eq!(headers["content-disposition"], value);
        }
    }
}
