//! Accounts: what a user looks like, who sees whom, and who changes what.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use serde_json::{Value, json};
use swincms::ids::Id;

use crate::support::{NOW, Person, Reply, TestApp};

const USERS: &str = "/api/users/users/";
const PICKER: &str = "/api/users/";
const ME: &str = "/api/users/users/me/";
const UPDATE_PROFILE: [&str; 2] = ["/api/users/users/update_profile/", "/api/users/update_profile/"];

const ME_PROFILE: &str = UPDATE_PROFILE[0];

const TYPES: [&str; 6] = ["student", "staff", "unit_convenor", "auditor", "parent", "admin"];

/// What people write of themselves.
const PROFILE: [&str; 14] = [
    "first_name",
    "last_name",
    "bio",
    "phone_number",
    "address_line1",
    "address_line2",
    "city",
    "state",
    "postal_code",
    "country",
    "date_of_birth",
    "emergency_contact_name",
    "emergency_contact_phone",
    "leaderboard_opt_in",
];

/// What only administrators write.
const STANDING: [&str; 8] =
    ["email", "username", "department", "position", "is_staff", "is_superuser", "is_active", "user_type"];

fn one(id: Id) -> String {
    format!("{USERS}{id}/")
}

/// A person of each type, in the order of [`TYPES`].
async fn one_of_each(app: &TestApp) -> Vec<Person> {
    let mut people = Vec::new();
    for user_type in TYPES {
        people.push(app.person(user_type).await);
    }
    people
}

/// A member of staff whose account has been shut.
async fn former_staff(app: &TestApp) -> Person {
    let person = app.staff().await;
    let shut = sqlx::query!("update users set is_active = false where id = $1", person.id.0);
    shut.execute(&app.db).await.unwrap();
    person
}

/// Gives a person a role with these permissions.
async fn grant(app: &TestApp, to: Id, permissions: &[&str]) {
    let permissions: Vec<String> = permissions.iter().map(ToString::to_string).collect();
    let given = sqlx::query!(
        "with role as (
            insert into roles (name, permissions) values (gen_random_uuid()::text, $2) returning id
         )
         insert into user_roles (user_id, role_id) select $1, id from role",
        to.0,
        &permissions
    );
    given.execute(&app.db).await.unwrap();
}

/// Sets every field that [`PROFILE`] names.
async fn fill(app: &TestApp, id: Id) {
    let filled = sqlx::query!(
        "update users
            set bio = 'Reads a lot.', phone_number = '+61400111222', address_line1 = '1 High St', address_line2 = 'Flat 2',
                city = 'Hawthorn', state = 'VIC', postal_code = '3122', country = 'Australia',
                date_of_birth = '2001-02-03', emergency_contact_name = 'Mum', emergency_contact_phone = '0400 111 333',
                leaderboard_opt_in = true, department = 'Arts', position = 'Fellow', last_login = $2::text::timestamptz
          where id = $1",
        id.0,
        NOW
    );
    filled.execute(&app.db).await.unwrap();
}

/// All rows of `users` by their ids.
async fn rows(app: &TestApp) -> BTreeMap<i64, Value> {
    let rows = sqlx::query!(r#"select id, to_jsonb(u) as "row!" from users u"#);
    rows.fetch_all(&app.db).await.unwrap().into_iter().map(|row| (row.id, row.row)).collect()
}

/// The user's row.
async fn row(app: &TestApp, id: Id) -> Value {
    rows(app).await.remove(&id.0).unwrap()
}

fn public_part(of: &Person) -> Value {
    json!({
        "id": of.id,
        "email": of.email,
        "username": of.username,
        "first_name": of.first_name,
        "last_name": of.last_name,
        "is_staff": false,
        "user_type": of.user_type,
        "department": "Arts",
        "position": "Fellow",
        "bio": "Reads a lot.",
        "profile_image": null,
        "created_at": "2026-03-02T02:00:00.000000Z",
        "updated_at": "2026-03-02T02:00:00.000000Z",
    })
}

fn with_private_part(of: &Person) -> Value {
    let mut whole = public_part(of);
    let more = json!({
        "official_first_name": of.first_name,
        "official_last_name": of.last_name,
        "phone_number": "+61400111222",
        "address_line1": "1 High St",
        "address_line2": "Flat 2",
        "city": "Hawthorn",
        "state": "VIC",
        "postal_code": "3122",
        "country": "Australia",
        "date_of_birth": "2001-02-03",
        "emergency_contact_name": "Mum",
        "emergency_contact_phone": "0400 111 333",
        "leaderboard_opt_in": true,
        "is_active": true,
        "is_superuser": false,
        "last_login": "2026-03-02T02:00:00.000000Z",
        "pending_email": null,
    });
    whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    whole
}

fn item(list: &Reply, id: Id) -> &Value {
    list.expect(200).as_array().unwrap().iter().find(|row| row["id"] == json!(id)).expect("the user is in the list")
}

#[tokio::test]
async fn a_user_is_shown_with_public_fields_and_the_private_ones_to_whom_they_belong() {
    let app = TestApp::start().await;
    let people = one_of_each(&app).await;
    let ann = app.student().await;
    fill(&app, ann.id).await;
    let trusted = app.staff().await;
    grant(&app, trusted.id, &["users.read_private"]).await;
    let half_trusted = app.auditor().await;
    let (public, whole) = (public_part(&ann), with_private_part(&ann));

    for person in people.iter().filter(|person| !["student", "parent"].contains(&person.user_type.as_str())) {
        let expected = if person.user_type == "admin" { &whole } else { &public };
        assert_eq!(person.get(&one(ann.id)).await.expect(200), expected, "as {} sees it", person.user_type);
        assert_eq!(item(&person.get(USERS).await, ann.id), expected, "as {} lists it", person.user_type);
        assert_eq!(item(&person.get("/api/users/students/").await, ann.id), expected, "{}", person.user_type);
    }
    assert_eq!(ann.get(&one(ann.id)).await.expect(200), &whole);
    assert_eq!(item(&ann.get(USERS).await, ann.id), &whole);
    assert_eq!(trusted.get(&one(ann.id)).await.expect(200), &whole);
    assert_eq!(item(&trusted.get(USERS).await, ann.id), &whole);
    assert_eq!(half_trusted.get(&one(ann.id)).await.expect(200), &public);
}

#[tokio::test]
async fn nobody_reads_private_fields_in_the_picker_but_those_who_may() {
    let app = TestApp::start().await;
    let people = one_of_each(&app).await;
    let boss = app.staff().await;
    fill(&app, boss.id).await;
    for person in &people {
        let expected = if person.user_type == "admin" { with_private_part(&boss) } else { public_part(&boss) };
        assert_eq!(item(&person.get(PICKER).await, boss.id), &expected, "{}", person.user_type);
    }
    assert_eq!(item(&boss.get(PICKER).await, boss.id), &with_private_part(&boss));
}

#[tokio::test]
async fn staff_convenors_auditors_and_admins_list_everyone_others_themselves_and_whom_they_may_write_to() {
    let app = TestApp::start().await;
    let people = one_of_each(&app).await;
    let (classmate, former) = (app.student().await, former_staff(&app).await);
    let everyone: BTreeSet<Id> = people.iter().chain([&classmate, &former]).map(|person| person.id).collect();
    let writable: BTreeSet<Id> = people
        .iter()
        .filter(|person| ["staff", "unit_convenor", "admin"].contains(&person.user_type.as_str()))
        .map(|person| person.id)
        .collect();

    for person in &people {
        let mut expected = writable.clone();
        expected.insert(person.id);
        if !["student", "parent"].contains(&person.user_type.as_str()) {
            expected.clone_from(&everyone);
        }
        let seen = person.get(USERS).await;
        assert_eq!(BTreeSet::from_iter(seen.ids()), expected, "as {} sees it", person.user_type);
        assert_eq!(seen.ids().len(), expected.len(), "nobody twice");
        let counted = person.get(&format!("{USERS}?count=true&page_size=1")).await;
        assert_eq!(counted.header("x-total-count"), Some(expected.len().to_string().as_str()));
    }
    assert_eq!(app.anonymous().get(USERS).await.status, 401);
}

#[tokio::test]
async fn another_person_is_absent_for_students_and_parents_and_readable_for_the_rest() {
    let app = TestApp::start().await;
    let people = one_of_each(&app).await;
    let others = [app.student().await, app.staff().await, former_staff(&app).await];
    for person in &people {
        let outsider = ["student", "parent"].contains(&person.user_type.as_str());
        for other in people.iter().chain(&others).filter(|other| other.id != person.id) {
            let status = person.get(&one(other.id)).await.status.as_u16();
            let expected = if outsider { 404 } else { 200 };
            assert_eq!(status, expected, "{} looks at {}", person.user_type, other.user_type);
        }
        assert_eq!(person.get(&one(person.id)).await.status, 200);
        for nobody in ["9007199254740990", "0", "-1", "9007199254740992", "99999999999999999999", "x"] {
            assert_eq!(person.get(&format!("{USERS}{nobody}/")).await.status, 404, "{nobody}");
        }
    }
    // What is not there and what may not be seen read alike.
    let hidden = people[0].get(&one(others[0].id)).await;
    let missing = people[0].get(&one(Id(9_007_199_254_740_990))).await;
    assert_eq!(hidden.body["detail"], missing.body["detail"]);
}

#[tokio::test]
async fn the_recipient_picker_lists_the_same_active_people_who_work_here_by_name_for_everyone() {
    let app = TestApp::start().await;
    let people = one_of_each(&app).await;
    let (former, zed) = (former_staff(&app).await, app.convenor().await);
    let names =
        [(&people[1], "Mia", "Moss"), (&people[2], "Abe", "Moss"), (&people[5], "Kim", "Adams"), (&zed, "Bo", "Zed")];
    for (person, first, last) in names {
        let named =
            sqlx::query!("update users set first_name = $2, last_name = $3 where id = $1", person.id.0, first, last);
        named.execute(&app.db).await.unwrap();
    }
    // The flags give rights, but make nobody a recipient.
    let flagged = sqlx::query!(
        "update users set is_staff = true, is_superuser = true where id = any($1)",
        &[people[0].id.0, people[4].id.0]
    );
    flagged.execute(&app.db).await.unwrap();
    let by_name = vec![people[5].id, people[2].id, people[1].id, zed.id];

    for person in &people {
        assert_eq!(person.get(PICKER).await.ids(), by_name, "{}", person.user_type);
        assert_eq!(person.get("/api/users").await.ids(), by_name, "without the slash");
    }
    let admin = &people[5];
    assert_eq!(admin.get(&format!("{PICKER}?include_deleted=true")).await.ids(), by_name);
    assert_eq!(admin.get(&format!("{PICKER}?is_active=false")).await.ids(), vec![]);
    assert_eq!(admin.get(&format!("{PICKER}?user_type=student")).await.ids(), vec![]);
    assert_eq!(admin.get(&format!("{PICKER}?search=moss")).await.ids(), vec![people[2].id, people[1].id]);
    assert_eq!(app.anonymous().get(PICKER).await.status, 401);
    assert!(!admin.get(PICKER).await.ids().contains(&former.id));
}

#[tokio::test]
async fn pages_of_the_picker_go_through_it_by_name_without_gap_or_repeat() {
    let app = TestApp::start().await;
    let student = app.student().await;
    for _ in 0..5 {
        app.staff().await;
    }
    // Same names: the id decides.
    let named = sqlx::query!("update users set first_name = 'Same', last_name = 'Name'");
    named.execute(&app.db).await.unwrap();
    let whole = student.get(PICKER).await.ids();
    let (mut paged, mut address) = (Vec::new(), Some(format!("{PICKER}?page_size=2")));
    while let Some(next) = address {
        let page = student.get(&next).await;
        assert!(page.ids().len() <= 2);
        paged.extend(page.ids());
        address = page.next_page();
    }
    assert_eq!(paged, whole);
    assert_eq!(whole.len(), 5);
}

#[tokio::test]
async fn a_recipient_who_leaves_vanishes_from_the_lists_of_those_who_may_only_write_to_them() {
    let app = TestApp::start().await;
    let (student, parent, staff, admin) =
        (app.student().await, app.parent().await, app.staff().await, app.admin().await);
    for person in [&student, &parent] {
        assert!(person.get(USERS).await.ids().contains(&staff.id));
        assert!(person.get(PICKER).await.ids().contains(&staff.id));
    }
    admin.delete(&one(staff.id)).await.expect(204);
    for person in [&student, &parent] {
        assert!(!person.get(USERS).await.ids().contains(&staff.id));
        assert!(!person.get(PICKER).await.ids().contains(&staff.id));
    }
    assert!(admin.get(USERS).await.ids().contains(&staff.id), "administrators still find the account");
}

#[tokio::test]
async fn me_shows_the_caller_with_permissions_and_convenors_their_units() {
    let app = TestApp::start().await;
    for person in one_of_each(&app).await {
        fill(&app, person.id).await;
        let mut expected = with_private_part(&person);
        let reply = person.get(ME).await;
        let me = reply.expect(200);
        let permissions: Vec<&str> =
            me["permissions"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
        assert!(permissions.contains(&"users.edit_profile:own"), "{permissions:?}");
        assert_eq!(permissions.contains(&"users.manage:all"), person.user_type == "admin");
        assert_eq!(permissions.contains(&"courses.write:all"), ["staff", "admin"].contains(&person.user_type.as_str()));
        assert_eq!(permissions.contains(&"units.write:own_units"), person.user_type == "unit_convenor");
        expected["permissions"] = me["permissions"].clone();
        if person.user_type == "unit_convenor" {
            expected["units"] = json!([]);
        }
        assert_eq!(me, &expected);
        let tag = reply.header("etag").unwrap();
        assert_eq!(person.with("If-None-Match", tag).get(ME).await.status, 304);
    }
    assert_eq!(app.anonymous().get(ME).await.status, 401);
}

#[tokio::test]
async fn a_convenors_units_are_the_live_ones_by_code() {
    let app = TestApp::start().await;
    let (convenor, colleague) = (app.convenor().await, app.convenor().await);
    let (second, first, gone) =
        (app.unit_of(convenor.id).await, app.unit_of(convenor.id).await, app.unit_of(convenor.id).await);
    app.unit_of(colleague.id).await;
    let codes = sqlx::query!(
        "update units
            set code = case id when $1 then 'BBB1' when $2 then 'AAA1' else code end,
                deleted_at = case id when $3 then now() end
          where id in ($1, $2, $3)",
        second.0,
        first.0,
        gone.0
    );
    codes.execute(&app.db).await.unwrap();
    let units = convenor.get(ME).await.expect(200)["units"].clone();
    let listed: Vec<(i64, &str)> =
        units.as_array().unwrap().iter().map(|u| (u["id"].as_i64().unwrap(), u["code"].as_str().unwrap())).collect();
    assert_eq!(listed, [(first.0, "AAA1"), (second.0, "BBB1")]);
}

#[tokio::test]
async fn people_change_their_own_profile_and_what_they_do_not_send_stays() {
    let app = TestApp::start().await;
    for person in one_of_each(&app).await {
        fill(&app, person.id).await;
        let mut expected = with_private_part(&person);
        expected["bio"] = json!("Sails.");
        expected["country"] = json!("");
        let sent = json!({ "bio": "Sails.", "country": "", "date_of_birth": "2001-02-03", "nonsense": [1, 2] });
        assert_eq!(person.patch(&one(person.id), &sent).await.expect(200), &expected, "{}", person.user_type);
        let mut before = expected.clone();
        for path in UPDATE_PROFILE {
            for (method, city) in [(Method::PUT, "Box Hill"), (Method::PATCH, "Kew")] {
                before["city"] = json!(city);
                let body = json!({ "city": city }).to_string();
                let reply = person.send(method.clone(), path, "application/json", body).await;
                assert_eq!(reply.expect(200), &before, "{method} {path}");
                assert!(reply.header("etag").is_some());
            }
        }
        assert_eq!(person.get(&one(person.id)).await.expect(200), &before);
    }
    for path in UPDATE_PROFILE {
        assert_eq!(app.anonymous().patch(path, &json!({})).await.status, 401);
        assert_eq!(app.anonymous().put(path, &json!({})).await.status, 401);
    }
}

#[tokio::test]
async fn put_replaces_the_profile_and_leaves_the_standing_to_administrators() {
    let app = TestApp::start().await;
    let (student, admin) = (app.student().await, app.admin().await);
    fill(&app, student.id).await;

    let reply = student.put(&one(student.id), &json!({ "first_name": "Ada" })).await;
    let user = reply.expect(200);
    for field in PROFILE {
        let expected = match field {
            "first_name" => json!("Ada"),
            // On record, and not one's own to leave out.
            "date_of_birth" => json!("2001-02-03"),
            "leaderboard_opt_in" => json!(false),
            _ => json!(""),
        };
        assert_eq!(user[field], expected, "{field}");
    }
    assert_eq!((&user["email"], &user["department"]), (&json!(student.email), &json!("Arts")));

    let nothing = admin.put(&one(student.id), &json!({})).await;
    assert_eq!(nothing.status, 400);
    assert!(!nothing.errors("email").is_empty() && !nothing.errors("username").is_empty(), "{}", nothing.body);

    let whole = json!({ "email": "ada@example.edu", "username": "ada", "position": "Tutor", "user_type": "staff" });
    let user = admin.put(&one(student.id), &whole).await.expect(200).clone();
    let shown =
        ["email", "username", "position", "user_type", "department", "first_name", "is_active"].map(|f| &user[f]);
    let expected = [
        // Another address waits until it is confirmed.
        &json!(student.email),
        &json!("ada"),
        &json!("Tutor"),
        &json!("staff"),
        &json!(""),
        &json!(""),
        &json!(true),
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_profile_is_told_at_once() {
    let app = TestApp::start().await;
    let (student, admin) = (app.student().await, app.admin().await);
    let long = |most: usize| "é".repeat(most + 1);
    let bad = json!({
        "first_name": long(150), "last_name": long(150), "bio": long(20_000), "phone_number": "call me",
        "address_line1": long(255), "address_line2": long(255), "city": long(255), "state": long(255),
        "postal_code": long(32), "country": long(255), "date_of_birth": "2026-03-02",
        "emergency_contact_name": long(255), "emergency_contact_phone": long(32),
    });
    for path in [one(student.id).as_str(), UPDATE_PROFILE[0], UPDATE_PROFILE[1]] {
        for method in [Method::PUT, Method::PATCH] {
            let reply = student.send(method, path, "application/json", bad.to_string()).await;
            assert_eq!(reply.refusal(), (400, "invalid"));
            let named: BTreeSet<&String> = reply.body["errors"].as_object().unwrap().keys().collect();
            assert_eq!(named, bad.as_object().unwrap().keys().collect());
        }
    }
    let mut worse = bad.clone();
    for (field, value) in
        [("email", "no address"), ("username", "b c"), ("department", &long(255)), ("position", &long(255))]
    {
        worse[field] = json!(value);
    }
    let reply = admin.patch(&one(student.id), &worse).await;
    let named: BTreeSet<&String> = reply.body["errors"].as_object().unwrap().keys().collect();
    assert_eq!(named, worse.as_object().unwrap().keys().collect());
    assert_eq!(row(&app, student.id).await["bio"], json!(""));
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named() {
    let app = TestApp::start().await;
    let (student, admin) = (app.student().await, app.admin().await);
    let values = [
        ("bio", json!(5)),
        ("bio", json!(null)),
        ("leaderboard_opt_in", json!("maybe")),
        ("date_of_birth", json!("2/3/01")),
    ];
    for (field, value) in values {
        for reply in [
            student.patch(&one(student.id), &json!({ field: value })).await,
            student.patch(UPDATE_PROFILE[0], &json!({ field: value })).await,
            admin.patch(&one(student.id), &json!({ field: value })).await,
        ] {
            assert_eq!(reply.status, 400, "{field}: {value}");
            assert!(!reply.errors(field).is_empty(), "{}", reply.body);
        }
    }
    for (field, value) in [("is_active", json!("x")), ("user_type", json!("boss")), ("email", json!(7))] {
        let reply = admin.patch(&one(student.id), &json!({ field: value })).await;
        assert!(!reply.errors(field).is_empty(), "{}", reply.body);
        // Not a student's to write, so not a student's fault either.
        student.patch(&one(student.id), &json!({ field: value })).await.expect(200);
    }
    for body in ["[]", "null", "5", "{", ""] {
        assert_eq!(student.send(Method::PATCH, &one(student.id), "application/json", body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn telephone_numbers_are_dialable() {
    let app = TestApp::start().await;
    let student = app.student().await;
    for good in ["", "123456789", "+123456789", "+61400111222", "1123456789012345", "+1123456789012345"] {
        student.patch(ME_PROFILE, &json!({ "phone_number": good })).await.expect(200);
    }
    for bad in ["12345678", "++123456789", "2123456789012345", "04 1234 5678", "+61-400-111-222", "１２３４５６７８９"]
    {
        let reply = student.patch(ME_PROFILE, &json!({ "phone_number": bad })).await;
        assert_eq!((reply.status.as_u16(), reply.errors("phone_number").len()), (400, 1), "{bad}");
    }
}

/// A value for every column of `users`, and for some names beside them, that no person of these tests has.
async fn strange_values(app: &TestApp) -> Vec<(String, Value)> {
    let columns = sqlx::query!(
        r#"select column_name::text as "name!", data_type::text as "kind!"
             from information_schema.columns
            where table_schema = 'public'
              and table_name = 'users'
            order by ordinal_position"#
    );
    let columns = columns.fetch_all(&app.db).await.unwrap();
    assert!(columns.len() > 30, "{} columns", columns.len());
    let of_columns = columns.into_iter().map(|column| {
        let value = match (column.name.as_str(), column.kind.as_str()) {
            ("email", _) => json!("stranger@example.org"),
            ("username", _) => json!("stranger"),
            ("user_type", _) => json!("admin"),
            ("phone_number", _) => json!("+61499999999"),
            ("is_active", _) => json!(false),
            (_, "text") => json!("changed"),
            (_, "boolean") => json!(true),
            (_, "bigint") => json!(1),
            (_, "date") => json!("1999-12-31"),
            (_, "timestamp with time zone") => json!("1999-12-31T00:00:00Z"),
            (name, kind) => panic!("give the test a value for {name} ({kind})"),
        };
        (column.name, value)
    });
    let beside = [
        ("password", json!("violet-Kettle-59")),
        ("profile_image", json!("https://example.org/x.png")),
        ("permissions", json!(["users.manage"])),
        ("roles", json!([1])),
        ("groups", json!([1])),
        ("units", json!([1])),
        ("student_id", json!("S-1")),
    ];
    of_columns.chain(beside.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// The columns that differ, as `id.column`.
fn differences(before: &BTreeMap<i64, Value>, after: &BTreeMap<i64, Value>) -> BTreeSet<(i64, String)> {
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "nobody came or went");
    let mut found = BTreeSet::new();
    for (id, row) in before {
        for (column, value) in row.as_object().unwrap() {
            if after[id][column] != *value {
                found.insert((*id, column.clone()));
            }
        }
    }
    found
}

/// Rights that rows beside `users` give.
async fn rights(app: &TestApp) -> (i64, i64, i64) {
    let counts = sqlx::query!(
        r#"select (select count(*) from user_roles) as "held!",
                  (select count(*) from roles) as "roles!",
                  (select count(*) from student_profiles) as "profiles!""#
    );
    let counts = counts.fetch_one(&app.db).await.unwrap();
    (counts.held, counts.roles, counts.profiles)
}

/// What changes with the others.
const FOLLOWING: [&str; 5] =
    ["updated_by", "security_version", "official_first_name", "official_last_name", "search_text"];

#[tokio::test]
async fn no_column_of_users_can_be_changed_by_whom_it_is_not_for() {
    let app = TestApp::start().await;
    let people = one_of_each(&app).await;
    let target = app.student().await;
    let values = strange_values(&app).await;
    let all: Value = values.iter().cloned().collect::<serde_json::Map<_, _>>().into();
    let (rights_before, mut before) = (rights(&app).await, rows(&app).await);
    let (own, others) = (|person: &Person| one(person.id), one(target.id));
    let mut checked = 0;

    for person in people.iter().filter(|person| person.user_type != "admin") {
        let outsider = ["student", "parent"].contains(&person.user_type.as_str());
        let mut attempts = Vec::new();
        for (name, value) in &values {
            let body = json!({ name: value });
            attempts.push((Method::PATCH, own(person), body.clone(), 200));
            attempts.push((Method::PATCH, ME_PROFILE.to_owned(), body.clone(), 200));
            attempts.push((Method::PATCH, others.clone(), body, if outsider { 404 } else { 403 }));
        }
        for method in [Method::PUT, Method::PATCH] {
            for (path, expected) in [(own(person), 200), (others.clone(), if outsider { 404 } else { 403 })] {
                attempts.push((method.clone(), path, all.clone(), expected));
            }
            for path in UPDATE_PROFILE {
                attempts.push((method.clone(), path.to_owned(), all.clone(), 200));
            }
        }
        for (method, path, body, expected) in attempts {
            let reply = person.send(method.clone(), &path, "application/json", body.to_string()).await;
            reply.expect(expected);
            let after = rows(&app).await;
            for (id, column) in differences(&before, &after) {
                let allowed = id == person.id.0
                    && (PROFILE.contains(&column.as_str()) || ["updated_by", "search_text"].contains(&column.as_str()));
                assert!(allowed, "{} changed {id}.{column} by {method} {path} {body}", person.user_type);
            }
            (before, checked) = (after, checked + 1);
        }
        // Nothing was refused for another reason: what is theirs was written.
        for field in PROFILE {
            assert_eq!(before[&person.id.0][field], all[field], "{field}");
        }
    }
    assert_eq!(rights(&app).await, rights_before);
    assert!(checked > 600, "{checked}");

    // Administrators write the rest too, and still not what the server alone writes; an address waits to be confirmed.
    let admin = &people[5];
    admin.put(&others, &all).await.expect(200);
    let changed: BTreeSet<String> = differences(&before, &rows(&app).await)
        .into_iter()
        .map(|(id, column)| (assert_eq!(id, target.id.0), column).1)
        .collect();
    // The address waits until it is confirmed.
    let expected: BTreeSet<String> = PROFILE
        .iter()
        .chain(STANDING.iter().filter(|column| **column != "email"))
        .chain(&FOLLOWING)
        .map(ToString::to_string)
        .collect();
    assert_eq!(changed, expected);
}

#[tokio::test]
async fn who_may_read_a_user_but_not_change_them_is_told_so() {
    let app = TestApp::start().await;
    let people = one_of_each(&app).await;
    let target = app.student().await;
    let before = rows(&app).await;
    for person in people.iter().filter(|person| person.user_type != "admin") {
        let expected = if ["student", "parent"].contains(&person.user_type.as_str()) { 404 } else { 403 };
        for method in [Method::PATCH, Method::PUT, Method::DELETE] {
            let reply = person.send(method.clone(), &one(target.id), "application/json", r#"{"bio":"x"}"#).await;
            assert_eq!(reply.status.as_u16(), expected, "{} {method}", person.user_type);
        }
        assert_eq!(person.delete(&one(person.id)).await.status, 403, "nor do people shut their own account");
        assert_eq!(person.post_bare(&format!("{}restore/", one(target.id))).await.status, 403);
    }
    for method in [Method::PATCH, Method::PUT, Method::DELETE] {
        let reply = app.anonymous().send(method, &one(target.id), "application/json", "{}").await;
        assert_eq!(reply.status, 401);
    }
    assert_eq!(rows(&app).await, before);
}

#[tokio::test]
async fn a_change_of_what_has_changed_since_it_was_read_is_refused() {
    let app = TestApp::start().await;
    let (student, admin) = (app.student().await, app.admin().await);
    let address = one(student.id);
    for person in [&student, &admin] {
        let read = person.get(&address).await;
        let tag = read.header("etag").unwrap().to_owned();
        assert_eq!(person.with("If-None-Match", &tag).get(&address).await.status, 304);
        let changed = person.with("If-Match", &tag).patch(&address, &json!({ "bio": person.username })).await;
        changed.expect(200);
        for method in [Method::PATCH, Method::PUT] {
            let stale = person.with("If-Match", &tag).send(method, &address, "application/json", "{}").await;
            assert_eq!(stale.refusal(), (412, "stale"));
        }
        assert_eq!(person.with("If-None-Match", &tag).get(&address).await.status, 200);
        let fresh = changed.header("etag").unwrap();
        person.with("If-Match", fresh).patch(&address, &json!({ "city": person.username })).await.expect(200);
    }
    let tag = student.get(&address).await.header("etag").unwrap().to_owned();
    for path in UPDATE_PROFILE {
        assert_eq!(student.with("If-Match", "\"old\"").patch(path, &json!({ "bio": "x" })).await.status, 412);
        student.with("If-Match", &tag).patch(path, &json!({})).await.expect(200);
    }
    let seen = admin.get(&address).await.header("etag").unwrap().to_owned();
    assert_eq!(admin.with("If-Match", "\"old\"").delete(&address).await.status, 412);
    admin.with("If-Match", &seen).delete(&address).await.expect(204);
}

#[tokio::test]
async fn of_many_changes_with_one_etag_one_is_made() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let tag = student.get(&one(student.id)).await.header("etag").unwrap().to_owned();
    let sender = student.with("If-Match", &tag);
    let bodies: Vec<_> = (0..20).map(|n| json!({ "bio": n.to_string() })).collect();
    let path = one(student.id);
    let replies = futures_util::future::join_all(bodies.iter().map(|body| sender.patch(&path, body))).await;
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1], statuses[19]), (200, 412, 412));
}

#[tokio::test]
async fn a_deactivated_user_is_out_at_once_and_their_records_stay() {
    let app = TestApp::start().await;
    let other = app.second_server().await;
    let (admin, staff, student) = (app.admin().await, app.staff().await, app.student().await);
    let second_session = student.new_session(&app).await;
    let offering = app.offering(0).await;
    app.enrollment(student.id, offering, "ENROLLED").await;
    student.at(&other).get(ME).await.expect(200);

    admin.delete(&one(student.id)).await.expect(204);

    for sender in [&student, &second_session, &student.at(&other)] {
        assert_eq!(sender.get(ME).await.refusal(), (401, "token_not_valid"));
    }
    let refreshed = app.anonymous().post("/api/token/refresh/", &json!({ "refresh": student.refresh })).await;
    assert_eq!(refreshed.refusal(), (401, "token_not_valid"));
    let row = row(&app, student.id).await;
    assert_eq!(
        (&row["is_active"], &row["is_deleted"], &row["email"]),
        (&json!(false), &json!(false), &json!(student.email))
    );
    let kept = sqlx::query!(
        r#"select (select count(*) from student_profiles where user_id = $1) as "profiles!",
                  (select count(*) from gold_accounts where student_id = $1) as "accounts!",
                  (select count(*) from enrollments where student_id = $1) as "enrollments!",
                  (select count(*) from sessions where user_id = $1 and revoked_at is not null
                                                   and revoked_reason = 'deactivated') as "revoked!""#,
        student.id.0
    );
    let kept = kept.fetch_one(&app.db).await.unwrap();
    assert_eq!((kept.profiles, kept.accounts, kept.enrollments, kept.revoked), (1, 1, 1, 2));

    assert_eq!(admin.delete(&one(student.id)).await.status, 404, "twice");
    staff.get(&one(student.id)).await.expect(200);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_restored_user_may_log_in_again_but_old_sessions_stay_closed() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let restore = format!("{}restore/", one(student.id));
    assert_eq!(admin.post_bare(&restore).await.status, 404, "an active account is not there to restore");
    admin.delete(&one(student.id)).await.expect(204);
    let key = admin.with("Idempotency-Key", "once");
    let restored = key.post_bare(&restore).await;
    assert_eq!((&restored.expect(200)["id"], &restored.body["is_active"]), (&json!(student.id), &json!(true)));
    assert_eq!(key.post_bare(&restore).await.expect(200), &restored.body);
    assert_eq!(admin.post_bare(&restore).await.status, 404);
    assert_eq!(student.get(ME).await.status, 401);
    student.log_in().await;
    assert_eq!(admin.post_bare(&format!("{USERS}9007199254740990/restore/")).await.status, 404);
}

#[tokio::test]
async fn nobody_deactivates_their_own_account() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    assert_eq!(admin.delete(&one(admin.id)).await.refusal(), (409, "own_account"));
    let changed = admin.patch(&one(admin.id), &json!({ "is_active": false })).await;
    assert_eq!(changed.refusal(), (409, "own_account"));
    admin.get(ME).await.expect(200);
}

#[tokio::test]
async fn a_user_can_be_deactivated_and_activated_by_a_change_too() {
    let app = TestApp::start().await;
    let (admin, staff) = (app.admin().await, app.staff().await);
    admin.patch(&one(staff.id), &json!({ "is_active": false })).await.expect(200);
    assert_eq!(staff.get(ME).await.status, 401);
    admin.patch(&one(staff.id), &json!({ "is_active": true })).await.expect(200);
    assert_eq!(staff.get(ME).await.status, 401, "the session was revoked, not paused");
    staff.log_in().await;
}

#[tokio::test]
async fn a_change_of_type_or_flag_is_in_force_with_the_next_request() {
    let app = TestApp::start().await;
    let (admin, person) = (app.admin().await, app.student().await);
    let course = |code: &str| json!({ "code": code, "name": "A course" });
    let create = async |code: &str| person.post("/api/academic/courses/", &course(code)).await.status.as_u16();
    assert_eq!(create("C1").await, 403);
    for (number, (change, expected)) in [
        (json!({ "is_staff": true }), 201),
        (json!({ "is_staff": false }), 403),
        (json!({ "user_type": "staff" }), 201),
        (json!({ "user_type": "auditor" }), 403),
        (json!({ "is_superuser": true }), 201),
        (json!({ "is_superuser": false }), 403),
    ]
    .into_iter()
    .enumerate()
    {
        admin.patch(&one(person.id), &change).await.expect(200);
        assert_eq!(create(&format!("D{number}")).await, expected, "{change}");
    }
}

#[tokio::test]
async fn who_becomes_a_student_gets_what_students_have_and_only_then() {
    let app = TestApp::start().await;
    let (admin, person, student) = (app.admin().await, app.staff().await, app.student().await);
    admin.patch(&one(person.id), &json!({ "user_type": "student" })).await.expect(200);
    let made = sqlx::query!(
        "select p.student_id, a.current_balance
           from student_profiles p
           join gold_accounts a on a.student_id = p.user_id
          where p.user_id = $1",
        person.id.0
    );
    let made = made.fetch_one(&app.db).await.unwrap();
    assert_eq!((made.student_id.as_str(), made.current_balance), (format!("S-{:08}", person.id.0).as_str(), 0));

    // A profile that staff have deleted does not come back because its owner moves house.
    let deleted = sqlx::query!("update student_profiles set deleted_at = now() where user_id = $1", student.id.0);
    deleted.execute(&app.db).await.unwrap();
    student.patch(ME_PROFILE, &json!({ "city": "Kew" })).await.expect(200);
    let live = sqlx::query_scalar!(
        r#"select count(*) as "count!" from student_profiles where user_id = $1 and deleted_at is null"#,
        student.id.0
    );
    assert_eq!(live.fetch_one(&app.db).await.unwrap(), 0);
}

#[tokio::test]
async fn a_taken_address_and_user_name_are_both_named_whatever_their_case() {
    let app = TestApp::start().await;
    let (admin, ann, bob) = (app.admin().await, app.student().await, app.staff().await);
    let taken = json!({ "email": ann.email.to_uppercase(), "username": ann.username.to_uppercase() });
    let reply = admin.patch(&one(bob.id), &taken).await;
    assert_eq!(reply.refusal(), (409, "already_taken"));
    assert_eq!((reply.errors("email").len(), reply.errors("username").len()), (1, 1));
    assert_eq!(row(&app, bob.id).await["email"], json!(bob.email));
    // One's own in another case is free.
    let own = admin.patch(&one(bob.id), &json!({ "email": bob.email.to_uppercase() })).await;
    assert_eq!(own.expect(200)["email"], json!(bob.email.to_uppercase()));
}

#[tokio::test]
async fn students_are_listed_for_those_who_teach_and_run_the_place() {
    let app = TestApp::start().await;
    let people = one_of_each(&app).await;
    let (classmate, staff) = (app.student().await, &people[1]);
    for person in &people {
        let reply = person.get("/api/users/students/").await;
        let detail = person.get(&format!("/api/users/students/{}/", classmate.id)).await;
        if ["student", "parent"].contains(&person.user_type.as_str()) {
            assert_eq!((reply.status.as_u16(), detail.status.as_u16()), (403, 403), "{}", person.user_type);
        } else {
            assert_eq!(reply.ids(), vec![people[0].id, classmate.id], "{}", person.user_type);
            detail.expect(200);
        }
    }
    assert_eq!(staff.get(&format!("/api/users/students/{}/", staff.id)).await.status, 404);
    assert_eq!(
        people[5].get("/api/users/students/?include_deleted=true").await.ids(),
        vec![people[0].id, classmate.id]
    );
    assert_eq!(app.anonymous().get("/api/users/students/").await.status, 401);
}

#[tokio::test]
async fn users_are_filtered_ordered_and_searched() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let (ann, bob, eve) = (app.student().await, app.staff().await, former_staff(&app).await);
    for (person, first, last, department) in
        [(&ann, "Ann", "O'Neil", "Arts"), (&bob, "Bob", "50%_off", "Arts"), (&eve, "Éve", "O'Brien", "Law")]
    {
        let named = sqlx::query!(
            "update users set first_name = $2, last_name = $3, department = $4 where id = $1",
            person.id.0,
            first,
            last,
            department
        );
        named.execute(&app.db).await.unwrap();
    }
    let (admin_id, ann, bob, eve) = (admin.id, ann.id, bob.id, eve.id);
    let cases = [
        ("user_type=staff", vec![bob, eve]),
        ("user_type=staff&is_active=true", vec![bob]),
        ("is_active=false", vec![eve]),
        ("department=Arts", vec![ann, bob]),
        ("department=arts", vec![]),
        ("department=Arts&ordering=-id", vec![bob, ann]),
        ("ordering=last_name&department=Arts", vec![bob, ann]),
        ("ordering=first_name,-email&user_type=staff", vec![bob, eve]),
        ("ordering=-username", vec![ann, eve, bob, admin_id]),
        ("search=o'", vec![ann, eve]),
        ("search=ANN", vec![ann]),
        ("search=neil%20ann", vec![ann]),
        ("search=%25", vec![bob]),
        ("search=0%25_o", vec![bob]),
        ("search=example.edu", vec![admin_id, ann, bob, eve]),
        ("search=%20", vec![admin_id, ann, bob, eve]),
        ("updated_since=2026-03-02", vec![admin_id, ann, bob, eve]),
        ("updated_since=2026-03-03T00:00:00%2B11:00", vec![]),
    ];
    for (query, expected) in cases {
        let reply = admin.get(&format!("{USERS}?{query}")).await;
        assert_eq!(reply.ids(), expected, "{query}");
    }
}

#[tokio::test]
async fn what_a_list_does_not_know_is_refused_by_name() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    for list in [USERS, PICKER, "/api/users/students/"] {
        for (query, field) in [
            ("colour=red", "colour"),
            ("is_active=maybe", "is_active"),
            ("user_type=boss", "user_type"),
            ("ordering=password_hash", "ordering"),
            ("page_size=0", "page_size"),
            ("page_size=1001", "page_size"),
            ("cursor=xyz", "cursor"),
            ("updated_since=yesterday", "updated_since"),
            ("search=%00", ""),
        ] {
            let reply = admin.get(&format!("{list}?{query}")).await;
            assert_eq!(reply.status, 400, "{list}?{query}");
            assert!(field.is_empty() || !reply.errors(field).is_empty(), "{}", reply.body);
        }
        let two = admin.get(&format!("{list}?colour=red&page_size=x")).await;
        assert_eq!((two.errors("colour").len(), two.errors("page_size").len()), (1, 1), "all are named");
    }
    assert_eq!(student.get(&format!("{USERS}?include_deleted=true")).await.status, 403);
}

#[tokio::test]
async fn a_search_among_many_users_goes_through_its_index() {
    let app = TestApp::start().await;
    let (staff, needle) = (app.staff().await, app.student().await);
    let many = sqlx::query!(
        "insert into users (email, username, password_hash, first_name, last_name)
         select md5(n::text) || '@example.org', md5(n::text), 'x', md5('a' || n), md5('b' || n)
           from generate_series(1, 12000) n"
    );
    many.execute(&app.db).await.unwrap();
    let named = sqlx::query!("update users set last_name = 'Zebrowski' where id = $1", needle.id.0);
    named.execute(&app.db).await.unwrap();
    sqlx::raw_sql("vacuum analyze users").execute(&app.db).await.unwrap();
    let scans = async || {
        let scans = sqlx::query_scalar!(
            r#"select idx_scan as "scans!" from pg_stat_user_indexes where indexrelname = 'users_by_search_text'"#
        );
        scans.fetch_one(&app.db).await.unwrap()
    };
    let before = scans().await;
    // A session reports its counts about once a second, when it ends a transaction.
    app.until("the index is used", async || {
        assert_eq!(staff.get(&format!("{USERS}?search=zebro")).await.ids(), vec![needle.id]);
        scans().await > before
    })
    .await;
}
