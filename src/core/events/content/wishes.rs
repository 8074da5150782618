//! What the built-in writer understands of what people ask of it. It never guesses: what is not understood would
//! otherwise end up as a sentence in front of everybody.

use crate::http::Problem;

/// What a text can be made to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Shorter,
    Longer,
    Formal,
    Friendly,
    Emoji,
    NoEmoji,
    CallToAction,
}

/// All that a prompt asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) changes: Vec<Wish>,
    /// Sentences to be added.
    pub(super) mentions: Vec<String>,
}

impl Wishes {
    /// Whether it only asks for texts, whatever they are like.
    pub(super) fn is_none(&self) -> bool {
        self.changes.is_empty() && self.mentions.is_empty()
    }
}

/// How wishes are spelt. What has been recognised is not looked at again, so that `less formal` is not `formal`.
const SPELT: [(&str, Wish); 29] = [
    ("no emoji", Wish::NoEmoji),
    ("no emojis", Wish::NoEmoji),
    ("without emoji", Wish::NoEmoji),
    ("without emojis", Wish::NoEmoji),
    ("remove emojis", Wish::NoEmoji),
    ("remove the emojis", Wish::NoEmoji),
    ("emoji", Wish::Emoji),
    ("emojis", Wish::Emoji),
    ("less formal", Wish::Friendly),
    ("informal", Wish::Friendly),
    ("friendly", Wish::Friendly),
    ("friendlier", Wish::Friendly),
    ("casual", Wish::Friendly),
    ("warmer", Wish::Friendly),
    ("formal", Wish::Formal),
    ("professional", Wish::Formal),
    ("shorter", Wish::Shorter),
    ("shorten", Wish::Shorter),
    ("short", Wish::Shorter),
    ("brief", Wish::Shorter),
    ("concise", Wish::Shorter),
    ("longer", Wish::Longer),
    ("expand", Wish::Longer),
    ("more detail", Wish::Longer),
    ("more details", Wish::Longer),
    ("more detailed", Wish::Longer),
    ("elaborate", Wish::Longer),
    ("call to action", Wish::CallToAction),
    ("cta", Wish::CallToAction),
];

/// What an instruction begins with whose rest is to be said. Those of `ADD` may also ask for something else.
const MENTION: [&str; 6] = ["mention that ", "say that ", "note that ", "include that ", "add that ", "mention "];
const ADD: [&str; 3] = ["add: ", "add ", "include "];

/// What of the rest only says that it is to be said.
const A_SENTENCE: [&str; 7] = [
    "a note that ",
    "a line that ",
    "a sentence that ",
    "a note saying that ",
    "a line saying that ",
    "a sentence saying that ",
    "the sentence ",
];

/// What asks for a thing that the writer does not have, rather than for a sentence.
const A_THING: [&str; 9] = ["a", "an", "some", "more", "another", "it", "this", "them", "in"];

/// Where another instruction begins within a sentence.
const NEXT: [&str; 9] = [
    "and mention ",
    "and say that ",
    "and note that ",
    "and add that ",
    "and include that ",
    "and make it ",
    "and make the ",
    ", make it ",
    ", mention ",
];

/// After these a full stop ends no sentence.
const ABBREVIATED: [&str; 11] = ["dr", "mr", "mrs", "ms", "prof", "st", "no", "e.g", "i.e", "etc", "vs"];

/// Words that ask for texts, and for nothing else of them.
const VERBS: [&str; 10] =
    ["generate", "regenerate", "write", "rewrite", "create", "make", "produce", "draft", "compose", "prepare"];
const BESIDE_VERBS: [&str; 43] = [
    "a",
    "about",
    "ad",
    "again",
    "all",
    "an",
    "and",
    "announcement",
    "announcements",
    "anew",
    "article",
    "can",
    "content",
    "contents",
    "copy",
    "could",
    "email",
    "event",
    "events",
    "for",
    "four",
    "it",
    "long",
    "marketing",
    "me",
    "media",
    "new",
    "newsletter",
    "of",
    "our",
    "please",
    "post",
    "posts",
    "recruitment",
    "s",
    "social",
    "some",
    "text",
    "texts",
    "the",
    "this",
    "us",
    "you",
];

/// Words that ask for nothing.
const POLITE: [&str; 6] = ["please", "thanks", "thank", "you", "hello", "hi"];

/// What a prompt asks for; a blank one for nothing.
///
/// # Errors
/// 400 on the field, with what is not understood and what would be.
pub(super) fn understood(field: &str, prompt: &str) -> Result<Wishes, Problem> {
    read(prompt).map_err(|part| {
        Problem::about(
            field,
            format!(
                "This was not understood: “{part}”. The built-in writer can make the texts shorter, longer, more formal or \
                 friendlier, add or remove emojis, add a call to action, and add a sentence that begins with “Mention that”. \
                 For anything else edit the text itself."
            ),
        )
    })
}

/// What it asks for, or else the part that is not understood.
fn read(prompt: &str) -> Result<Wishes, String> {
    let mut wishes = Wishes::default();
    let mut asks = prompt.trim().is_empty();
    for part in parts(prompt) {
        let words = words(part);
        if words.iter().all(|word| POLITE.contains(&word.as_str())) {
            continue;
        }
        asks = true;
        if let Some(sentence) = mentioned(part) {
            if !wishes.mentions.contains(&sentence) {
                wishes.mentions.push(sentence);
            }
            continue;
        }
        let changes = changes(&words);
        if changes.is_empty() && !asks_for_texts(&words) {
            return Err(shown(part));
        }
        for wish in changes {
            if !wishes.changes.contains(&wish) {
                wishes.changes.push(wish);
            }
        }
    }
    if asks { Ok(wishes) } else { Err(shown(prompt)) }
}

/// As much of a part as a message shows.
fn shown(part: &str) -> String {
    const MOST: usize = 80;
    let part = part.trim();
    if part.chars().count() <= MOST {
        return part.to_owned();
    }
    format!("{} …", part.chars().take(MOST).collect::<String>().trim_end())
}

/// The instructions of a prompt: its sentences, and what stands behind `and make it` and the like.
fn parts(prompt: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for mut sentence in sentences(prompt) {
        // Small letters of ASCII alone, so that places stay what they are.
        while let Some(at) = next_instruction(&sentence.to_ascii_lowercase()) {
            let (first, rest) = sentence.split_at_checked(at).unwrap_or((sentence, ""));
            parts.push(first.trim_end_matches([',', ' ']));
            sentence = rest.trim_start_matches([',', ' ']);
            sentence = sentence.strip_prefix("and ").or_else(|| sentence.strip_prefix("AND ")).unwrap_or(sentence);
        }
        parts.push(sentence);
    }
    parts.into_iter().map(str::trim).filter(|part| !words(part).is_empty()).collect()
}

fn next_instruction(small: &str) -> Option<usize> {
    let begins = |next: &str| {
        let at = small.match_indices(next).map(|(at, _)| at).find(|at| *at > 0)?;
        let is_apart = next.starts_with(',') || small.get(..at).is_some_and(|before| before.ends_with(' '));
        is_apart.then_some(at)
    };
    NEXT.iter().filter_map(|next| begins(next)).min()
}

fn sentences(prompt: &str) -> Vec<&str> {
    let (mut sentences, mut from) = (Vec::new(), 0);
    let mut letters = prompt.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let is_last = letters.peek().is_none_or(|(_, next)| next.is_whitespace());
        let ends = match letter {
            '\n' | ';' => true,
            '!' | '?' => is_last,
            '.' => {
                let before = prompt.get(from..at).unwrap_or_default();
                let word = before.rsplit(char::is_whitespace).next().unwrap_or_default().to_lowercase();
                is_last && !ABBREVIATED.contains(&word.as_str())
            }
            _ => false,
        };
        if ends {
            let end = at + if matches!(letter, '\n' | ';') { 0 } else { letter.len_utf8() };
            sentences.push(prompt.get(from..end).unwrap_or_default());
            from = at + letter.len_utf8();
        }
    }
    sentences.push(prompt.get(from..).unwrap_or_default());
    sentences
}

/// Small words, without what stands between them.
fn words(text: &str) -> Vec<String> {
    let plain: String = text.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    plain.split_whitespace().map(str::to_owned).collect()
}

fn changes(words: &[String]) -> Vec<Wish> {
    let mut asked = format!(" {} ", words.join(" "));
    let mut found = Vec::new();
    for (spelt, wish) in SPELT {
        let spelt = format!(" {spelt} ");
        if asked.contains(&spelt) {
            asked = asked.replace(&spelt, " ");
            if !found.contains(&wish) {
                found.push(wish);
            }
        }
    }
    let is_negated = [" not ", " don t ", " never ", " stop ", " too "].iter().any(|not| asked.contains(not));
    match found.as_slice() {
        [Wish::Emoji] if is_negated || asked.contains(" remove ") => vec![Wish::NoEmoji],
        _ if is_negated => Vec::new(),
        _ => found,
    }
}

fn asks_for_texts(words: &[String]) -> bool {
    let is_known = |word: &String| VERBS.contains(&word.as_str()) || BESIDE_VERBS.contains(&word.as_str());
    words.iter().any(|word| VERBS.contains(&word.as_str())) && words.iter().all(is_known)
}

/// `Mention that parking is free` as `Parking is free.`
fn mentioned(part: &str) -> Option<String> {
    let part = without(part, &["please ", "also ", "then "]);
    let rest = if let Some(rest) = after(part, &MENTION) {
        rest
    } else {
        let rest = after(part, &ADD)?;
        let is_sentence = after(rest, &A_SENTENCE).is_some();
        let words = words(rest);
        let first = words.first().map(String::as_str).unwrap_or_default();
        if !is_sentence && (A_THING.contains(&first) || !changes(&words).is_empty()) {
            return None;
        }
        rest
    };
    let rest = without(rest, &A_SENTENCE).trim_matches([' ', ':', '"', '“', '”']);
    let mut letters = rest.chars();
    let mut sentence: String = letters.next()?.to_uppercase().chain(letters).collect();
    if !sentence.ends_with(['.', '!', '?', '…']) {
        sentence.push('.');
    }
    sentence.chars().any(char::is_alphanumeric).then_some(sentence)
}

/// What follows the first of these that the text begins with.
fn after<'t>(text: &'t str, beginnings: &[&str]) -> Option<&'t str> {
    beginnings.iter().find_map(|beginning| {
        let (start, rest) = text.split_at_checked(beginning.len())?;
        start.eq_ignore_ascii_case(beginning).then(|| rest.trim_start())
    })
}

fn without<'t>(text: &'t str, beginnings: &[&str]) -> &'t str {
    let mut rest = text;
    while let Some(shorter) = after(rest, beginnings) {
        rest = shorter;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(changes: &[Wish], mentions: &[&str]) -> Wishes {
        Wishes { changes: changes.to_vec(), mentions: mentions.iter().map(|sentence| (*sentence).to_owned()).collect() }
    }

    #[test]
    fn wishes_are_understood_also_several_and_negated() {
        for (prompt, expected) in [
            ("Make it SHORTER, please", asked(&[Wish::Shorter], &[])),
            ("less formal", asked(&[Wish::Friendly], &[])),
            ("Informal, with emojis!", asked(&[Wish::Emoji, Wish::Friendly], &[])),
            ("no emoji", asked(&[Wish::NoEmoji], &[])),
            ("Don't use emojis.", asked(&[Wish::NoEmoji], &[])),
            ("Please remove all emojis", asked(&[Wish::NoEmoji], &[])),
            ("Add a call to action", asked(&[Wish::CallToAction], &[])),
            ("Make the social post more casual and add emojis", asked(&[Wish::Emoji, Wish::Friendly], &[])),
            ("Thanks! Make it shorter.", asked(&[Wish::Shorter], &[])),
            ("Write it shorter", asked(&[Wish::Shorter], &[])),
        ] {
            assert_eq!(read(prompt), Ok(expected), "{prompt}");
        }
    }

    #[test]
    fn what_is_to_be_said_is_said_as_it_stands() {
        for (prompt, said) in [
            ("mention the shortage of information", "The shortage of information."),
            ("Mention that the formal dinner is free", "The formal dinner is free."),
            ("Please add that Dr. Lê speaks at 9.30!", "Dr. Lê speaks at 9.30!"),
            ("Add: parking is free", "Parking is free."),
            ("Include a note that parking is free", "Parking is free."),
            ("say that ärger is over", "Ärger is over."),
        ] {
            assert_eq!(read(prompt), Ok(asked(&[], &[said])), "{prompt}");
        }
        assert_eq!(
            read("Make it shorter and mention that tea is free. Say that dogs may come, make it friendlier"),
            Ok(asked(&[Wish::Shorter, Wish::Friendly], &["Tea is free.", "Dogs may come."]))
        );
    }

    #[test]
    fn asking_for_texts_asks_for_nothing_else() {
        for prompt in
            ["Generate event content", "Please write the texts for this event.", "create a new social post", " "]
        {
            assert_eq!(read(prompt), Ok(asked(&[], &[])), "{prompt}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (prompt, part) in [
            ("Say it in Vietnamese", "Say it in Vietnamese"),
            ("Make it more exciting", "Make it more exciting"),
            ("Remove the last sentence.", "Remove the last sentence."),
            ("Rewrite it for first-year students.", "Rewrite it for first-year students."),
            ("Make it shorter. Change the location to Room 5.", "Change the location to Room 5."),
            ("Thanks, looks good.", "Thanks, looks good."),
            ("Add a photo", "Add a photo"),
            ("Do not make it longer", "Do not make it longer"),
            ("Thank you!", "Thank you!"),
            ("Mention that tea is free. Looks good.", "Looks good."),
            ("…", "…"),
        ] {
            assert_eq!(read(prompt), Err(part.to_owned()), "{prompt}");
        }
    }
}
