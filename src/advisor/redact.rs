//! Takes out of a text what says who the person is.

use regex::{Regex, RegexBuilder};

use super::store::Identity;
use crate::http::{Answer, Problem};

/// What stands in the place of what was taken out.
const IN_ITS_PLACE: &str = "[…]";

/// What is taken out for one person.
#[derive(Debug)]
pub(super) struct Redaction(Option<Regex>);

impl Redaction {
    /// Of this person's names, mail address, phone and student numbers, and address.
    ///
    /// # Errors
    /// 500 when these make no pattern.
    pub(super) fn of(person: &Identity) -> Answer<Self> {
        let mut parts: Vec<&str> = person.texts().map(str::trim).filter(|text| text.chars().count() >= 2).collect();
        // The longer first, so that an address is not left with its name taken out of it.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        let digits = person.phone_digits();
        let mut patterns: Vec<String> = parts.iter().map(|part| bounded(&regex::escape(part))).collect();
        if digits.len() >= 6 {
            // However it is written down: with spaces, dashes, dots or brackets between.
            let spread: Vec<String> = digits.chars().map(String::from).collect();
            patterns.insert(0, spread.join(r"[\s().\-/]*"));
        }
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let pattern = RegexBuilder::new(&patterns.join("|")).case_insensitive(true).size_limit(4 << 20).build();
        pattern.map(|pattern| Self(Some(pattern))).map_err(Problem::internal)
    }

    /// The text without them.
    pub(super) fn clean(&self, text: &str) -> String {
        match &self.0 {
            Some(pattern) => pattern.replace_all(text, IN_ITS_PLACE).into_owned(),
            None => text.to_owned(),
        }
    }
}

/// The pattern where it is no part of a longer word; where it begins or ends with no letter, that says nothing.
fn bounded(pattern: &str) -> String {
    let edge = |letter: Option<char>| if letter.is_some_and(char::is_alphanumeric) { r"\b" } else { "" };
    format!("{}{pattern}{}", edge(pattern.chars().next()), edge(pattern.chars().last()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anna() -> Identity {
        Identity {
            email: "anna.tran@swin.edu.au".into(),
            username: "atran".into(),
            first_name: "Anna".into(),
            last_name: "Trần".into(),
            phone_number: "+84912345678".into(),
            address_line1: "12 Lê Lợi".into(),
            address_line2: String::new(),
            postal_code: "700000".into(),
            student_id: "S-000123".into(),
            emergency_contact_name: "Minh Trần".into(),
            emergency_contact_phone: String::new(),
        }
    }

    #[test]
    fn nothing_that_names_the_person_is_left() {
        let said =
            "I am ANNA trần (anna.tran@swin.edu.au, s-000123), 12 lê lợi, +84 912-345-678, my father is Minh Trần";
        let clean = Redaction::of(&anna()).unwrap().clean(said);
        assert_eq!(clean, "I am […] […] ([…], […]), […], +[…], my father is […]");
    }

    #[test]
    fn other_words_stay() {
        let said = "Annals of Susanna: COS10009 at 9:00 in room 12, 8491 points, tranquil";
        assert_eq!(Redaction::of(&anna()).unwrap().clean(said), said);
    }
}
