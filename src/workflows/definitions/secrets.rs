//! The secret of a workflow: made by the server, shown once, renewed with two valid at once.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::handlers::{Workflow, WorkflowFields};
use super::store;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::http::{Answer, Bare, Created, Done, IfMatch, PathId, Posted, Resource, insert, locked};
use crate::ids::Moment;
use crate::workflows::sign;

/// A new workflow.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewWorkflow {
    #[serde(flatten)]
    workflow: Workflow,
    /// What messages are signed with, after the Standard Webhooks specification. It is shown this once: the answer that an
    /// `Idempotency-Key` keeps has null here.
    secret: Option<String>,
}

/// A workflow's new secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewSecret {
    /// Shown this once; null in the answer that an `Idempotency-Key` keeps.
    secret: Option<String>,
    /// Until then messages are signed with the old one, too.
    previous_valid_until: Option<Moment>,
}

/// `POST /`
pub(super) async fn create(
    actor: Actor<may::ManageWorkflows>,
    State(app): State<AppState>,
    Posted { body: fields, repeat }: Posted<WorkflowFields>,
) -> Answer<Created<NewWorkflow>> {
    fields.configuration.refuse_foreign(&app)?;
    let secret = sign::new_secret()?;
    let once = Once::default();
    let (actor, fields, secret, noted) = (&actor, &fields, &secret, &once);
    let kept = repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let workflow = insert::<Workflow>(tx, actor, fields).await?;
                store::renew_secret(tx, workflow.id(), secret).await?;
                noted.happens();
                Created::with(&NewWorkflow { workflow, secret: None })
            })
        })
        .await?;
    once.tell(kept, secret)
}

/// `POST /{id}/rotate-secret/`
pub(super) async fn rotate(
    actor: Actor<may::ManageWorkflows>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Bare { repeat }: Bare,
) -> Answer<Done<NewSecret>> {
    let secret = sign::new_secret()?;
    let once = Once::default();
    let (actor, secret, noted) = (&actor, &secret, &once);
    let kept = repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                locked::<Workflow>(tx, actor, id, &IfMatch::none()).await?;
                let previous_valid_until = store::renew_secret(tx, id, secret).await?;
                let what = json!({ "secret": "renewed" });
                audit::note(tx, Some(actor.id()), &actor.origin, "rotate_secret", Workflow::NAME, Some(id), &what)
                    .await?;
                noted.happens();
                Done::with(&NewSecret { secret: None, previous_valid_until })
            })
        })
        .await?;
    once.tell(kept, secret)
}

/// Whether the effect took place in this request, and not in the one that it repeats.
#[derive(Default)]
struct Once(AtomicBool);

impl Once {
    fn happens(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The answer with the secret, which is not kept with it.
    fn tell<A: crate::http::Kept>(&self, kept: A, secret: &[u8]) -> Answer<A> {
        if !self.0.load(Ordering::Relaxed) {
            return Ok(kept);
        }
        let mut body: Value = serde_json::from_slice(kept.bytes()).map_err(crate::http::Problem::internal)?;
        if let Some(place) = body.get_mut("secret") {
            *place = json!(sign::spelt(secret));
        }
        Ok(A::again(body.to_string().into_bytes()))
    }
}
