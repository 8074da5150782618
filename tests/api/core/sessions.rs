//! Classes: when and where an offering meets, who is told when that changes, and what cannot be at one time.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::{ATTENDANCE, SESSIONS, everything, told};
use crate::academic::{NOW, OFFERINGS, at, faulty, id_of, run};
use crate::support::{Person, Reply, TestApp};

const GENERATE: &str = "/api/core/sessions/generate/";

/// A class on Monday 2026-03-09 from 9 to 11.
fn class(offering: Id) -> Value {
    json!({ "offering": offering, "date": "2026-03-09", "start_time": "09:00:00", "end_time": "11:00:00" })
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn add(staff: &Person, body: &Value) -> Id {
    id_of(&staff.post(SESSIONS, body).await)
}

async fn unit_code(app: &TestApp, offering: Id) -> String {
    let code = sqlx::query_scalar!(
        "select u.code from offerings o join units u on u.id = o.unit_id where o.id = $1",
        offering.0
    );
    code.fetch_one(&app.db).await.unwrap()
}

async fn unit_of(app: &TestApp, offering: Id) -> i64 {
    let unit = sqlx::query_scalar!("select unit_id from offerings where id = $1", offering.0);
    unit.fetch_one(&app.db).await.unwrap()
}

#[tokio::test]
async fn a_class_is_shown_with_all_its_fields() {
    let app = TestApp::start().await;
    let (staff, instructor) = (app.staff().await, app.convenor().await);
    let offering = app.offering(0).await;
    let audit = json!({
        "created_at": NOW, "updated_at": NOW, "created_by": staff.id, "updated_by": staff.id,
        "deleted_at": null, "is_deleted": false,
    });
    let least = json!({ "offering": offering.to_string(), "date": "2026-03-09", "start_time": "09:00" });
    let made = staff.post(SESSIONS, &least).await;
    let wanted = json!({
        "id": made.body["id"], "unit": unit_of(&app, offering).await, "offering": offering,
        "session_type": "lecture", "date": "2026-03-09", "start_time": "09:00:00", "end_time": null, "location": "",
        "instructor": null, "status": "scheduled", "series": null,
    });
    let wanted = with(wanted, &audit);
    assert_eq!(made.expect(201), &wanted);
    let path = at(SESSIONS, id_of(&made));
    assert_eq!(staff.get(&path).await.expect(200), &wanted);

    let more = json!({
        "session_type": "lab", "date": "2026-03-10", "start_time": "23:00:59", "end_time": "23:59:59",
        "location": "EN101", "instructor": instructor.id, "status": "cancelled",
    });
    let changed = staff.patch(&path, &with(more.clone(), &json!({ "unit": 987_654, "series": "x", "id": 1 }))).await;
    assert_eq!(changed.expect(200), &with(wanted.clone(), &more), "what is read-only is ignored");
    let replaced = staff.put(&path, &least).await;
    assert_eq!(replaced.expect(200), &wanted, "what is left out gets its default");
    app.check_invariants().await;
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_class_is_named() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let gone = app.student().await;
    run(&app.db, format!("update users set is_active = false where id = {}", gone.id)).await;
    let nothing = staff.post(SESSIONS, &json!({})).await;
    let required = ["date", "offering", "start_time"].map(str::to_owned);
    assert_eq!((nothing.refusal(), faulty(&nothing)), ((400, "invalid"), required.into()));
    for (field, value) in [
        ("offering", json!(987_654)),
        ("date", json!("2026-02-30")),
        ("date", json!("1899-12-31")),
        ("date", json!("+12026-03-09")),
        ("start_time", json!("24:00")),
        ("start_time", json!("08:59:60")),
        ("start_time", json!("08:00:00.5")),
        ("start_time", json!("8 o'clock")),
        ("start_time", json!("")),
        ("end_time", json!("09:00:00")),
        ("end_time", json!("08:00")),
        ("location", json!("x".repeat(256))),
        ("session_type", json!("seminar")),
        ("status", json!("moved")),
        ("instructor", json!(987_654)),
        ("instructor", json!(gone.id)),
    ] {
        let mut body = class(offering);
        body[field] = value;
        let refused = staff.post(SESSIONS, &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{body}");
    }
    let deleted = app.offering(0).await;
    staff.delete(&at(OFFERINGS, deleted)).await.expect(204);
    assert_eq!(faulty(&staff.post(SESSIONS, &class(deleted)).await), ["offering".to_owned()].into());
}

#[tokio::test]
async fn a_class_whose_instructor_has_left_can_still_be_changed() {
    let app = TestApp::start().await;
    let (staff, tutor) = (app.staff().await, app.student().await);
    let path = at(SESSIONS, add(&staff, &with(class(app.offering(0).await), &json!({ "instructor": tutor.id }))).await);
    run(&app.db, format!("update users set is_active = false where id = {}", tutor.id)).await;
    staff.patch(&path, &json!({ "location": "EN101" })).await.expect(200);
}

#[tokio::test]
async fn a_class_stays_in_its_offering() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let path = at(SESSIONS, add(&staff, &class(app.offering(0).await)).await);
    let refused = staff.patch(&path, &json!({ "offering": app.offering(0).await })).await;
    assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, ["offering".to_owned()].into()));
}

#[tokio::test]
async fn who_may_read_classes() {
    let app = TestApp::start().await;
    let (staff, convenor, tutor) = (app.staff().await, app.convenor().await, app.student().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let one = add(&staff, &class(offering)).await;
    let other_time = json!({ "start_time": "13:00", "end_time": null, "instructor": tutor.id });
    let two = add(&staff, &with(class(offering), &other_time)).await;
    let foreign = add(&staff, &class(app.offering(0).await)).await;

    let mut readers = vec![
        ("the convenor", convenor.clone(), true),
        ("who teaches it", tutor.clone(), true),
        ("another convenor", app.convenor().await, false),
        ("a stranger", app.student().await, false),
    ];
    for (status, reads) in
        [("PENDING", true), ("ENROLLED", true), ("COMPLETED", true), ("FAILED", true), ("WITHDRAWN", false)]
    {
        let student = app.student().await;
        app.enrollment(student.id, offering, status).await;
        readers.push((status, student, reads));
    }
    for (who, reader, reads) in &readers {
        assert_eq!(reader.get(SESSIONS).await.ids(), if *reads { vec![one, two] } else { vec![] }, "{who}");
        assert_eq!(reader.get(&at(SESSIONS, one)).await.status.as_u16(), if *reads { 200 } else { 404 }, "{who}");
        assert_eq!(reader.get(&at(SESSIONS, foreign)).await.refusal(), (404, "not_found"), "{who}");
    }
    for all in [&staff, &app.admin().await, &app.auditor().await] {
        assert_eq!(all.get(SESSIONS).await.ids(), [one, two, foreign]);
    }
    assert_eq!(app.parent().await.get(SESSIONS).await.refusal(), (403, "permission_denied"));
    assert_eq!(app.anonymous().get(SESSIONS).await.refusal(), (401, "not_authenticated"));

    staff.delete(&at(SESSIONS, two)).await.expect(204);
    assert!(tutor.get(SESSIONS).await.ids().is_empty(), "a class that is gone makes no teacher");
}

#[tokio::test]
async fn who_may_write_classes() {
    let app = TestApp::start().await;
    let (staff, convenor, colleague) = (app.staff().await, app.convenor().await, app.convenor().await);
    let (own, foreign) = (app.offering_of(app.unit_of(convenor.id).await, 0).await, app.offering(0).await);
    let student = app.student().await;
    app.enrollment(student.id, own, "ENROLLED").await;
    let path = at(SESSIONS, add(&staff, &with(class(own), &json!({ "instructor": colleague.id }))).await);
    let absent = at(SESSIONS, add(&staff, &class(foreign)).await);
    let before = everything(&app).await;
    let change = json!({ "location": "EN101" });
    let weekly = json!({
        "offering": own, "weekday": 1, "start_time": "15:00", "first_date": "2026-03-09", "last_date": "2026-03-20",
    });
    let strangers = [&student, &app.parent().await, &app.auditor().await, &colleague];
    for stranger in strangers {
        for refused in [
            stranger.post(SESSIONS, &class(own)).await,
            stranger.put(&path, &class(own)).await,
            stranger.patch(&path, &change).await,
            stranger.delete(&path).await,
            stranger.post(GENERATE, &weekly).await,
            stranger.post(&format!("{GENERATE}?dry_run=true"), &weekly).await,
        ] {
            assert_eq!(refused.refusal(), (403, "permission_denied"), "{}", stranger.user_type);
        }
    }
    assert_eq!(convenor.post(SESSIONS, &class(foreign)).await.refusal(), (403, "permission_denied"));
    assert_eq!(convenor.patch(&absent, &change).await.refusal(), (404, "not_found"));
    assert_eq!(convenor.patch(&path, &json!({ "offering": foreign })).await.refusal(), (403, "permission_denied"));
    let elsewhere = with(weekly.clone(), &json!({ "offering": foreign }));
    assert_eq!(convenor.post(GENERATE, &elsewhere).await.refusal(), (403, "permission_denied"));
    assert_eq!(convenor.post_bare(&format!("{path}restore/")).await.refusal(), (403, "permission_denied"));
    assert_eq!(everything(&app).await, before);

    for body in [json!({}), json!({ "offering": 987_654 })] {
        assert!(!convenor.post(SESSIONS, &body).await.errors("offering").is_empty(), "{body} says what is missing");
    }
    convenor.patch(&path, &change).await.expect(200);
    convenor.put(&path, &class(own)).await.expect(200);
    convenor.post(GENERATE, &weekly).await.expect(201);
    convenor.delete(&path).await.expect(204);
    convenor.post(SESSIONS, &class(own)).await.expect(201);
}

#[tokio::test]
async fn who_sits_in_a_class_is_told_when_it_moves_or_is_cancelled() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let code = unit_code(&app, offering).await;
    let mut told_ones = vec![];
    for status in ["PENDING", "ENROLLED", "COMPLETED", "FAILED", "WITHDRAWN"] {
        let student = app.student().await;
        app.enrollment(student.id, offering, status).await;
        if ["PENDING", "ENROLLED"].contains(&status) {
            told_ones.push(student.id);
        }
    }
    let id = add(&staff, &with(class(offering), &json!({ "location": "EN101" }))).await;
    let path = at(SESSIONS, id);
    let quiet = json!({ "session_type": "tutorial", "instructor": staff.id, "status": "scheduled" });
    staff.patch(&path, &quiet).await.expect(200);
    assert_eq!(told(&app).await, json!([]), "it is where and when it was");

    let mut wanted = vec![];
    let first = "Mon 2026-03-09 09:00-11:00, EN101";
    for (change, verb, what) in [
        (json!({ "location": "EN102" }), "Class moved", format!("from {first} to Mon 2026-03-09 09:00-11:00, EN102")),
        (
            json!({ "location": "", "end_time": null }),
            "Class moved",
            "from Mon 2026-03-09 09:00-11:00, EN102 to Mon 2026-03-09 09:00".to_owned(),
        ),
        (
            json!({ "date": "2026-03-10", "start_time": "10:30" }),
            "Class moved",
            "from Mon 2026-03-09 09:00 to Tue 2026-03-10 10:30".to_owned(),
        ),
        (json!({ "status": "cancelled", "date": "2026-03-11" }), "Class cancelled", "Tue 2026-03-10 10:30".to_owned()),
        (json!({ "date": "2026-03-12" }), "", String::new()),
        (json!({ "status": "scheduled" }), "Class reinstated", "Thu 2026-03-12 10:30".to_owned()),
    ] {
        staff.patch(&path, &change).await.expect(200);
        if !verb.is_empty() {
            for student in &told_ones {
                wanted.push(json!([student, staff.id, verb, format!("{code} tutorial: {what}."), id]));
            }
        }
        assert_eq!(told(&app).await, json!(wanted), "{change}");
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn a_move_that_cannot_be_told_does_not_happen() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let path = at(SESSIONS, add(&staff, &class(offering)).await);
    let broken = "create function fail() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
                  create trigger fail before insert on notifications for each row execute function fail()";
    sqlx::raw_sql(broken).execute(&app.db).await.unwrap();
    let before = everything(&app).await;
    assert_eq!(staff.patch(&path, &json!({ "location": "EN101" })).await.status.as_u16(), 500);
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn a_room_and_an_instructor_have_one_class_at_a_time() {
    let app = TestApp::start().await;
    let (staff, tutor, other) = (app.staff().await, app.student().await, app.student().await);
    let (offering, foreign) = (app.offering(0).await, app.offering(0).await);
    let there = with(class(offering), &json!({ "location": "EN101", "instructor": tutor.id }));
    let id = add(&staff, &there).await;
    let code = unit_code(&app, offering).await;
    let clash = |what: &str| {
        json!({
            "date": "2026-03-09", "what": what, "session": id, "unit_code": code,
            "start_time": "09:00:00", "end_time": "11:00:00",
        })
    };
    let (room, instructor) = (json!({ "location": " en101 " }), json!({ "instructor": tutor.id }));
    for (change, clashes) in [
        (room.clone(), vec![clash("room")]),
        (instructor.clone(), vec![clash("instructor")]),
        (json!({ "location": "EN101", "instructor": tutor.id }), vec![clash("room"), clash("instructor")]),
        (with(room.clone(), &json!({ "start_time": "10:59", "end_time": "12:00" })), vec![clash("room")]),
        (with(room.clone(), &json!({ "start_time": "08:00", "end_time": "09:00:01" })), vec![clash("room")]),
        (with(room.clone(), &json!({ "start_time": "09:30", "end_time": "10:00" })), vec![clash("room")]),
        (with(room.clone(), &json!({ "start_time": "09:00", "end_time": null })), vec![clash("room")]),
        (with(room.clone(), &json!({ "start_time": "10:59:59", "end_time": null })), vec![clash("room")]),
        (with(room.clone(), &json!({ "start_time": "11:00", "end_time": null })), vec![]),
        (with(room.clone(), &json!({ "start_time": "08:59", "end_time": null })), vec![]),
        (with(room.clone(), &json!({ "start_time": "11:00", "end_time": "12:00" })), vec![]),
        (with(room.clone(), &json!({ "start_time": "08:00", "end_time": "09:00" })), vec![]),
        (with(instructor, &json!({ "date": "2026-03-10" })), vec![]),
        (with(room, &json!({ "status": "cancelled" })), vec![]),
        (json!({ "location": "EN102", "instructor": other.id }), vec![]),
        (json!({ "location": "" }), vec![]),
    ] {
        let reply = staff.post(SESSIONS, &with(class(foreign), &change)).await;
        if clashes.is_empty() {
            staff.delete(&at(SESSIONS, id_of(&reply))).await.expect(204);
        } else {
            assert_eq!(reply.refusal(), (409, "clash"), "{change}");
            assert_eq!(reply.body["clashes"], json!(clashes), "{change}");
        }
    }
    // In the way of itself is nothing, and two without a room are not in one.
    staff.patch(&at(SESSIONS, id), &json!({ "end_time": "10:30" })).await.expect(200);
    add(&staff, &class(foreign)).await;
    add(&staff, &class(foreign)).await;
    // Nor are those that meet in no room at all.
    add(&staff, &with(class(foreign), &json!({ "location": "Online" }))).await;
    add(&staff, &with(class(foreign), &json!({ "location": " online" }))).await;
    app.check_invariants().await;
}

#[tokio::test]
async fn a_clash_says_who_is_in_the_way() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (offering, tutor) = (app.offering(0).await, app.student().await);
    let body = with(class(offering), &json!({ "location": "EN101", "instructor": tutor.id }));
    add(&staff, &body).await;
    let code = unit_code(&app, offering).await;
    let reply = staff.post(SESSIONS, &body).await;
    let detail =
        format!("The room EN101 is taken by {code} on Mon 2026-03-09 09:00-11:00. Clashes beside this one: 1.");
    assert_eq!(reply.expect(409)["detail"], json!(detail));
    let reply = staff.post(SESSIONS, &with(body, &json!({ "location": "" }))).await;
    let detail = format!("The instructor is taken by {code} on Mon 2026-03-09 09:00-11:00.");
    assert_eq!(reply.expect(409)["detail"], json!(detail));
}

#[tokio::test]
async fn a_class_does_not_come_back_or_move_into_anothers_way() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let offering = app.offering(0).await;
    let body = with(class(offering), &json!({ "location": "EN101" }));
    let gone = at(SESSIONS, add(&staff, &body).await);
    staff.delete(&gone).await.expect(204);
    let cancelled = at(SESSIONS, add(&staff, &with(body.clone(), &json!({ "status": "cancelled" }))).await);
    let later = at(SESSIONS, add(&staff, &with(body.clone(), &json!({ "date": "2026-03-10" }))).await);
    let there = at(SESSIONS, add(&staff, &body).await);
    let before = everything(&app).await;

    assert_eq!(admin.post_bare(&format!("{gone}restore/")).await.refusal(), (409, "cannot_be_restored"));
    assert_eq!(staff.patch(&cancelled, &json!({ "status": "scheduled" })).await.refusal(), (409, "clash"));
    assert_eq!(staff.patch(&later, &json!({ "date": "2026-03-09" })).await.refusal(), (409, "clash"));
    assert_eq!(staff.put(&later, &body).await.refusal(), (409, "clash"));
    assert_eq!(everything(&app).await, before);

    staff.patch(&there, &json!({ "location": "EN102" })).await.expect(200);
    admin.post_bare(&format!("{gone}restore/")).await.expect(200);
    app.check_invariants().await;
}

/// A rival's request, halfway: the name is held as the server holds it, and the class is written but not committed.
async fn rival(app: &TestApp, name: &str, class: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut halfway = app.transaction().await;
    let held = sqlx::query!("select pg_advisory_xact_lock(hashtextextended('classes: ' || $1, 0))", name);
    held.execute(&mut *halfway).await.unwrap();
    let columns = "offering_id, date, start_time, end_time, location, instructor_id";
    run(&mut *halfway, format!("insert into class_sessions ({columns}) values ({class})")).await;
    halfway
}

#[tokio::test]
async fn of_two_who_want_a_room_or_an_instructor_at_once_one_gets_it() {
    let app = TestApp::start().await;
    let (staff, tutor) = (app.staff().await, app.student().await);
    let (offering, foreign) = (app.offering(0).await, app.offering(0).await);
    let there = add(&staff, &with(class(offering), &json!({ "date": "2026-03-10" }))).await;
    let weekly = json!({
        "offering": offering, "weekday": "Mon", "start_time": "10:00", "end_time": "12:00",
        "first_date": "2026-03-09", "last_date": "2026-03-09",
    });
    let names = [
        ("the room en101".to_owned(), json!({ "location": "EN101" }), "room"),
        (format!("the instructor {}", tutor.id), json!({ "instructor": tutor.id }), "instructor"),
    ];
    for (name, more, what) in names {
        for way in ["create", "generate", "change"] {
            let written = format!("{foreign}, '2026-03-09', '09:00', '11:00', 'EN101', {}", tutor.id);
            let halfway = rival(&app, &name, &written).await;
            let request = async || match way {
                "create" => staff.post(SESSIONS, &with(class(offering), &more)).await,
                "generate" => staff.post(GENERATE, &with(weekly.clone(), &more)).await,
                _ => staff.patch(&at(SESSIONS, there), &with(json!({ "date": "2026-03-09" }), &more)).await,
            };
            let (reply, ()) = tokio::join!(request(), async {
                app.until_someone_waits().await;
                halfway.commit().await.unwrap();
            });
            assert_eq!(reply.refusal(), (409, "clash"), "{way}");
            assert_eq!(reply.body["clashes"][0]["what"], json!(what), "{way}");
            run(&app.db, "update class_sessions set deleted_at = rule_now() where location = 'EN101'").await;
        }
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn whatever_writes_cannot_put_two_classes_into_one_place() {
    let app = TestApp::start().await;
    let tutor = app.student().await;
    let offering = app.offering(0).await;
    let columns = "offering_id, date, start_time, end_time, location, instructor_id, status";
    let add = async |place: &str, status: &str| {
        let sql =
            format!("insert into class_sessions ({columns}) values ({offering}, '2026-03-09', {place}, '{status}')");
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&app.db).await;
        let constraint = done.err().map(|error| error.as_database_error().unwrap().constraint().unwrap().to_owned());
        constraint.unwrap_or_default()
    };
    let tutor = tutor.id;
    for (place, status, refused_by) in [
        (format!("'09:00', '11:00', 'EN101', {tutor}"), "scheduled", ""),
        ("'10:00', '12:00', ' en101', null".to_owned(), "scheduled", "class_sessions_share_no_room"),
        ("'10:00', null, 'EN101', null".to_owned(), "scheduled", "class_sessions_share_no_room"),
        (format!("'09:00', null, '', {tutor}"), "scheduled", "class_sessions_share_no_instructor"),
        (format!("'09:00', '11:00', 'EN101', {tutor}"), "cancelled", ""),
        (format!("'11:00', null, 'EN101', {tutor}"), "scheduled", ""),
        (format!("'11:00', null, '', {tutor}"), "scheduled", "class_sessions_share_no_instructor"),
        ("'09:00', '11:00', ' ', null".to_owned(), "scheduled", ""),
        ("'09:00', '11:00', ' ', null".to_owned(), "scheduled", ""),
    ] {
        assert_eq!(add(&place, status).await, refused_by, "{place} {status}");
    }
}

fn weekly(offering: Id) -> Value {
    json!({
        "offering": offering, "weekday": "Mon", "start_time": "09:00", "end_time": "11:00",
        "first_date": "2026-03-02", "last_date": "2026-03-31", "except": ["2026-03-16", "2026-03-17"],
        "session_type": "tutorial", "location": "EN101",
    })
}

fn dates(reply: &Reply) -> Vec<&str> {
    reply.expect(201)["sessions"].as_array().unwrap().iter().map(|one| one["date"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_classes_of_a_week_are_made_in_one_go() {
    let app = TestApp::start().await;
    let (staff, tutor) = (app.staff().await, app.student().await);
    let offering = app.offering(0).await;
    let made = staff.post(GENERATE, &with(weekly(offering), &json!({ "instructor": tutor.id }))).await;
    assert_eq!(dates(&made), ["2026-03-02", "2026-03-09", "2026-03-23", "2026-03-30"]);
    assert_eq!(made.body["created_count"], json!(4));
    let series = made.body["series"].as_str().unwrap();
    assert_eq!(series.len(), 36);
    let wanted = json!({
        "id": made.body["sessions"][0]["id"], "unit": unit_of(&app, offering).await, "offering": offering,
        "session_type": "tutorial", "date": "2026-03-02", "start_time": "09:00:00", "end_time": "11:00:00",
        "location": "EN101", "instructor": tutor.id, "status": "scheduled", "series": series,
        "created_at": NOW, "updated_at": NOW, "created_by": staff.id, "updated_by": staff.id,
        "deleted_at": null, "is_deleted": false,
    });
    assert_eq!(made.body["sessions"][0], wanted);
    assert_eq!(staff.get(SESSIONS).await.expect(200), &made.body["sessions"], "they are all there is");
    assert_eq!(told(&app).await, json!([]));
    let audited = sqlx::query_scalar!(r#"select count(*) as "n!" from audit_log where action = 'generate'"#);
    assert_eq!(audited.fetch_one(&app.db).await.unwrap(), 4);

    // The next series is another one.
    let again = staff.post(GENERATE, &with(weekly(offering), &json!({ "weekday": 5 }))).await;
    assert_ne!(again.expect(201)["series"], made.body["series"]);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_weekday_is_a_number_or_a_name() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let week = json!({ "first_date": "2026-03-02", "last_date": "2026-03-08", "location": "" });
    for (weekday, date) in [
        (json!(1), "2026-03-02"),
        (json!(7), "2026-03-08"),
        (json!("3"), "2026-03-04"),
        (json!("Thu"), "2026-03-05"),
        (json!("saturday"), "2026-03-07"),
    ] {
        let pattern = with(with(weekly(offering), &week), &json!({ "weekday": weekday }));
        assert_eq!(dates(&staff.post(GENERATE, &pattern).await), [date], "{weekday}");
    }
    for weekday in [json!(0), json!(8), json!("Someday"), json!(""), json!(true), json!(null)] {
        let refused = staff.post(GENERATE, &with(weekly(offering), &json!({ "weekday": weekday }))).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, ["weekday".to_owned()].into()), "{weekday}");
    }
}

#[tokio::test]
async fn a_pattern_must_be_plausible() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let nothing = staff.post(GENERATE, &json!({})).await;
    let required = ["first_date", "last_date", "offering", "start_time", "weekday"].map(str::to_owned);
    assert_eq!((nothing.refusal(), faulty(&nothing)), ((400, "invalid"), required.into()));
    for (change, field) in [
        (json!({ "offering": 987_654 }), "offering"),
        (json!({ "end_time": "09:00" }), "end_time"),
        (json!({ "first_date": "2026-04-01" }), "last_date"),
        (json!({ "first_date": "2026-01-30", "last_date": "2027-01-31" }), "last_date"),
        (json!({ "last_date": "9999-12-31" }), "last_date"),
        (json!({ "first_date": "2026-03-17", "last_date": "2026-03-22" }), "weekday"),
        (json!({ "first_date": "2026-03-16", "last_date": "2026-03-16" }), "weekday"),
        (json!({ "instructor": 987_654 }), "instructor"),
        (json!({ "location": "x".repeat(256) }), "location"),
        (json!({ "except": ["Easter"] }), "except[0]"),
    ] {
        for path in [GENERATE.to_owned(), format!("{GENERATE}?dry_run=true")] {
            let refused = staff.post(&path, &with(weekly(offering), &change)).await;
            assert!(refused.status == 400 && faulty(&refused).contains(field), "{change}: {}", refused.body);
        }
    }
    assert!(staff.get(SESSIONS).await.ids().is_empty());
    let year = json!({ "first_date": "2026-01-31", "last_date": "2027-01-31" });
    let year = staff.post(GENERATE, &with(weekly(offering), &year)).await;
    assert_eq!(year.expect(201)["created_count"], json!(51), "366 days, but one Monday");
}

#[tokio::test]
async fn a_pattern_that_clashes_makes_no_class_at_all() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (offering, foreign) = (app.offering(0).await, app.offering(0).await);
    let mut ids = vec![];
    for (date, start) in [("2026-03-09", "10:00:00"), ("2026-03-16", "10:00:00"), ("2026-03-30", "08:00:00")] {
        let there = json!({ "offering": foreign, "date": date, "start_time": start, "location": "EN101" });
        ids.push(add(&staff, &with(there, &json!({ "end_time": "12:00:00" }))).await);
    }
    let code = unit_code(&app, foreign).await;
    let clash = |date: &str, session: Id, start: &str| {
        json!({
            "date": date, "what": "room", "session": session, "unit_code": code, "start_time": start,
            "end_time": "12:00:00",
        })
    };
    let clashes = json!([clash("2026-03-09", ids[0], "10:00:00"), clash("2026-03-30", ids[2], "08:00:00")]);
    let reason = |clash: &Value, time: &str| json!({ "code": "clash", "detail": format!("The room EN101 is taken by {code} on {time}."), "facts": clash });
    let times = ["Mon 2026-03-09 10:00-12:00", "Mon 2026-03-30 08:00-12:00"];
    let reasons = json!([reason(&clashes[0], times[0]), reason(&clashes[1], times[1])]);
    let before = everything(&app).await;
    let refused = staff.post(GENERATE, &weekly(offering)).await;
    assert_eq!(refused.refusal(), (409, "clash"));
    assert_eq!(refused.body["clashes"], clashes);
    let asked = staff.post(&format!("{GENERATE}?dry_run=true"), &weekly(offering)).await;
    assert_eq!(asked.expect(200), &json!({ "ok": false, "status": 409, "reasons": reasons }));
    let free = with(weekly(offering), &json!({ "location": "EN102" }));
    let asked = staff.post(&format!("{GENERATE}?dry_run=true"), &free).await;
    assert_eq!(asked.expect(200), &json!({ "ok": true, "status": 201, "reasons": [] }));
    assert_eq!(everything(&app).await, before);
    staff.post(GENERATE, &free).await.expect(201);
}

#[tokio::test]
async fn a_key_makes_a_series_once() {
    let app = TestApp::start().await;
    let staff = app.staff().await.with("Idempotency-Key", "once");
    let offering = app.offering(0).await;
    let first = staff.post(GENERATE, &weekly(offering)).await;
    assert_eq!(staff.post(GENERATE, &weekly(offering)).await.expect(201), first.expect(201));
    assert_eq!(staff.get(SESSIONS).await.ids().len(), 4);
}

#[tokio::test]
async fn a_class_in_which_somebody_is_marked_is_not_deleted() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let student = app.student().await;
    app.enrollment(student.id, offering, "ENROLLED").await;
    let id = add(&staff, &class(offering)).await;
    let mark = json!({ "session": id, "student": student.id, "status": "excused" });
    let record = at(ATTENDANCE, id_of(&staff.post(ATTENDANCE, &mark).await));
    let refused = staff.delete(&at(SESSIONS, id)).await;
    assert_eq!(refused.refusal(), (409, "still_referred_to"));
    assert_eq!(refused.body["counts"], json!({ "attendance_records": 1 }));
    staff.delete(&record).await.expect(204);
    staff.delete(&at(SESSIONS, id)).await.expect(204);
    // And the record does not come back into a class that is gone.
    let refused = app.admin().await.post_bare(&format!("{record}restore/")).await;
    assert_eq!(refused.refusal(), (409, "cannot_be_restored"));
    app.check_invariants().await;
}

#[tokio::test]
async fn classes_are_filtered_and_ordered() {
    let app = TestApp::start().await;
    let (staff, tutor) = (app.staff().await, app.student().await);
    let (one, other) = (app.offering(0).await, app.offering(0).await);
    let mut ids = vec![];
    for (offering, date, start, more) in [
        (one, "2026-03-10", "09:00", json!({ "instructor": tutor.id })),
        (one, "2026-03-09", "11:00", json!({ "status": "cancelled" })),
        (other, "2026-03-09", "09:00", json!({ "session_type": "lab" })),
    ] {
        let body = json!({ "offering": offering, "date": date, "start_time": start });
        ids.push(add(&staff, &with(body, &more)).await);
    }
    for (query, wanted) in [
        (String::new(), vec![0, 1, 2]),
        ("?ordering=date,start_time".to_owned(), vec![2, 1, 0]),
        ("?ordering=-date".to_owned(), vec![0, 2, 1]),
        (format!("?offering={one}"), vec![0, 1]),
        (format!("?unit={}", unit_of(&app, other).await), vec![2]),
        ("?date_from=2026-03-10".to_owned(), vec![0]),
        ("?date_to=2026-03-09".to_owned(), vec![1, 2]),
        ("?date_from=2026-03-09&date_to=2026-03-09&status=scheduled".to_owned(), vec![2]),
        (format!("?instructor={}", tutor.id), vec![0]),
        ("?session_type=lab".to_owned(), vec![2]),
    ] {
        let wanted: Vec<Id> = wanted.into_iter().map(|index: usize| ids[index]).collect();
        assert_eq!(staff.get(&format!("{SESSIONS}{query}")).await.ids(), wanted, "{query}");
    }
    for (query, field) in [("date_from=soon", "date_from"), ("status=moved", "status"), ("room=EN101", "room")] {
        assert_eq!(faulty(&staff.get(&format!("{SESSIONS}?{query}")).await), [field.to_owned()].into(), "{query}");
    }
    let first = format!("{SESSIONS}?ordering=date,start_time&page_size=1");
    assert_eq!(crate::academic::all_pages(&staff, &first, async || ()).await, [ids[2], ids[1], ids[0]]);
}
