//! What a question is about, as far as its words tell, in English or Vietnamese.
//!
//! Nothing is guessed: a question with none of the words is about something else. Each answer names what it is of, so that one
//! which was not meant is recognised as such.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// What there is an answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    /// Which units can be taken.
    Units,
    /// Results, mean and attendance.
    Performance,
    Gold,
    Events,
    Transcript,
    /// What is missing for the course.
    Graduation,
}

/// Phrases that leave no doubt. A word ends in `*` where any ending will do. All are written as [`words`] folds a question.
const CLEAR: &[(Topic, &[&str])] = &[
    (
        Topic::Units,
        &[
            "next semester",
            "next term",
            "which units",
            "what units",
            "which unit",
            "what unit",
            "available units",
            "units available",
            "which subjects",
            "what subjects",
            "which courses",
            "what courses",
            "enrol in",
            "enroll in",
            "enrol for",
            "enroll for",
            "take next",
            "study next",
            "hoc ky toi",
            "hoc ki toi",
            "ky toi",
            "ki toi",
            "ky sau",
            "ki sau",
            "hoc ky tiep*",
            "hoc ki tiep*",
            "mon nao",
            "mon gi",
            "hoc phan nao",
            "dang ky mon",
            "dang ki mon",
            "dang ky hoc phan",
            "dang ki hoc phan",
        ],
    ),
    (
        Topic::Performance,
        &[
            "perform*",
            "gpa",
            "grade",
            "grades",
            "marks",
            "my results",
            "average",
            "attendance",
            "am i doing",
            "units passed",
            "i passed",
            "i failed",
            "did i pass",
            "did i fail",
            "units completed",
            "i completed",
            "academic progress",
            "ket qua",
            "diem trung binh",
            "diem tb",
            "diem so",
            "hoc luc",
            "diem danh",
            "chuyen can",
        ],
    ),
    (
        Topic::Gold,
        &[
            "gold",
            "achievement*",
            "badge",
            "badges",
            "reward",
            "rewards",
            "diem vang",
            "diem thuong",
            "thanh tich",
            "huy hieu",
        ],
    ),
    (Topic::Events, &["event", "events", "happening", "what s on", "su kien"]),
    (Topic::Transcript, &["transcript", "transcripts", "academic record", "academic records", "bang diem", "hoc ba"]),
    (
        Topic::Graduation,
        &[
            "graduat*",
            "finish my degree",
            "finish my course",
            "complete my degree",
            "complete my course",
            "degree requirement*",
            "course requirement*",
            "credit points",
            "my credits",
            "how many credits",
            "tot nghiep",
            "ra truong",
            "tin chi",
        ],
    ),
];

/// Words that say it where nothing clear does.
const VAGUE: &[(Topic, &[&str])] = &[
    (Topic::Units, &["unit", "units", "subject", "subjects", "enrol*", "mon hoc", "hoc phan", "dang ky", "dang ki"]),
    (
        Topic::Performance,
        &["results", "progress", "studies", "hoc tap", "diem cua toi", "diem cua em", "diem cua minh"],
    ),
    (Topic::Gold, &["points"]),
    (Topic::Graduation, &["degree", "requirements", "credits"]),
];

/// What the question is about, each once; nothing when none of the words are in it.
pub(super) fn of(question: &str) -> Vec<Topic> {
    let words = words(question);
    let found = |table: &[(Topic, &[&str])]| -> Vec<Topic> {
        let is_in = |phrases: &[&str]| phrases.iter().any(|phrase| has(&words, phrase));
        table.iter().filter(|(_, phrases)| is_in(phrases)).map(|(topic, _)| *topic).collect()
    };
    let clear = found(CLEAR);
    if clear.is_empty() { found(VAGUE) } else { clear }
}

fn has(words: &[String], phrase: &str) -> bool {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    let fits = |word: &String, wanted: &&str| match wanted.strip_suffix('*') {
        Some(beginning) => word.starts_with(beginning),
        None => word == wanted,
    };
    words.windows(phrase.len()).any(|window| window.iter().zip(&phrase).all(|(word, wanted)| fits(word, wanted)))
}

/// The words of a text without accents, in lower case.
fn words(text: &str) -> Vec<String> {
    let letters = text.nfkd().filter(|letter| !is_combining_mark(*letter)).flat_map(char::to_lowercase);
    let plain: String = letters.map(|letter| if letter == 'đ' { 'd' } else { letter }).collect();
    plain.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::Topic::{Events, Gold, Graduation, Performance, Transcript, Units};
    use super::*;

    #[test]
    fn questions_are_recognised_in_both_languages() {
        for (question, wanted) in [
            ("What units can I take next semester?", vec![Units]),
            ("Which units should I enrol in?", vec![Units]),
            ("Học kỳ tới em nên học môn nào?", vec![Units]),
            ("hoc ky sau dang ky mon gi", vec![Units]),
            ("Kỳ tới có những môn gì?", vec![Units]),
            ("How is my academic performance?", vec![Performance]),
            ("How am I performing this semester?", vec![Performance]),
            ("What's my GPA?", vec![Performance]),
            ("Điểm trung bình của tôi là bao nhiêu?", vec![Performance]),
            ("Cho em xem điểm của em", vec![Performance]),
            ("Kết quả học tập của em thế nào?", vec![Performance]),
            ("How many units have I completed?", vec![Performance]),
            ("How much social gold do I have?", vec![Gold]),
            ("Em có bao nhiêu điểm thưởng?", vec![Gold]),
            ("How many points do I have?", vec![Gold]),
            ("What events are coming up?", vec![Events]),
            ("Sắp tới có sự kiện gì?", vec![Events]),
            ("SU KIEN nao sap dien ra", vec![Events]),
            ("Show my transcript", vec![Transcript]),
            ("Bảng điểm của tôi", vec![Transcript]),
            ("When can I graduate?", vec![Graduation]),
            ("What do I need for graduation?", vec![Graduation]),
            ("Tôi còn thiếu bao nhiêu tín chỉ để tốt nghiệp?", vec![Graduation]),
            ("How many credit points have I got?", vec![Graduation]),
            ("What is my GPA, and how much gold have I got?", vec![Performance, Gold]),
            ("Am I enrolled?", vec![Units]),
        ] {
            assert_eq!(of(question), wanted, "{question}");
        }
    }

    #[test]
    fn what_is_about_something_else_is_not_taken_for_a_question() {
        for question in [
            "Hello",
            "Xin chào",
            "Where is the library?",
            "Thứ hai học phòng nào?",
            "Is Monday a holiday?",
            "Golden Gate",
            "Eventually I will upgrade my laptop",
            "Tôi bị vắng hôm qua",
            "What is the meaning of life?",
            "",
            "???",
        ] {
            assert_eq!(of(question), [], "{question}");
        }
    }
}
