//! Tickets, the comments and files on them, and who is told of what.

use axum::http::Method;
use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{NOW, UNITS, at, faulty, id_of, run};
use crate::support::{Person, TestApp, Upload};

const TICKETS: &str = "/api/core/tickets/";
const COMMENTS: &str = "/api/core/ticket-comments/";
const NOTIFICATIONS: &str = "/api/core/notifications/";

/// A ticket of this person's.
async fn submit(person: &Person, title: &str) -> Id {
    id_of(&person.post(TICKETS, &json!({ "title": title })).await)
}

async fn say(person: &Person, ticket: Id, text: &str, internal: bool) -> Id {
    id_of(&person.post(COMMENTS, &json!({ "ticket": ticket, "comment": text, "internal": internal })).await)
}

async fn assign(staff: &Person, ticket: Id, to: &Person) {
    staff.patch(&at(TICKETS, ticket), &json!({ "assigned_to": to.id })).await.expect(200);
}

/// What this person was told, the oldest first: by whom, what, and about which ticket. It is forgotten then.
async fn told(app: &TestApp, person: &Person) -> Vec<(Id, String, Id)> {
    let list = person.get(&format!("{NOTIFICATIONS}?ordering=id")).await;
    let rows = list.expect(200).as_array().unwrap();
    let id = |value: &Value| Id(value.as_i64().unwrap());
    let told = rows.iter().map(|row| {
        assert_eq!(row["target_content_type"], "ticket");
        (id(&row["actor"]), row["verb"].as_str().unwrap().to_owned(), id(&row["target_object_id"]))
    });
    let told = told.collect();
    run(&app.db, format!("delete from notifications where recipient_id = {}", person.id)).await;
    told
}

#[tokio::test]
async fn anyone_submits_a_ticket_and_only_staff_say_how_it_is_handled() {
    let app = TestApp::start().await;
    let unit = app.unit().await;
    let offering = app.offering_of(unit, 0).await;
    let helper = app.staff().await;
    let body = json!({
        "title": "No projector", "description": "In room 7", "category": "rooms", "related_unit": unit,
        "related_offering": offering, "assigned_to": helper.id, "status": "in_progress", "priority": "high",
        "submitter": helper.id, "files": [1], "created_at": "1999-01-01T00:00:00Z", "created_by": helper.id,
    });
    for user_type in ["student", "parent", "unit_convenor", "auditor", "staff", "admin"] {
        let person = app.person(user_type).await;
        let handles = matches!(user_type, "staff" | "admin");
        let made = person.post(TICKETS, &body).await;
        let wanted = json!({
            "id": id_of(&made), "title": "No projector", "description": "In room 7", "submitter": person.id,
            "assigned_to": if handles { json!(helper.id) } else { Value::Null },
            "status": if handles { "in_progress" } else { "open" },
            "priority": if handles { "high" } else { "medium" },
            "category": "rooms", "related_unit": unit, "related_offering": offering, "files": [],
            "created_at": NOW, "updated_at": NOW, "created_by": person.id, "updated_by": person.id,
            "deleted_at": null, "is_deleted": false,
        });
        assert_eq!(made.body, wanted, "{user_type}");
        assert_eq!(person.get(&at(TICKETS, id_of(&made))).await.expect(200), &wanted, "{user_type}");
    }
    // What is not the caller's to write may even be nonsense.
    let nonsense = json!({ "title": "Hello", "status": "unheard of", "priority": 7, "assigned_to": "nobody" });
    app.student().await.post(TICKETS, &nonsense).await.expect(201);
    assert_eq!(app.anonymous().post(TICKETS, &body).await.refusal(), (401, "not_authenticated"));
    app.check_invariants().await;
}

#[tokio::test]
async fn a_ticket_must_be_plausible() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let refused = staff.post(TICKETS, &json!({})).await;
    assert_eq!((refused.refusal(), faulty(&refused)), ((400, "invalid"), ["title".to_owned()].into()));
    let gone = app.staff().await;
    run(&app.db, format!("update users set is_active = false where id = {}", gone.id)).await;
    for (field, value) in [
        ("title", json!(" ")),
        ("title", json!("x".repeat(256))),
        ("description", json!("x".repeat(20_001))),
        ("category", json!("x".repeat(101))),
        ("related_unit", json!(987_654)),
        ("related_offering", json!(987_654)),
        ("related_unit", json!("x")),
        ("status", json!("done")),
        ("priority", json!("urgent")),
        ("assigned_to", json!(987_654)),
        ("assigned_to", json!(gone.id)),
        ("assigned_to", json!(app.student().await.id)),
    ] {
        let mut body = json!({ "title": "Hello" });
        body[field] = value;
        let refused = staff.post(TICKETS, &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{body}");
    }
    // Whoever has left stays on the tickets that are theirs.
    let ticket = submit(&staff, "Hello").await;
    let path = at(TICKETS, ticket);
    let leaver = app.convenor().await;
    assign(&staff, ticket, &leaver).await;
    run(&app.db, format!("update users set is_active = false where id = {}", leaver.id)).await;
    let changed = staff.patch(&path, &json!({ "title": "Bye" })).await;
    assert_eq!(changed.expect(200)["assigned_to"], json!(leaver.id));
    assert_eq!(staff.get(TICKETS).await.ids(), [ticket], "what was refused is not there");
}

#[tokio::test]
async fn who_sees_and_who_writes_a_ticket() {
    let app = TestApp::start().await;
    let (owner, staff, helper) = (app.student().await, app.staff().await, app.convenor().await);
    let (convenor, colleague) = (app.convenor().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let offering = app.offering_of(unit, 0).await;
    let of_unit = json!({ "title": "Of the unit", "related_unit": unit });
    let of_offering = json!({ "title": "Of the offering", "related_offering": offering });
    let mut tickets = vec![submit(&owner, "Of none").await];
    tickets.push(id_of(&owner.post(TICKETS, &of_unit).await));
    tickets.push(id_of(&owner.post(TICKETS, &of_offering).await));
    assign(&staff, tickets[0], &helper).await;
    let newest = |ids: &[usize]| ids.iter().rev().map(|place| tickets[*place]).collect::<Vec<_>>();

    let (all, none) = ([0, 1, 2], []);
    for (who, person, sees, writes) in [
        ("the submitter", &owner, &all[..], &all[..]),
        ("the assignee", &helper, &all[..1], &all[..1]),
        ("the convenor", &convenor, &all[1..], &all[1..]),
        ("another convenor", &colleague, &none[..], &none[..]),
        ("another student", &app.student().await, &none[..], &none[..]),
        ("a parent", &app.parent().await, &none[..], &none[..]),
        ("staff", &staff, &all[..], &all[..]),
        ("an auditor", &app.auditor().await, &all[..], &none[..]),
        ("an administrator", &app.admin().await, &all[..], &all[..]),
    ] {
        assert_eq!(person.get(TICKETS).await.ids(), newest(sees), "{who}");
        let counted = person.get(&format!("{TICKETS}?count=true")).await;
        assert_eq!(counted.header("x-total-count"), Some(sees.len().to_string().as_str()), "{who}");
        for (place, ticket) in tickets.iter().enumerate() {
            let path = at(TICKETS, ticket);
            let (sees, writes) = (sees.contains(&place), writes.contains(&place));
            let wanted = if writes {
                200
            } else if sees {
                403
            } else {
                404
            };
            let what = format!("{who}, ticket {place}");
            assert_eq!(person.get(&path).await.status.as_u16(), if sees { 200 } else { 404 }, "{what}");
            let title = json!({ "title": format!("By {who}") });
            assert_eq!(person.patch(&path, &title).await.status.as_u16(), wanted, "{what}");
            let mut whole = title.clone();
            whole["related_unit"] = if place == 1 { json!(unit) } else { Value::Null };
            whole["related_offering"] = if place == 2 { json!(offering) } else { Value::Null };
            assert_eq!(person.put(&path, &whole).await.status.as_u16(), wanted, "{what}");
            if !matches!(who, "staff" | "an administrator") {
                // Only staff may delete: whoever else asks hears no more than that.
                assert_eq!(person.delete(&path).await.refusal(), (403, "permission_denied"), "{what}");
            }
        }
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn who_is_no_longer_assigned_no_longer_sees_a_ticket() {
    let app = TestApp::start().await;
    let (owner, staff, helper) = (app.student().await, app.staff().await, app.convenor().await);
    let ticket = submit(&owner, "Hello").await;
    let path = at(TICKETS, ticket);
    assert_eq!(helper.get(&path).await.refusal(), (404, "not_found"));
    assign(&staff, ticket, &helper).await;
    helper.get(&path).await.expect(200);
    let comment = say(&helper, ticket, "I look after it", false).await;
    staff.patch(&path, &json!({ "assigned_to": null })).await.expect(200);
    assert_eq!(helper.get(&path).await.refusal(), (404, "not_found"));
    assert_eq!(helper.patch(&at(COMMENTS, comment), &json!({ "comment": "x" })).await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn only_staff_assign_a_ticket_and_set_its_priority_and_status() {
    let app = TestApp::start().await;
    let (owner, staff, helper, convenor) =
        (app.student().await, app.staff().await, app.convenor().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let path = at(TICKETS, id_of(&owner.post(TICKETS, &json!({ "title": "Hello", "related_unit": unit })).await));
    let handling = json!({ "assigned_to": helper.id, "priority": "high", "status": "in_progress" });
    let of = |body: &Value| json!([body["assigned_to"], body["priority"], body["status"]]);
    staff.patch(&path, &handling).await.expect(200);
    let handled = json!([helper.id, "high", "in_progress"]);
    let others =
        json!({ "assigned_to": staff.id, "priority": "low", "status": "open", "title": "Hi", "related_unit": unit });
    for person in [&owner, &helper, &convenor] {
        for method in [Method::PATCH, Method::PUT] {
            let reply = person.send(method, &path, "application/json", others.to_string()).await;
            assert_eq!(of(reply.expect(200)), handled, "{}", person.email);
            assert_eq!(reply.body["title"], "Hi");
        }
    }
    // Who is neither submitter nor staff does not close it either.
    for person in [&helper, &convenor] {
        assert_eq!(of(person.patch(&path, &json!({ "status": "closed" })).await.expect(200)), handled);
    }
    assert_eq!(of(staff.patch(&path, &others).await.expect(200)), json!([staff.id, "low", "open"]));
    // To staff a `PUT` gives the defaults of what it leaves out.
    assert_eq!(of(staff.put(&path, &json!({ "title": "Hi" })).await.expect(200)), json!([null, "medium", "open"]));
}

#[tokio::test]
async fn the_submitter_closes_and_reopens_a_ticket() {
    let app = TestApp::start().await;
    let (owner, staff) = (app.student().await, app.staff().await);
    let path = at(TICKETS, submit(&owner, "Hello").await);
    let status = async |who: &Person, status: &str| {
        who.patch(&path, &json!({ "status": status })).await.expect(200)["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(&owner, "in_progress").await, "open");
    assert_eq!(status(&owner, "closed").await, "closed");
    assert_eq!(status(&owner, "in_progress").await, "closed");
    // A `PUT` without the status leaves it.
    assert_eq!(owner.put(&path, &json!({ "title": "Hello" })).await.expect(200)["status"], "closed");
    assert_eq!(status(&owner, "open").await, "open");
    assert_eq!(status(&staff, "in_progress").await, "in_progress");
    assert_eq!(status(&owner, "open").await, "in_progress");
    assert_eq!(status(&owner, "closed").await, "closed");
    let wrong = owner.patch(&path, &json!({ "status": "done" })).await;
    assert_eq!((wrong.status.as_u16(), faulty(&wrong)), (400, ["status".to_owned()].into()));
}

#[tokio::test]
async fn a_convenor_cannot_move_a_ticket_out_of_reach() {
    let app = TestApp::start().await;
    let (owner, convenor, staff) = (app.student().await, app.convenor().await, app.staff().await);
    let (unit, second, foreign) = (app.unit_of(convenor.id).await, app.unit_of(convenor.id).await, app.unit().await);
    let path = at(TICKETS, id_of(&owner.post(TICKETS, &json!({ "title": "Hello", "related_unit": unit })).await));
    for moved in [json!({ "related_unit": foreign }), json!({ "related_unit": null })] {
        assert_eq!(convenor.patch(&path, &moved).await.refusal(), (403, "permission_denied"), "{moved}");
    }
    assert_eq!(convenor.put(&path, &json!({ "title": "Hello" })).await.refusal(), (403, "permission_denied"));
    convenor.patch(&path, &json!({ "related_unit": second })).await.expect(200);
    owner.patch(&path, &json!({ "related_unit": foreign })).await.expect(200);
    assert_eq!(convenor.get(&path).await.refusal(), (404, "not_found"));
    staff.patch(&path, &json!({ "related_unit": "" })).await.expect(200);
}

#[tokio::test]
async fn a_unit_that_a_ticket_is_about_is_not_deleted() {
    let app = TestApp::start().await;
    let (owner, staff, admin) = (app.student().await, app.staff().await, app.admin().await);
    let unit = app.unit().await;
    let ticket = id_of(&owner.post(TICKETS, &json!({ "title": "Hello", "related_unit": unit })).await);
    assert_eq!(staff.delete(&at(UNITS, unit)).await.refusal(), (409, "still_referred_to"));
    staff.delete(&at(TICKETS, ticket)).await.expect(204);
    staff.delete(&at(UNITS, unit)).await.expect(204);
    let restore = format!("{}restore/", at(TICKETS, ticket));
    assert_eq!(admin.post_bare(&restore).await.refusal(), (409, "cannot_be_restored"));
}

#[tokio::test]
async fn a_deleted_ticket_takes_its_comments_with_it_and_brings_them_back() {
    let app = TestApp::start().await;
    let (owner, staff, admin) = (app.student().await, app.staff().await, app.admin().await);
    let ticket = submit(&owner, "Hello").await;
    let path = at(TICKETS, ticket);
    let comment = at(COMMENTS, say(&owner, ticket, "Please", false).await);
    let before = owner.get(&comment).await.body;

    let tag = staff.get(&path).await.header("etag").unwrap().to_owned();
    assert_eq!(staff.with("If-Match", "\"old\"").delete(&path).await.refusal(), (412, "stale"));
    staff.with("If-Match", &tag).delete(&path).await.expect(204);
    for gone in [
        owner.get(&path).await,
        owner.patch(&path, &json!({ "title": "x" })).await,
        owner.put(&path, &json!({ "title": "x" })).await,
        staff.delete(&path).await,
        owner.get(&comment).await,
        owner.patch(&comment, &json!({ "comment": "x" })).await,
        staff.delete(&comment).await,
        owner.upload(&format!("{path}files/"), Upload::of("file", "a.txt", "text")).await,
    ] {
        assert_eq!(gone.refusal(), (404, "not_found"));
    }
    assert_eq!(owner.get(TICKETS).await.ids(), []);
    assert_eq!(staff.get(COMMENTS).await.ids(), []);
    let late = owner.post(COMMENTS, &json!({ "ticket": ticket, "comment": "Late" })).await;
    assert_eq!((late.status.as_u16(), faulty(&late)), (400, ["ticket".to_owned()].into()));
    let listed = format!("{TICKETS}?include_deleted=true");
    assert_eq!(staff.get(&listed).await.refusal(), (403, "permission_denied"));
    assert_eq!(admin.get(&listed).await.ids(), [ticket]);
    // A comment alone does not come back without its ticket.
    assert_eq!(admin.post_bare(&format!("{comment}restore/")).await.refusal(), (409, "cannot_be_restored"));

    let restore = format!("{path}restore/");
    for person in [&owner, &staff] {
        assert_eq!(person.post_bare(&restore).await.refusal(), (403, "permission_denied"));
    }
    assert_eq!(admin.post_bare(&restore).await.expect(200)["is_deleted"], json!(false));
    assert_eq!(owner.get(TICKETS).await.ids(), [ticket]);
    assert_eq!(owner.get(&comment).await.expect(200), &before);

    staff.delete(&comment).await.expect(204);
    assert_eq!(owner.get(&comment).await.refusal(), (404, "not_found"));
    assert_eq!(admin.post_bare(&format!("{comment}restore/")).await.expect(200), &before);
}

#[tokio::test]
async fn tickets_are_filtered_searched_and_ordered() {
    let app = TestApp::start().await;
    let (staff, owner, convenor) = (app.staff().await, app.student().await, app.convenor().await);
    let unit = app.unit().await;
    let offering = app.offering_of(unit, 0).await;
    let mut ids = vec![];
    for (minute, body) in [
        json!({ "title": "Projector", "description": "In room 7", "category": "rooms", "priority": "high" }),
        json!({ "title": "Timetable", "status": "in_progress", "assigned_to": convenor.id, "related_unit": unit }),
        json!({ "title": "Exam", "description": "Room 8", "category": "exams", "related_offering": offering }),
    ]
    .into_iter()
    .enumerate()
    {
        app.set_time(&format!("2026-03-02T02:0{minute}:00Z")).await;
        ids.push(id_of(&staff.post(TICKETS, &body).await));
    }
    app.set_time("2026-03-02T02:05:00Z").await;
    ids.push(submit(&owner, "Grade").await);
    for (query, wanted) in [
        (String::new(), vec![ids[3], ids[2], ids[1], ids[0]]),
        ("?ordering=created_at".to_owned(), ids.clone()),
        ("?status=in_progress".to_owned(), vec![ids[1]]),
        ("?priority=high".to_owned(), vec![ids[0]]),
        ("?category=exams".to_owned(), vec![ids[2]]),
        (format!("?assigned_to={}", convenor.id), vec![ids[1]]),
        (format!("?submitter={}", owner.id), vec![ids[3]]),
        (format!("?related_unit={unit}"), vec![ids[1]]),
        (format!("?related_offering={offering}"), vec![ids[2]]),
        ("?search=room".to_owned(), vec![ids[2], ids[0]]),
        ("?search=room%20proj".to_owned(), vec![ids[0]]),
        ("?updated_since=2026-03-02T02:02:00Z".to_owned(), vec![ids[3], ids[2]]),
    ] {
        assert_eq!(staff.get(&format!("{TICKETS}{query}")).await.ids(), wanted, "{query}");
    }
    for (query, name) in [("status=done", "status"), ("priority=urgent", "priority"), ("colour=red", "colour")] {
        let refused = staff.get(&format!("{TICKETS}?{query}")).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [name.to_owned()].into()));
    }
}

#[tokio::test]
async fn a_ticket_that_has_changed_since_is_not_written_over() {
    let app = TestApp::start().await;
    let owner = app.student().await;
    let ticket = submit(&owner, "Hello").await;
    let comment = say(&owner, ticket, "Please", false).await;
    for (path, field) in [(at(TICKETS, ticket), "title"), (at(COMMENTS, comment), "comment")] {
        let tag = owner.get(&path).await.header("etag").unwrap().to_owned();
        let careful = owner.with("If-Match", &tag);
        careful.patch(&path, &json!({ field: "New" })).await.expect(200);
        assert_eq!(careful.patch(&path, &json!({ field: "Newer" })).await.refusal(), (412, "stale"), "{path}");
        assert_eq!(careful.put(&path, &json!({ field: "Newer" })).await.refusal(), (412, "stale"), "{path}");
        assert_eq!(owner.get(&path).await.expect(200)[field], "New");
    }
}

#[tokio::test]
async fn a_key_submits_a_ticket_and_a_comment_once() {
    let app = TestApp::start().await;
    let owner = app.student().await;
    let keyed = owner.with("Idempotency-Key", "once");
    let first = keyed.post(TICKETS, &json!({ "title": "Hello" })).await;
    assert_eq!(keyed.post(TICKETS, &json!({ "title": "Hello" })).await.expect(201), first.expect(201));
    let body = json!({ "ticket": id_of(&first), "comment": "Please" });
    let said = keyed.post(COMMENTS, &body).await;
    assert_eq!(keyed.post(COMMENTS, &body).await.expect(201), said.expect(201));
    let file = || Upload::of("file", "a.txt", "text");
    let files = format!("{}files/", at(TICKETS, id_of(&first)));
    let sent = keyed.upload(&files, file()).await;
    assert_eq!(keyed.upload(&files, file()).await.expect(201), sent.expect(201));
    assert_eq!((owner.get(TICKETS).await.ids().len(), owner.get(COMMENTS).await.ids().len()), (1, 1));
    assert_eq!(owner.get(&at(TICKETS, id_of(&first))).await.body["files"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_writes_a_ticket_comments_on_it() {
    let app = TestApp::start().await;
    let (owner, staff, helper, convenor) =
        (app.student().await, app.staff().await, app.convenor().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let ticket = id_of(&owner.post(TICKETS, &json!({ "title": "Hello", "related_unit": unit })).await);
    assign(&staff, ticket, &helper).await;
    let body = json!({ "ticket": ticket, "comment": "Look", "commenter": 4711, "id": 4711 });
    let mut ids = vec![];
    for person in [&owner, &staff, &helper, &convenor, &app.admin().await] {
        let made = person.post(COMMENTS, &body).await;
        let wanted = json!({
            "id": id_of(&made), "ticket": ticket, "commenter": person.id, "comment": "Look", "internal": false,
            "created_at": NOW, "updated_at": NOW,
        });
        assert_eq!(made.body, wanted, "{}", person.email);
        assert_eq!(owner.get(&at(COMMENTS, id_of(&made))).await.expect(200), &wanted);
        ids.push(id_of(&made));
    }
    let (auditor, student) = (app.auditor().await, app.student().await);
    for person in [&owner, &staff, &helper, &convenor, &auditor] {
        assert_eq!(person.get(&format!("{COMMENTS}?ticket={ticket}")).await.ids(), ids, "{}", person.email);
    }
    // An auditor sees the ticket but may not write it; to strangers it is not there, whatever its id.
    assert_eq!(auditor.post(COMMENTS, &body).await.refusal(), (403, "permission_denied"));
    for stranger in [&student, &app.parent().await, &app.convenor().await] {
        assert_eq!(stranger.get(COMMENTS).await.ids(), []);
        assert_eq!(stranger.get(&at(COMMENTS, ids[0])).await.refusal(), (404, "not_found"));
        let (there, not_there) =
            (stranger.post(COMMENTS, &body).await, json!({ "ticket": 987_654, "comment": "Look" }));
        let not_there = stranger.post(COMMENTS, &not_there).await;
        assert_eq!(there.errors("ticket"), [format!("There is no ticket with the id {ticket}.")]);
        assert_eq!(not_there.errors("ticket"), ["There is no ticket with the id 987654."]);
        assert_eq!((there.status.as_u16(), not_there.status.as_u16()), (400, 400));
    }
    for (wrong, field) in [
        (json!({ "comment": "Look" }), "ticket"),
        (json!({ "ticket": ticket, "comment": " " }), "comment"),
        (json!({ "ticket": ticket, "comment": "x".repeat(20_001) }), "comment"),
    ] {
        let refused = owner.post(COMMENTS, &wrong).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()));
    }
    // An auditor's own ticket is another matter.
    let own = submit(&auditor, "Mine").await;
    say(&auditor, own, "Please", false).await;
}

#[tokio::test]
async fn what_somebody_said_only_they_change_and_staff_delete() {
    let app = TestApp::start().await;
    let (owner, staff, helper) = (app.student().await, app.staff().await, app.convenor().await);
    let ticket = submit(&owner, "Hello").await;
    let other = submit(&owner, "Another").await;
    assign(&staff, ticket, &helper).await;
    let comment = at(COMMENTS, say(&helper, ticket, "Look", false).await);
    for stranger in [&owner, &staff] {
        assert_eq!(stranger.patch(&comment, &json!({ "comment": "x" })).await.refusal(), (403, "permission_denied"));
        let whole = json!({ "ticket": ticket, "comment": "x" });
        assert_eq!(stranger.put(&comment, &whole).await.refusal(), (403, "permission_denied"));
    }
    assert_eq!(owner.delete(&comment).await.refusal(), (403, "permission_denied"));
    assert_eq!(app.auditor().await.delete(&comment).await.refusal(), (403, "permission_denied"));
    // The ticket stays, and only staff make it a note.
    let sent = json!({ "ticket": other, "comment": "Look here", "internal": true, "commenter": owner.id });
    let mut wanted = helper.get(&comment).await.body;
    wanted["comment"] = json!("Look here");
    assert_eq!(helper.patch(&comment, &sent).await.expect(200), &wanted);
    assert_eq!(helper.put(&comment, &sent).await.expect(200), &wanted);
    assert_eq!(owner.get(&comment).await.expect(200), &wanted);
    helper.delete(&comment).await.expect(204);
    let own = at(COMMENTS, say(&owner, ticket, "Please", false).await);
    staff.delete(&own).await.expect(204);
}

#[tokio::test]
async fn an_internal_note_is_for_staff_alone() {
    let app = TestApp::start().await;
    let (owner, staff, helper, convenor) =
        (app.student().await, app.staff().await, app.convenor().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let ticket = id_of(&owner.post(TICKETS, &json!({ "title": "Hello", "related_unit": unit })).await);
    assign(&staff, ticket, &helper).await;
    // From anyone else the word is ignored.
    for person in [&owner, &helper, &convenor] {
        let body = json!({ "ticket": ticket, "comment": "Look", "internal": true });
        assert_eq!(person.post(COMMENTS, &body).await.expect(201)["internal"], json!(false), "{}", person.email);
    }
    let note = say(&staff, ticket, "A secret", true).await;
    let path = at(COMMENTS, note);
    for reader in [&staff, &app.staff().await, &app.admin().await, &app.auditor().await] {
        assert_eq!(reader.get(&path).await.expect(200)["internal"], json!(true), "{}", reader.email);
        assert_eq!(reader.get(&format!("{COMMENTS}?internal=true")).await.ids(), [note]);
        assert_eq!(reader.get(&format!("{COMMENTS}?search=secret")).await.ids(), [note]);
    }
    for person in [&owner, &helper, &convenor] {
        for reply in [
            person.get(&path).await,
            person.patch(&path, &json!({ "comment": "x" })).await,
            person.put(&path, &json!({ "ticket": ticket, "comment": "x" })).await,
            person.delete(&path).await,
        ] {
            assert_eq!(reply.refusal(), (404, "not_found"), "{}", person.email);
        }
        assert_eq!(person.get(COMMENTS).await.ids().len(), 3);
        assert_eq!(person.get(&format!("{COMMENTS}?internal=true")).await.ids(), []);
        assert_eq!(person.get(&format!("{COMMENTS}?count=true")).await.header("x-total-count"), Some("3"));
        assert_eq!(person.get(&format!("{COMMENTS}?search=secret")).await.ids(), []);
    }
    let opened = staff.patch(&path, &json!({ "internal": false })).await;
    assert_eq!(opened.expect(200)["internal"], json!(false));
    owner.get(&path).await.expect(200);
}

#[tokio::test]
async fn not_even_staff_see_internal_notes_on_tickets_of_their_own() {
    let app = TestApp::start().await;
    let (owner, admin, staff) = (app.staff().await, app.admin().await, app.staff().await);
    for submitter in [&owner, &admin] {
        let ticket = submit(submitter, "Mine").await;
        let note = say(&staff, ticket, "A secret", true).await;
        assert_eq!(submitter.get(&at(COMMENTS, note)).await.refusal(), (404, "not_found"));
        assert_eq!(submitter.get(&format!("{COMMENTS}?ticket={ticket}")).await.ids(), []);
        assert_eq!(submitter.delete(&at(COMMENTS, note)).await.refusal(), (404, "not_found"));
        // Nor do they write any, which they could not read.
        let body = json!({ "ticket": ticket, "comment": "Mine", "internal": true });
        let said = submitter.post(COMMENTS, &body).await;
        assert_eq!(said.expect(201)["internal"], json!(false));
        let kept = submitter.patch(&at(COMMENTS, id_of(&said)), &json!({ "internal": true })).await;
        assert_eq!(kept.expect(200)["internal"], json!(false));
    }
    // An administrator who brings one back does not see what it says either.
    let note = say(&staff, submit(&admin, "Mine").await, "A secret", true).await;
    staff.delete(&at(COMMENTS, note)).await.expect(204);
    let deleted = format!("{COMMENTS}?include_deleted=true&internal=true");
    assert!(!admin.get(&deleted).await.ids().contains(&note));
    let restored = admin.post_bare(&format!("{}restore/", at(COMMENTS, note))).await;
    assert_eq!(restored.expect(200)["comment"], json!(""));
    assert_eq!(staff.get(&at(COMMENTS, note)).await.expect(200)["comment"], json!("A secret"));
}

#[tokio::test]
async fn a_comment_does_not_slip_onto_a_ticket_that_is_being_deleted() {
    let app = TestApp::start().await;
    let owner = app.student().await;
    let ticket = submit(&owner, "Hello").await;
    // Somebody else's request, halfway.
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("update tickets set deleted_at = rule_now() where id = {ticket}")).await;
    let body = json!({ "ticket": ticket, "comment": "Late" });
    let (reply, ()) = tokio::join!(owner.post(COMMENTS, &body), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!((reply.status.as_u16(), faulty(&reply)), (400, ["ticket".to_owned()].into()));
    let comments = sqlx::query_scalar!(r#"select count(*) as "n!" from ticket_comments"#);
    assert_eq!(comments.fetch_one(&app.db).await.unwrap(), 0);
}

#[tokio::test]
async fn the_last_file_is_taken_once_when_two_come_at_once() {
    let app = TestApp::start().await;
    let (owner, staff) = (app.student().await, app.staff().await);
    let ticket = submit(&owner, "Hello").await;
    let files = format!("{}files/", at(TICKETS, ticket));
    let send = || Upload::of("file", "a.txt", "text");
    for _ in 1..20 {
        owner.upload(&files, send()).await.expect(201);
    }
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("update tickets set category = 'x' where id = {ticket}")).await;
    let (one, other, ()) = tokio::join!(owner.upload(&files, send()), staff.upload(&files, send()), async {
        app.until_so_many_wait(2).await;
        halfway.commit().await.unwrap();
    });
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    app.check_invariants().await;
}

#[tokio::test]
async fn submitter_and_assignee_are_told_of_what_others_do() {
    let app = TestApp::start().await;
    let (owner, staff, helper) = (app.student().await, app.staff().await, app.convenor().await);
    let ticket = submit(&owner, "Hello").await;
    let path = at(TICKETS, ticket);
    let by = |who: &Person, verb: &str| vec![(who.id, verb.to_owned(), ticket)];
    let none = Vec::new;
    let told = async |person: &Person| told(&app, person).await;
    assert_eq!((told(&owner).await, told(&staff).await, told(&helper).await), (none(), none(), none()));

    assign(&staff, ticket, &helper).await;
    let list = helper.get(NOTIFICATIONS).await;
    let first = &list.expect(200)[0];
    assert_eq!(json!([first["description"], first["unread"]]), json!(["Hello", true]));
    let assigned = by(&staff, "Ticket assigned");
    assert_eq!((told(&owner).await, told(&helper).await), (assigned.clone(), assigned));

    for (status, verb) in
        [("in_progress", "Ticket in progress"), ("closed", "Ticket closed"), ("open", "Ticket reopened")]
    {
        staff.patch(&path, &json!({ "status": status })).await.expect(200);
        assert_eq!((told(&owner).await, told(&helper).await), (by(&staff, verb), by(&staff, verb)), "{status}");
    }
    owner.patch(&path, &json!({ "status": "closed" })).await.expect(200);
    assert_eq!((told(&owner).await, told(&helper).await), (none(), by(&owner, "Ticket closed")));
    helper.patch(&path, &json!({ "title": "Hello again" })).await.expect(200);
    assert_eq!((told(&owner).await, told(&helper).await), (by(&helper, "Ticket updated"), none()));
    // Nothing has changed: what is not one's own to write is ignored.
    owner.patch(&path, &json!({ "priority": "high" })).await.expect(200);
    staff.patch(&path, &json!({})).await.expect(200);
    assert_eq!((told(&owner).await, told(&helper).await), (none(), none()));

    say(&staff, ticket, "Look", false).await;
    assert_eq!((told(&owner).await, told(&helper).await), (by(&staff, "Ticket comment"), by(&staff, "Ticket comment")));
    say(&owner, ticket, "Thanks", false).await;
    assert_eq!((told(&owner).await, told(&helper).await), (none(), by(&owner, "Ticket comment")));
    say(&helper, ticket, "Welcome", false).await;
    assert_eq!((told(&owner).await, told(&helper).await), (by(&helper, "Ticket comment"), none()));
    owner.upload(&format!("{path}files/"), Upload::of("file", "a.txt", "text")).await.expect(201);
    assert_eq!((told(&owner).await, told(&helper).await), (none(), by(&owner, "Ticket updated")));

    // Of an internal note hears who may read it.
    say(&staff, ticket, "A secret", true).await;
    assert_eq!((told(&owner).await, told(&helper).await), (none(), none()));
    let reader = app.staff().await;
    assign(&staff, ticket, &reader).await;
    told(&owner).await;
    assert_eq!(told(&reader).await, by(&staff, "Ticket assigned"));
    say(&staff, ticket, "Another secret", true).await;
    assert_eq!((told(&owner).await, told(&reader).await), (none(), by(&staff, "Ticket comment")));

    // Who submits and looks after a ticket hears things once.
    assign(&staff, ticket, &staff).await;
    assert_eq!(told(&staff).await, none());
    let own = submit(&reader, "Mine").await;
    assign(&staff, own, &reader).await;
    assert_eq!(told(&reader).await, [(staff.id, "Ticket assigned".to_owned(), own)]);
    say(&staff, own, "A secret about you", true).await;
    assert_eq!(told(&reader).await, none());
    // One that comes assigned tells its assignee at once.
    let made = id_of(&staff.post(TICKETS, &json!({ "title": "Do it", "assigned_to": helper.id })).await);
    assert_eq!(told(&helper).await, [(staff.id, "Ticket assigned".to_owned(), made)]);
}

#[tokio::test]
async fn a_ticket_has_private_files() {
    let app = TestApp::start().await;
    let (owner, staff) = (app.student().await, app.staff().await);
    let ticket = submit(&owner, "Hello").await;
    let path = at(TICKETS, ticket);
    let files = format!("{path}files/");
    let made = owner.upload(&files, Upload::of("file", "../notes.txt", "What I saw")).await;
    let file = id_of(&made);
    let url = made.body["url"].as_str().unwrap().to_owned();
    let wanted = json!({ "id": file, "name": "notes.txt", "size": 10, "url": url });
    assert_eq!(made.body, wanted);
    assert_eq!(staff.get(&path).await.expect(200)["files"], json!([wanted]));
    assert_eq!(staff.get(TICKETS).await.body[0]["files"], json!([wanted]));

    let address = url.strip_prefix(app.base()).unwrap();
    assert!(address.starts_with("/api/files/"), "it is private: {address}");
    let fetched = app.anonymous().get(address).await;
    assert_eq!((fetched.status.as_u16(), fetched.bytes.as_slice()), (200, &b"What I saw"[..]));
    assert_eq!(app.anonymous().get(&format!("{address}x")).await.refusal(), (403, "permission_denied"));
    app.set_time("2026-03-02T02:12:00Z").await;
    assert_eq!(app.anonymous().get(address).await.refusal(), (403, "permission_denied"));

    let send = || Upload::of("file", "b.txt", "More");
    for stranger in [app.student().await, app.parent().await, app.convenor().await] {
        assert_eq!(stranger.upload(&files, send()).await.refusal(), (404, "not_found"));
    }
    assert_eq!(app.auditor().await.upload(&files, send()).await.refusal(), (403, "permission_denied"));
    assert_eq!(app.anonymous().upload(&files, send()).await.refusal(), (401, "not_authenticated"));
    for (wrong, field) in [
        (Upload::of("file", "a.html", "<!doctype html><script>alert(1)</script>"), "file"),
        (Upload::of("file", "empty.txt", ""), "file"),
        (Upload::of("document", "a.txt", "text"), "file"),
    ] {
        let refused = owner.upload(&files, wrong).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()));
    }
    for _ in 1..20 {
        staff.upload(&files, send()).await.expect(201);
    }
    assert_eq!(owner.upload(&files, send()).await.refusal(), (409, "too_many_files"));
    assert_eq!(owner.get(&path).await.body["files"].as_array().unwrap().len(), 20);
    let on_disk = std::fs::read_dir(app.state.config.media_root.join("private")).unwrap().count();
    assert_eq!(on_disk, 20, "what was refused left nothing behind");
    app.check_invariants().await;
}

#[tokio::test]
async fn a_role_reaches_as_far_as_it_says() {
    let app = TestApp::start().await;
    let (owner, convenor) = (app.student().await, app.convenor().await);
    let role = format!(
        "with role as (
            insert into roles (name, permissions)
            values ('Desk', array['tickets.manage:own_units', 'tickets.read_notes:own_units']) returning id
         )
         insert into user_roles (user_id, role_id) select {}, id from role",
        convenor.id
    );
    run(&app.db, role).await;
    let unit = app.unit_of(convenor.id).await;
    let near = id_of(&owner.post(TICKETS, &json!({ "title": "Near", "related_unit": unit })).await);
    let far = submit(&owner, "Far").await;
    assign(&app.staff().await, far, &convenor).await;

    let closed = json!({ "status": "closed" });
    assert_eq!(convenor.patch(&at(TICKETS, near), &closed).await.expect(200)["status"], "closed");
    assert_eq!(convenor.patch(&at(TICKETS, far), &closed).await.expect(200)["status"], "open");
    let note = say(&convenor, near, "A secret", true).await;
    assert_eq!(convenor.get(&format!("{COMMENTS}?internal=true")).await.ids(), [note]);
    assert_eq!(owner.get(COMMENTS).await.ids(), []);
    assert_eq!(convenor.delete(&at(TICKETS, far)).await.refusal(), (403, "permission_denied"));
    convenor.delete(&at(TICKETS, near)).await.expect(204);
}
