//! `POST /{id}/anonymise/`: erases what is personal of somebody, and says table by table what was done.

use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::tables::{TABLES, Table};
use crate::access::{Actor, UserType, may, refuse_weaker};
use crate::app::AppState;
use crate::audit;
use crate::http::{Answer, Bare, Done, PathId, Problem};
use crate::ids::{Id, Moment};

/// What an anonymising did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AnonymisingReceipt {
    user: Id,
    anonymised_at: Moment,
    /// Each table that was touched.
    tables: Vec<TouchedTable>,
}

/// What was done to a table.
#[derive(Debug, Serialize, ToSchema)]
struct TouchedTable {
    table: &'static str,
    rows: u64,
    action: ErasingAction,
}

/// How personal data was erased.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ErasingAction {
    /// The person's rows are gone.
    Deleted,
    /// Columns of the person's rows are empty or neutral.
    Cleared,
    /// Where rows of others mentioned the person they no longer do.
    MentionsErased,
    /// The audit log's rows have lost what was changed.
    DetailsErased,
    /// The audit log's rows have lost address and program.
    OriginsErased,
}

/// `POST /{id}/anonymise/`
pub(super) async fn anonymise(
    actor: Actor<may::AnonymiseUsers>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Bare { repeat }: Bare,
) -> Answer<Done<AnonymisingReceipt>> {
    if id == actor.id() {
        return Err(Problem::conflict("own_account", "Nobody anonymises themselves; another administrator can."));
    }
    let actor = &actor;
    let answer = repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let person = store::lock(tx, id).await?.ok_or_else(Problem::absent)?;
                if person.is_anonymised {
                    return Err(Problem::conflict("already_anonymised", "This person has been anonymised already."));
                }
                refuse_weaker(tx, actor, id).await?;
                if person.is_superuser || person.user_type == UserType::Admin {
                    let says = "This person is an administrator. Take that right away first.";
                    return Err(Problem::conflict("is_administrator", says));
                }
                Done::with(&erase(tx, actor, id).await?)
            })
        })
        .await?;
    // Where this fails the sweep removes them later.
    if let Err(problem) = app.files.remove_deleted(&app.db).await {
        tracing::warn!(%problem, "files of an anonymised person could not be removed yet");
    }
    Ok(answer)
}

async fn erase(tx: &mut PgConnection, actor: &Actor<may::AnonymiseUsers>, id: Id) -> Answer<AnonymisingReceipt> {
    let names = Names::of(tx, id).await?;
    let mut tables = Vec::new();
    let mut touched = |table, rows, action| {
        if rows > 0 {
            tables.push(TouchedTable { table, rows, action });
        }
    };
    // Before what leads to the person is erased.
    let details = store::erase_details(tx, id, &names.whole, &names.any).await?;
    let origins = store::erase_origins(tx, id).await?;
    touched("audit_log", details.len() as u64, ErasingAction::DetailsErased);
    touched("audit_log", origins.len() as u64, ErasingAction::OriginsErased);
    touched("idempotency_keys", store::forget_answers(tx, &names.any).await?, ErasingAction::MentionsErased);
    let files = store::mark_files(tx, id).await?;
    touched("stored_files", files, ErasingAction::Deleted);
    for table in TABLES {
        let action = if table.deleted { ErasingAction::Deleted } else { ErasingAction::Cleared };
        touched(table.name, clear(tx, table, id).await?, action);
        touched(table.name, erase_mentions(tx, table, &names).await?, ErasingAction::MentionsErased);
    }
    let anonymised_at = store::anonymised_at(tx, id).await?;
    let told = json!({ "erased_details": details, "erased_origins": origins });
    audit::note(tx, actor.caller_id(), &actor.origin, "anonymise", "user", Some(id), &told).await?;
    Ok(AnonymisingReceipt { user: id, anonymised_at, tables })
}

/// Deletes the person's rows, or clears their columns.
async fn clear(tx: &mut PgConnection, table: &Table, person: Id) -> sqlx::Result<u64> {
    if table.of.is_empty() || (!table.deleted && table.cleared.is_empty()) {
        return Ok(0);
    }
    let condition = table.of.replace("$1", &person.to_string());
    let mut sql = QueryBuilder::<Postgres>::new("");
    if table.deleted {
        sql.push("delete from ").push(table.name);
    } else {
        let columns: Vec<String> = table.cleared.iter().map(|(name, to)| format!("{name} = {to}")).collect();
        sql.push("update ").push(table.name).push(" set ").push(columns.join(", "));
    }
    sql.push(" where (").push(condition).push(")");
    if !table.deleted {
        // What is empty already stays untouched: the receipt says what was done.
        let changes = table.cleared.iter().filter(|(name, _)| *name != "updated_at");
        let changes: Vec<String> = changes.map(|(name, to)| format!("{name} is distinct from {to}")).collect();
        sql.push(" and (").push(changes.join(" or ")).push(")");
    }
    Ok(sql.build().execute(tx).await?.rows_affected())
}

/// Replaces what mentions the person in everybody's rows.
async fn erase_mentions(tx: &mut PgConnection, table: &Table, names: &Names) -> sqlx::Result<u64> {
    let mut rows = 0;
    let pattern = if table.published { &names.whole } else { &names.any };
    for column in table.texts.split_whitespace() {
        let mut sql = QueryBuilder::<Postgres>::new("update ");
        sql.push(table.name).push(" set ").push(column).push(" = regexp_replace(").push(column).push(", ");
        sql.push_bind(pattern).push(", '***', 'gi') where ").push(column).push(" ~* ").push_bind(pattern);
        rows += sql.build().execute(&mut *tx).await?.rows_affected();
    }
    for (columns, to, pattern) in [(table.blanked, "'***'", pattern), (table.documents, "'{}'", &names.whole)] {
        for column in columns.split_whitespace() {
            let mut sql = QueryBuilder::<Postgres>::new("update ");
            sql.push(table.name).push(" set ").push(column).push(" = ").push(to).push(" where ");
            sql.push(column).push("::text ~* ").push_bind(pattern);
            rows += sql.build().execute(&mut *tx).await?.rows_affected();
        }
    }
    Ok(rows)
}

/// What the person is recognised by, as regular expressions of PostgreSQL.
struct Names {
    /// Full name, addresses, user name, phone: these mean nobody else.
    whole: String,
    /// Also the first and the last name alone.
    any: String,
}

impl Names {
    async fn of(tx: &mut PgConnection, id: Id) -> sqlx::Result<Self> {
        let person = store::names(tx, id).await?;
        let (first, last) = (person.first_name.trim(), person.last_name.trim());
        let mut whole = person.known_by;
        if !first.is_empty() && !last.is_empty() {
            whole.extend([format!("{first} {last}"), format!("{last} {first}"), format!("{last}, {first}")]);
        }
        let alone = [first, last].map(str::to_owned);
        let any: Vec<String> =
            whole.iter().cloned().chain(alone.into_iter().filter(|n| n.chars().count() > 3)).collect();
        Ok(Self { whole: any_of(&whole), any: any_of(&any) })
    }
}

/// Any of the words, as a word of its own. Those of less than three letters mean nobody.
fn any_of(words: &[String]) -> String {
    let escaped: Vec<String> =
        words.iter().map(|word| word.trim()).filter(|word| word.chars().count() > 2).map(escaped).collect();
    // Of nothing there is no mention.
    if escaped.is_empty() {
        "$.^".to_owned()
    } else {
        format!("(?<![[:alnum:]])(?:{})(?![[:alnum:]])", escaped.join("|"))
    }
}

fn escaped(word: &str) -> String {
    let mut escaped = String::new();
    for sign in word.chars() {
        match sign {
            // In JSON, and to a reader, one space is as good as another.
            ' ' => escaped.push_str("[[:space:]]+"),
            sign if sign.is_alphanumeric() => escaped.push(sign),
            sign => escaped.extend(['\\', sign]),
        }
    }
    escaped
}

/// Every SQL statement that is not made of the array.
mod store {
    use sqlx::PgConnection;

    use crate::access::UserType;
    use crate::ids::{Id, Moment};

    /// Whether the person may be anonymised.
    pub(super) struct Person {
        pub(super) user_type: UserType,
        pub(super) is_superuser: bool,
        pub(super) is_anonymised: bool,
    }

    /// What a person is known by.
    pub(super) struct KnownBy {
        pub(super) first_name: String,
        pub(super) last_name: String,
        /// Addresses, user names and phone numbers, also former ones.
        pub(super) known_by: Vec<String>,
    }

    pub(super) async fn lock(tx: &mut PgConnection, id: Id) -> sqlx::Result<Option<Person>> {
        sqlx::query_as!(
            Person,
            r#"select user_type as "user_type: UserType", is_superuser, anonymised_at is not null as "is_anonymised!"
                 from users
                where id = $1
                  for update"#,
            id.0
        )
        .fetch_optional(tx)
        .await
    }

    pub(super) async fn names(tx: &mut PgConnection, id: Id) -> sqlx::Result<KnownBy> {
        sqlx::query_as!(
            KnownBy,
            r#"select u.first_name,
                      u.last_name,
                      array[u.email, u.username, u.phone_number]
                          || coalesce((select array_agg(distinct former.value)
                                         from audit_log a
                                        cross join unnest(array['email', 'username', 'phone_number']) as field
                                        cross join lateral (values (a.details #>> array['changes', field, 'before'])) former (value)
                                        where a.resource_type = 'user'
                                          and a.resource_id = u.id
                                          and former.value <> ''), '{}') as "known_by!"
                 from users u
                where u.id = $1"#,
            id.0
        )
        .fetch_one(tx)
        .await
    }

    /// Erases what the log says of the person: rows about the account and about what the person wrote or was told, and
    /// any that mention the person. Returns their ids.
    pub(super) async fn erase_details(tx: &mut PgConnection, id: Id, whole: &str, any: &str) -> sqlx::Result<Vec<i64>> {
        sqlx::query_scalar!(
            "update audit_log
                set details = '{}', salt = ''
              where details <> '{}'
                and ((resource_type = 'user' and resource_id = $1)
                     or (resource_type = 'ticket'
                         and resource_id in (select id from tickets where submitter_id = $1))
                     or (resource_type = 'ticket_comment'
                         and resource_id in (select c.id
                                               from ticket_comments c
                                               join tickets k on k.id = c.ticket_id
                                              where $1 in (c.commenter_id, k.submitter_id)))
                     or (resource_type = 'notification'
                         and resource_id in (select id from notifications where $1 in (recipient_id, actor_id)))
                     or (resource_type = 'guardian' and resource_id in (select id from guardians where user_id = $1))
                     or (resource_type in ('enrollment', 'attendance_record', 'scholarship_application', 'ticket',
                                           'ticket_comment', 'notification', 'gold_transaction')
                         and details::text ~* $3)
                     or details::text ~* $2)
             returning id",
            id.0,
            whole,
            any
        )
        .fetch_all(tx)
        .await
    }

    /// Erases from where the person came, in the rows of what they did. Returns their ids.
    pub(super) async fn erase_origins(tx: &mut PgConnection, id: Id) -> sqlx::Result<Vec<i64>> {
        sqlx::query_scalar!(
            "update audit_log
                set ip_address = null, user_agent = '', origin_salt = ''
              where origin_salt <> ''
                and (user_id = $1 or (user_id is null and resource_type = 'user' and resource_id = $1))
             returning id",
            id.0
        )
        .fetch_all(tx)
        .await
    }

    /// Forgets the kept answers to others in which the person is mentioned.
    pub(super) async fn forget_answers(tx: &mut PgConnection, any: &str) -> sqlx::Result<u64> {
        let done = sqlx::query!("delete from idempotency_keys where convert_from(body, 'UTF8') ~* $1", any);
        Ok(done.execute(tx).await?.rows_affected())
    }

    /// Marks the person's own files for removal: the picture, and what belongs to tickets and applications of theirs. The
    /// files of the library, of units and media are the university's.
    pub(super) async fn mark_files(tx: &mut PgConnection, id: Id) -> sqlx::Result<u64> {
        let done = sqlx::query!(
            "update stored_files f
                set deleted_at = coalesce(f.deleted_at, rule_now()), original_name = ''
              where (f.created_by = $1
                     or exists (select
                                  from ticket_files l
                                  join tickets k on k.id = l.ticket_id
                                 where l.file_id = f.id
                                   and k.submitter_id = $1)
                     or exists (select
                                  from scholarship_application_files l
                                  join scholarship_applications a on a.id = l.application_id
                                 where l.file_id = f.id
                                   and a.student_id = $1)
                     or exists (select from users u where u.profile_image_id = f.id and u.id = $1))
                and not exists (select from media_assets m where m.file_id = f.id)
                and not exists (select from resources r where r.file_id = f.id)
                and not exists (select from unit_resources r where r.file_id = f.id)
                and not exists (select from achievements a where a.badge_image_id = f.id)",
            id.0
        );
        Ok(done.execute(tx).await?.rows_affected())
    }

    pub(super) async fn anonymised_at(tx: &mut PgConnection, id: Id) -> sqlx::Result<Moment> {
        sqlx::query_scalar!(r#"select anonymised_at as "at!: Moment" from users where id = $1"#, id.0)
            .fetch_one(tx)
            .await
    }
}
