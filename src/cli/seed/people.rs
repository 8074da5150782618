//! The people of the demo.

use serde::Deserialize;

/// An account of the demo. It is not shown for debugging: there is a password in it.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) email: String,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) user_type: String,
    pub(super) department: String,
    pub(super) position: String,
    /// Of convenors: the codes of their units.
    #[serde(default)]
    pub(super) units: Vec<String>,
    /// Of students: the code of their course.
    #[serde(default)]
    pub(super) course: Option<String>,
    /// Of parents: the email of their child.
    #[serde(default)]
    pub(super) child: Option<String>,
    /// Whether it is one of many that `--students` asks for.
    #[serde(skip)]
    pub(super) crowd: bool,
}

const FIRST_NAMES: [&str; 24] = [
    "Aisha",
    "Bao",
    "Chloe",
    "Dinh",
    "Elif",
    "Farah",
    "Giang",
    "Hugo",
    "Isla",
    "Jack",
    "Khanh",
    "Lucia",
    "Mateo",
    "Ngoc",
    "Olivia",
    "Phuong",
    "Quinn",
    "Ravi",
    "Siew Ling",
    "Thanh",
    "Uyen",
    "Vikram",
    "Wei",
    "Zara",
];
const LAST_NAMES: [&str; 19] = [
    "Adeyemi", "Baker", "Costa", "Dang", "Evans", "Fischer", "Garcia", "Huynh", "Ivanova", "Johnson", "Kim", "Le",
    "Martin", "Nguyễn", "O'Connor", "Phạm", "Rossi", "Singh", "Trần",
];

impl Person {
    /// The student with this number, from 0, of the crowd: always the same one.
    pub(super) fn in_crowd(number: u32) -> Self {
        let username = format!("demo{:06}", number + 1);
        let name =
            |names: &[&str], number: usize| names.get(number % names.len()).copied().unwrap_or_default().to_owned();
        let place = number as usize;
        Self {
            email: format!("{username}@swin.edu.au"),
            username,
            password: "demo-Lantern-42".to_owned(),
            // The two lists have no common divisor, so that all pairs come up before one repeats.
            first_name: name(&FIRST_NAMES, place),
            last_name: name(&LAST_NAMES, place),
            user_type: "student".to_owned(),
            department: String::new(),
            position: String::new(),
            units: Vec::new(),
            course: Some(if number.is_multiple_of(2) { "BA-CS" } else { "BA-BUS" }.to_owned()),
            child: None,
            crowd: true,
        }
    }
}
