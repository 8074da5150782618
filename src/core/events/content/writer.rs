//! The built-in writer: texts about an event from the templates in `templates/`, and rewriting by the wishes that it
//! understands. The same facts and wishes always make the same texts.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use serde_json::Value;

use super::facts::Facts;
use super::texts::Texts;
use super::wishes::{Wish, Wishes};
use crate::http::{Answer, Problem};

/// The texts, by the name of their template.
const TEMPLATES: [(&str, &str); 5] = [
    ("social_post", include_str!("templates/social_post.txt")),
    ("email_newsletter", include_str!("templates/email_newsletter.txt")),
    ("long_article", include_str!("templates/long_article.txt")),
    ("recruitment_ad", include_str!("templates/recruitment_ad.txt")),
    (VIETNAMESE, include_str!("templates/vietnamese_version.txt")),
];

/// The short text for those who rather read Vietnamese.
const VIETNAMESE: &str = "vietnamese_version";

/// The most of a description that a short text begins with, in characters.
const LONGEST_LEAD: usize = 280;

/// What a text gets when it is to be longer.
const MORE: &str = "Please note the date, tell others who may be interested, and come a few minutes early, so that we can \
                    begin in time. If you have questions beforehand, ask us; we are glad to help.";
const GREETING: &str = "Hello everyone!";
const FAREWELL: &str = "We look forward to seeing you!";
const CALL: &str = "Save the date now, and join us!";
const EMOJI: &str = "🎉";

/// The names of the texts that it writes.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|(name, _)| *name)
}

/// Those of them that an event needs.
pub(super) fn needed() -> impl Iterator<Item = &'static str> {
    names().filter(|name| *name != VIETNAMESE)
}

/// Writes all texts about an event, and makes them as wished.
pub(super) fn write(facts: &Facts, wishes: &Wishes) -> Answer<Texts> {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::None);
    templates
        .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(Problem::internal)?);
    let mut content = Texts::new();
    for (name, template) in TEMPLATES {
        let known = context! { lead => lead(&facts.description), ..Serde(facts) };
        let text = templates.render_str(template, known).map_err(Problem::internal)?;
        content.insert(name.to_owned(), Value::String(tidy(&text)));
    }
    Ok(if wishes.is_none() { content } else { refine(&content, wishes) })
}

/// The first paragraph, cut at a sentence or else at a word.
fn lead(description: &str) -> String {
    let paragraph = description.split("\n\n").next().unwrap_or_default().trim();
    if paragraph.chars().count() <= LONGEST_LEAD {
        return paragraph.to_owned();
    }
    let cut: String = paragraph.chars().take(LONGEST_LEAD).collect();
    let sentence = cut.rfind(['.', '!', '?']).and_then(|end| cut.get(..=end));
    let words = || format!("{} …", cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words));
    sentence.map_or_else(words, str::to_owned)
}

/// Without blank lines at the ends, or more than one between paragraphs.
fn tidy(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    lines.join("\n").trim().to_owned()
}

/// Rewrites every text as asked. The one in Vietnamese stays as it is but for emojis: what is added is English.
pub(super) fn refine(content: &Texts, wishes: &Wishes) -> Texts {
    let rewritten = |name: &str, text: &str| {
        let is_english = name != VIETNAMESE;
        let changed = wishes.changes.iter().fold(text.to_owned(), |text, wish| match wish {
            Wish::Emoji if text.contains(EMOJI) => text,
            Wish::Emoji => format!("{text} {EMOJI}"),
            Wish::NoEmoji => without_emoji(&text),
            _ if !is_english => text,
            Wish::Shorter => shorter(&text),
            Wish::Longer => with_paragraph(&text, MORE),
            Wish::Formal => formal(&text),
            Wish::Friendly => with_paragraph(&greeted(&text), FAREWELL),
            Wish::CallToAction => with_paragraph(&text, CALL),
        });
        let said = wishes.mentions.iter().filter(|_| is_english);
        said.fold(changed, |text, sentence| with_paragraph(&text, sentence))
    };
    let texts =
        content.iter().map(|(name, text)| (name.clone(), rewritten(name, text.as_str().unwrap_or_default()).into()));
    texts.collect()
}

/// With one more paragraph, unless the text has it already.
fn with_paragraph(text: &str, more: &str) -> String {
    if text.contains(more) {
        return text.to_owned();
    }
    format!("{text}\n\n{more}").trim().to_owned()
}

/// With the first sentence of each line only; when that is no less, without the last line that is prose. Lines such as
/// `When: …` stay.
fn shorter(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let cut: Vec<&str> = lines.iter().map(|line| if is_labelled(line) { line } else { first_sentence(line) }).collect();
    if cut != lines {
        return tidy(&cut.join("\n"));
    }
    let prose: Vec<usize> = (0..lines.len())
        .filter(|nth| lines.get(*nth).is_some_and(|line| !line.trim().is_empty() && !is_labelled(line)))
        .collect();
    let dropped = prose.last().filter(|_| prose.len() > 1);
    let kept = lines.iter().enumerate().filter(|(nth, _)| Some(nth) != dropped).map(|(_, line)| *line);
    tidy(&kept.collect::<Vec<_>>().join("\n"))
}

fn is_labelled(line: &str) -> bool {
    line.split_once(": ")
        .is_some_and(|(label, _)| label.chars().count() <= 10 && label.chars().all(char::is_alphabetic))
}

fn first_sentence(line: &str) -> &str {
    let ends = line.match_indices(['.', '!', '?']).map(|(at, mark)| at + mark.len());
    let mut sentences = ends.filter_map(|end| line.split_at_checked(end)).filter(|(_, rest)| {
        let next = rest.trim_start();
        next.len() < rest.len() && next.chars().next().is_some_and(char::is_uppercase)
    });
    sentences.next().map_or(line, |(first, _)| first)
}

fn formal(text: &str) -> String {
    const INSTEAD: [(&str, &str); 12] = [
        (GREETING, "Dear all,"),
        ("!", "."),
        ("n't ", " not "),
        ("'re ", " are "),
        ("'ll ", " will "),
        ("'d like", " would like"),
        ("We're", "We are"),
        ("Hi ", "Dear "),
        ("Hello ", "Dear "),
        ("Join us", "You are cordially invited"),
        ("join us", "attend"),
        ("Thanks", "Thank you"),
    ];
    let plain = without_emoji(text).replace("can't", "cannot").replace("won't", "will not");
    INSTEAD.iter().fold(plain, |text, (from, to)| text.replace(from, to))
}

fn greeted(text: &str) -> String {
    if text.contains(GREETING) {
        return text.to_owned();
    }
    if text.contains("Dear all,") {
        return text.replacen("Dear all,", GREETING, 1);
    }
    match text.split_once('\n') {
        Some((subject, rest)) if subject.starts_with("Subject: ") => format!("{subject}\n\n{GREETING}\n{rest}"),
        _ => format!("{GREETING}\n\n{text}"),
    }
}

fn without_emoji(text: &str) -> String {
    let is_emoji = |c: char| matches!(c, '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}' | '\u{fe0f}' | '\u{200d}');
    let plain: String = text.chars().filter(|c| !is_emoji(*c)).collect();
    if plain == text { plain } else { tidy(&plain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            title: "Robots & <People>".to_owned(),
            description: "Robots are here. Come and see {{ them }}!\n\nThere is tea.".to_owned(),
            location: "EN101".to_owned(),
            when: "Tuesday, 10 March 2026, 9:00 am".to_owned(),
            day: "Tuesday, 10 March 2026".to_owned(),
            unit: Some("SWE30003 Architectures".to_owned()),
            audience: "all students".to_owned(),
            when_vi: "Thứ Ba, 10/03/2026, 9:00".to_owned(),
            audience_vi: "toàn thể sinh viên".to_owned(),
        }
    }

    fn wishes(prompt: &str) -> Wishes {
        super::super::wishes::understood("prompt", prompt).unwrap()
    }

    fn text<'a>(content: &'a Texts, name: &str) -> &'a str {
        content[name].as_str().unwrap()
    }

    #[test]
    fn all_texts_say_what_when_and_where_and_nothing_is_escaped_or_run() {
        let content = write(&facts(), &Wishes::default()).unwrap();
        assert_eq!(content.len(), 5);
        for name in needed() {
            let text = text(&content, name);
            for said in
                ["Robots & <People>", "Robots are here. Come and see {{ them }}!", "EN101", "10 March 2026, 9:00 am"]
            {
                assert!(text.contains(said), "{name} does not say {said}:\n{text}");
            }
            assert!(!text.contains("\n\n\n") && text.trim() == text, "{text}");
        }
        let said = "Robots & <People>: save the date!\n\nRobots are here. Come and see {{ them }}!\n\n\
                    When: Tuesday, 10 March 2026, 9:00 am\nWhere: EN101\nUnit: SWE30003 Architectures\nWho: all students\n\n\
                    Join us, and tell others who may like to come.";
        assert_eq!(text(&content, "social_post"), said);
        let said = "Thông báo sự kiện: Robots & <People>\n\nThời gian: Thứ Ba, 10/03/2026, 9:00\nĐịa điểm: EN101\n\
                    Môn học: SWE30003 Architectures\nDành cho: toàn thể sinh viên\n\nRất mong được gặp các bạn tại sự kiện.";
        assert_eq!(text(&content, VIETNAMESE), said);
    }

    #[test]
    fn what_is_not_known_leaves_no_gap() {
        let nobody = (String::new(), String::new());
        let bare = Facts {
            description: String::new(),
            location: String::new(),
            unit: None,
            audience: nobody.0,
            audience_vi: nobody.1,
            ..facts()
        };
        for (name, text) in write(&bare, &Wishes::default()).unwrap() {
            let text = text.as_str().unwrap();
            for gap in
                ["\n\n\n", "Where", "Who:", "Open to", "Địa điểm", "Dành cho", "()", " ,", " .", "none", "undefined"]
            {
                assert!(!text.contains(gap), "{name} has {gap:?}:\n{text}");
            }
        }
    }

    #[test]
    fn a_long_description_is_cut_at_a_sentence_or_a_word() {
        let sentences = "One sentence of words. ".repeat(40);
        assert!(lead(&sentences).ends_with("words.") && lead(&sentences).chars().count() <= LONGEST_LEAD);
        let words = "word ".repeat(400);
        assert!(lead(&words).ends_with("word …"));
        assert!(lead(&"ä".repeat(400)).ends_with(" …"));
    }

    #[test]
    fn each_wish_changes_the_texts_once() {
        let content = write(&facts(), &Wishes::default()).unwrap();
        for prompt in
            ["shorter", "longer", "formal", "friendlier", "add emojis", "call to action", "Mention that tea is free"]
        {
            let refined = refine(&content, &wishes(prompt));
            assert!(refined.keys().eq(content.keys()));
            assert_ne!(refined, content, "{prompt}");
            if prompt != "shorter" {
                assert_eq!(refine(&refined, &wishes(prompt)), refined, "{prompt}");
            }
            assert_eq!(refine(&content, &wishes(prompt)), refined, "{prompt}");
        }
        let short = refine(&content, &wishes("shorter"));
        for (name, whole) in content.iter().filter(|(name, _)| *name != VIETNAMESE) {
            let (whole, short) = (whole.as_str().unwrap(), text(&short, name));
            assert!(short.len() < whole.len() && short.contains("When: Tuesday, 10 March 2026, 9:00 am"), "{short}");
        }
        assert!(
            text(&refine(&content, &wishes("Mention that tea is free")), "social_post").ends_with("\n\nTea is free.")
        );
        let formal = refine(&refine(&content, &wishes("emoji")), &wishes("more formal"));
        assert!(!text(&formal, "social_post").contains(['!', '🎉']));
        let friendly = refine(&content, &wishes("friendly"));
        assert!(text(&friendly, "email_newsletter").starts_with("Subject: "));
    }

    #[test]
    fn any_wish_and_any_text_are_worked_with() {
        let odd = Texts::from_iter([("a".to_owned(), "".into()), ("b".to_owned(), "ä! Ö? \n: \n".into())]);
        let long = format!("Mention {}", "ö".repeat(3000));
        for prompt in ["shorter", "formal", "friendly", "no emojis", "mention ß", "add …!x", long.as_str()] {
            assert_eq!(refine(&odd, &wishes(prompt)).len(), 2);
        }
    }
}
