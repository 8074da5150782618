//! The demo data: whoever logs in with an account of the demo finds something on each page of the app.

use serde_json::{Value, json};

use crate::cli::swincms;
use crate::support::{Sender, TestApp};

async fn log_in(app: &TestApp, name: &str) -> Sender {
    let body = json!({ "email": format!("{name}@swin.edu.au"), "password": "demo-Lantern-42" });
    let tokens = app.anonymous().post("/api/token/", &body).await.expect(200).clone();
    app.anonymous().with("Authorization", format!("Bearer {}", tokens["access"].as_str().unwrap()))
}

async fn list(person: &Sender, path: &str) -> Vec<Value> {
    person.get(path).await.expect(200).as_array().unwrap_or_else(|| panic!("{path} is no list")).clone()
}

const ENROLLMENTS: &str = "/api/enrollment/enrollments/";
const TRANSCRIPTS: &str = "/api/enrollment/transcripts/";
const APPROVALS: &str = "/api/enrollment/approvals/";
const EVENTS: &str = "/api/core/events/";
const SESSIONS: &str = "/api/core/sessions/";
const ATTENDANCE: &str = "/api/core/attendance/";
const NOTIFICATIONS: &str = "/api/core/notifications/";
const GOLD: &str = "/api/social/social-gold/";
const TRANSACTIONS: &str = "/api/social/transactions/";

#[tokio::test]
async fn every_page_shows_something_to_every_account_of_the_demo() {
    let app = TestApp::start().await;
    swincms(&app, &["seed"]).await.good();
    app.check_invariants().await;
    let all = [ENROLLMENTS, TRANSCRIPTS, EVENTS, SESSIONS, ATTENDANCE, NOTIFICATIONS, GOLD, TRANSACTIONS];
    let parent = [ENROLLMENTS, TRANSCRIPTS, EVENTS, ATTENDANCE, NOTIFICATIONS, GOLD, TRANSACTIONS];
    for (name, pages) in [
        ("student", &all[..]),
        ("student2", &[ENROLLMENTS, EVENTS, NOTIFICATIONS, GOLD, TRANSACTIONS]),
        ("student12", &[ENROLLMENTS, EVENTS, NOTIFICATIONS, GOLD, TRANSACTIONS]),
        ("parent", &parent),
        ("convenor", &all),
        ("convenor2", &all),
        ("staff", &all),
        ("auditor", &all),
        ("admin", &all),
    ] {
        let person = log_in(&app, name).await;
        for page in pages {
            assert!(!list(&person, page).await.is_empty(), "{name} finds nothing on {page}");
        }
        if matches!(name, "convenor" | "convenor2" | "staff" | "admin") {
            let teaching = person.get("/api/enrollment/enrollments/teaching/").await.expect(200).clone();
            assert!(!teaching["classes"].as_array().unwrap().is_empty(), "{name} teaches nothing");
        }
        if matches!(name, "convenor" | "convenor2" | "staff" | "admin") {
            assert!(!list(&person, APPROVALS).await.is_empty(), "nobody waits for {name}");
        }
    }
}

#[tokio::test]
async fn a_second_run_leaves_the_picture_alone() {
    let app = TestApp::start().await;
    swincms(&app, &["seed"]).await.good();
    let student = log_in(&app, "student").await;
    let before = student.get("/api/users/users/me/").await.body["profile_image"].clone();
    swincms(&app, &["seed"]).await.good();
    assert_eq!(student.get("/api/users/users/me/").await.body["profile_image"], before);
    let files = std::fs::read_dir(app.folder().join("media/public")).unwrap().count();
    assert_eq!(files, 1, "no picture is left behind");
}

#[tokio::test]
async fn the_student_of_the_demo_has_one_of_each() {
    let app = TestApp::start().await;
    swincms(&app, &["seed"]).await.good();
    let student = log_in(&app, "student").await;
    let dashboard = student.get("/api/enrollment/enrollments/dashboard/").await.expect(200).clone();
    for what in ["total_completed", "total_failed", "current_enrolled", "pending_approval", "available_count"] {
        assert!(dashboard["statistics"][what].as_i64().unwrap() > 0, "{what}");
    }
    let cards = dashboard["offering_cards"].as_array().unwrap();
    assert!(
        cards.iter().any(|card| card["attendance_summary"]["present"].as_i64() > Some(0)),
        "nobody saw the student"
    );
    let statuses = |rows: &[Value], field: &str| rows.iter().map(|row| row[field].clone()).collect::<Vec<_>>();
    let marks = statuses(&list(&student, ATTENDANCE).await, "status");
    assert!(["present", "late", "absent"].iter().all(|status| marks.contains(&json!(status))), "{marks:?}");
    let entries = list(&student, TRANSACTIONS).await;
    let kinds = statuses(&entries, "transaction_type");
    assert!(["AWARD", "BONUS", "DEDUCT"].iter().all(|kind| kinds.contains(&json!(kind))), "{kinds:?}");
    let account = list(&student, GOLD).await;
    let sum: i64 = entries.iter().map(|entry| entry["amount"].as_i64().unwrap()).sum();
    assert_eq!(account[0]["current_balance"], json!(sum));
    assert_eq!(list(&student, "/api/social/achievements/my/").await.len(), 2);
    assert_eq!(list(&student, "/api/social/achievements/").await.len(), 3, "one is still to be reached");

    // The picture is served, and is what an upload would have become.
    let me = student.get("/api/users/users/me/").await.expect(200).clone();
    let address = me["profile_image"].as_str().expect("a picture").replace(app.base(), "");
    let picture = app.anonymous().get(&address).await;
    assert_eq!((picture.status.as_u16(), picture.header("content-type")), (200, Some("image/png")), "{address}");
    let drawn = image::load_from_memory(&picture.bytes).expect("a picture");
    assert_eq!((drawn.width(), drawn.height()), (256, 256));
    assert!(picture.bytes.len() < 20_000, "{} bytes", picture.bytes.len());
    let notices = statuses(&list(&student, NOTIFICATIONS).await, "unread");
    assert!(notices.contains(&json!(true)) && notices.contains(&json!(false)));

    // One sees what is for all, for one's class, and for oneself; texts once they are confirmed.
    let events = list(&student, EVENTS).await;
    for title in ["Industry Night: Meet Your Future Employer", "Scholarship Interview", "Campus Open Day"] {
        assert!(events.iter().any(|event| event["title"] == title), "{title}");
    }
    assert!(events.iter().all(|event| event["title"] != "Teaching Staff Meeting"));
    assert!(events.iter().any(|event| event["generated_content"]["social_post"].is_string()));
    let staff = log_in(&app, "staff").await;
    let events = list(&staff, EVENTS).await;
    let made = statuses(&events, "generation_status");
    assert!(["idle", "ready", "failed"].iter().all(|status| made.contains(&json!(status))), "{made:?}");
    assert!(events.iter().any(|event| event["generation_meta"]["csv_meta"].is_object()));
    assert!(events.iter().any(|event| event["generation_meta"]["confirmed_by"] == "staff@swin.edu.au"));
    assert!(events.iter().all(|event| !event["description"].as_str().unwrap().contains("Tone:")));
}
