//! The caller of a request: nobody, or a person with a live session and the permissions they have right now.
//!
//! Session, account and roles are read from the database on every request, in one statement, so that a log-out, a
//! deactivation or a withdrawn role is in force on every server process at once.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};

use secrecy::ExposeSecret as _;
use sqlx::PgConnection;

use super::permission::{Decides, Grants, Need, Permission, Reach, UserType};
use super::throttle::{self, Bucket};
use crate::app::AppState;
use crate::db::Lent;
use crate::http::{Answer, Cost, Notes, Origin, Problem};
use crate::ids::Id;

/// The first argument of every handler.
pub trait Access {
    /// As it stands in the authorisation matrix.
    const NAME: &'static str;
    /// Adds the refusals to the endpoint's description.
    fn describe(notes: &mut Notes);
}

/// A known person.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The user's id.
    pub id: Id,
    /// The log-in session behind the token.
    pub session: Id,
    /// What the person is to the university.
    pub user_type: UserType,
    /// The course on the caller's student profile.
    pub course: Option<Id>,
    grants: Grants,
    /// How many times `PERSON_WRITES_AT_ONCE` the person may write; none is bounded by it who works for the university.
    writes: Option<u32>,
}

/// Whoever looks: the caller if there is one, where the request comes from, and how files are linked.
#[derive(Debug, Clone)]
pub struct Viewer {
    caller: Option<Caller>,
    /// Where the request comes from.
    pub origin: Origin,
    /// Makes the links to files.
    pub links: Arc<crate::files::Links>,
    now: chrono::DateTime<chrono::Utc>,
}

impl Viewer {
    /// The caller.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// The caller's id.
    #[must_use]
    pub fn caller_id(&self) -> Option<Id> {
        self.caller.as_ref().map(|caller| caller.id)
    }

    /// How far a permission reaches for this viewer; nothing for nobody.
    #[must_use]
    pub fn reach(&self, permission: Permission) -> Reach {
        self.caller.as_ref().map_or(Reach::NONE, |caller| caller.grants.reach(permission))
    }

    /// A permission of these that reaches further than the viewer's; rights over one's own records are not compared.
    #[must_use]
    pub fn lacks(&self, grants: &Grants) -> Option<Permission> {
        let nothing = Grants::default();
        grants.beyond(self.caller.as_ref().map_or(&nothing, |caller| &caller.grants))
    }

    /// All permissions as `code:scope`.
    #[must_use]
    pub fn permissions(&self) -> Vec<String> {
        self.caller.as_ref().map(|caller| caller.grants.named()).unwrap_or_default()
    }

    /// Whether deleted rows may be listed.
    #[must_use]
    pub fn may_see_deleted(&self) -> bool {
        self.reach(Permission::RestoreDeleted).is_all()
    }

    /// The address of a public file.
    #[must_use]
    pub fn public_url(&self, name: &str) -> String {
        format!("{}/media/{name}", self.origin.base_url)
    }

    /// The signed address of a private file, valid for ten minutes.
    #[must_use]
    pub fn private_url(&self, file: Id) -> String {
        self.links.private(&self.origin.base_url, file, self.now)
    }
}

impl AsRef<Viewer> for Viewer {
    fn as_ref(&self) -> &Viewer {
        self
    }
}

/// Anyone; the `Authorization` header is not even read.
#[derive(Debug, Clone, Copy)]
pub struct Public;

impl Access for Public {
    const NAME: &'static str = "public";
    fn describe(notes: &mut Notes) {
        notes.access(Self::NAME, None);
    }
}

impl FromRequestParts<AppState> for Public {
    type Rejection = Problem;
    async fn from_request_parts(_: &mut Parts, _: &AppState) -> Answer<Self> {
        Ok(Self)
    }
}

/// Anyone: no `Authorization` header means nobody, a bad one is 401.
#[derive(Debug, Clone)]
pub struct Visitor(Viewer);

impl Access for Visitor {
    const NAME: &'static str = "anyone";
    fn describe(notes: &mut Notes) {
        notes.access(Self::NAME, Some(false));
        notes.refuses(401, "The token that was sent is bad, expired or revoked.");
    }
}

impl AsRef<Viewer> for Visitor {
    fn as_ref(&self) -> &Viewer {
        &self.0
    }
}

impl Deref for Visitor {
    type Target = Viewer;
    fn deref(&self) -> &Viewer {
        &self.0
    }
}

impl FromRequestParts<AppState> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        let caller = match bearer(head)? {
            Some(token) => {
                let mut session = app.db.acquire().await?;
                let caller = known(app, &mut session, &token).await?;
                if let (Some(times), cost) = (caller.writes, cost_of(head))
                    && cost > 0.0
                {
                    let bucket = Bucket::of_writes(caller.id, times, &app.config);
                    throttle::charge_write(&mut session, &bucket, cost).await?;
                }
                // A read goes on with the same session. Before a body is read it must not be held.
                if matches!(head.method, Method::GET | Method::HEAD) {
                    head.extensions.insert(Lent::new(session));
                }
                Some(caller)
            }
            None => None,
        };
        Ok(Self(Viewer {
            caller,
            origin: Origin::from_request_parts(head, app).await?,
            links: app.links.clone(),
            now: app.clock.now(),
        }))
    }
}

/// The workflow server, known by the secret that it shows in `X-N8N-SECRET`; nobody else, and no person.
///
/// A secret that is missing, wrong or not configured is 403 before anything else of the request is looked at, so that a
/// stranger does not learn what there is.
#[derive(Debug, Clone)]
pub struct FromN8n(Viewer);

impl Access for FromN8n {
    const NAME: &'static str = "n8n";
    fn describe(notes: &mut Notes) {
        notes.access(Self::NAME, None);
        let says = "The secret that this server and n8n share (N8N_WEBHOOK_SECRET).";
        notes.parameter("header", "X-N8N-SECRET", serde_json::json!({ "type": "string" }), says);
        notes.refuses(403, "The secret is missing or wrong, or the server has none.");
    }
}

impl Deref for FromN8n {
    type Target = Viewer;
    fn deref(&self) -> &Viewer {
        &self.0
    }
}

impl FromRequestParts<AppState> for FromN8n {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        let mut shown = head.headers.get_all("x-n8n-secret").iter();
        let (one, more) = (shown.next(), shown.next());
        let known = app.config.n8n_webhook_secret.as_ref();
        // Digests are of one length, whatever was sent, and are compared in constant time.
        let digest = |secret: &[u8]| digest::digest(&digest::SHA256, secret);
        let is_known = matches!((one, more, known), (Some(shown), None, Some(known))
            if constant_time::verify_slices_are_equal(
                digest(shown.as_bytes()).as_ref(),
                digest(known.expose_secret().as_bytes()).as_ref(),
            )
            .is_ok());
        if !is_known {
            return Err(Problem::forbidden("The header X-N8N-SECRET is missing or wrong."));
        }
        Ok(Self(Viewer {
            caller: None,
            origin: Origin::from_request_parts(head, app).await?,
            links: app.links.clone(),
            now: app.clock.now(),
        }))
    }
}

/// A caller who has the permission `P`, with its reach.
#[derive(Debug)]
pub struct Actor<P> {
    viewer: Viewer,
    id: Id,
    session: Id,
    reach: Reach,
    permission: PhantomData<fn() -> P>,
}

impl<P: Need> Actor<P> {
    fn of(viewer: Viewer) -> Answer<Self> {
        let Some(caller) = viewer.caller() else { return Err(Problem::not_authenticated()) };
        let (id, session) = (caller.id, caller.session);
        let reach = P::PERMISSION.map_or(Reach::OWN, |permission| viewer.reach(permission));
        if reach.is_none() {
            return Err(Problem::forbidden(format!("You do not have the permission `{}`.", P::NAME)));
        }
        Ok(Self { viewer, id, session, reach, permission: PhantomData })
    }

    /// The caller with a stronger permission.
    ///
    /// # Errors
    /// 403 when the caller does not have it.
    pub fn require<Q: Need>(&self) -> Answer<Actor<Q>> {
        Actor::of(self.viewer.clone())
    }
}

impl<P> Actor<P> {
    /// The caller's id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The log-in session behind the token.
    #[must_use]
    pub fn session(&self) -> Id {
        self.session
    }

    /// How far the permission reaches.
    #[must_use]
    pub fn scope(&self) -> Reach {
        self.reach
    }
}

impl<P: Decides> Actor<P> {
    /// Before a decision on this person.
    ///
    /// # Errors
    /// 403 `own_case` when it is the caller: nobody decides on themselves.
    pub fn decide_on(&self, subject: Id) -> Answer<()> {
        refuse_own_case(&self.viewer, subject)
    }
}

/// 403 `own_case` when the viewer is the person who is decided on.
///
/// # Errors
/// As said.
pub(crate) fn refuse_own_case(viewer: &Viewer, subject: Id) -> Answer<()> {
    if viewer.caller_id() != Some(subject) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "own_case", "You cannot decide on your own case; ask a colleague."))
}

impl<P: Need> Access for Actor<P> {
    const NAME: &'static str = P::NAME;
    fn describe(notes: &mut Notes) {
        notes.access(Self::NAME, Some(true));
        notes.refuses(401, "No token, or a bad, expired or revoked one.");
        if P::PERMISSION.is_some() {
            notes.refuses(403, "A known caller without the permission, or whose scope does not reach the object.");
        }
    }
}

impl<P> AsRef<Viewer> for Actor<P> {
    fn as_ref(&self) -> &Viewer {
        &self.viewer
    }
}

impl<P> Deref for Actor<P> {
    type Target = Viewer;
    fn deref(&self) -> &Viewer {
        &self.viewer
    }
}

impl<P: Need> FromRequestParts<AppState> for Actor<P> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, app: &AppState) -> Answer<Self> {
        let Visitor(viewer) = Visitor::from_request_parts(head, app).await?;
        Self::of(viewer)
    }
}

/// What a request costs of what its caller may write. Whoever can be called is counted here, and nowhere else, so that a
/// route that is added is counted too.
fn cost_of(head: &Parts) -> f64 {
    if head.method.is_safe() {
        return 0.0;
    }
    head.extensions.get::<Cost>().map_or(1.0, |Cost(cost)| *cost)
}

fn bearer(head: &Parts) -> Answer<Option<String>> {
    let mut values = head.headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::bad_token());
    }
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    token.filter(|token| !token.is_empty()).map(Some).ok_or_else(Problem::bad_token)
}

/// What an active person is and may do, for what is asked in their name without a session; `None` for anybody else.
///
/// # Errors
/// The database's failure.
pub(crate) async fn standing(conn: &mut PgConnection, person: Id) -> Answer<Option<(UserType, Grants)>> {
    let found = sqlx::query!(
        r#"select u.user_type as "user_type: UserType",
                  u.is_staff,
                  u.is_superuser,
                  (select coalesce(array_agg(granted), '{}')
                     from user_roles ur
                     join roles r on r.id = ur.role_id
                    cross join unnest(r.permissions) granted
                    where ur.user_id = u.id
                      and ur.deleted_at is null
                      and r.deleted_at is null
                      and (ur.valid_from is null or ur.valid_from <= rule_now())
                      and (ur.valid_until is null or ur.valid_until > rule_now())) as "granted!"
             from users u
            where u.id = $1
              and u.is_active"#,
        person.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.map(|found| {
        let mut grants = Grants::of(found.user_type, found.is_staff, found.is_superuser);
        for spelt in &found.granted {
            grants.add_named(spelt);
        }
        (found.user_type, grants)
    }))
}

/// Whoever writes another's account could take it over, so they need every right that it has or will have: else a role with
/// `users.manage` makes its holder an administrator. Who may give all rights has them in effect. The account's row is locked.
///
/// # Errors
/// 403 naming a right, or the database's failure.
pub(crate) async fn refuse_weaker(tx: &mut PgConnection, viewer: &Viewer, account: Id) -> Answer<()> {
    if viewer.reach(Permission::ManageRoles).is_all() {
        return Ok(());
    }
    let found = sqlx::query!(
        r#"select u.user_type as "user_type: UserType",
                  u.is_staff,
                  u.is_superuser,
                  (select coalesce(array_agg(granted), '{}')
                     from user_roles ur
                     join roles r on r.id = ur.role_id
                    cross join unnest(r.permissions) granted
                    where ur.user_id = u.id
                      and ur.deleted_at is null
                      and r.deleted_at is null
                      and (ur.valid_until is null or ur.valid_until > rule_now())) as "granted!"
             from users u
            where u.id = $1"#,
        account.0
    )
    .fetch_optional(tx)
    .await?
    .ok_or_else(Problem::absent)?;
    let mut theirs = Grants::of(found.user_type, found.is_staff, found.is_superuser);
    for spelt in &found.granted {
        theirs.add_named(spelt);
    }
    match viewer.lacks(&theirs) {
        None => Ok(()),
        Some(permission) => Err(Problem::forbidden(format!(
            "This account has the permission `{}`, which you do not have, so you cannot change it. Ask an administrator.",
            permission.code()
        ))),
    }
}

async fn known(app: &AppState, conn: &mut PgConnection, token: &str) -> Answer<Caller> {
    let claims = app.tokens.access(token, app.clock.now())?;
    let found = sqlx::query!(
        r#"select u.user_type as "user_type: UserType",
                  u.is_staff,
                  u.is_superuser,
                  (select sp.course_id
                     from student_profiles sp
                    where sp.user_id = u.id
                      and sp.deleted_at is null) as "course: Id",
                  (select coalesce(array_agg(granted), '{}')
                     from user_roles ur
                     join roles r on r.id = ur.role_id
                    cross join unnest(r.permissions) granted
                    where ur.user_id = u.id
                      and ur.deleted_at is null
                      and r.deleted_at is null
                      and (ur.valid_from is null or ur.valid_from <= rule_now())
                      and (ur.valid_until is null or ur.valid_until > rule_now())) as "granted!"
             from users u
             left join sessions s
               on s.id = $1
              and s.user_id = u.id
            where u.id = $2
              and u.is_active
              and case when $3::bigint is null
                       then s.revoked_at is null
                            and s.expires_at > rule_now()
                            and s.security_version = u.security_version
                       else u.security_version = $3
                  end"#,
        claims.session.0,
        claims.user_id.0,
        claims.unstored
    )
    .fetch_optional(conn)
    .await?
    .ok_or_else(Problem::bad_token)?;
    let mut grants = Grants::of(found.user_type, found.is_staff, found.is_superuser);
    for spelt in &found.granted {
        grants.add_named(spelt);
    }
    // A role is given to whoever has work to do, such as a tutor; that is more than people do for themselves.
    let for_oneself = matches!(found.user_type, UserType::Student | UserType::Parent);
    let times = if found.granted.is_empty() { 1 } else { 10 };
    let writes = (for_oneself && !found.is_staff && !found.is_superuser).then_some(times);
    let (id, session) = (claims.user_id, claims.session);
    Ok(Caller { id, session, user_type: found.user_type, course: found.course, grants, writes })
}
