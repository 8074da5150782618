//! `POST /{id}/anonymise/`: erases what is personal of somebody, and says table by table what was done.
//!
//! What is *of* the person goes by reference and by column, as [`TABLES`] says. In what is of others, [`Search`] replaces
//! what can mean nobody else; what may mean somebody else is on the receipt, and goes when somebody confirms it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use super::log;
use super::mentions::{Change, Found, NearMiss, Search};
use super::near::Near;
use super::needles::{Known, Needles};
use super::tables::{TABLES, Table};
use crate::access::{Actor, UserType, may, refuse_weaker};
use crate::app::AppState;
use crate::db;
use crate::enrollment::{Granted, end_seats};
use crate::http::{Answer, Done, DryRun, Optional, PathId, Problem};
use crate::ids::{Id, Moment};

/// What somebody has decided on.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct NearMissesConfirmed {
    /// Near misses, by the ids that a receipt gave them: these are replaced too.
    #[schema(max_items = 1000)]
    confirm: Vec<String>,
}

/// The most near misses that are confirmed at once.
const MOST_CONFIRMED: usize = 1000;

/// What an anonymising did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AnonymisingReceipt {
    user: Id,
    /// Whether this only tells what would be done.
    dry_run: bool,
    anonymised_at: Moment,
    /// Each table that was touched; each row of others counts once.
    tables: Vec<TouchedTable>,
    /// Of a dry run: the first 1,000 texts of others in which the person would be replaced. Else empty.
    changes: Vec<Change>,
    /// How many texts of others these are in all.
    changes_total: usize,
    /// The first 1,000 places that may mean the person and are left, the likeliest first.
    near_misses: Vec<NearMiss>,
    /// How many there are in all.
    near_misses_total: usize,
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
    /// Messages that mention the person stay as they are: they are still to be delivered.
    AwaitsDelivery,
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
    DryRun(only_asked): DryRun,
    Optional { body, repeat }: Optional<NearMissesConfirmed>,
) -> Answer<Done<AnonymisingReceipt>> {
    if id == actor.id() {
        return Err(Problem::conflict("own_account", "Nobody anonymises themselves; another administrator can."));
    }
    if body.confirm.len() > MOST_CONFIRMED {
        return Err(Problem::invalid(
            "confirm",
            format!("At most {MOST_CONFIRMED} near misses are confirmed at once."),
        ));
    }
    let (actor, near, confirmed) = (&actor, &Near::new(&app.config.secret_key), &body.confirm);
    if only_asked {
        // It is done and taken back, so that what it tells is what would be done.
        let told =
            db::rehearse(&app.db, |tx, _| Box::pin(async move { decided(tx, actor, near, id, confirmed, true).await }));
        return Done::with(&told.await?);
    }
    let answer = repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move { Done::with(&decided(tx, actor, near, id, confirmed, false).await?) })
        })
        .await?;
    // Where this fails the sweep removes them later.
    if let Err(problem) = app.files.remove_deleted(&app.db).await {
        tracing::warn!(%problem, "files of an anonymised person could not be removed yet");
    }
    Ok(answer)
}

/// Erases the person, or what is confirmed of somebody who is erased already.
async fn decided(
    tx: &mut PgConnection,
    actor: &Actor<may::AnonymiseUsers>,
    near: &Near,
    id: Id,
    confirmed: &[String],
    dry_run: bool,
) -> Answer<AnonymisingReceipt> {
    let person = store::lock(tx, id).await?.ok_or_else(Problem::absent)?;
    if person.is_anonymised && confirmed.is_empty() {
        return Err(Problem::conflict("already_anonymised", "This person has been anonymised already."));
    }
    refuse_weaker(tx, actor, id).await?;
    if person.is_superuser || person.user_type == UserType::Admin {
        let says = "This person is an administrator. Take that right away first.";
        return Err(Problem::conflict("is_administrator", says));
    }
    // Earlier receipts quote what is now replaced.
    store::forget_receipts(tx, id).await?;
    let mut done = if person.is_anonymised { Erased::default() } else { erase(tx, actor, near, id).await? };
    near.confirm(tx, id, confirmed, &mut done.found).await?;
    done.found.details.extend(&done.own_details);
    log::tell(tx, actor, id, &done.found.details, &done.origins).await?;
    done.found.forget_misses(confirmed);
    Ok(done.receipt(id, store::anonymised_at(tx, id).await?, dry_run))
}

/// What an erasing did.
#[derive(Default)]
struct Erased {
    own_details: Vec<i64>,
    origins: Vec<i64>,
    /// Of the person's own rows: table by table, in order.
    own: Vec<TouchedTable>,
    found: Found,
}

impl Erased {
    fn touch(&mut self, table: &'static str, rows: u64, action: ErasingAction) {
        if rows > 0 {
            self.own.push(TouchedTable { table, rows, action });
        }
    }

    fn receipt(mut self, user: Id, anonymised_at: Moment, dry_run: bool) -> AnonymisingReceipt {
        self.touch("audit_log", self.found.details.len() as u64, ErasingAction::DetailsErased);
        self.touch("audit_log", self.origins.len() as u64, ErasingAction::OriginsErased);
        for (rows, action) in [
            (std::mem::take(&mut self.found.rows), ErasingAction::MentionsErased),
            (std::mem::take(&mut self.found.awaiting), ErasingAction::AwaitsDelivery),
        ] {
            let mut counted: Vec<TouchedTable> = Vec::new();
            for (table, _) in rows {
                match counted.last_mut().filter(|last| last.table == table) {
                    Some(last) => last.rows += 1,
                    None => counted.push(TouchedTable { table, rows: 1, action }),
                }
            }
            self.own.extend(counted);
        }
        AnonymisingReceipt {
            user,
            dry_run,
            anonymised_at,
            tables: self.own,
            // What was erased is not told again.
            changes: if dry_run { std::mem::take(&mut self.found.changes) } else { Vec::new() },
            changes_total: self.found.changes_total,
            near_misses_total: self.found.near_total,
            near_misses: self.found.near_misses(),
        }
    }
}

async fn erase(tx: &mut PgConnection, actor: &Actor<may::AnonymiseUsers>, near: &Near, id: Id) -> Answer<Erased> {
    end_seats(tx, actor, id, Granted::Stay).await?;
    // All that leads to the person, before it is erased.
    let needles = Needles::of(&known(tx, id).await?)?;
    let mut done = Erased {
        own_details: log::erase_own(tx, id).await?,
        origins: log::erase_origins(tx, id).await?,
        ..Erased::default()
    };
    done.touch("stored_files", store::mark_files(tx, id).await?, ErasingAction::Deleted);
    done.found = Search { person: id, needles: &needles, near, viewer: actor }.run(tx).await?;
    for table in TABLES {
        let action = if table.deleted { ErasingAction::Deleted } else { ErasingAction::Cleared };
        done.touch(table.name, clear(tx, table, id).await?, action);
    }
    Ok(done)
}

/// What the person is known by, and what of it others are known by too.
async fn known(tx: &mut PgConnection, id: Id) -> Answer<Known> {
    let person = store::known_by(tx, id).await?;
    let names = vec![(person.first_name, person.last_name), (person.official_first_name, person.official_last_name)];
    let mut known = Known { emails: person.emails, phones: person.phones, numbers: person.numbers, ..Known::default() };
    for (first, last) in names {
        if !known.names.contains(&(first.clone(), last.clone())) {
            known.names.push((first, last));
        }
    }
    for words in Needles::of(&known)?.coarse_of_names() {
        known.like_names.extend(store::names_with(tx, id, &words).await?);
    }
    known.of_others_too = store::of_others_too(tx, id, &known.emails, &known.phones).await?;
    Ok(known)
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
        pub(super) official_first_name: String,
        pub(super) official_last_name: String,
        /// Also former ones.
        pub(super) emails: Vec<String>,
        /// Also former ones.
        pub(super) phones: Vec<String>,
        /// Student numbers.
        pub(super) numbers: Vec<String>,
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

    pub(super) async fn known_by(tx: &mut PgConnection, id: Id) -> sqlx::Result<KnownBy> {
        sqlx::query_as!(
            KnownBy,
            r#"with former as (
                   select field, a.details #>> array['changes', field, 'before'] as value
                     from audit_log a
                    cross join unnest(array['email', 'phone_number']) as field
                    where a.resource_type = 'user'
                      and a.resource_id = $1
               )
               select u.first_name,
                      u.last_name,
                      u.official_first_name,
                      u.official_last_name,
                      array(select u.email union select value from former where field = 'email' and value <> '') as "emails!",
                      array(select u.phone_number where u.phone_number <> ''
                             union
                            select value from former where field = 'phone_number' and value <> '') as "phones!",
                      array(select distinct p.student_id from student_profiles p where p.user_id = $1) as "numbers!"
                 from users u
                where u.id = $1"#,
            id.0
        )
        .fetch_one(tx)
        .await
    }

    /// The full names of others, in both orders, in which all of these expressions match.
    pub(super) async fn names_with(tx: &mut PgConnection, id: Id, words: &[String]) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar!(
            r#"select distinct name as "name!"
                 from users u
                cross join lateral (values (u.first_name || ' ' || u.last_name),
                                           (u.last_name || ' ' || u.first_name),
                                           (u.official_first_name || ' ' || u.official_last_name),
                                           (u.official_last_name || ' ' || u.official_first_name)) named (name)
                where u.id <> $1
                  and name ~ all($2::text[])"#,
            id.0,
            words
        )
        .fetch_all(tx)
        .await
    }

    /// Which of these addresses and phone numbers somebody else has too.
    pub(super) async fn of_others_too(
        tx: &mut PgConnection,
        id: Id,
        emails: &[String],
        phones: &[String],
    ) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar!(
            r#"select theirs.email as "value!"
                 from unnest($2::text[]) theirs (email)
                where exists (select from users u where lower(u.email) = lower(theirs.email) and u.id <> $1)
                union all
               select theirs.phone
                 from unnest($3::text[]) theirs (phone)
                where exists (select
                                from users u
                               where u.id <> $1
                                 and u.phone_number <> ''
                                 and regexp_replace(u.phone_number, '^\+?(84|0)', '')
                                     = regexp_replace(theirs.phone, '^\+?(84|0)', ''))"#,
            id.0,
            emails,
            phones
        )
        .fetch_all(tx)
        .await
    }

    /// Forgets the kept receipts of earlier calls for this person.
    pub(super) async fn forget_receipts(tx: &mut PgConnection, id: Id) -> sqlx::Result<()> {
        let target = format!("POST /api/users/users/{id}/anonymise");
        sqlx::query!("delete from idempotency_keys where target = $1", target).execute(tx).await?;
        Ok(())
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
