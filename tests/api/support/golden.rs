//! Files that say what the code says, so that a change of it shows in a review.

use std::path::Path;

/// The file in `tests/api` has this text; with `UPDATE_GOLDEN=1` it is written instead.
#[track_caller]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api").join(name);
    if std::env::var("UPDATE_GOLDEN").is_ok_and(|value| value == "1") {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    if kept == text {
        return;
    }
    let changed = |one: &str, other: &str, sign: char| -> Vec<String> {
        let known: std::collections::HashSet<&str> = other.lines().collect();
        one.lines().filter(|line| !known.contains(line)).take(20).map(|line| format!("{sign} {line}")).collect()
    };
    let lines = [changed(&kept, text, '-'), changed(text, &kept, '+')].concat().join("\n");
    panic!("tests/api/{name} is not what the code says; if the change is meant, run with UPDATE_GOLDEN=1\n{lines}");
}
