//! `swincms check --deploy`: what a production deployment needs beyond a server that runs.

mod database;
mod machine;
mod settings;
mod store;

use std::borrow::Cow;

use super::{Check, Status};
use crate::config::ConfigFaults;

pub(super) use database::database;
pub(super) use machine::machine;
pub(super) use settings::settings;

/// What is found of one thing. Details are for people; no secret stands in them.
struct Found {
    status: Status,
    detail: String,
    remedy: Option<&'static str>,
}

impl Found {
    fn ok(detail: impl Into<String>) -> Self {
        Self { status: Status::Ok, detail: detail.into(), remedy: None }
    }

    fn failed(detail: impl Into<String>, remedy: &'static str) -> Self {
        Self { status: Status::Failed, detail: detail.into(), remedy: Some(remedy) }
    }

    fn warning(detail: impl Into<String>, remedy: &'static str) -> Self {
        Self { status: Status::Warning, detail: detail.into(), remedy: Some(remedy) }
    }

    fn skipped(detail: impl Into<String>, remedy: &'static str) -> Self {
        Self { status: Status::Skipped, detail: detail.into(), remedy: Some(remedy) }
    }

    fn named(self, name: &'static str) -> Check {
        let Self { status, detail, remedy } = self;
        Check { name: name.into(), status, detail, remedy: remedy.map(Cow::Borrowed) }
    }
}

/// A check for each setting that cannot be used; its text says what to do after the semicolon, if it says so.
pub(super) fn faults(faults: ConfigFaults) -> Vec<Check> {
    let check = |fault: crate::config::Fault| {
        let (detail, remedy) = match fault.text.rsplit_once("; ") {
            Some((detail, remedy)) => (detail.to_owned(), remedy.to_owned()),
            None => (fault.text, "See .env.example.".to_owned()),
        };
        Check { name: fault.setting.into(), status: Status::Failed, detail, remedy: Some(remedy.into()) }
    };
    let rest = "Put the settings right first, then run this again.";
    let rest = ["database", "files"].map(|name| Found::skipped("the settings are not in order", rest).named(name));
    faults.0.into_iter().map(check).chain(rest).collect()
}
