//! Calendar links, and the feeds behind them.

use std::collections::BTreeMap;

use icalendar::parser::{read_calendar, unfold};
use icalendar::{Calendar, CalendarComponent, Component};
use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::run;
use crate::support::{NOW, Person, Reply, TestApp};

const LINK: &str = "/api/core/calendar-link/";
const FEED: &str = "/api/core/calendar.ics";

/// A new link of this person; its address without the server's.
async fn link_of(app: &TestApp, person: &Person) -> String {
    let made = person.post_bare(LINK).await;
    let url = made.expect(201)["url"].as_str().unwrap().to_owned();
    url.strip_prefix(app.base()).expect("an address of this server").to_owned()
}

/// The entries of a feed by their UIDs, each with its properties as they are meant.
fn entries(feed: &Reply) -> BTreeMap<String, BTreeMap<String, String>> {
    feed.expect(200);
    assert_eq!(feed.header("content-type"), Some("text/calendar; charset=utf-8"));
    let text = std::str::from_utf8(&feed.bytes).unwrap();
    assert!(text.split("\r\n").all(|line| line.len() <= 75 && !line.contains(['\r', '\n'])), "{text:?}");
    read_calendar(&unfold(text)).unwrap();
    let calendar: Calendar = text.parse().unwrap();
    let mut found = BTreeMap::new();
    for component in &calendar.components {
        let CalendarComponent::Event(event) = component else { panic!("{component:?} is no event") };
        let properties: BTreeMap<String, String> =
            event.properties().iter().map(|(name, value)| (name.clone(), value.value().to_owned())).collect();
        let uid = properties["UID"].clone();
        assert!(found.insert(uid.clone(), properties).is_none(), "{uid} is there twice");
    }
    found
}

/// The UIDs of this person's feed.
async fn uids(app: &TestApp, person: &Person) -> Vec<String> {
    let link = link_of(app, person).await;
    entries(&app.anonymous().get(&link).await).into_keys().collect()
}

/// A class of this offering.
async fn class(app: &TestApp, offering: Id, date: &str, instructor: Option<Id>) -> Id {
    let sql = sqlx::query_scalar!(
        "insert into class_sessions (offering_id, date, start_time, end_time, location, instructor_id)
         values ($1, $2::text::date, '09:30', '11:00', 'EN101', $3)
         returning id",
        offering.0,
        date,
        instructor.map(|id| id.0)
    );
    Id(sql.fetch_one(&app.db).await.unwrap())
}

/// An event with these further fields.
async fn event(app: &TestApp, fields: Value) -> Id {
    let mut body = json!({ "title": "Open day", "start": "2026-03-10T09:00:00Z" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let made = app.staff().await.post("/api/core/events/", &body).await;
    Id(made.expect(201)["id"].as_i64().unwrap())
}

#[tokio::test]
async fn a_link_is_shown_once_replaced_and_revoked() {
    let app = TestApp::start().await;
    let (ann, nobody) = (app.student().await, app.anonymous());
    let none = json!({ "exists": false, "created_at": null, "last_used_at": null });
    assert_eq!(ann.get(LINK).await.expect(200), &none);
    assert_eq!(ann.delete(LINK).await.refusal(), (404, "not_found"));
    assert_eq!(nobody.post_bare(LINK).await.refusal(), (401, "not_authenticated"));

    let made = ann.post_bare(LINK).await;
    let made = made.expect(201);
    assert_eq!(made["created_at"], NOW.replace('Z', ".000000Z"));
    let url = made["url"].as_str().unwrap();
    let token = url.strip_prefix(&format!("{}{FEED}?token=", app.base())).unwrap();
    assert!(token.len() >= 43, "256 bits: {token}");
    let first = format!("{FEED}?token={token}");
    let shown = ann.get(LINK).await;
    assert_eq!(shown.body, json!({ "exists": true, "created_at": made["created_at"], "last_used_at": null }));
    let stored = sqlx::query!("select token_hash, to_jsonb(l)::text as \"row!\" from calendar_links l");
    let stored = stored.fetch_one(&app.db).await.unwrap();
    assert_eq!(stored.token_hash, swincms::access::tokens::hash(token));
    assert!(!stored.row.contains(token));

    nobody.get(&first).await.expect(200);
    nobody.get(&first.replace(".ics?", ".ics/?")).await.expect(200);
    assert_eq!(ann.get(LINK).await.body["last_used_at"], made["created_at"]);
    // A token of the API is not even looked at, neither needed nor enough.
    nobody.with("Authorization", "Bearer a.b.c").get(&first).await.expect(200);

    // Even with one key: the secret is never kept.
    let keyed = ann.with("Idempotency-Key", "k");
    let second = keyed.post_bare(LINK).await.expect(201)["url"].as_str().unwrap().to_owned();
    let third = keyed.post_bare(LINK).await.expect(201)["url"].as_str().unwrap().to_owned();
    assert_eq!(nobody.get(&first).await.refusal(), (404, "not_found"));
    assert_eq!(nobody.get(&second).await.refusal(), (404, "not_found"));
    nobody.get(&third).await.expect(200);
    let kept = sqlx::query_scalar!(r#"select count(*) as "count!" from idempotency_keys"#);
    assert_eq!(kept.fetch_one(&app.db).await.unwrap(), 0);

    // Another's link is not touched.
    let bob = app.student().await;
    let bobs = link_of(&app, &bob).await;
    ann.delete(LINK).await.expect(204);
    assert_eq!(nobody.get(&third).await.refusal(), (404, "not_found"));
    assert_eq!(ann.get(LINK).await.body, none);
    assert_eq!(ann.delete(LINK).await.refusal(), (404, "not_found"));
    nobody.get(&bobs).await.expect(200);
}

#[tokio::test]
async fn two_links_made_at_once_leave_one() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let mut held = app.transaction().await;
    sqlx::query!("select id from users where id = $1 for no key update", ann.id.0).fetch_one(&mut *held).await.unwrap();
    let both = async { tokio::join!(ann.post_bare(LINK), ann.post_bare(LINK)) };
    let released = async {
        app.until_so_many_wait(2).await;
        held.commit().await.unwrap();
    };
    let ((one, other), ()) = tokio::join!(both, released);
    let mut statuses = Vec::new();
    for made in [one, other] {
        let url = made.expect(201)["url"].as_str().unwrap().to_owned();
        statuses.push(app.anonymous().get(&url).await.status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404]);
}

#[tokio::test]
async fn a_wrong_or_missing_token_and_one_of_an_inactive_person_find_nothing() {
    let app = TestApp::start().await;
    let (ann, nobody) = (app.student().await, app.anonymous());
    let link = link_of(&app, &ann).await;
    for query in ["", "?token=", "?token=wrong", "?token=%F0%9F%92%A9", "?tokens=x", &format!("?token={}", ann.access)]
    {
        assert_eq!(nobody.get(&format!("{FEED}{query}")).await.refusal(), (404, "not_found"), "{query}");
        assert_eq!(ann.get(&format!("{FEED}{query}")).await.refusal(), (404, "not_found"), "{query}");
    }
    nobody.get(&format!("{link}&utm_source=calendar")).await.expect(200);
    run(&app.db, format!("update users set is_active = false where id = {}", ann.id)).await;
    assert_eq!(nobody.get(&link).await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn a_feed_has_the_classes_of_its_owner() {
    let app = TestApp::start().await;
    let (convenor, instructor) = (app.convenor().await, app.staff().await);
    let unit = app.unit_of(convenor.id).await;
    let (taught, other) = (app.offering_of(unit, 0).await, app.offering(0).await);
    let mine = class(&app, taught, "2026-03-09", None).await;
    let instructed = class(&app, other, "2026-03-10", Some(instructor.id)).await;
    let plain = class(&app, other, "2026-03-11", None).await;
    // Long ago, and far ahead; on the last days of either side they are there.
    for date in ["2025-12-01", "2027-04-07"] {
        class(&app, taught, date, None).await;
    }
    let (first, last) = (class(&app, taught, "2025-12-02", None).await, class(&app, taught, "2027-04-06", None).await);
    let uid = |id: Id| format!("session-{id}@swincms");
    let sorted = |ids: &[Id]| {
        let mut uids: Vec<String> = ids.iter().map(|id| uid(*id)).collect();
        uids.sort();
        uids
    };

    for (status, sees) in
        [("ENROLLED", true), ("COMPLETED", true), ("FAILED", true), ("PENDING", false), ("WITHDRAWN", false)]
    {
        let student = app.student().await;
        app.enrollment(student.id, taught, status).await;
        let wanted = if sees { sorted(&[mine, first, last]) } else { Vec::new() };
        assert_eq!(uids(&app, &student).await, wanted, "{status}");
    }
    assert_eq!(uids(&app, &convenor).await, sorted(&[mine, first, last]));
    assert_eq!(uids(&app, &instructor).await, sorted(&[instructed]));
    // Staff see all classes in the application, but they are not theirs.
    for person in [app.staff().await, app.admin().await, app.parent().await, app.student().await] {
        assert!(uids(&app, &person).await.is_empty(), "{}", person.user_type);
    }
    let both = app.student().await;
    app.enrollment(both.id, other, "ENROLLED").await;
    assert_eq!(uids(&app, &both).await, sorted(&[instructed, plain]));
}

#[tokio::test]
async fn a_feed_has_the_events_that_the_api_shows_its_owner() {
    let app = TestApp::start().await;
    let (ann, bob, parent) = (app.student().await, app.student().await, app.parent().await);
    let (staff, auditor) = (app.staff().await, app.auditor().await);
    let offering = app.offering(0).await;
    app.enrollment(ann.id, offering, "ENROLLED").await;
    event(&app, json!({})).await;
    event(&app, json!({ "target_all_students": true })).await;
    event(&app, json!({ "target_students": [bob.id] })).await;
    event(&app, json!({ "target_offerings": [offering] })).await;
    event(&app, json!({ "visibility": "unit", "related_offering": offering })).await;
    event(&app, json!({ "visibility": "staff" })).await;
    let mut counts = Vec::new();
    for person in [&ann, &bob, &parent, &staff, &auditor] {
        let mut shown: Vec<String> =
            person.get("/api/core/events/").await.ids().iter().map(|id| format!("event-{id}@swincms")).collect();
        shown.sort();
        assert_eq!(uids(&app, person).await, shown, "{}", person.user_type);
        counts.push(shown.len());
    }
    assert_eq!(counts, [4, 3, 2, 6, 6]);
    // The API has no bounds in time, the feed has.
    event(&app, json!({ "start": "2027-05-01T00:00:00Z" })).await;
    event(&app, json!({ "start": "2025-11-01T00:00:00Z" })).await;
    assert_eq!(uids(&app, &parent).await.len(), 2);
}

#[tokio::test]
async fn times_are_right_on_either_side_of_a_change_of_the_clocks() {
    let app = TestApp::with(&[("TIME_ZONE", "Australia/Melbourne")]).await;
    let convenor = app.convenor().await;
    let unit = app.unit_of(convenor.id).await;
    let offering = app.offering_of(unit, 0).await;
    // Summer time ends on 5 April 2026 and begins on 4 October 2026.
    let mut wanted = Vec::new();
    for (date, starts, ends) in [
        ("2026-04-04", "20260403T223000Z", "20260404T000000Z"),
        ("2026-04-05", "20260404T233000Z", "20260405T010000Z"),
        ("2026-04-06", "20260405T233000Z", "20260406T010000Z"),
        ("2026-10-03", "20261002T233000Z", "20261003T010000Z"),
        ("2026-10-04", "20261003T223000Z", "20261004T000000Z"),
    ] {
        wanted.push((class(&app, offering, date, None).await, starts, ends));
    }
    let open = event(&app, json!({ "start": "2026-04-05T09:30" })).await;
    let link = link_of(&app, &convenor).await;
    let found = entries(&app.anonymous().get(&link).await);
    assert_eq!(found.len(), wanted.len() + 1);
    for (id, starts, ends) in wanted {
        let entry = &found[&format!("session-{id}@swincms")];
        assert_eq!((entry["DTSTART"].as_str(), entry["DTEND"].as_str()), (starts, ends));
    }
    let entry = &found[&format!("event-{open}@swincms")];
    assert_eq!(entry["DTSTART"], "20260404T233000Z");
    assert!(!entry.contains_key("DTEND"), "an event without an end has none");
}

#[tokio::test]
async fn an_entry_keeps_its_name_when_it_is_moved_cancelled_and_deleted() {
    let app = TestApp::with(&[("TIME_ZONE", "UTC")]).await;
    let (admin, ann) = (app.admin().await, app.student().await);
    let offering = app.offering(0).await;
    app.enrollment(ann.id, offering, "ENROLLED").await;
    let id = class(&app, offering, "2026-03-09", None).await;
    let party = event(&app, json!({ "end": "2026-03-10T10:00:00Z", "location": "Hall" })).await;
    let link = link_of(&app, &ann).await;
    let (session, gathering) = (format!("session-{id}@swincms"), format!("event-{party}@swincms"));
    let read = async || entries(&app.anonymous().get(&link).await);
    let names = sqlx::query!(
        "select u.code, u.name from offerings o join units u on u.id = o.unit_id where o.id = $1",
        offering.0
    );
    let names = names.fetch_one(&app.db).await.unwrap();

    let found = read().await;
    let wanted: BTreeMap<String, String> = [
        ("UID", session.as_str()),
        ("SUMMARY", &format!("{} lecture", names.code)),
        ("DESCRIPTION", &names.name),
        ("LOCATION", "EN101"),
        ("DTSTART", "20260309T093000Z"),
        ("DTEND", "20260309T110000Z"),
        ("STATUS", "CONFIRMED"),
        ("SEQUENCE", "0"),
        ("CREATED", "20260302T020000Z"),
        ("DTSTAMP", "20260302T020000Z"),
        ("LAST-MODIFIED", "20260302T020000Z"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    assert_eq!(found[&session], wanted);
    assert_eq!(found[&gathering]["DTEND"], "20260310T100000Z");

    let (one, party) = (format!("/api/core/sessions/{id}/"), format!("/api/core/events/{party}/"));
    let said = |entry: &BTreeMap<String, String>| {
        [&entry["DTSTART"], &entry["STATUS"], &entry["SEQUENCE"], &entry["LAST-MODIFIED"]].map(Clone::clone)
    };
    app.set_time("2026-03-02T02:01:00Z").await;
    admin.patch(&one, &json!({ "start_time": "10:00" })).await.expect(200);
    admin.patch(&party, &json!({ "start": "2026-03-10T09:15:00Z" })).await.expect(200);
    let found = read().await;
    assert_eq!(said(&found[&session]), ["20260309T100000Z", "CONFIRMED", "60", "20260302T020100Z"]);
    assert_eq!(said(&found[&gathering]), ["20260310T091500Z", "CONFIRMED", "60", "20260302T020100Z"]);
    app.set_time("2026-03-02T02:02:00Z").await;
    admin.patch(&one, &json!({ "status": "cancelled" })).await.expect(200);
    assert_eq!(said(&read().await[&session]), ["20260309T100000Z", "CANCELLED", "120", "20260302T020200Z"]);
    app.set_time("2026-03-02T02:03:00Z").await;
    for path in [&one, &party] {
        admin.delete(path).await.expect(204);
    }
    let found = read().await;
    assert_eq!(said(&found[&session]), ["20260309T100000Z", "CANCELLED", "180", "20260302T020300Z"]);
    assert_eq!(said(&found[&gathering]), ["20260310T091500Z", "CANCELLED", "180", "20260302T020300Z"]);
    // For 30 days; then whoever reads the feed has had time to learn of it.
    app.set_time("2026-04-01T02:02:00Z").await;
    assert_eq!(read().await.len(), 2);
    app.set_time("2026-04-01T02:04:00Z").await;
    assert!(read().await.is_empty());
}

#[tokio::test]
async fn an_unchanged_feed_is_not_sent_again() {
    let app = TestApp::start().await;
    let parent = app.parent().await;
    event(&app, json!({})).await;
    let link = link_of(&app, &parent).await;
    let first = app.anonymous().get(&link).await;
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("cache-control"), Some("private, no-cache"));
    app.set_time("2026-03-02T03:00:00Z").await;
    let asking = app.anonymous().with("If-None-Match", &tag);
    let again = asking.get(&link).await;
    again.expect(304);
    assert!(again.bytes.is_empty());
    event(&app, json!({})).await;
    let changed = asking.get(&link).await;
    assert_eq!(entries(&changed).len(), 2);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn what_people_write_stays_text() {
    let app = TestApp::start().await;
    let parent = app.parent().await;
    let title = "Räume, Preise; \\n \"Fragen\": BEGIN:VEVENT";
    let evil = "a\r\nEND:VEVENT\r\nBEGIN:VEVENT\rUID:evil\nDTSTART:20260310T090000Z\u{2028}X:\u{1}\u{85}y";
    let long = format!("{}🦘{}", "ä ".repeat(700), "語".repeat(3000));
    let plain = event(&app, json!({ "title": title, "location": "A, B; C\\D", "description": long })).await;
    let hostile = event(&app, json!({ "title": evil, "location": evil, "description": evil })).await;
    let link = link_of(&app, &parent).await;
    let feed = app.anonymous().get(&link).await;
    let found = entries(&feed);
    assert_eq!(found.len(), 2, "{}", String::from_utf8_lossy(&feed.bytes));
    let entry = &found[&format!("event-{plain}@swincms")];
    assert_eq!((entry["SUMMARY"].as_str(), entry["LOCATION"].as_str()), (title, "A, B; C\\D"));
    let shortened: String = long.chars().take(2000).chain(['…']).collect();
    assert_eq!(entry["DESCRIPTION"], shortened);
    let entry = &found[&format!("event-{hostile}@swincms")];
    let harmless = "a\nEND:VEVENT\nBEGIN:VEVENT\nUID:evil\nDTSTART:20260310T090000Z\nX:\ny";
    assert_eq!(entry["DESCRIPTION"], harmless);
    for name in ["SUMMARY", "LOCATION"] {
        assert_eq!(entry[name], harmless.replace('\n', " "), "{name}");
    }
    assert_eq!(entry["DTSTART"], "20260310T090000Z");
}
