//! Members of a body that nothing reads: the existing app sends some, so they are no fault; whoever writes calls by hand wants to know.
//! They are named in `X-Ignored-Fields`; with `Prefer: handling=strict` (RFC 7240) they are 400 and nothing is written.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::problem::{Answer, Faults};

tokio::task_local! {
    static BODY: RefCell<Notes>;
}

/// What is known of a request's body.
#[derive(Default)]
struct Notes {
    strict: bool,
    /// Paths that nothing will read.
    unread: BTreeSet<String>,
    /// Members that a part has left, which another may read.
    left: BTreeSet<String>,
    /// Members that a part has read.
    taken: BTreeSet<String>,
}

impl Notes {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.unread.iter().chain(self.left.difference(&self.taken)).map(String::as_str)
    }
}

/// As many members are noted for later parts.
const MOST: usize = 1000;

fn note(what: impl FnOnce(&mut Notes)) {
    // Outside of a request, as in a job, nobody asks.
    let _outside = BODY.try_with(|notes| what(&mut notes.borrow_mut()));
}

/// Nothing will read what stands at these paths.
pub(crate) fn never(paths: Vec<String>) {
    note(|notes| notes.unread.extend(paths));
}

/// These members are there, and nothing has read them yet.
pub(crate) fn left_unread<'a>(names: impl Iterator<Item = &'a String>) {
    part(names.map(|name| (name.clone(), false)));
}

/// A part of the body has read some members and left others, which another part may still read.
pub(super) fn part(members: impl Iterator<Item = (String, bool)>) {
    note(|notes| {
        for (name, taken) in members {
            let into = if taken { &mut notes.taken } else { &mut notes.left };
            if into.len() < MOST {
                into.insert(name);
            }
        }
    });
}

/// The members that are left, where the caller wants them to be refused: 400.
///
/// # Errors
/// 400 naming them.
pub(crate) fn refuse_if_strict() -> Answer<()> {
    BODY.try_with(|notes| {
        let notes = notes.borrow();
        let mut faults = Faults::default();
        if notes.strict {
            for name in notes.names() {
                faults.add_at(
                    || name.to_owned(),
                    "Nothing reads this field here. It is no field of it, or not yours to write.",
                );
            }
        }
        faults.check()
    })
    .unwrap_or(Ok(()))
}

fn is_strict(headers: &HeaderMap) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .any(|wish| wish.replace([' ', '"'], "").eq_ignore_ascii_case("handling=strict"))
}

/// As much of the names is told, in bytes.
const MOST_TOLD: usize = 2000;

/// The names in a header: what is not a letter of ours is written as in addresses.
fn told(notes: &Notes) -> String {
    let mut told = String::new();
    for name in notes.names() {
        if told.len() > MOST_TOLD {
            told.push_str(", ...");
            break;
        }
        told.push_str(if told.is_empty() { "" } else { ", " });
        for byte in name.bytes().take(300) {
            if byte.is_ascii_alphanumeric() || b"_.-[]".contains(&byte) {
                told.push(char::from(byte));
            } else {
                let _never = write!(told, "%{byte:02X}");
            }
        }
    }
    told
}

/// Runs a request, and tells in its answer what was not read of it.
pub(super) async fn noted(headers: &HeaderMap, work: impl Future<Output = Response>) -> Response {
    let notes = RefCell::new(Notes { strict: is_strict(headers), ..Notes::default() });
    BODY.scope(notes, async {
        let mut response = work.await;
        // What writes has asked before its commit.
        if response.status().is_success()
            && let Err(problem) = refuse_if_strict()
        {
            response = problem.into_response();
        }
        let told = BODY.with(|notes| told(&notes.borrow()));
        if let (false, Ok(value)) = (told.is_empty(), HeaderValue::from_str(&told)) {
            response.headers_mut().insert(HeaderName::from_static("x-ignored-fields"), value);
        }
        response
    })
    .await
}
