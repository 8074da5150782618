//! What people ask of the built-in writer, and what they are told when it does not understand.

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{at, id_of};
use crate::support::{Person, TestApp};

const EVENTS: &str = "/api/core/events/";

async fn event(author: &Person) -> Id {
    let body = json!({ "title": "Open day", "start": "2026-03-10T09:00:00Z", "description": "Come and see us." });
    id_of(&author.post(EVENTS, &body).await)
}

fn path(id: Id, verb: &str) -> String {
    format!("{EVENTS}{id}/{verb}/")
}

#[tokio::test]
async fn a_prompt_that_only_asks_for_content_is_never_published() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = event(&staff).await;
    let plain = staff.post_bare(&path(id, "generate_content")).await.expect(200)["generated_content"].clone();
    let wish = json!({ "prompt": "Generate event content" });
    let made = staff.post(&path(id, "generate_content"), &wish).await.expect(200).clone();
    assert_eq!(made["generated_content"], plain);
    assert_eq!(made["generation_meta"], json!({ "source": "built-in", "prompt": "Generate event content" }));
    for name in ["social_post", "email_newsletter", "long_article", "recruitment_ad", "vietnamese_version"] {
        assert!(plain[name].as_str().unwrap().contains("Open day"), "{name}");
    }
    let refined = json!({ "refinement_prompt": "Please write the content again" });
    let refined = staff.post(&path(id, "refine_content"), &refined).await.expect(200).clone();
    assert_eq!(refined["generated_content"], plain);
}

#[tokio::test]
async fn what_the_built_in_writer_does_not_understand_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let id = event(&staff).await;
    staff.post_bare(&path(id, "generate_content")).await.expect(200);
    let before = staff.get(&at(EVENTS, id)).await.expect(200).clone();
    for prompt in [
        "Say it in Vietnamese",
        "Make it more exciting",
        "Remove the last sentence.",
        "Rewrite it for first-year students.",
        "Change the location to Room 5.",
        "Thanks, looks good.",
    ] {
        for (verb, field) in
            [("refine_content", "refinement_prompt"), ("generate_content", "prompt"), ("refine-chatbot", "content")]
        {
            let mut wish = json!({ "refinement_type": "prompt" });
            wish[field] = json!(prompt);
            let refused = staff.post(&path(id, verb), &wish).await;
            let detail = refused.expect(400)["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(&format!("“{prompt}”")) && detail.contains("Mention that"), "{verb}: {detail}");
            assert_eq!(refused.body["errors"][field], json!([detail]));
        }
    }
    assert_eq!(staff.get(&at(EVENTS, id)).await.expect(200), &before);

    let said = json!({ "refinement_prompt": "Mention that parking is free and make it shorter" });
    let refined = staff.post(&path(id, "refine_content"), &said).await.expect(200).clone();
    let text = |content: &Value| content["generated_content"]["social_post"].as_str().unwrap().to_owned();
    assert!(text(&refined).ends_with("\n\nParking is free."), "{}", text(&refined));
    let casual = json!({ "refinement_prompt": "Make the social post more casual and add emojis" });
    let refined = staff.post(&path(id, "refine_content"), &casual).await.expect(200).clone();
    assert!(text(&refined).contains("Hello everyone!") && text(&refined).contains('🎉'), "{}", text(&refined));
}

#[tokio::test]
async fn content_is_taken_as_models_and_miswired_workflows_send_it() {
    let app = TestApp::with(&[("N8N_WEBHOOK_SECRET", "shared with n8n alone")]).await;
    let staff = app.staff().await;
    let n8n = app.anonymous().with("X-N8N-SECRET", "shared with n8n alone");
    let content = json!({ "social_post": "Chào\ncác bạn" });
    for sent in [
        json!({ "generated_content": "```json\n{\"social_post\": \"Chào\ncác bạn\"}\n```" }),
        json!({ "generated_content": "{\"social_post\": \"Chào\ncác bạn\"}" }),
        json!([{ "generated_content": content }]),
        json!({ "body": { "generated_content": content } }),
        json!([{ "json": { "generated_content": [{ "generated_content": content }] } }]),
    ] {
        let id = event(&staff).await;
        let taken = n8n.post(&path(id, "generation_callback"), &sent).await.expect(200).clone();
        assert_eq!((&taken["phase"], &taken["generation_status"]), (&json!(2), &json!("ready")), "{sent}");
        assert_eq!(staff.get(&at(EVENTS, id)).await.expect(200)["generated_content"], content, "{sent}");
    }
    let id = event(&staff).await;
    let entry = json!([{ "body": { "gcal_event_id": "g1" } }]);
    assert_eq!(n8n.post(&path(id, "gcal-sync"), &entry).await.expect(200)["gcal_event_id"], json!("g1"));
    n8n.post(&path(id, "gcal-sync"), &json!([])).await.expect(400);
}
