//! What commands print.

use std::io::{self, ErrorKind, Write};

/// Prints text to standard output. A reader that has seen enough, as `head` does, is no failure.
///
/// # Errors
/// When it cannot be written, on a full disk for one.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
