//! Offerings.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::{INTAKES, NOW, OFFERINGS, UNITS, all_pages, at, faulty, id_of, run, whole};
use crate::support::TestApp;

/// An offering of this unit in 2026 S1, open from January to mid-March.
fn body(unit: Id) -> Value {
    json!({
        "unit": unit, "year": 2026, "semester": "S1", "enrollment_start": "2026-01-12T00:00:00Z",
        "enrollment_end": "2026-03-13T00:00:00Z",
    })
}

#[tokio::test]
async fn an_offering_is_shown_to_anyone_with_its_unit() {
    let app = TestApp::with(&[("TIME_ZONE", "Australia/Melbourne")]).await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let mut sent = body(unit);
    // Without an offset it is the university's time; any other offset is taken as it is.
    sent["enrollment_end"] = json!("2026-03-13T17:00:00");
    sent["withdraw_until"] = json!("2026-04-01T00:00:00+02:00");
    let id = id_of(&staff.post(OFFERINGS, &sent).await);
    let intake = staff.get(INTAKES).await.ids()[0];

    let nobody = app.anonymous();
    let mut brief = nobody.get(&at(UNITS, unit)).await.expect(200).clone();
    for list in ["prerequisites", "anti_requisites"] {
        brief.as_object_mut().unwrap().remove(list);
    }
    let wanted = json!({
        "id": id, "unit": brief, "year": 2026, "semester": "S1", "intake": intake, "convenor": convenor.id,
        "enrollment_start": "2026-01-12T00:00:00.000000Z", "enrollment_end": "2026-03-13T06:00:00.000000Z",
        "withdraw_until": "2026-03-31T22:00:00.000000Z", "capacity": 0, "current_enrollment": 0,
        "requires_approval": true, "is_active": true, "notes": "", "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(nobody.get(&at(OFFERINGS, id)).await.expect(200), &wanted);
    assert_eq!(nobody.get(OFFERINGS).await.expect(200), &json!([wanted]));
}

#[tokio::test]
async fn a_deleted_unit_is_still_shown_within_its_offering() {
    let app = TestApp::start().await;
    let offering = app.offering(0).await;
    let path = at(OFFERINGS, offering);
    let unit = app.anonymous().get(&path).await.expect(200)["unit"].clone();
    run(&app.db, "update units set deleted_at = rule_now()").await;
    assert_eq!(app.anonymous().get(&path).await.expect(200)["unit"], unit);
}

#[tokio::test]
async fn an_offering_must_be_plausible() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    for (field, value) in [
        ("year", json!(1899)),
        ("year", json!(2201)),
        ("semester", json!("S4")),
        ("enrollment_start", json!("soon")),
        ("enrollment_end", json!("2026-01-12T00:00:00Z")),
        ("enrollment_end", json!("2026-01-11T00:00:00Z")),
        ("withdraw_until", json!("0")),
        ("withdraw_until", json!("2026-01-11T23:59:59Z")),
        ("capacity", json!(-1)),
        ("capacity", json!(5_000_000_000_u64)),
        ("capacity", json!(null)),
        ("intake", json!(987_654)),
        ("notes", json!("x".repeat(20_001))),
        ("requires_approval", json!("maybe")),
    ] {
        let mut sent = body(unit);
        sent[field] = value;
        let refused = staff.post(OFFERINGS, &sent).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{sent}");
    }
    let all_wrong = json!({ "unit": 987_654, "year": 1, "capacity": -1, "enrollment_start": "2026-01-12T00:00:00Z" });
    let refused = staff.post(OFFERINGS, &all_wrong).await;
    let wanted = ["unit", "year", "capacity", "semester", "enrollment_end"].map(str::to_owned);
    assert_eq!(faulty(&refused), wanted.into());
}

#[tokio::test]
async fn nobody_can_be_kept_from_withdrawing_before_enrolment_starts() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let path = at(OFFERINGS, id_of(&staff.post(OFFERINGS, &body(app.unit().await)).await));
    for change in [
        json!({ "withdraw_until": "2020-01-01" }),
        json!({ "withdraw_until": "2026-01-20", "enrollment_start": "2026-02-01" }),
    ] {
        assert_eq!(faulty(&staff.patch(&path, &change).await), ["withdraw_until".to_owned()].into(), "{change}");
    }
    // Enrolment that starts later than the last day is at fault as well; one that says so already can be changed.
    staff.patch(&path, &json!({ "withdraw_until": "2026-01-20" })).await.expect(200);
    let later = staff.patch(&path, &json!({ "enrollment_start": "2026-02-01" })).await;
    assert_eq!(faulty(&later), ["withdraw_until".to_owned()].into());
    run(&app.db, "update offerings set withdraw_until = '2020-01-01'").await;
    staff.patch(&path, &json!({ "capacity": 7 })).await.expect(200);
}

#[tokio::test]
async fn a_unit_is_offered_once_in_a_semester() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    let id = id_of(&staff.post(OFFERINGS, &body(unit)).await);
    let taken = staff.post(OFFERINGS, &body(unit)).await;
    assert_eq!((taken.refusal(), taken.errors("unit").len()), ((409, "already_taken"), 1));

    staff.delete(&at(OFFERINGS, id)).await.expect(204);
    staff.post(OFFERINGS, &body(unit)).await.expect(201);
    let back = app.admin().await.post_bare(&format!("{}restore/", at(OFFERINGS, id))).await;
    assert_eq!((back.refusal(), back.errors("unit").len()), ((409, "already_taken"), 1));
}

#[tokio::test]
async fn the_intake_follows_the_semester_and_year() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let intake = id_of(&staff.post(INTAKES, &json!({ "semester": "S1", "year": 2026 })).await);
    let made = staff.post(OFFERINGS, &body(app.unit().await)).await;
    let path = at(OFFERINGS, id_of(&made));
    assert_eq!(made.body["intake"], json!(intake), "the one that is there is used");

    let moved = staff.patch(&path, &json!({ "semester": "S2" })).await;
    let second = moved.expect(200)["intake"].clone();
    assert_eq!(
        staff.get(&format!("{INTAKES}{second}/")).await.expect(200)["semester"],
        json!("S2"),
        "made when missing"
    );
    let audited = sqlx::query_scalar!(
        r#"select count(*) as "count!" from audit_log where resource_type = 'intake' and action = 'create' and user_id = $1"#,
        staff.id.0
    );
    assert_eq!(audited.fetch_one(&app.db).await.unwrap(), 2);

    assert_eq!(staff.patch(&path, &json!({ "intake": second })).await.expect(200)["intake"], second);
    let refused = staff.patch(&path, &json!({ "intake": intake })).await;
    assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, ["intake".to_owned()].into()));
    staff.patch(&path, &json!({ "intake": intake, "semester": "S1" })).await.expect(200);
    staff.patch(&path, &json!({ "intake": null })).await.expect(200);
    app.check_invariants().await;
}

#[tokio::test]
async fn an_offering_is_restored_into_its_intake_only() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let offering = app.offering(0).await;
    let intake = at(INTAKES, staff.get(INTAKES).await.ids()[0]);
    let (path, restore) = (at(OFFERINGS, offering), format!("{}restore/", at(OFFERINGS, offering)));
    staff.delete(&path).await.expect(204);
    staff.delete(&intake).await.expect(204);
    assert_eq!(admin.post_bare(&restore).await.refusal(), (409, "cannot_be_restored"));
    admin.post_bare(&format!("{intake}restore/")).await.expect(200);
    staff.patch(&intake, &json!({ "year": 2027 })).await.expect(200);
    assert_eq!(admin.post_bare(&restore).await.refusal(), (409, "cannot_be_restored"));
    staff.patch(&intake, &json!({ "year": 2026 })).await.expect(200);
    admin.post_bare(&restore).await.expect(200);
    app.check_invariants().await;
}

#[tokio::test]
async fn two_offerings_at_once_share_the_intake_that_one_of_them_makes() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut halfway = app.transaction().await;
    let intake = sqlx::query_scalar!("insert into intakes (semester, year) values ('S1', 2026) returning id");
    let intake = intake.fetch_one(&mut *halfway).await.unwrap();
    let sent = body(app.unit().await);
    let (reply, ()) = tokio::join!(staff.post(OFFERINGS, &sent), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.expect(201)["intake"], json!(intake));
}

#[tokio::test]
async fn the_capacity_is_never_below_the_seats_taken() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(10).await;
    for status in ["PENDING", "ENROLLED", "FAILED", "WITHDRAWN"] {
        app.enrollment(app.student().await.id, offering, status).await;
    }
    let path = at(OFFERINGS, offering);
    assert_eq!(staff.get(&path).await.body["current_enrollment"], json!(3));
    for (capacity, ok) in [(2, false), (3, true), (0, true), (1, false), (4, true)] {
        let reply = staff.patch(&path, &json!({ "capacity": capacity })).await;
        if ok {
            assert_eq!(reply.expect(200)["capacity"], json!(capacity));
        } else {
            assert_eq!((reply.refusal(), reply.errors("capacity").len()), ((409, "capacity_below_taken"), 1));
        }
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn the_capacity_is_not_lowered_below_a_seat_that_is_being_taken() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(5).await;
    app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let mut halfway = app.transaction().await;
    let seat = format!("update offerings set current_enrollment = current_enrollment + 1 where id = {offering}");
    run(&mut *halfway, seat).await;
    let path = at(OFFERINGS, offering);
    let lower = json!({ "capacity": 1 });
    let (reply, ()) = tokio::join!(staff.patch(&path, &lower), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (409, "capacity_below_taken"));
}

#[tokio::test]
async fn an_offering_with_students_stays_with_its_unit() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let moved = json!({ "unit": app.unit().await });
    let refused = staff.patch(&at(OFFERINGS, offering), &moved).await;
    assert_eq!((refused.refusal(), refused.errors("unit").len()), ((409, "offering_has_students"), 1));
    staff.patch(&at(OFFERINGS, app.offering(0).await), &moved).await.expect(200);
}

#[tokio::test]
async fn an_offering_that_is_referred_to_stays() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (offering, student) = (app.offering(0).await, app.student().await);
    let path = at(OFFERINGS, offering);
    let enrollment = app.enrollment(student.id, offering, "ENROLLED").await;
    app.enrollment(app.student().await.id, offering, "WITHDRAWN").await;
    for sql in [
        format!(
            "insert into class_sessions (offering_id, date, start_time) values ({offering}, '2026-03-02', '09:00')"
        ),
        format!("insert into events (title, start, related_offering_id) values ('Talk', rule_now(), {offering})"),
        format!(
            "with event as (insert into events (title, start) values ('Exam', rule_now()) returning id)
             insert into event_target_offerings (event_id, offering_id) select id, {offering} from event"
        ),
        format!(
            "insert into tickets (title, submitter_id, related_offering_id) values ('Help', {}, {offering})",
            student.id
        ),
    ] {
        run(&app.db, sql).await;
    }
    let refused = staff.delete(&path).await;
    assert_eq!(refused.refusal(), (409, "still_referred_to"));
    let counts = json!({ "enrollments": 1, "class_sessions": 1, "events": 2, "tickets": 1 });
    assert_eq!(refused.body["counts"], counts);
    assert!(refused.body["detail"].as_str().unwrap().contains("enrollments: 1"));

    run(
        &app.db,
        format!("update enrollments set status = 'WITHDRAWN', withdrawn_date = '2026-03-02' where id = {enrollment}"),
    )
    .await;
    for table in ["class_sessions", "events", "tickets"] {
        assert_eq!(staff.delete(&path).await.refusal(), (409, "still_referred_to"));
        run(&app.db, format!("update {table} set deleted_at = rule_now()")).await;
    }
    staff.delete(&path).await.expect(204);
}

#[tokio::test]
async fn offerings_are_filtered_searched_and_ordered() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let unit = async |code: &str, department: &str, head: Option<Id>| {
        let body = json!({ "code": code, "name": format!("{code} name"), "department": department, "convenor": head });
        id_of(&staff.post(UNITS, &body).await)
    };
    let (b, a) = (unit("B", "Science", Some(convenor.id)).await, unit("A", "Arts", None).await);
    let mut ids = vec![];
    for (unit, year, semester, is_active) in [
        (b, 2026, "S1", true),
        (a, 2026, "S1", true),
        (a, 2026, "S2", true),
        (a, 2027, "S1", false),
        (b, 2025, "S1", true),
    ] {
        let start = if semester == "S1" { format!("{year}-01-12") } else { format!("{year}-06-12") };
        let end = if semester == "S1" { format!("{year}-03-13") } else { format!("{year}-08-13") };
        let body = json!({
            "unit": unit, "year": year, "semester": semester, "is_active": is_active, "enrollment_start": start,
            "enrollment_end": end,
        });
        ids.push(id_of(&staff.post(OFFERINGS, &body).await));
    }
    let (b26, a26, a26s2, a27, b25) = (ids[0], ids[1], ids[2], ids[3], ids[4]);
    let intake = staff.get(&at(OFFERINGS, b25)).await.body["intake"].clone();
    for (query, wanted) in [
        (String::new(), vec![a27, a26, b26, a26s2, b25]),
        ("?ordering=year,-semester,-unit_code".to_owned(), vec![b25, a26s2, b26, a26, a27]),
        ("?ordering=enrollment_start".to_owned(), vec![b25, b26, a26, a26s2, a27]),
        ("?year=2026".to_owned(), vec![a26, b26, a26s2]),
        ("?semester=S2".to_owned(), vec![a26s2]),
        (format!("?unit={a}&year=2026"), vec![a26, a26s2]),
        (format!("?intake={intake}"), vec![b25]),
        (format!("?convenor={}", convenor.id), vec![b26, b25]),
        ("?department=Arts&semester=S1".to_owned(), vec![a27, a26]),
        ("?is_active=false".to_owned(), vec![a27]),
        ("?open=true".to_owned(), vec![a26, b26]),
        ("?open=false".to_owned(), vec![a27, a26s2, b25]),
        ("?search=b%20name".to_owned(), vec![b26, b25]),
    ] {
        assert_eq!(app.anonymous().get(&format!("{OFFERINGS}{query}")).await.ids(), wanted, "{query}");
    }
    let refused = staff.get(&format!("{OFFERINGS}?year=x&semester=S9&unit=x&open=x")).await;
    assert_eq!(faulty(&refused), ["year", "semester", "unit", "open"].map(str::to_owned).into());
}

#[tokio::test]
async fn an_offering_is_open_from_its_start_until_its_end() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = id_of(&staff.post(OFFERINGS, &body(app.unit().await)).await);
    staff.patch(&at(OFFERINGS, app.offering(0).await), &json!({ "is_active": false })).await.expect(200);
    for (now, open) in [
        ("2026-01-11T23:59:59Z", false),
        ("2026-01-12T00:00:00Z", true),
        ("2026-03-12T23:59:59Z", true),
        ("2026-03-13T00:00:00Z", false),
    ] {
        app.set_time(now).await;
        let found = app.anonymous().get(&format!("{OFFERINGS}?open=true")).await.ids();
        assert_eq!(found == [offering], open, "{now}");
    }
}

#[tokio::test]
async fn pages_lead_to_the_end_without_gap_or_repeat_while_offerings_come() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let units = [app.unit().await, app.unit().await];
    let offer = async |unit: Id, year: i32, semester: &str| {
        let mut sent = body(unit);
        (sent["year"], sent["semester"]) = (json!(year), json!(semester));
        id_of(&staff.post(OFFERINGS, &sent).await)
    };
    let mut there = vec![];
    for year in [2024, 2025, 2026] {
        for semester in ["S1", "S2", "WS"] {
            for unit in units {
                there.push(offer(unit, year, semester).await);
            }
        }
    }
    let late = app.unit().await;
    let mut years = 2020..;
    for query in ["page_size=4", "page_size=3&ordering=-year", "page_size=5&ordering=semester,-unit_code"] {
        let found = all_pages(&staff, &format!("{OFFERINGS}?{query}"), async || {
            offer(late, years.next().unwrap(), "S2").await;
        })
        .await;
        whole(&found, &there);
    }
}

#[tokio::test]
async fn who_takes_a_unit_over_does_not_take_its_past() {
    let app = TestApp::start().await;
    let (staff, former, new, ann) =
        (app.staff().await, app.convenor().await, app.convenor().await, app.student().await);
    let unit = app.unit_of(former.id).await;
    let past = app.offering_of(unit, 0).await;
    run(&app.db, format!("update offerings set year = 2025 where id = {past}")).await;
    let present = app.offering_of(unit, 0).await;
    let old = app.enrollment(ann.id, past, "FAILED").await;
    let sits = app.enrollment(app.student().await.id, present, "ENROLLED").await;
    staff.patch(&at(UNITS, unit), &json!({ "convenor": new.id })).await.expect(200);

    let convenor = async |offering: Id| staff.get(&at(OFFERINGS, offering)).await.expect(200)["convenor"].clone();
    assert_eq!((convenor(past).await, convenor(present).await), (json!(former.id), json!(new.id)));
    let told = new.get("/api/core/notifications/").await.expect(200)[0].clone();
    assert_eq!(told["verb"], json!("You are the convenor"));

    let result = |id: Id| (format!("/api/enrollment/enrollments/{id}/"), json!({ "grade": "P", "reason": "added up" }));
    let class = |offering: Id| format!("{}students/", at(OFFERINGS, offering));
    for (person, offering, enrollment, may) in [
        (&new, past, old, false),
        (&former, present, sits, false),
        (&former, past, old, true),
        (&new, present, sits, true),
    ] {
        let (path, sent) = result(enrollment);
        let status = if may { (200, 200) } else { (403, 404) };
        let list = person.get(&class(offering)).await.status.as_u16();
        assert_eq!((list, person.patch(&path, &sent).await.status.as_u16()), status);
    }
    let teaching = "/api/enrollment/enrollments/teaching/";
    for (person, offering) in [(&former, past), (&new, present)] {
        let classes = person.get(teaching).await.expect(200)["classes"].clone();
        let of: Vec<_> = classes.as_array().unwrap().iter().map(|class| class["offering"]["id"].clone()).collect();
        assert_eq!(of, [json!(offering)]);
    }
    assert_eq!(staff.get(&format!("{OFFERINGS}?convenor={}", former.id)).await.ids(), [past]);
    let summary = format!("/api/enrollment/transcripts/summary/?student={}", ann.id);
    assert_eq!((former.get(&summary).await.status.as_u16(), new.get(&summary).await.status.as_u16()), (200, 404));
}

#[tokio::test]
async fn staff_put_somebody_else_in_charge_of_an_offering() {
    let app = TestApp::start().await;
    let (staff, convenor, stand_in) = (app.staff().await, app.convenor().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let offering = at(OFFERINGS, app.offering_of(unit, 0).await);
    let refused = convenor.patch(&offering, &json!({ "convenor": stand_in.id })).await;
    assert_eq!(refused.refusal(), (403, "permission_denied"));
    assert_eq!(refused.errors("convenor"), ["Only staff decide who convenes an offering."]);
    let student = app.student().await;
    let wrong = staff.patch(&offering, &json!({ "convenor": student.id })).await;
    assert_eq!(wrong.errors("convenor").len(), 1);
    staff.patch(&offering, &json!({ "convenor": stand_in.id })).await.expect(200);
    let change = json!({ "notes": "Room 5" });
    assert_eq!(convenor.patch(&offering, &change).await.refusal(), (403, "permission_denied"));
    stand_in.patch(&offering, &change).await.expect(200);
    // Who was put in charge stays when the unit changes hands; null is the unit's convenor again.
    staff.patch(&at(UNITS, unit), &json!({ "convenor": app.convenor().await.id })).await.expect(200);
    assert_eq!(staff.get(&offering).await.expect(200)["convenor"], json!(stand_in.id));
    staff.patch(&at(UNITS, unit), &json!({ "convenor": convenor.id })).await.expect(200);
    let again = staff.patch(&offering, &json!({ "convenor": null })).await;
    assert_eq!(again.expect(200)["convenor"], json!(convenor.id));
    let whole = convenor.get(&offering).await.expect(200).clone();
    let sent = json!({
        "unit": unit, "year": whole["year"], "semester": whole["semester"], "enrollment_start": whole["enrollment_start"],
        "enrollment_end": whole["enrollment_end"], "notes": "whole",
    });
    convenor.put(&offering, &sent).await.expect(200);
}
