//! Units and their requisites.

use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use swincms::ids::Id;

use super::{COURSE_UNITS, NOW, OFFERINGS, UNIT_RESOURCES, UNITS, all_pages, at, id_of, run, whole};
use crate::support::{Person, Reply, TestApp};

/// A unit of this code with these prerequisites.
async fn unit(staff: &Person, code: &str, prerequisites: &[Id]) -> Id {
    let body = json!({ "code": code, "name": code, "prerequisites": prerequisites });
    id_of(&staff.post(UNITS, &body).await)
}

fn set_prerequisites(staff: &Person, unit: Id, prerequisites: &[Id]) -> impl Future<Output = Reply> + use<> {
    let (staff, path, body) = (staff.clone(), at(UNITS, unit), json!({ "prerequisites": prerequisites }));
    async move { staff.patch(&path, &body).await }
}

/// Refused because of this cycle.
#[track_caller]
fn refused_for(reply: &Reply, cycle: &str) {
    assert_eq!(reply.status.as_u16(), 400, "{}", reply.body);
    let says = reply.errors("prerequisites").concat();
    assert!(says.contains(&format!("{cycle}.")), "{says}");
}

/// Somebody else who is changing requisites; others wait until this ends.
async fn right_to_change_requisites(app: &TestApp) -> Transaction<'static, Postgres> {
    let mut halfway = app.transaction().await;
    let right = "select pg_advisory_xact_lock(hashtextextended('change the requisites of units', 0))";
    run(&mut *halfway, right).await;
    halfway
}

#[tokio::test]
async fn a_unit_is_shown_to_anyone_with_all_its_fields() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let (before, beside) = (app.unit().await, app.unit().await);
    let body = json!({
        "code": "COS10009", "name": "Programming", "credit_points": 12, "convenor": convenor.id.to_string(),
        "prerequisites": [before, before], "anti_requisites": [beside.to_string()],
    });
    let id = id_of(&staff.post(UNITS, &body).await);
    let wanted = json!({
        "id": id, "code": "COS10009", "name": "Programming", "description": "", "credit_points": "12.0",
        "department": "", "convenor": convenor.id, "is_elective": null, "prerequisites": [before],
        "anti_requisites": [beside], "is_active": true, "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(app.anonymous().get(&at(UNITS, id)).await.expect(200), &wanted);
    assert_eq!(app.anonymous().get(&format!("{UNITS}?code=COS10009")).await.expect(200), &json!([wanted]));
}

#[tokio::test]
async fn an_anti_requisite_is_shown_from_both_sides() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (low, high) = (app.unit().await, app.unit().await);
    let sides = async || {
        let of = async |unit| staff.get(&at(UNITS, unit)).await.body["anti_requisites"].clone();
        (of(low).await, of(high).await)
    };
    app.set_time("2026-03-02T03:00:00Z").await;
    staff.patch(&at(UNITS, high), &json!({ "anti_requisites": [low] })).await.expect(200);
    assert_eq!(sides().await, (json!([high]), json!([low])));
    let touched = staff.get(&format!("{UNITS}?updated_since=2026-03-02T02:30:00Z")).await;
    assert_eq!(touched.ids(), [low, high], "the other side has changed too");

    staff.patch(&at(UNITS, low), &json!({ "name": "The same still" })).await.expect(200);
    assert_eq!(sides().await, (json!([high]), json!([low])));
    staff.patch(&at(UNITS, low), &json!({ "anti_requisites": [] })).await.expect(200);
    assert_eq!(sides().await, (json!([]), json!([])));
}

#[tokio::test]
async fn a_deleted_anti_requisite_is_hidden_until_it_is_restored() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let (unit, gone) = (app.unit().await, app.unit().await);
    staff.patch(&at(UNITS, unit), &json!({ "anti_requisites": [gone] })).await.expect(200);
    staff.delete(&at(UNITS, gone)).await.expect(204);
    let changed = staff.patch(&at(UNITS, unit), &json!({ "name": "Alone", "anti_requisites": [] })).await;
    assert_eq!(changed.expect(200)["anti_requisites"], json!([]));
    admin.post_bare(&format!("{}restore/", at(UNITS, gone))).await.expect(200);
    assert_eq!(staff.get(&at(UNITS, unit)).await.expect(200)["anti_requisites"], json!([gone]));
}

#[tokio::test]
async fn a_requisite_that_stays_keeps_its_age() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (a, b, c) = (app.unit().await, app.unit().await, app.unit().await);
    let lists = |others: &[Id]| json!({ "prerequisites": others, "anti_requisites": others });
    staff.patch(&at(UNITS, a), &lists(&[b])).await.expect(200);
    app.set_time("2026-03-02T02:30:00Z").await;
    staff.patch(&at(UNITS, a), &lists(&[b, c])).await.expect(200);
    let old = sqlx::query_scalar!(
        r#"select (select count(*) from unit_prerequisites where created_at < rule_now())
                + (select count(*) from unit_anti_requisites where created_at < rule_now()) as "old!""#
    );
    assert_eq!(old.fetch_one(&app.db).await.unwrap(), 2);
}

#[tokio::test]
async fn a_patch_tells_null_from_absent() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let path = at(UNITS, app.unit_of(convenor.id).await);
    assert_eq!(staff.patch(&path, &json!({})).await.expect(200)["convenor"], json!(convenor.id));
    assert_eq!(staff.patch(&path, &json!({ "convenor": null })).await.expect(200)["convenor"], Value::Null);
    staff.patch(&path, &json!({ "convenor": convenor.id })).await.expect(200);
    assert_eq!(staff.patch(&path, &json!({ "convenor": "" })).await.expect(200)["convenor"], Value::Null);
    let refused = staff.patch(&path, &json!({ "prerequisites": null })).await;
    assert_eq!((refused.status.as_u16(), refused.errors("prerequisites").len()), (400, 1));
}

#[tokio::test]
async fn a_code_is_taken_whatever_its_case() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = unit(&staff, "COS10009", &[]).await;
    let other = unit(&staff, "COS20007", &[]).await;
    for taken in [
        staff.post(UNITS, &json!({ "code": "cos10009", "name": "Another" })).await,
        staff.patch(&at(UNITS, other), &json!({ "code": "Cos10009" })).await,
    ] {
        assert_eq!((taken.refusal(), taken.errors("code").len()), ((409, "already_taken"), 1));
    }
    staff.patch(&at(UNITS, id), &json!({ "code": "cos10009" })).await.expect(200);
    staff.delete(&at(UNITS, id)).await.expect(204);
    staff.patch(&at(UNITS, other), &json!({ "code": "COS10009" })).await.expect(200);
    let back = app.admin().await.post_bare(&format!("{}restore/", at(UNITS, id))).await;
    assert_eq!((back.refusal(), back.errors("code").len()), ((409, "already_taken"), 1));
}

#[tokio::test]
async fn a_unit_must_be_plausible() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for (field, value) in [
        ("code", json!("x".repeat(33))),
        ("name", json!(" ")),
        ("name", json!("x".repeat(256))),
        ("description", json!("x".repeat(20_001))),
        ("department", json!("x".repeat(256))),
        ("credit_points", json!("-0.5")),
        ("credit_points", json!("12.25")),
        ("credit_points", json!("10000")),
        ("convenor", json!("somebody")),
        ("prerequisites", json!(["x"])),
        ("prerequisites", json!(vec![1; 201])),
    ] {
        let mut body = json!({ "code": "COS10009", "name": "Programming" });
        body[field] = value;
        let refused = staff.post(UNITS, &body).await;
        let named = refused.body["errors"].as_object().unwrap().keys().all(|name| name.starts_with(field));
        assert_eq!((refused.status.as_u16(), named), (400, true), "{body}: {}", refused.body);
    }
}

#[tokio::test]
async fn only_who_can_convene_becomes_a_convenor() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let path = at(UNITS, app.unit().await);
    let away = app.convenor().await;
    run(&app.db, format!("update users set is_active = false where id = {}", away.id)).await;
    for (person, can) in [
        (app.convenor().await, true),
        (app.staff().await, true),
        (app.admin().await, true),
        (app.student().await, false),
        (app.parent().await, false),
        (app.auditor().await, false),
        (away.clone(), false),
    ] {
        let reply = staff.patch(&path, &json!({ "convenor": person.id })).await;
        let wanted = if can { (200, 0) } else { (400, 1) };
        assert_eq!((reply.status.as_u16(), reply.errors("convenor").len()), wanted, "{}", person.user_type);
    }
    let refused = staff.patch(&path, &json!({ "convenor": 987_654 })).await;
    assert_eq!((refused.status.as_u16(), refused.errors("convenor").len()), (400, 1));

    let orphan = at(UNITS, app.unit_of(away.id).await);
    let changed = staff.patch(&orphan, &json!({ "name": "Without a head" })).await;
    assert_eq!(changed.expect(200)["convenor"], json!(away.id), "who has left does not keep a unit from changes");
}

#[tokio::test]
async fn only_staff_decide_who_convenes() {
    let app = TestApp::start().await;
    let (convenor, colleague) = (app.convenor().await, app.convenor().await);
    let own = at(UNITS, app.unit_of(convenor.id).await);
    let (foreign, nobodys) = (at(UNITS, app.unit_of(colleague.id).await), at(UNITS, app.unit().await));
    let new = |convenor: Value| json!({ "code": "COS10009", "name": "Programming", "convenor": convenor });
    let me = json!(convenor.id);
    for refused in [
        convenor.patch(&own, &json!({ "convenor": colleague.id })).await,
        convenor.patch(&own, &json!({ "convenor": null })).await,
        convenor.put(&own, &json!({ "code": "COS10009", "name": "Programming" })).await,
        convenor.patch(&foreign, &json!({ "convenor": me })).await,
        convenor.patch(&nobodys, &json!({ "convenor": me })).await,
        convenor.patch(&nobodys, &json!({ "name": "Mine" })).await,
        convenor.delete(&foreign).await,
        convenor.post(UNITS, &new(Value::Null)).await,
        convenor.post(UNITS, &new(json!(colleague.id))).await,
    ] {
        assert_eq!(refused.refusal(), (403, "permission_denied"));
    }
    convenor.post(UNITS, &new(me.clone())).await.expect(201);
    convenor.patch(&own, &json!({ "convenor": me, "name": "Ours" })).await.expect(200);
    app.staff().await.patch(&own, &json!({ "convenor": colleague.id })).await.expect(200);
    assert_eq!(convenor.patch(&own, &json!({ "name": "Ours" })).await.refusal(), (403, "permission_denied"));
    colleague.patch(&own, &json!({ "name": "Mine" })).await.expect(200);
}

#[tokio::test]
async fn a_cycle_of_prerequisites_is_refused_and_named() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let a = unit(&staff, "A", &[]).await;
    let b = unit(&staff, "B", &[a]).await;
    let c = unit(&staff, "C", &[b]).await;
    let d = unit(&staff, "D", &[a, c]).await;
    for (unit, prerequisites, cycle) in [
        (a, vec![b], "A → B → A"),
        (a, vec![c], "A → C → B → A"),
        (a, vec![c, d], "A → D → A"),
        (b, vec![a, d], "B → D → C → B"),
    ] {
        refused_for(&set_prerequisites(&staff, unit, &prerequisites).await, cycle);
    }
    for own in [a, d] {
        let lists = json!({ "prerequisites": [own], "anti_requisites": [own] });
        let refused = staff.patch(&at(UNITS, own), &lists).await;
        let code = if own == a { "A" } else { "D" };
        for field in ["prerequisites", "anti_requisites"] {
            let says = refused.errors(field).concat();
            assert!(refused.status.as_u16() == 400 && says.contains(&format!("{code} → {code}.")), "{says}");
        }
    }
    let whole = json!({ "code": "A2", "name": "A", "prerequisites": [d] });
    refused_for(&staff.put(&at(UNITS, a), &whole).await, "A2 → D → A2");

    set_prerequisites(&staff, d, &[b]).await.expect(200);
    set_prerequisites(&staff, c, &[d]).await.expect(200);
    app.check_invariants().await;
}

#[tokio::test]
async fn requisites_that_do_not_exist_are_named() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (unit, there, gone) = (app.unit().await, app.unit().await, app.unit().await);
    staff.delete(&at(UNITS, gone)).await.expect(204);
    let lists = json!({ "prerequisites": [there, gone, 987_654], "anti_requisites": [gone] });
    for refused in [
        staff.patch(&at(UNITS, unit), &lists).await,
        staff
            .post(UNITS, &{
                let mut body = lists.clone();
                (body["code"], body["name"]) = (json!("COS10009"), json!("Programming"));
                body
            })
            .await,
    ] {
        assert_eq!(refused.status.as_u16(), 400);
        let before = refused.errors("prerequisites").concat();
        assert!(before.contains(&format!("{gone}, 987654")) && !before.contains(&format!(" {there},")), "{before}");
        assert!(refused.errors("anti_requisites").concat().contains(&gone.to_string()));
    }
}

#[tokio::test]
async fn a_unit_that_is_referred_to_stays() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (unit, follower) = (app.unit().await, app.unit().await);
    set_prerequisites(&staff, follower, &[unit]).await.expect(200);
    let offering = app.offering_of(unit, 0).await;
    let place = json!({ "course": app.course().await, "unit": unit });
    let place = id_of(&staff.post(COURSE_UNITS, &place).await);
    let book = json!({ "unit": unit, "title": "Book", "url": "https://example.org/" });
    let book = id_of(&staff.post(UNIT_RESOURCES, &book).await);
    run(&app.db, format!("insert into events (title, start, related_unit_id) values ('Talk', rule_now(), {unit})"))
        .await;
    run(&app.db, format!("insert into pages (title, slug, unit_id) values ('Page', 'page', {unit})")).await;
    let refused = staff.delete(&at(UNITS, unit)).await;
    assert_eq!(refused.refusal(), (409, "still_referred_to"));
    let counts = json!({
        "offerings": 1, "course_units": 1, "prerequisites": 1, "unit_resources": 1, "events": 1, "pages": 1,
    });
    assert_eq!(refused.body["counts"], counts);

    set_prerequisites(&staff, follower, &[]).await.expect(200);
    for path in [at(OFFERINGS, offering), at(COURSE_UNITS, place), at(UNIT_RESOURCES, book)] {
        assert_eq!(staff.delete(&at(UNITS, unit)).await.refusal(), (409, "still_referred_to"));
        staff.delete(&path).await.expect(204);
    }
    run(&app.db, "update events set deleted_at = rule_now()").await;
    run(&app.db, "update pages set deleted_at = rule_now()").await;
    staff.delete(&at(UNITS, unit)).await.expect(204);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_unit_is_not_restored_without_its_prerequisites() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    let a = unit(&staff, "A", &[]).await;
    let b = unit(&staff, "B", &[a]).await;
    for unit in [b, a] {
        staff.delete(&at(UNITS, unit)).await.expect(204);
    }
    let restore = async |unit| admin.post_bare(&format!("{}restore/", at(UNITS, unit))).await;
    let refused = restore(b).await;
    assert_eq!(refused.refusal(), (409, "cannot_be_restored"));
    assert!(refused.body["detail"].as_str().unwrap().contains(&a.to_string()));
    restore(a).await.expect(200);
    assert_eq!(restore(b).await.expect(200)["prerequisites"], json!([a]));
    app.check_invariants().await;
}

#[tokio::test]
async fn units_are_filtered_searched_and_ordered() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let mut ids = vec![];
    for (code, name, department, points, is_active, head) in [
        ("COS20007", "Objects", "Computing", "25.0", true, Some(convenor.id)),
        ("COS10009", "Programming", "Computing", "12.5", false, None),
        ("BUS10012", "Business", "Business", "6.0", true, None),
    ] {
        let body = json!({
            "code": code, "name": name, "department": department, "credit_points": points, "is_active": is_active,
            "convenor": head,
        });
        ids.push(id_of(&staff.post(UNITS, &body).await));
    }
    let (objects, programming, business) = (ids[0], ids[1], ids[2]);
    let course = app.course().await;
    staff.post(COURSE_UNITS, &json!({ "course": course, "unit": objects })).await.expect(201);
    for (query, wanted) in [
        (String::new(), vec![business, programming, objects]),
        ("?ordering=-name".to_owned(), vec![programming, objects, business]),
        ("?ordering=-credit_points,code".to_owned(), vec![objects, programming, business]),
        ("?ordering=-id".to_owned(), vec![business, programming, objects]),
        ("?department=Computing".to_owned(), vec![programming, objects]),
        ("?department=Computing&is_active=true".to_owned(), vec![objects]),
        ("?is_active=false".to_owned(), vec![programming]),
        (format!("?convenor={}", convenor.id), vec![objects]),
        (format!("?course={course}"), vec![objects]),
        ("?code=COS10009".to_owned(), vec![programming]),
        ("?search=cos".to_owned(), vec![programming, objects]),
        ("?search=cos%20object".to_owned(), vec![objects]),
        ("?search=nothing".to_owned(), vec![]),
    ] {
        assert_eq!(app.anonymous().get(&format!("{UNITS}{query}")).await.ids(), wanted, "{query}");
    }
    let refused = staff.get(&format!("{UNITS}?convenor=me&is_active=perhaps")).await;
    assert_eq!((refused.errors("convenor").len(), refused.errors("is_active").len()), (1, 1));
}

#[tokio::test]
async fn pages_lead_to_the_end_without_gap_or_repeat_while_units_come_and_go() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let mut there = vec![];
    for number in 0..23 {
        // Every third has the same points, so that the id decides.
        let body = json!({ "code": format!("U{:02}", 2 * number), "name": "Unit", "credit_points": number % 3 });
        there.push(id_of(&staff.post(UNITS, &body).await));
    }
    for ordering in ["code", "-code", "credit_points", "-credit_points,code", "credit_points,-code", "-id"] {
        let mut number = 0;
        let mut passing = vec![];
        let found = all_pages(&staff, &format!("{UNITS}?page_size=5&ordering={ordering}"), async || {
            number += 1;
            // One lands before the cursor or behind it, and one that is not read any more goes.
            let body = json!({ "code": format!("U{:02}", 2 * number + 1), "name": "Unit", "credit_points": 1 });
            passing.push(id_of(&staff.post(UNITS, &body).await));
            staff.delete(&at(UNITS, passing.pop().unwrap())).await.expect(204);
            let body = json!({ "code": format!("U{:02}", 2 * number + 1), "name": "Unit", "credit_points": 1 });
            passing.push(id_of(&staff.post(UNITS, &body).await));
        })
        .await;
        whole(&found, &there);
        assert!(number >= 4);
        for unit in passing {
            staff.delete(&at(UNITS, unit)).await.expect(204);
        }
    }
    let first = staff.get(&format!("{UNITS}?page_size=5&ordering=code")).await.next_page().unwrap();
    let other = first.replace("ordering=code", "ordering=-code");
    assert_eq!(staff.get(&other).await.errors("cursor").len(), 1, "a cursor belongs to its ordering");
}

#[tokio::test]
async fn a_cycle_that_two_changes_make_together_is_refused() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    // A → B and C → D are there; B → C and D → A each look harmless.
    let (b, d) = (unit(&staff, "B", &[]).await, unit(&staff, "D", &[]).await);
    let (a, c) = (unit(&staff, "A", &[b]).await, unit(&staff, "C", &[d]).await);

    // Somebody else's change of B, halfway: checked and written, not yet committed.
    let mut halfway = right_to_change_requisites(&app).await;
    let edge = format!("insert into unit_prerequisites (unit_id, prerequisite_id) values ({b}, {c})");
    run(&mut *halfway, edge).await;

    let (reply, ()) = tokio::join!(set_prerequisites(&staff, d, &[a]), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    refused_for(&reply, "D → A → B → C → D");
    app.check_invariants().await;
}

#[tokio::test]
async fn of_two_changes_at_once_that_would_make_a_cycle_one_is_refused() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let (a, b) = (unit(&staff, "A", &[]).await, unit(&staff, "B", &[]).await);

    // Both are held up where requisites are changed, and go on together.
    let halfway = right_to_change_requisites(&app).await;
    let (one, other, ()) =
        tokio::join!(set_prerequisites(&staff, a, &[b]), set_prerequisites(&staff, b, &[a]), async {
            app.until_so_many_wait(2).await;
            halfway.commit().await.unwrap();
        });
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400], "{} {}", one.body, other.body);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_unit_is_not_deleted_under_an_offering_that_is_being_made() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let unit = app.unit().await;
    let offering = app.offering_of(unit, 0).await;
    run(&app.db, "update offerings set deleted_at = rule_now()").await;
    // What a new offering does: it holds its unit, then it is there.
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("select from units where id = {unit} for share")).await;
    run(&mut *halfway, format!("update offerings set deleted_at = null where id = {offering}")).await;
    let path = at(UNITS, unit);
    let (reply, ()) = tokio::join!(staff.delete(&path), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!((reply.refusal(), &reply.body["counts"]), ((409, "still_referred_to"), &json!({ "offerings": 1 })));
    staff.get(&at(OFFERINGS, offering)).await.expect(200);
    app.check_invariants().await;
}

#[tokio::test]
async fn nothing_is_made_upon_a_unit_that_is_being_deleted() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let course = app.course().await;
    let window = ("2026-01-12T00:00:00Z", "2026-03-13T00:00:00Z");
    for (path, body) in [
        (
            OFFERINGS,
            json!({ "year": 2026, "semester": "S1", "enrollment_start": window.0, "enrollment_end": window.1 }),
        ),
        (COURSE_UNITS, json!({ "course": course })),
        (UNIT_RESOURCES, json!({ "title": "Book", "url": "https://example.org/" })),
        (UNITS, json!({ "code": "COS10009", "name": "Programming" })),
    ] {
        let unit = app.unit().await;
        let mut halfway = app.transaction().await;
        run(&mut *halfway, format!("update units set deleted_at = rule_now() where id = {unit}")).await;
        let mut body = body;
        let field = if path == UNITS { "prerequisites" } else { "unit" };
        body[field] = if path == UNITS { json!([unit]) } else { json!(unit) };
        let (reply, ()) = tokio::join!(staff.post(path, &body), async {
            app.until_someone_waits().await;
            halfway.commit().await.unwrap();
        });
        assert_eq!((reply.status.as_u16(), reply.errors(field).len()), (400, 1), "{path}: {}", reply.body);
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn a_student_sees_what_is_elective_in_the_own_major() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let (major, other) = (app.course().await, app.course().await);
    let (core, elective, elsewhere, nowhere) = (app.unit().await, app.unit().await, app.unit().await, app.unit().await);
    for (course, unit, is_elective) in
        [(major, core, false), (other, core, true), (major, elective, true), (other, elsewhere, true)]
    {
        let body = json!({ "course": course, "unit": unit, "is_elective": is_elective });
        staff.post("/api/academic/course-units/", &body).await.expect(201);
    }
    let offering = app.offering_of(core, 0).await;

    let is_elective = async |path: String| student.get(&path).await.expect(200).clone();
    for unit in [core, elective, elsewhere, nowhere] {
        assert_eq!(is_elective(format!("/api/academic/units/{unit}/")).await["is_elective"], json!(null), "no major");
    }
    run(&app.db, format!("update student_profiles set course_id = {major} where user_id = {}", student.id)).await;
    for (unit, expected) in
        [(core, json!(false)), (elective, json!(true)), (elsewhere, json!(true)), (nowhere, json!(null))]
    {
        assert_eq!(is_elective(format!("/api/academic/units/{unit}/")).await["is_elective"], expected);
    }
    let shown = is_elective(format!("/api/academic/offerings/{offering}/")).await;
    assert_eq!(shown["unit"]["is_elective"], json!(false));
    assert_eq!(shown["unit"].get("core_in"), None);
}

#[tokio::test]
async fn once_students_are_enrolled_what_records_rest_on_is_the_staffs_to_change() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let (unit, other) = (app.unit_of(convenor.id).await, app.unit().await);
    let offering = app.offering_of(unit, 0).await;
    let (unit, offering) = (at(UNITS, unit), at(super::OFFERINGS, offering));
    let of_unit = [
        json!({ "code": "RU1X" }),
        json!({ "credit_points": "50" }),
        json!({ "prerequisites": [other] }),
        json!({ "prerequisites": [], "anti_requisites": [other] }),
    ];
    let of_offering = [
        json!({ "enrollment_start": "2026-01-10T00:00:00Z" }),
        json!({ "enrollment_end": "2026-03-20T00:00:00Z" }),
        json!({ "withdraw_until": "2026-04-20T00:00:00Z" }),
    ];
    let all = || of_unit.iter().map(|sent| (&unit, sent)).chain(of_offering.iter().map(|sent| (&offering, sent)));
    for (path, sent) in all() {
        convenor.patch(path, sent).await.expect(200);
    }
    // What it was, so that each is a change again.
    convenor.patch(&unit, &json!({ "code": "RU1", "credit_points": "12.5", "anti_requisites": [] })).await.expect(200);
    let window = json!({ "enrollment_start": "2026-01-12T00:00:00Z", "enrollment_end": "2026-03-13T00:00:00Z", "withdraw_until": null });
    convenor.patch(&offering, &window).await.expect(200);
    let id = offering.trim_end_matches('/').rsplit('/').next().unwrap().parse().unwrap();
    app.enrollment(app.student().await.id, swincms::ids::Id(id), "WITHDRAWN").await;
    for (path, sent) in all() {
        let field = sent.as_object().unwrap().keys().find(|field| sent[*field] != json!([])).unwrap().clone();
        let refused = convenor.patch(path, sent).await;
        assert_eq!(refused.refusal(), (403, "permission_denied"), "{sent}");
        assert_eq!(refused.errors(&field), ["Students have been enrolled; only staff change this now."]);
    }
    convenor.patch(&unit, &json!({ "description": "New", "code": "RU1" })).await.expect(200);
    convenor.patch(&offering, &json!({ "notes": "New", "capacity": 30 })).await.expect(200);
    for (path, sent) in all() {
        staff.patch(path, sent).await.expect(200);
    }
}
