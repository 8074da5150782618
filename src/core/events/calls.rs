//! What can be done with events beside reading and writing them.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde_json::{Value, json};

use super::handlers::Event;
use super::store;
use crate::access::{Actor, Reach, Visitor, may};
use crate::app::AppState;
use crate::audit;
use crate::db::{self, Reading};
use crate::http::{
    self, Answer, Asked, Bare, Changes, Describe, Done, Faults, Filter, IfMatch, Kind, Listed, NoContent, Notes,
    PathId, Problem, Resource, Schemas, Shown, Sight, Writable, find, flag, query_pairs,
};
use crate::ids::Id;
use crate::users::accounts::{Student, User};

/// A list of events, with or without those that the caller has put aside.
pub(super) struct EventsAsked {
    asked: Asked<Event>,
    dismissed: Option<bool>,
}

impl FromRequestParts<AppState> for EventsAsked {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        let mut faults = Faults::default();
        let mut dismissed = None;
        let (own, pairs): (Vec<_>, Vec<_>) = query_pairs(head)?.into_iter().partition(|(name, _)| name == "dismissed");
        for (name, value) in own {
            flag(&mut faults, &name, &value, dismissed.get_or_insert(false));
        }
        Ok(Self { asked: Asked::of(&pairs, faults, head, app)?, dismissed })
    }
}

impl Describe for EventsAsked {
    fn describe(notes: &mut Notes, schemas: &mut Schemas) {
        Asked::<Event>::describe(notes, schemas);
        let says = "Only those that the caller has put aside, or only the others.";
        notes.parameter("query", "dismissed", json!({ "type": "boolean" }), says);
    }
}

/// `GET /`
pub(super) async fn events(
    visitor: Visitor,
    mut conn: Reading,
    EventsAsked { mut asked, dismissed }: EventsAsked,
) -> Answer<Listed<Event>> {
    const DISMISSED: Filter = Filter::new(
        "dismissed",
        "exists (select from event_dismissals d where d.event_id = e.id and d.user_id = {})",
        Kind::Where,
    );
    const KEPT: Filter = Filter::new(
        "dismissed",
        "not exists (select from event_dismissals d where d.event_id = e.id and d.user_id = {})",
        Kind::Where,
    );
    if let Some(dismissed) = dismissed {
        // Nobody has put nothing aside.
        asked.confine(if dismissed { DISMISSED } else { KEPT }, visitor.caller_id().unwrap_or(Id(0)));
    }
    asked.page(&mut conn, &visitor).await
}

/// `PATCH /{id}/`
pub(super) async fn change(
    actor: Actor<may::BeSignedIn>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    changes: Changes<super::EventFields>,
) -> Answer<Shown<Event>> {
    let Some(dismissed) = changes.only("dismissed") else {
        // What one may not see is absent, whether or not one may edit; this session goes back before the change takes one.
        find::<Event>(&mut *app.db.acquire().await?, &actor, id, Sight::Visible).await?;
        return http::change::<Event>(actor.require()?, State(app), PathId(id), condition, changes).await;
    };
    let dismissed =
        dismissed.as_bool().ok_or_else(|| Problem::invalid("dismissed", "`true` or `false` is expected."))?;
    let actor = &actor;
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = find::<Event>(tx, actor, id, Sight::Visible).await?;
            if store::dismiss(tx, id, actor.id(), dismissed).await? {
                note(tx, actor, "dismiss", id, "dismissed", dismissed).await?;
            }
            Shown::with(&Event::shown(row, actor))
        })
    })
    .await
}

/// `DELETE /{id}/`
pub(super) async fn remove(
    actor: Actor<may::DeleteEvents>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
) -> Answer<NoContent> {
    let (writer, scope, condition) = (&actor.require::<may::WriteEvents>()?, actor.scope(), &condition);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = http::locked::<Event>(tx, writer, id, condition).await?;
            let own = scope.covers(Reach::OWN) && row.created_by() == Some(writer.id());
            if !(scope.is_all()
                || own
                || scope.covers(Reach::OWN_UNITS) && store::is_of_unit_of(tx, id, writer.id()).await?)
            {
                return Err(Problem::forbidden(
                    "Only who created the event, the unit's convenor and staff may delete it.",
                ));
            }
            http::set_deleted::<Event>(tx, writer, id, true).await?;
            let before = serde_json::to_value(Event::fields(&row)).map_err(Problem::internal)?;
            audit::record(tx, writer, "delete", Event::NAME, Some(id), &before, &Value::Null).await?;
            Ok(NoContent)
        })
    })
    .await
}

/// `GET /{id}/targeted_students/`
pub(super) async fn targeted_students(
    actor: Actor<may::WriteEvents>,
    mut conn: Reading,
    PathId(id): PathId,
    mut asked: Asked<Student>,
) -> Answer<Listed<User>> {
    // The same rule as `store::push_audience`, asked of students and not of events.
    const REACHED: Filter = Filter::new(
        "event",
        "u.is_active and exists (select
          from events e
         where e.id = {}
           and e.visibility <> 'staff'
           and (e.target_all_students
                or (e.visibility = 'public'
                    and not exists (select from event_target_students t where t.event_id = e.id)
                    and not exists (select from event_target_offerings t where t.event_id = e.id)
                    and not exists (select from event_target_intakes t where t.event_id = e.id))
                or exists (select from event_target_students t where t.event_id = e.id and t.student_id = u.id)
                or exists (select
                             from enrollments m
                             join offerings o on o.id = m.offering_id
                            where m.student_id = u.id
                              and m.status <> 'WITHDRAWN'
                              and m.deleted_at is null
                              and ((e.visibility = 'unit'
                                    and (o.id = e.related_offering_id or o.unit_id = e.related_unit_id))
                                   or exists (select
                                                from event_target_offerings t
                                               where t.event_id = e.id
                                                 and t.offering_id = o.id)
                                   or exists (select
                                                from event_target_intakes t
                                               where t.event_id = e.id
                                                 and t.intake_id = o.intake_id)))))",
        Kind::Where,
    );
    find::<Event>(&mut conn, &actor, id, Sight::Visible).await?;
    asked.confine(REACHED, id);
    asked.page(&mut conn, &actor).await
}

/// `POST /{id}/attend/`
pub(super) async fn attend(
    actor: Actor<may::BeSignedIn>,
    State(app): State<AppState>,
    PathId(id): PathId,
    bare: Bare,
) -> Answer<Done<Event>> {
    come(&app, &actor, &bare, id, true).await
}

/// `POST /{id}/unattend/`
pub(super) async fn unattend(
    actor: Actor<may::BeSignedIn>,
    State(app): State<AppState>,
    PathId(id): PathId,
    bare: Bare,
) -> Answer<Done<Event>> {
    come(&app, &actor, &bare, id, false).await
}

async fn come(
    app: &AppState,
    actor: &Actor<may::BeSignedIn>,
    Bare { repeat }: &Bare,
    id: Id,
    attends: bool,
) -> Answer<Done<Event>> {
    repeat
        .once(app, actor.id(), |tx, _| {
            Box::pin(async move {
                find::<Event>(tx, actor, id, Sight::Visible).await?;
                if store::attend(tx, id, actor.id(), attends).await? {
                    let action = if attends { "attend" } else { "unattend" };
                    note(tx, actor, action, id, "attends", attends).await?;
                }
                let row = find::<Event>(tx, actor, id, Sight::Visible).await?;
                Done::with(&Event::shown(row, actor))
            })
        })
        .await
}

/// What the caller did for themselves, in the audit log.
async fn note(
    tx: &mut sqlx::PgConnection,
    actor: &Actor<may::BeSignedIn>,
    action: &str,
    id: Id,
    name: &str,
    now: bool,
) -> Answer<()> {
    let side = |value: bool| -> Value { json!({ name: value }) };
    audit::record(tx, actor, action, Event::NAME, Some(id), &side(!now), &side(now)).await
}
