//! The leaderboard.

use serde_json::json;

use super::{account, go};
use crate::support::{Person, TestApp};

const BOARD: &str = "/api/social/leaderboard/";

async fn opt_in(app: &TestApp, person: &Person, first: &str, last: &str) {
    let sql = sqlx::query!(
        "update users set leaderboard_opt_in = true, first_name = $2, last_name = $3 where id = $1",
        person.id.0,
        first,
        last
    );
    sql.execute(&app.db).await.unwrap();
}

#[tokio::test]
async fn it_shows_the_names_of_those_who_want_it_by_what_they_earned() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut students = Vec::new();
    for (name, amount) in [("Ann", 20), ("Bob", 50), ("Cid", 20), ("Dot", 70), ("Eve", 0), ("", 90), ("Gus", 95)] {
        let student = app.student().await;
        opt_in(&app, &student, name, if name.is_empty() { "" } else { "Lee" }).await;
        if amount > 0 {
            go(&staff, account(&app, student.id).await, "award", amount).await.expect(200);
        }
        students.push(student);
    }
    // What is spent still counts; who has not asked for it, or is gone, is not shown.
    go(&staff, account(&app, students[1].id).await, "deduct", 50).await.expect(200);
    let hidden = [("leaderboard_opt_in", students[3].id), ("is_active", students[6].id)];
    for (column, id) in hidden {
        crate::academic::run(&app.db, format!("update users set {column} = false where id = {id}")).await;
    }

    let place = |rank: i64, name: &str, earned: i64, is_me: bool| json!({ "rank": rank, "name": name, "lifetime_earned": earned, "is_me": is_me });
    let board = students[2].get(BOARD).await;
    let expected =
        json!([place(1, "Bob Lee", 50, false), place(2, "Ann Lee", 20, false), place(2, "Cid Lee", 20, true)]);
    assert_eq!(board.expect(200), &expected);
    assert_eq!(students[2].get(&format!("{BOARD}?page_size=2")).await.expect(200).as_array().unwrap().len(), 2);
    for who in [&app.parent().await, &app.auditor().await, &staff, &app.convenor().await] {
        assert_eq!(who.get(BOARD).await.expect(200)[0], expected[0]);
    }
    assert_eq!(app.anonymous().get(BOARD).await.refusal(), (401, "not_authenticated"));
    for query in ["page_size=0", "page_size=101", "page_size=x", "cursor=1"] {
        assert_eq!(staff.get(&format!("{BOARD}?{query}")).await.refusal(), (400, "invalid"), "{query}");
    }

    // One leaves it by oneself, at once.
    students[1].patch("/api/users/users/update_profile/", &json!({ "leaderboard_opt_in": false })).await.expect(200);
    assert_eq!(staff.get(BOARD).await.expect(200)[0], place(1, "Ann Lee", 20, false));
}
