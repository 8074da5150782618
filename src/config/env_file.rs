//! `.env`: values as they stand. A shell, compose and systemd read such files by rules of their own; what they would read otherwise is
//! warned of, by line and name, never with the value.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use super::{Fault, SETTINGS};

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EnvFile {
    pub(super) values: HashMap<String, String>,
    /// What is odd about it, in sentences.
    pub(super) warnings: Vec<String>,
}

/// A value, and how others would read the line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Value {
    text: String,
    /// What another reader would take for something else.
    odd: Option<&'static str>,
}

const SUBSTITUTES: &str = "has a `$` or backquote, which a shell and compose replace";

/// Reads the file; nothing when there is none.
pub(super) fn read(path: &Path) -> Result<EnvFile, Vec<Fault>> {
    let fault = |text: String| Fault { setting: ".env".into(), text };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(EnvFile::default()),
        Err(error) => {
            return Err(vec![fault(format!("{} cannot be read: {error}", path.display()))]);
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| vec![fault("is not in UTF-8; save it as that".to_owned())])?;
    parse(&text).map_err(|faults| faults.into_iter().map(fault).collect())
}

fn parse(text: &str) -> Result<EnvFile, Vec<String>> {
    let mut file = EnvFile::default();
    let mut lines: HashMap<String, usize> = HashMap::new();
    let mut faults = Vec::new();
    // Windows' editors begin a file with a mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bare = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(line);
        let Some((name, rest)) = bare.split_once('=') else {
            faults.push(format!("line {number} cannot be read; write NAME=value"));
            continue;
        };
        let (name, spaced) = (name.trim(), name.ends_with([' ', '\t']) || rest.starts_with([' ', '\t']));
        if !is_name(name) {
            faults.push(format!("line {number} cannot be read: what stands before `=` is no name; write NAME=value"));
            continue;
        }
        let value = match value_of(rest.trim()) {
            Ok(value) => value,
            Err(why) => {
                faults.push(format!("line {number}, {name}, cannot be read: {why}"));
                continue;
            }
        };
        if let Some(before) = lines.insert(name.to_owned(), number) {
            faults.push(format!("{name} stands twice, in lines {before} and {number}; keep one of them"));
            continue;
        }
        if let Some(odd) = value.odd {
            file.warnings.push(format!(
                "line {number}: {name} {odd}; it is taken as it stands. In single quotes all read it alike"
            ));
        }
        if spaced {
            file.warnings
                .push(format!("line {number}: there are blanks beside the `=` of {name}, which a shell does not take"));
        }
        if let Some(meant) = meant_by(name) {
            file.warnings.push(format!("line {number}: {name} is no setting; did you mean {meant}?"));
        }
        file.values.insert(name.to_owned(), value.text);
    }
    if faults.is_empty() { Ok(file) } else { Err(faults) }
}

fn is_name(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
}

/// The value that a line gives, without blanks around it.
fn value_of(text: &str) -> Result<Value, &'static str> {
    if let Some(rest) = text.strip_prefix('\'') {
        let (inside, behind) = rest.split_once('\'').ok_or("a quote (') opens that nothing closes")?;
        nothing_but_comment(behind)?;
        return Ok(Value { text: inside.to_owned(), odd: None });
    }
    if let Some(rest) = text.strip_prefix('"') {
        return in_double_quotes(rest);
    }
    // A comment begins behind a blank: `a#b` is a value.
    let comment =
        text.char_indices().zip(text.chars().skip(1)).find(|((_, one), next)| one.is_whitespace() && *next == '#');
    let is_comment = text.starts_with('#');
    let text = if is_comment { "" } else { comment.map_or(text, |((place, _), _)| text.get(..place).unwrap_or(text)) };
    let text = text.trim_end();
    if text.contains(char::is_whitespace) {
        return Err("a value that has blanks stands in quotes");
    }
    let odd = if is_comment {
        Some("has nothing but a comment, which a shell takes for the value")
    } else if text.contains(['$', '`']) {
        Some(SUBSTITUTES)
    } else if text.contains(['\'', '"', '\\']) {
        Some("has a quote or backslash in it, which a shell and systemd leave out")
    } else if text.contains(['&', ';', '|', '<', '>', '(', ')']) {
        Some("has a sign that a shell takes for a command")
    } else {
        None
    };
    Ok(Value { text: text.to_owned(), odd })
}

fn in_double_quotes(rest: &str) -> Result<Value, &'static str> {
    let mut value = Value::default();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                nothing_but_comment(letters.as_str())?;
                return Ok(value);
            }
            // As a shell has it: before these a backslash goes, before all else it stays.
            '\\' => match letters.next() {
                Some(next @ ('"' | '\\' | '$' | '`')) => value.text.push(next),
                Some(next) => {
                    value.odd =
                        value.odd.or(Some("has a backslash in double quotes, which some read as the sign of another"));
                    let _infallible = write!(value.text, "\\{next}");
                }
                None => break,
            },
            '$' | '`' => {
                value.odd = Some(SUBSTITUTES);
                value.text.push(letter);
            }
            letter => value.text.push(letter),
        }
    }
    Err("a quote (\") opens that nothing closes in this line")
}

fn nothing_but_comment(behind: &str) -> Result<(), &'static str> {
    let rest = behind.trim_start();
    let is_comment = rest.is_empty() || (rest.starts_with('#') && rest.len() < behind.len());
    is_comment.then_some(()).ok_or("something stands behind the closing quote")
}

/// The setting that a name which is none was meant to be.
fn meant_by(name: &str) -> Option<&'static str> {
    let known = |name: &str| {
        SETTINGS.iter().any(|setting| {
            setting.name == name
                || name.strip_suffix("_FILE").is_some_and(|stem| setting.secret && setting.name == stem)
        })
    };
    if known(name) {
        return None;
    }
    let plain = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    let wanted = plain(name);
    // The same letters, or all but one of them for a word that is not short.
    let near = SETTINGS.iter().map(|setting| (strsim::osa_distance(&plain(setting.name), &wanted), setting.name));
    near.filter(|(distance, _)| *distance == 0 || (*distance == 1 && wanted.len() >= 6)).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A line's value, and whether it is warned of.
    fn one(line: &str) -> Result<(String, bool), Vec<String>> {
        let file = parse(&format!("NAME_OF_NOBODY={line}\n"))?;
        Ok((file.values["NAME_OF_NOBODY"].clone(), !file.warnings.is_empty()))
    }

    #[test]
    fn values_are_taken_as_they_stand() {
        for (line, value, is_odd) in [
            ("plain", "plain", false),
            ("", "", false),
            ("''", "", false),
            ("  padded  ", "padded", true),
            ("a#b", "a#b", false),
            ("a # a comment", "a", false),
            ("# a comment", "", true),
            ("'pa$word9'", "pa$word9", false),
            ("pa$word9", "pa$word9", true),
            ("${HOME}", "${HOME}", true),
            ("\"ab$cd#0\"", "ab$cd#0", true),
            (r#""a\$b\"c\\d""#, "a$b\"c\\d", false),
            (r#""a\nb""#, "a\\nb", true),
            ("'it is # here'  # a comment", "it is # here", false),
            ("\"two words\"", "two words", false),
            ("a'b", "a'b", true),
            (r"a\b", r"a\b", true),
            ("`id`", "`id`", true),
            ("a;b", "a;b", true),
            ("Đà_Nẵng", "Đà_Nẵng", false),
            ("a=b==", "a=b==", false),
            ("https://a.example/x?y=1", "https://a.example/x?y=1", false),
        ] {
            assert_eq!(one(line), Ok((value.to_owned(), is_odd)), "{line}");
        }
        for line in ["two words", "'open", "\"open", "'a'b", "\"a\" b", "\"a\"#b", "Campus <cms@example.edu>"] {
            let faults = one(line).unwrap_err();
            assert!(faults[0].starts_with("line 1, NAME_OF_NOBODY, cannot be read: "), "{line}: {faults:?}");
        }
    }

    /// What is not warned of, a shell reads alike.
    #[test]
    fn a_shell_reads_the_same_where_nothing_is_warned_of() {
        let path = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        for line in [
            "plain",
            "",
            "''",
            "a#b",
            "a # a comment",
            "'pa$word9'",
            r#""a\$b\"c\\d""#,
            "'it is # here'  # a comment",
            "\"two words\"",
            "Đà_Nẵng",
            "a=b==",
            "https://a.example/x?y=1",
            "!",
            "a~b",
            "a:b@c/d",
            "'\\'",
            "\"it's\"",
        ] {
            let (value, is_odd) = one(line).unwrap();
            assert!(!is_odd, "{line}");
            std::fs::write(&path, format!("NAME_OF_NOBODY={line}\n")).unwrap();
            let script = format!(". {}; printf %s \"$NAME_OF_NOBODY\"", path.display());
            let said = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), value, "{line}");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_is_read_as_editors_save_it() {
        let file = parse("\u{feff}BIND=127.0.0.1:1\r\n\r\n  export\tAPP_ENV=dev  \r\n# PUBLIC_URL=x\r\n").unwrap();
        assert_eq!(file.values.len(), 2, "{file:?}");
        assert_eq!((&*file.values["BIND"], &*file.values["APP_ENV"]), ("127.0.0.1:1", "dev"));
        assert_eq!(file.warnings, [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_name_and_never_shown() {
        let faults = parse("A=1\nhunter2\nB=hunter2 hunter3\n2C=hunter2\nA=hunter2\n").unwrap_err();
        assert_eq!(faults.len(), 4);
        for (fault, begins) in
            faults.iter().zip(["line 2 cannot", "line 3, B,", "line 4 cannot", "A stands twice, in lines 1 and 5"])
        {
            assert!(fault.starts_with(begins) && !fault.contains("hunter"), "{fault}");
        }
        let file = parse("POSTGRES_PASSWORD=hun$ter\n").unwrap();
        assert!(file.warnings[0].starts_with("line 1: POSTGRES_PASSWORD has a `$`"), "{:?}", file.warnings);
        assert!(!file.warnings[0].contains("hun"), "{:?}", file.warnings);
    }

    #[test]
    fn a_name_that_is_nearly_a_setting_is_asked_about() {
        for (name, meant) in [
            ("TIMEZONE", "TIME_ZONE"),
            ("Bind", "BIND"),
            ("DB_POOLSIZE", "DB_POOL_SIZE"),
            ("ALOWED_HOSTS", "ALLOWED_HOSTS"),
        ] {
            let file = parse(&format!("A=1\n{name}=1\n")).unwrap();
            assert_eq!(file.warnings, [format!("line 2: {name} is no setting; did you mean {meant}?")]);
        }
        for name in [
            "SITE",
            "IMAGE_TAG",
            "KEEP_DAYS",
            "BACKUP_TIME",
            "HTTP_PORT",
            "HTTPS_PORT",
            "SECRETS",
            "SECRET_KEY_FILE",
            "PATH",
        ] {
            assert_eq!(parse(&format!("{name}=1\n")).unwrap().warnings, [""; 0], "{name}");
        }
    }
}
