//! How text is kept, whoever typed it and on what keyboard: in one Unicode form (NFC), and what is one line in one line.
//!
//! What a member of a body is shows in its name ([`Text::of`]). A test holds that every text of every body is named.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// A name, a title, a code: one line.
    Line,
    /// Anything, in as many lines as it takes.
    Lines,
    /// A secret: the very characters.
    AsTyped,
}

const LINE: &str = "academic_status address_line1 address_line2 category city code country department email \
    emergency_contact_name emergency_contact_phone event_location event_title first_name gcal_event_id grade last_name \
    location name official_first_name official_last_name phone_number position postal_code relationship resource_type role \
    slug state student student_id target_content_type title trigger_event url username verb venue visibility webhook_url \
    webhook_url_test";

const AS_TYPED: &str = "password confirm_password current_password new_password token refresh confirm";

impl Text {
    /// What a text of this name is; a text of any other name may have lines.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let is_in = |names: &str| names.split_whitespace().any(|known| known.eq_ignore_ascii_case(name));
        if is_in(LINE) {
            Self::Line
        } else if is_in(AS_TYPED) {
            Self::AsTyped
        } else {
            Self::Lines
        }
    }

    /// The text as it is kept.
    #[must_use]
    pub fn kept(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Line => one_line(text),
            Self::Lines => composed(text),
            Self::AsTyped => text.into(),
        }
    }
}

/// The text in one line: in NFC, with single blanks for white space and line breaks of all kinds and none around it,
/// without control characters and those that nobody sees.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.contains("  ");
    if is_plain {
        return text.into();
    }
    let mut line = String::with_capacity(text.len());
    let mut letters = text.nfc().peekable();
    let mut is_apart = false;
    while let Some(letter) = letters.next() {
        if letter.is_whitespace() {
            is_apart = true;
            continue;
        }
        let follows = !is_apart && line.chars().last().is_some_and(|last| !last.is_ascii());
        let is_kept = match letter {
            // In Persian words and in emoji they make a difference, between others of their kind.
            '\u{200c}' | '\u{200d}' => follows && letters.peek().is_some_and(|next| is_seen(*next) && !next.is_ascii()),
            // How the sign before it looks.
            '\u{fe00}'..='\u{fe0f}' => !is_apart && !line.is_empty(),
            other => is_seen(other),
        };
        if is_kept {
            if is_apart && !line.is_empty() {
                line.push(' ');
            }
            is_apart = false;
            line.push(letter);
        }
    }
    line.into()
}

/// The text in NFC.
#[must_use]
pub fn composed(text: &str) -> Cow<'_, str> {
    if is_nfc_quick(text.chars()) == IsNormalized::Yes { text.into() } else { text.nfc().collect::<String>().into() }
}

/// What a code has in common with the others that people take for it: compatible letters, no blanks, nothing that nobody sees,
/// capitals. The database's `code_key` says the same.
#[must_use]
pub fn code_key(code: &str) -> String {
    code.nfkc().filter(|letter| is_seen(*letter)).collect::<String>().to_lowercase().to_uppercase()
}

/// Whether there is nothing to see in it.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    !text.chars().any(is_seen)
}

/// Whether a character is seen: no white space, no control character, and none of those that Unicode lets a program
/// leave out (zero-width blanks, direction marks, fillers, tags).
#[must_use]
pub fn is_seen(letter: char) -> bool {
    let is_ignorable = matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}');
    !(letter.is_whitespace() || letter.is_control() || is_ignorable)
}

#[cfg(test)]
mod tests {
    use super::{Text, is_blank, one_line};

    #[test]
    fn one_line_is_one_line() {
        for (typed, kept) in [
            ("Văn An", "Văn An"),
            ("  V\u{103}n\r\n\t An\u{a0} ", "Văn An"),
            ("Va\u{306}n\u{2028}An", "Văn An"),
            ("a  b", "a b"),
            ("\u{200b}", ""),
            ("\u{202e}evil\u{7}", "evil"),
            ("EN101\u{200b} \u{200b} x", "EN101 x"),
            ("a\u{200d}b", "ab"),
            (
                "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
                "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            ),
            ("\u{1f469}\u{200d}\u{1f4bb}", "\u{1f469}\u{200d}\u{1f4bb}"),
            ("\u{2764}\u{fe0f}", "\u{2764}\u{fe0f}"),
            ("\u{fe0f}", ""),
            ("", ""),
        ] {
            assert_eq!(one_line(typed), kept, "{typed:?}");
            assert_eq!(one_line(kept), kept, "{typed:?} twice");
            assert_eq!(is_blank(typed), kept.is_empty(), "{typed:?}");
        }
    }

    #[test]
    fn texts_keep_their_lines_and_secrets_every_character() {
        assert_eq!(Text::of("description").kept(" a\n\ne\u{301} "), " a\n\n\u{e9} ");
        assert_eq!(Text::of("new_password").kept(" e\u{301}"), " e\u{301}");
        assert_eq!(Text::of("Event_Title").kept(" e\u{301}\n"), "\u{e9}");
    }
}
