//! Accounts over HTTP, but registering.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::profile::Profile;
use super::register::{REFUSALS, merged, refuse_taken};
use super::standing::Standing;
use super::store::{self, ConvenedUnit};
use super::user::{KNOWN_OF_CHILDREN, OF_RECORDS, Student, User, UserRow};
use crate::access::throttle::{self, Attempt};
use crate::access::{Actor, Permission, UserType, may, passwords, refuse_weaker};
use crate::app::AppState;
use crate::audit;
use crate::db::{self, Reading};
use crate::enrollment::{Granted, end_seats};
use crate::files::{Accepts, Admitted, Upload};
use crate::http::{
    Answer, Asked, Bare, Changes, Describe, Done, Faults, Filter, IfMatch, Json, Kind, Listed, NoContent, Notes,
    PathId, Problem, Resource, Schemas, Shown, Sight, find, query_pairs,
};
use crate::ids::Id;
use crate::users::{email_change, names, sessions};

/// What can be written of a user: the profile by the person, all of it by an administrator. What is not the caller's to
/// write is ignored.
#[derive(Serialize, ToSchema)]
pub(super) struct UserFields {
    #[serde(flatten)]
    profile: Profile,
    #[serde(flatten)]
    standing: Standing,
}

/// The caller.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    #[serde(flatten)]
    user: User,
    /// What the caller may do, as `code:scope`.
    permissions: Vec<String>,
    /// The units that a convenor convenes.
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<Vec<ConvenedUnit>>,
}

/// A change of password.
#[derive(Deserialize, ToSchema, Default)]
#[serde(default)]
pub(super) struct NewPassword {
    #[schema(required)]
    current_password: String,
    #[schema(required)]
    new_password: String,
}

/// `GET /api/users/users/me/`
pub(super) async fn me(actor: Actor<may::BeSignedIn>, mut conn: Reading) -> Answer<Shown<Me>> {
    let row = find::<User>(&mut conn, &actor, actor.id(), Sight::Any).await?;
    let convenes = row.standing.user_type == UserType::UnitConvenor;
    let units = if convenes { Some(store::units_convened_by(&mut *conn, actor.id()).await?) } else { None };
    Shown::with(&Me { user: User::shown(row, &actor), permissions: actor.permissions(), units })
}

/// So many students are listed at once to whoever sees everyone and asks for no page.
const MOST_STUDENTS: i64 = 20_000;
/// The most bytes of that list: a biography may have 20,000 letters.
const LARGEST_LIST_OF_STUDENTS: usize = 24 * 1024 * 1024;

/// `GET /api/users/users/`
pub(super) async fn list(
    actor: Actor<may::ReadUsers>,
    mut conn: Reading,
    mut asked: Asked<User>,
) -> Answer<Listed<User>> {
    // Else a search or an order would tell a parent, bit by bit, what is not shown of a child.
    if !actor.scope().is_all() && asked.looks_beyond(KNOWN_OF_CHILDREN) {
        asked.confine(Filter::new("no_children", store::SELF_OR_RECIPIENT, Kind::Where), actor.id());
    }
    // The app's audience picker asks once and looks no further: whom the answer leaves out it cannot find.
    if actor.scope().is_all() && asked.asks_for_word("user_type", "student") {
        asked.lengthen(MOST_STUDENTS, LARGEST_LIST_OF_STUDENTS);
    }
    asked.page(&mut conn, &actor).await
}

/// `GET /api/users/students/`
pub(super) async fn students(
    actor: Actor<may::ReadStudents>,
    mut conn: Reading,
    asked: Asked<Student>,
) -> Answer<Listed<User>> {
    // Else a list would tell, student by student, what profiles and enrolments do not.
    let sees_all = [Permission::ReadStudentProfiles, Permission::ReadEnrollments].map(|one| actor.reach(one).is_all());
    if asked.asks_for(OF_RECORDS) && sees_all != [true, true] {
        return Err(Problem::forbidden("Only who may read all profiles and enrolments lists students by these."));
    }
    asked.page(&mut conn, &actor).await
}

/// `GET /api/users/users/{id}/`
pub(super) async fn show_one(
    actor: Actor<may::ReadUsers>,
    mut conn: Reading,
    PathId(id): PathId,
) -> Answer<Shown<User>> {
    let row = find::<User>(&mut conn, &actor, id, Sight::Visible).await?;
    Shown::with(&User::shown(row, &actor))
}

/// `PUT` and `PATCH /api/users/users/update_profile/`
pub(super) async fn update_profile(
    actor: Actor<may::EditProfile>,
    State(app): State<AppState>,
    condition: IfMatch,
    changes: Changes<Profile>,
) -> Answer<Shown<User>> {
    own_profile(&app, &actor, &condition, &changes).await
}

/// `PUT` and `PATCH /api/users/update_profile/`
pub(super) async fn update_profile_short(
    actor: Actor<may::EditProfile>,
    State(app): State<AppState>,
    condition: IfMatch,
    changes: Changes<Profile>,
) -> Answer<Shown<User>> {
    own_profile(&app, &actor, &condition, &changes).await
}

/// Only the profile, also when the caller is an administrator.
async fn own_profile(
    app: &AppState,
    actor: &Actor<may::EditProfile>,
    condition: &IfMatch,
    changes: &Changes<Profile>,
) -> Answer<Shown<User>> {
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = locked(tx, actor, actor.id(), condition).await?;
            let profile = changes.onto(&row.profile)?;
            store_change(tx, actor, &row, row.standing.clone(), profile).await
        })
    })
    .await
}

/// `PATCH /api/users/users/{id}/`
pub(super) async fn change(
    actor: Actor<may::EditProfile>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    changes: Changes<UserFields>,
) -> Answer<Shown<User>> {
    let (actor, condition, changes) = (&actor, &condition, &changes);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = locked(tx, actor, id, condition).await?;
            let profile = changes.onto(&row.profile)?;
            end_email_change(tx, actor, id, changes).await?;
            let standing = if is_admin(actor) { changes.onto(&row.standing)? } else { row.standing.clone() };
            store_change(tx, actor, &row, standing, profile).await
        })
    })
    .await
}

/// `PUT /api/users/users/{id}/`
pub(super) async fn replace(
    actor: Actor<may::EditProfile>,
    State(app): State<AppState>,
    PathId(id): PathId,
    condition: IfMatch,
    fields: Changes<UserFields>,
) -> Answer<Shown<User>> {
    let (actor, condition, fields) = (&actor, &condition, &fields);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            let row = locked(tx, actor, id, condition).await?;
            // What is on record is not one's own to leave out.
            let date_of_birth = row.profile.date_of_birth.filter(|_| id == actor.id());
            let profile = fields.onto(&Profile { date_of_birth, ..Profile::default() })?;
            end_email_change(tx, actor, id, fields).await?;
            let standing = if is_admin(actor) { fields.onto(&Standing::default())? } else { row.standing.clone() };
            store_change(tx, actor, &row, standing, profile).await
        })
    })
    .await
}

fn is_admin(actor: &Actor<may::EditProfile>) -> bool {
    actor.reach(Permission::ManageUsers).is_all()
}

/// The account, locked, if the caller may write it: one's own, or any for administrators.
async fn locked(
    tx: &mut PgConnection,
    actor: &Actor<may::EditProfile>,
    id: Id,
    condition: &IfMatch,
) -> Answer<UserRow> {
    if !store::lock(tx, id).await? {
        return Err(Problem::absent());
    }
    let row = find::<User>(tx, actor, id, Sight::Visible).await?;
    if id != actor.id() {
        if !is_admin(actor) {
            return Err(Problem::forbidden("Only the person and administrators may change a user."));
        }
        refuse_weaker(tx, actor, id).await?;
    }
    condition.holds_for(&User::shown(row.clone(), actor))?;
    Ok(row)
}

async fn store_change(
    tx: &mut PgConnection,
    actor: &Actor<may::EditProfile>,
    before: &UserRow,
    mut standing: Standing,
    profile: Profile,
) -> Answer<Shown<User>> {
    standing.email = standing.email.trim().to_owned();
    let mut faults = Faults::default();
    profile.check(&mut faults, store::today(tx).await?);
    if is_admin(actor) {
        standing.check(&mut faults, Some(&before.standing));
    }
    let is_own = before.id == actor.id();
    // Rules rest on it: who is a minor, and what a guardian may be granted.
    let is_on_record = is_own && before.profile.date_of_birth.is_some();
    faults.unless(
        !is_on_record || profile.date_of_birth == before.profile.date_of_birth,
        "date_of_birth",
        "Your date of birth is on record. If it is wrong, ask the student office to correct it.",
    );
    faults.check()?;
    standing.refuse_new_rights(&before.standing, actor)?;
    if before.id == actor.id() {
        standing.refuse_more_for_oneself(&before.standing)?;
    }
    if before.standing.is_active && !standing.is_active {
        refuse_own(actor, before.id)?;
    }
    refuse_taken(tx, &standing, Some(before.id)).await?;
    // Another address counts when it was confirmed. The same in other case is not another.
    let wanted = (!standing.email.eq_ignore_ascii_case(&before.standing.email))
        .then(|| std::mem::replace(&mut standing.email, before.standing.email.clone()));
    store::replace(tx, actor.id(), before.id, &standing, &profile)
        .await
        .map_err(|error| Problem::from(error).explained(REFUSALS))?;
    if standing.user_type == UserType::Student && before.standing.user_type != UserType::Student {
        store::make_student(tx, Some(actor.id()), before.id).await?;
    }
    if before.standing.is_active && !standing.is_active {
        sessions::revoke_all(tx, before.id, None, "deactivated").await?;
    } else if names::fold(&before.standing.email) != names::fold(&standing.email) {
        let own = Some(actor.session()).filter(|_| before.id == actor.id());
        sessions::revoke_all(tx, before.id, own, "the address was changed").await?;
    }
    let (old, new) = (merged(&before.standing, &before.profile)?, merged(&standing, &profile)?);
    audit::record(tx, actor, "update", "user", Some(before.id), &old, &new).await?;
    if before.standing.is_active && !standing.is_active {
        end_seats(tx, actor, before.id, Granted::Stay).await?;
    }
    if let Some(wanted) = wanted {
        email_change::ask(tx, actor, before.id, &before.standing.email, &wanted).await?;
    }
    Shown::with(&User::shown(find::<User>(tx, actor, before.id, Sight::Any).await?, actor))
}

/// Whoever writes the address, the present one too, ends the change that waits.
async fn end_email_change(
    tx: &mut PgConnection,
    actor: &Actor<may::EditProfile>,
    id: Id,
    changes: &Changes<UserFields>,
) -> Answer<()> {
    if is_admin(actor) && changes.has("email") { email_change::cancel(tx, actor, id).await } else { Ok(()) }
}

/// Nobody shuts themselves out: with the last administrator the way back would be gone.
fn refuse_own<P>(actor: &Actor<P>, id: Id) -> Answer<()> {
    if id == actor.id() {
        return Err(Problem::conflict("own_account", "You cannot deactivate your own account."));
    }
    Ok(())
}

/// `?withdraw=true`: whether granted seats go with the account.
pub(super) struct WithSeats(Granted);

impl FromRequestParts<AppState> for WithSeats {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, _: &AppState) -> Answer<Self> {
        let pairs = query_pairs(head)?;
        match pairs.iter().find(|(name, _)| name == "withdraw").map(|(_, value)| value.as_str()) {
            None | Some("false") => Ok(Self(Granted::Stay)),
            Some("true") => Ok(Self(Granted::Withdrawn)),
            Some(_) => Err(Problem::invalid("withdraw", "`true` or `false` is expected.")),
        }
    }
}

impl Describe for WithSeats {
    fn describe(notes: &mut Notes, _: &mut Schemas) {
        let says = "Also gives the seats back that the account holds; without it they stay, and staff are told which.";
        notes.parameter("query", "withdraw", json!({ "type": "boolean" }), says);
        notes.refuses(400, "Malformed or invalid; `errors` names the parameter.");
    }
}

/// `DELETE /api/users/users/{id}/`
pub(super) async fn deactivate(
    actor: Actor<may::ReadUsers>,
    State(app): State<AppState>,
    PathId(id): PathId,
    WithSeats(granted): WithSeats,
    condition: IfMatch,
) -> Answer<NoContent> {
    let (actor, condition) = (&actor, &condition);
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            if !store::lock(tx, id).await? {
                return Err(Problem::absent());
            }
            let row = find::<User>(tx, actor, id, Sight::Visible).await?;
            let admin = actor.require::<may::ManageUsers>()?;
            condition.holds_for(&User::shown(row, &admin))?;
            refuse_weaker(tx, &admin, id).await?;
            refuse_own(&admin, id)?;
            if !store::set_active(tx, admin.id(), id, false).await? {
                return Err(Problem::absent());
            }
            sessions::revoke_all(tx, id, None, "deactivated").await?;
            audit::record(tx, &admin, "delete", "user", Some(id), &active(true), &active(false)).await?;
            end_seats(tx, &admin, id, granted).await?;
            Ok(NoContent)
        })
    })
    .await
}

/// `POST /api/users/users/{id}/restore/`
pub(super) async fn reactivate(
    actor: Actor<may::ManageUsers>,
    State(app): State<AppState>,
    PathId(id): PathId,
    Bare { repeat }: Bare,
) -> Answer<Done<User>> {
    let actor = &actor;
    repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                if !store::lock(tx, id).await? {
                    return Err(Problem::absent());
                }
                refuse_weaker(tx, actor, id).await?;
                if store::is_anonymised(tx, id).await? {
                    return Err(Problem::conflict("anonymised", "This person has been anonymised and stays so."));
                }
                if !store::set_active(tx, actor.id(), id, true).await? {
                    return Err(Problem::absent());
                }
                audit::record(tx, actor, "restore", "user", Some(id), &active(false), &active(true)).await?;
                Done::with(&User::shown(find::<User>(tx, actor, id, Sight::Any).await?, actor))
            })
        })
        .await
}

fn active(is_active: bool) -> Value {
    json!({ "is_active": is_active })
}

/// `POST /api/users/users/me/password/`
pub(super) async fn change_password(
    actor: Actor<may::EditProfile>,
    State(app): State<AppState>,
    Json(sent): Json<NewPassword>,
) -> Answer<NoContent> {
    let owner = store::owner(&mut *app.db.acquire().await?, actor.id()).await?;
    let mut faults = Faults::default();
    faults.unless(!sent.current_password.is_empty(), "current_password", "This field is required.");
    passwords::check_rules(&mut faults, "new_password", &sent.new_password, &owner.about());
    faults.check()?;

    // Whoever holds a stolen token guesses here no faster than at the door.
    let line = app.hasher.line(actor.origin.ip)?;
    let account = format!("#{}", actor.id());
    let attempt = Attempt::new(&account, actor.origin.ip, true);
    if !throttle::guess(&app, &attempt, line, sent.current_password, Some(owner.password_hash)).await?.is_right() {
        return Err(Problem::invalid("current_password", "This is not your current password."));
    }
    let place = app.hasher.line(actor.origin.ip)?.place(Some(&account)).await?;
    let hash = app.hasher.hash_new(place, "new_password", sent.new_password).await?;
    let (actor, hash) = (&actor, hash.as_str());
    db::write(&app.db, |tx, _| {
        Box::pin(async move {
            store::lock(tx, actor.id()).await?;
            store::set_password(tx, actor.id(), hash).await?;
            sessions::revoke_all(tx, actor.id(), Some(actor.session()), "the password was changed").await?;
            let id = actor.id();
            audit::note(tx, Some(id), &actor.origin, "change_password", "user", Some(id), &json!({})).await?;
            Ok(NoContent)
        })
    })
    .await
}

/// `POST /api/users/users/me/profile_image/`
pub(super) async fn profile_image(
    actor: Actor<may::EditProfile>,
    State(app): State<AppState>,
    upload: Upload,
) -> Answer<Done<User>> {
    let file = app.files.accept(&Admitted::for_oneself(&actor), upload.file("file")?, Accepts::Images).await?;
    // The bytes stay only when their row does; the picture before goes only then.
    let kept = std::sync::Mutex::new(Vec::new());
    let (actor, state, file, keep) = (&actor, &app, &file, &kept);
    let answer = upload
        .repeat
        .once(&app, actor.id(), |tx, _| {
            Box::pin(async move {
                store::lock(tx, actor.id()).await?;
                let stored = state.files.put(tx, actor.id(), file, true).await?;
                let before = store::set_image(tx, actor.id(), stored.id).await?;
                let id = actor.id();
                let old = json!({ "profile_image": before.as_ref().map(|before| before.id) });
                let new = json!({ "profile_image": stored.id });
                audit::record(tx, actor, "set_profile_image", "user", Some(id), &old, &new).await?;
                keep.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((stored, before));
                Done::with(&User::shown(find::<User>(tx, actor, id, Sight::Any).await?, actor))
            })
        })
        .await?;
    let stored = kept.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
    if let Some((stored, before)) = stored {
        stored.keep();
        if let Some(before) = before {
            app.files.discard_public(&before.name).await;
        }
    }
    Ok(answer)
}
