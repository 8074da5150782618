//! Seats when requests race: through one server process or two, the counter is right and nobody sits on another's lap.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgConnection;
use swincms::ids::Id;

use super::{ENROLLMENTS, step, taken};
use crate::academic::{OFFERINGS, at, id_of, run};
use crate::support::TestApp;

/// What the server does to take a seat, in somebody's transaction: the student is held first.
async fn take(halfway: &mut PgConnection, student: Id, offering: Id) {
    sqlx::query!("select id from users where id = $1 for no key update", student.0)
        .fetch_one(&mut *halfway)
        .await
        .unwrap();
    let taking = sqlx::query!(
        "with seat as (
            update offerings set current_enrollment = current_enrollment + 1 where id = $2
         ),
         made as (
            insert into enrollments (student_id, offering_id) values ($1, $2) returning id
         )
         insert into enrollment_history (enrollment_id, from_status, to_status)
         select id, '', 'PENDING' from made",
        student.0,
        offering.0
    );
    taking.execute(halfway).await.unwrap();
}

#[tokio::test]
async fn the_last_seat_is_given_once_when_two_ask_at_once() {
    let app = TestApp::start().await;
    let offering = app.offering(1).await;
    let (ann, bob) = (app.student().await, app.student().await);

    // Ann's request, halfway: the seat is taken and not yet committed.
    let mut halfway = app.transaction().await;
    take(&mut halfway, ann.id, offering).await;

    let wanted = json!({ "offering": offering });
    let (reply, ()) = tokio::join!(bob.post(ENROLLMENTS, &wanted), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (409, "offering_full"));
    assert_eq!(reply.body["reasons"][0]["facts"], json!({ "capacity": 1, "current_enrollment": 1 }));
    assert_eq!(taken(&app, offering).await, 1);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_seat_that_another_gives_back_halfway_is_taken() {
    let app = TestApp::start().await;
    let offering = app.offering(2).await;
    let (ann, bob) = (app.student().await, app.student().await);
    app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let mut halfway = app.transaction().await;
    // Somebody takes the last seat, and then does not after all.
    sqlx::query!("update offerings set current_enrollment = 2 where id = $1", offering.0)
        .execute(&mut *halfway)
        .await
        .unwrap();
    let wanted = json!({ "offering": offering });
    let (reply, ()) = tokio::join!(bob.post(ENROLLMENTS, &wanted), async {
        app.until_someone_waits().await;
        halfway.rollback().await.unwrap();
    });
    reply.expect(201);
    assert_eq!(ann.post(ENROLLMENTS, &wanted).await.refusal(), (409, "offering_full"));
    app.check_invariants().await;
}

#[tokio::test]
async fn an_offering_that_is_closed_halfway_gives_no_seat() {
    let app = TestApp::start().await;
    let student = app.student().await;
    for (change, code) in [
        ("is_active = false", "offering_inactive"),
        ("enrollment_end = rule_now()", "window_closed"),
        ("capacity = 1, current_enrollment = 1", "offering_full"),
    ] {
        let offering = app.offering(9).await;
        let mut halfway = app.transaction().await;
        run(&mut *halfway, format!("update offerings set {change} where id = {offering}")).await;
        let wanted = json!({ "offering": offering });
        let (reply, ()) = tokio::join!(student.post(ENROLLMENTS, &wanted), async {
            app.until_someone_waits().await;
            halfway.commit().await.unwrap();
        });
        assert_eq!(reply.refusal().1, code);
    }
}

#[tokio::test]
async fn an_offering_with_a_student_halfway_is_not_deleted_and_keeps_its_capacity() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let offering = app.offering(3).await;
    app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let mut halfway = app.transaction().await;
    take(&mut halfway, student.id, offering).await;
    let path = at(OFFERINGS, offering);
    let less = json!({ "capacity": 1 });
    let (deleted, lowered, ()) = tokio::join!(staff.delete(&path), staff.patch(&path, &less), async {
        app.until_so_many_wait(2).await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(deleted.refusal(), (409, "still_referred_to"));
    assert_eq!(lowered.refusal(), (409, "capacity_below_taken"));
    app.check_invariants().await;
}

#[tokio::test]
async fn two_requests_of_one_student_cannot_slip_past_an_anti_requisite() {
    let app = TestApp::start().await;
    let student = app.student().await;
    let (one, other) = (app.unit().await, app.unit().await);
    run(&app.db, format!("insert into unit_anti_requisites values ({one}, {other})")).await;
    let (first, second) = (app.offering_of(one, 0).await, app.offering_of(other, 0).await);

    // The request for the first, halfway: as it stands in the server, the student's row is held before all else.
    let mut halfway = app.transaction().await;
    take(&mut halfway, student.id, first).await;
    let wanted = json!({ "offering": second });
    let (reply, ()) = tokio::join!(student.post(ENROLLMENTS, &wanted), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(reply.refusal(), (400, "anti_requisite"));
    app.check_invariants().await;
}

#[tokio::test]
async fn a_rush_through_two_processes_fills_the_seats_exactly_and_tells_the_rest_why() {
    const STUDENTS: usize = 60;
    const SEATS: i32 = 10;
    let app = TestApp::with(&[("DB_POOL_SIZE", "8")]).await;
    let other = app.another_server().with("DB_POOL_SIZE", "8").start().await;
    let offering = app.offering(SEATS).await;
    let mut students = Vec::new();
    for number in 0..STUDENTS {
        let student = app.student().await;
        students.push(if number % 2 == 0 { student.at(&other) } else { student });
    }
    for _ in 0..2 {
        let wanted = json!({ "offering": offering });
        let replies = join_all(students.iter().map(|student| student.post(ENROLLMENTS, &wanted))).await;
        let mut answers: BTreeMap<(u16, String), i32> = BTreeMap::new();
        for reply in &replies {
            let code = reply.body["code"].as_str().unwrap_or("seated").to_owned();
            *answers.entry((reply.status.as_u16(), code)).or_default() += 1;
        }
        let refused = i32::try_from(STUDENTS).unwrap() - SEATS;
        let wanted = [((201, "seated".to_owned()), SEATS), ((409, "offering_full".to_owned()), refused)];
        assert_eq!(answers, wanted.into());
        app.check_invariants().await;

        // All give their seats back at once, and the next round begins.
        let seated: Vec<_> = students.iter().zip(&replies).filter(|(_, reply)| reply.status == 201).collect();
        let left = join_all(seated.iter().map(|(student, reply)| {
            let path = step(id_of(reply), "withdraw");
            async move { student.post_bare(&path).await }
        }));
        assert!(left.await.iter().all(|reply| reply.status == 200));
        assert_eq!(taken(&app, offering).await, 0);
    }
    app.check_invariants().await;
}

/// What is random in a test is the same in each run: xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

#[tokio::test]
async fn whatever_runs_at_once_leaves_every_rule_standing_and_nobody_sees_a_deadlock() {
    const CLIENTS: u64 = 12;
    const CALLS: usize = 50;
    let app = TestApp::with(&[("DB_POOL_SIZE", "8")]).await;
    let other = app.another_server().with("DB_POOL_SIZE", "8").start().await;
    let staff = app.staff().await;
    let (mut offerings, mut students) = (Vec::new(), Vec::new());
    for number in 0..6 {
        let unit = app.unit().await;
        offerings.push(app.offering_of(unit, 3).await);
        if number % 2 == 1 {
            run(&app.db, format!("insert into unit_anti_requisites values ({}, {unit})", unit.0 - 1)).await;
        }
        students.push(app.student().await);
    }
    run(&app.db, format!("update offerings set requires_approval = false where id = {}", offerings[0])).await;
    let (app_ref, offerings, students, staff) = (&app, &offerings, &students, &staff);
    let known = std::sync::Mutex::new(Vec::new());
    let known = &known;

    let client = async |number: u64| {
        let mut dice = Dice(number * 7_919 + 1);
        for _ in 0..CALLS {
            let (student, desk) = if dice.below(2) == 0 {
                (dice.one_of(students).clone(), staff.clone())
            } else {
                (dice.one_of(students).at(&other), staff.at(&other))
            };
            let some: Vec<Id> = {
                let known = known.lock().unwrap();
                if known.is_empty() { Vec::new() } else { (0..3).map(|_| *dice.one_of(&known)).collect() }
            };
            let offering = *dice.one_of(offerings);
            let act = if some.is_empty() { 0 } else { dice.below(9) };
            let reply = match act {
                0..=2 => student.post(ENROLLMENTS, &json!({ "offering": offering })).await,
                3 => student.post_bare(&step(some[0], "withdraw")).await,
                4 => desk.post_bare(&step(some[0], ["approve", "reject"][dice.below(2)])).await,
                5 => {
                    let result = json!({ "status": "COMPLETED", "grade": "P", "reason": "Marked" });
                    let result = if dice.below(2) == 0 {
                        result
                    } else {
                        json!({ "status": "FAILED", "grade": "N", "reason": "Marked" })
                    };
                    desk.patch(&at(ENROLLMENTS, some[0]), &result).await
                }
                6 => desk.patch(&at(OFFERINGS, offering), &json!({ "capacity": dice.below(5) })).await,
                7 => desk.post(&format!("{ENROLLMENTS}bulk-approve/"), &json!({ "ids": some })).await,
                _ => {
                    let rows: Vec<_> = some.iter().map(|id| json!({ "id": id, "status": "WITHDRAWN" })).collect();
                    desk.post(&format!("{ENROLLMENTS}bulk-grade/"), &json!({ "rows": rows })).await
                }
            };
            assert!(reply.status.as_u16() < 500, "{}", reply.body);
            if act <= 2 && reply.status == 201 {
                known.lock().unwrap().push(id_of(&reply));
            }
        }
    };
    join_all((0..CLIENTS).map(client)).await;
    assert!(known.lock().unwrap().len() > 20, "seats have changed hands");
    app_ref.check_invariants().await;
    let deadlocks =
        sqlx::query_scalar!(r#"select deadlocks as "n!" from pg_stat_database where datname = current_database()"#);
    assert_eq!(deadlocks.fetch_one(&app.db).await.unwrap(), 0, "those that were tried again unseen");
}
