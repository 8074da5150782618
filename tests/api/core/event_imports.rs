//! Many events at once: files in both shapes, batches of workflows, and publishing.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::academic::{at, id_of, run};
use crate::support::{Person, Reply, TestApp, Upload};

const EVENTS: &str = "/api/core/events/";
const IMPORT: &str = "/api/core/events/import-csv/";
const BATCH: &str = "/api/core/events/batch-create-webhook/";
const PUBLISH: &str = "/api/core/events/bulk-publish/";

async fn import(who: &Person, query: &str, file: impl Into<Vec<u8>>) -> Reply {
    who.upload(&format!("{IMPORT}{query}"), Upload::of("data", "events.csv", file)).await
}

async fn events(app: &TestApp) -> i64 {
    let sql = sqlx::query_scalar!(r#"select count(*) as "n!" from events"#);
    sql.fetch_one(&app.db).await.unwrap()
}

#[tokio::test]
async fn a_file_in_the_plain_shape_becomes_events() {
    let app = TestApp::with(&[("TIME_ZONE", "Asia/Ho_Chi_Minh")]).await;
    let convenor = app.convenor().await;
    let unit = app.unit().await;
    let file = format!(
        "\u{feff}Title,start,description,end,location,visibility,related_unit_id,colour\r\n\
         \"Open, \"\"day\"\"\",2026-03-10T09:00:00Z,\"two\nlines\",2026-03-10T10:00:00Z,Hall,unit,{unit},red\r\n\
         ,,,,,,,\r\n\
         Exam,31/03/2026 14:30\r\n"
    );
    let done = import(&convenor, "", file).await;
    assert_eq!((&done.expect(200)["created_count"], &done.body["error_count"]), (&json!(2), &json!(0)));
    assert_eq!((&done.body["errors"], &done.body["events"][1]["title"]), (&json!([]), &json!("Exam")));
    let shown =
        async |place: usize| convenor.get(&at(EVENTS, &done.body["events"][place]["id"])).await.expect(200).clone();
    let (first, second) = (shown(0).await, shown(1).await);
    for (field, value) in [
        ("title", json!("Open, \"day\"")),
        ("start", json!("2026-03-10T09:00:00.000000Z")),
        ("end", json!("2026-03-10T10:00:00.000000Z")),
        ("description", json!("two\nlines")),
        ("location", json!("Hall")),
        ("visibility", json!("unit")),
        ("related_unit", json!(unit)),
        ("target_all_students", json!(false)),
        ("created_by", json!(convenor.id)),
    ] {
        assert_eq!(first[field], value, "{field}");
    }
    assert_eq!(second["start"], json!("2026-03-31T07:30:00.000000Z"), "local time in TIME_ZONE");
    assert_eq!((&second["visibility"], &second["end"]), (&json!("public"), &json!(null)));
}

#[tokio::test]
async fn a_campus_calendar_becomes_events_for_whom_it_names() {
    let app = TestApp::with(&[("TIME_ZONE", "UTC")]).await;
    let staff = app.staff().await;
    let file = "Event_Title;Event_Date;Location;Start_Time;Notify_Rule;Channels;Target_Audience;Dept_Filter;\
                Content_Remarks;Assets_URL\n\
                Fair;2026-03-10;Hall;14:30;3 days;mail;Students, Staff;CS;Bring friends;https://example.org/\n\
                Meeting;10/03/2026;N/A;;;;Academic Staff;;;\n\
                Walk;11/03/2026";
    let done = import(&staff, "", file).await;
    assert_eq!(done.expect(200)["created_count"], json!(3));
    let shown =
        async |place: usize| staff.get(&at(EVENTS, &done.body["events"][place]["id"])).await.expect(200).clone();
    let (fair, meeting, walk) = (shown(0).await, shown(1).await, shown(2).await);
    for (event, start, location, visibility, all) in [
        (&fair, "2026-03-10T14:30:00.000000Z", "Hall", "public", true),
        (&meeting, "2026-03-10T08:00:00.000000Z", "", "staff", false),
        (&walk, "2026-03-11T08:00:00.000000Z", "", "public", true),
    ] {
        assert_eq!((&event["start"], &event["location"]), (&json!(start), &json!(location)));
        assert_eq!((&event["visibility"], &event["target_all_students"]), (&json!(visibility), &json!(all)));
    }
    assert_eq!(fair["description"], json!("Bring friends"));
    let kept = json!({ "csv_meta": {
        "notify_rule": "3 days", "channels": "mail", "target_audience": "Students, Staff", "dept_filter": "CS",
        "content_remarks": "Bring friends", "assets_url": "https://example.org/", "source": "csv",
    } });
    assert_eq!(fair["generation_meta"], kept);
}

#[tokio::test]
async fn a_broken_row_keeps_all_out_unless_the_good_ones_are_asked_for() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let file = "title,start,end,visibility,related_unit_id\n\
                Good,2026-03-10\n\
                ,soon,,secret,x\n\
                Late,2026-03-10,2026-03-09\n\
                Lost,2026-03-10,,,987654\n\
                Long,2026-03-10,,,,,too,many";
    let refused = import(&staff, "", file).await;
    assert_eq!(refused.refusal(), (400, "invalid"));
    let named = [
        "rows[2].title",
        "rows[2].start",
        "rows[2].visibility",
        "rows[2].related_unit_id",
        "rows[3].end",
        "rows[4].related_unit_id",
        "rows[5].row",
    ];
    for field in named {
        assert_eq!(refused.errors(field).len(), 1, "{field}: {}", refused.body);
    }
    let told = refused.body["row_errors"].as_array().unwrap();
    assert_eq!(told.len(), named.len());
    assert_eq!(
        told[4],
        json!({ "row": 3, "sheet_row": 4, "field": "end", "error": "The end cannot be before the start." })
    );
    assert_eq!(events(&app).await, 0);

    let partial = import(&staff, "?partial=true", file).await;
    assert_eq!((&partial.expect(200)["created_count"], &partial.body["error_count"]), (&json!(1), &json!(4)));
    assert_eq!(partial.body["errors"].as_array().unwrap().len(), named.len());
    assert_eq!(events(&app).await, 1);
}

#[tokio::test]
async fn what_is_no_such_file_is_refused() {
    let app = TestApp::with(&[("MAX_UPLOAD_MB", "1")]).await;
    let staff = app.staff().await;
    for (file, what) in [
        (b"\x89PNG\r\n\x1a\n\0\0".to_vec(), "a picture"),
        (b"title,start\n\xff\xfe".to_vec(), "not UTF-8"),
        (b"title,start\na\0,2026-03-10".to_vec(), "a null character"),
        (b"name,day\na,2026-03-10".to_vec(), "other columns"),
        (b"title,start\n".to_vec(), "no rows"),
        (b"title,start\na,31/03/2026\nb,03/31/2026".to_vec(), "dates both ways round"),
    ] {
        let refused = import(&staff, "", file).await;
        assert_eq!((refused.status.as_u16(), refused.errors("data").len()), (400, 1), "{what}: {}", refused.body);
    }
    let large = import(&staff, "", vec![b'x'; 1024 * 1024 + 1]).await;
    assert_eq!(large.status.as_u16(), 413);
    assert_eq!(import(&staff, "?partial=perhaps", "title,start\na,2026-03-10").await.errors("partial").len(), 1);
    for who in [app.student().await, app.parent().await, app.auditor().await] {
        assert_eq!(import(&who, "", "title,start\na,2026-03-10").await.status.as_u16(), 403);
    }
    assert_eq!(events(&app).await, 0);
}

#[tokio::test]
async fn ten_thousand_rows_are_taken_at_once_each_with_its_row_in_the_log() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut file = "title,start\n".to_owned();
    for number in 0..10_000 {
        let _ = writeln!(file, "Event {number},2026-{:02}-{:02}", 1 + number % 12, 1 + number % 28);
    }
    let done = import(&staff, "", file).await;
    assert_eq!(done.expect(200)["created_count"], json!(10_000));
    assert_eq!(done.body["events"][9_999]["title"], json!("Event 9999"), "in the file's order");
    let last = &done.body["events"][9_999]["id"];
    let audited =
        sqlx::query!(r#"select count(*) as "n!", max(resource_id) as last from audit_log where action = 'create'"#);
    let audited = audited.fetch_one(&app.db).await.unwrap();
    assert_eq!((audited.n, json!(audited.last)), (10_000, last.clone()));
    let mut more = "title,start\n".to_owned();
    more.extend((0..20_001).map(|_| "a,2026-03-10\n"));
    assert_eq!(import(&staff, "", more).await.errors("data").len(), 1);
}

#[tokio::test]
async fn a_workflow_creates_what_is_not_there_yet() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let open_day = json!({ "title": "Open day", "start": "2026-03-10T09:00:00Z" });
    let batch = json!({ "events": [
        open_day, open_day, { "title": "Exam", "start": "2026-03-11", "related_unit_id": null },
        { "title": "", "start": "2026-03-11" },
    ] });
    let made = staff.post(BATCH, &batch).await;
    let counts = |reply: &Reply| {
        ["created_count", "skipped_count", "error_count"].map(|name| reply.body[name].as_i64().unwrap())
    };
    made.expect(201);
    assert_eq!(counts(&made), [2, 1, 1]);
    assert_eq!(made.body["created_events"][1]["title"], json!("Exam"));
    assert_eq!((&made.body["errors"][0]["row"], &made.body["errors"][0]["field"]), (&json!(4), &json!("title")));
    let again = staff.post(BATCH, &json!({ "events": [open_day] })).await;
    again.expect(201);
    assert_eq!((counts(&again), &again.body["errors"]), ([0, 1, 0], &Value::Null));
    assert_eq!(staff.post(BATCH, &json!({ "events": [] })).await.errors("events").len(), 1);
    assert_eq!(staff.post(BATCH, &json!({ "events": [{ "name": "x" }] })).await.errors("events").len(), 1);
    assert_eq!(app.convenor().await.post(BATCH, &batch).await.status.as_u16(), 403);
    assert_eq!(events(&app).await, 2);
}

#[tokio::test]
async fn events_are_published_many_at_once_by_staff_and_the_units_convenor() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let offering = app.offering_of(unit, 0).await;
    let mut ids = Vec::new();
    for related in [json!({ "related_unit": unit }), json!({ "related_offering": offering }), json!({})] {
        let mut event = json!({ "title": "A", "start": "2026-03-10T09:00:00Z", "visibility": "staff" });
        event.as_object_mut().unwrap().extend(related.as_object().unwrap().clone());
        ids.push(id_of(&staff.post(EVENTS, &event).await));
    }
    let all = json!({ "event_ids": ids, "visibility": "public", "generation_status": "ready" });
    assert_eq!(convenor.post(PUBLISH, &all).await.status.as_u16(), 403, "one of them is of no unit of theirs");
    let shown = async |place: usize| staff.get(&at(EVENTS, ids[place])).await.expect(200)["visibility"].clone();
    assert_eq!(shown(0).await, json!("staff"), "and so none is");
    let own = json!({ "event_ids": ids[..2], "visibility": "unit" });
    let done = convenor.post(PUBLISH, &own).await;
    let wanted = json!({
        "message": "2 events were updated.", "updated_count": 2, "visibility": "unit", "generation_status": null,
    });
    assert_eq!(done.expect(200), &wanted);
    assert_eq!((shown(0).await, shown(1).await, shown(2).await), (json!("unit"), json!("unit"), json!("staff")));
    assert_eq!(staff.post(PUBLISH, &all).await.expect(200)["updated_count"], json!(3));
    for (change, field) in [
        (json!({ "event_ids": [] }), "event_ids"),
        (json!({ "event_ids": [987_654] }), "event_ids"),
        (json!({ "event_ids": ids, "visibility": "secret" }), "visibility"),
        (json!({ "event_ids": ids, "generation_status": "done" }), "generation_status"),
    ] {
        assert_eq!(staff.post(PUBLISH, &change).await.errors(field).len(), 1, "{change}");
    }
    for who in [app.student().await, app.parent().await, app.auditor().await] {
        assert_eq!(who.post(PUBLISH, &all).await.status.as_u16(), 403);
    }
}

#[tokio::test]
async fn content_that_nobody_confirmed_waits_in_a_list() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    let mut ids = Vec::new();
    for status in ["idle", "pending", "ready", "failed", "ready"] {
        let event = json!({ "title": status, "start": "2026-03-10T09:00:00Z", "related_unit": unit });
        let id = id_of(&staff.post(EVENTS, &event).await);
        run(&app.db, format!("update events set generation_status = '{status}' where id = {id}")).await;
        ids.push(id);
    }
    run(&app.db, format!("update events set generation_meta = '{{\"confirmed_at\": 1}}' where id = {}", ids[4])).await;
    run(&app.db, format!("update events set created_at = rule_now() - interval '3 days' where id = {}", ids[1])).await;
    let list = async |query: &str| staff.get(&format!("{EVENTS}pending-refinement/{query}")).await.ids();
    assert_eq!(list("").await, [ids[2], ids[1]]);
    assert_eq!(list("?status=pending").await, [ids[1]]);
    assert_eq!(list("?days=2").await, [ids[2]]);
    assert_eq!(list(&format!("?unit_id={}", unit.0 + 1)).await, []);
    assert_eq!(app.convenor().await.get(&format!("{EVENTS}pending-refinement/")).await.status.as_u16(), 403);
}
