//! Awarding to many by a file.

use serde_json::{Value, json};

use super::{convenor_of, has};
use crate::support::{Person, Reply, TestApp, Upload};

const IMPORT: &str = "/api/social/transactions/import-csv/";

async fn import(who: &Person, query: &str, file: impl Into<Vec<u8>>) -> Reply {
    who.upload(&format!("{IMPORT}{query}"), Upload::of("file", "gold.csv", file)).await
}

#[tokio::test]
async fn students_are_named_by_id_address_or_number_and_get_all_that_stands_there() {
    let app = TestApp::start().await;
    let (ann, bob, eve) = (app.student().await, app.student().await, app.student().await);
    let staff = app.staff().await;
    sqlx::query!("update student_profiles set student_id = 'X-77' where user_id = $1", eve.id.0)
        .execute(&app.db)
        .await
        .unwrap();
    let file = format!(
        "\u{feff}Student;AMOUNT;reason;details;transaction_type;colour\r\n\
         {};5;Fair;\"Tent; 4\";;red\r\n\
         ;;;;;\r\n\
         {};7;Fair;;bonus\r\n\
         X-77;100000;Prize\r\n\
         {};1;More\r\n",
        ann.id,
        bob.email.to_uppercase(),
        ann.email
    );
    let done = import(&staff, "", file.clone()).await;
    let message = json!("4 awards were made. The column `colour` was not read.");
    assert_eq!((&done.expect(201)["created_count"], &done.body["message"]), (&json!(4), &message));
    assert_eq!(done.header("X-Ignored-Fields"), Some("colour"));
    let made = done.body["transactions"].as_array().unwrap();
    let of = |place: usize| {
        let one: &Value = &made[place];
        (one["row"].clone(), one["student_id"].clone(), one["new_balance"].clone())
    };
    assert_eq!(of(0), (json!(1), json!(ann.id), json!(5)));
    assert_eq!(of(1), (json!(3), json!(bob.id), json!(7)));
    assert_eq!(of(2), (json!(4), json!(eve.id), json!(100_000)));
    assert_eq!(of(3), (json!(5), json!(ann.id), json!(6)));
    let entry = staff.get(&format!("/api/social/transactions/{}/", made[1]["transaction_id"])).await;
    assert_eq!(
        (&entry.expect(200)["transaction_type"], &entry.body["awarded_by"]["id"]),
        (&json!("BONUS"), &json!(staff.id))
    );
    assert_eq!(has(&app, ann.id).await, (6, 6));
    app.check_invariants().await;

    // The same file under one key is taken once.
    let once = staff.with("Idempotency-Key", "march");
    for _ in 0..2 {
        once.upload(&format!("{IMPORT}?allow_repeats=true"), Upload::of("data", "gold.csv", file.clone()))
            .await
            .expect(201);
    }
    assert_eq!(has(&app, ann.id).await, (12, 12));
}

#[tokio::test]
async fn a_broken_row_keeps_all_out_and_every_fault_is_named() {
    let app = TestApp::start().await;
    let (ann, bob, staff) = (app.student().await, app.student().await, app.staff().await);
    // A number that is also somebody's id means nobody in particular.
    sqlx::query!("update student_profiles set student_id = $2 where user_id = $1", bob.id.0, ann.id.to_string())
        .execute(&app.db)
        .await
        .unwrap();
    let file = format!(
        "student,amount,reason,details,transaction_type\n\
         {},5,Fair\n\
         nobody@example.edu,0,\n\
         ,x,Fair,,DEDUCT\n\
         {},1,Fair\n\
         {},1,Fair,,,,more\n\
         {},1,Fair\n",
        bob.email, ann.id, bob.email, staff.id
    );
    let named = [
        "rows[2].student",
        "rows[2].amount",
        "rows[2].reason",
        "rows[3].student",
        "rows[3].amount",
        "rows[3].transaction_type",
        "rows[4].student",
        "rows[5].row",
        "rows[6].student",
    ];
    let refused = import(&staff, "", file.clone()).await;
    assert_eq!(refused.refusal(), (400, "invalid"));
    for field in named {
        assert_eq!(refused.errors(field).len(), 1, "{field}: {}", refused.body);
    }
    assert_eq!(refused.body["row_errors"].as_array().unwrap().len(), named.len());
    assert!(refused.errors("rows[4].student")[0].contains("several"));
    let says = "5 rows break a rule, so nothing was awarded. Row 3 of the sheet, amount: A whole number from 1 to 100000 is expected. \
                Row 3 of the sheet, reason: This field is required and may not be blank. Row 3 of the sheet, student: There is \
                no student `nobody@example.edu` whom you may award gold to. There are 6 more faults.";
    assert_eq!(refused.body["detail"], json!(says));

    let asked = import(&staff, "?dry_run=true", file).await;
    assert_eq!((&asked.expect(200)["ok"], &asked.body["status"]), (&json!(false), &json!(400)));
    assert_eq!(asked.body["reasons"].as_array().unwrap().len(), named.len());
    let good = format!("student,amount,reason\n{},5,Fair\n", bob.email);
    let asked = import(&staff, "?dry_run=true", good).await;
    assert_eq!(asked.expect(200), &json!({ "ok": true, "status": 201, "reasons": [] }));
    assert_eq!((has(&app, ann.id).await, has(&app, bob.id).await), ((0, 0), (0, 0)));
    for file in ["student,amount\n1,2", "student,amount,reason\n", "", "\u{0}", "a,b"] {
        assert_eq!(import(&staff, "", file).await.errors("file").len(), 1, "{file:?}");
    }
}

#[tokio::test]
async fn convenors_award_by_file_to_students_of_their_units_and_others_not_at_all() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.student().await, app.student().await);
    let convenor = convenor_of(&app, &ann, "ENROLLED").await;
    let row = |who: &Person| format!("student,amount,reason\n{},5,Fair\n", who.email);
    import(&convenor, "", row(&ann)).await.expect(201);
    let (foreign, nobody) =
        (import(&convenor, "", row(&bob)).await, import(&convenor, "", "student,amount,reason\nx@y,5,Fair").await);
    assert_eq!((foreign.refusal(), nobody.refusal()), ((400, "invalid"), (400, "invalid")));
    assert_eq!(
        foreign.errors("rows[1].student")[0].replace(&bob.email, "x@y"),
        nobody.errors("rows[1].student")[0],
        "who is not one's own and who is not there look alike"
    );
    for who in [&ann, &app.parent().await, &app.auditor().await] {
        assert_eq!(import(who, "", row(&ann)).await.refusal(), (403, "permission_denied"), "{}", who.user_type);
    }
    assert_eq!((has(&app, ann.id).await, has(&app, bob.id).await), ((5, 5), (0, 0)));
}

#[tokio::test]
async fn a_column_that_stands_twice_awards_nothing() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    for header in
        ["student,amount,reason,amount", "student,amount,reason,Amount ", "Student,amount,reason,\u{a0}AMOUNT"]
    {
        let refused = import(&staff, "", format!("{header}\n{},50,Open day,5000\n", ann.email)).await;
        assert_eq!(refused.refusal(), (400, "invalid"), "{header}");
        assert!(refused.errors("file")[0].contains("`amount` stands twice"), "{}", refused.body);
    }
    assert_eq!(has(&app, ann.id).await, (0, 0));
}

#[tokio::test]
async fn what_stands_twice_or_was_awarded_lately_is_awarded_again_only_when_that_is_said() {
    let app = TestApp::start().await;
    let (ann, bob, staff) = (app.student().await, app.student().await, app.staff().await);
    // The same student by two names.
    let twice = format!(
        "student,amount,reason\n{},50,Open day\n{},20,Open day\n{},50,Open day\n",
        ann.email, bob.email, ann.id
    );
    let refused = import(&staff, "", twice.clone()).await;
    assert_eq!(refused.refusal(), (400, "invalid"));
    assert!(refused.errors("rows[3].row")[0].contains("the same as row 2 of the sheet"), "{}", refused.body);
    let asked = import(&staff, "?dry_run=true", twice.clone()).await;
    assert_eq!((&asked.expect(200)["ok"], &asked.body["reasons"][0]["facts"]["sheet_row"]), (&json!(false), &json!(4)));
    assert_eq!(has(&app, ann.id).await, (0, 0));
    import(&staff, "?allow_repeats=true", twice).await.expect(201);
    assert_eq!(has(&app, ann.id).await, (100, 100));

    let again = format!("student,amount,reason\n{},20,Open day\n{},20,Fair\n", bob.email, bob.email);
    let refused = import(&staff, "", again.clone()).await;
    assert_eq!(refused.body["row_errors"].as_array().unwrap().len(), 1, "{}", refused.body);
    assert!(refused.errors("rows[1].row")[0].contains("exactly this on 2 March 2026"), "{}", refused.body);
    import(&app.staff().await, "", again.clone()).await.expect(201);
    app.set_time("2026-04-02T02:00:00Z").await;
    import(&staff.new_session(&app).await, "", again).await.expect(201);
    assert_eq!(has(&app, bob.id).await, (100, 100));
}

#[tokio::test]
async fn the_same_file_sent_twice_at_once_is_awarded_once() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    let file = format!("student,amount,reason\n{},50,Open day\n", ann.email);
    let (one, two) = tokio::join!(import(&staff, "", file.clone()), import(&staff, "", file.clone()));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!((statuses, has(&app, ann.id).await), ([201, 400], (50, 50)));
}

#[tokio::test]
async fn a_number_that_lost_its_letters_is_nobodys_id() {
    let app = TestApp::start().await;
    let (ann, staff) = (app.student().await, app.staff().await);
    for spelt in [format!("{:07}", ann.id.0), format!("0{}", ann.id), format!("'{}", ann.id), format!("{}.0", ann.id)] {
        let refused = import(&staff, "", format!("student,amount,reason\n{spelt},50,Open day\n")).await;
        assert!(refused.errors("rows[1].student")[0].contains("There is no student"), "{spelt}: {}", refused.body);
    }
    assert_eq!(staff.get(&format!("/api/users/users/0{}/", ann.id)).await.status.as_u16(), 404);
    import(&staff, "", format!("student,amount,reason\n{},50,Open day\n", ann.id)).await.expect(201);
    assert_eq!(has(&app, ann.id).await, (50, 50));
}
