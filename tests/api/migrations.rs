//! The schema's history, forwards and back, alone and with others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::migrate::Migrate as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use swincms::migrate::{self, Patience};

use crate::cli::swincms;
use crate::support::{EmptyDatabase, TestApp, invariants};

async fn connect(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(options).await.unwrap()
}

/// Everything that migrations have made, a line each; what PostgreSQL and its extensions bring is not theirs.
async fn schema(options: &PgConnectOptions) -> Vec<String> {
    let sql = "
        with ours as (
            select c.oid, c.relname, c.relkind
            from pg_class c
            where c.relnamespace = 'public'::regnamespace
              and c.relname not like '\\_sqlx%'
              and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
        )
        select 'column ' || o.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
               || ' ' || a.attnotnull || ' ' || a.attidentity::text || ' '
               || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
        from ours o
        join pg_attribute a on a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped
        left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where o.relkind in ('r', 'v', 'm', 'p')
        union all
        select 'index ' || pg_get_indexdef(o.oid) from ours o where o.relkind = 'i'
        union all
        select 'sequence ' || o.relname from ours o where o.relkind = 'S'
        union all
        select 'constraint ' || o.relname || '.' || c.conname || ' ' || pg_get_constraintdef(c.oid)
        from ours o
        join pg_constraint c on c.conrelid = o.oid
        union all
        select 'trigger ' || pg_get_triggerdef(t.oid)
        from ours o
        join pg_trigger t on t.tgrelid = o.oid
        where not t.tgisinternal
        union all
        select 'function ' || pg_get_functiondef(p.oid)
        from pg_proc p
        where p.pronamespace = 'public'::regnamespace
          and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
        union all
        select 'type ' || t.typname
        from pg_type t
        where t.typnamespace = 'public'::regnamespace
          and t.typtype in ('e', 'd', 'r')
          and not exists (select from pg_depend d where d.objid = t.oid and d.deptype = 'e')
        order by 1";
    let mut conn = connect(options).await;
    conn.fetch_all(sql).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn every_migration_can_be_taken_back_with_data_in_the_tables_and_run_again() {
    let app = TestApp::start().await;
    let (student, convenor) = (app.student().await, app.convenor().await);
    app.admin().await;
    app.course().await;
    let offering = app.offering_of(app.unit_of(convenor.id).await, 3).await;
    app.enrollment(student.id, offering, "COMPLETED").await;
    app.enrollment(student.id, app.offering(0).await, "WITHDRAWN").await;
    app.db.execute("insert into audit_log (user_id, action) values (1, 'test')").await.unwrap();
    app.db.execute("insert into throttle_buckets values ('test', 1, now())").await.unwrap();
    let options = app.options();
    let before = schema(&options).await;
    assert!(before.len() > 500, "only {} things are in the schema", before.len());

    let seal =
        "insert into audit_seals (from_position, from_id, to_position, to_id, row_count, previous_hmac, hmac, row_ids,
                                         row_hmacs, total_count)
                values ('1', 1, '1', 1, 1, sha256('a'), sha256('b'), '{1}', sha256('c'), 1)";
    app.db.execute(seal).await.unwrap();
    migrate::revert(&options, 1).await.unwrap();
    migrate::up(&options).await.unwrap();
    assert_eq!(schema(&options).await, before);

    let steps = migrate::status(&options).await.unwrap();
    assert!(steps.iter().all(|step| step.applied));
    for step in steps.iter().rev() {
        let undone = migrate::revert(&options, 1).await.unwrap_or_else(|error| panic!("{}: {error:#}", step.version));
        assert_eq!(undone.iter().map(|step| step.version).collect::<Vec<_>>(), [step.version]);
    }
    assert_eq!(schema(&options).await, [""; 0], "the down files leave something");
    assert!(migrate::revert(&options, 1).await.unwrap_err().to_string().contains("only 0 migrations have run"));

    migrate::up(&options).await.unwrap();
    assert_eq!(schema(&options).await, before);
}

#[tokio::test]
async fn processes_that_start_at_once_run_each_migration_once() {
    let empty = EmptyDatabase::create().await;
    let options = empty.options();
    let up = || migrate::up(&options);
    let (one, two, three) = tokio::join!(up(), up(), up());
    // Only who has run one says so.
    let ran: Vec<Vec<i64>> =
        [one, two, three].into_iter().map(|ran| ran.unwrap().iter().map(|step| step.version).collect()).collect();
    let mut conn = connect(&options).await;
    let sql = "select version, success from _sqlx_migrations order by version";
    let in_the_list: Vec<(i64, bool)> =
        conn.fetch_all(sql).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let known: Vec<(i64, bool)> =
        migrate::status(&options).await.unwrap().iter().map(|step| (step.version, true)).collect();
    assert_eq!(in_the_list, known);
    let mut told = ran.concat();
    told.sort_unstable();
    assert_eq!(told, known.iter().map(|(version, _)| *version).collect::<Vec<_>>());
    assert!(migrate::up(&options).await.unwrap().is_empty());
}

#[tokio::test]
async fn whoever_waits_for_another_ones_migration_goes_on_when_that_one_is_done() {
    let empty = EmptyDatabase::create().await;
    let options = empty.options();
    let mut other = connect(&options).await;
    other.lock().await.unwrap();
    let (done, ()) = tokio::join!(migrate::up(&options), async {
        until_someone_waits(&options).await;
        other.unlock().await.unwrap();
    });
    done.unwrap();
}

#[tokio::test]
async fn a_lock_that_is_never_given_back_ends_in_a_message_that_says_what_to_do() {
    let empty = EmptyDatabase::create().await;
    let options = empty.options();
    let mut other = connect(&options.clone().application_name("nightly export")).await;
    other.lock().await.unwrap();
    let error = migrate::up_within(SHORT, &options).await.unwrap_err().to_string();
    assert!(error.contains("blocked") && error.contains("pg_terminate_backend"), "{error}");
    assert_eq!(schema(&options).await, [""; 0]);

    // Blocked by somebody's long transaction instead: the schema stays as it was before the migration.
    other.unlock().await.unwrap();
    migrate::up(&options).await.unwrap();
    let before = schema(&options).await;
    migrate::revert(&options, 1).await.unwrap();
    let last_gone = schema(&options).await;
    other.execute(BLOCK).await.unwrap();
    let pid: i32 = other.fetch_one("select pg_backend_pid()").await.unwrap().get(0);
    let error = migrate::up_within(SHORT, &options).await.unwrap_err().to_string();
    for part in ["blocked", &format!("session {pid} (nightly export"), "idle in transaction", "select pg_backend_pid()"]
    {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    other.execute("rollback").await.unwrap();
    assert_eq!(schema(&options).await, last_gone);
    migrate::up(&options).await.unwrap();
    assert_eq!(schema(&options).await, before);
}

/// Whatever a migration does, that it was done is written there.
const BLOCK: &str = "begin; lock table _sqlx_migrations in share mode";

/// Time for an attempt, and to see who is in its way.
const SHORT: Patience = Patience { time: Duration::from_millis(500), tell: |_| {} };

#[tokio::test]
async fn a_migration_lets_others_pass_while_its_lock_is_not_to_be_had_and_is_tried_until_it_is() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let empty = EmptyDatabase::create().await;
    let options = empty.options();
    migrate::up(&options).await.unwrap();
    migrate::revert(&options, 1).await.unwrap();
    let mut other = connect(&options).await;
    other.execute(BLOCK).await.unwrap();
    // Told when the first attempt has been given up, long before the patience is over.
    let patience = Patience { time: Duration::from_mins(1), tell: |_| TOLD.store(true, Ordering::SeqCst) };
    let (ran, ()) = tokio::join!(migrate::up_within(patience, &options), async {
        while !TOLD.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        other.execute("rollback").await.unwrap();
    });
    assert_eq!(ran.unwrap().len(), 1);

    // The way back is tried alike.
    TOLD.store(false, Ordering::SeqCst);
    other.execute(BLOCK).await.unwrap();
    let (gone, ()) = tokio::join!(migrate::revert_within(patience, &options, 1), async {
        while !TOLD.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        other.execute("rollback").await.unwrap();
    });
    assert_eq!(gone.unwrap().len(), 1);
}

#[tokio::test]
async fn migrations_of_a_newer_program_stay_and_those_that_were_changed_are_refused() {
    let app = TestApp::start().await;
    let options = app.options();
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (20990101000000, 'of a newer program', true, '', 0)";
    app.db.execute(newer).await.unwrap();
    assert!(migrate::up(&options).await.unwrap().is_empty());
    assert_eq!(migrate::unknown(&options).await.unwrap(), [20_990_101_000_000]);
    let status = swincms(&app, &["migrate", "--status"]).await.good();
    assert!(status.ends_with("unknown  20990101000000 has run, and is not in this program\n"), "{status}");
    assert!(swincms(&app, &["migrate"]).await.good().starts_with("the schema is current"));
    let refused = migrate::revert(&options, 1).await.unwrap_err().to_string();
    assert!(refused.contains("20990101000000 of a newer program"), "{refused}");

    let changed = "update _sqlx_migrations set checksum = '' where version = 20260101000001";
    app.db.execute(changed).await.unwrap();
    let refused = swincms(&app, &["migrate"]).await.bad();
    assert!(
        refused.contains("20260101000001 create rule clock") && refused.contains("No migration was tried"),
        "{refused}"
    );
    let status = swincms(&app, &["migrate", "--status"]).await.good();
    assert!(status.starts_with("changed  20260101000001 create rule clock\napplied  "), "{status}");
}

#[tokio::test]
async fn what_a_way_back_loses_is_told_with_its_numbers_and_nothing_goes_by_being_told() {
    let app = TestApp::start().await;
    let options = app.options();
    let student = app.student().await;
    app.enrollment(student.id, app.offering(0).await, "COMPLETED").await;
    app.db.execute("update transcripts set course_code = 'BIT'").await.unwrap();
    let before = schema(&options).await;
    let steps = migrate::status(&options).await.unwrap();
    let back_to = |version: i64| steps.iter().filter(|step| step.version >= version).count();

    // Those that kept the course of a result, and that made the queue of registrations.
    let loss = migrate::loss(SHORT, &options, back_to(20_260_101_000_986)).await.unwrap();
    assert_eq!(loss.steps.len(), back_to(20_260_101_000_986));
    for gone in ["column transcripts.course_code (1 values)", "column transcripts.course_name (1 values)"] {
        assert!(loss.gone.contains(&gone.to_owned()), "{gone}: {:?}", loss.gone);
    }
    let loss = migrate::loss(SHORT, &options, back_to(20_260_101_000_880)).await.unwrap();
    assert!(loss.gone.contains(&"table registrations (0 rows)".to_owned()), "{:?}", loss.gone);
    assert_eq!(schema(&options).await, before);

    let asked = swincms(&app, &["migrate", "--revert", &back_to(20_260_101_000_986).to_string()]).await;
    assert!(asked.out.contains("lost        column transcripts.course_code (1 values)\n"), "{}", asked.out);
    assert!(asked.bad().contains("nothing was taken back: this is no terminal to ask on"));
    assert_eq!(schema(&options).await, before);
}

#[tokio::test]
async fn a_fresh_database_keeps_every_invariant() {
    let app = TestApp::start().await;
    assert!(invariants().count() > 20);
    app.check_invariants().await;
}

#[tokio::test]
async fn an_invariant_that_is_broken_is_found() {
    let app = TestApp::start().await;
    app.offering(3).await;
    app.db.execute("update offerings set current_enrollment = 1").await.unwrap();
    let mut broken = 0;
    for query in invariants() {
        broken += usize::from(!app.db.fetch_all(AssertSqlSafe(query)).await.unwrap().is_empty());
    }
    assert_eq!(broken, 1);
}

async fn until_someone_waits(options: &PgConnectOptions) {
    let mut conn = connect(options).await;
    let started = Instant::now();
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while conn.fetch_one(sql).await.unwrap().get::<i64, _>(0) == 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "nobody waits");
        tokio::task::yield_now().await;
    }
}

/// A dump is loaded with an empty `search_path`.
#[tokio::test]
async fn every_trigger_finds_what_it_names_wherever_it_is_fired_from() {
    let app = TestApp::start().await;
    let sql = "
        select p.proname::text
          from pg_proc p
         where p.pronamespace = 'public'::regnamespace
           and p.prorettype = 'trigger'::regtype
           and not exists (select from unnest(p.proconfig) as setting where setting like 'search_path=%')
           and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
         order by 1";
    let lost: Vec<String> = app.db.fetch_all(sql).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(lost, [""; 0]);
}
