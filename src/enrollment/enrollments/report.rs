//! What a bulk call tells of each of its rows.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::rules::Standing;
use super::steps::Step;
use crate::enrollment::Status;
use crate::http::{Answer, Problem, Reason, Trial};
use crate::ids::Id;

/// The most rows of a bulk call.
const MOST: usize = 1000;

/// What became of each row. All that could be done was done, in one transaction; what is refused is as it was.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Report {
    /// How many rows were done, those that changed nothing among them.
    done_count: usize,
    /// How many were refused.
    refused_count: usize,
    /// In the order of the request.
    results: Vec<RowReport>,
}

/// What became of a row.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RowReport {
    /// The place in the request, from 0.
    row: usize,
    /// The enrolment; null where none is known by the offering and student that were named.
    id: Option<Id>,
    /// Whether it was done.
    ok: bool,
    /// The enrolment's status after it; null when it was refused or nothing changed.
    status: Option<Status>,
    /// The code of the refusal; empty when it was done.
    code: String,
    /// The refusal for people; empty when it was done.
    detail: String,
    /// What is wrong with which field.
    errors: BTreeMap<String, Vec<String>>,
    /// Where the unit is completed now: the student's seats in other offerings of it, which somebody should withdraw. Left out when
    /// there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    open_repeats: Vec<Standing>,
}

/// A row, and what became of it.
#[derive(Debug)]
pub(super) struct Judged {
    /// The enrolment that it named.
    pub(super) id: Option<Id>,
    pub(super) outcome: Answer<Option<Step>>,
}

impl Judged {
    /// The enrolment, where it is completed now.
    pub(super) fn completed(&self) -> Option<Id> {
        let step = self.outcome.as_ref().ok()?.as_ref()?;
        (step.status == Status::Completed).then_some(step.id)
    }
}

impl Report {
    pub(super) fn of(judged: Vec<Judged>) -> Self {
        let results: Vec<RowReport> = judged
            .into_iter()
            .enumerate()
            .map(|(row, Judged { id, outcome })| match outcome {
                Ok(step) => RowReport {
                    row,
                    id,
                    ok: true,
                    status: step.map(|step| step.status),
                    code: String::new(),
                    detail: String::new(),
                    errors: BTreeMap::new(),
                    open_repeats: Vec::new(),
                },
                Err(problem) => RowReport {
                    row,
                    id,
                    ok: false,
                    status: None,
                    code: problem.code().to_owned(),
                    detail: problem.detail().to_owned(),
                    errors: problem.errors().clone(),
                    open_repeats: Vec::new(),
                },
            })
            .collect();
        let refused_count = results.iter().filter(|result| !result.ok).count();
        Self { done_count: results.len() - refused_count, refused_count, results }
    }

    pub(super) fn with_repeats(mut self, mut repeats: HashMap<Id, Vec<Standing>>) -> Self {
        for row in &mut self.results {
            row.open_repeats = row.id.and_then(|id| repeats.remove(&id)).unwrap_or_default();
        }
        self
    }
}

/// What a bulk call would be answered with: a reason for each row that would be refused.
pub(super) fn trial(judged: Vec<Judged>) -> Trial {
    let refused = judged.into_iter().enumerate().filter_map(|(row, Judged { id, outcome })| {
        outcome.err().map(|problem| Reason {
            code: "row_refused",
            detail: problem.detail().to_owned(),
            facts: json!({ "row": row, "id": id, "code": problem.code(), "errors": problem.errors() }),
        })
    });
    Trial::of_each(refused.collect())
}

/// 400 unless there are rows, and not too many to be held at once.
pub(super) fn refuse_many(field: &str, rows: usize) -> Answer<()> {
    if (1..=MOST).contains(&rows) {
        return Ok(());
    }
    Err(Problem::invalid(field, format!("From 1 to {MOST} rows are expected, not {rows}.")))
}
