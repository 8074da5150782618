//! Attendance: who marks whom, who sees it, who hears of it, and what it sums up to.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::{ATTENDANCE, SESSIONS, everything};
use crate::academic::{NOW, at, faulty, id_of, run};
use crate::support::{Person, Reply, TestApp};

const SUMMARY: &str = "/api/core/attendance/summary/";

/// A class that begins at this local time, without the server.
async fn class(app: &TestApp, offering: Id, begins: &str, instructor: Option<Id>) -> Id {
    let made = sqlx::query_scalar!(
        "insert into class_sessions (offering_id, date, start_time, instructor_id)
         select $1, begins::date, begins::time, $3
           from cast($2::text as timestamp) begins
         returning id",
        offering.0,
        begins,
        instructor.map(|id| id.0)
    );
    Id(made.fetch_one(&app.db).await.unwrap())
}

/// A student in this state.
async fn student_in(app: &TestApp, offering: Id, status: &str) -> Person {
    let student = app.student().await;
    app.enrollment(student.id, offering, status).await;
    student
}

async fn parent_of(app: &TestApp, child: Id, scope: &str) -> Person {
    let parent = app.parent().await;
    let sql = format!(
        "with g as (insert into guardians (user_id) values ({}) returning id),
              l as (insert into guardian_students (guardian_id, student_id) select id, {child} from g)
         insert into guardian_grants (guardian_id, student_id, scopes)
         select id, {child}, array['{scope}'] from g",
        parent.id
    );
    run(&app.db, sql).await;
    parent
}

fn mark(session: Id, student: &Person, status: &str) -> Value {
    json!({ "session": session, "student": student.id, "status": status })
}

fn roll(session: Id) -> String {
    format!("{SESSIONS}{session}/attendance/")
}

/// What the outbox holds, oldest first: object, state, payload.
async fn outbox(app: &TestApp) -> Value {
    let rows = sqlx::query!("select trigger_event, object_key, state, payload from webhook_outbox order by id");
    let rows = rows.fetch_all(&app.db).await.unwrap();
    rows.iter()
        .map(|row| {
            assert_eq!(row.trigger_event, "attendance.marked");
            json!([row.object_key, row.state, row.payload])
        })
        .collect()
}

/// How many messages there are of each object.
async fn announced(app: &TestApp) -> Vec<String> {
    let outbox = outbox(app).await;
    outbox.as_array().unwrap().iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_record_is_shown_with_all_its_fields() {
    let app = TestApp::start().await;
    let (staff, other) = (app.staff().await, app.staff().await);
    let offering = app.offering(0).await;
    let session = class(&app, offering, "2026-03-02 09:00", None).await;
    let ann = student_in(&app, offering, "ENROLLED").await;
    let sent = json!({
        "session": session.to_string(), "student": ann.id, "status": "late", "notes": "Bus",
        "marked_by": 987_654, "id": 987_654,
    });
    let made = staff.post(ATTENDANCE, &sent).await;
    let mut wanted = json!({
        "id": made.body["id"], "session": session, "student": ann.id, "status": "late", "marked_by": staff.id,
        "notes": "Bus", "created_at": NOW, "updated_at": NOW, "created_by": staff.id, "updated_by": staff.id,
        "deleted_at": null, "is_deleted": false,
    });
    assert_eq!(made.expect(201), &wanted);
    let path = at(ATTENDANCE, id_of(&made));
    assert_eq!(staff.get(&path).await.expect(200), &wanted);
    wanted["status"] = json!("excused");
    wanted["marked_by"] = json!(other.id);
    wanted["updated_by"] = json!(other.id);
    assert_eq!(other.patch(&path, &json!({ "status": "excused" })).await.expect(200), &wanted);
    wanted["notes"] = json!("");
    assert_eq!(other.put(&path, &mark(session, &ann, "excused")).await.expect(200), &wanted);
    app.check_invariants().await;
}

#[tokio::test]
async fn only_students_of_the_offering_are_marked_and_once_in_a_class() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (offering, foreign) = (app.offering(0).await, app.offering(0).await);
    let session = class(&app, offering, "2026-03-02 09:00", None).await;
    for (status, is_in) in
        [("ENROLLED", true), ("COMPLETED", true), ("FAILED", true), ("PENDING", false), ("WITHDRAWN", false)]
    {
        let reply = staff.post(ATTENDANCE, &mark(session, &student_in(&app, offering, status).await, "absent")).await;
        let found = (reply.status.as_u16(), faulty(&reply));
        let wanted = if is_in { (201, [].into()) } else { (400, ["student".to_owned()].into()) };
        assert_eq!(found, wanted, "{status}");
    }
    let elsewhere = student_in(&app, foreign, "ENROLLED").await;
    for nobody in [&elsewhere, &app.staff().await] {
        let refused = staff.post(ATTENDANCE, &mark(session, nobody, "present")).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, ["student".to_owned()].into()));
    }

    let ann = student_in(&app, offering, "ENROLLED").await;
    let record = at(ATTENDANCE, id_of(&staff.post(ATTENDANCE, &mark(session, &ann, "absent")).await));
    let twice = staff.post(ATTENDANCE, &mark(session, &ann, "present")).await;
    assert_eq!((twice.refusal(), faulty(&twice)), ((409, "already_taken"), ["student".to_owned()].into()));
    staff.delete(&record).await.expect(204);
    staff.post(ATTENDANCE, &mark(session, &ann, "present")).await.expect(201);
    let restored = app.admin().await.post_bare(&format!("{record}restore/")).await;
    assert_eq!(restored.refusal(), (409, "already_taken"));
    app.check_invariants().await;
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_record_is_named() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let (session, other) =
        (class(&app, offering, "2026-03-02 09:00", None).await, class(&app, offering, "2026-03-03 09:00", None).await);
    let (ann, bob) = (student_in(&app, offering, "ENROLLED").await, student_in(&app, offering, "ENROLLED").await);
    let nothing = staff.post(ATTENDANCE, &json!({})).await;
    let required = ["session", "status", "student"].map(str::to_owned);
    assert_eq!((nothing.refusal(), faulty(&nothing)), ((400, "invalid"), required.into()));
    for (field, value) in [
        ("session", json!(987_654)),
        ("student", json!(987_654)),
        ("student", json!("")),
        ("status", json!("asleep")),
        ("status", json!(null)),
        ("notes", json!("x".repeat(20_001))),
    ] {
        let mut body = mark(session, &ann, "absent");
        body[field] = value;
        let refused = staff.post(ATTENDANCE, &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{field}");
    }
    let record = at(ATTENDANCE, id_of(&staff.post(ATTENDANCE, &mark(session, &ann, "absent")).await));
    for (field, value) in [("session", json!(other)), ("student", json!(bob.id)), ("status", json!(null))] {
        let refused = staff.patch(&record, &json!({ field: value })).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{field}");
    }

    // Who has left since can still be corrected; nobody is marked in a class that does not take place.
    let left = format!(
        "update enrollments set status = 'WITHDRAWN', withdrawn_date = '2026-03-02' where student_id = {}",
        ann.id
    );
    run(&app.db, left).await;
    staff.patch(&record, &json!({ "status": "late" })).await.expect(200);
    run(&app.db, "update class_sessions set status = 'cancelled'").await;
    assert_eq!(staff.post(ATTENDANCE, &mark(other, &bob, "present")).await.refusal(), (409, "class_cancelled"));
    let whole = json!({ "default": "present" });
    assert_eq!(staff.post(&roll(other), &whole).await.refusal(), (409, "class_cancelled"));
}

#[tokio::test]
async fn before_a_class_begins_students_can_only_be_excused() {
    let app = TestApp::start().await;
    let (staff, offering) = (app.staff().await, app.offering(0).await);
    let (ann, bob) = (student_in(&app, offering, "ENROLLED").await, student_in(&app, offering, "ENROLLED").await);
    // It is nine o'clock there.
    let (begun, later) =
        (class(&app, offering, "2026-03-02 09:00", None).await, class(&app, offering, "2026-03-02 09:01", None).await);
    let says = json!("The class begins on 2026-03-02 at 09:01. Until then students can only be excused.");
    let record = at(ATTENDANCE, id_of(&staff.post(ATTENDANCE, &mark(later, &ann, "excused")).await));
    for status in ["present", "late", "absent"] {
        let named = json!({ "records": [{ "student": bob.id, "status": status }] });
        for refused in [
            staff.post(ATTENDANCE, &mark(later, &bob, status)).await,
            staff.patch(&record, &json!({ "status": status })).await,
            staff.post(&roll(later), &named).await,
            staff.post(&roll(later), &json!({ "default": status })).await,
        ] {
            assert_eq!((refused.refusal(), &refused.body["detail"]), ((409, "class_not_begun"), &says), "{status}");
        }
        let here = json!({ "default": status });
        staff.post(&roll(begun), &here).await.expect(200);
    }
    staff.patch(&record, &json!({ "notes": "A wedding" })).await.expect(200);
    staff.post(&roll(later), &json!({ "default": "excused" })).await.expect(200);
}

#[tokio::test]
async fn who_may_read_attendance() {
    let app = TestApp::start().await;
    let (staff, convenor, tutor) = (app.staff().await, app.convenor().await, app.convenor().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let foreign = app.offering(0).await;
    let (ann, bob) = (student_in(&app, offering, "ENROLLED").await, student_in(&app, offering, "ENROLLED").await);
    app.enrollment(ann.id, foreign, "ENROLLED").await;
    let taught = class(&app, offering, "2026-03-02 09:00", Some(tutor.id)).await;
    let untaught = class(&app, offering, "2026-03-01 09:00", None).await;
    let elsewhere = class(&app, foreign, "2026-03-01 09:00", None).await;
    let mut ids = vec![];
    for (session, student) in [(taught, &ann), (taught, &bob), (untaught, &ann), (elsewhere, &ann)] {
        ids.push(id_of(&staff.post(ATTENDANCE, &mark(session, student, "present")).await));
    }
    for (who, reader, wanted) in [
        ("Ann", ann.clone(), vec![0, 2, 3]),
        ("Bob", bob.clone(), vec![1]),
        ("the convenor", convenor.clone(), vec![0, 1, 2]),
        ("who teaches one class", tutor.clone(), vec![0, 1]),
        ("another convenor", app.convenor().await, vec![]),
        ("a stranger", app.student().await, vec![]),
        ("staff", staff.clone(), vec![0, 1, 2, 3]),
        ("an auditor", app.auditor().await, vec![0, 1, 2, 3]),
        ("an administrator", app.admin().await, vec![0, 1, 2, 3]),
        ("a parent by grant", parent_of(&app, ann.id, "attendance").await, vec![0, 2, 3]),
        ("a parent by another grant", parent_of(&app, ann.id, "enrolments").await, vec![]),
        ("a parent", app.parent().await, vec![]),
    ] {
        let wanted: Vec<Id> = wanted.into_iter().map(|index: usize| ids[index]).collect();
        assert_eq!(reader.get(ATTENDANCE).await.ids(), wanted, "{who}");
        for id in &ids {
            let status = if wanted.contains(id) { 200 } else { 404 };
            assert_eq!(reader.get(&at(ATTENDANCE, id)).await.status.as_u16(), status, "{who}");
        }
    }
    assert_eq!(app.anonymous().get(ATTENDANCE).await.refusal(), (401, "not_authenticated"));

    let unit = sqlx::query_scalar!("select unit_id from offerings where id = $1", offering.0);
    let unit = unit.fetch_one(&app.db).await.unwrap();
    for (query, wanted) in [
        (format!("session={taught}"), vec![ids[0], ids[1]]),
        (format!("student={}", ann.id), vec![ids[0], ids[2], ids[3]]),
        (format!("offering={foreign}"), vec![ids[3]]),
        (format!("unit={unit}&ordering=-created_at"), vec![ids[2], ids[1], ids[0]]),
        ("status=absent".to_owned(), vec![]),
    ] {
        assert_eq!(staff.get(&format!("{ATTENDANCE}?{query}")).await.ids(), wanted, "{query}");
    }
}

#[tokio::test]
async fn who_may_mark() {
    let app = TestApp::start().await;
    let (staff, convenor, tutor) = (app.staff().await, app.convenor().await, app.convenor().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let ann = student_in(&app, offering, "ENROLLED").await;
    let taught = class(&app, offering, "2026-03-02 09:00", Some(tutor.id)).await;
    let untaught = class(&app, offering, "2026-03-01 09:00", None).await;
    let record = at(ATTENDANCE, id_of(&staff.post(ATTENDANCE, &mark(untaught, &ann, "absent")).await));
    let whole = json!({ "default": "present" });
    let before = everything(&app).await;

    for stranger in [&ann, &app.parent().await, &app.auditor().await] {
        for refused in [
            stranger.post(ATTENDANCE, &mark(taught, &ann, "present")).await,
            stranger.patch(&record, &json!({ "status": "present" })).await,
            stranger.put(&record, &mark(untaught, &ann, "present")).await,
            stranger.delete(&record).await,
            stranger.post(&roll(taught), &whole).await,
        ] {
            assert_eq!(refused.refusal(), (403, "permission_denied"), "{}", stranger.user_type);
        }
    }
    // The class next door can be seen by who teaches here, and no more.
    assert_eq!(tutor.post(ATTENDANCE, &mark(untaught, &ann, "present")).await.refusal(), (403, "permission_denied"));
    assert_eq!(tutor.post(&roll(untaught), &whole).await.refusal(), (403, "permission_denied"));
    assert_eq!(tutor.patch(&record, &json!({ "status": "present" })).await.refusal(), (404, "not_found"));
    // What cannot be seen is not there.
    let colleague = app.convenor().await;
    let refused = colleague.post(ATTENDANCE, &mark(taught, &ann, "present")).await;
    assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, ["session".to_owned()].into()));
    assert_eq!(colleague.post(&roll(taught), &whole).await.refusal(), (404, "not_found"));
    assert_eq!(staff.post(&roll(Id(987_654)), &whole).await.refusal(), (404, "not_found"));
    assert_eq!(everything(&app).await, before);

    let made = at(ATTENDANCE, id_of(&tutor.post(ATTENDANCE, &mark(taught, &ann, "absent")).await));
    tutor.patch(&made, &json!({ "status": "late" })).await.expect(200);
    tutor.post(&roll(taught), &whole).await.expect(200);
    convenor.patch(&record, &json!({ "status": "late" })).await.expect(200);
    convenor.post(&roll(untaught), &whole).await.expect(200);
    convenor.delete(&record).await.expect(204);
    app.check_invariants().await;
}

#[tokio::test]
async fn workflows_hear_of_who_was_present() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let session = class(&app, offering, "2026-03-02 09:00", None).await;
    let (ann, bob) = (student_in(&app, offering, "ENROLLED").await, student_in(&app, offering, "ENROLLED").await);
    let id = id_of(&staff.post(ATTENDANCE, &mark(session, &ann, "absent")).await);
    let record = at(ATTENDANCE, id);
    assert_eq!(outbox(&app).await, json!([]));
    staff.patch(&record, &json!({ "status": "present" })).await.expect(200);
    let unit = sqlx::query!(
        "select u.code, u.name from units u join offerings o on o.unit_id = u.id where o.id = $1",
        offering.0
    );
    let unit = unit.fetch_one(&app.db).await.unwrap();
    let payload = json!({
        "student_id": ann.id, "student_email": ann.email,
        "student_name": format!("{} {}", ann.first_name, ann.last_name), "attendance_status": "present",
        "session_id": session, "offering_id": offering, "unit_code": unit.code, "unit_name": unit.name,
        "event_date": "2026-03-02",
    });
    let key = format!("attendance:{id}");
    let skipped = json!([key, "skipped", payload]);
    assert_eq!(outbox(&app).await, json!([skipped]), "nobody listens, and that is written");
    staff.patch(&record, &json!({ "status": "present", "notes": "Early" })).await.expect(200);
    staff.put(&record, &mark(session, &ann, "present")).await.expect(200);
    staff.patch(&record, &json!({ "status": "late" })).await.expect(200);
    assert_eq!(outbox(&app).await, json!([skipped]), "that is no news");

    let workflow = "with made as (
                        insert into workflows (name, trigger_event) values ('Attendance', 'attendance.marked') returning id
                    )
                    insert into workflow_secrets (workflow_id, secret) select id, 'x' from made";
    run(&app.db, workflow).await;
    staff.patch(&record, &json!({ "status": "present" })).await.expect(200);
    let pending = json!([key, "pending", payload]);
    assert_eq!(outbox(&app).await, json!([skipped, pending]));
    let other = id_of(&staff.post(ATTENDANCE, &mark(session, &bob, "present")).await);
    assert_eq!(announced(&app).await, [key.clone(), key, format!("attendance:{other}")]);
    app.check_invariants().await;
}

/// A row of a report that says that it was done.
fn done(row: Option<usize>, student: &Person, id: &Value, status: &str) -> Value {
    json!({
        "row": row, "student": student.id, "ok": true, "id": id, "status": status, "code": "", "detail": "",
        "errors": {},
    })
}

fn record_of<'a>(list: &'a Reply, student: &Person) -> &'a Value {
    let rows = list.expect(200).as_array().unwrap();
    rows.iter().find(|row| row["student"] == json!(student.id)).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_class_is_marked_at_once_and_each_student_is_reported() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let session = class(&app, offering, "2026-03-02 09:00", None).await;
    let (ann, bob) = (student_in(&app, offering, "ENROLLED").await, student_in(&app, offering, "COMPLETED").await);
    let (cid, dan) = (student_in(&app, offering, "ENROLLED").await, student_in(&app, offering, "ENROLLED").await);
    let waiting = student_in(&app, offering, "PENDING").await;
    let noted = json!({ "session": session, "student": cid.id, "status": "absent", "notes": "Called in" });
    let known = id_of(&staff.post(ATTENDANCE, &noted).await);

    let asked = json!({ "default": "present", "records": [
        { "student": ann.id, "status": "late", "notes": "Bus" },
        { "student": cid.id, "status": "excused" },
        { "student": waiting.id, "status": "present" },
        { "student": ann.id, "status": "present" },
        { "student": dan.id, "status": "present", "notes": "x".repeat(20_001) },
    ] });
    let reply = staff.post(&roll(session), &asked).await;
    let list = staff.get(ATTENDANCE).await;
    let results = &reply.expect(200)["results"];
    assert_eq!((&reply.body["done_count"], &reply.body["refused_count"]), (&json!(3), &json!(3)));
    assert_eq!(results[0], done(Some(0), &ann, &record_of(&list, &ann)["id"], "late"));
    assert_eq!(results[1], done(Some(1), &cid, &json!(known), "excused"));
    for (row, code) in [(2, "not_enrolled"), (3, "named_twice"), (4, "invalid")] {
        assert_eq!((&results[row]["ok"], &results[row]["code"]), (&json!(false), &json!(code)), "{row}");
        assert_eq!((&results[row]["id"], &results[row]["status"]), (&json!(null), &json!(null)), "{row}");
    }
    assert_eq!(results[4]["errors"]["notes"].as_array().unwrap().len(), 1);
    assert_eq!(results[5], done(None, &bob, &record_of(&list, &bob)["id"], "present"));
    assert_eq!(results.as_array().unwrap().len(), 6, "who is named has no default");

    let shown = |person: &Person| {
        let row = record_of(&list, person);
        json!([row["status"], row["notes"], row["marked_by"]])
    };
    assert_eq!(shown(&ann), json!(["late", "Bus", staff.id]));
    assert_eq!(shown(&bob), json!(["present", "", staff.id]));
    assert_eq!(shown(&cid), json!(["excused", "Called in", staff.id]), "what is noted stays");
    assert_eq!(list.ids().len(), 3);
    assert_eq!(announced(&app).await, [format!("attendance:{}", record_of(&list, &bob)["id"])]);
    app.check_invariants().await;
}

#[tokio::test]
async fn students_are_marked_by_number_and_address_too() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let session = class(&app, offering, "2026-03-02 09:00", None).await;
    let (ann, bob) = (student_in(&app, offering, "ENROLLED").await, student_in(&app, offering, "ENROLLED").await);
    let outsider = app.student().await;
    let number = |person: &Person| {
        let sql = sqlx::query_scalar!("select student_id from student_profiles where user_id = $1", person.id.0);
        sql.fetch_one(&app.db)
    };
    let (annes, theirs) = (number(&ann).await.unwrap(), number(&outsider).await.unwrap());

    let one = |student: &str| json!({ "session": session, "student": student, "status": "late" });
    let made = convenor.post(ATTENDANCE, &one(&annes)).await;
    assert_eq!(made.expect(201)["student"], json!(ann.id));
    // To a convenor nobody is like somebody elsewhere; staff are told.
    for (by, named, says) in [
        (&convenor, theirs.as_str(), "This student is not enrolled in the offering of the class."),
        (&convenor, "nobody@swin.edu.au", "This student is not enrolled in the offering of the class."),
        (&staff, &theirs, "This student is not enrolled in the offering of the class."),
        (&staff, "S-77777777", "There is no student with the number or mail address `S-77777777`."),
    ] {
        let reply = by.post(ATTENDANCE, &one(named)).await;
        assert_eq!((reply.status.as_u16(), reply.errors("student")), (400, vec![says]), "{named}");
    }
    assert_eq!(staff.post(ATTENDANCE, &one("")).await.errors("student"), ["This field is required."]);

    let asked = json!({ "records": [
        { "student": annes, "status": "present" },
        { "student": bob.email.to_uppercase(), "status": "absent" },
        { "student": theirs, "status": "present" },
        { "student": "nobody@swin.edu.au", "status": "present" },
        { "student": bob.id, "status": "present" },
    ] });
    let reply = convenor.post(&roll(session), &asked).await;
    let results = reply.expect(200)["results"].as_array().unwrap();
    let became: Vec<_> = results.iter().map(|row| json!([row["student"], row["status"], row["code"]])).collect();
    assert_eq!(
        json!(became),
        json!([
            [ann.id, "present", ""],
            [bob.id, "absent", ""],
            [outsider.id, null, "not_enrolled"],
            [null, null, "not_enrolled"],
            [bob.id, null, "named_twice"],
        ])
    );
    assert_eq!(results[2]["detail"], results[3]["detail"]);
    app.check_invariants().await;
}

#[tokio::test]
async fn marking_a_class_again_changes_nothing() {
    let app = TestApp::start().await;
    let (staff, other) = (app.staff().await, app.staff().await);
    let offering = app.offering(0).await;
    let session = class(&app, offering, "2026-03-02 09:00", None).await;
    let ann = student_in(&app, offering, "ENROLLED").await;
    student_in(&app, offering, "ENROLLED").await;
    let asked = json!({ "default": "present", "records": [{ "student": ann.id, "status": "absent" }] });
    let first = staff.post(&roll(session), &asked).await;
    let before = everything(&app).await;
    app.set_time("2026-03-02T03:00:00Z").await;
    assert_eq!(other.post(&roll(session), &asked).await.expect(200), first.expect(200));
    assert_eq!(everything(&app).await, before);

    // Without a default who is not named stays as they are.
    let some = json!({ "records": [{ "student": ann.id, "status": "present" }] });
    let reply = other.post(&roll(session), &some).await;
    assert_eq!(reply.expect(200)["results"].as_array().unwrap().len(), 1);
    assert_eq!(announced(&app).await.len(), 2);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_roll_that_does_not_fit_does_nothing() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let session = class(&app, offering, "2026-03-02 09:00", None).await;
    let ann = student_in(&app, offering, "ENROLLED").await;
    let row = json!({ "student": ann.id, "status": "present" });
    let before = everything(&app).await;
    for (body, field) in [
        (json!({}), "records"),
        (json!({ "records": [] }), "records"),
        (json!({ "records": vec![row.clone(); 1001] }), "records"),
        (json!({ "records": [row, { "student": ann.id }] }), "records[1].status"),
        (json!({ "records": [{ "student": true, "status": "late" }] }), "records[0].student"),
        (json!({ "default": "asleep" }), "default"),
    ] {
        let refused = staff.post(&roll(session), &body).await;
        assert_eq!((refused.status.as_u16(), refused.errors(field).len()), (400, 1), "{field}: {}", refused.body);
    }
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn a_class_that_another_marks_halfway_is_marked_once() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let session = class(&app, offering, "2026-03-02 09:00", None).await;
    let ann = student_in(&app, offering, "ENROLLED").await;
    // Somebody marks Ann by herself, halfway: as it stands in the server, the class is shared before the record is made.
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("select id from class_sessions where id = {session} for share")).await;
    let marking = format!(
        "insert into attendance_records (session_id, student_id, status) values ({session}, {}, 'present')",
        ann.id
    );
    run(&mut *halfway, marking).await;
    let whole = json!({ "default": "present" });
    let path = roll(session);
    let (reply, ()) = tokio::join!(staff.post(&path, &whole), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.expect(200)["done_count"], json!(1));
    assert!(announced(&app).await.is_empty(), "Ann was present already");
    let written = sqlx::query_scalar!(r#"select count(*) as "n!" from audit_log"#);
    assert_eq!(written.fetch_one(&app.db).await.unwrap(), 0);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_record_that_another_changes_halfway_is_marked_as_it_became() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let session = class(&app, offering, "2026-03-02 09:00", None).await;
    let ann = student_in(&app, offering, "ENROLLED").await;
    let id = id_of(&staff.post(ATTENDANCE, &mark(session, &ann, "absent")).await);
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("update attendance_records set status = 'present' where id = {id}")).await;
    let whole = json!({ "default": "present" });
    let path = roll(session);
    let (reply, ()) = tokio::join!(staff.post(&path, &whole), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    reply.expect(200);
    assert!(announced(&app).await.is_empty(), "whoever changed it has told");
}

#[tokio::test]
async fn a_class_with_somebody_marked_halfway_is_not_deleted() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    let session = class(&app, offering, "2026-03-02 09:00", None).await;
    let ann = student_in(&app, offering, "ENROLLED").await;
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("select id from class_sessions where id = {session} for share")).await;
    let marking = format!(
        "insert into attendance_records (session_id, student_id, status) values ({session}, {}, 'present')",
        ann.id
    );
    run(&mut *halfway, marking).await;
    let path = at(SESSIONS, session);
    let (reply, ()) = tokio::join!(staff.delete(&path), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (409, "still_referred_to"));
}

#[tokio::test]
async fn attendance_is_summed_up_by_offering_and_in_total() {
    let app = TestApp::with(&[("TIME_ZONE", "Australia/Melbourne")]).await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let (own, other) = (app.offering_of(unit, 0).await, app.offering(0).await);
    let (ann, bob) = (student_in(&app, own, "ENROLLED").await, student_in(&app, own, "ENROLLED").await);
    app.enrollment(ann.id, other, "COMPLETED").await;
    for status in ["PENDING", "WITHDRAWN"] {
        let left = app.offering(0).await;
        app.enrollment(ann.id, left, status).await;
        class(&app, left, "2026-02-23 09:00", None).await;
    }
    // It is 13:00 on the second of March in Melbourne.
    for (offering, begins, status) in [
        (own, "2026-02-09 09:00", "present"),
        (own, "2026-02-16 09:00", "late"),
        (own, "2026-02-23 09:00", "excused"),
        (own, "2026-03-01 09:00", "absent"),
        (own, "2026-03-02 12:59", ""),
        (own, "2026-03-02 13:00", ""),
        (own, "2026-03-02 13:01", "excused"),
        (other, "2026-02-09 09:00", "present"),
    ] {
        let session = class(&app, offering, begins, None).await;
        if !status.is_empty() {
            staff.post(ATTENDANCE, &mark(session, &ann, status)).await.expect(201);
            if offering == own {
                let bobs = if begins == "2026-03-02 13:01" { "excused" } else { "present" };
                staff.post(ATTENDANCE, &mark(session, &bob, bobs)).await.expect(201);
            }
        }
    }
    for change in ["status = 'cancelled'", "deleted_at = rule_now()"] {
        let off = class(&app, own, "2026-02-24 09:00", None).await;
        run(&app.db, format!("update class_sessions set {change} where id = {off}")).await;
    }

    let counts = |total: i32, attended: i32, present: i32, rate: Value| {
        let few = i32::from(total != 1);
        json!({
            "total_sessions": total, "marked_sessions": attended + few, "attended_sessions": attended, "present": present,
            "late": few, "absent": few, "excused": few, "attendance_rate": rate,
        })
    };
    let with = |mut body: Value, more: &Value| {
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let mut offerings = vec![];
    for (offering, counts) in [(own, counts(6, 3, 1, json!(50.0))), (other, counts(1, 1, 1, json!(100.0)))] {
        let unit = sqlx::query!(
            "select u.id, u.code, u.name from units u join offerings o on o.unit_id = u.id where o.id = $1",
            offering.0
        );
        let unit = unit.fetch_one(&app.db).await.unwrap();
        let of = json!({
            "offering": offering, "unit": unit.id, "unit_code": unit.code, "unit_name": unit.name, "year": 2026,
            "semester": "S1", "since": null,
        });
        offerings.push(with(of, &counts));
    }
    let whole = with(json!({ "student": ann.id, "offerings": offerings }), &counts(7, 4, 2, json!(57.1)));
    let of_ann = format!("{SUMMARY}?student={}", ann.id);
    assert_eq!(ann.get(SUMMARY).await.expect(200), &whole);
    for reader in [&ann, &staff, &app.auditor().await, &parent_of(&app, ann.id, "attendance").await] {
        assert_eq!(reader.get(&of_ann).await.expect(200), &whole, "{}", reader.user_type);
    }
    let part = with(json!({ "student": ann.id, "offerings": [offerings[0]] }), &counts(6, 3, 1, json!(50.0)));
    assert_eq!(convenor.get(&of_ann).await.expect(200), &part, "a convenor sees their own units");

    for stranger in [&bob, &app.convenor().await, &app.parent().await, &parent_of(&app, ann.id, "enrolments").await] {
        assert_eq!(stranger.get(&of_ann).await.refusal(), (404, "not_found"), "{}", stranger.user_type);
    }
    assert_eq!(staff.get(&format!("{SUMMARY}?student={}", convenor.id)).await.refusal(), (404, "not_found"));
    assert_eq!(app.anonymous().get(SUMMARY).await.refusal(), (401, "not_authenticated"));
    assert_eq!(faulty(&staff.get(SUMMARY).await), ["student".to_owned()].into());
    assert_eq!(faulty(&ann.get(&format!("{SUMMARY}?student=x")).await), ["student".to_owned()].into());
    assert_eq!(faulty(&ann.get(&format!("{SUMMARY}?pupil=1")).await), ["pupil".to_owned()].into());
}

#[tokio::test]
async fn who_has_had_no_class_has_no_rate() {
    let app = TestApp::start().await;
    let ann = app.student().await;
    let wanted = json!({
        "student": ann.id, "total_sessions": 0, "marked_sessions": 0, "attended_sessions": 0, "present": 0, "late": 0,
        "absent": 0, "excused": 0, "attendance_rate": null, "offerings": [],
    });
    assert_eq!(ann.get(SUMMARY).await.expect(200), &wanted);
}
