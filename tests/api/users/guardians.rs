//! Guardians: who is linked to whom, what the link shows, and what grants open and for how long.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{at, faulty, id_of, run};
use crate::support::{Person, Reply, TestApp};

const GUARDIANS: &str = "/api/users/guardians/";
const USERS: &str = "/api/users/users/";
const PROFILES: &str = "/api/users/student-profiles/";
const SCOPES: [&str; 4] = ["enrolments", "transcripts", "attendance", "gold"];

/// Makes the parent a guardian of these students, as an administrator does.
async fn link(admin: &Person, parent: &Person, students: &[&Person]) -> Id {
    let students: Vec<Id> = students.iter().map(|student| student.id).collect();
    id_of(&admin.post(GUARDIANS, &json!({ "user": parent.id, "students": students })).await)
}

fn grants(guardian: Id) -> String {
    format!("{GUARDIANS}{guardian}/grants/")
}

/// Lets the guardian see this much of `student`.
async fn grant(who: &Person, guardian: Id, student: &Person, scopes: &[&str]) -> Reply {
    who.post(&grants(guardian), &json!({ "student": student.id, "scopes": scopes })).await
}

async fn born(app: &TestApp, student: &Person, day: &str) {
    run(&app.db, format!("update users set date_of_birth = '{day}' where id = {}", student.id)).await;
}

/// What there is to be seen of a student: each path with the scope that opens it.
async fn records(app: &TestApp, student: &Person) -> Vec<(&'static str, String)> {
    let offering = app.offering(0).await;
    let enrollment = app.enrollment(student.id, offering, "COMPLETED").await;
    let rows = sqlx::query!(
        r#"with class as (
              insert into class_sessions (offering_id, date, start_time) values ($1, '2026-03-02', '09:00') returning id
           ),
           record as (
              insert into attendance_records (session_id, student_id, status)
              select id, $2, 'present' from class
              returning id
           ),
           account as (
              update gold_accounts
                 set current_balance = 5, lifetime_earned = 5, last_seq = 1
               where student_id = $2
              returning id
           ),
           award as (
              insert into gold_transactions (student_id, seq, amount, transaction_type, reason, balance_after)
              values ($2, 1, 5, 'AWARD', 'Helped', 5)
              returning id
           ),
           achievement as (
              insert into achievements (name, points_required) values ('Helper of ' || $2, 5) returning id
           ),
           earned as (
              insert into student_achievements (student_id, achievement_id, points_at_earning)
              select $2, id, 5 from achievement
              returning id
           )
           select (select id from record) as "attendance!",
                  (select id from account) as "account!",
                  (select id from award) as "award!",
                  (select id from earned) as "earned!",
                  id as transcript
             from transcripts
            where enrollment_id = $3"#,
        offering.0,
        student.id.0,
        enrollment.0
    );
    let rows = rows.fetch_one(&app.db).await.unwrap();
    let id = student.id;
    let enrolments = [
        format!("/api/enrollment/enrollments/?student={id}"),
        format!("/api/enrollment/enrollments/{enrollment}/"),
        format!("/api/enrollment/enrollments/{enrollment}/history/"),
    ];
    let transcripts = [
        format!("/api/enrollment/transcripts/?student={id}"),
        format!("/api/enrollment/transcripts/{}/", rows.transcript),
        format!("/api/enrollment/transcripts/summary/?student={id}"),
        format!("/api/enrollment/transcripts/summary/?student={id}&explain=true"),
        format!("/api/enrollment/transcripts/export/?student={id}"),
        format!("/api/enrollment/transcripts/export/?student={id}&format=csv"),
    ];
    let attendance = [
        format!("/api/core/attendance/?student={id}"),
        format!("/api/core/attendance/{}/", rows.attendance),
        format!("/api/core/attendance/summary/?student={id}"),
    ];
    let gold = [
        format!("/api/social/social-gold/?student={id}"),
        format!("/api/social/social-gold/{}/", rows.account),
        format!("/api/social/transactions/?student={id}"),
        format!("/api/social/transactions/{}/", rows.award),
        format!("/api/social/student-achievements/?student={id}"),
        format!("/api/social/student-achievements/{}/", rows.earned),
    ];
    let named = |scope: &'static str, paths: Vec<String>| paths.into_iter().map(move |path| (scope, path));
    named("enrolments", enrolments.into())
        .chain(named("transcripts", transcripts.into()))
        .chain(named("attendance", attendance.into()))
        .chain(named("gold", gold.into()))
        .collect()
}

/// The scopes whose every path shows something; a scope of which only a part is open fails the test.
async fn open(who: &Person, records: &[(&'static str, String)]) -> BTreeSet<&'static str> {
    let (mut open, mut shut) = (BTreeSet::new(), BTreeSet::new());
    for (scope, path) in records {
        let reply = who.get(path).await;
        let is_there = match reply.status.as_u16() {
            200 => reply.body.as_array().is_none_or(|rows| !rows.is_empty()),
            404 => false,
            status => panic!("{path}: {status}"),
        };
        if is_there {
            open.insert(*scope)
        } else {
            shut.insert(*scope)
        };
    }
    assert!(open.is_disjoint(&shut), "half open: {open:?}, half shut: {shut:?}");
    open
}

fn nothing() -> BTreeSet<&'static str> {
    BTreeSet::new()
}

/// What a person was told, oldest first; told once.
async fn told(app: &TestApp, person: &Person) -> Vec<(String, String)> {
    let list = person.get("/api/core/notifications/?ordering=id").await;
    let text = |row: &Value, member: &str| row[member].as_str().unwrap().to_owned();
    let told = list.expect(200).as_array().unwrap().iter().map(|row| (text(row, "verb"), text(row, "description")));
    let told = told.collect();
    run(&app.db, format!("delete from notifications where recipient_id = {}", person.id)).await;
    told
}

#[tokio::test]
async fn administrators_write_guardians_parents_read_their_own_and_students_those_they_have() {
    let app = TestApp::start().await;
    let (admin, parent, ann, bob) = (app.admin().await, app.parent().await, app.student().await, app.student().await);
    let child =
        |person: &Person| json!({ "id": person.id, "first_name": person.first_name, "last_name": person.last_name });
    let body = json!({
        "user": parent.id, "students": [ann.id, bob.id, ann.id], "relationship": "Mother", "is_emergency_contact": true,
    });
    let made = admin.post(GUARDIANS, &body).await;
    let id = id_of(&made);
    let whole = json!({
        "id": id,
        "user": parent.id,
        "first_name": parent.first_name,
        "last_name": parent.last_name,
        "students": [ann.id, bob.id],
        "children": [child(&ann), child(&bob)],
        "relationship": "Mother",
        "is_emergency_contact": true,
        "is_financial_responsible": false,
        "created_at": "2026-03-02T02:00:00.000000Z",
        "updated_at": "2026-03-02T02:00:00.000000Z",
    });
    assert_eq!(made.body, whole);
    for reader in [&admin, &parent] {
        assert_eq!(reader.get(GUARDIANS).await.expect(200), &json!([whole]));
        assert_eq!(reader.get(&at(GUARDIANS, id)).await.expect(200), &whole);
    }
    // A student sees who the guardian is, but not whose else.
    let mut of_ann = whole.clone();
    (of_ann["students"], of_ann["children"]) = (json!([ann.id]), json!([child(&ann)]));
    assert_eq!(ann.get(&at(GUARDIANS, id)).await.expect(200), &of_ann);
    assert_eq!(ann.get(GUARDIANS).await.expect(200), &json!([of_ann]));

    for stranger in [app.parent().await, app.student().await] {
        assert_eq!(stranger.get(GUARDIANS).await.expect(200), &json!([]));
        assert_eq!(stranger.get(&at(GUARDIANS, id)).await.refusal(), (404, "not_found"));
        assert_eq!(stranger.get(&grants(id)).await.refusal(), (404, "not_found"));
    }
    for other in [app.staff().await, app.convenor().await, app.auditor().await] {
        assert_eq!(other.get(GUARDIANS).await.refusal(), (403, "permission_denied"), "{}", other.user_type);
    }
    for other in [&parent, &ann, &app.staff().await] {
        assert_eq!(other.post(GUARDIANS, &body).await.refusal(), (403, "permission_denied"));
        assert_eq!(other.patch(&at(GUARDIANS, id), &body).await.refusal(), (403, "permission_denied"));
        assert_eq!(other.delete(&at(GUARDIANS, id)).await.refusal(), (403, "permission_denied"));
    }
    // Nor does a filter tell a student whose else.
    for (reader, student, found) in
        [(&ann, &ann, vec![id]), (&ann, &bob, vec![]), (&parent, &ann, vec![id]), (&parent, &bob, vec![id])]
    {
        assert_eq!(reader.get(&format!("{GUARDIANS}?student={}", student.id)).await.ids(), found);
    }
    for (filter, there) in [
        (format!("?user={}", parent.id), true),
        (format!("?user={}", ann.id), false),
        (format!("?student={}", bob.id), true),
        (format!("?student={}", parent.id), false),
    ] {
        assert_eq!(admin.get(&format!("{GUARDIANS}{filter}")).await.ids().len(), usize::from(there), "{filter}");
    }
}

#[tokio::test]
async fn a_guardian_is_a_parent_and_their_children_are_students() {
    let app = TestApp::start().await;
    let (admin, parent, ann, staff) = (app.admin().await, app.parent().await, app.student().await, app.staff().await);
    let many: Vec<Id> = (0..51).map(|_| ann.id).collect();
    for (body, fields) in [
        (json!({}), vec!["user"]),
        (json!({ "user": ann.id, "students": [parent.id, staff.id, 987_654] }), vec!["students", "user"]),
        (json!({ "user": 987_654, "relationship": "x".repeat(256) }), vec!["relationship", "user"]),
        (json!({ "user": parent.id, "students": many }), vec!["students"]),
        (json!({ "user": parent.id, "students": ["x"] }), vec!["students[0]"]),
    ] {
        let refused = admin.post(GUARDIANS, &body).await;
        let faulty: Vec<String> = faulty(&refused).into_iter().collect();
        assert_eq!(
            (refused.status.as_u16(), faulty),
            (400, fields.iter().map(ToString::to_string).collect()),
            "{body}"
        );
    }
    // Who has become something else stays where they are.
    let id = link(&admin, &parent, &[&ann]).await;
    run(&app.db, format!("update users set user_type = 'staff' where id in ({}, {})", parent.id, ann.id)).await;
    admin.patch(&at(GUARDIANS, id), &json!({ "relationship": "Aunt" })).await.expect(200);
    assert_eq!(faulty(&admin.post(GUARDIANS, &json!({ "user": parent.id, "students": [ann.id] })).await).len(), 2);
}

#[tokio::test]
async fn each_scope_opens_its_own_paths_until_it_is_revoked() {
    let app = TestApp::start().await;
    let (admin, parent, ann) = (app.admin().await, app.parent().await, app.student().await);
    let of_ann = records(&app, &ann).await;
    let guardian = link(&admin, &parent, &[&ann]).await;
    assert_eq!(open(&parent, &of_ann).await, nothing(), "the link alone");
    for scope in SCOPES {
        let made = grant(&ann, guardian, &ann, &[scope]).await;
        assert_eq!(open(&parent, &of_ann).await, [scope].into(), "{scope}");
        // What is not asked for by name is there as well.
        if scope == "enrolments" {
            assert_eq!(parent.get("/api/enrollment/enrollments/").await.ids().len(), 1);
        }
        ann.delete(&at(&grants(guardian), id_of(&made))).await.expect(204);
        assert_eq!(open(&parent, &of_ann).await, nothing(), "{scope} revoked");
    }
    grant(&ann, guardian, &ann, &SCOPES).await.expect(201);
    assert_eq!(open(&parent, &of_ann).await, SCOPES.into());
    app.check_invariants().await;
}

#[tokio::test]
async fn a_grant_ends_at_its_time() {
    let app = TestApp::start().await;
    let (admin, parent, ann) = (app.admin().await, app.parent().await, app.student().await);
    let of_ann = records(&app, &ann).await;
    let guardian = link(&admin, &parent, &[&ann]).await;
    let body = json!({ "student": ann.id, "scopes": SCOPES, "valid_until": "2026-03-02T09:30:00" });
    let made = ann.post(&grants(guardian), &body).await;
    assert_eq!(made.body["valid_until"], "2026-03-02T02:30:00.000000Z", "local time without an offset");
    let path = at(&grants(guardian), id_of(&made));
    app.set_time("2026-03-02T02:29:59Z").await;
    assert_eq!(open(&parent, &of_ann).await.len(), SCOPES.len());
    assert_eq!(ann.get(&path).await.body["holds"], true);
    app.set_time("2026-03-02T02:30:00Z").await;
    assert_eq!(open(&parent, &of_ann).await, nothing());
    assert_eq!(ann.get(&path).await.body["holds"], false);
    assert_eq!(ann.delete(&path).await.refusal(), (404, "not_found"), "nothing holds that could be revoked");
}

#[tokio::test]
async fn a_grant_is_for_one_child_and_one_guardian() {
    let app = TestApp::start().await;
    let (admin, mother, father) = (app.admin().await, app.parent().await, app.parent().await);
    let (ann, bob, eve) = (app.student().await, app.student().await, app.student().await);
    let (of_ann, of_bob, of_eve) = (records(&app, &ann).await, records(&app, &bob).await, records(&app, &eve).await);
    let her = link(&admin, &mother, &[&ann, &bob]).await;
    let him = link(&admin, &father, &[&ann]).await;
    let granted = id_of(&grant(&ann, her, &ann, &SCOPES).await);
    assert_eq!(open(&mother, &of_ann).await.len(), SCOPES.len());
    for (who, other) in [(&mother, &of_bob), (&mother, &of_eve), (&father, &of_ann), (&father, &of_bob)] {
        assert_eq!(open(who, other).await, nothing());
    }
    let strangers = app.parent().await;
    assert_eq!(open(&strangers, &of_ann).await, nothing());
    assert_eq!(mother.get("/api/enrollment/enrollments/").await.ids().len(), 1);

    // Bob grants for himself, not for Ann or Eve, and sees nothing of Ann's grants.
    for student in [&ann, &eve] {
        assert_eq!(faulty(&grant(&bob, her, student, &SCOPES).await), ["student".to_owned()].into());
    }
    assert_eq!(bob.get(&grants(her)).await.expect(200), &json!([]));
    assert_eq!(bob.get(&at(&grants(her), granted)).await.refusal(), (404, "not_found"));
    assert_eq!(bob.delete(&at(&grants(her), granted)).await.refusal(), (404, "not_found"));
    // Whose guardian it is not grants nothing there, and a grant has one address.
    assert_eq!(grant(&bob, him, &bob, &SCOPES).await.refusal(), (404, "not_found"));
    assert_eq!(faulty(&grant(&admin, her, &eve, &SCOPES).await), ["student".to_owned()].into());
    assert_eq!(ann.get(&at(&grants(him), granted)).await.refusal(), (404, "not_found"));
    assert_eq!(ann.delete(&at(&grants(him), granted)).await.refusal(), (404, "not_found"));
    assert_eq!(open(&mother, &of_ann).await.len(), SCOPES.len());

    // Everyone who may sees it in the list: the student, the parent, an administrator.
    for reader in [&ann, &mother, &admin] {
        assert_eq!(reader.get(&grants(her)).await.ids(), [granted]);
        assert_eq!(reader.get(&at(&grants(her), granted)).await.body["student"], json!(ann.id));
    }
    assert_eq!(father.get(&grants(her)).await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn several_grants_add_up_and_each_is_revoked_by_itself() {
    let app = TestApp::start().await;
    let (admin, parent, ann) = (app.admin().await, app.parent().await, app.student().await);
    let of_ann = records(&app, &ann).await;
    let guardian = link(&admin, &parent, &[&ann]).await;
    let one = id_of(&grant(&ann, guardian, &ann, &["enrolments", "attendance"]).await);
    let made = grant(&ann, guardian, &ann, &["transcripts", "attendance", "attendance"]).await;
    let two = id_of(&made);
    let whole = json!({
        "id": two, "guardian": guardian, "student": ann.id, "scopes": ["attendance", "transcripts"],
        "granted_at": "2026-03-02T02:00:00.000000Z", "granted_by": ann.id, "valid_until": null, "revoked_at": null,
        "holds": true,
    });
    assert_eq!(made.body, whole);
    assert_eq!(open(&parent, &of_ann).await.len(), 3);
    let shown = ann.get(&at(&grants(guardian), one)).await;
    let (path, tag) = (at(&grants(guardian), one), shown.header("etag").unwrap());
    assert_eq!(ann.with("If-Match", "\"old\"").delete(&path).await.refusal(), (412, "stale"));
    ann.with("If-Match", tag).delete(&path).await.expect(204);
    assert_eq!(open(&parent, &of_ann).await, ["attendance", "transcripts"].into());
    assert_eq!(ann.delete(&path).await.refusal(), (404, "not_found"), "twice");

    // The history stays.
    let listed = parent.get(&grants(guardian)).await;
    assert_eq!(listed.ids(), [one, two]);
    assert_eq!(listed.body[0]["revoked_at"], "2026-03-02T02:00:00.000000Z");
    for (filter, found) in [("holds=true", vec![two]), ("holds=false", vec![one])] {
        assert_eq!(ann.get(&format!("{}?{filter}", grants(guardian))).await.ids(), found);
    }
}

#[tokio::test]
async fn a_parent_grants_and_revokes_nothing() {
    let app = TestApp::start().await;
    let (admin, parent, ann) = (app.admin().await, app.parent().await, app.student().await);
    let guardian = link(&admin, &parent, &[&ann]).await;
    let granted = id_of(&grant(&ann, guardian, &ann, &["gold"]).await);
    for other in [&parent, &app.parent().await, &app.staff().await, &app.convenor().await, &app.auditor().await] {
        assert_eq!(grant(other, guardian, &ann, &SCOPES).await.refusal(), (403, "permission_denied"));
        assert_eq!(other.delete(&at(&grants(guardian), granted)).await.refusal(), (403, "permission_denied"));
    }
    // Also with a role that lets them decide on their own.
    let role =
        "with r as (insert into roles (name, permissions) values ('x', array['guardians.grant:own']) returning id)
                insert into user_roles (user_id, role_id) select ";
    run(&app.db, format!("{role} {}, id from r", parent.id)).await;
    assert_eq!(faulty(&grant(&parent, guardian, &ann, &SCOPES).await), ["student".to_owned()].into());
    assert_eq!(parent.delete(&at(&grants(guardian), granted)).await.refusal(), (403, "permission_denied"));
    assert_eq!(grant(&app.student().await, guardian, &ann, &SCOPES).await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn an_adult_alone_decides_and_for_a_minor_an_administrator() {
    let app = TestApp::start().await;
    let (admin, parent) = (app.admin().await, app.parent().await);
    let (unknown, adult, minor) = (app.student().await, app.student().await, app.student().await);
    // It is 9 o'clock on the 2nd of March in Asia/Ho_Chi_Minh.
    born(&app, &adult, "2008-03-02").await;
    born(&app, &minor, "2008-03-03").await;
    let guardian = link(&admin, &parent, &[&unknown, &adult, &minor]).await;
    for student in [&unknown, &adult] {
        let refused = grant(&admin, guardian, student, &["gold"]).await;
        assert_eq!(refused.refusal(), (403, "permission_denied"));
        assert!(refused.body["detail"].as_str().unwrap().contains("adult"));
        let path = at(&grants(guardian), id_of(&grant(student, guardian, student, &["gold"]).await));
        assert_eq!(admin.delete(&path).await.refusal(), (403, "permission_denied"));
        student.delete(&path).await.expect(204);
    }
    let refused = grant(&minor, guardian, &minor, &["gold"]).await;
    assert_eq!(refused.refusal(), (403, "permission_denied"));
    assert!(refused.body["detail"].as_str().unwrap().contains("18"));
    let path = at(&grants(guardian), id_of(&grant(&admin, guardian, &minor, &["gold"]).await));
    assert_eq!(minor.delete(&path).await.refusal(), (403, "permission_denied"));
    admin.delete(&path).await.expect(204);
}

#[tokio::test]
async fn what_an_administrator_grants_ends_with_the_eighteenth_birthday() {
    let app = TestApp::start().await;
    let (admin, parent, minor) = (app.admin().await, app.parent().await, app.student().await);
    let of_minor = records(&app, &minor).await;
    born(&app, &minor, "2008-03-03").await;
    let guardian = link(&admin, &parent, &[&minor]).await;
    let birthday = "2026-03-02T17:00:00.000000Z";
    for (until, kept) in [
        (json!(null), birthday),
        (json!("2027-01-01T00:00:00Z"), birthday),
        (json!("2026-03-02T03:00:00Z"), "2026-03-02T03:00:00.000000Z"),
    ] {
        let body = json!({ "student": minor.id, "scopes": SCOPES, "valid_until": until });
        let made = admin.post(&grants(guardian), &body).await;
        assert_eq!((made.status.as_u16(), &made.body["valid_until"]), (201, &json!(kept)));
    }
    app.set_time("2026-03-02T16:59:59Z").await;
    let (parent, minor, admin) =
        (parent.new_session(&app).await, minor.new_session(&app).await, admin.new_session(&app).await);
    assert_eq!(open(&parent, &of_minor).await.len(), SCOPES.len());
    assert_eq!(grant(&minor, guardian, &minor, &["gold"]).await.refusal(), (403, "permission_denied"));
    app.set_time("2026-03-02T17:00:00Z").await;
    assert_eq!(open(&parent, &of_minor).await, nothing());
    assert_eq!(grant(&admin, guardian, &minor, &["gold"]).await.refusal(), (403, "permission_denied"));
    grant(&minor, guardian, &minor, &["attendance"]).await.expect(201);
    assert_eq!(open(&parent, &of_minor).await, ["attendance"].into());
}

#[tokio::test]
async fn a_grant_names_a_child_known_scopes_and_an_end_in_the_future() {
    let app = TestApp::start().await;
    let (admin, parent, ann) = (app.admin().await, app.parent().await, app.student().await);
    let guardian = link(&admin, &parent, &[&ann]).await;
    for (body, fields) in [
        (json!({ "scopes": ["gold"] }), vec!["student"]),
        (json!({ "student": 987_654, "scopes": ["gold"] }), vec!["student"]),
        (json!({ "student": ann.id }), vec!["scopes"]),
        (json!({ "student": ann.id, "scopes": ["gold", "everything"] }), vec!["scopes"]),
        (json!({ "student": ann.id, "scopes": "gold" }), vec!["scopes"]),
        (
            json!({ "student": ann.id, "scopes": [], "valid_until": "2026-03-02T02:00:00Z" }),
            vec!["scopes", "valid_until"],
        ),
        (json!({ "student": ann.id, "scopes": ["gold"], "valid_until": "soon" }), vec!["valid_until"]),
    ] {
        let refused = ann.post(&grants(guardian), &body).await;
        let faulty: Vec<String> = faulty(&refused).into_iter().collect();
        assert_eq!(
            (refused.status.as_u16(), faulty),
            (400, fields.iter().map(ToString::to_string).collect()),
            "{body}"
        );
    }
    assert_eq!(ann.get(&grants(guardian)).await.expect(200), &json!([]));
    // The same key makes one grant.
    let (once, body) = (ann.with("Idempotency-Key", "g"), json!({ "student": ann.id, "scopes": ["gold"] }));
    let made = id_of(&once.post(&grants(guardian), &body).await);
    assert_eq!(id_of(&once.post(&grants(guardian), &body).await), made);
    admin.patch(&at(GUARDIANS, guardian), &json!({ "students": [] })).await.expect(200);
    assert_eq!(once.post(&grants(guardian), &body).await.refusal(), (404, "not_found"), "access is asked again");
}

#[tokio::test]
async fn grants_end_with_the_link_and_linking_again_grants_nothing() {
    let app = TestApp::start().await;
    let (admin, parent, ann, bob) = (app.admin().await, app.parent().await, app.student().await, app.student().await);
    let (of_ann, of_bob) = (records(&app, &ann).await, records(&app, &bob).await);
    let guardian = link(&admin, &parent, &[&ann, &bob]).await;
    grant(&ann, guardian, &ann, &SCOPES).await.expect(201);
    grant(&bob, guardian, &bob, &SCOPES).await.expect(201);
    // What is not about students leaves grants alone.
    admin.patch(&at(GUARDIANS, guardian), &json!({ "relationship": "Father" })).await.expect(200);
    assert_eq!((open(&parent, &of_ann).await.len(), open(&parent, &of_bob).await.len()), (SCOPES.len(), SCOPES.len()));
    told(&app, &parent).await;

    admin.patch(&at(GUARDIANS, guardian), &json!({ "students": [bob.id] })).await.expect(200);
    assert_eq!((open(&parent, &of_ann).await.len(), open(&parent, &of_bob).await.len()), (0, SCOPES.len()));
    let says = format!("{} {}: attendance, enrolments, gold, transcripts", ann.first_name, ann.last_name);
    let revoked = vec![("Guardian access revoked".to_owned(), says)];
    assert_eq!((told(&app, &parent).await, told(&app, &ann).await), (revoked.clone(), revoked));
    assert_eq!(ann.get(GUARDIANS).await.expect(200), &json!([]));
    admin.patch(&at(GUARDIANS, guardian), &json!({ "students": [ann.id, bob.id] })).await.expect(200);
    assert_eq!((open(&parent, &of_ann).await.len(), open(&parent, &of_bob).await.len()), (0, SCOPES.len()));
    assert_eq!(told(&app, &parent).await, []);
}

#[tokio::test]
async fn another_person_in_the_guardians_place_gets_no_grant() {
    let app = TestApp::start().await;
    let (admin, parent, other, ann) = (app.admin().await, app.parent().await, app.parent().await, app.student().await);
    let of_ann = records(&app, &ann).await;
    let guardian = link(&admin, &parent, &[&ann]).await;
    grant(&ann, guardian, &ann, &SCOPES).await.expect(201);
    admin.patch(&at(GUARDIANS, guardian), &json!({ "user": other.id })).await.expect(200);
    for person in [&parent, &other] {
        assert_eq!(open(person, &of_ann).await, nothing());
    }
    assert_eq!(told(&app, &parent).await.len(), 2, "granted and revoked");
    admin.patch(&at(GUARDIANS, guardian), &json!({ "user": parent.id })).await.expect(200);
    assert_eq!(open(&parent, &of_ann).await, nothing());
}

#[tokio::test]
async fn grants_end_with_their_guardian_and_rest_while_the_parent_is_deactivated() {
    let app = TestApp::start().await;
    let (admin, parent, ann) = (app.admin().await, app.parent().await, app.student().await);
    let of_ann = records(&app, &ann).await;
    let guardian = link(&admin, &parent, &[&ann]).await;
    let granted = id_of(&grant(&ann, guardian, &ann, &SCOPES).await);
    admin.delete(&at(USERS, parent.id)).await.expect(204);
    for (_, path) in &of_ann {
        assert_eq!(parent.get(path).await.refusal(), (401, "token_not_valid"));
    }
    admin.post_bare(&format!("{USERS}{}/restore/", parent.id)).await.expect(200);
    let parent = parent.new_session(&app).await;
    assert_eq!(open(&parent, &of_ann).await.len(), SCOPES.len());

    admin.delete(&at(GUARDIANS, guardian)).await.expect(204);
    assert_eq!(open(&parent, &of_ann).await, nothing());
    assert_eq!(parent.get(&at(USERS, ann.id)).await.refusal(), (404, "not_found"));
    for path in [at(GUARDIANS, guardian), grants(guardian), at(&grants(guardian), granted)] {
        assert_eq!(ann.get(&path).await.refusal(), (404, "not_found"), "{path}");
    }
    assert_eq!(grant(&ann, guardian, &ann, &SCOPES).await.refusal(), (404, "not_found"));
    admin.post_bare(&format!("{}restore/", at(GUARDIANS, guardian))).await.expect(200);
    assert_eq!(open(&parent, &of_ann).await, nothing(), "what was granted before has ended");
    parent.get(&at(USERS, ann.id)).await.expect(200);
    assert_eq!(ann.get(&at(&grants(guardian), granted)).await.body["holds"], false);
}

#[tokio::test]
async fn a_grant_that_meets_the_deletion_of_its_guardian_is_not_given() {
    let app = TestApp::start().await;
    let (admin, parent, ann) = (app.admin().await, app.parent().await, app.student().await);
    let guardian = link(&admin, &parent, &[&ann]).await;
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("update guardians set deleted_at = now() where id = {guardian}")).await;
    let (reply, ()) = tokio::join!(grant(&ann, guardian, &ann, &SCOPES), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (404, "not_found"));
    let left = sqlx::query_scalar!(r#"select count(*) as "count!" from guardian_grants"#);
    assert_eq!(left.fetch_one(&app.db).await.unwrap(), 0);
}

#[tokio::test]
async fn parent_and_student_are_told_of_what_others_do() {
    let app = TestApp::start().await;
    let (admin, parent, ann, minor) = (app.admin().await, app.parent().await, app.student().await, app.student().await);
    born(&app, &minor, "2010-01-01").await;
    let guardian = link(&admin, &parent, &[&ann, &minor]).await;
    let path = at(&grants(guardian), id_of(&grant(&ann, guardian, &ann, &["gold", "attendance"]).await));
    ann.delete(&path).await.expect(204);
    let of = |verb: &str, person: &Person, rest: &str| {
        (format!("Guardian access {verb}"), format!("{} {}: {rest}", person.first_name, person.last_name))
    };
    let expected = [of("granted", &ann, "attendance, gold"), of("revoked", &ann, "attendance, gold")];
    assert_eq!(told(&app, &parent).await, expected);
    assert_eq!((told(&app, &ann).await, told(&app, &minor).await, told(&app, &admin).await), (vec![], vec![], vec![]));

    let path = at(&grants(guardian), id_of(&grant(&admin, guardian, &minor, &["gold"]).await));
    admin.delete(&path).await.expect(204);
    let until = "gold, until 1 Jan 2028, 00:00 (Asia/Ho_Chi_Minh)";
    let expected = vec![of("granted", &minor, until), of("revoked", &minor, "gold")];
    assert_eq!((told(&app, &parent).await, told(&app, &minor).await), (expected.clone(), expected));
}

#[tokio::test]
async fn a_parent_sees_of_children_among_users_the_name_alone() {
    let app = TestApp::start().await;
    let (admin, parent, ann, bob) = (app.admin().await, app.parent().await, app.student().await, app.student().await);
    let staff = app.staff().await;
    let secrets = format!(
        "update users set phone_number = '0400000000', address_line1 = '1 Quartz Street', bio = 'Quartz', city = 'Quartz',
                emergency_contact_name = 'Quartz', date_of_birth = '2001-02-03', department = 'Quartz'
          where id = {}",
        ann.id
    );
    run(&app.db, secrets).await;
    assert_eq!(parent.get(USERS).await.ids(), [admin.id, parent.id, staff.id]);
    link(&admin, &parent, &[&ann]).await;
    let name_alone = json!({
        "id": ann.id, "email": "", "username": "", "first_name": ann.first_name, "last_name": ann.last_name,
        "is_staff": false, "user_type": "student", "department": "", "position": "", "bio": "", "profile_image": null,
        "created_at": "2026-03-02T02:00:00.000000Z", "updated_at": "2026-03-02T02:00:00.000000Z",
    });
    let list = parent.get(USERS).await;
    assert_eq!(list.ids(), [admin.id, parent.id, ann.id, staff.id]);
    assert_eq!(list.body[2], name_alone);
    assert_eq!(parent.get(&at(USERS, ann.id)).await.expect(200), &name_alone);
    assert_eq!(parent.get(&at(USERS, bob.id)).await.refusal(), (404, "not_found"));
    assert_eq!(parent.get(&at(USERS, parent.id)).await.body["email"], json!(parent.email), "oneself is shown whole");
    assert_eq!(list.body[3]["email"], json!(staff.email));

    // Neither a search nor an order, a filter or a cursor tells the rest.
    for asked in [
        format!("search={}", ann.email),
        format!("search={}", ann.username),
        "department=Quartz".to_owned(),
        "is_active=true&user_type=student".to_owned(),
        "ordering=email&user_type=student".to_owned(),
        "ordering=last_name,username&user_type=student".to_owned(),
    ] {
        assert_eq!(parent.get(&format!("{USERS}?{asked}")).await.ids(), [], "{asked}");
    }
    for asked in ["user_type=student", "user_type=student&ordering=-last_name,first_name"] {
        assert_eq!(parent.get(&format!("{USERS}?{asked}&count=true")).await.ids(), [ann.id], "{asked}");
    }
    assert_eq!(admin.get(&format!("{USERS}?search={}", ann.email)).await.ids(), [ann.id]);
    // They may be seen, not written, and the other lists stay shut.
    assert_eq!(parent.patch(&at(USERS, ann.id), &json!({ "bio": "x" })).await.refusal(), (403, "permission_denied"));
    assert_eq!(parent.delete(&at(USERS, ann.id)).await.refusal(), (403, "permission_denied"));
    assert_eq!(parent.get(PROFILES).await.expect(200), &json!([]));
    assert!(!parent.get("/api/users/").await.ids().contains(&ann.id));
    assert_eq!(ann.get(USERS).await.ids(), [admin.id, ann.id, staff.id]);
    assert_eq!(ann.get(&at(USERS, parent.id)).await.refusal(), (404, "not_found"));
}
