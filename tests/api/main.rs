//! The tests of the running server: one binary that mirrors the URLs, with people who send requests over real HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test that panics is a test that fails"
)]

mod support;
