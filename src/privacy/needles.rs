//! What a person is recognised by in texts of others, and where in a text it stands.
//!
//! Only what can mean nobody else counts as [`Certainty::Sure`]: a mail address, a student number, a phone number, a full
//! name. Texts are compared by [`fold`]; a name is compared word by word, so that white space and the order of given and
//! family name do not matter. A single name is a word that many share, and a user name can be any word: neither is ever
//! sure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::http::{Answer, Problem};

/// What a person is known by, as it is stored.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// First and last names, each pair that is theirs.
    pub(super) names: Vec<(String, String)>,
    /// Mail addresses, also former ones.
    pub(super) emails: Vec<String>,
    /// Student numbers.
    pub(super) numbers: Vec<String>,
    /// Phone numbers, also former ones.
    pub(super) phones: Vec<String>,
    /// What of these somebody else has too: addresses, phone numbers.
    pub(super) of_others_too: Vec<String>,
    /// Full names of others that have all words of one of these names.
    pub(super) like_names: Vec<String>,
}

/// How sure it is that a place in a text means the person; the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    /// It means nobody else.
    Sure,
    /// Somebody else is called the same.
    Shared,
    /// It resembles.
    Resembles,
    /// A first or last name alone.
    Alone,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    /// Bytes.
    pub(super) at: Range<usize>,
    pub(super) certainty: Certainty,
}

/// The person's needles, ready to be looked for.
#[derive(Debug)]
pub(super) struct Needles {
    names: Vec<Name>,
    /// Names of others that have more words around the person's.
    longer: Vec<Vec<String>>,
    exact: Vec<(Regex, Certainty)>,
    /// Regular expressions of PostgreSQL, all of which a row with a full name matches.
    coarse_names: Vec<Vec<String>>,
    coarse_exact: Vec<String>,
    coarse_alone: Vec<String>,
}

#[derive(Debug)]
struct Name {
    first: Vec<String>,
    last: Vec<String>,
    is_shared: bool,
}

/// The fewest digits of a phone number or a student number that mean anybody.
const FEWEST_DIGITS: usize = 5;
const FEWEST_DIGITS_TO_DIAL: usize = 8;

impl Needles {
    /// Of what a person is known by.
    ///
    /// # Errors
    /// 500 when an expression cannot be made of it.
    pub(super) fn of(known: &Known) -> Answer<Self> {
        let mut needles = Self {
            names: Vec::new(),
            longer: Vec::new(),
            exact: Vec::new(),
            coarse_names: Vec::new(),
            coarse_exact: Vec::new(),
            coarse_alone: Vec::new(),
        };
        let others: Vec<Vec<String>> = known.like_names.iter().map(|name| folded_words(name)).collect();
        for (first, last) in &known.names {
            needles.add_name(folded_words(first), folded_words(last), &others);
        }
        let certainty = |what: &String| {
            let is_shared = known.of_others_too.contains(what);
            if is_shared { Certainty::Shared } else { Certainty::Sure }
        };
        for email in &known.emails {
            // What stands before or after would make it another address.
            let exact = format!(r"(?:^|[^\w.%+-])({})(?:$|[^\w.-]|\.(?:$|\W)|-(?:$|\W))", regex::escape(email.trim()));
            needles.add_exact(&exact, &literally(email.trim()), certainty(email))?;
        }
        for number in known.numbers.iter().map(|number| number.trim()) {
            if number.chars().filter(char::is_ascii_digit).count() >= FEWEST_DIGITS {
                let exact = format!(r"(?:^|[^\w])({})(?:$|[^\w])", regex::escape(number));
                needles.add_exact(&exact, &literally(number), Certainty::Sure)?;
            }
        }
        for phone in &known.phones {
            let digits = dialled(phone);
            if digits.len() >= FEWEST_DIGITS_TO_DIAL {
                let apart: Vec<String> = digits.chars().map(String::from).collect();
                let (exact, coarse) = (apart.join(GAP_OF_DIGITS), apart.join("[^[:alnum:]]{0,3}"));
                let exact = format!(
                    r"(?:^|[^\w+])((?:(?:\+|00)?84{GAP_OF_DIGITS}(?:\(0\))?{GAP_OF_DIGITS}|\(?0{GAP_OF_DIGITS})?{exact})(?:$|[^\w])"
                );
                needles.add_exact(&exact, &coarse, certainty(phone))?;
            }
        }
        Ok(needles)
    }

    fn add_name(&mut self, first: Vec<String>, last: Vec<String>, others: &[Vec<String>]) {
        if first.is_empty() || last.is_empty() {
            return;
        }
        let mut all = [first.clone(), last.clone()].concat();
        all.sort();
        let mut is_shared = false;
        for other in others {
            let mut words = other.clone();
            words.sort();
            if words == all {
                is_shared = true;
            } else if !self.longer.contains(other) {
                self.longer.push(other.clone());
            }
        }
        self.coarse_names.push(all.iter().map(|word| literally(word)).collect());
        for part in [&first, &last] {
            if let Some(longest) = part.iter().max_by_key(|word| word.len()) {
                self.coarse_alone.push(literally(longest));
            }
        }
        self.names.push(Name { first, last, is_shared });
    }

    fn add_exact(&mut self, exact: &str, coarse: &str, certainty: Certainty) -> Answer<()> {
        self.exact.push((Regex::new(&format!("(?i){exact}")).map_err(Problem::internal)?, certainty));
        self.coarse_exact.push(coarse.to_owned());
        Ok(())
    }

    /// Whether nothing can be looked for.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.exact.is_empty()
    }

    /// For PostgreSQL: groups of expressions; a row may have a hit when it matches all of one group.
    pub(super) fn coarse(&self) -> Vec<Vec<String>> {
        let exact = if self.coarse_exact.is_empty() { None } else { Some(vec![self.coarse_exact.join("|")]) };
        exact.into_iter().chain(self.coarse_names.iter().cloned()).collect()
    }

    /// For PostgreSQL: of each name the expressions that all match whoever is called so.
    pub(super) fn coarse_of_names(&self) -> Vec<Vec<String>> {
        self.coarse_names.clone()
    }

    /// For PostgreSQL: an expression that a row with a first or last name alone matches; none for a person without.
    pub(super) fn coarse_alone(&self) -> Option<String> {
        if self.coarse_alone.is_empty() { None } else { Some(self.coarse_alone.join("|")) }
    }

    /// The places in a text, in their order, without overlaps; `alone` says whether a single name is one.
    pub(super) fn find(&self, text: &str, alone: bool) -> Vec<Hit> {
        let mut hits = Vec::new();
        for (exact, certainty) in &self.exact {
            hits.extend(found(exact, text).map(|at| {
                let certainty = if continues(text, &at) { Certainty::Resembles } else { *certainty };
                Hit { at, certainty }
            }));
        }
        let words = words(text);
        for name in &self.names {
            hits.extend(self.find_name(name, text, &words, alone));
        }
        hits.sort_by_key(|hit| (hit.certainty, hit.at.start, hit.at.end));
        let mut kept: Vec<Hit> = Vec::new();
        for hit in hits {
            if kept.iter().all(|other| hit.at.end <= other.at.start || other.at.end <= hit.at.start) {
                kept.push(hit);
            }
        }
        kept.sort_by_key(|hit| hit.at.start);
        kept
    }

    fn find_name(&self, name: &Name, text: &str, words: &[Word], alone: bool) -> Vec<Hit> {
        let mut hits = Vec::new();
        let orders =
            [[&name.first, &name.last], [&name.last, &name.first]].map(|[a, b]| [a.clone(), b.clone()].concat());
        let mut sorted = orders[0].clone();
        sorted.sort();
        for (start, window) in words.windows(sorted.len()).enumerate() {
            let spelt: Vec<&String> = window.iter().map(|word| &word.folded).collect();
            let order = orders.iter().position(|order| order.iter().eq(spelt.iter().copied()));
            if order.is_none() {
                let mut found = spelt.clone();
                found.sort();
                if !sorted.iter().eq(found) {
                    continue;
                }
            }
            let (Some(from), Some(to)) = (window.first(), window.last()) else { continue };
            let comma_after = if order == Some(1) { name.last.len() } else { 0 };
            let gaps = window.windows(2).zip(1..).map(|(pair, nth)| match pair {
                [a, b] => gap(text, a, b, nth == comma_after),
                _ => Gap::Wide,
            });
            let gap = gaps.max().unwrap_or(Gap::Close);
            if gap == Gap::Wide {
                continue;
            }
            let is_sure = order.is_some() && gap == Gap::Close && self.stands_alone(text, words, start, window);
            let certainty = match (is_sure, name.is_shared) {
                (false, _) => Certainty::Resembles,
                (true, true) => Certainty::Shared,
                (true, false) => Certainty::Sure,
            };
            hits.push(Hit { at: from.at.start..to.at.end, certainty });
        }
        if alone {
            for part in [&name.first, &name.last] {
                let meant = words.windows(part.len()).filter(|window| {
                    window.iter().map(|word| &word.folded).eq(part.iter())
                        && window.iter().all(|word| word.case != Case::Lower)
                });
                hits.extend(meant.filter_map(|window| {
                    let at = window.first()?.at.start..window.last()?.at.end;
                    Some(Hit { at, certainty: Certainty::Alone })
                }));
            }
        }
        hits
    }

    /// Whether these words are written as a name is, and are not a part of somebody else's.
    fn stands_alone(&self, text: &str, words: &[Word], start: usize, window: &[Word]) -> bool {
        // Two words in small letters are more often words than a name.
        let is_named = window.iter().all(|word| word.case != Case::Lower) || window.len() > 2;
        let in_capitals = window.iter().all(|word| word.case == Case::Capitals);
        let before = start.checked_sub(1).and_then(|nth| words.get(nth)).zip(window.first());
        let before = before.filter(|(word, first)| gap(text, word, first, false) == Gap::Close);
        let after = window.last().zip(words.get(start + window.len()));
        let after = after.filter(|(last, word)| gap(text, last, word, false) == Gap::Close);
        let is_of_a_name = |word: &Word| word.case == Case::Title || (in_capitals && word.case == Case::Capitals);
        let goes_on = before.is_some_and(|(word, _)| is_of_a_name(word) && !ADDRESSING.contains(&word.folded.as_str()))
            || after.is_some_and(|(_, word)| is_of_a_name(word));
        let is_anothers = self.longer.iter().any(|other| {
            let within =
                other.windows(window.len()).position(|part| part.iter().eq(window.iter().map(|word| &word.folded)));
            let around =
                within.and_then(|nth| start.checked_sub(nth)).and_then(|from| words.get(from..from + other.len()));
            around.is_some_and(|around| around.iter().map(|word| &word.folded).eq(other.iter()))
        });
        is_named && !goes_on && !is_anothers
    }
}

/// Words before a name that are no part of it though they begin with a capital, folded.
const ADDRESSING: &[&str] = &[
    "anh",
    "ban",
    "ba",
    "by",
    "cc",
    "chao",
    "chi",
    "cho",
    "co",
    "cua",
    "dear",
    "dr",
    "em",
    "for",
    "from",
    "gs",
    "gui",
    "gv",
    "hello",
    "hi",
    "kinh",
    "la",
    "lecturer",
    "me",
    "miss",
    "mr",
    "mrs",
    "ms",
    "mx",
    "name",
    "of",
    "ong",
    "pgs",
    "prof",
    "professor",
    "re",
    "student",
    "sv",
    "ten",
    "thay",
    "ths",
    "to",
    "ts",
    "tutor",
    "vien",
    "with",
];

/// What may stand between the digits of a phone number.
const GAP_OF_DIGITS: &str = r"[\s.()/\-\u{2010}-\u{2013}]{0,3}";

/// What is dialled within the country: the digits without +84 or 0 before them.
fn dialled(phone: &str) -> String {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let abroad = digits
        .strip_prefix("0084")
        .or_else(|| digits.strip_prefix("84").filter(|rest| rest.len() >= FEWEST_DIGITS_TO_DIAL));
    abroad.unwrap_or(&digits).trim_start_matches('0').to_owned()
}

/// Every place, also where two share the sign between them.
fn found<'t>(exact: &'t Regex, text: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
    let mut from = 0;
    std::iter::from_fn(move || {
        // From the end of the last one, so that the sign after it can be the sign before the next.
        let place = exact.captures_at(text, from)?.get(1)?.range();
        from = place.end;
        Some(place)
    })
}

/// Whether digits go on before or after a number, as those of a longer one do.
fn continues(text: &str, at: &Range<usize>) -> bool {
    let is_number = |end: Option<char>| end.is_some_and(|sign| sign.is_ascii_digit());
    let (inner, before, after) = (text.get(at.clone()), text.get(..at.start), text.get(at.end..));
    let (Some(inner), Some(before), Some(after)) = (inner, before, after) else { return true };
    let joins = |sign: Option<char>, next: Option<char>| {
        sign.is_some_and(|sign| matches!(sign, ' ' | '.' | '-' | '\u{a0}')) && is_number(next)
    };
    let (mut before, mut after) = (before.chars().rev(), after.chars());
    (is_number(inner.chars().next()) && joins(before.next(), before.next()))
        || (is_number(inner.chars().last()) && joins(after.next(), after.next()))
}

/// How a word is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Title,
    Capitals,
    /// Of a script that knows no capitals.
    None,
}

#[derive(Debug)]
struct Word {
    at: Range<usize>,
    folded: String,
    case: Case,
}

/// How far two words are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    /// As the words of a name.
    Close,
    /// With signs between them.
    Loose,
    Wide,
}

fn gap(text: &str, before: &Word, after: &Word, comma: bool) -> Gap {
    let Some(between) = text.get(before.at.end..after.at.start) else { return Gap::Wide };
    let signs: Vec<char> = between.chars().filter(|sign| !sign.is_whitespace() && !is_invisible(*sign)).collect();
    let lines = between.chars().filter(|sign| *sign == '\n').count();
    match signs.as_slice() {
        _ if lines > 1 => Gap::Wide,
        [] | ['-' | '\u{2010}' | '\u{2011}' | '\'' | '\u{2019}' | '_'] => Gap::Close,
        [','] if comma => Gap::Close,
        signs if signs.len() <= 2 => Gap::Loose,
        _ => Gap::Wide,
    }
}

/// The words of a text: letters and digits with their marks.
fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut open: Option<usize> = None;
    let ends = text.char_indices().map(|(at, sign)| (at, Some(sign))).chain([(text.len(), None)]);
    for (at, sign) in ends {
        let goes_on = sign.is_some_and(|sign| {
            sign.is_alphanumeric() || (open.is_some() && (is_combining_mark(sign) || is_joined(sign)))
        });
        match (open, goes_on) {
            (None, true) => open = Some(at),
            (Some(start), false) => {
                words.extend(text.get(start..at).and_then(|part| word(start, part)));
                open = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
    words
}

fn word(start: usize, part: &str) -> Option<Word> {
    // Invisible signs after the last letter are between words.
    let part = part.trim_end_matches(is_joined);
    let folded = fold(part);
    let mut letters = part.nfc().filter(|sign| sign.is_alphabetic());
    let first = letters.next();
    let rest_is_lower = letters.clone().any(char::is_lowercase);
    let case = match first {
        Some(first) if first.is_lowercase() => Case::Lower,
        Some(first) if first.is_uppercase() && (rest_is_lower || letters.next().is_none()) => Case::Title,
        Some(first) if first.is_uppercase() => Case::Capitals,
        _ => Case::None,
    };
    (!folded.is_empty()).then(|| Word { at: start..start + part.len(), folded, case })
}

fn folded_words(text: &str) -> Vec<String> {
    words(text).into_iter().map(|word| word.folded).collect()
}

/// Signs that nobody sees.
fn is_invisible(sign: char) -> bool {
    matches!(sign, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Those of them that stand within words; a space of no width is a space.
fn is_joined(sign: char) -> bool {
    sign != '\u{200b}' && is_invisible(sign)
}

/// As texts are compared: without accents and invisible signs, in compatible letters, in lower case.
pub(super) fn fold(text: &str) -> String {
    let letters = text.nfkd().filter(|sign| !is_combining_mark(*sign) && !is_invisible(*sign));
    letters.map(plain).flat_map(char::to_lowercase).nfkd().filter(|sign| !is_combining_mark(*sign)).collect()
}

/// Letters with a stroke are letters of their own to Unicode, and the same as those without to whoever types without accents.
fn plain(letter: char) -> char {
    match letter {
        'đ' => 'd',
        'Đ' => 'D',
        'ø' => 'o',
        'Ø' => 'O',
        'ł' => 'l',
        'Ł' => 'L',
        'ı' => 'i',
        letter => letter,
    }
}

/// Each letter with all that fold to it.
static VARIANTS: LazyLock<BTreeMap<char, String>> = LazyLock::new(|| {
    let mut variants: BTreeMap<char, String> = BTreeMap::new();
    for letter in ('\u{20}'..='\u{ffff}').filter(|letter| letter.is_alphanumeric()) {
        let folded = fold(letter.encode_utf8(&mut [0; 4]));
        let mut letters = folded.chars();
        if let (Some(base), None) = (letters.next(), letters.next()) {
            variants.entry(base).or_default().push(letter);
        }
    }
    variants
});

/// An expression of PostgreSQL that every spelling of this text matches.
fn literally(text: &str) -> String {
    let mut expression = String::new();
    for letter in fold(text).chars() {
        match VARIANTS.get(&letter) {
            Some(variants) => {
                let _ = write!(expression, "[{variants}][\u{300}-\u{36f}\u{ad}\u{200c}-\u{200f}\u{2060}\u{feff}]*");
            }
            None if letter.is_alphanumeric() => expression.push(letter),
            None => {
                // What is not a letter stands as it was typed, in one form or another.
                expression.push('.');
            }
        }
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(first: &str, last: &str) -> Needles {
        Needles::of(&Known {
            names: vec![(first.to_owned(), last.to_owned())],
            emails: vec!["nhung.luong@example.edu".to_owned()],
            numbers: vec!["S-00000017".to_owned()],
            phones: vec!["0903777123".to_owned()],
            ..Known::default()
        })
        .unwrap()
    }

    /// The text with what is sure in `{}` and what is not in `<>`.
    fn marked(needles: &Needles, text: &str) -> String {
        let (mut marked, mut from) = (String::new(), 0);
        for Hit { at, certainty } in needles.find(text, false) {
            let [open, close] = if certainty == Certainty::Sure { ['{', '}'] } else { ['<', '>'] };
            marked.push_str(&text[from..at.start]);
            marked.push(open);
            marked.push_str(&text[at.clone()]);
            marked.push(close);
            from = at.end;
        }
        marked + &text[from..]
    }

    #[test]
    fn a_full_name_is_found_however_it_is_spelt() {
        let needles = needles("Thị Hồng Nhung", "Lương");
        let decomposed: String = "Lương Thị Hồng Nhung".nfd().collect();
        for spelt in [
            "Lương Thị Hồng Nhung",
            "Thị Hồng Nhung Lương",
            "Luong Thi Hong Nhung",
            "LƯƠNG THỊ HỒNG NHUNG",
            "luong thi hong nhung",
            "Lương  Thị\u{a0}Hồng\nNhung",
            "Lương, Thị Hồng Nhung",
            "Lu\u{200d}ong Thi Hong Nhung",
            "Luong_Thi_Hong_Nhung",
            &decomposed,
        ] {
            assert_eq!(marked(&needles, spelt), format!("{{{spelt}}}"));
            assert_eq!(marked(&needles, &format!("gặp Cô {spelt}.")), format!("gặp Cô {{{spelt}}}."));
        }
    }

    #[test]
    fn what_may_mean_somebody_else_is_not_sure() {
        let needles = needles("Thị Hồng Nhung", "Lương");
        for (text, found) in [
            ("Lương và Nhung", "Lương và Nhung"),
            ("Lương", "Lương"),
            ("tiền lương", "tiền lương"),
            ("Lương Thị Hồng Nhung An", "<Lương Thị Hồng Nhung> An"),
            ("Trần Lương Thị Hồng Nhung", "Trần <Lương Thị Hồng Nhung>"),
            ("Hồng Nhung Lương Thị", "<Hồng Nhung Lương Thị>"),
            ("Lương Thị Hồng. Nhung", "<Lương Thị Hồng. Nhung>"),
            ("Lương\n\nThị Hồng Nhung", "Lương\n\nThị Hồng Nhung"),
        ] {
            assert_eq!(marked(&needles, text), found);
        }
    }

    #[test]
    fn two_words_in_small_letters_are_words() {
        let needles = needles("Students", "Present");
        assert_eq!(marked(&needles, "All students present."), "All <students present>.");
        assert_eq!(marked(&needles, "Students Present"), "{Students Present}");
        assert_eq!(marked(&needles, "Students Present Their Work"), "<Students Present> Their Work");
        assert_eq!(marked(&needles, "students, present"), "<students, present>");
    }

    #[test]
    fn a_phone_number_is_found_by_its_digits() {
        let needles = needles("A", "");
        for spelt in [
            "0903777123",
            "+84 903 777 123",
            "0903.777.123",
            "(0903) 777-123",
            "0084903777123",
            "+84 (0) 903 777 123",
            "903777123",
        ] {
            assert_eq!(marked(&needles, &format!("gọi {spelt}, nhé")), format!("gọi {{{spelt}}}, nhé"));
        }
        for other in ["09037771234", "+1 903 777 123", "10903777123", "12 0903777123", "0903777124", "x0903777123"] {
            assert!(!marked(&needles, other).contains('{'), "{other}");
        }
        for stored in ["+84903777123", "84903777123", "0903777123"] {
            assert_eq!(dialled(stored), "903777123");
        }
    }

    #[test]
    fn an_address_and_a_number_are_found_as_they_are() {
        let needles = needles("A", "");
        for (text, found) in [
            ("an Nhung.Luong@Example.edu.", "an {Nhung.Luong@Example.edu}."),
            (
                "<nhung.luong@example.edu>,nhung.luong@example.edu",
                "<{nhung.luong@example.edu}>,{nhung.luong@example.edu}",
            ),
            ("hong.nhung.luong@example.edu", "hong.nhung.luong@example.edu"),
            ("nhung.luong@example.edu.vn", "nhung.luong@example.edu.vn"),
            ("nhung.luong@example-edu", "nhung.luong@example-edu"),
            ("MSSV s-00000017", "MSSV {s-00000017}"),
            ("S-000000171, XS-00000017", "S-000000171, XS-00000017"),
        ] {
            assert_eq!(marked(&needles, text), found);
        }
    }

    #[test]
    fn who_shares_a_name_with_somebody_is_not_told_apart_by_it() {
        let named = |like: &[&str]| {
            Needles::of(&Known {
                names: vec![("Văn An".to_owned(), "Nguyễn".to_owned())],
                like_names: like.iter().map(|name| (*name).to_owned()).collect(),
                ..Known::default()
            })
            .unwrap()
        };
        assert_eq!(marked(&named(&[]), "Nguyen Van An"), "{Nguyen Van An}");
        assert_eq!(marked(&named(&["An Văn Nguyễn", "Van An Nguyen"]), "Nguyen Van An"), "<Nguyen Van An>");
        assert_eq!(marked(&named(&["Nguyễn Văn An Bình"]), "gap nguyen van an"), "gap {nguyen van an}");
        assert_eq!(marked(&named(&["Nguyễn Văn An Bình"]), "gap nguyen van an binh"), "gap <nguyen van an> binh");
    }
}
