//! The tests of the running server: one binary that mirrors the URLs, with people who send requests over real HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test that panics is a test that fails"
)]
#![allow(
    clippy::similar_names,
    clippy::float_cmp,
    clippy::format_collect,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::cast_possible_truncation,
    reason = "a test says what it sends and what comes back, with values of its own choosing"
)]

mod academic;
mod access;
mod advisor;
mod advisor_records;
mod audit;
mod audit_chain;
mod bounds;
mod cli;
mod conventions;
mod copies;
mod core;
mod days;
mod decisions;
mod demo;
mod deploy;
mod dry_runs;
mod enrollment;
mod erasure;
mod faults;
mod files;
mod floods;
mod log;
mod metrics;
mod migrations;
mod numbers;
mod openapi;
mod privacy;
mod readiness;
mod social;
mod support;
mod text;
mod traces;
mod uploads;
mod users;
mod workflows;
