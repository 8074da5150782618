//! Sheets as people's programs save them, and what an import says of them.

use serde_json::{Value, json};
use swincms::migrate;

use crate::academic::{at, id_of, run};
use crate::support::{Reply, Sender, TestApp, Upload};

const EVENTS: &str = "/api/core/events/";
const IMPORT: &str = "/api/core/events/import-csv/";
const BATCH: &str = "/api/core/events/batch-create-webhook/";

async fn import(who: &Sender, query: &str, file: impl Into<Vec<u8>>) -> Reply {
    who.upload(&format!("{IMPORT}{query}"), Upload::of("data", "events.csv", file)).await
}

async fn titles(app: &TestApp) -> Vec<String> {
    let sql = sqlx::query_scalar!("select title from events order by id");
    sql.fetch_all(&app.db).await.unwrap()
}

/// What a file is refused with as a whole.
#[track_caller]
fn refusal(reply: &Reply) -> String {
    assert_eq!(reply.refusal(), (400, "invalid"), "{}", reply.body);
    assert_eq!(
        reply.errors("data"),
        [reply.body["detail"].as_str().unwrap()],
        "people read it without the field's name"
    );
    reply.errors("data")[0].to_owned()
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect()
}

#[tokio::test]
async fn a_quote_that_nothing_closes_or_that_text_follows_is_told_by_its_row() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for (file, row, says) in [
        (
            "title,start,description\r\nA,2026-04-01,\"Bring a pen\r\nB,2026-04-02,b\r\nC,2026-04-03,c\r\n",
            2,
            "nothing closes",
        ),
        ("title,start,description\n\n\"A\nA\",2026-04-01,a\nB,2026-04-02,\"b\nC,2026-04-03,c", 4, "nothing closes"),
        ("title,start,\"description\nA,2026-04-01,a\n", 1, "nothing closes"),
        ("title,start,description\nA,2026-04-01,\"3.5\" disk day\nB,2026-04-02,b\n", 2, "after a closing quote"),
        ("title;start;description\nA;2026-04-01;\"Bring a pen\nB;2026-04-02;\"b\"\n", 2, "after a closing quote"),
        // The quote is closed by one that belongs to another cell.
        (
            "title,start,description\nA,2026-04-01,\"Bring a pen\nB,2026-04-02,b\nC,2026-04-03,c\"\n",
            2,
            "lines that look like rows",
        ),
    ] {
        for query in ["", "?partial=true"] {
            let told = refusal(&import(&staff, query, file).await);
            assert!(told.contains(says) && told.contains(&format!("row {row} of the sheet")), "{file:?}: {told}");
        }
    }
    assert_eq!(titles(&app).await, [""; 0]);
    let fine = "title,start,description\n\"A\",2026-04-01,\"Bring a pen\nand, if you like, 2 friends\"\nB, 2026-04-02, \"b, b\"\n";
    assert_eq!(import(&staff, "", fine).await.expect(200)["created_count"], json!(2));
}

#[tokio::test]
async fn a_column_that_stands_twice_is_refused_however_it_is_spelt() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for header in [
        "title,start,start",
        "title,Start,start ",
        "title,start,\u{a0}START",
        "title,start,\u{200b}start",
        "title,start,colour,Colour",
    ] {
        let told = refusal(&import(&staff, "", format!("{header}\nA,2026-04-01,2026-04-02\n")).await);
        assert!(told.contains("stands twice"), "{header}: {told}");
    }
    for twice in [
        json!({ "title": "A", "start": "2026-04-01", "Start": "2026-04-02" }),
        json!({ "Event_Title": "A", "Event_Date": "2026-04-01", "event_date ": "2026-04-02" }),
    ] {
        let refused = staff.post(BATCH, &json!({ "events": [{ "title": "B", "start": "2026-04-01" }, twice] })).await;
        assert_eq!(refused.refusal(), (400, "invalid"));
        assert!(refused.errors("events")[0].contains("Row 2 has `"), "{}", refused.body);
    }
    assert_eq!(titles(&app).await, [""; 0]);
    // Columns without a name are none.
    assert_eq!(import(&staff, "", "title,start,,,\nA,2026-04-01,,,\n").await.expect(200)["created_count"], json!(1));
}

#[tokio::test]
async fn sheets_are_read_as_programs_save_them() {
    let app = TestApp::with(&[("TIME_ZONE", "UTC")]).await;
    let staff = app.staff().await;
    let with = |delimiter: &str, title: &str| {
        ["title,start,location", &format!("{title},31/03/2026 09:30,Hội trường A"), ""]
            .join("\r\n")
            .replace(',', delimiter)
    };
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("commas", with(",", "Một").into()),
        ("semicolons, with a mark", format!("\u{feff}{}", with(";", "Hai")).into()),
        ("tabs", with("\t", "Ba").into()),
        ("UTF-16, the low byte first, tabs", utf16(&with("\t", "Bốn"), u16::to_le_bytes)),
        ("UTF-16, the high byte first", utf16(&with(",", "Năm"), u16::to_be_bytes)),
        ("a hint", format!("sep=;\r\n{}", with(";", "Sáu")).into()),
        ("a hint, commas", format!("sep=,\r\n{}", with(",", "Bảy")).into()),
        ("a hint in quotes", format!("\u{feff}\"sep=|\"\n{}", with("|", "Tám")).into()),
        ("line ends of old", with(",", "Chín").replace("\r\n", "\r").into()),
        ("a title", format!("Lịch sự kiện, 2026\r\n{}", with(";", "Mười")).into()),
        ("a title of its own row", format!("\"Lịch, 2026\",,\r\n,,\r\n{}", with(",", "Mười một")).into()),
        ("hard blanks in the header", with(",", "Mười hai").replace("title,start", "title\u{a0},\u{a0}start").into()),
    ];
    for (what, file) in &files {
        let done = import(&staff, "", file.clone()).await;
        assert_eq!(done.status.as_u16(), 200, "{what}: {}", done.body);
        assert_eq!(done.body["created_count"], json!(1), "{what}");
        let shown = staff.get(&at(EVENTS, &done.body["events"][0]["id"])).await;
        let shown = shown.expect(200);
        assert_eq!(
            (&shown["location"], &shown["start"]),
            (&json!("Hội trường A"), &json!("2026-03-31T09:30:00.000000Z")),
            "{what}"
        );
    }
    let all = ["Một", "Hai", "Ba", "Bốn", "Năm", "Sáu", "Bảy", "Tám", "Chín", "Mười", "Mười một", "Mười hai"];
    assert_eq!(titles(&app).await, all);
}

#[tokio::test]
async fn what_is_no_unicode_text_is_refused_with_what_to_do() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut unmarked = utf16("title,start\nA,2026-04-01\n", u16::to_le_bytes);
    unmarked.drain(..2);
    for (file, says) in [
        (b"title,start\nJos\xe9,2026-04-01\n".to_vec(), "older encoding of Windows"),
        (b"title,start\nH\xf4\xf2i th\xe5o,2026-04-01\n".to_vec(), "older encoding of Windows"),
        (unmarked, "without a byte order mark"),
        (b"\xff\xfet\0i".to_vec(), "damaged or cut off"),
        (b"PK\x03\x04\x14\0\x06\0".to_vec(), "a workbook"),
        (b"\x89PNG\r\n\x1a\n\0\0".to_vec(), "not a text file"),
    ] {
        let told = refusal(&import(&staff, "", file).await);
        assert!(told.contains(says) && told.contains("Save As, \"CSV UTF-8\""), "{told}");
    }
}

#[tokio::test]
async fn a_header_that_is_not_there_is_told_with_what_stands_in_its_place() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for (file, says) in [
        ("Open days 2026,,\n\nname,day\nA,2026-04-01\n", "Row 1 of the sheet has `Open days 2026`."),
        ("\ntitle;begins\nA;2026-04-01\n", "Row 2 of the sheet has `title`, `begins`. Missing: `start`."),
        // What stands above could be a row.
        ("A,2026-03-31\ntitle,start\nB,2026-04-01\n", "stand in row 2 of the sheet, but row 1 has several cells too"),
        ("title,start\n\n,\n", "The file has no rows."),
        ("\n\n", "The file has no rows."),
    ] {
        let told = refusal(&import(&staff, "", file).await);
        assert!(told.contains(says), "{file:?}: {told}");
    }
    assert_eq!(refusal(&import(&staff, "", "").await), "The file is empty.");
    assert_eq!(titles(&app).await, [""; 0]);
}

#[tokio::test]
async fn rows_are_counted_as_the_spreadsheet_shows_them() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for (file, row, sheet_row) in [
        ("title,start\r\nGood,2026-04-01\r\n\r\n\r\nBad,not a date\r\n", 4, 5),
        ("title,start\r\nGood,2026-04-01\r\n,\r\n,\r\nBad,not a date\r\n", 4, 5),
        ("title,start\r\n\"Good\r\n\r\nday\",2026-04-01\r\nBad,not a date\r\n", 2, 3),
        ("Calendar\n\ntitle,start\nBad,not a date\n", 1, 4),
        ("sep=;\ntitle;start\nBad;not a date\n", 1, 2),
    ] {
        let refused = import(&staff, "", file).await;
        let told = refused.errors(&format!("rows[{row}].start"));
        assert_eq!(told.len(), 1, "{file:?}: {}", refused.body);
        assert!(told[0].ends_with(&format!(" (Row {sheet_row} of the sheet.)")), "{}", told[0]);
        let fault = &refused.body["row_errors"][0];
        assert_eq!((&fault["row"], &fault["sheet_row"]), (&json!(row), &json!(sheet_row)));
        let says = format!("Row {sheet_row} of the sheet, start: A date");
        assert!(refused.body["detail"].as_str().unwrap().contains(&says), "{}", refused.body);
    }
}

#[tokio::test]
async fn days_and_times_are_read_as_spreadsheets_write_them_and_impossible_years_are_not() {
    let app = TestApp::with(&[("TIME_ZONE", "UTC")]).await;
    let staff = app.staff().await;
    let starts = [
        "31/03/2026 8:00:00 AM",
        "31/03/2026\u{a0}8:00\u{202f}AM",
        "31/03/2026  8:00 SA",
        "\"31/03/2026, 08:00\"",
        "31/03/2026 08h00",
        "2026/03/31 8:00",
        "2026-03-31T08:00",
        "31.3.2026 8:00:00 am",
        "2026/3/31  8:00 a.m.",
    ];
    let rows: Vec<String> = starts.iter().enumerate().map(|(nth, start)| format!("Event {nth},{start}")).collect();
    let done = import(&staff, "", format!("title,start\n{}\n", rows.join("\n"))).await;
    assert_eq!(done.expect(200)["created_count"], json!(starts.len()));
    for (event, start) in done.body["events"].as_array().unwrap().iter().zip(starts) {
        assert_eq!(event["start"], json!("2026-03-31T08:00:00.000000Z"), "{start}");
    }
    let rich = import(&staff, "", "Event_Title,Event_Date,Start_Time\nAfternoon,2026/03/31,2:30:00 CH\n").await;
    assert_eq!(rich.expect(200)["events"][0]["start"], json!("2026-03-31T14:30:00.000000Z"));

    for (file, field, says) in [
        ("title,start\nA,0206-03-31\n", "rows[1].start", "The year 206 is surely a mistake"),
        ("title,start\nA,1/1/1900\n", "rows[1].start", "The year 1900 is surely a mistake"),
        ("title,start,end\nA,2026-03-31,2206-03-31T00:00:00Z\n", "rows[1].end", "The year 2206 is surely a mistake"),
        ("Event_Title,Event_Date\nA,1899-12-30\n", "rows[1].Event_Date", "The year 1899 is surely a mistake"),
        ("title,start\nA,31/3/26\n", "rows[1].start", "A date such as"),
        ("title,start\nA,46112.375\n", "rows[1].start", "A date such as"),
        ("title,start\nA,31/03/2026 14:30 PM\n", "rows[1].start", "A time such as"),
    ] {
        let refused = import(&staff, "", file).await;
        assert_eq!(refused.errors(field).len(), 1, "{file:?}: {}", refused.body);
        assert!(refused.errors(field)[0].starts_with(says), "{}", refused.body);
    }
    let batch = json!({ "events": [{ "title": "A", "start": "1900-01-01" }] });
    assert_eq!(staff.post(BATCH, &batch).await.expect(201)["error_count"], json!(1));
}

#[tokio::test]
async fn what_is_there_already_is_skipped_and_said() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let file = "title,start\nA,2026-04-01\nB,2026-04-02\nA,2026-04-01\n";
    let message = |reply: &Reply| reply.expect(200)["message"].as_str().unwrap().to_owned();
    let first = import(&staff, "", file).await;
    assert_eq!(message(&first), "2 events were created; 1 was there already.");
    assert_eq!((&first.body["created_count"], &first.body["skipped_count"]), (&json!(2), &json!(1)));
    let again = import(&staff, "", file).await;
    assert_eq!(message(&again), "No event was created; 3 were there already.");
    let more =
        import(&staff, "?partial=true", format!("{file}C,2026-04-03\n,2026-04-04\nE,soon\nF,2026-04-31\nG,x\n")).await;
    let told = message(&more);
    assert!(
        told.starts_with(
            "1 event was created; 3 were there already; 4 rows were left out. Row 6 of the sheet, title: "
        ),
        "{told}"
    );
    assert!(told.contains("Row 8 of the sheet, start: ") && told.ends_with("There is 1 more fault."), "{told}");
    assert_eq!(message(&import(&staff, "", "title,start\nD,2026-04-01\n").await), "1 event was created.");
    assert_eq!(titles(&app).await, ["A", "B", "C", "D"]);
    // What was deleted is not there.
    let first = &first.body["events"][0]["id"];
    staff.delete(&at(EVENTS, first)).await.expect(204);
    assert_eq!(import(&staff, "", file).await.expect(200)["created_count"], json!(1));
}

#[tokio::test]
async fn a_dry_run_of_an_import_says_what_would_be_and_writes_nothing() {
    let forwards = [("N8N_IMPORT_WEBHOOK", "http://127.0.0.1:9/"), ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")];
    for settings in [vec![], forwards.to_vec()] {
        let app = TestApp::with(&settings).await;
        let staff = app.staff().await;
        let good = "title,start\nA,2026-04-01\n";
        let asked = import(&staff, "?dry_run=true", good).await;
        assert_eq!(asked.expect(200), &json!({ "ok": true, "status": 200, "reasons": [] }));
        let bad = "title,start,related_unit_id\nA,2026-04-01\nB,soon\nC,2026-04-01,987654\n";
        let asked = import(&staff, "?dry_run=true", bad).await;
        assert_eq!((&asked.expect(200)["ok"], &asked.body["status"]), (&json!(false), &json!(400)));
        let reason = &asked.body["reasons"][0];
        assert_eq!(reason["facts"], json!({ "row": 2, "sheet_row": 3, "field": "start" }));
        assert!(reason["detail"].as_str().unwrap().starts_with("Row 3 of the sheet, start: A date"), "{reason}");
        assert_eq!(asked.body["reasons"].as_array().unwrap().len(), 2);
        let asked = import(&staff, "?dry_run=true&partial=true", bad).await;
        assert_eq!(asked.expect(200)["ok"], json!(true));
        assert_eq!(import(&staff, "?dry_run=perhaps", good).await.errors("dry_run").len(), 1);
        assert_eq!(titles(&app).await, [""; 0]);
        let written = sqlx::query_scalar!(
            r#"select (select count(*) from audit_log) + (select count(*) from webhook_outbox) as "n!""#
        );
        assert_eq!(written.fetch_one(&app.db).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_event_for_a_unit_that_no_column_names_is_pointed_out() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    let file = format!(
        "title,start,visibility,related_unit_id\nA,2026-04-01,unit,\nB,2026-04-01,unit,{unit}\nC,2026-04-01,public,\n"
    );
    let done = import(&staff, "", file).await;
    let told = done.expect(200)["message"].as_str().unwrap();
    assert!(told.starts_with("3 events were created. No student sees the event of row 2 of the sheet: "), "{told}");
}

#[tokio::test]
async fn remarks_for_the_writer_are_kept_and_people_read_the_topic() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let file = "Event_Title,Event_Date,Content_Remarks,Channels\n\
                A,2026-04-01,Tone: respectful and clear; topic: the campus is closed on ANZAC Day,mail\n\
                B,2026-04-02,TONE : friendly ; Topic: Bring a pen!,\n\
                C,2026-04-03,Bring a pen; tone: none,\n\
                D,2026-04-04,Tone: friendly; topic: ,\n";
    let done = import(&staff, "", file).await;
    for (place, (description, remarks)) in [
        ("The campus is closed on ANZAC Day.", "Tone: respectful and clear; topic: the campus is closed on ANZAC Day"),
        ("Bring a pen!", "TONE : friendly ; Topic: Bring a pen!"),
        ("Bring a pen; tone: none", "Bring a pen; tone: none"),
        ("Tone: friendly; topic:", "Tone: friendly; topic:"),
    ]
    .into_iter()
    .enumerate()
    {
        let shown = staff.get(&at(EVENTS, &done.expect(200)["events"][place]["id"])).await;
        let shown = shown.expect(200);
        assert_eq!(shown["description"], json!(description));
        assert_eq!(shown["generation_meta"]["csv_meta"]["content_remarks"], json!(remarks));
    }
}

#[tokio::test]
async fn what_earlier_imports_kept_gets_the_names_that_the_client_reads() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = id_of(&staff.post(EVENTS, &json!({ "title": "A", "start": "2026-04-01" })).await);
    let kept = json!({ "by": "hand", "csv_meta": {
        "Notify_Rule": "3 days", "Channels": "mail", "Target_Audience": "Students", "Dept_Filter": "", "Assets_URL": "",
    } });
    let before = async || {
        let steps = migrate::status(&app.options()).await.unwrap();
        let since = steps.iter().filter(|step| step.version >= 20_260_101_000_910).count();
        migrate::revert(&app.options(), since).await.unwrap();
    };
    before().await;
    run(&app.db, format!("update events set generation_meta = '{kept}' where id = {id}")).await;
    let meta = async || {
        let sql = sqlx::query_scalar!("select generation_meta from events where id = $1", id.0);
        sql.fetch_one(&app.db).await.unwrap()
    };
    migrate::up(&app.options()).await.unwrap();
    let renamed = json!({ "by": "hand", "csv_meta": {
        "notify_rule": "3 days", "channels": "mail", "target_audience": "Students", "dept_filter": "", "assets_url": "",
        "source": "csv",
    } });
    assert_eq!(meta().await, renamed);
    before().await;
    assert_eq!(meta().await, kept);
}

#[tokio::test]
async fn events_of_one_import_count_as_created_in_the_order_of_their_starts() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    import(&staff, "", "title,start\nB,2026-04-02\nD,2026-04-04\nA,2026-04-01\nC,2026-04-03\n").await.expect(200);
    let by_creation =
        sqlx::query_scalar!("select title from events where created_at <= rule_now() order by created_at");
    assert_eq!(by_creation.fetch_all(&app.db).await.unwrap(), ["A", "B", "C", "D"]);
    assert_eq!(titles(&app).await, ["B", "D", "A", "C"], "ids in the order of the file");
}

#[tokio::test]
async fn each_row_of_a_batch_has_a_shape_of_its_own() {
    let app = TestApp::with(&[("TIME_ZONE", "UTC")]).await;
    let staff = app.staff().await;
    let batch = json!({ "events": [
        { "title": "A", "start": "2026-12-21T10:00:00+07:00" },
        { "Event_Title": "B", "Event_Date": "21/12/2026", "Start_Time": "9:00" },
        { "name": "C" },
        { "title": "", "start": null, "Event_Title": "D", "Event_Date": "22/12/2026" },
        { "title": ["E"], "start": "2026-12-21" },
        { "title": 2026, "start": "2026-12-23" },
    ] });
    let done = staff.post(BATCH, &batch).await;
    assert_eq!(
        (&done.expect(201)["created_count"], &done.body["error_count"]),
        (&json!(4), &json!(2)),
        "{}",
        done.body
    );
    let errors = done.body["errors"].as_array().unwrap();
    let named: Vec<(&Value, &Value)> = errors.iter().map(|error| (&error["row"], &error["field"])).collect();
    assert_eq!(named, [(&json!(3), &json!("row")), (&json!(5), &json!("title"))]);
    assert_eq!(titles(&app).await, ["A", "B", "D", "2026"]);
    let shown = staff.get(&at(EVENTS, &done.body["created_events"][1]["id"])).await;
    assert_eq!(shown.expect(200)["start"], json!("2026-12-21T09:00:00.000000Z"));
    assert_eq!(shown.body["generation_meta"]["csv_meta"]["source"], json!("webhook"));
}

#[tokio::test]
async fn columns_that_nothing_reads_are_told_and_refused_by_who_wants_it_strictly() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let strictly = staff.with("Prefer", "handling=strict");
    let file = "title,start,Descripton,room nr\nA,2026-04-01,x,y\nB,2026-04-02,x,y\n";
    let refused = import(&strictly, "", file).await;
    assert_eq!(refused.refusal(), (400, "invalid"));
    for column in ["descripton", "room nr"] {
        assert_eq!(refused.errors(column).len(), 1, "{}", refused.body);
    }
    assert_eq!(import(&strictly, "?dry_run=true", file).await.refusal(), (400, "invalid"));
    assert_eq!(titles(&app).await, Vec::<String>::new());

    let asked = import(&staff, "?dry_run=true", file).await;
    assert_eq!((asked.status.as_u16(), asked.header("X-Ignored-Fields")), (200, Some("descripton, room%20nr")));
    let done = import(&staff, "", file).await;
    assert_eq!(done.header("X-Ignored-Fields"), Some("descripton, room%20nr"));
    assert_eq!(
        done.expect(200)["message"],
        json!("2 events were created. The columns `descripton` and `room nr` were not read.")
    );
    // What stands without a name is no column, and what the shape has is read.
    let whole =
        import(&strictly, "", "title,start,description,end,location,visibility,related_unit_id,\nC,2026-04-03,,,,,,\n")
            .await;
    assert_eq!(whole.expect(200)["message"], json!("1 event was created."));
    let rich = "Event_Title,Event_Date,Start_Time,Location,Target_Audience,Notify_Rule,Channels,Dept_Filter,Content_Remarks,Assets_URL,\
                description\nD,2026-04-04,9:00,x,all,x,x,x,x,x,lost\n";
    assert_eq!(import(&staff, "", rich).await.header("X-Ignored-Fields"), Some("description"));

    let events = json!({ "events": [
        { "title": "E", "start": "2026-04-05", "colour": "red" },
        { "Event_Title": "F", "Event_Date": "2026-04-06", "colour": "red", "end": "2026-04-07" },
    ] });
    let refused = admin.with("Prefer", "handling=strict").post(BATCH, &events).await;
    assert_eq!((refused.status.as_u16(), refused.errors("events[0].colour").len()), (400, 1), "{}", refused.body);
    let done = admin.post(BATCH, &events).await;
    done.expect(201);
    assert_eq!(done.header("X-Ignored-Fields"), Some("events[0].colour, events[1].end"));
}
