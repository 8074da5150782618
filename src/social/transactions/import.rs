//! Awarding to many at once: a CSV file, of which all is entered or nothing.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::files::Upload;
use crate::http::sheet::{Cells, RowFault, Table, cell, refuse, told};
use crate::http::{Answer, Created, Done, DryRun, Faults, Problem, Reason, Trial, Tried};
use crate::ids::Id;
use crate::social::gold::AwardFields;
use crate::social::gold::amount_says;
use crate::social::gold::ledger::{self, Entry, EntryKind};

/// What an import did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GoldImport {
    message: String,
    created_count: usize,
    /// In the order of the file.
    transactions: Vec<GoldImported>,
}

/// An entry that was made.
#[derive(Debug, Serialize, ToSchema)]
struct GoldImported {
    /// The place among the rows, from 1; the header is none.
    row: usize,
    transaction_id: Id,
    student_id: Id,
    new_balance: i64,
}

/// `POST /import-csv/`
pub(super) async fn import_csv(
    actor: Actor<may::AwardGold>,
    State(app): State<AppState>,
    DryRun(only_asked): DryRun,
    upload: Upload,
) -> Answer<Tried<Created<GoldImport>>> {
    let field = if upload.file.as_ref().is_some_and(|file| file.field == "data") { "data" } else { "file" };
    let file = upload.file(field)?;
    let table = Table::of_csv(&file.field, &file.bytes)?;
    let missing: Vec<&str> = ["student", "amount", "reason"].into_iter().filter(|name| !table.has(name)).collect();
    if !missing.is_empty() {
        let says = format!("The columns student, amount and reason are needed; missing: {}.", missing.join(", "));
        return Err(Problem::invalid(file.field.clone(), says));
    }
    if table.rows.is_empty() && table.faults.is_empty() {
        return Err(Problem::invalid(file.field.clone(), "The file has no rows."));
    }
    let (actor, table) = (&actor, &table);
    if only_asked {
        let mut conn = app.db.acquire().await?;
        let (_, faults) = read(&mut conn, actor, table).await?;
        return Done::with(&trial(&faults)).map(Tried::Asked);
    }
    upload
        .repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let (rows, faults) = read(tx, actor, table).await?;
                refuse(&faults, "nothing was awarded")?;
                let (places, entries): (Vec<usize>, Vec<Entry>) = rows.into_iter().unzip();
                let made = ledger::post(tx, Some(actor), &entries).await?;
                let transactions: Vec<GoldImported> = places
                    .into_iter()
                    .zip(&entries)
                    .zip(made)
                    .map(|((row, entry), made)| GoldImported {
                        row,
                        transaction_id: made.id,
                        student_id: entry.student,
                        new_balance: made.balance_after,
                    })
                    .collect();
                let message = format!("{} awards were made.", transactions.len());
                Created::with(&GoldImport { message, created_count: transactions.len(), transactions })
            })
        })
        .await
        .map(Tried::Done)
}

/// What it would be answered with.
fn trial(faults: &[RowFault]) -> Trial {
    let status = if faults.is_empty() { StatusCode::CREATED } else { StatusCode::BAD_REQUEST };
    let reason = |RowFault { row, field, error }: &RowFault| Reason {
        code: "invalid",
        detail: format!("rows[{row}].{field}: {error}"),
        facts: json!({ "row": row, "field": field }),
    };
    Trial::of(status, told(faults).iter().map(reason).collect())
}

/// The entries that the rows ask for, each with its place, and all that is wrong with the others.
async fn read(
    conn: &mut PgConnection,
    actor: &Actor<may::AwardGold>,
    table: &Table,
) -> Answer<(Vec<(usize, Entry)>, Vec<RowFault>)> {
    let spelt: Vec<String> = table.rows.iter().map(|(_, cells)| cell(cells, "student").to_owned()).collect();
    let ids: Vec<Option<i64>> = spelt.iter().map(|text| text.parse::<Id>().ok().map(|id| id.0)).collect();
    // Whom one may not award to is as unknown as one who is not there.
    let convenor = if actor.scope().is_all() { None } else { actor.caller_id() };
    let mut meant: HashMap<i64, Vec<Id>> = HashMap::new();
    for found in store::meant(conn, &spelt, &ids, convenor).await? {
        meant.entry(found.nth).or_default().push(found.student);
    }
    let (mut rows, mut faults) = (Vec::new(), table.faults.clone());
    for ((number, cells), nth) in table.rows.iter().zip(1_i64..) {
        match entry(cells, meant.get(&nth).map_or(&[], Vec::as_slice)) {
            Ok(entry) if entry.student == actor.id() => {
                let error = "You cannot award gold to yourself; ask a colleague.".to_owned();
                faults.push(RowFault { row: *number, field: "student".to_owned(), error });
            }
            Ok(entry) => rows.push((*number, entry)),
            Err(wrong) => faults.extend(wrong.of_row(*number)),
        }
    }
    faults.sort_by_key(|fault| fault.row);
    Ok((rows, faults))
}

/// What a row asks for.
fn entry(cells: &Cells, students: &[Id]) -> Result<Entry, Faults> {
    let mut faults = Faults::default();
    let spelt = cell(cells, "student");
    let student = match students {
        [student] => *student,
        [] if spelt.is_empty() => {
            faults.add("student", "This field is required.");
            Id::default()
        }
        [] => {
            faults.add("student", format!("There is no student `{spelt}` whom you may award gold to."));
            Id::default()
        }
        [_, _, ..] => {
            faults.add("student", format!("`{spelt}` means several students; name this one by e-mail address."));
            Id::default()
        }
    };
    let amount = cell(cells, "amount").parse::<i64>().ok();
    if amount.is_none() {
        faults.add("amount", amount_says());
    }
    let kind = match cell(cells, "transaction_type").to_uppercase().as_str() {
        "" | "AWARD" => EntryKind::Award,
        "BONUS" => EntryKind::Bonus,
        _ => {
            faults.add("transaction_type", "One of AWARD, BONUS is expected.");
            EntryKind::Award
        }
    };
    let fields = AwardFields {
        amount: Some(amount.unwrap_or(1)),
        reason: cell(cells, "reason").to_owned(),
        details: cell(cells, "details").to_owned(),
    };
    fields.judge(&mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(fields.entry(student, kind))
}
