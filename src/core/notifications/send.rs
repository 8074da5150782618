//! What people tell each other.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::handlers::Notification;
use super::store;
use crate::academic::offerings::Offering;
use crate::access::throttle::{self, Bucket};
use crate::access::{Actor, may};
use crate::app::AppState;
use crate::audit;
use crate::enrollment::knows_class;
use crate::http::{Answer, Created, Faults, Posted, Problem, Resource, Sight, find};
use crate::ids::{Id, or_null};

/// What somebody is told. Who tells it is not asked: it is the caller.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct NewNotification {
    /// Somebody whom the caller may write to: students and parents write to staff, convenors and administrators. Needed
    /// unless an offering is named.
    #[serde(deserialize_with = "or_null")]
    pub(super) recipient: Option<Id>,
    /// In place of a recipient: everybody who is ENROLLED in this offering. For who may see its class list: who convenes
    /// it, who instructs it, and staff.
    #[serde(deserialize_with = "or_null", skip_serializing_if = "Option::is_none")]
    pub(super) offering: Option<Id>,
    /// In a few words, at most 255 characters.
    #[schema(required)]
    pub(super) verb: String,
    /// The particulars, at most 20,000 characters.
    pub(super) description: String,
    /// What kind of thing it is about, at most 100 characters. What a class is told is about its offering.
    pub(super) target_content_type: String,
    /// Which of these.
    #[serde(deserialize_with = "or_null")]
    pub(super) target_object_id: Option<Id>,
}

/// What a whole class was told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClassNotice {
    offering: Id,
    verb: String,
    description: String,
    /// How many were told.
    told_count: u64,
}

/// What was sent: to one person, or to a class.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum SentNotification {
    One(Notification),
    Class(ClassNotice),
}

/// `POST /`
pub(super) async fn send(
    actor: Actor<may::SendNotifications>,
    State(app): State<AppState>,
    Posted { body, repeat }: Posted<NewNotification>,
) -> Answer<Created<SentNotification>> {
    let (actor, new) = (&actor, &body);
    repeat
        .write(
            &app,
            Some(actor.id()),
            |tx, _| Box::pin(refuse_strangers(tx, actor, new.offering)),
            |tx, _| {
                Box::pin(async move {
                    match new.offering {
                        Some(offering) => to_class(tx, actor, offering, new).await,
                        None => to_one(tx, actor, new).await,
                    }
                })
            },
        )
        .await
}

/// 403 unless the class is the caller's to write to. One that is not there is left to the rules.
async fn refuse_strangers(
    tx: &mut PgConnection,
    actor: &Actor<may::SendNotifications>,
    offering: Option<Id>,
) -> Answer<()> {
    let Some(offering) = offering else { return Ok(()) };
    let reader = actor.require::<may::ReadClassLists>()?;
    let Ok(offering) = find::<Offering>(tx, actor, offering, Sight::Visible).await else { return Ok(()) };
    if knows_class(tx, &reader, &offering).await? {
        return Ok(());
    }
    Err(Problem::forbidden("Only who convenes or instructs this offering, and staff, may notify its class."))
}

async fn to_one(
    tx: &mut PgConnection,
    actor: &Actor<may::SendNotifications>,
    new: &NewNotification,
) -> Answer<Created<SentNotification>> {
    let mut faults = checked(new);
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
    let recipient = new.recipient.ok_or_else(Problem::absent)?;
    let id = store::add(tx, actor.id(), recipient, new).await?;
    let after = serde_json::to_value(new).map_err(Problem::internal)?;
    audit::record(tx, actor, "create", "notification", Some(id), &Value::Null, &after).await?;
    Created::with(&SentNotification::One(find::<Notification>(tx, actor, id, Sight::Any).await?))
}

/// Tells a class, one row each.
async fn to_class(
    tx: &mut PgConnection,
    actor: &Actor<may::SendNotifications>,
    offering: Id,
    new: &NewNotification,
) -> Answer<Created<SentNotification>> {
    let mut faults = checked(new);
    faults.unless(new.recipient.is_none(), "recipient", "Name a recipient or an offering, not both.");
    let is_about_another = !new.target_content_type.is_empty() || new.target_object_id.is_some();
    faults.unless(!is_about_another, "target_content_type", "What a class is told is about its offering.");
    faults.refers::<Offering>(tx, "offering", Some(offering)).await?;
    faults.check()?;
    throttle::charge(tx, Bucket::of_class_notices(actor.id())).await?;
    let told_count = store::add_for_class(tx, actor.id(), offering, new).await?;
    // What people say to each other is not copied.
    let details = json!({ "told": told_count });
    audit::note(tx, Some(actor.id()), &actor.origin, "notify_class", Offering::NAME, Some(offering), &details).await?;
    let (verb, description) = (new.verb.clone(), new.description.clone());
    Created::with(&SentNotification::Class(ClassNotice { offering, verb, description, told_count }))
}

/// What is wrong with the text.
fn checked(new: &NewNotification) -> Faults {
    let mut faults = Faults::default();
    faults.name("verb", &new.verb, 255);
    faults.text("description", &new.description, 20_000);
    faults.text("target_content_type", &new.target_content_type, 100);
    faults
}
