//! Days and moments as people write them: a day is a day where they are, from its beginning to its end.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::academic::{id_of, run};
use crate::support::documented::document;
use crate::support::{Person, TestApp};

const EVENTS: &str = "/api/core/events/";

/// The first instant of 10 December 2026 in Ho Chi Minh City, and the last microsecond.
const BEGINS: &str = "2026-12-09T17:00:00.000000Z";
const ENDS: &str = "2026-12-10T16:59:59.999999Z";

async fn event(by: &Person, title: &str, start: &str, end: Option<&str>) {
    by.post(EVENTS, &json!({ "title": title, "start": start, "end": end })).await.expect(201);
}

/// The titles in a list of events.
async fn titles(by: &Person, query: &str) -> Vec<String> {
    let rows = by.get(&format!("{EVENTS}?{query}&ordering=start")).await.expect(200).clone();
    rows.as_array().unwrap().iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_range_of_days_has_all_of_both_days_and_what_is_under_way() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    event(&staff, "exhibition", "2026-11-01", Some("2027-01-15")).await;
    event(&staff, "eve", "2026-12-09T22:00", Some("2026-12-09T23:00")).await;
    event(&staff, "breakfast", "2026-12-10T05:30", None).await;
    event(&staff, "gala", "2026-12-10T19:00", Some("2026-12-10T22:00")).await;
    event(&staff, "last minute", "2026-12-10T23:59:59", None).await;
    event(&staff, "next day", "2026-12-11T00:00", None).await;
    let day = ["exhibition", "breakfast", "gala", "last minute"];
    for (query, wanted) in [
        ("from=2026-12-10&to=2026-12-10", &day[..]),
        ("from=2026-12-10T00:00&to=2026-12-10T23:59:59", &day[..]),
        ("from=2026-12-09T17:00:00Z&to=2026-12-10T16:59:59Z", &day[..]),
        ("from=2026-12-11", &["exhibition", "next day"]),
        ("to=2026-12-09", &["exhibition", "eve"]),
        ("from=2027-01-15&to=2027-01-15", &["exhibition"]),
        ("from=2027-01-16", &[]),
    ] {
        assert_eq!(titles(&staff, query).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn days_of_other_lists_are_days_where_people_are_too() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let award = json!({ "student_id": student.id, "amount": 5, "reason": "x" });
    app.staff().await.post("/api/social/transactions/award/", &award).await.expect(201);
    // In the ledger and the log nothing is changed but by this, which is half past six in the morning of 10 December.
    run(&app.db, "alter table gold_transactions disable trigger user; alter table audit_log disable trigger user")
        .await;
    run(&app.db, "update gold_transactions set created_at = '2026-12-09T23:30:00Z'").await;
    run(&app.db, "update audit_log set created_at = '2026-12-09T23:30:00Z'").await;
    run(&app.db, "alter table gold_transactions enable trigger user; alter table audit_log enable trigger user").await;
    for (path, from, to) in
        [("/api/social/transactions/", "from", "to"), ("/api/users/audit-log/", "created_from", "created_to")]
    {
        for (begin, end, rows) in [
            ("2026-12-10", "2026-12-10", true),
            ("2026-12-09", "2026-12-09", false),
            ("2026-12-11", "2026-12-12", false),
        ] {
            let reply = admin.get(&format!("{path}?{from}={begin}&{to}={end}")).await;
            assert_eq!(!reply.expect(200).as_array().unwrap().is_empty(), rows, "{path} {begin}");
        }
    }
    let offering = app.offering(0).await;
    let class = json!({ "offering": offering, "date": "2026-12-10", "start_time": "06:30", "end_time": "08:00" });
    admin.post("/api/core/sessions/", &class).await.expect(201);
    for (query, rows) in [
        ("date_from=2026-12-10&date_to=2026-12-10", 1),
        ("date_from=2026-12-09T17:00:00Z&date_to=2026-12-09T17:00:00Z", 1),
        ("date_from=2026-12-11", 0),
        ("date_to=2026-12-09", 0),
    ] {
        let reply = admin.get(&format!("/api/core/sessions/?{query}")).await;
        assert_eq!(reply.expect(200).as_array().unwrap().len(), rows, "{query}");
    }
}

/// The members of bodies that are moments, and those of them that are ends.
const MOMENTS: &[(&str, &str, bool)] = &[
    ("/api/academic/offerings/", "enrollment_start", false),
    ("/api/academic/offerings/", "enrollment_end", true),
    ("/api/academic/offerings/", "withdraw_until", true),
    ("/api/core/events/", "start", false),
    ("/api/core/events/", "end", true),
    ("/api/users/guardians/{id}/grants/", "valid_until", true),
    ("/api/users/user-roles/", "valid_from", false),
    ("/api/users/user-roles/", "valid_until", true),
];

/// The members that are days.
const DAYS: &[(&str, &str)] = &[
    ("/api/core/sessions/", "date"),
    ("/api/core/sessions/cancel/", "date"),
    ("/api/core/sessions/generate/", "first_date"),
    ("/api/core/sessions/generate/", "last_date"),
    ("/api/enrollment/enrollments/{id}/withdraw/", "withdrawn_date"),
    ("/api/users/student-profiles/", "enrollment_date"),
    ("/api/users/student-profiles/", "expected_graduation"),
    ("/api/users/users/", "date_of_birth"),
    ("/api/users/users/", "enrollment_date"),
    ("/api/users/users/", "expected_graduation"),
];

/// The members of a schema whose values are of this format.
fn of_format(schema: &Value, format: &str, into: &mut BTreeSet<String>) {
    let resolved = |schema: &Value| match schema["$ref"].as_str() {
        Some(name) => document()["components"]["schemas"][name.rsplit('/').next().unwrap()].clone(),
        None => schema.clone(),
    };
    let whole = resolved(schema);
    for part in ["allOf", "oneOf", "anyOf"].iter().filter_map(|name| whole[*name].as_array()).flatten() {
        of_format(part, format, into);
    }
    for (name, member) in whole["properties"].as_object().into_iter().flatten() {
        let choices = member["oneOf"].as_array().cloned().unwrap_or_else(|| vec![member.clone()]);
        if choices.iter().any(|choice| resolved(choice)["format"] == format) {
            into.insert(name.clone());
        }
    }
}

#[tokio::test]
async fn every_day_and_moment_that_is_sent_is_in_these_tables() {
    let (mut moments, mut days) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document()["paths"].as_object().unwrap() {
        let schema = &item["post"]["requestBody"]["content"]["application/json"]["schema"];
        // What n8n sends is made by programs.
        if schema.is_null() || path.contains("gcal-sync") || path.contains("generation_callback") {
            continue;
        }
        for (format, into) in [("date-time", &mut moments), ("date", &mut days)] {
            let mut names = BTreeSet::new();
            of_format(schema, format, &mut names);
            into.extend(names.into_iter().map(|name| (path.clone(), name)));
        }
    }
    let owned = |path: &str, name: &str| (path.to_owned(), name.to_owned());
    assert_eq!(moments, MOMENTS.iter().map(|(path, name, _)| owned(path, name)).collect());
    assert_eq!(days, DAYS.iter().map(|(path, name)| owned(path, name)).collect());
}

#[tokio::test]
async fn what_is_left_empty_in_a_form_is_null_and_what_is_no_day_is_told_in_words() {
    const DAY: &str = "A day such as 2026-06-20 is expected.";
    const MOMENT: &str = "A date and time such as 2026-11-22T09:45:00Z is expected.";
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let moments = MOMENTS.iter().map(|(path, name, _)| (*path, *name, MOMENT));
    for (path, name, says) in moments.chain(DAYS.iter().map(|(path, name)| (*path, *name, DAY))) {
        let path = path.replace("{id}", "999");
        let reply = admin.post(&path, &json!({ name: "" })).await;
        let missing = reply.errors(name);
        assert!(missing.iter().all(|says| *says == "This field is required."), "{path} {name}: {}", reply.body);
        for wrong in [json!("31/12/2005"), json!("soon"), json!("2026-02-30"), json!("20026-01-01")] {
            let reply = admin.post(&path, &json!({ name: wrong })).await;
            assert_eq!((reply.status.as_u16(), reply.errors(name)), (400, vec![says]), "{path} {name} {wrong}");
        }
    }
    let reply = admin.patch("/api/users/users/update_profile/", &json!({ "date_of_birth": "" })).await;
    assert_eq!(reply.expect(200)["date_of_birth"], Value::Null);
    let reply = admin.patch("/api/users/users/update_profile/", &json!({ "date_of_birth": "2005-12-31T00:00" })).await;
    assert_eq!(reply.errors("date_of_birth"), [DAY]);
}

#[tokio::test]
async fn a_day_alone_is_its_beginning_as_a_start_and_its_end_as_an_end() {
    let app = TestApp::start().await;
    let (admin, unit) = (app.admin().await, app.unit().await);
    let day = "2026-12-10";
    let event = json!({ "title": "One day", "start": day, "end": day });
    let made = admin.post(EVENTS, &event).await.expect(201).clone();
    assert_eq!((&made["start"], &made["end"]), (&json!(BEGINS), &json!(ENDS)));
    let offering = json!({
        "unit": unit, "year": 2026, "semester": "S2", "enrollment_start": day, "enrollment_end": day,
        "withdraw_until": day,
    });
    let made = admin.post("/api/academic/offerings/", &offering).await.expect(201).clone();
    assert_eq!(made["enrollment_start"], BEGINS);
    assert_eq!((&made["enrollment_end"], &made["withdraw_until"]), (&json!(ENDS), &json!(ENDS)));
    let role = id_of(&admin.post("/api/users/roles/", &json!({ "name": "Door" })).await);
    let door = app.staff().await;
    let holder = json!({ "user": door.id, "role": role, "valid_from": day, "valid_until": day });
    let made = admin.post("/api/users/user-roles/", &holder).await.expect(201).clone();
    assert_eq!((&made["valid_from"], &made["valid_until"]), (&json!(BEGINS), &json!(ENDS)));
    let (parent, child) = (app.parent().await, app.student().await);
    let guardian =
        id_of(&admin.post("/api/users/guardians/", &json!({ "user": parent.id, "students": [child.id] })).await);
    let grant = json!({ "student": child.id, "scopes": ["enrolments"], "valid_until": day });
    let made = child.post(&format!("/api/users/guardians/{guardian}/grants/"), &grant).await;
    assert!(made.status.is_success(), "{}", made.body);
    assert!(made.body.to_string().contains(ENDS), "{}", made.body);
    let told = parent.get("/api/core/notifications/").await.body.to_string();
    assert!(told.contains("until 10 Dec 2026, 23:59 (Asia/Ho_Chi_Minh)"), "{told}");

    let file = crate::support::Upload::of("data", "a.csv", "title,start,end\nSheet,10/12/2026,10/12/2026\n");
    let made = admin.upload("/api/core/events/import-csv/", file).await.expect(200)["events"][0].clone();
    let shown = admin.get(&format!("{EVENTS}{}/", made["id"])).await.body.clone();
    assert_eq!((&shown["start"], &shown["end"]), (&json!(BEGINS), &json!(ENDS)));
}

#[tokio::test]
async fn enrolment_that_ends_on_a_day_is_open_on_that_day_and_says_so_where_people_are() {
    let app = TestApp::start().await;
    let (staff, student, unit) = (app.staff().await, app.student().await, app.unit().await);
    // It is 9 in the morning of 2 March there.
    let body = json!({
        "unit": unit, "year": 2026, "semester": "S1", "enrollment_start": "2026-02-01", "enrollment_end": "2026-03-02",
        "requires_approval": false,
    });
    let offering = id_of(&staff.post("/api/academic/offerings/", &body).await);
    student.post("/api/enrollment/enrollments/", &json!({ "offering": offering })).await.expect(201);
    let one = format!("/api/academic/offerings/{offering}/");
    let late = app.student().await;
    for (window, says) in [
        (json!({ "enrollment_end": "2026-03-01" }), "Enrolment closed on 1 Mar 2026, 23:59 (Asia/Ho_Chi_Minh)."),
        (
            json!({ "enrollment_start": "2026-03-03T08:00", "enrollment_end": "2026-03-04" }),
            "Enrolment opens on 3 Mar 2026, 08:00 (Asia/Ho_Chi_Minh).",
        ),
    ] {
        staff.patch(&one, &window).await.expect(200);
        let reply = late.post("/api/enrollment/enrollments/", &json!({ "offering": offering })).await;
        assert_eq!((reply.status.as_u16(), reply.body["detail"].as_str().unwrap()), (400, says), "{}", reply.body);
    }
}

#[tokio::test]
async fn every_spelling_of_an_offset_is_taken() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for spelt in [
        "2026-12-31T09:30:00+0700",
        "2026-12-31T09:30:00+07",
        "2026-12-31T09:30+07:00",
        "2026-12-31 09:30:00.000+0700",
        "2026-12-31T02:30:00Z",
        "2026-12-31T09:30",
        " 2026-12-31T09:30:00 ",
    ] {
        let made = staff.post(EVENTS, &json!({ "title": "t", "start": spelt })).await;
        assert_eq!(made.expect(201)["start"], "2026-12-31T02:30:00.000000Z", "{spelt}");
    }
    let reply = staff.get(&format!("{EVENTS}?updated_since=2026-12-31T09:30:00+07:00")).await;
    let says = "A + in an address is a blank; write the one before the offset as %2B.";
    assert_eq!(reply.errors("updated_since"), [says]);
    staff.get(&format!("{EVENTS}?updated_since=2026-12-31T09:30:00%2B07:00")).await.expect(200);
}

#[tokio::test]
async fn a_day_whose_midnight_the_clock_skips_begins_at_its_first_moment() {
    let app = TestApp::with(&[("TIME_ZONE", "America/Santiago")]).await;
    let staff = app.staff().await;
    // On 5 September 2027 the clock goes from midnight to one; the day is the 4th in the zone for an hour longer.
    let made = staff.post(EVENTS, &json!({ "title": "t", "start": "2027-09-05", "end": "2027-09-05" })).await;
    let made = made.expect(201);
    assert_eq!(made["start"], "2027-09-05T04:00:00.000000Z");
    assert_eq!(made["end"], "2027-09-06T02:59:59.999999Z");
    let reply = staff.post(EVENTS, &json!({ "title": "t", "start": "2027-09-05T00:30" })).await;
    assert_eq!(reply.errors("start"), ["This local time does not exist: the clock skips it."]);
}

#[tokio::test]
async fn a_filter_that_is_left_empty_is_not_asked() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let mut tried = 0;
    for (path, item) in document()["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array().into_iter().flatten();
        let names: Vec<&str> =
            parameters.filter(|of| of["in"] == "query").map(|of| of["name"].as_str().unwrap()).collect();
        // A list: what others take is theirs to say.
        if !names.contains(&"page_size") || path.contains('{') {
            continue;
        }
        let all: Vec<String> = names.iter().map(|name| format!("{name}=")).collect();
        let reply = admin.get(&format!("{path}?{}", all.join("&"))).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        tried += 1;
    }
    assert!(tried > 25, "{tried} lists");
    assert_eq!(admin.get("/api/academic/units/?no_such=1").await.errors("no_such").len(), 1);
}
