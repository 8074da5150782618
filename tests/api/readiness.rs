//! Whether the server says that it would serve requests exactly when it would, and what goes on being served when not all is.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use swincms::{migrate, rights};
use tokio::process::Command;

use crate::cli::swincms_with;
use crate::support::{EmptyDatabase, PASSWORD, Reply, Sender, TestApp};

const COURSES: &str = "/api/academic/courses/";
const UNITS: &str = "/api/academic/units/";
const ME: &str = "/api/users/users/me/";
const PROFILE: &str = "/api/users/users/update_profile/";

async fn run(app: &TestApp, sql: impl Into<String>) {
    app.db.execute(AssertSqlSafe(sql.into())).await.unwrap();
}

/// What `/health/ready` gives as its reasons; none when it is 200.
async fn reasons(nobody: &Sender) -> Vec<String> {
    let reply = nobody.get("/health/ready").await;
    if reply.status == 200 {
        return Vec::new();
    }
    assert_eq!(reply.refusal(), (503, "not_ready"));
    assert!(reply.header("retry-after").is_some());
    let reasons = reply.body["reasons"].as_array().unwrap();
    let says = |reason: &Value| reply.body["detail"].as_str().unwrap().contains(reason["detail"].as_str().unwrap());
    assert!(reasons.iter().all(says), "{}", reply.body);
    reasons.iter().map(|reason| reason["code"].as_str().unwrap().to_owned()).collect()
}

async fn until_ready_says(app: &TestApp, nobody: &Sender, wanted: &[&str]) {
    app.until("the server has noticed", async || reasons(nobody).await == wanted).await;
}

async fn log_in(from: &Sender, email: &str, password: &str) -> Reply {
    from.post("/api/token/", &json!({ "email": email, "password": password })).await
}

fn bearing(from: &Sender, token: &Value) -> Sender {
    from.with("Authorization", format!("Bearer {}", token.as_str().unwrap()))
}

fn cannot_be_written(reply: &Reply) {
    assert_eq!(reply.refusal(), (503, "read_only"), "{}", reply.body);
    assert!(reply.header("retry-after").is_some());
}

async fn set_read_only(app: &TestApp, on: bool) {
    let name = app.options().get_database().unwrap().to_owned();
    let change = if on { "set default_transaction_read_only = on" } else { "reset default_transaction_read_only" };
    run(app, format!("alter database {name} {change}")).await;
}

#[tokio::test]
async fn on_a_database_that_can_only_be_read_people_log_in_and_read_and_writes_say_why_not() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let sessions =
        async || sqlx::query_scalar!(r#"select count(*) as "count!" from sessions"#).fetch_one(&app.db).await.unwrap();
    let before = sessions().await;
    let server = app.another_server().with_background().start().await;
    let nobody = app.anonymous().at(&server);
    let (ann_there, staff_there) = (ann.at(&server), staff.at(&server));
    until_ready_says(&app, &nobody, &[]).await;
    // Sessions of the pool that began when it could be written.
    futures_util::future::join_all((0..8).map(|_| nobody.get(COURSES))).await;

    set_read_only(&app, true).await;
    until_ready_says(&app, &nobody, &["read_only"]).await;
    nobody.get(COURSES).await.expect(200);
    ann_there.get(ME).await.expect(200);
    cannot_be_written(&staff_there.post(COURSES, &json!({ "code": "LATE", "name": "x" })).await);
    cannot_be_written(&ann_there.patch(PROFILE, &json!({ "first_name": "x" })).await);

    let pair = log_in(&nobody, &ann.email, PASSWORD).await;
    let (access, refresh) = (&pair.expect(200)["access"], &pair.body["refresh"]);
    let inside = bearing(&nobody, access);
    assert_eq!(inside.get(ME).await.expect(200)["id"], ann.id.0);
    cannot_be_written(&inside.patch(PROFILE, &json!({ "first_name": "x" })).await);
    nobody.post("/api/token/verify/", &json!({ "token": access })).await.expect(200);
    let renewed = nobody.post("/api/token/refresh/", &json!({ "refresh": refresh })).await;
    bearing(&nobody, &renewed.expect(200)["access"]).get(ME).await.expect(200);
    // Whoever has a session keeps it.
    nobody.post("/api/token/refresh/", &json!({ "refresh": ann.refresh })).await.expect(200);
    cannot_be_written(&nobody.post("/api/token/logout/", &json!({ "refresh": ann.refresh })).await);

    set_read_only(&app, false).await;
    until_ready_says(&app, &nobody, &[]).await;
    for number in 0..8 {
        staff_there.post(COURSES, &json!({ "code": format!("BACK{number}"), "name": "x" })).await.expect(201);
    }
    assert_eq!(sessions().await, before, "what could not be stored was stored");
    // From now on a log-in leaves a session, and only that can be refreshed.
    let refused = nobody.post("/api/token/refresh/", &json!({ "refresh": refresh })).await;
    assert_eq!(refused.refusal(), (401, "token_not_valid"));
    inside.get(ME).await.expect(200);
    run(&app, format!("update users set password_changed_at = rule_now() where id = {}", ann.id.0)).await;
    assert_eq!(inside.get(ME).await.refusal(), (401, "token_not_valid"));
}

#[tokio::test]
async fn a_log_in_that_is_not_stored_ends_soon_and_with_the_account() {
    let app = TestApp::start().await;
    let (ann, eve) = (app.student().await, app.student().await);
    set_read_only(&app, true).await;
    let server = app.second_server().await;
    let nobody = app.anonymous().at(&server);
    let token = async |email: &str| {
        let pair = log_in(&nobody, email, PASSWORD).await;
        (bearing(&nobody, &pair.expect(200)["access"]), pair.body["refresh"].clone())
    };
    let ((ann_inside, _), (eve_inside, eves)) = (token(&ann.email).await, token(&eve.email).await);
    run(&app, format!("update users set is_active = false where id = {}", eve.id.0)).await;
    assert_eq!(eve_inside.get(ME).await.refusal(), (401, "token_not_valid"));
    let refused = nobody.post("/api/token/refresh/", &json!({ "refresh": eves })).await;
    assert_eq!(refused.refusal(), (401, "token_not_valid"));
    assert_eq!(log_in(&nobody, &eve.email, PASSWORD).await.refusal(), (401, "no_active_account"));
    ann_inside.get(ME).await.expect(200);
    app.clock.set("2026-03-02T02:15:03Z".parse().unwrap());
    assert_eq!(ann_inside.get(ME).await.refusal(), (401, "token_not_valid"));
}

#[tokio::test]
async fn guessing_is_bounded_on_a_database_that_can_only_be_read() {
    let app = TestApp::start().await;
    let (ann, eve) = (app.student().await, app.student().await);
    set_read_only(&app, true).await;
    let nobody = app.anonymous().at(&app.second_server().await);
    let mut looked_at = 0;
    for _ in 0..15 {
        match log_in(&nobody, &ann.email, "not-the-Password-1").await.refusal() {
            (401, "no_active_account") => looked_at += 1,
            (429, "throttled") => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(looked_at, 10);
    assert_eq!(log_in(&nobody, &ann.email, PASSWORD).await.refusal(), (429, "throttled"));
    for _ in 0..15 {
        log_in(&nobody, &eve.email, PASSWORD).await.expect(200);
    }
}

#[tokio::test]
async fn a_full_disk_of_the_database_is_told_as_that_and_people_still_log_in() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    run(
        &app,
        "create function no_room() returns trigger language plpgsql
         as $$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$",
    )
    .await;
    for table in ["courses", "throttle_buckets", "sessions"] {
        run(&app, format!("create trigger no_room before insert or update on {table} execute function no_room()"))
            .await;
    }
    let nobody = app.anonymous();
    assert_eq!(reasons(&nobody).await, [""; 0]);
    let reply = staff.post(COURSES, &json!({ "code": "FULL", "name": "x" })).await;
    assert_eq!(reply.refusal(), (503, "unavailable"));
    let says = reply.body["detail"].as_str().unwrap();
    assert!(says.contains("cannot write now") && !says.contains("reached"), "{says}");
    assert!(reply.header("retry-after").is_some());
    assert_eq!(reasons(&nobody).await, ["full"]);
    nobody.get(COURSES).await.expect(200);
    let pair = log_in(&nobody, &ann.email, PASSWORD).await;
    bearing(&nobody, &pair.expect(200)["access"]).get(ME).await.expect(200);
    nobody.post("/api/token/refresh/", &json!({ "refresh": pair.body["refresh"] })).await.expect(200);
    nobody.post("/api/token/refresh/", &json!({ "refresh": ann.refresh })).await.expect(200);
    assert_eq!(log_in(&nobody, &ann.email, "not-the-Password-1").await.refusal(), (401, "no_active_account"));
}

/// A role of the cluster's, for one test.
struct Role(String);

impl Role {
    async fn create(app: &TestApp) -> Self {
        let name = format!("role_of_{}", app.options().get_database().unwrap());
        for sql in [
            format!("create role {name} login"),
            format!("grant all on all tables in schema public to {name}"),
            format!("grant usage on all sequences in schema public to {name}"),
        ] {
            run(app, sql).await;
        }
        Self(name)
    }

    async fn drop(self, app: &TestApp) {
        run(app, format!("drop owned by {0}; drop role {0}", self.0)).await;
    }
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_noticed_when_it_is_missed_and_so_is_its_return() {
    let app = TestApp::start().await;
    let role = Role::create(&app).await;
    let server = app.another_server().by_role(&role.0).with_background().start().await;
    let nobody = app.anonymous().at(&server);
    until_ready_says(&app, &nobody, &[]).await;
    nobody.get(UNITS).await.expect(200);
    run(&app, format!("revoke all on units from {}", role.0)).await;
    app.until("it is missed", async || nobody.get(UNITS).await.status == 500).await;
    until_ready_says(&app, &nobody, &["rights_missing"]).await;
    assert!(!nobody.get("/health/ready").await.body.to_string().contains("units"), "a name is given away");
    nobody.get(COURSES).await.expect(200);
    run(&app, format!("grant all on units to {}", role.0)).await;
    until_ready_says(&app, &nobody, &[]).await;
    nobody.get(UNITS).await.expect(200);
    server.stop.cancel();
    app.until("the server has stopped", async || server.stopped.is_cancelled()).await;
    role.drop(&app).await;
}

#[tokio::test]
async fn a_table_that_is_gone_is_noticed_when_it_is_missed_and_so_is_its_return() {
    let app = TestApp::start().await;
    let server = app.another_server().with_background().start().await;
    let nobody = app.anonymous().at(&server);
    until_ready_says(&app, &nobody, &[]).await;
    run(&app, "alter table units rename to elsewhere").await;
    assert_eq!(nobody.get(UNITS).await.status, 500);
    until_ready_says(&app, &nobody, &["tables_missing"]).await;
    run(&app, "alter table elsewhere rename to units").await;
    until_ready_says(&app, &nobody, &[]).await;
    nobody.get(UNITS).await.expect(200);
}

#[tokio::test]
async fn an_old_schema_is_waited_for_and_a_newer_one_is_lived_with() {
    let app = TestApp::start().await;
    migrate::revert(&app.options(), 1).await.unwrap();
    let server = app.another_server().with_background().start().await;
    let nobody = app.anonymous().at(&server);
    until_ready_says(&app, &nobody, &["migrations_waiting"]).await;
    let reply = nobody.get(COURSES).await;
    assert_eq!(reply.refusal(), (503, "unavailable"));
    assert!(reply.body["detail"].as_str().unwrap().contains("brought up to date"), "{}", reply.body);
    nobody.get("/health/live").await.expect(200);
    migrate::up(&app.options()).await.unwrap();
    until_ready_says(&app, &nobody, &[]).await;
    nobody.get(COURSES).await.expect(200);

    run(
        &app,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (20990101000000, 'of a newer program', true, '', 0)",
    )
    .await;
    let server = app.another_server().with_background().start().await;
    until_ready_says(&app, &app.anonymous().at(&server), &[]).await;
    run(&app, "update _sqlx_migrations set checksum = '' where version = 20260101000001").await;
    let server = app.another_server().with_background().start().await;
    until_ready_says(&app, &app.anonymous().at(&server), &["migrations_changed"]).await;
}

#[tokio::test]
async fn a_folder_for_files_that_cannot_be_written_is_noticed() {
    let app = TestApp::start().await;
    let media = app.folder().join("elsewhere");
    let server = app.another_server().with("MEDIA_ROOT", media.to_str().unwrap()).with_background().start().await;
    let nobody = app.anonymous().at(&server);
    std::fs::remove_dir(media.join("private")).unwrap();
    until_ready_says(&app, &nobody, &["files"]).await;
    std::fs::create_dir(media.join("private")).unwrap();
    until_ready_says(&app, &nobody, &[]).await;
}

/// What `check` finds: each check's name and status, and the details of those that failed.
async fn checked(app: &TestApp, url: &str) -> (Vec<String>, String) {
    let settings = [("DATABASE_URL", url), ("RUN_MIGRATIONS", "false")];
    let said = swincms_with(app, &["check", "--json"], &settings, "").await;
    let said: Value = serde_json::from_str(&said.out).unwrap();
    let failed = said["checks"].as_array().unwrap().iter().filter(|check| check["status"] == "failed");
    let (names, details): (Vec<_>, Vec<_>) = failed
        .map(|check| (check["name"].as_str().unwrap().to_owned(), check["detail"].as_str().unwrap().to_owned()))
        .unzip();
    assert_eq!(said["ok"], names.is_empty());
    (names, details.join("\n"))
}

fn url(options: &sqlx::postgres::PgConnectOptions) -> String {
    use sqlx::ConnectOptions as _;
    options.to_url_lossy().to_string()
}

#[tokio::test]
async fn check_names_what_keeps_requests_from_being_served() {
    let app = TestApp::start().await;
    let own = url(&app.options());
    assert_eq!(checked(&app, &own).await.0, [""; 0]);

    set_read_only(&app, true).await;
    let (failed, says) = checked(&app, &own).await;
    assert_eq!(failed, ["writable"]);
    assert!(says.contains("default_transaction_read_only"), "{says}");
    set_read_only(&app, false).await;

    let role = Role::create(&app).await;
    run(&app, format!("revoke select on units from {0}; revoke select on counted_classes from {0}", role.0)).await;
    let (failed, says) = checked(&app, &url(&app.options().username(&role.0))).await;
    assert_eq!(failed, ["rights"]);
    assert!(says.contains("the role may not select on counted_classes, select on units;"), "{says}");
    role.drop(&app).await;

    run(&app, "alter table courses rename to elsewhere").await;
    let (failed, says) = checked(&app, &own).await;
    assert_eq!(failed, ["rights"]);
    assert!(says.contains("tables are not there: courses"), "{says}");
    run(&app, "alter table elsewhere rename to courses").await;

    run(&app, "update _sqlx_migrations set checksum = '' where version = 20260101000001").await;
    let (failed, says) = checked(&app, &own).await;
    assert_eq!(failed, ["migrations"]);
    assert!(says.contains("otherwise than they stand in this program") && says.contains("create rule clock"), "{says}");

    let empty = EmptyDatabase::create().await;
    let (failed, says) = checked(&app, &url(&empty.options())).await;
    assert_eq!(failed, ["migrations"]);
    assert!(says.contains("have not run; run `swincms migrate`"), "{says}");
}

async fn ask(conn: &mut PgConnection, sql: &str) -> Vec<String> {
    conn.fetch_all(AssertSqlSafe(sql.to_owned())).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Runs the script that makes the roles, with names that are this test's own.
async fn init_db(database: &EmptyDatabase, user: &str, arguments: &[&str]) {
    let options = database.options();
    let name = options.get_database().unwrap();
    let mut command = Command::new("./scripts/init-db.sh");
    command
        .args(arguments)
        .env("DATABASE_URL", url(&options.clone().username(user)))
        .env("DB_NAME", name)
        .envs(["OWNER", "MIGRATION", "APP", "BACKUP"].map(|role| (format!("{role}_ROLE"), role_of(name, role))));
    let said = command.output().await.unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

fn role_of(database: &str, role: &str) -> String {
    format!("{database}_{}", role.to_lowercase())
}

#[tokio::test]
async fn the_rights_that_are_asked_for_are_those_that_the_script_gives_each_of_them() {
    let database = EmptyDatabase::create().await;
    let options = database.options();
    let name = options.get_database().unwrap();
    let (app, migrator) = (role_of(name, "APP"), role_of(name, "MIGRATION"));
    init_db(&database, options.get_username(), &[]).await;
    migrate::up(&options.clone().username(&migrator)).await.unwrap();
    init_db(&database, &migrator, &["--grants"]).await;
    let mut admin = PgConnection::connect_with(&options).await.unwrap();
    let mut session = PgConnection::connect_with(&options.clone().username(&app)).await.unwrap();
    assert_eq!(rights::lacking(&mut session).await.unwrap(), rights::Lacking::default());

    // Each right that the role has, in the words of this program and of SQL.
    let granted = format!(
        "select lower(g.privilege_type) || ' on ' || c.relname
           from pg_class c cross join aclexplode(c.relacl) g
          where c.relnamespace = 'public'::regnamespace and c.relkind <> 'S' and g.grantee = '{app}'::regrole
          union all
         select lower(g.privilege_type) || ' of ' || a.attname || ' on ' || c.relname
           from pg_class c join pg_attribute a on a.attrelid = c.oid cross join aclexplode(a.attacl) g
          where c.relnamespace = 'public'::regnamespace and g.grantee = '{app}'::regrole
          union all
         select lower(g.privilege_type) || ' on the sequence of ' || t.relname
           from pg_class c
           join pg_depend d on d.objid = c.oid and d.deptype = 'i'
           join pg_class t on t.oid = d.refobjid
          cross join aclexplode(c.relacl) g
          where c.relnamespace = 'public'::regnamespace and c.relkind = 'S' and g.grantee = '{app}'::regrole"
    );
    let granted = ask(&mut admin, &granted).await;
    assert!(granted.len() > 200, "{}", granted.len());
    for right in granted {
        let (verb, object) = right.split_once(" on ").unwrap();
        let (verb, object) = match (verb.split_once(" of "), object.strip_prefix("the sequence of ")) {
            (Some((verb, column)), _) => (format!("{verb} ({column})"), format!("table {object}")),
            (None, Some(table)) => (verb.to_owned(), format!("sequence {table}_id_seq")),
            (None, None) => (verb.to_owned(), format!("table {object}")),
        };
        admin.execute(AssertSqlSafe(format!("revoke {verb} on {object} from {app}"))).await.unwrap();
        let lacking = rights::lacking(&mut session).await.unwrap();
        assert_eq!((lacking.tables, lacking.rights), (Vec::new(), vec![right]));
        admin.execute(AssertSqlSafe(format!("grant {verb} on {object} to {app}"))).await.unwrap();
    }
    session.close().await.unwrap();
    // The cluster may outlive the test.
    let owner = role_of(name, "OWNER");
    admin.execute(AssertSqlSafe(format!("reassign owned by {owner} to current_user"))).await.unwrap();
    for role in ["APP", "MIGRATION", "BACKUP", "OWNER"].map(|role| role_of(name, role)) {
        admin.execute(AssertSqlSafe(format!("drop owned by {role}; drop role {role}"))).await.unwrap();
    }
}
