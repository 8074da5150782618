//! Events: who sees which, what they see of it, and who may change it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{all_pages, at, faulty, id_of, run, whole};
use crate::support::{Person, TestApp};

const EVENTS: &str = "/api/core/events/";
const START: &str = "2026-03-10T09:00:00.000000Z";

/// An event that is for nobody in particular.
fn body() -> Value {
    json!({ "title": "Open day", "start": START })
}

/// The same with some other members.
fn with(more: &Value) -> Value {
    let mut body = body();
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn intake_of(app: &TestApp, offering: Id) -> Id {
    let sql = sqlx::query_scalar!("select intake_id from offerings where id = $1", offering.0);
    Id(sql.fetch_one(&app.db).await.unwrap())
}

#[tokio::test]
async fn an_event_is_shown_as_it_was_sent_and_can_be_sent_back() {
    let app = TestApp::start().await;
    let (convenor, student) = (app.convenor().await, app.student().await);
    let (unit, offering) = (app.unit().await, app.offering(0).await);
    let intake = intake_of(&app, offering).await;
    let sent = with(&json!({
        "description": "All day", "end": "2026-03-10T17:00:00+00:00", "location": "Hall", "visibility": "unit",
        "attendees": [convenor.id], "target_all_students": true, "target_students": [{ "id": student.id }],
        "target_offerings": [offering.to_string()], "target_intakes": [intake], "related_unit": unit,
        "related_offering": "", "generated_content": { "social_post": "x" }, "created_by": 1,
    }));
    let made = convenor.post(EVENTS, &sent).await;
    let id = id_of(&made);
    let now = "2026-03-02T02:00:00.000000Z";
    let wanted = json!({
        "id": id, "title": "Open day", "description": "All day", "start": START, "end": "2026-03-10T17:00:00.000000Z",
        "location": "Hall", "visibility": "unit", "attendees": [convenor.id], "target_all_students": true,
        "target_students": [student.id], "target_offerings": [offering],
        "target_intakes": [{ "id": intake, "semester": "S1", "year": 2026 }], "related_unit": unit,
        "related_offering": null, "generated_content": {}, "generation_status": "idle", "generation_meta": {},
        "last_generated_at": null, "created_at": now, "updated_at": now, "created_by": convenor.id,
        "updated_by": convenor.id, "deleted_at": null, "is_deleted": false,
    });
    assert_eq!(made.body, wanted);
    assert_eq!(convenor.get(&at(EVENTS, id)).await.expect(200), &wanted);
    assert_eq!(convenor.put(&at(EVENTS, id), &wanted).await.expect(200), &wanted);

    let cleared =
        json!({ "attendees": [], "target_students": [], "target_offerings": [], "target_intakes": [], "end": null });
    let change = convenor.patch(&at(EVENTS, id), &cleared).await;
    for (member, value) in cleared.as_object().unwrap() {
        assert_eq!(&change.expect(200)[member], value, "{member}");
    }
    assert_eq!(change.body["description"], json!("All day"));
}

#[tokio::test]
async fn an_event_must_be_plausible() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let parent = app.parent().await;
    for (field, value) in [
        ("title", json!(" ")),
        ("title", json!("x".repeat(256))),
        ("description", json!("x".repeat(20_001))),
        ("location", json!("x".repeat(256))),
        ("start", json!(null)),
        ("start", json!("soon")),
        ("end", json!("2026-03-10T08:59:59Z")),
        ("visibility", json!("secret")),
        ("attendees", json!([987_654])),
        ("target_students", json!([parent.id])),
        ("target_offerings", json!([987_654])),
        ("target_intakes", json!([987_654])),
        ("related_unit", json!(987_654)),
        ("related_offering", json!(987_654)),
    ] {
        let mut sent = body();
        sent[field] = value;
        let refused = staff.post(EVENTS, &sent).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{sent}");
    }
    let refused = staff.post(EVENTS, &json!({ "attendees": ["x"] })).await;
    assert_eq!(refused.status.as_u16(), 400);
}

#[tokio::test]
async fn who_may_not_edit_sees_of_people_only_themselves_and_of_content_what_is_confirmed() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let people = json!([ann.id, bob.id]);
    let id = id_of(&staff.post(EVENTS, &with(&json!({ "attendees": people, "target_students": people }))).await);
    run(
        &app.db,
        r#"update events set generated_content = '{"social_post": "Come!"}', generation_meta = '{"model": "m"}'"#,
    )
    .await;
    let path = at(EVENTS, id);
    let seen = ann.get(&path).await.expect(200).clone();
    assert_eq!((&seen["attendees"], &seen["target_students"]), (&json!([ann.id]), &json!([ann.id])));
    assert_eq!((&seen["generated_content"], &seen["generation_meta"]), (&json!({}), &json!({})));
    for reader in [&staff, &app.auditor().await, &app.convenor().await] {
        let seen = reader.get(&path).await.expect(200).clone();
        assert_eq!((&seen["attendees"], &seen["generation_meta"]), (&people, &json!({ "model": "m" })));
    }
    run(&app.db, r#"update events set generation_meta = '{"confirmed_at": "2026-03-02T02:00:00Z"}'"#).await;
    let seen = ann.get(&path).await.expect(200).clone();
    assert_eq!(seen["generated_content"], json!({ "social_post": "Come!" }));
    assert_eq!(seen["generation_meta"], json!({}));
}

/// Random, and the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn some<T: Copy>(&mut self, of: &[T]) -> Vec<T> {
        if self.below(2) == 0 { Vec::new() } else { of.iter().copied().filter(|_| self.below(3) == 0).collect() }
    }
}

/// An offering with where it belongs.
#[derive(Clone, Copy)]
struct Class {
    id: Id,
    unit: Id,
    intake: Id,
}

/// An event as it was made.
struct Made {
    id: Id,
    visibility: &'static str,
    all_students: bool,
    students: Vec<Id>,
    offerings: Vec<Id>,
    intakes: Vec<Id>,
    unit: Option<Id>,
    offering: Option<Id>,
}

/// The rule of the book, said once more: whether somebody who does not see all events sees this one.
fn sees(event: &Made, who: Option<&Person>, classes: &[Class]) -> bool {
    let untargeted = event.students.is_empty() && event.offerings.is_empty() && event.intakes.is_empty();
    let Some(who) = who else {
        return event.visibility == "public" && (event.all_students || untargeted);
    };
    let is_student = who.user_type == "student";
    let within = |unit: Option<Id>, offering: Option<Id>| {
        classes.iter().any(|class| Some(class.unit) == unit || Some(class.id) == offering)
    };
    event.visibility != "staff"
        && ((event.all_students && is_student)
            || event.students.contains(&who.id)
            || classes.iter().any(|class| event.offerings.contains(&class.id) || event.intakes.contains(&class.intake))
            || (event.visibility == "unit" && within(event.unit, event.offering))
            || (event.visibility == "public" && (event.all_students || untargeted)))
}

#[tokio::test]
async fn everyone_sees_the_events_that_the_rules_give_them() {
    let app = TestApp::with(&[("DB_POOL_SIZE", "8")]).await;
    let staff = app.staff().await;
    for seed in [3, 17] {
        let mut dice = Dice(seed * 7_919);
        let mut classes = Vec::new();
        for number in 0..5 {
            let unit = app.unit().await;
            let id = app.offering_of(unit, 0).await;
            let year = 1900 + i64::try_from(seed).unwrap() * 5 + number % 3;
            run(
                &app.db,
                format!(
                    "with old as (select id from intakes where year = {year} and semester = 'S2'),
                          made as (insert into intakes (year, semester) select {year}, 'S2'
                                    where not exists (select from old) returning id)
                     update offerings set year = {year}, semester = 'S2',
                                          intake_id = (select id from old union all select id from made)
                      where id = {id}"
                ),
            )
            .await;
            classes.push(Class { id, unit, intake: intake_of(&app, id).await });
        }
        let mut people = Vec::new();
        for number in 0..5 {
            let person = if number == 4 { app.parent().await } else { app.student().await };
            let mut sits = Vec::new();
            for class in dice.some(&classes).into_iter().filter(|_| number < 4) {
                let status = ["PENDING", "ENROLLED", "WITHDRAWN", "COMPLETED", "FAILED"][dice.below(5)];
                app.enrollment(person.id, class.id, status).await;
                if status != "WITHDRAWN" {
                    sits.push(class);
                }
            }
            people.push((person, sits));
        }
        let students: Vec<Id> = people[..4].iter().map(|(person, _)| person.id).collect();
        let offerings: Vec<Id> = classes.iter().map(|class| class.id).collect();
        let intakes: BTreeSet<Id> = classes.iter().map(|class| class.intake).collect();
        let intakes: Vec<Id> = intakes.into_iter().collect();
        let mut events = Vec::new();
        for _ in 0..40 {
            let mut made = Made {
                id: Id(0),
                visibility: ["public", "unit", "staff"][dice.below(3)],
                all_students: dice.below(4) == 0,
                students: dice.some(&students),
                offerings: dice.some(&offerings),
                intakes: dice.some(&intakes),
                unit: (dice.below(2) == 0).then(|| classes[dice.below(5)].unit),
                offering: (dice.below(2) == 0).then(|| offerings[dice.below(5)]),
            };
            let sent = with(&json!({
                "visibility": made.visibility, "target_all_students": made.all_students,
                "target_students": made.students, "target_offerings": made.offerings,
                "target_intakes": made.intakes, "related_unit": made.unit, "related_offering": made.offering,
            }));
            made.id = id_of(&staff.post(EVENTS, &sent).await);
            events.push(made);
        }
        let expected = |who: Option<&Person>, sits: &[Class]| -> BTreeSet<Id> {
            events.iter().filter(|event| sees(event, who, sits)).map(|event| event.id).collect()
        };
        let found = |ids: Vec<Id>| -> BTreeSet<Id> {
            ids.into_iter().filter(|id| events.iter().any(|event| event.id == *id)).collect()
        };
        for (person, sits) in &people {
            let listed = found(person.get(EVENTS).await.ids());
            assert_eq!(listed, expected(Some(person), sits), "{} {seed}", person.user_type);
            for event in events.iter().step_by(7) {
                let status = if listed.contains(&event.id) { 200 } else { 404 };
                assert_eq!(person.get(&at(EVENTS, event.id)).await.status.as_u16(), status);
            }
        }
        assert_eq!(found(app.anonymous().get(EVENTS).await.ids()), expected(None, &[]));
        for who in [&staff, &app.convenor().await, &app.auditor().await, &app.admin().await] {
            assert_eq!(found(who.get(EVENTS).await.ids()).len(), events.len(), "{}", who.user_type);
        }
    }
}

#[tokio::test]
async fn events_are_written_by_staff_and_convenors_alone() {
    let app = TestApp::start().await;
    let (staff, convenor, other) = (app.staff().await, app.convenor().await, app.convenor().await);
    let id = id_of(&staff.post(EVENTS, &body()).await);
    let path = at(EVENTS, id);
    for who in [app.student().await, app.parent().await, app.auditor().await] {
        assert_eq!(who.post(EVENTS, &body()).await.status.as_u16(), 403, "{}", who.user_type);
        assert_eq!(who.put(&path, &body()).await.status.as_u16(), 403);
        assert_eq!(who.patch(&path, &json!({ "title": "Mine" })).await.status.as_u16(), 403);
        assert_eq!(who.delete(&path).await.status.as_u16(), 403);
        assert_eq!(who.get(&format!("{path}targeted_students/")).await.status.as_u16(), 403);
    }
    assert_eq!(app.anonymous().patch(&path, &json!({ "dismissed": true })).await.status.as_u16(), 401);
    convenor.patch(&path, &json!({ "title": "Ours" })).await.expect(200);
    let hidden = id_of(&staff.post(EVENTS, &with(&json!({ "visibility": "staff" }))).await);
    let student = app.student().await;
    for change in [json!({ "title": "Mine" }), json!({ "dismissed": true })] {
        assert_eq!(student.patch(&at(EVENTS, hidden), &change).await.status.as_u16(), 404);
    }

    // Deleting: what one created, or what is of a unit that one convenes.
    assert_eq!(convenor.delete(&path).await.status.as_u16(), 403);
    let own = id_of(&convenor.post(EVENTS, &body()).await);
    assert_eq!(other.delete(&at(EVENTS, own)).await.status.as_u16(), 403);
    convenor.delete(&at(EVENTS, own)).await.expect(204);
    let unit = app.unit_of(convenor.id).await;
    let offering = app.offering_of(unit, 0).await;
    for related in [json!({ "related_unit": unit }), json!({ "related_offering": offering })] {
        let id = id_of(&staff.post(EVENTS, &with(&related)).await);
        assert_eq!(other.delete(&at(EVENTS, id)).await.status.as_u16(), 403);
        convenor.delete(&at(EVENTS, id)).await.expect(204);
        assert_eq!(convenor.delete(&at(EVENTS, id)).await.status.as_u16(), 404);
    }
    staff.delete(&path).await.expect(204);
    assert_eq!(app.admin().await.post_bare(&format!("{path}restore/")).await.expect(200)["id"], json!(id));
}

#[tokio::test]
async fn an_event_is_put_aside_by_each_for_themselves() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let id = id_of(&staff.post(EVENTS, &body()).await);
    let path = at(EVENTS, id);
    let before = staff.get(&path).await.expect(200).clone();
    for _ in 0..2 {
        let put_aside = ann.patch(&path, &json!({ "dismissed": true })).await;
        assert_eq!(put_aside.expect(200)["id"], json!(id));
    }
    let list = async |who: &Person, query: &str| who.get(&format!("{EVENTS}{query}")).await.ids();
    assert_eq!(list(&ann, "").await, [id], "lists do not hide it unless asked");
    assert_eq!(list(&ann, "?dismissed=false").await, []);
    assert_eq!(list(&ann, "?dismissed=true").await, [id]);
    assert_eq!(list(&bob, "?dismissed=false").await, [id]);
    assert_eq!(app.anonymous().get(&format!("{EVENTS}?dismissed=true")).await.ids(), []);
    assert_eq!(staff.get(&path).await.expect(200), &before, "the event itself is not touched");
    ann.patch(&path, &json!({ "dismissed": false })).await.expect(200);
    assert_eq!(list(&ann, "?dismissed=false").await, [id]);
    assert_eq!(ann.patch(&path, &json!({ "dismissed": "perhaps" })).await.errors("dismissed").len(), 1);
    assert_eq!(ann.get(&format!("{EVENTS}?dismissed=perhaps")).await.errors("dismissed").len(), 1);
    // Staff who send more than that change the event.
    let both = staff.patch(&path, &json!({ "dismissed": true, "title": "Other" })).await;
    assert_eq!(both.expect(200)["title"], json!("Other"));
    assert_eq!(list(&staff, "?dismissed=true").await, []);
}

#[tokio::test]
async fn whoever_sees_an_event_may_come() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let id = id_of(&staff.post(EVENTS, &with(&json!({ "target_students": [ann.id] }))).await);
    let call = |verb: &str| format!("{}{verb}/", at(EVENTS, id));
    for _ in 0..2 {
        assert_eq!(ann.post_bare(&call("attend")).await.expect(200)["attendees"], json!([ann.id]));
    }
    assert_eq!(bob.post_bare(&call("attend")).await.status.as_u16(), 404);
    assert_eq!(staff.get(&at(EVENTS, id)).await.body["attendees"], json!([ann.id]));
    assert_eq!(ann.post_bare(&call("unattend")).await.expect(200)["attendees"], json!([]));
    assert_eq!(app.anonymous().post_bare(&call("attend")).await.status.as_u16(), 401);
}

#[tokio::test]
async fn the_students_of_an_event_are_those_of_all_its_targets() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (one, two) = (app.offering(0).await, app.offering(0).await);
    let mut people = Vec::new();
    for status in ["ENROLLED", "WITHDRAWN", "PENDING", "COMPLETED"] {
        let person = app.student().await;
        app.enrollment(person.id, one, status).await;
        people.push(person.id);
    }
    let (far, named) = (app.student().await.id, app.student().await.id);
    app.enrollment(far, two, "ENROLLED").await;
    let listed = async |more: Value| {
        let id = id_of(&staff.post(EVENTS, &with(&more)).await);
        staff.get(&format!("{}targeted_students/", at(EVENTS, id))).await.ids()
    };
    assert_eq!(listed(json!({})).await.len(), 6, "it is for nobody in particular, so anyone sees it");
    assert_eq!(listed(json!({ "target_students": [named] })).await, [named]);
    let class = listed(json!({ "target_offerings": [one], "target_students": [named] })).await;
    assert_eq!(class, [people[0], people[2], people[3], named]);
    let intake = intake_of(&app, one).await;
    assert_eq!(listed(json!({ "target_intakes": [intake] })).await, [people[0], people[2], people[3], far]);
    assert_eq!(listed(json!({ "target_all_students": true })).await.len(), 6);
}

#[tokio::test]
async fn a_list_is_narrowed_searched_and_paged() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut ids = Vec::new();
    for (day, title, visibility) in [(1, "Open day", "public"), (2, "Exam day", "staff"), (3, "Party", "public")] {
        let more = json!({ "title": title, "visibility": visibility, "start": format!("2026-04-0{day}T09:00:00Z") });
        ids.push(id_of(&staff.post(EVENTS, &with(&more)).await));
    }
    for (query, found) in [
        (String::new(), vec![ids[2], ids[1], ids[0]]),
        ("?search=DAY".to_owned(), vec![ids[1], ids[0]]),
        ("?from=2026-04-02".to_owned(), vec![ids[2], ids[1]]),
        ("?from=2026-04-01&to=2026-04-02T09:00:00Z".to_owned(), vec![ids[1], ids[0]]),
        ("?visibility=staff".to_owned(), vec![ids[1]]),
        ("?generation_status=ready".to_owned(), vec![]),
        ("?ordering=title".to_owned(), vec![ids[1], ids[0], ids[2]]),
    ] {
        assert_eq!(staff.get(&format!("{EVENTS}{query}")).await.ids(), found, "{query}");
    }
    assert_eq!(staff.get(&format!("{EVENTS}?colour=red")).await.errors("colour").len(), 1);
    let found = all_pages(&staff, &format!("{EVENTS}?page_size=1"), async || {
        staff.post(EVENTS, &body()).await.expect(201);
    })
    .await;
    whole(&found, &ids);
}

#[tokio::test]
async fn a_change_takes_one_session_of_the_database_and_leaves_the_other() {
    let app = TestApp::with(&[("DB_POOL_SIZE", "2"), ("DB_ACQUIRE_TIMEOUT", "1s")]).await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let path = at(EVENTS, id_of(&convenor.post(EVENTS, &body()).await));
    let title = json!({ "title": "Other" });
    for change in ["patch", "delete"] {
        let mut halfway = app.transaction().await;
        run(&mut *halfway, "select id from events for update").await;
        let (changed, ()) = tokio::join!(
            async { if change == "patch" { staff.patch(&path, &title).await } else { convenor.delete(&path).await } },
            async {
                app.until_someone_waits().await;
                staff.get(&path).await.expect(200);
                halfway.commit().await.unwrap();
            }
        );
        assert!(changed.status.is_success(), "{change}: {}", changed.body);
    }
}
