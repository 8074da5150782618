//! Registering: a student registers, an administrator creates anyone.

use std::borrow::Cow;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::profile::Profile;
use super::standing::Standing;
use super::store;
use super::user::User;
use crate::access::throttle::{self, Bucket};
use crate::access::{Permission, UserType, Visitor, passwords};
use crate::app::AppState;
use crate::audit;
use crate::config::Registration;
use crate::db;
use crate::http::{Answer, Created, Faults, NowOrLater, Origin, Posted, Problem, Refusal, Sight, find, typed_part};
use crate::ids::Id;
use crate::users::registrations::{self, Waiting};
use crate::users::student_profiles::StudentRecord;

/// Who registers. All but the first six fields are an administrator's to set, and ignored from anyone else; of a student also
/// `student_id`, `course`, `enrollment_date` and `expected_graduation`.
#[derive(Deserialize)]
pub struct NewUser {
    /// The password, by the policy: at least 8 characters, not common, not all digits, not like a name or address.
    #[serde(default)]
    password: String,
    /// The same again.
    #[serde(default)]
    confirm_password: String,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// The same, as the OpenAPI document describes it: what is not the caller's to set is ignored whatever it is.
#[derive(ToSchema)]
#[schema(as = NewUser)]
#[allow(dead_code, reason = "described, and never made")]
struct Described {
    /// Unique without regard to case.
    email: String,
    /// Unique without regard to case; letters, digits and `@.+-_`.
    username: String,
    /// The password, by the policy: at least 8 characters, not common, not all digits, not like a name or address.
    password: String,
    /// The same again.
    confirm_password: String,
    #[serde(flatten)]
    standing: Standing,
    #[serde(flatten)]
    profile: Profile,
    #[serde(flatten)]
    record: StudentRecord,
}

impl PartialSchema for NewUser {
    fn schema() -> RefOr<Schema> {
        Described::schema()
    }
}

impl ToSchema for NewUser {
    fn name() -> Cow<'static, str> {
        "NewUser".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Described::schemas(schemas);
    }
}

/// What violated constraints of an account mean.
pub(in crate::users) const REFUSALS: &[Refusal] = &[
    Refusal::taken("users_email_is_unique", "email", "A user with this email already exists."),
    Refusal::taken("users_username_is_unique", "username", "A user with this username already exists."),
    Refusal::taken("users_username_looks_like_no_other", "username", "A user with this username already exists."),
    Refusal::invalid("users_anonymised_stay_so", "username", "This person has been anonymised and stays so."),
];

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Registered {
    email: String,
    username: String,
    first_name: String,
    last_name: String,
}

impl NewUser {
    /// What this caller may set of it.
    fn parts(&mut self, admin: bool) -> Answer<(Standing, Profile, StudentRecord)> {
        let body = serde_json::Value::Object(std::mem::take(&mut self.rest));
        if admin {
            let standing: Standing = typed_part(&body)?;
            let is_student = standing.user_type == UserType::Student;
            let record = if is_student { typed_part(&body)? } else { StudentRecord::default() };
            return Ok((standing, typed_part(&body)?, record));
        }
        let asked: Registered = typed_part(&body)?;
        let standing = Standing { email: asked.email, username: asked.username, ..Standing::default() };
        let profile = Profile { first_name: asked.first_name, last_name: asked.last_name, ..Profile::default() };
        Ok((standing, profile, StudentRecord::default()))
    }
}

/// `POST /api/users/users/`
///
/// A taken address is 409, which tells who has an account: at the speed of the bucket of the caller's address, which is
/// charged before, and before any hash is made. Where addresses are confirmed it tells nothing.
pub(super) async fn create(
    visitor: Visitor,
    State(app): State<AppState>,
    Posted { mut body, repeat }: Posted<NewUser>,
) -> Answer<NowOrLater<Created<User>, Waiting>> {
    let admin = visitor.reach(Permission::ManageUsers).is_all();
    if !admin && app.config.registration == Registration::Closed {
        return Err(match visitor.caller() {
            Some(_) => Problem::forbidden("Only an administrator may create users here."),
            None => Problem::not_authenticated(),
        });
    }
    let (mut standing, profile, record) = body.parts(admin)?;
    standing.email = standing.email.trim().to_owned();

    let mut faults = Faults::default();
    standing.check(&mut faults, None);
    passwords::check_rules(
        &mut faults,
        "password",
        &body.password,
        &[
            ("email address", &standing.email),
            ("username", &standing.username),
            ("first name", &profile.first_name),
            ("last name", &profile.last_name),
        ],
    );
    faults.unless(body.password == body.confirm_password, "confirm_password", "The two passwords are not the same.");
    let mut conn = app.db.acquire().await?;
    profile.check(&mut faults, store::today(&mut conn).await?);
    drop(conn);
    faults.check()?;

    // What needs no hash is refused before one is made.
    let confirms = !admin && app.config.registration == Registration::Confirmed;
    if !confirms
        && let Some(caller) = visitor.caller_id()
        && let Some(kept) = repeat.answered(&app, caller).await?
    {
        return Ok(NowOrLater::Now(kept));
    }
    if !admin {
        let (config, ip) = (&app.config, visitor.origin.ip);
        db::write(&app.db, |tx, _| Box::pin(throttle::charge(tx, Bucket::of_registrations_from(ip, config)))).await?;
    }
    standing.refuse_new_rights(&Standing::default(), &visitor)?;
    if confirms {
        refuse_taken_name(&mut *app.db.acquire().await?, &standing.username).await?;
    } else {
        refuse_taken(&mut *app.db.acquire().await?, &standing, None).await?;
    }
    let place = match app.hasher.line(visitor.origin.ip) {
        Ok(line) => line.place(None).await,
        Err(busy) => Err(busy),
    };
    // Whoever is told to come again has not registered.
    if place.is_err() && !admin {
        let (config, ip) = (&app.config, visitor.origin.ip);
        db::write(&app.db, |tx, _| Box::pin(throttle::refund(tx, Bucket::of_registrations_from(ip, config)))).await?;
    }
    let (place, field) = (place?, "password");
    let hash = app.hasher.hash_new(place, field, body.password.clone()).await?;
    if confirms {
        let asked = registrations::Registration {
            email: standing.email,
            username: standing.username,
            first_name: profile.first_name,
            last_name: profile.last_name,
            password_hash: hash,
        };
        return registrations::wait(&app, &repeat, visitor.caller_id(), &asked).await.map(NowOrLater::Later);
    }
    let (viewer, standing, profile, hash) = (visitor.as_ref(), &standing, &profile, hash.as_str());
    let record = &record;
    repeat
        .write(
            &app,
            viewer.caller_id(),
            |_, _| Box::pin(async { Ok(()) }),
            |tx, _| {
                Box::pin(async move {
                    let id = add(tx, viewer.caller_id(), &viewer.origin, standing, profile, hash).await?;
                    record.put(tx, id).await?;
                    Created::with(&User::seen(find::<User>(tx, viewer, id, Sight::Any).await?, viewer))
                })
            },
        )
        .await
        .map(NowOrLater::Now)
}

/// Inserts an account with all that belongs to it.
async fn add(
    tx: &mut PgConnection,
    author: Option<Id>,
    origin: &Origin,
    standing: &Standing,
    profile: &Profile,
    password_hash: &str,
) -> Answer<Id> {
    // It may have been taken meanwhile.
    refuse_taken(tx, standing, None).await?;
    let id = store::add(tx, author, standing, profile, password_hash)
        .await
        .map_err(|error| Problem::from(error).explained(REFUSALS))?;
    if standing.user_type == UserType::Student {
        store::make_student(tx, author, id).await?;
    }
    let details = audit::difference(&json!({}), &merged(standing, profile)?);
    audit::note(tx, author, origin, "create", "user", Some(id), &details).await?;
    Ok(id)
}

/// Inserts the account of a registration whose address was confirmed.
pub(in crate::users) async fn add_confirmed(
    tx: &mut PgConnection,
    origin: &Origin,
    of: registrations::Registration,
) -> Answer<Id> {
    let standing = Standing { email: of.email, username: of.username, ..Standing::default() };
    let profile = Profile { first_name: of.first_name, last_name: of.last_name, ..Profile::default() };
    add(tx, None, origin, &standing, &profile, &of.password_hash).await
}

/// Names a taken user name.
async fn refuse_taken_name(tx: &mut PgConnection, username: &str) -> Answer<()> {
    let (_, taken) = store::taken(tx, "", username, None).await?;
    let mut faults = Faults::default();
    faults.unless(!taken, "username", "A user with this username already exists.");
    faults.refuse_with(Problem::conflict("already_taken", "The username is already taken."))
}

/// Names every taken name at once; the constraints decide when two ask at the same time.
pub(super) async fn refuse_taken(tx: &mut PgConnection, standing: &Standing, but: Option<Id>) -> Answer<()> {
    let (email, username) = store::taken(tx, &standing.email, &standing.username, but).await?;
    let mut faults = Faults::default();
    faults.unless(!email, "email", "A user with this email already exists.");
    faults.unless(!username, "username", "A user with this username already exists.");
    faults.refuse_with(Problem::conflict("already_taken", "The email or username is already taken."))
}

/// The writable part of an account, for the audit log.
pub(super) fn merged(standing: &Standing, profile: &Profile) -> Answer<serde_json::Value> {
    let mut whole = serde_json::to_value(standing).map_err(Problem::internal)?;
    let more = serde_json::to_value(profile).map_err(Problem::internal)?;
    if let (Some(whole), serde_json::Value::Object(more)) = (whole.as_object_mut(), more) {
        whole.extend(more);
    }
    Ok(whole)
}
