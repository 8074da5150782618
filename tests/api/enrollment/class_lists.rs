//! Class lists.

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{NOW, OFFERINGS, at, faulty, run};
use crate::support::TestApp;

fn class(offering: Id) -> String {
    format!("{}students/", at(OFFERINGS, offering))
}

/// The enrolments of a list.
#[track_caller]
fn enrollments(list: &Value) -> Vec<Id> {
    list.as_array().unwrap().iter().map(|row| Id(row["enrollment"].as_i64().unwrap())).collect()
}

async fn instruct(app: &TestApp, offering: Id, person: Id) {
    let sql = format!(
        "insert into class_sessions (offering_id, date, start_time, instructor_id)
         values ({offering}, '2026-03-02', '09:00', {person})"
    );
    run(&app.db, sql).await;
}

#[tokio::test]
async fn a_class_list_shows_everyone_with_their_status_by_name() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let mut made = Vec::new();
    for (status, last, first) in [
        ("ENROLLED", "Zhou", "Amy"),
        ("WITHDRAWN", "Abel", "Zoe"),
        ("PENDING", "Abel", "Bo"),
        ("COMPLETED", "Moe", "Jo"),
        ("FAILED", "Moe", "Al"),
    ] {
        let student = app.student().await;
        let sql = format!("update users set last_name = '{last}', first_name = '{first}' where id = {}", student.id);
        run(&app.db, sql).await;
        made.push((student.id, app.enrollment(student.id, offering, status).await));
    }
    app.enrollment(app.student().await.id, app.offering(0).await, "ENROLLED").await;
    run(&app.db, format!("update enrollments set marks = 51.5 where id = {}", made[3].1)).await;

    let list = staff.get(&class(offering)).await;
    let wanted: Vec<Id> = [2, 1, 4, 3, 0].map(|place: usize| made[place].1).into();
    assert_eq!(enrollments(list.expect(200)), wanted);
    let (student, enrollment) = made[3];
    let number = sqlx::query_scalar!("select student_id from student_profiles where user_id = $1", student.0);
    let number = number.fetch_one(&app.db).await.unwrap();
    let wanted = json!({
        "enrollment": enrollment, "student": staff.get(&at("/api/users/users/", student)).await.expect(200),
        "student_number": number, "is_active": true, "status": "COMPLETED", "grade": "P", "marks": "51.50", "requested_at": NOW,
        "withdrawn_date": null, "completion_date": "2026-03-02", "updated_at": NOW,
    });
    assert_eq!(list.body[3], wanted);

    for (query, wanted) in [
        ("?status=PENDING", vec![2]),
        ("?search=moe%20jo", vec![3]),
        ("?ordering=-last_name,-first_name", vec![0, 3, 4, 1, 2]),
        ("?ordering=student_number", vec![0, 1, 2, 3, 4]),
    ] {
        let wanted: Vec<Id> = wanted.into_iter().map(|place: usize| made[place].1).collect();
        assert_eq!(enrollments(staff.get(&format!("{}{query}", class(offering))).await.expect(200)), wanted, "{query}");
    }
    let searched = staff.get(&format!("{}?search={number}", class(offering))).await;
    assert_eq!(enrollments(searched.expect(200)), [enrollment]);
    let refused = staff.get(&format!("{}?offering=1&format=pdf", class(offering))).await;
    assert_eq!(faulty(&refused), ["offering", "format"].map(str::to_owned).into());

    let mut page = staff.get(&format!("{}?page_size=2&count=true&format=json", class(offering))).await;
    assert_eq!(page.header("x-total-count"), Some("5"));
    let mut found = enrollments(page.expect(200));
    while let Some(next) = page.next_page() {
        page = staff.get(&next).await;
        found.extend(enrollments(page.expect(200)));
    }
    assert_eq!(found, enrollments(&list.body));
}

#[tokio::test]
async fn a_class_list_is_for_those_who_teach_the_class_and_staff() {
    let app = TestApp::start().await;
    let (convenor, tutor, ann, bob) =
        (app.convenor().await, app.student().await, app.student().await, app.student().await);
    let unit = app.unit_of(convenor.id).await;
    let (here, elsewhere) = (app.offering_of(unit, 0).await, app.offering(0).await);
    let colleague = app.convenor().await;
    instruct(&app, here, tutor.id).await;
    instruct(&app, elsewhere, colleague.id).await;
    for offering in [here, elsewhere] {
        app.enrollment(ann.id, offering, "ENROLLED").await;
    }
    for (name, person, sees) in [
        ("a student of the class", &ann, [false, false]),
        ("another student", &bob, [false, false]),
        ("a student who instructs", &tutor, [true, false]),
        ("the unit's convenor", &convenor, [true, false]),
        ("a convenor who instructs", &colleague, [false, true]),
        ("a parent", &app.parent().await, [false, false]),
        ("staff", &app.staff().await, [true, true]),
        ("auditor", &app.auditor().await, [true, true]),
        ("admin", &app.admin().await, [true, true]),
    ] {
        for (offering, sees) in [here, elsewhere].into_iter().zip(sees) {
            for query in ["", "?format=csv"] {
                let reply = person.get(&format!("{}{query}", class(offering))).await;
                let wanted = if sees { (200, "") } else { (403, "permission_denied") };
                assert_eq!(reply.refusal(), wanted, "{name}: {offering}{query}");
            }
        }
    }

    run(&app.db, "update class_sessions set deleted_at = rule_now()").await;
    for (person, offering) in [(&tutor, here), (&colleague, elsewhere)] {
        assert_eq!(person.get(&class(offering)).await.refusal(), (403, "permission_denied"));
    }
}

#[tokio::test]
async fn the_class_list_of_a_deleted_offering_is_gone() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let offering = app.offering(0).await;
    staff.get(&class(offering)).await.expect(200);
    run(&app.db, "update offerings set deleted_at = rule_now()").await;
    for path in [class(offering), class(Id(987_654))] {
        assert_eq!(staff.get(&path).await.refusal(), (404, "not_found"));
        assert_eq!(student.get(&path).await.refusal(), (404, "not_found"));
    }
}

#[tokio::test]
async fn a_deleted_enrolment_is_in_no_class_list() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let offering = app.offering(0).await;
    let kept = app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let gone = app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    run(&app.db, format!("update enrollments set deleted_at = rule_now() where id = {gone}")).await;
    assert_eq!(enrollments(staff.get(&class(offering)).await.expect(200)), [kept]);
    for format in ["json", "csv"] {
        let with_deleted = format!("{}?include_deleted=true&format={format}", class(offering));
        assert_eq!(staff.get(&with_deleted).await.refusal(), (403, "permission_denied"));
        admin.get(&with_deleted).await.expect(200);
    }
}

#[tokio::test]
async fn a_class_list_as_a_file_is_the_whole_class_and_no_formula() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    run(&app.db, format!("update units set code = 'COS 1' where id = {unit}")).await;
    let offering = app.offering_of(unit, 0).await;
    let mut made = Vec::new();
    for (status, last, first, number) in
        [("COMPLETED", "Ånn, \"A\"", "=cmd()", "@1"), ("PENDING", "-b", "\tB", "S-2"), ("ENROLLED", "C", "C", "S-3")]
    {
        let student = app.student().await;
        let sql = format!("update users set last_name = '{last}', first_name = '{first}' where id = {}", student.id);
        run(&app.db, sql).await;
        let sql = format!("update student_profiles set student_id = '{number}' where user_id = {}", student.id);
        run(&app.db, sql).await;
        made.push((app.enrollment(student.id, offering, status).await, student.id, student.email.clone()));
    }
    run(&app.db, "update enrollments set marks = 80 where status = 'COMPLETED'").await;

    let file = staff.get(&format!("{}?format=csv&page_size=1&ordering=student_number", class(offering))).await;
    file.expect(200);
    assert_eq!(file.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"class-COS_1-2026-S1.csv\""));
    assert_eq!(file.next_page(), None);
    let row = |place: usize, rest: &str| {
        let (enrollment, student, email) = &made[place];
        format!("{enrollment},{student},{}", rest.replace("EMAIL", email))
    };
    // The same moment where the campus is.
    let local = "2026-03-02 09:00:00";
    let wanted = [
        "\u{feff}enrollment,student,student_number,last_name,first_name,email,status,grade,marks,requested_at,withdrawn_date,\
         completion_date,is_active"
            .to_owned(),
        row(0, &format!("'@1,\"Ånn, \"\"A\"\"\",'=cmd(),EMAIL,COMPLETED,P,80.00,{local},,2026-03-02,true")),
        row(1, &format!("S-2,'-b,'\tB,EMAIL,PENDING,,,{local},,,true")),
        row(2, &format!("S-3,C,C,EMAIL,ENROLLED,,,{local},,,true")),
        String::new(),
    ];
    assert_eq!(String::from_utf8(file.bytes).unwrap(), wanted.join("\r\n"));

    let pending = staff.get(&format!("{}?format=csv&status=PENDING", class(offering))).await;
    assert_eq!(String::from_utf8(pending.bytes).unwrap().lines().count(), 2);
}
