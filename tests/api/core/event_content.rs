//! The content of events: generated here or by a workflow, refined, edited, confirmed, and taken back.

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{at, faulty, id_of, run};
use crate::support::{Person, Receiver, Reply, Sender, TestApp};

const EVENTS: &str = "/api/core/events/";
const SECRET: &str = "shared with n8n alone";
const NOW: &str = "2026-03-02T02:00:00.000000Z";
const IN_HALF_AN_HOUR: &str = "2026-03-02T02:30:00.000000Z";
const PIECES: [&str; 4] = ["social_post", "email_newsletter", "long_article", "recruitment_ad"];

async fn start() -> TestApp {
    TestApp::with(&[
        ("N8N_WEBHOOK_SECRET", SECRET),
        ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1"),
        ("TIME_ZONE", "Australia/Melbourne"),
    ])
    .await
}

async fn event(author: &Person, more: &Value) -> Id {
    let mut body = json!({ "title": "Open day", "start": "2026-03-10T09:00:00Z" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    id_of(&author.post(EVENTS, &body).await)
}

fn path(id: Id, verb: &str) -> String {
    format!("{EVENTS}{id}/{verb}/")
}

fn n8n(app: &TestApp) -> Sender {
    app.anonymous().with("X-N8N-SECRET", SECRET)
}

/// A workflow that listens to this trigger at the receiver.
async fn workflow(app: &TestApp, outside: &Receiver, trigger: &str) {
    let body = json!({
        "name": trigger, "trigger_event": trigger, "configuration": { "webhook_url": outside.url("/hook") },
    });
    app.admin().await.post("/api/users/n8n-workflows/", &body).await.expect(201);
}

/// The event's row and all that hangs on its content, as text: two of it are equal when nothing was written in between.
async fn everything(app: &TestApp) -> String {
    let tables = sqlx::query_scalar!(
        r#"select concat_ws(E'\n',
                  (select string_agg(t::text, E'\n' order by id) from events t),
                  (select string_agg(t::text, E'\n' order by id) from event_content_revisions t),
                  (select string_agg(t::text, E'\n' order by id) from audit_log t
                    where t.resource_type = 'event')) as "all!""#
    );
    tables.fetch_one(&app.db).await.unwrap()
}

/// Status, content, other calendar's id and time-out.
async fn state(app: &TestApp, id: Id) -> (String, Value, String, Option<chrono::DateTime<chrono::Utc>>) {
    let sql = sqlx::query!(
        "select generation_status, generated_content, gcal_event_id, generation_timeout_at from events where id = $1",
        id.0
    );
    let row = sql.fetch_one(&app.db).await.unwrap();
    (row.generation_status, row.generated_content, row.gcal_event_id, row.generation_timeout_at)
}

/// The texts of the revisions, newest first.
async fn revisions(reader: &Person, id: Id) -> Vec<(i64, Value)> {
    let list = reader.get(&path(id, "content-history")).await.expect(200).clone();
    let list = list.as_array().unwrap().iter();
    list.map(|row| (row["revision"].as_i64().unwrap(), row["generated_content"]["a"].clone())).collect()
}

fn delivery(text: &str) -> Value {
    json!({ "generated_content": { "a": text } })
}

fn code(reply: &Reply) -> (u16, &str) {
    (reply.status.as_u16(), reply.body["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn without_a_workflow_the_built_in_writer_generates() {
    let app = start().await;
    let convenor = app.convenor().await;
    let unit = app.unit().await;
    let more = json!({ "location": "Hall & <Foyer>", "description": "All day {{ long }}.", "related_unit": unit });
    let id = event(&convenor, &more).await;
    let made = convenor.post_bare(&path(id, "generate_content")).await.expect(200).clone();
    assert_eq!(made["generation_meta"], json!({ "source": "built-in" }));
    for piece in PIECES {
        let text = made["generated_content"][piece].as_str().unwrap();
        for said in ["Open day", "Hall & <Foyer>", "All day {{ long }}.", "Tuesday, 10 March 2026, 8:00 pm"] {
            assert!(text.contains(said), "{piece} does not say {said}: {text}");
        }
    }
    let seen = convenor.get(&path(id, "get_generation_status")).await.expect(200).clone();
    assert_eq!(seen["generated_content"], made["generated_content"]);
    assert_eq!((&seen["generation_status"], &seen["last_generated_at"]), (&json!("ready"), &json!(NOW)));
    assert_eq!((&seen["created_by"], &seen["title"]), (&json!(convenor.email), &json!("Open day")));
    assert_eq!(revisions(&convenor, id).await, []);

    let bare = event(&convenor, &json!({})).await;
    let wish = json!({ "prompt": "Mention that tea is free" });
    let made = convenor.post(&path(bare, "generate_content"), &wish).await.expect(200).clone();
    assert!(made["generated_content"]["social_post"].as_str().unwrap().ends_with("Tea is free."));
    let refused = convenor.post(&path(bare, "generate_content"), &json!({ "prompt": "x".repeat(4001) })).await;
    assert_eq!(faulty(&refused), ["prompt".to_owned()].into());
}

#[tokio::test]
async fn a_workflow_is_asked_at_once_and_the_content_is_pending() {
    let (app, outside) = (start().await, Receiver::start().await);
    workflow(&app, &outside, "event.generate").await;
    let staff = app.staff().await;
    let id = event(&staff, &json!({ "location": "Hall" })).await;
    let keyed = staff.with("Idempotency-Key", "once");
    let wish = json!({ "prompt": "Short" });
    let first = keyed.post(&path(id, "generate_content"), &wish).await;
    first.expect(202)["detail"].as_str().unwrap();
    let again = keyed.post(&path(id, "generate_content"), &wish).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body), "a kept answer is the same again");
    let sent = outside.until_called(1).await;
    assert_eq!(sent.len(), 1, "a kept answer asks nobody");
    let about = json!({
        "event_id": id, "title": "Open day", "description": "", "start": "2026-03-10T09:00:00.000000Z", "end": null,
        "location": "Hall", "prompt": "Short",
    });
    let mut payload = about.clone();
    payload["event"] = about;
    payload["triggered_by"] = json!(staff.email);
    assert_eq!((&sent[0].json["event_id"], &sent[0].json["payload"]), (&json!(id.to_string()), &payload));
    let (status, content, _, timeout_at) = state(&app, id).await;
    assert_eq!((status.as_str(), content), ("pending", json!({})));
    assert_eq!(timeout_at.unwrap(), IN_HALF_AN_HOUR.parse::<chrono::DateTime<chrono::Utc>>().unwrap());
}

#[tokio::test]
async fn a_workflow_that_fails_hangs_or_is_away_leaves_the_event_as_it_was() {
    let (app, outside) = (start().await, Receiver::start().await);
    let impatient = app.another_server().with("WORKFLOW_TIMEOUT", "300ms").start().await;
    let staff = app.staff().await;
    let in_haste = staff.at(&impatient);
    for trigger in ["event.generate", "event.refine"] {
        workflow(&app, &outside, trigger).await;
    }
    let id = event(&staff, &json!({})).await;
    n8n(&app).post(&path(id, "generation_callback"), &delivery("One")).await.expect(200);
    let before = everything(&app).await;
    let refinement = json!({ "refinement_prompt": "Shorter" });
    let calls = [("generate_content", json!({})), ("refine_content", refinement)];
    for (verb, body) in &calls {
        outside.answers(500, json!({ "message": "broken" }));
        assert_eq!(code(&staff.post(&path(id, verb), body).await), (502, "workflow_failed"), "{verb}");
        outside.hold();
        assert_eq!(code(&in_haste.post(&path(id, verb), body).await), (504, "workflow_timeout"), "{verb}");
        outside.release();
    }
    outside.close().await;
    for (verb, body) in &calls {
        assert_eq!(code(&staff.post(&path(id, verb), body).await), (502, "workflow_failed"), "{verb}");
    }
    assert_eq!(everything(&app).await, before);
}

/// Another sender's requests while the workflow that this request asks hangs.
async fn while_it_hangs(
    outside: &Receiver,
    asks: impl Future<Output = Reply>,
    other: impl Future<Output = ()>,
) -> Reply {
    outside.hold();
    let calls = outside.sent().len();
    let meanwhile = async {
        outside.until_called(calls + 1).await;
        other.await;
        outside.release();
    };
    tokio::join!(asks, meanwhile).0
}

#[tokio::test]
async fn what_comes_while_the_workflow_is_called_wins() {
    let outside = Receiver::start().await;
    let app =
        TestApp::with(&[("N8N_WEBHOOK_SECRET", SECRET), ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1"), ("DB_POOL_SIZE", "2")])
            .await;
    let staff = app.staff().await;
    for trigger in ["event.generate", "event.refine"] {
        workflow(&app, &outside, trigger).await;
    }
    let id = event(&staff, &json!({})).await;
    let deliver = async |text: &str| {
        n8n(&app).post(&path(id, "generation_callback"), &delivery(text)).await.expect(200);
    };
    // The other session is taken: with one for all, none may be held meanwhile.
    let _taken = app.state.db.acquire().await.unwrap();
    let (generate, refine) = (path(id, "generate_content"), path(id, "refine_content"));
    let generate = staff.post_bare(&generate);
    assert_eq!(while_it_hangs(&outside, generate, deliver("One")).await.status, 202);
    let (status, content, ..) = state(&app, id).await;
    assert_eq!((status.as_str(), content), ("ready", json!({ "a": "One" })), "it was answered meanwhile");

    outside.answers(200, delivery("Late"));
    let body = json!({ "refinement_prompt": "Shorter" });
    let refine = staff.post(&refine, &body);
    assert_eq!(code(&while_it_hangs(&outside, refine, deliver("Two")).await), (409, "content_changed"));
    assert_eq!(state(&app, id).await.1, json!({ "a": "Two" }));

    for (verb, body) in [("generate_content", json!({})), ("refine_content", body)] {
        let gone = event(&staff, &json!({})).await;
        let address = path(gone, verb);
        let ask = staff.post(&address, &body);
        outside.answers(200, delivery("x"));
        let delete = async {
            staff.delete(&at(EVENTS, gone)).await.expect(204);
        };
        assert_eq!(code(&while_it_hangs(&outside, ask, delete).await), (404, "not_found"), "{verb}");
        assert_eq!(state(&app, gone).await.1, json!({}));
    }
}

#[tokio::test]
async fn n8n_is_known_by_its_secret_before_anything_else_is_looked_at() {
    let app = start().await;
    let admin = app.admin().await;
    let id = event(&admin, &json!({})).await;
    let before = everything(&app).await;
    let without = app.another_server().with("N8N_WEBHOOK_SECRET", "").start().await;
    let wrong = "the header x-n8n-secret is missing or wrong.";
    for verb in ["generation_callback", "gcal-sync"] {
        for address in [path(id, verb), path(Id(987_654), verb), path(id, verb).replace(&id.to_string(), "x")] {
            let sent = json!({ "gcal_event_id": "g", "generated_content": { "a": "x" } });
            let shown = |secret: &str| app.anonymous().with("X-N8N-SECRET", secret);
            for refused in [
                app.anonymous().post(&address, &sent).await,
                admin.post(&address, &sent).await,
                shown("").post(&address, &sent).await,
                shown("shared with n8n alonE").post(&address, &sent).await,
                shown("shared with n8n alone ever").post(&address, &json!("no object")).await,
                n8n(&app).with("X-N8N-SECRET", SECRET).post(&address, &sent).await,
                n8n(&app).at(&without).post(&address, &sent).await,
                app.anonymous().at(&without).with("X-N8N-SECRET", "").post(&address, &sent).await,
            ] {
                assert_eq!(code(&refused), (403, "permission_denied"), "{address}");
                assert_eq!(refused.body["detail"].as_str().unwrap().to_lowercase(), wrong);
            }
        }
    }
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn callbacks_hold_the_state_table_in_any_order() {
    let app = start().await;
    let (staff, n8n) = (app.staff().await, n8n(&app));
    let taken = |phase: u8, status: &str, gcal: &str| json!([phase, status, gcal]);
    let report = async |id: Id, verb: &str, body: &Value| {
        let said = n8n.post(&path(id, verb), body).await.expect(200).clone();
        assert!(said["detail"].is_string());
        json!([said["phase"], said["generation_status"], said["gcal_event_id"]])
    };
    for verb in ["generation_callback", "gcal-sync"] {
        for (from, to) in [("idle", "pending"), ("pending", "pending"), ("ready", "ready"), ("failed", "pending")] {
            let id = event(&staff, &json!({})).await;
            run(&app.db, format!("update events set generation_status = '{from}' where id = {id}")).await;
            let said = report(id, verb, &json!({ "gcal_event_id": "g1" })).await;
            assert_eq!(said, taken(1, to, "g1"), "{verb} from {from}");
            let (status, _, gcal, timeout_at) = state(&app, id).await;
            assert_eq!((status.as_str(), gcal.as_str(), timeout_at.is_some()), (to, "g1", to == "pending"));
        }
    }
    for from in ["idle", "pending", "ready", "failed"] {
        let id = event(&staff, &json!({})).await;
        run(&app.db, format!("update events set generation_status = '{from}' where id = {id}")).await;
        assert_eq!(report(id, "generation_callback", &delivery("One")).await, taken(2, "ready", ""), "from {from}");
        assert_eq!(state(&app, id).await.3, None);
    }

    // The first report after the second, the second twice, and another second.
    let id = event(&staff, &json!({})).await;
    let until = json!({ "gcal_event_id": "g", "generation_timeout_at": "2026-03-02T03:00:00Z" });
    assert_eq!(report(id, "generation_callback", &until).await, taken(1, "pending", "g"));
    assert_eq!(state(&app, id).await.3.unwrap().to_rfc3339(), "2026-03-02T03:00:00+00:00");
    let text = json!({ "generated_content": "{\"a\": \"One\", \"n\": 7}", "generation_meta": "{\"model\": \"m\"}" });
    assert_eq!(report(id, "generation_callback", &text).await, taken(2, "ready", "g"));
    let seen = staff.get(&at(EVENTS, id)).await.expect(200).clone();
    assert_eq!(seen["generated_content"], json!({ "a": "One", "n": "7" }));
    assert_eq!(seen["generation_meta"], json!({ "model": "m", "source": "workflow" }));
    assert_eq!((&seen["updated_by"], &seen["last_generated_at"]), (&json!(null), &json!(NOW)));
    let before = everything(&app).await;
    assert_eq!(report(id, "generation_callback", &text).await, taken(2, "ready", "g"));
    assert_eq!(report(id, "generation_callback", &until).await, taken(1, "ready", "g"));
    assert_eq!(everything(&app).await, before, "what is so already is not written again");
    assert_eq!(report(id, "generation_callback", &delivery("Two")).await, taken(2, "ready", "g"));
    assert_eq!(revisions(&staff, id).await, [(1, json!("One"))]);

    staff.delete(&at(EVENTS, id)).await.expect(204);
    let before = everything(&app).await;
    assert_eq!(code(&n8n.post(&path(id, "generation_callback"), &text).await), (404, "not_found"));
    assert_eq!(code(&n8n.post(&path(id, "gcal-sync"), &until).await), (404, "not_found"));
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn a_callback_that_cannot_be_used_is_refused_by_field() {
    let app = start().await;
    let id = event(&app.staff().await, &json!({})).await;
    let before = everything(&app).await;
    for (body, field) in [
        (json!({}), "gcal_event_id"),
        (json!({ "gcal_event_id": " " }), "gcal_event_id"),
        (json!({ "gcal_event_id": "x".repeat(256) }), "gcal_event_id"),
        (json!({ "gcal_event_id": 7 }), "gcal_event_id"),
        (json!({ "gcal_event_id": "g", "generation_timeout_at": "soon" }), "generation_timeout_at"),
        (json!({ "generated_content": {} }), "generated_content"),
        (json!({ "generated_content": { "a": " ", "b": null } }), "generated_content"),
        (json!({ "generated_content": "no JSON" }), "generated_content"),
        (json!({ "generated_content": "[1]" }), "generated_content"),
        (json!({ "generated_content": "{\"a\": \"x\\u0000\"}" }), "generated_content"),
        (json!({ "generated_content": "{\"a\": [{\"\\u0000\": 1}]}" }), "generated_content"),
        (json!({ "generated_content": { "a": "x".repeat(256 * 1024) } }), "generated_content"),
        (json!({ "generated_content": { "a": "x" }, "generation_meta": "x" }), "generation_meta"),
        (
            json!({ "generated_content": { "a": "x" }, "generation_meta": { "b": "x".repeat(64 * 1024) } }),
            "generation_meta",
        ),
    ] {
        let refused = n8n(&app).post(&path(id, "generation_callback"), &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()));
    }
    for body in [json!([]), json!("x"), json!(null)] {
        assert_eq!(code(&n8n(&app).post(&path(id, "generation_callback"), &body).await), (400, "malformed"));
    }
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn content_is_refined_by_the_workflow_and_no_text_is_lost() {
    let (app, outside) = (start().await, Receiver::start().await);
    workflow(&app, &outside, "event.refine").await;
    let staff = app.staff().await;
    let id = event(&staff, &json!({ "target_all_students": true })).await;
    let content = json!({ "generated_content": { "a": "One", "b": "Two" } });
    n8n(&app).post(&path(id, "generation_callback"), &content).await.expect(200);
    outside
        .answers(200, json!([{ "generated_content": "{\"a\": 7, \"c\": [1]}", "generation_meta": { "model": "m" } }]));
    let wish = json!({
        "refinement_prompt": " Shorter ", "current_content": { "b": "Edited" }, "chat_history": [{ "role": "user" }],
    });
    let refined = staff.post(&path(id, "refine_content"), &wish).await.expect(200).clone();
    let wanted = json!({
        "generated_content": { "a": "7", "b": "Edited", "c": "[1]" },
        "generation_meta": { "model": "m", "source": "workflow", "refinement_prompt": "Shorter" },
        "generation_status": "ready",
    });
    assert_eq!(refined, wanted);
    let sent = outside.until_called(1).await;
    let payload = json!({
        "event_id": id, "current_content": { "a": "One", "b": "Edited" }, "refinement_prompt": "Shorter",
        "audience_context": {
            "visibility": "public", "target_all_students": true, "target_student_count": 0, "target_offering_ids": [],
            "target_intake_ids": [],
        },
        "chat_history": [{ "role": "user" }], "triggered_by": staff.email,
    });
    assert_eq!(sent[0].json["payload"], payload);

    let before = everything(&app).await;
    outside.answers(200, json!({ "message": "Workflow was started" }));
    let refused = staff.post(&path(id, "refine_content"), &wish).await;
    assert_eq!(code(&refused), (502, "workflow_answer_unusable"));
    for (body, field) in [
        (json!({ "refinement_prompt": "  " }), "refinement_prompt"),
        (json!({}), "refinement_prompt"),
        (json!({ "refinement_prompt": "x", "current_content": [1] }), "current_content"),
        (json!({ "refinement_prompt": "x", "chat_history": "x" }), "chat_history"),
        (json!({ "refinement_prompt": "x", "chat_history": ["x".repeat(64 * 1024)] }), "chat_history"),
    ] {
        let refused = staff.post(&path(id, "refine_content"), &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{field}");
    }
    assert_eq!(everything(&app).await, before);
    assert_eq!(outside.sent().len(), 2, "what is refused asks nobody");

    // Empty content is generated first.
    let empty = event(&staff, &json!({})).await;
    outside.answers(200, json!({ "generated_content": { "social_post": "New" } }));
    let refined = staff.post(&path(empty, "refine_content"), &wish_of("x")).await.expect(200).clone();
    let asked = outside.sent()[2].json["payload"]["current_content"].clone();
    for piece in PIECES {
        assert!(asked[piece].as_str().unwrap().contains("Open day"));
        let same = refined["generated_content"][piece] == asked[piece];
        assert_eq!(same, piece != "social_post", "{piece}");
    }
}

fn wish_of(prompt: &str) -> Value {
    json!({ "refinement_prompt": prompt })
}

#[tokio::test]
async fn without_a_workflow_empty_content_is_written_and_then_refined() {
    let app = start().await;
    let staff = app.staff().await;
    let id = event(&staff, &json!({})).await;
    let refined = staff.post(&path(id, "refine_content"), &wish_of("Add emojis")).await.expect(200).clone();
    for piece in PIECES {
        assert!(refined["generated_content"][piece].as_str().unwrap().ends_with('🎉'), "{piece}");
    }
    let meta = json!({ "source": "built-in", "refinement_prompt": "Add emojis" });
    assert_eq!((&refined["generation_meta"], &refined["generation_status"]), (&meta, &json!("ready")));
    staff.post(&path(id, "refine_content"), &wish_of("no emojis")).await.expect(200);
    let history = staff.get(&path(id, "content-history")).await.expect(200).clone();
    assert_eq!(history[0]["generated_content"], refined["generated_content"]);
    assert_eq!(history.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn readers_see_content_once_it_is_confirmed_and_never_what_came_after() {
    let app = start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let id = event(&staff, &json!({})).await;
    let seen = async || ann.get(&at(EVENTS, id)).await.expect(200)["generated_content"].clone();
    assert_eq!(code(&staff.post_bare(&path(id, "confirm-content")).await), (400, "no_content"));
    let meta = json!({ "confirmed_at": NOW, "confirmed_by": staff.id, "model": "m" });
    let forged = json!({ "generated_content": { "a": "One" }, "generation_meta": meta });
    n8n(&app).post(&path(id, "generation_callback"), &forged).await.expect(200);
    assert_eq!(seen().await, json!({}), "a workflow confirms nothing");
    staff.put(&path(id, "update-content"), &forged).await.expect(200);
    staff.patch(&path(id, "patch-content"), &forged).await.expect(200);
    assert_eq!(seen().await, json!({}), "nor does who writes it");

    let refused = staff.post(&path(id, "confirm-content"), &json!({ "visibility": "secret" })).await;
    assert_eq!(faulty(&refused), ["visibility".to_owned()].into());
    let confirm = async || {
        let said =
            staff.post(&path(id, "confirm-content"), &json!({ "visibility": "public" })).await.expect(200).clone();
        let wanted = json!({
            "detail": said["detail"], "id": id, "title": "Open day", "visibility": "public", "generation_status": "ready",
        });
        assert_eq!(said, wanted);
    };
    confirm().await;
    assert_eq!(seen().await, json!({ "a": "One" }));
    let meta = staff.get(&at(EVENTS, id)).await.body["generation_meta"].clone();
    assert_eq!((&meta["confirmed_by"], &meta["confirmed_at"]), (&json!(staff.email), &json!(NOW)));

    // The same content again stays confirmed.
    staff.put(&path(id, "update-content"), &delivery("One")).await.expect(200);
    n8n(&app).post(&path(id, "generation_callback"), &delivery("One")).await.expect(200);
    assert_eq!(seen().await, json!({ "a": "One" }));
    // Any other waits to be confirmed, also an earlier one.
    n8n(&app).post(&path(id, "generation_callback"), &delivery("Two")).await.expect(200);
    assert_eq!(seen().await, json!({}));
    for (verb, body) in [
        ("refine_content", wish_of("longer")),
        ("apply-suggestion", json!({ "field": "a", "suggestion": "Three" })),
        ("content-history/1/restore", json!({})),
        ("generate_content", json!({})),
    ] {
        confirm().await;
        assert_ne!(seen().await, json!({}), "{verb}");
        staff.post(&path(id, verb), &body).await.expect(200);
        assert_eq!(seen().await, json!({}), "{verb}");
    }
    for verb in ["update-content", "patch-content"] {
        confirm().await;
        let reply = match verb {
            "update-content" => staff.put(&path(id, verb), &delivery("Four")).await,
            _ => staff.patch(&path(id, verb), &delivery("Five")).await,
        };
        reply.expect(200);
        assert_eq!(seen().await, json!({}), "{verb}");
    }
}

#[tokio::test]
async fn content_is_replaced_merged_and_cleared() {
    let app = start().await;
    let staff = app.staff().await;
    let id = event(&staff, &json!({})).await;
    run(&app.db, format!("update events set generation_meta = '{{\"csv_meta\": {{\"x\": 1}}}}' where id = {id}")).await;
    let sent = json!({ "generated_content": { "a": "One", "b": 2 }, "generation_meta": { "by": "hand" } });
    let now = staff.put(&path(id, "update-content"), &sent).await.expect(200).clone();
    let wanted = json!({
        "id": id, "generated_content": { "a": "One", "b": "2" }, "generation_status": "ready", "last_generated_at": null,
        "generation_meta": { "by": "hand", "csv_meta": { "x": 1 } },
    });
    assert_eq!(now, wanted);
    let sent =
        json!({ "generated_content": { "b": null, "c": "Three" }, "generation_meta": { "by": null, "of": "me" } });
    let now = staff.patch(&path(id, "patch-content"), &sent).await.expect(200).clone();
    assert_eq!(now["generated_content"], json!({ "a": "One", "c": "Three" }));
    assert_eq!(now["generation_meta"], json!({ "of": "me", "csv_meta": { "x": 1 } }));
    let now = staff.patch(&path(id, "patch-content"), &json!({ "generation_status": "pending" })).await;
    assert_eq!(now.expect(200)["generation_status"], "pending");
    assert!(state(&app, id).await.3.is_some(), "what is pending has a time-out");
    staff.put(&path(id, "update-content"), &json!({ "generated_content": {} })).await.expect(200);
    let (status, content, _, timeout_at) = state(&app, id).await;
    assert_eq!((status.as_str(), content, timeout_at), ("idle", json!({}), None));

    let tag = staff.get(&at(EVENTS, id)).await.header("etag").unwrap().to_owned();
    staff.with("If-Match", &tag).put(&path(id, "update-content"), &delivery("Two")).await.expect(200);
    let stale = staff.with("If-Match", &tag);
    assert_eq!(stale.put(&path(id, "update-content"), &delivery("Lost")).await.status, 412);
    assert_eq!(stale.patch(&path(id, "patch-content"), &delivery("Lost")).await.status, 412);
    assert_eq!(stale.delete(&path(id, "clear-content")).await.status, 412);
    for body in [json!({}), json!({ "generated_content": [] }), json!({ "generated_content": "x" })] {
        let refused = staff.put(&path(id, "update-content"), &body).await;
        assert_eq!(faulty(&refused), ["generated_content".to_owned()].into());
    }
    let done = json!({ "generated_content": { "a": "x" }, "generation_status": "done" });
    assert_eq!(faulty(&staff.put(&path(id, "update-content"), &done).await), ["generation_status".to_owned()].into());

    let cleared = staff.delete(&path(id, "clear-content")).await.expect(200).clone();
    assert_eq!(cleared, json!({ "detail": cleared["detail"], "id": id, "generation_status": "idle" }));
    let seen = staff.get(&at(EVENTS, id)).await.expect(200).clone();
    assert_eq!(
        (&seen["generated_content"], &seen["generation_meta"]),
        (&json!({}), &json!({ "csv_meta": { "x": 1 } }))
    );
    assert_eq!(revisions(&staff, id).await[0], (3, json!("Two")));
}

#[tokio::test]
async fn the_history_is_newest_first_bounded_and_can_be_gone_back_in() {
    let app = start().await;
    let staff = app.staff().await;
    let (id, other) = (event(&staff, &json!({})).await, event(&staff, &json!({})).await);
    for text in ["One", "Two", "Three"] {
        staff.put(&path(id, "update-content"), &delivery(text)).await.expect(200);
    }
    assert_eq!(revisions(&staff, id).await, [(2, json!("Two")), (1, json!("One"))]);
    assert_eq!(revisions(&staff, other).await, []);
    let restored = staff.post_bare(&path(id, "content-history/1/restore")).await.expect(200).clone();
    assert_eq!(restored["generated_content"], json!({ "a": "One" }));
    assert_eq!(
        (&restored["generation_status"], &restored["generation_meta"]["restored_from"]),
        (&json!("ready"), &json!(1))
    );
    assert_eq!(revisions(&staff, id).await[0], (3, json!("Three")));
    let row = staff.get(&path(id, "content-history")).await.expect(200)[0].clone();
    let wanted = json!({
        "id": row["id"], "revision": 3, "generated_content": { "a": "Three" }, "generation_meta": {},
        "generation_status": "ready", "created_at": NOW, "created_by": staff.id,
    });
    assert_eq!(row, wanted);
    for rev in ["0", "4", "99999999999", "x", "-1"] {
        let gone = staff.post_bare(&path(id, &format!("content-history/{rev}/restore"))).await;
        assert_eq!(code(&gone), (404, "not_found"), "{rev}");
    }
    assert_eq!(code(&staff.post_bare(&path(other, "content-history/1/restore")).await), (404, "not_found"));

    let first = staff.get(&format!("{}?page_size=2", path(id, "content-history"))).await;
    assert_eq!(first.expect(200).as_array().unwrap().len(), 2);
    let next = staff.get(&first.next_page().unwrap()).await;
    assert_eq!(next.expect(200)[0]["revision"], 1);
    for number in 0..52 {
        staff.put(&path(id, "update-content"), &delivery(&number.to_string())).await.expect(200);
    }
    let kept: Vec<i64> = revisions(&staff, id).await.into_iter().map(|(revision, _)| revision).collect();
    assert_eq!(kept, (6..=55).rev().collect::<Vec<_>>(), "the last fifty stay");
}

#[tokio::test]
async fn two_writers_at_once_keep_both_contents() {
    let app = start().await;
    let staff = app.staff().await;
    let id = event(&staff, &json!({})).await;
    staff.put(&path(id, "update-content"), &delivery("One")).await.expect(200);
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("select id from events where id = {id} for no key update")).await;
    let (address, body) =
        (path(id, "apply-suggestion"), ["Two", "Three"].map(|text| json!({ "field": "a", "suggestion": text })));
    let release = async {
        app.until_so_many_wait(2).await;
        halfway.rollback().await.unwrap();
    };
    let (two, three, ()) = tokio::join!(staff.post(&address, &body[0]), staff.post(&address, &body[1]), release);
    two.expect(200);
    three.expect(200);
    let mut texts: Vec<String> =
        revisions(&staff, id).await.into_iter().map(|(_, text)| text.as_str().unwrap().to_owned()).collect();
    texts.push(state(&app, id).await.1["a"].as_str().unwrap().to_owned());
    texts.sort();
    assert_eq!(texts, ["One", "Three", "Two"]);
}

#[tokio::test]
async fn suggestions_write_nothing_until_one_is_applied() {
    let app = start().await;
    let staff = app.staff().await;
    let id = event(&staff, &json!({})).await;
    staff
        .put(&path(id, "update-content"), &json!({ "generated_content": { "social_post": "Come!", "x": "y" } }))
        .await
        .expect(200);
    let before = everything(&app).await;
    let chat = path(id, "refine-chatbot");
    let turn = json!({ "refinement_type": "prompt", "content": "Add emojis" });
    let said = staff.post(&chat, &turn).await.expect(200).clone();
    assert_eq!(json!([said["type"], said["field"], said["current"]]), json!(["suggestions", "social_post", "Come!"]));
    assert_eq!(said["suggestions"][0], "Come! 🎉");
    assert!(said["suggestions"].as_array().unwrap().len() > 1);
    let turn = json!({ "refinement_type": "direct_edit", "content": "Mine", "field": "x" });
    let said = staff.post(&chat, &turn).await.expect(200).clone();
    let wanted = json!({
        "type": "confirmation", "message": said["message"], "field": "x", "current": "y", "suggestion": "Mine",
    });
    assert_eq!(said, wanted);
    for (body, field) in [
        (json!({ "refinement_type": "other", "content": "x" }), "refinement_type"),
        (json!({ "refinement_type": "prompt", "content": " " }), "content"),
        (json!({ "refinement_type": "direct_edit", "content": "" }), "content"),
        (json!({ "refinement_type": "prompt", "content": "x", "field": "nothing" }), "field"),
    ] {
        let refused = staff.post(&chat, &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()));
    }
    let apply = path(id, "apply-suggestion");
    for (body, field) in [
        (json!({ "suggestion": " " }), "suggestion"),
        (json!({ "suggestion": "x", "field": "nothing" }), "field"),
        (json!({ "suggestion": "x".repeat(256 * 1024) }), "suggestion"),
    ] {
        assert_eq!(faulty(&staff.post(&apply, &body).await), [field.to_owned()].into());
    }
    assert_eq!(everything(&app).await, before);

    let keyed = staff.with("Idempotency-Key", "k");
    let taken = keyed.post(&apply, &json!({ "suggestion": "Come! 🎉" })).await.expect(200).clone();
    let wanted = json!({
        "message": taken["message"], "field": "social_post", "suggestion": "Come! 🎉", "ready_to_publish": false,
        "generated_content": { "social_post": "Come! 🎉", "x": "y" },
    });
    assert_eq!(taken, wanted);
    let after = everything(&app).await;
    assert_eq!(keyed.post(&apply, &json!({ "suggestion": "Come! 🎉" })).await.expect(200), &taken);
    assert_eq!(everything(&app).await, after);
    for piece in &PIECES[1..] {
        let last = staff.post(&apply, &json!({ "suggestion": "x", "field": piece })).await;
        assert_eq!(last.expect(200)["ready_to_publish"], *piece == "recruitment_ad");
    }
}

#[tokio::test]
async fn only_those_who_may_edit_events_work_on_content_and_auditors_look_on() {
    let app = start().await;
    let staff = app.staff().await;
    let (seen, hidden) = (event(&staff, &json!({})).await, event(&staff, &json!({ "visibility": "staff" })).await);
    let before = everything(&app).await;
    let posts = [
        "generate_content",
        "refine_content",
        "confirm-content",
        "refine-chatbot",
        "apply-suggestion",
        "content-history/1/restore",
    ];
    let attempt = async |who: &Person, id: Id| {
        // What is sent fits each of them.
        let body = json!({
            "refinement_prompt": "x", "refinement_type": "prompt", "content": "x", "suggestion": "x", "generated_content": {},
        });
        let mut replies = Vec::new();
        for verb in posts {
            replies.push(who.post(&path(id, verb), &body).await);
        }
        replies.push(who.put(&path(id, "update-content"), &body).await);
        replies.push(who.patch(&path(id, "patch-content"), &body).await);
        replies.push(who.delete(&path(id, "clear-content")).await);
        replies
    };
    let look = async |who: &Person, id: Id| {
        [who.get(&path(id, "get_generation_status")).await, who.get(&path(id, "content-history")).await]
    };
    for outsider in [app.student().await, app.parent().await] {
        for (id, wanted) in [(seen, (403, "permission_denied")), (hidden, (404, "not_found"))] {
            for refused in attempt(&outsider, id).await.iter().chain(&look(&outsider, id).await) {
                assert_eq!(code(refused), wanted, "{} {id}", outsider.user_type);
            }
        }
    }
    let auditor = app.auditor().await;
    for refused in attempt(&auditor, hidden).await {
        assert_eq!(code(&refused), (403, "permission_denied"));
    }
    for shown in look(&auditor, hidden).await {
        shown.expect(200);
    }
    for missing in attempt(&staff, Id(987_654)).await {
        assert_eq!(code(&missing), (404, "not_found"));
    }
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn content_that_does_not_come_in_time_has_failed() {
    let app = start().await;
    let staff = app.staff().await;
    let (late, early, gone) =
        (event(&staff, &json!({})).await, event(&staff, &json!({})).await, event(&staff, &json!({})).await);
    let n8n = n8n(&app);
    for (id, until) in [(late, "2026-03-02T01:59:00Z"), (early, "2026-03-02T02:00:01Z"), (gone, "2026-03-02T01:59:00Z")]
    {
        let body = json!({ "gcal_event_id": "g", "generation_timeout_at": until });
        n8n.post(&path(id, "gcal-sync"), &body).await.expect(200);
    }
    staff.delete(&at(EVENTS, gone)).await.expect(204);
    let _sweeping = app.another_server().with_background().start().await;
    app.until("the late one has failed", async || state(&app, late).await.0 == "failed").await;
    assert_eq!((state(&app, early).await.0.as_str(), state(&app, gone).await.0.as_str()), ("pending", "pending"));
    let seen = staff.get(&path(late, "get_generation_status")).await.expect(200).clone();
    assert_eq!(seen["generation_meta"]["error"], "The workflow did not deliver the content in time.");
    let sql = sqlx::query!("select user_id, details, resource_id from audit_log where action = 'expire_content'");
    let rows = sql.fetch_all(&app.db).await.unwrap();
    assert_eq!((rows.len(), rows[0].user_id, rows[0].resource_id), (1, None, Some(late.0)));
    assert_eq!(rows[0].details["changes"]["generation_status"], json!({ "before": "pending", "after": "failed" }));
    // A late answer is still one.
    n8n.post(&path(late, "generation_callback"), &delivery("One")).await.expect(200);
    let seen = staff.get(&path(late, "get_generation_status")).await.expect(200).clone();
    assert_eq!((&seen["generation_status"], &seen["generation_meta"]["error"]), (&json!("ready"), &json!(null)));
}
