//! Achievements: what is earned, when, and that it is earned once.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::{Value, json};
use swincms::ids::Id;

use super::{ACHIEVEMENTS, EARNED, account, convenor_of, go, parent_of};
use crate::academic::{at, faulty, id_of};
use crate::support::{Person, Reply, TestApp, Upload};

async fn achievement(staff: &Person, name: &str, points: i64) -> Id {
    id_of(&staff.post(ACHIEVEMENTS, &json!({ "name": name, "points_required": points })).await)
}

/// Who has earned what, with how many points, in its order.
async fn earned(app: &TestApp) -> Vec<(i64, i64, i64)> {
    let sql =
        sqlx::query!("select student_id, achievement_id, points_at_earning from student_achievements order by id");
    let rows = sql.fetch_all(&app.db).await.unwrap();
    rows.into_iter().map(|row| (row.student_id, row.achievement_id, row.points_at_earning)).collect()
}

async fn told(app: &TestApp) -> Vec<(i64, String)> {
    let sql = sqlx::query!("select recipient_id, verb, description from notifications order by id");
    let rows = sql.fetch_all(&app.db).await.unwrap();
    rows.into_iter().map(|row| (row.recipient_id, format!("{}: {}", row.verb, row.description))).collect()
}

#[tokio::test]
async fn staff_write_achievements_and_everybody_reads_them() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let made =
        staff.post(ACHIEVEMENTS, &json!({ "name": "Helper", "points_required": 10, "description": "Helps" })).await;
    let id = id_of(&made);
    let expected = json!({
        "id": id, "name": "Helper", "description": "Helps", "points_required": 10, "badge_image": null, "is_active": true,
        "created_at": "2026-03-02T02:00:00.000000Z", "updated_at": "2026-03-02T02:00:00.000000Z",
    });
    assert_eq!(made.body, expected);
    for who in [&ann, &app.parent().await, &app.auditor().await, &app.convenor().await] {
        assert_eq!(who.get(&at(ACHIEVEMENTS, id)).await.expect(200), &expected);
        assert_eq!(who.get(&format!("{ACHIEVEMENTS}?search=help&is_active=true")).await.ids(), [id]);
        let other = json!({ "name": "Other", "points_required": 1 });
        assert_eq!(who.post(ACHIEVEMENTS, &other).await.refusal(), (403, "permission_denied"));
        assert_eq!(who.delete(&at(ACHIEVEMENTS, id)).await.refusal(), (403, "permission_denied"));
    }
    assert_eq!(app.anonymous().get(ACHIEVEMENTS).await.refusal(), (401, "not_authenticated"));

    assert_eq!(
        faulty(&staff.post(ACHIEVEMENTS, &json!({})).await).into_iter().collect::<Vec<_>>(),
        ["name", "points_required"]
    );
    for points in [json!(0), json!(-1), json!(1_i64 << 53), json!("x")] {
        let wrong = staff.post(ACHIEVEMENTS, &json!({ "name": "Other", "points_required": points })).await;
        assert_eq!((wrong.refusal(), wrong.errors("points_required").len()), ((400, "invalid"), 1), "{points}");
    }
    let taken = staff.post(ACHIEVEMENTS, &json!({ "name": "HELPER", "points_required": 1 })).await;
    assert_eq!((taken.refusal(), taken.errors("name").len()), ((409, "already_taken"), 1));
}

#[tokio::test]
async fn an_achievement_is_granted_once_when_the_points_are_reached() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let id = account(&app, ann.id).await;
    let (low, high) = (achievement(&staff, "Low", 10).await, achievement(&staff, "High", 20).await);
    let off = achievement(&staff, "Off", 1).await;
    staff.patch(&at(ACHIEVEMENTS, off), &json!({ "is_active": false })).await.expect(200);
    go(&staff, id, "award", 9).await.expect(200);
    assert!(earned(&app).await.is_empty());
    // What was spent still counts.
    go(&staff, id, "deduct", 9).await.expect(200);
    go(&staff, id, "award", 1).await.expect(200);
    assert_eq!(earned(&app).await, [(ann.id.0, low.0, 10)]);
    go(&staff, id, "award", 15).await.expect(200);
    go(&staff, id, "award", 15).await.expect(200);
    assert_eq!(earned(&app).await, [(ann.id.0, low.0, 10), (ann.id.0, high.0, 25)]);
    assert_eq!(
        told(&app).await,
        [
            (ann.id.0, "Achievement earned: Low, with 10 points.".to_owned()),
            (ann.id.0, "Achievement earned: High, with 25 points.".to_owned())
        ]
    );
    let audited = sqlx::query_scalar!(
        r#"select count(*) as "n!" from audit_log where action = 'grant' and resource_type = 'student_achievement'"#
    );
    assert_eq!(audited.fetch_one(&app.db).await.unwrap(), 2);
    app.check_invariants().await;
}

#[tokio::test]
async fn who_has_the_points_gets_an_achievement_that_is_new_lowered_switched_on_or_restored() {
    let app = TestApp::start().await;
    let (staff, admin, ann, bob) = (app.staff().await, app.admin().await, app.student().await, app.student().await);
    go(&staff, account(&app, ann.id).await, "award", 50).await.expect(200);
    go(&staff, account(&app, bob.id).await, "award", 5).await.expect(200);
    let new = achievement(&staff, "New", 40).await;
    let lowered = achievement(&staff, "Lowered", 60).await;
    staff.patch(&at(ACHIEVEMENTS, lowered), &json!({ "points_required": 50 })).await.expect(200);
    let off = json!({ "name": "Off", "points_required": 1, "is_active": false });
    let off = id_of(&staff.post(ACHIEVEMENTS, &off).await);
    assert_eq!(earned(&app).await, [(ann.id.0, new.0, 50), (ann.id.0, lowered.0, 50)]);
    staff.delete(&at(ACHIEVEMENTS, off)).await.expect(204);
    staff.put(&at(ACHIEVEMENTS, new), &json!({ "name": "New", "points_required": 30 })).await.expect(200);
    let restore = format!("{}restore/", at(ACHIEVEMENTS, off));
    assert_eq!(staff.post_bare(&restore).await.refusal(), (403, "permission_denied"));
    admin.post_bare(&restore).await.expect(200);
    assert_eq!(earned(&app).await.len(), 2, "it is not active");
    staff.patch(&at(ACHIEVEMENTS, off), &json!({ "is_active": true })).await.expect(200);
    assert_eq!(earned(&app).await[2..], [(ann.id.0, off.0, 50), (bob.id.0, off.0, 5)]);
    assert_eq!(told(&app).await.len(), 4);

    // Somebody has earned it: it can be switched off, but not deleted.
    let refused = staff.delete(&at(ACHIEVEMENTS, off)).await;
    assert_eq!(
        (refused.refusal(), &refused.body["counts"]),
        ((409, "still_referred_to"), &json!({ "student_achievements": 2 }))
    );
    app.check_invariants().await;

    let gone = achievement(&staff, "Gone", 1000).await;
    staff.delete(&at(ACHIEVEMENTS, gone)).await.expect(204);
    go(&staff, account(&app, ann.id).await, "award", 1000).await.expect(200);
    assert_eq!(earned(&app).await.len(), 4, "what is deleted is not granted");
    admin.post_bare(&format!("{}restore/", at(ACHIEVEMENTS, gone))).await.expect(200);
    assert_eq!(earned(&app).await[4..], [(ann.id.0, gone.0, 1050)]);
}

#[tokio::test]
async fn nobody_is_missed_when_an_award_and_a_new_achievement_meet() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    // An award, halfway: it has seen which achievements there are.
    let mut halfway = app.transaction().await;
    sqlx::query!("select pg_advisory_xact_lock_shared(hashtextextended('social.achievements', 0))")
        .fetch_one(&mut *halfway)
        .await
        .unwrap();
    let awarding = sqlx::query!(
        "with account as (update gold_accounts set current_balance = 50, lifetime_earned = 50, last_seq = 1
                           where student_id = $1 returning student_id)
         insert into gold_transactions (student_id, seq, amount, transaction_type, reason, balance_after)
         select student_id, 1, 50, 'AWARD', 'Fair', 50 from account",
        ann.id.0
    );
    awarding.execute(&mut *halfway).await.unwrap();
    let (new, ()) = tokio::join!(achievement(&staff, "New", 40), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(earned(&app).await, [(ann.id.0, new.0, 50)]);

    // And the other way round: an achievement, halfway.
    let mut halfway = app.transaction().await;
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('social.achievements', 0))")
        .fetch_one(&mut *halfway)
        .await
        .unwrap();
    let making =
        sqlx::query_scalar!("insert into achievements (name, points_required) values ('Next', 60) returning id");
    let next = making.fetch_one(&mut *halfway).await.unwrap();
    let id = account(&app, ann.id).await;
    let (awarded, ()) = tokio::join!(go(&staff, id, "award", 10), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    awarded.expect(200);
    assert_eq!(earned(&app).await[1..], [(ann.id.0, next, 60)]);
    app.check_invariants().await;
}

#[tokio::test]
async fn what_was_earned_is_seen_as_gold_is_and_what_is_taken_back_is_not_granted_again() {
    let app = TestApp::start().await;
    let (staff, admin, ann, bob) = (app.staff().await, app.admin().await, app.student().await, app.student().await);
    let low = achievement(&staff, "Low", 10).await;
    for student in [&ann, &bob] {
        go(&staff, account(&app, student.id).await, "award", 10).await.expect(200);
    }
    let convenor = convenor_of(&app, &ann, "ENROLLED").await;
    let mine = ann.get(EARNED).await;
    let id = mine.ids()[0];
    let expected = json!({
        "id": id, "student": ann.id, "achievement": low, "earned_at": "2026-03-02T02:00:00.000000Z", "points_at_earning": 10,
    });
    assert_eq!(mine.body, json!([expected]));
    let my = format!("{ACHIEVEMENTS}my/");
    assert_eq!(ann.get(&my).await.expect(200), &json!([expected]));
    assert_eq!(staff.get(&my).await.expect(200), &json!([]));
    for who in [&convenor, &parent_of(&app, &ann, "gold").await] {
        assert_eq!(who.get(EARNED).await.ids(), [id], "{}", who.user_type);
        assert_eq!(who.get(&my).await.expect(200), &json!([]));
    }
    assert_eq!(app.auditor().await.get(&format!("{EARNED}?achievement={low}&count=true")).await.ids().len(), 2);
    assert_eq!(staff.get(&format!("{EARNED}?student={}", ann.id)).await.ids(), [id]);
    let foreign = bob.get(EARNED).await.ids()[0];
    assert_eq!(ann.get(&at(EARNED, foreign)).await.refusal(), (404, "not_found"));
    assert_eq!(
        staff.post(EARNED, &json!({ "student": ann.id, "achievement": low })).await.refusal(),
        (405, "method_not_allowed")
    );
    for who in [&ann, &convenor, &app.auditor().await] {
        assert_eq!(who.delete(&at(EARNED, id)).await.refusal(), (403, "permission_denied"), "{}", who.user_type);
    }

    staff.delete(&at(EARNED, id)).await.expect(204);
    go(&staff, account(&app, ann.id).await, "award", 10).await.expect(200);
    staff.patch(&at(ACHIEVEMENTS, low), &json!({ "points_required": 5 })).await.expect(200);
    assert_eq!(ann.get(EARNED).await.ids(), []);
    let restore = format!("{}restore/", at(EARNED, id));
    assert_eq!(staff.post_bare(&restore).await.refusal(), (403, "permission_denied"));
    assert_eq!(admin.post_bare(&restore).await.expect(200), &expected);
    assert_eq!(ann.get(EARNED).await.ids(), [id]);
    // Not when the achievement itself is gone.
    for one in [id, foreign] {
        staff.delete(&at(EARNED, one)).await.expect(204);
    }
    staff.delete(&at(ACHIEVEMENTS, low)).await.expect(204);
    assert_eq!(admin.post_bare(&restore).await.refusal(), (409, "cannot_be_restored"));
    app.check_invariants().await;
}

fn png() -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(RgbImage::new(4, 4)).write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}

#[tokio::test]
async fn a_badge_is_a_public_picture_and_another_takes_its_place() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let id = achievement(&staff, "Low", 10).await;
    let path = format!("{}badge_image/", at(ACHIEVEMENTS, id));
    let send =
        async |who: &Person, bytes: Vec<u8>| -> Reply { who.upload(&path, Upload::of("file", "b.png", bytes)).await };
    assert_eq!(send(&ann, png()).await.refusal(), (403, "permission_denied"));
    assert_eq!(send(&staff, b"%PDF-1.4".to_vec()).await.errors("file").len(), 1);
    let nowhere = staff.upload(&format!("{ACHIEVEMENTS}99/badge_image/"), Upload::of("file", "b.png", png())).await;
    assert_eq!(nowhere.refusal(), (404, "not_found"));
    let first = send(&staff, png()).await.expect(200)["badge_image"].as_str().unwrap().to_owned();
    assert_eq!(ann.get(&at(ACHIEVEMENTS, id)).await.expect(200)["badge_image"], json!(first));
    assert_eq!(app.anonymous().get(&first).await.header("content-type"), Some("image/png"));
    // Written without it, it stays.
    staff
        .put(&at(ACHIEVEMENTS, id), &json!({ "name": "Low", "points_required": 11, "badge_image": null }))
        .await
        .expect(200);
    let second = send(&staff, png()).await.expect(200)["badge_image"].clone();
    assert_ne!(second, Value::String(first.clone()));
    assert_eq!(app.anonymous().get(&first).await.status, 404);
    assert_eq!(app.anonymous().get(second.as_str().unwrap()).await.status, 200);
    app.check_invariants().await;
}
