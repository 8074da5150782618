//! Awarding to many at once: a CSV file, of which all is entered or nothing.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::store;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::files::Upload;
use crate::http::sheet::{Cells, Place, RowFault, Shape, Table, cell, refuse, says_of_unread, trial};
use crate::http::{Answer, Created, Describe, Done, DryRun, Faults, Notes, Problem, Schemas, Tried, flag, query_pairs};
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
    /// The place among the rows below the header, from 1, empty ones counted.
    row: usize,
    transaction_id: Id,
    student_id: Id,
    new_balance: i64,
}

/// `student,amount,reason` and, if there, `details,transaction_type`.
static SHAPE: Shape = Shape {
    needed: &["student", "amount", "reason"],
    others: &["details", "transaction_type"],
    telling: ("amount", |text| text.parse::<i64>().is_ok()),
};

/// `?allow_repeats=true`: what looks like a repeat is awarded all the same.
pub(super) struct AllowRepeats(bool);

impl FromRequestParts<AppState> for AllowRepeats {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let (mut faults, mut allowed) = (Faults::default(), false);
        for (name, value) in query_pairs(head)?.iter().filter(|(name, _)| name == "allow_repeats") {
            flag(&mut faults, name, value, &mut allowed);
        }
        faults.check().map(|()| Self(allowed))
    }
}

impl Describe for AllowRepeats {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        let says = "Awards also what stands twice in the file, and what the caller has awarded in the last 30 days.";
        notes.parameter("query", "allow_repeats", json!({ "type": "boolean" }), says);
    }
}

/// `POST /import-csv/`
pub(super) async fn import_csv(
    actor: Actor<may::AwardGold>,
    State(app): State<AppState>,
    DryRun(only_asked): DryRun,
    AllowRepeats(allow_repeats): AllowRepeats,
    upload: Upload,
) -> Answer<Tried<Created<GoldImport>>> {
    let field = if upload.file.as_ref().is_some_and(|file| file.field == "data") { "data" } else { "file" };
    let file = upload.file(field)?;
    let table = Table::of_file(&file.field, &file.bytes, &[&SHAPE])?;
    let (actor, table, zone) = (&actor, &table, app.config.time_zone);
    if only_asked {
        let mut conn = app.db.acquire().await?;
        let (rows, mut faults) = read(&mut conn, actor, table).await?;
        if !allow_repeats {
            add_repeats(&mut conn, actor, zone, &rows, &mut faults).await?;
        }
        return Done::with(&trial(StatusCode::CREATED, &faults)).map(Tried::Asked);
    }
    upload
        .repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let (rows, mut faults) = read(tx, actor, table).await?;
                if !allow_repeats {
                    // Of two who send the same file at once the second waits here, and then finds it entered.
                    let students: Vec<Id> = rows.iter().map(|(_, entry)| entry.student).collect();
                    ledger::hold(tx, &students).await?;
                    add_repeats(tx, actor, zone, &rows, &mut faults).await?;
                }
                refuse(&faults, "nothing was awarded")?;
                let (places, entries): (Vec<Place>, Vec<Entry>) = rows.into_iter().unzip();
                let made = ledger::post(tx, Some(actor), &entries).await?;
                let transactions: Vec<GoldImported> = places
                    .into_iter()
                    .zip(&entries)
                    .zip(made)
                    .map(|((place, entry), made)| GoldImported {
                        row: place.row,
                        transaction_id: made.id,
                        student_id: entry.student,
                        new_balance: made.balance_after,
                    })
                    .collect();
                let mut message = match transactions.len() {
                    1 => "1 award was made.".to_owned(),
                    many => format!("{many} awards were made."),
                };
                message.push_str(&says_of_unread(&table.unread));
                Created::with(&GoldImport { message, created_count: transactions.len(), transactions })
            })
        })
        .await
        .map(Tried::Done)
}

/// The entries that the rows ask for, each with its place, and all that is wrong with the others.
async fn read(
    conn: &mut PgConnection,
    actor: &Actor<may::AwardGold>,
    table: &Table,
) -> Answer<(Vec<(Place, Entry)>, Vec<RowFault>)> {
    let spelt: Vec<String> = table.rows.iter().map(|(_, cells)| cell(cells, "student").to_owned()).collect();
    let ids: Vec<Option<i64>> = spelt.iter().map(|text| text.parse::<Id>().ok().map(|id| id.0)).collect();
    // Whom one may not award to is as unknown as one who is not there.
    let convenor = if actor.scope().is_all() { None } else { actor.caller_id() };
    let mut meant: HashMap<i64, Vec<Id>> = HashMap::new();
    for found in store::meant(conn, &spelt, &ids, convenor).await? {
        meant.entry(found.nth).or_default().push(found.student);
    }
    let (mut rows, mut faults) = (Vec::new(), table.faults.clone());
    for ((place, cells), nth) in table.rows.iter().zip(1_i64..) {
        match entry(cells, meant.get(&nth).map_or(&[], Vec::as_slice)) {
            Ok(entry) if entry.student == actor.id() => {
                faults.push(RowFault::at(*place, "student", "You cannot award gold to yourself; ask a colleague."));
            }
            Ok(entry) => rows.push((*place, entry)),
            Err(wrong) => faults.extend(wrong.of_row(*place)),
        }
    }
    faults.sort_by_key(|fault| fault.row);
    Ok((rows, faults))
}

/// Adds a fault for every row that is the same as an earlier one, or as an award that the caller has made lately: what is in the
/// ledger cannot be taken out of it, and a file is easily sent twice.
async fn add_repeats(
    conn: &mut PgConnection,
    actor: &Actor<may::AwardGold>,
    zone: Tz,
    rows: &[(Place, Entry)],
    faults: &mut Vec<RowFault>,
) -> Answer<()> {
    const ALLOW: &str = "If it is meant, send the file with ?allow_repeats=true.";
    let mut first: HashMap<(Id, &str, i64, &str, &str), Place> = HashMap::new();
    for (place, entry) in rows {
        let same = (entry.student, entry.kind.name(), entry.amount, &*entry.reason, &*entry.details);
        if let Some(earlier) = first.get(&same) {
            faults.push(RowFault::at(*place, "row", format!("This is the same as {earlier}. {ALLOW}")));
        } else {
            first.insert(same, *place);
        }
    }
    let entries: Vec<&Entry> = rows.iter().map(|(_, entry)| entry).collect();
    let repeated = store::repeated(conn, actor.id(), &entries, zone).await?;
    let days: HashMap<i64, NaiveDate> = repeated.into_iter().map(|repeated| (repeated.nth, repeated.day)).collect();
    for ((place, _), nth) in rows.iter().zip(1_i64..) {
        if let Some(day) = days.get(&nth) {
            let says = format!("You have awarded exactly this on {}. {ALLOW}", day.format("%-d %B %Y"));
            faults.push(RowFault::at(*place, "row", says));
        }
    }
    faults.sort_by_key(|fault| fault.row);
    Ok(())
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
