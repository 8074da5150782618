//! The list of students that the app's audience picker asks for once, and pages through no further.

use serde_json::Value;

use crate::academic::run;
use crate::support::{Reply, TestApp};

const USERS: &str = "/api/users/users/";

/// Puts so many students there, numbered from 1, each with this biography.
async fn add_students(app: &TestApp, many: usize, bio: &str) {
    let sql = format!(
        "insert into users (email, username, password_hash, user_type, first_name, last_name, bio)
         select 'many' || n || '@swin.edu.au', 'many' || n, 'x', 'student', 'Many', 'Student ' || n, {bio}
           from generate_series(1, {many}) n"
    );
    run(&app.db, sql).await;
}

fn rows(reply: &Reply) -> &Vec<Value> {
    reply.expect(200).as_array().unwrap()
}

#[tokio::test]
async fn whoever_sees_everyone_gets_all_students_at_once_unless_they_ask_for_pages() {
    let app = TestApp::start().await;
    let (student, parent) = (app.student().await, app.parent().await);
    add_students(&app, 700, "''").await;
    for person in [app.staff().await, app.convenor().await, app.auditor().await, app.admin().await] {
        let who = &person.user_type;
        let all = person.get(&format!("{USERS}?user_type=student&count=true")).await;
        assert_eq!(
            (rows(&all).len(), all.header("x-total-count"), all.header("link")),
            (701, Some("701"), None),
            "{who}"
        );
        assert!(rows(&all).iter().all(|row| row["user_type"] == "student"), "{who}");
        let found = rows(&all).iter().any(|row| row["email"] == "many690@swin.edu.au");
        assert!(found, "the one behind the first 500 is there for {who}");
        // Narrowed and ordered it is as whole.
        let ordered = person.get(&format!("{USERS}?user_type=student&ordering=-username&search=many")).await;
        assert_eq!((rows(&ordered).len(), &rows(&ordered)[0]["username"]), (700, &"many99".into()), "{who}");

        // Whoever asks for pages gets pages, and so does every other list.
        let page = person.get(&format!("{USERS}?user_type=student&page_size=600")).await;
        assert_eq!(rows(&page).len(), 600, "{who}");
        let next = page.header("link").unwrap().split_once("/api/").unwrap().1.split_once('>').unwrap().0.to_owned();
        assert_eq!(rows(&person.get(&format!("/api/{next}")).await).len(), 101, "{who}");
        for other in ["", "?is_active=true", "?search=many"] {
            let page = person.get(&format!("{USERS}{other}")).await;
            assert_eq!(rows(&page).len(), 500, "{who} {other}");
            assert!(page.header("link").is_some(), "{who} {other}");
        }
    }
    for (person, own) in [(&student, 1), (&parent, 0)] {
        let seen = person.get(&format!("{USERS}?user_type=student")).await;
        assert_eq!(rows(&seen).len(), own, "{} sees no other student", person.user_type);
    }
}

#[tokio::test]
async fn even_a_list_of_all_students_has_a_bound_behind_which_it_goes_on() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    // Rows of 20 kB: the bytes end the list long before the rows do.
    add_students(&app, 1500, "repeat('b', 20000)").await;
    let first = staff.get(&format!("{USERS}?user_type=student")).await;
    let many = rows(&first).len();
    assert!((1200..1300).contains(&many), "{many} rows");
    assert!((24 << 20..(24 << 20) + 30_000).contains(&first.bytes.len()), "{} bytes", first.bytes.len());
    let next = first.header("link").unwrap().split_once("/api/").unwrap().1.split_once('>').unwrap().0.to_owned();
    let rest = staff.get(&format!("/api/{next}")).await;
    assert_eq!(many + rows(&rest).len(), 1500);
}
