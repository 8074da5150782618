//! Registering: who may, what comes of it, and what is not theirs to choose.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use swincms::ids::Id;

use super::{delivered, enter, mails, tokens};
use crate::support::{Reply, Sender, TestApp};

const USERS: &str = "/api/users/users/";
const GOOD_PASSWORD: &str = "harbour-Quilt-77";

fn newcomer() -> Value {
    json!({
        "email": "Zoe.Hart@example.edu",
        "username": "zoe.hart",
        "password": GOOD_PASSWORD,
        "confirm_password": GOOD_PASSWORD,
    })
}

fn newcomer_with(more: &Value) -> Value {
    let mut body = newcomer();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn accounts(app: &TestApp) -> i64 {
    sqlx::query_scalar!(r#"select count(*) as "count!" from users"#).fetch_one(&app.db).await.unwrap()
}

#[tokio::test]
async fn anyone_registers_as_a_student_with_a_profile_and_a_gold_account() {
    let app = TestApp::start().await;
    let reply = app.anonymous().post(USERS, &newcomer_with(&json!({ "first_name": "Zoë", "last_name": "Hart" }))).await;
    let user = reply.expect(201);
    let id = user["id"].as_i64().unwrap();
    assert_eq!(
        user,
        &json!({
            "id": id,
            "email": "Zoe.Hart@example.edu",
            "username": "zoe.hart",
            "first_name": "Zoë",
            "last_name": "Hart",
            "is_staff": false,
            "user_type": "student",
            "department": "",
            "position": "",
            "bio": "",
            "profile_image": null,
            "created_at": "2026-03-02T02:00:00.000000Z",
            "updated_at": "2026-03-02T02:00:00.000000Z",
        })
    );
    let made = sqlx::query!(
        r#"select p.student_id, p.academic_status, p.course_id, a.current_balance, a.lifetime_earned, u.password_hash,
                  u.is_active, u.is_superuser
             from users u
             join student_profiles p on p.user_id = u.id
             join gold_accounts a on a.student_id = u.id
            where u.id = $1"#,
        id
    );
    let made = made.fetch_one(&app.db).await.unwrap();
    assert_eq!(made.student_id, format!("S-{id:08}"));
    assert_eq!((made.academic_status.as_str(), made.course_id), ("good", None));
    assert_eq!((made.current_balance, made.lifetime_earned), (0, 0));
    assert!(made.password_hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert!(made.is_active && !made.is_superuser);

    let credentials = json!({ "email": "zoe.hart@EXAMPLE.edu", "password": GOOD_PASSWORD });
    let tokens = app.anonymous().post("/api/token/", &credentials).await;
    let access = tokens.expect(200)["access"].as_str().unwrap().to_owned();
    let me = app.anonymous().with("Authorization", format!("Bearer {access}")).get("/api/users/users/me/").await;
    assert_eq!(me.expect(200)["id"], json!(id));
}

#[tokio::test]
async fn where_registration_is_closed_only_administrators_create_users() {
    let app = TestApp::with(&[("REGISTRATION", "closed")]).await;
    assert_eq!(app.anonymous().post(USERS, &newcomer()).await.refusal(), (401, "not_authenticated"));
    for user_type in ["student", "staff", "unit_convenor", "auditor", "parent"] {
        let person = app.person(user_type).await;
        assert_eq!(person.post(USERS, &newcomer()).await.refusal(), (403, "permission_denied"), "{user_type}");
    }
    let before = accounts(&app).await;
    let admin = app.admin().await;
    admin.post(USERS, &newcomer()).await.expect(201);
    assert_eq!(accounts(&app).await, before + 2);
}

#[tokio::test]
async fn a_bad_token_is_refused_also_where_none_is_needed() {
    let app = TestApp::start().await;
    for token in ["Bearer x.y.z", "Bearer", "Basic eA=="] {
        let reply = app.anonymous().with("Authorization", token).post(USERS, &newcomer()).await;
        assert_eq!(reply.refusal(), (401, "token_not_valid"), "{token}");
    }
    assert_eq!(accounts(&app).await, 0);
}

#[tokio::test]
async fn an_administrator_sets_the_rest() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let rest = json!({
        "user_type": "unit_convenor",
        "department": "Physics",
        "position": "Professor",
        "is_staff": true,
        "bio": "Teaches.",
        "phone_number": "+61400111222",
        "date_of_birth": "1970-05-06",
    });
    let reply = admin.post(USERS, &newcomer_with(&rest)).await;
    let user = reply.expect(201);
    for (field, value) in rest.as_object().unwrap() {
        assert_eq!(&user[field], value, "{field}");
    }
    assert_eq!((&user["is_active"], &user["is_superuser"]), (&json!(true), &json!(false)));
    let others = sqlx::query!(
        r#"select (select count(*) from student_profiles) as "profiles!", (select count(*) from gold_accounts) as "gold!",
                  (select created_by from users where id = $1) as author"#,
        user["id"].as_i64()
    );
    let others = others.fetch_one(&app.db).await.unwrap();
    assert_eq!((others.profiles, others.gold, others.author), (0, 0, Some(admin.id.0)));

    let inactive = newcomer_with(&json!({ "email": "a@example.edu", "username": "a", "is_active": false }));
    let student = admin.post(USERS, &inactive).await.expect(201).clone();
    assert_eq!((&student["user_type"], &student["is_active"]), (&json!("student"), &json!(false)));
}

#[tokio::test]
async fn whoever_is_no_administrator_chooses_names_and_password_and_nothing_else() {
    let app = TestApp::start().await;
    let columns = sqlx::query!(
        r#"select column_name::text as "name!", data_type::text as "kind!"
             from information_schema.columns
            where table_schema = 'public'
              and table_name = 'users'"#
    );
    let columns = columns.fetch_all(&app.db).await.unwrap();
    let forged: Map<String, Value> = columns
        .into_iter()
        .map(|column| {
            let value = match (column.name.as_str(), column.kind.as_str()) {
                ("is_active", _) => json!(false),
                ("user_type", _) => json!("admin"),
                ("phone_number", _) => json!("+61499999999"),
                (_, "text") => json!("forged"),
                (_, "boolean") => json!(true),
                (_, "bigint") => json!(4711),
                (_, "date") => json!("1999-12-31"),
                _ => json!("1999-12-31T00:00:00Z"),
            };
            (column.name, value)
        })
        .chain([("permissions".to_owned(), json!(["users.manage"])), ("student_id".to_owned(), json!("S-1"))])
        .collect();
    assert!(forged.len() > 30);

    let mut senders: Vec<(String, Sender, Option<Id>)> = vec![("anonymous".to_owned(), app.anonymous(), None)];
    for user_type in ["student", "staff", "unit_convenor", "auditor", "parent"] {
        let person = app.person(user_type).await;
        senders.push((user_type.to_owned(), (*person).clone(), Some(person.id)));
    }
    for (number, (who, sender, author)) in senders.into_iter().enumerate() {
        let chosen = |plain: bool| {
            let mut body = if plain { Map::new() } else { forged.clone() };
            let name = format!("new{number}{plain}");
            body.extend([
                ("email".to_owned(), json!(format!("{name}@example.org"))),
                ("username".to_owned(), json!(name)),
                ("first_name".to_owned(), json!("Ada")),
                ("last_name".to_owned(), json!("Byron")),
                ("password".to_owned(), json!(GOOD_PASSWORD)),
                ("confirm_password".to_owned(), json!(GOOD_PASSWORD)),
            ]);
            Value::Object(body)
        };
        // Beside what is theirs to choose, nothing differs from an account whose founder asked for nothing.
        let mut made = Vec::new();
        for plain in [true, false] {
            let reply = sender.post(USERS, &chosen(plain)).await;
            let id = reply.expect(201)["id"].as_i64().unwrap();
            let row = sqlx::query!(r#"select to_jsonb(u) as "row!" from users u where id = $1"#, id);
            let mut row = row.fetch_one(&app.db).await.unwrap().row;
            assert_eq!(row["created_by"], json!(author), "{who}");
            let hash = row["password_hash"].as_str().unwrap();
            assert!(hash.starts_with("$argon2id$"), "{who}: {hash}");
            for theirs in ["id", "email", "username", "password_hash", "search_text", "student_number"] {
                row.as_object_mut().unwrap().remove(theirs);
            }
            made.push(row);
        }
        assert_eq!(made[0], made[1], "{who}");
        assert_eq!((&made[1]["user_type"], &made[1]["bio"]), (&json!("student"), &json!("")));
    }
    let roles = sqlx::query_scalar!(r#"select count(*) as "count!" from user_roles"#);
    assert_eq!(roles.fetch_one(&app.db).await.unwrap(), 0);
}

#[tokio::test]
async fn a_taken_address_and_user_name_are_both_named_whatever_their_case() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.student().await, app.staff().await);
    let before = accounts(&app).await;
    for (email, username, errors) in [
        (ann.email.to_uppercase(), bob.username.to_uppercase(), (1, 1)),
        (ann.email.clone(), "free".to_owned(), (1, 0)),
        (format!("  {} ", ann.email), "free".to_owned(), (1, 0)),
        ("free@example.edu".to_owned(), bob.username.clone(), (0, 1)),
    ] {
        let reply = app.anonymous().post(USERS, &newcomer_with(&json!({ "email": email, "username": username }))).await;
        assert_eq!(reply.refusal(), (409, "already_taken"));
        assert_eq!((reply.errors("email").len(), reply.errors("username").len()), errors, "{}", reply.body);
    }
    assert_eq!(accounts(&app).await, before);
}

#[tokio::test]
async fn an_address_that_is_taken_in_the_same_moment_is_named_too() {
    let app = TestApp::start().await;
    let mut halfway = app.transaction().await;
    let rival = sqlx::query!(
        "insert into users (email, username, password_hash) values ('zoe.hart@example.edu', 'rival', 'x')"
    );
    rival.execute(&mut *halfway).await.unwrap();
    let (sender, wanted) = (app.anonymous(), newcomer());
    let (reply, ()) = tokio::join!(sender.post(USERS, &wanted), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (409, "already_taken"));
    assert_eq!(reply.errors("email").len(), 1, "{}", reply.body);
    let left = sqlx::query!(
        r#"select (select count(*) from users) as "users!", (select count(*) from student_profiles) as "profiles!",
                  (select count(*) from audit_log) as "audited!""#
    );
    let left = left.fetch_one(&app.db).await.unwrap();
    assert_eq!((left.users, left.profiles, left.audited), (1, 0, 0));
}

#[tokio::test]
async fn all_that_is_wrong_is_told_at_once() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let bad = json!({
        "email": "no address",
        "username": "two words",
        "first_name": "x".repeat(151),
        "last_name": "x".repeat(151),
        "password": "a",
        "confirm_password": "b",
    });
    let reply = app.anonymous().post(USERS, &bad).await;
    assert_eq!(reply.refusal(), (400, "invalid"));
    let named: BTreeSet<&String> = reply.body["errors"].as_object().unwrap().keys().collect();
    assert_eq!(named, bad.as_object().unwrap().keys().collect());
    assert_eq!(reply.errors("password").len(), 1, "too short: {}", reply.body);

    let mut worse = bad.clone();
    for (field, value) in [("phone_number", "x"), ("date_of_birth", "2999-01-01"), ("department", &"x".repeat(256))] {
        worse[field] = json!(value);
    }
    let reply = admin.post(USERS, &worse).await;
    let named: BTreeSet<&String> = reply.body["errors"].as_object().unwrap().keys().collect();
    assert_eq!(named, worse.as_object().unwrap().keys().collect());

    let empty = app.anonymous().post(USERS, &json!({})).await;
    for field in ["email", "username", "password"] {
        assert!(!empty.errors(field).is_empty(), "{field}: {}", empty.body);
    }
    assert_eq!(accounts(&app).await, 1);
}

#[tokio::test]
async fn a_bad_password_is_refused_with_its_reasons() {
    let app = TestApp::start().await;
    for (password, reasons) in [
        ("a", &["too short"][..]),
        ("password123", &["too common"]),
        ("83927461", &["entirely numeric"]),
        ("zoe.hart-Quilt-77", &["similar to the email address", "similar to the username", "similar to the last name"]),
        ("", &["too short"]),
    ] {
        let body = newcomer_with(&json!({ "password": password, "confirm_password": password, "last_name": "Hart" }));
        let reply = app.anonymous().post(USERS, &body).await;
        assert_eq!(reply.status, 400, "{password}");
        for reason in reasons {
            assert!(reply.errors("password").iter().any(|says| says.contains(reason)), "{reason}: {}", reply.body);
        }
    }
}

#[tokio::test]
async fn addresses_and_user_names_are_checked() {
    let app = TestApp::start().await;
    let long = |count: usize, end: &str| format!("{}{end}", "x".repeat(count));
    for email in ["", " ", "x", "x@", "@x.edu", "a b@x.edu", "a@b@x.edu", "a@x..edu", "a\n@x.edu", &long(250, "@x.edu")]
    {
        let reply = app.anonymous().post(USERS, &newcomer_with(&json!({ "email": email }))).await;
        assert_eq!((reply.status.as_u16(), reply.errors("email").is_empty()), (400, false), "{email}: {}", reply.body);
        assert!(reply.errors("username").is_empty());
    }
    for username in ["", " ", "two words", "a/b", "a\tb", "<b>", &long(151, "")] {
        let reply = app.anonymous().post(USERS, &newcomer_with(&json!({ "username": username }))).await;
        assert_eq!((reply.status.as_u16(), reply.errors("username").is_empty()), (400, false), "{username}");
        assert!(reply.errors("email").is_empty());
    }
    for (field, value) in [("email", "a\u{0}@x.edu"), ("username", "a\u{0}"), ("password", "violet\u{0}Kettle-58")] {
        let reply = app.anonymous().post(USERS, &newcomer_with(&json!({ field: value }))).await;
        assert_eq!((reply.status.as_u16(), reply.errors(field).len()), (400, 1), "{}", reply.body);
    }
    assert_eq!(accounts(&app).await, 0);
    let unusual = json!({ "email": "o'hara+uni@sub.example.edu", "username": "Zoë_H.+-9" });
    let user = app.anonymous().post(USERS, &newcomer_with(&unusual)).await.expect(201).clone();
    assert_eq!((&user["email"], &user["username"]), (&unusual["email"], &unusual["username"]));
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named() {
    let app = TestApp::start().await;
    for field in ["email", "username", "first_name", "last_name", "password", "confirm_password"] {
        for value in [json!(5), json!(null), json!(["x"])] {
            let reply = app.anonymous().post(USERS, &newcomer_with(&json!({ field: value }))).await;
            assert_eq!(reply.status, 400, "{field}: {value}");
            assert!(!reply.errors(field).is_empty(), "{field}: {value}: {}", reply.body);
        }
    }
}

#[tokio::test]
async fn a_repeated_creation_with_its_key_makes_one_user() {
    let app = TestApp::start().await;
    let admin = app.admin().await.with("Idempotency-Key", "zoe");
    let first = admin.post(USERS, &newcomer()).await;
    let again = admin.post(USERS, &newcomer()).await;
    assert_eq!((first.expect(201), again.expect(201)), (&first.body, &first.body));
    let other = admin.post(USERS, &newcomer_with(&json!({ "first_name": "Zoë" }))).await;
    assert_eq!(other.status, 422);
    assert_eq!(accounts(&app).await, 2);

    // A key belongs to its caller; nobody has none.
    let nobody = app.anonymous().with("Idempotency-Key", "zoe");
    assert_eq!(nobody.post(USERS, &newcomer()).await.status, 409);
}

#[tokio::test]
async fn an_address_registers_so_many_and_then_waits_and_learns_no_more_who_has_an_account() {
    let settings = [("TRUSTED_PROXIES", "127.0.0.1"), ("REGISTRATIONS_AT_ONCE", "3"), ("REGISTRATIONS_AN_HOUR", "30")];
    let app = TestApp::with(&settings).await;
    let ann = app.student().await;
    let from = |address: &str| app.anonymous().with("X-Forwarded-For", address);
    let server = app.second_server().await;
    let named = |name: &str| newcomer_with(&json!({ "email": format!("{name}@example.edu"), "username": name }));
    let taken = newcomer_with(&json!({ "email": ann.email }));
    let here = from("10.0.0.1");
    // What is wrong in itself costs nothing.
    for _ in 0..5 {
        here.post(USERS, &json!({})).await.expect(400);
    }
    here.post(USERS, &named("ada")).await.expect(201);
    here.at(&server).post(USERS, &named("ben")).await.expect(201);
    assert_eq!(here.post(USERS, &taken).await.refusal(), (409, "already_taken"));
    for body in [&named("cay"), &taken] {
        for sender in [here.clone(), here.at(&server)] {
            let reply = sender.post(USERS, body).await;
            assert_eq!((reply.refusal(), reply.header("retry-after")), ((429, "throttled"), Some("120")));
        }
    }
    from("10.0.0.2").post(USERS, &named("cay")).await.expect(201);
    // Whoever may create anyone is not counted.
    let admin = app.admin().await.with("X-Forwarded-For", "10.0.0.1");
    for name in ["dan", "eve", "fay", "gus"] {
        admin.post(USERS, &named(name)).await.expect(201);
    }
    app.set_time("2026-03-02T02:02:00Z").await;
    here.post(USERS, &named("hal")).await.expect(201);
    here.post(USERS, &named("ian")).await.expect(429);
}

#[tokio::test]
async fn a_user_name_with_an_at_sign_is_the_persons_own_address() {
    let app = TestApp::start().await;
    let (ann, admin) = (app.student().await, app.admin().await);
    for username in [ann.email.as_str(), "somebody@example.org", "@"] {
        let reply = app.anonymous().post(USERS, &newcomer_with(&json!({ "username": username }))).await;
        assert_eq!(reply.refusal(), (400, "invalid"), "{username}");
        assert_eq!(reply.errors("username"), ["A user name with @ must be the person's own email address."]);
        let reply = admin.patch(&format!("{USERS}{}/", admin.id), &json!({ "username": username })).await;
        assert_eq!(reply.refusal(), (400, "invalid"), "{username}");
    }
    app.anonymous().post(USERS, &newcomer_with(&json!({ "username": "zoe.hart@example.EDU" }))).await.expect(201);
    // Names from before this rule stay, also when something else is changed, and nobody takes them as an address.
    let sql = sqlx::query!("update users set username = 'old@example.org' where id = $1", ann.id.0);
    sql.execute(&app.db).await.unwrap();
    admin.patch(&format!("{USERS}{}/", ann.id), &json!({ "department": "Arts" })).await.expect(200);
    let reply =
        app.anonymous().post(USERS, &newcomer_with(&json!({ "email": "OLD@example.org", "username": "o" }))).await;
    assert_eq!((reply.refusal(), reply.errors("email").len()), ((409, "already_taken"), 1));
}

#[tokio::test]
async fn a_user_name_that_looks_like_anothers_is_taken_for_whoever_writes_it() {
    let app = TestApp::start().await;
    let (ann, admin) = (app.student().await, app.admin().await);
    let sql = sqlx::query!("update users set username = 'ann.marym' where id = $1", ann.id.0);
    sql.execute(&app.db).await.unwrap();
    // Cyrillic letters for one, some and in capitals; a dotless i of its own further down.
    for alike in ["\u{430}nn.marym", "\u{430}nn.m\u{430}rym", "\u{410}NN.MARYM"] {
        let reply = app.anonymous().post(USERS, &newcomer_with(&json!({ "username": alike }))).await;
        assert_eq!((reply.refusal(), reply.errors("username").len()), ((409, "already_taken"), 1), "{alike}");
        let reply = admin.patch(&format!("{USERS}{}/", admin.id), &json!({ "username": alike })).await;
        assert_eq!(reply.refusal(), (409, "already_taken"), "{alike}");
    }
    // Which was first does not matter, and what only resembles in ASCII are two names.
    app.anonymous().post(USERS, &newcomer_with(&json!({ "username": "v\u{131}v" }))).await.expect(201);
    for (username, status) in [("viv", 409), ("VIV", 409), ("modem", 201), ("modern", 201), ("vi\u{308}v", 201)] {
        let email = format!("{}.{}@example.org", username.len(), username.is_ascii());
        let email = if username.is_ascii() { format!("{username}.{email}") } else { email };
        let reply = admin.post(USERS, &newcomer_with(&json!({ "email": email, "username": username }))).await;
        assert_eq!(reply.status.as_u16(), status, "{username}: {}", reply.body);
    }
    // No way of writing goes round it.
    let none = sqlx::query!("insert into users (email, username, password_hash) values ('q@x.edu', 'zo\u{eb}', 'x')");
    let refused = none.execute(&app.db).await.unwrap_err().to_string();
    assert!(refused.contains("users_username_key_is_given_where_needed"), "{refused}");
}

#[tokio::test]
async fn a_user_name_that_is_taken_by_one_like_it_in_the_same_moment_is_named_too() {
    let app = TestApp::start().await;
    let mut halfway = app.transaction().await;
    let rival = sqlx::query!(
        "insert into users (email, username, username_key, password_hash)
         values ('rival@example.edu', 'zo\u{435}.hart', 'zoe.hart', 'x')"
    );
    rival.execute(&mut *halfway).await.unwrap();
    let (sender, wanted) = (app.anonymous(), newcomer());
    let (reply, ()) = tokio::join!(sender.post(USERS, &wanted), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!((reply.refusal(), reply.errors("username").len()), ((409, "already_taken"), 1), "{}", reply.body);
}

/// The link in a mail to a registered address.
const LINK: &str = "http://localhost:8000/confirm-email/";

async fn confirming() -> TestApp {
    TestApp::with_background(&[("REGISTRATION", "confirmed")]).await
}

async fn confirm(app: &TestApp, token: &str) -> Reply {
    app.anonymous().post("/api/users/email/confirm/", &json!({ "token": token })).await
}

#[tokio::test]
async fn where_addresses_are_confirmed_there_is_no_account_before() {
    let app = confirming().await;
    let admin = app.admin().await;
    let before = accounts(&app).await;
    let body = newcomer_with(&json!({ "first_name": "Zoë", "last_name": "Hart", "user_type": "admin" }));
    let (email, username) = (body["email"].as_str().unwrap(), body["username"].as_str().unwrap());
    let reply = app.anonymous().post(USERS, &body).await;
    assert!(reply.expect(202)["detail"].as_str().unwrap().contains("link"));
    assert_eq!(reply.body.as_object().unwrap().len(), 1);
    assert_eq!(accounts(&app).await, before);
    assert_eq!(enter(&app.anonymous(), email, GOOD_PASSWORD).await.refusal(), (401, "no_active_account"));
    assert_eq!(enter(&app.anonymous(), username, GOOD_PASSWORD).await.refusal(), (401, "no_active_account"));

    delivered(&app).await;
    let tokens = tokens(&app, email, LINK);
    let [token] = tokens.as_slice() else { panic!("{} links", tokens.len()) };
    confirm(&app, &token[1..]).await.expect(400);
    // Programs that look into mails open links.
    assert_eq!(app.anonymous().get(&format!("/confirm-email/{token}")).await.status, 200);
    assert_eq!(accounts(&app).await, before);
    confirm(&app, token).await.expect(204);
    enter(&app.anonymous(), email, GOOD_PASSWORD).await.expect(200);
    let again = confirm(&app, token).await;
    assert_eq!((again.refusal(), again.errors("token").len()), ((400, "invalid"), 1));

    let shown = admin.get("/api/users/users/?search=zoe.hart").await;
    let made = &shown.expect(200)[0];
    assert_eq!((&made["first_name"], &made["user_type"]), (&json!("Zoë"), &json!("student")));
    let profile =
        sqlx::query_scalar!("select student_id from student_profiles where user_id = $1", made["id"].as_i64());
    assert!(profile.fetch_one(&app.db).await.unwrap().starts_with("S-"));
    let audited = sqlx::query_scalar!(
        "select action from audit_log where resource_id = $1 and action <> 'log_in' order by id",
        made["id"].as_i64()
    );
    assert_eq!(audited.fetch_all(&app.db).await.unwrap(), ["create", "confirm_email"]);
    // Administrators need no confirmation of what they know.
    admin.post(USERS, &newcomer_with(&json!({ "email": "b@example.edu", "username": "b" }))).await.expect(201);
}

#[tokio::test]
async fn where_addresses_are_confirmed_a_taken_one_is_told_to_its_owner_alone() {
    let app = confirming().await;
    let (ann, gone) = (app.student().await, app.student().await);
    sqlx::query!("update users set is_active = false where id = $1", gone.id.0).execute(&app.db).await.unwrap();
    let free = app.anonymous().post(USERS, &newcomer()).await;
    free.expect(202);
    for (nth, of) in [&ann, &gone].into_iter().enumerate() {
        let taken = json!({ "email": of.email.to_uppercase(), "username": format!("other{nth}") });
        let reply = app.anonymous().post(USERS, &newcomer_with(&taken)).await;
        assert_eq!((reply.status, &reply.body), (free.status, &free.body));
    }
    delivered(&app).await;
    let to = |email: &str| mails(&app).into_iter().filter(|mail| mail.contains(&format!("To: {email}\r\n"))).collect();
    let told: Vec<String> = to(&ann.email);
    assert!(told.len() == 1 && told[0].contains("account already") && !told[0].contains(LINK), "{told:?}");
    assert_eq!(to(&gone.email), [""; 0]);
    let waiting = sqlx::query_scalar!(r#"select count(*) as "count!" from registrations"#);
    assert_eq!(waiting.fetch_one(&app.db).await.unwrap(), 1);

    let reply = app.anonymous().post(USERS, &newcomer_with(&json!({ "username": ann.username }))).await;
    assert_eq!((reply.refusal(), reply.errors("username").len()), ((409, "already_taken"), 1));
}

#[tokio::test]
async fn of_two_who_wait_the_first_to_confirm_has_the_name_and_an_address_gets_three_mails_in_an_hour() {
    let app = confirming().await;
    let other = newcomer_with(&json!({ "email": "other@example.edu" }));
    app.anonymous().post(USERS, &newcomer()).await.expect(202);
    for _ in 0..4 {
        app.anonymous().post(USERS, &other).await.expect(202);
    }
    delivered(&app).await;
    let (first, others) = (tokens(&app, "Zoe.Hart@example.edu", LINK), tokens(&app, "other@example.edu", LINK));
    assert_eq!((first.len(), others.len()), (1, 3));
    // Nobody who registers with another's address ends that link.
    confirm(&app, &others[0]).await.expect(204);
    let late = confirm(&app, &first[0]).await;
    assert_eq!((late.refusal(), late.errors("username").len()), ((409, "already_taken"), 1));
    let late = confirm(&app, &others[1]).await;
    assert_eq!((late.refusal(), late.errors("email").len()), ((409, "already_taken"), 1));
    assert_eq!(accounts(&app).await, 1);
}

#[tokio::test]
async fn a_registration_that_nobody_confirms_goes_after_a_week() {
    let app = confirming().await;
    app.anonymous().post(USERS, &newcomer()).await.expect(202);
    delivered(&app).await;
    let token = tokens(&app, "Zoe.Hart@example.edu", LINK).pop().unwrap();
    for (age, left) in [("7 days", 1), ("1 second", 0)] {
        let older = sqlx::query!("update registrations set expires_at = expires_at - $1::text::interval", age);
        older.execute(&app.db).await.unwrap();
        if left == 1 {
            // Its time is up, and what was not swept yet is no good either.
            assert_eq!(confirm(&app, &token).await.refusal(), (400, "invalid"));
        }
        swincms::sweep::once(&app.state).await.unwrap();
        let waiting = sqlx::query_scalar!(r#"select count(*) as "count!" from registrations"#);
        assert_eq!(waiting.fetch_one(&app.db).await.unwrap(), left);
    }
    assert_eq!(accounts(&app).await, 0);
}

#[tokio::test]
async fn what_only_staff_know_of_a_student_is_set_with_the_account() {
    let app = TestApp::start().await;
    let (admin, course, rival) = (app.admin().await, app.course().await, app.student().await);
    let known = json!({
        "student_id": "10512345", "course": course, "enrollment_date": "2025-09-01", "expected_graduation": "2028-07-01",
    });
    let reply = admin.post(USERS, &newcomer_with(&known)).await;
    let id = reply.expect(201)["id"].clone();
    assert_eq!(reply.header("X-Ignored-Fields"), None);
    let profile = admin.get(&format!("/api/users/student-profiles/?user={id}")).await.expect(200)[0].clone();
    for (field, value) in known.as_object().unwrap() {
        assert_eq!(&profile[field], value, "{field}");
    }

    let before = accounts(&app).await;
    let other = |more: Value| {
        let mut body = newcomer_with(&json!({ "email": "b@example.edu", "username": "b" }));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let theirs = sqlx::query_scalar!("select student_id from student_profiles where user_id = $1", rival.id.0);
    let theirs = theirs.fetch_one(&app.db).await.unwrap();
    for (field, value, status) in [
        ("student_id", json!("10512345"), 409),
        ("student_id", json!(theirs), 409),
        ("student_id", json!("x".repeat(33)), 400),
        ("course", json!(999), 400),
        ("enrollment_date", json!("soon"), 400),
        ("expected_graduation", json!("2001-01-01"), 400),
    ] {
        let reply = admin.post(USERS, &other(json!({ field: value }))).await;
        assert_eq!((reply.status.as_u16(), reply.errors(field).len()), (status, 1), "{field} {value}: {}", reply.body);
    }
    assert_eq!(accounts(&app).await, before, "an account is made whole or not at all");

    // Whoever is no student has no such record, and whoever is no administrator does not write it.
    let reply = admin.post(USERS, &other(json!({ "user_type": "staff", "student_id": "77" }))).await;
    assert_eq!((reply.status.as_u16(), reply.header("X-Ignored-Fields")), (201, Some("student_id")));
    let reply = app
        .anonymous()
        .post(
            USERS,
            &newcomer_with(&json!({
                "email": "c@example.edu", "username": "c", "student_id": "1", "is_staff": true,
            })),
        )
        .await;
    assert_eq!((reply.status.as_u16(), reply.header("X-Ignored-Fields")), (201, Some("is_staff, student_id")));
}
