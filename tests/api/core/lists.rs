//! What holds for every list of this domain: its pages lead to the end whatever comes and goes, and a parameter that it
//! does not have is refused by name.

use swincms::ids::Id;

use crate::academic::{all_pages, run, whole};
use crate::support::TestApp;

/// A list, its table, and the row that goes into it; `{n}` is another number for each.
const LISTS: [(&str, &str, &str); 11] = [
    ("events", "events", "(title, start) values ('Event {n}', timestamptz '2026-03-02' + interval '1 minute' * {n})"),
    (
        "sessions",
        "class_sessions",
        "(offering_id, date, start_time) values ({offering}, date '2026-03-02' + {n}, '09:00')",
    ),
    (
        "attendance",
        "attendance_records",
        "(session_id, student_id, status) select max(id), {user}, 'present' from class_sessions where date = date '2026-03-02' + {n}",
    ),
    ("tickets", "tickets", "(title, submitter_id) values ('Ticket {n}', {user})"),
    (
        "ticket-comments",
        "ticket_comments",
        "(ticket_id, commenter_id, comment) select min(id), {user}, 'No {n}' from tickets where deleted_at is null",
    ),
    ("forms", "forms", "(name, slug) values ('Form {n}', 'form-{n}')"),
    ("notifications", "notifications", "(recipient_id, verb) values ({reader}, 'No {n}')"),
    ("pages", "pages", "(title, slug, published) values ('Page {n}', 'page-{n}', true)"),
    (
        "submissions",
        "form_submissions",
        "(form_id, version, submitter_id, data) select max(form_id), 1, {user}, '{n}' from form_versions",
    ),
    ("resources", "resources", "(title, file_id, uploaded_by_id) values ('Guide {n}', {file}, {user})"),
    ("media", "media_assets", "(file_id, uploaded_by_id) values ({file}, {user})"),
];

#[tokio::test]
async fn pages_lead_to_the_end_without_gap_or_repeat_while_rows_come_and_go() {
    let app = TestApp::start().await;
    let (reader, student) = (app.admin().await, app.student().await);
    let offering = app.offering(0).await;
    app.enrollment(student.id, offering, "ENROLLED").await;
    run(
        &app.db,
        "insert into stored_files (name, sha256, size, content_type, public)
         values ('ab/cd.txt', sha256(''), 0, 'text/plain', true)",
    )
    .await;
    let file = sqlx::query_scalar!(r#"select max(id) as "id!" from stored_files"#).fetch_one(&app.db).await.unwrap();
    let mut number = 0;
    for (list, table, row) in LISTS {
        let mut add = async || {
            number += 1;
            let row = row
                .replace("{n}", &number.to_string())
                .replace("{offering}", &offering.to_string())
                .replace("{user}", &student.id.to_string())
                .replace("{reader}", &reader.id.to_string())
                .replace("{file}", &file.to_string());
            if table == "attendance_records" {
                let class = format!(
                    "insert into class_sessions (offering_id, date, start_time) values ({offering}, date '2026-03-02' + {number}, '11:00')"
                );
                run(&app.db, class).await;
            }
            let version = "insert into form_versions (form_id, version, schema) select id, 1, '{}'::jsonb from made";
            let sql = match table {
                "forms" => format!("with made as (insert into forms {row} returning id) {version}"),
                _ => format!("insert into {table} {row}"),
            };
            run(&app.db, sql).await;
        };
        for _ in 0..7 {
            add().await;
        }
        let path = format!("/api/core/{list}/");
        let there: Vec<Id> = reader.get(&path).await.ids();
        assert!(there.len() >= 7, "{list}: {}", there.len());
        let found = all_pages(&reader, &format!("{path}?page_size=2"), async || {
            // One comes and goes, one comes and stays.
            add().await;
            run(
                &app.db,
                format!("update {table} set deleted_at = rule_now() where id = (select max(id) from {table})"),
            )
            .await;
            add().await;
        })
        .await;
        whole(&found, &there);
        let odd = reader.get(&format!("{path}?colour=red")).await;
        assert_eq!((odd.status.as_u16(), odd.errors("colour").len()), (400, 1), "{list}");
        let odd = reader.get(&format!("{path}?ordering=colour")).await;
        assert_eq!((odd.status.as_u16(), odd.errors("ordering").len()), (400, 1), "{list}");
    }
}
