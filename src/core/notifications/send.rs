//! What people tell each other.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::handlers::Notification;
use super::store;
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::http::{Answer, Created, Faults, Posted, Problem, Sight, find};
use crate::ids::{Id, or_null};

/// What somebody is told. Who tells it is not asked: it is the caller.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct NewNotification {
    /// Somebody whom the caller may write to.
    #[serde(deserialize_with = "or_null")]
    #[schema(required)]
    pub(super) recipient: Option<Id>,
    /// In a few words, at most 255 characters.
    #[schema(required)]
    pub(super) verb: String,
    /// The particulars, at most 20,000 characters.
    pub(super) description: String,
    /// What kind of thing it is about, at most 100 characters.
    pub(super) target_content_type: String,
    /// Which of these.
    #[serde(deserialize_with = "or_null")]
    pub(super) target_object_id: Option<Id>,
}

/// `POST /`
pub(super) async fn send(
    actor: Actor<may::SendNotifications>,
    State(app): State<AppState>,
    Posted { body, repeat }: Posted<NewNotification>,
) -> Answer<Created<Notification>> {
    let (actor, new) = (&actor, &body);
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                let recipient = checked(tx, actor, new).await?;
                let id = store::add(tx, actor.id(), recipient, new).await?;
                let after = serde_json::to_value(new).map_err(Problem::internal)?;
                audit::record(tx, actor, "create", "notification", Some(id), &Value::Null, &after).await?;
                Created::with(&find::<Notification>(tx, actor, id, Sight::Any).await?)
            })
        })
        .await
}

/// The recipient of what may be sent.
async fn checked(tx: &mut PgConnection, actor: &Actor<may::SendNotifications>, new: &NewNotification) -> Answer<Id> {
    let mut faults = Faults::default();
    faults.name("verb", &new.verb, 255);
    faults.text("description", &new.description, 20_000);
    faults.text("target_content_type", &new.target_content_type, 100);
    match new.recipient {
        None => faults.add("recipient", "This field is required."),
        // Whether there is somebody whom the caller may not write to is not told.
        Some(recipient) => faults.unless(
            store::can_be_told(tx, recipient, actor.scope().is_all()).await?,
            "recipient",
            format!("There is nobody with the id {recipient} whom you may notify."),
        ),
    }
    faults.check()?;
    new.recipient.ok_or_else(Problem::absent)
}
