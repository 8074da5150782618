//! Every SQL statement of accounts.

use sqlx::{PgConnection, PgExecutor};

use super::profile::Profile;
use super::standing::Standing;
use crate::ids::Id;
use crate::users::names;

/// The columns of a user.
pub(super) const SELECT: &str = "
select u.id,
       u.email,
       u.username,
       u.first_name,
       u.last_name,
       u.official_first_name,
       u.official_last_name,
       u.user_type,
       u.is_active,
       u.is_staff,
       u.is_superuser,
       u.department,
       u.position,
       u.bio,
       u.phone_number,
       u.address_line1,
       u.address_line2,
       u.city,
       u.state,
       u.postal_code,
       u.country,
       u.date_of_birth,
       u.emergency_contact_name,
       u.emergency_contact_phone,
       u.leaderboard_opt_in,
       f.name as profile_image,
       c.email as pending_email,
       u.last_login,
       u.created_at,
       u.updated_at
from users u
left join stored_files f on f.id = u.profile_image_id and f.deleted_at is null
left join email_changes c on c.user_id = u.id and c.expires_at > rule_now()";

/// Who can be written to; also the condition of the index behind the picker.
pub(super) const RECIPIENT: &str = "(u.is_active and u.user_type in ('staff', 'unit_convenor', 'admin'))";

/// Oneself and whoever can be written to, with the place of one's id.
pub(super) const SELF_OR_RECIPIENT: &str =
    "(u.id = {} or (u.is_active and u.user_type in ('staff', 'unit_convenor', 'admin')))";

pub(super) async fn add(
    tx: &mut PgConnection,
    author: Option<Id>,
    standing: &Standing,
    profile: &Profile,
    password_hash: &str,
) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into users (email, username, password_hash, user_type, is_active, is_staff, is_superuser, department,
                              position, first_name, last_name, bio, phone_number, address_line1, address_line2, city,
                              state, postal_code, country, date_of_birth, emergency_contact_name,
                              emergency_contact_phone, leaderboard_opt_in, created_by, updated_by, username_key)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
                   $23, $24, $24, $25)
           returning id as "id: Id""#,
        standing.email,
        standing.username,
        password_hash,
        standing.user_type as _,
        standing.is_active,
        standing.is_staff,
        standing.is_superuser,
        standing.department,
        standing.position,
        profile.first_name,
        profile.last_name,
        profile.bio,
        profile.phone_number,
        profile.address_line1,
        profile.address_line2,
        profile.city,
        profile.state,
        profile.postal_code,
        profile.country,
        profile.date_of_birth,
        profile.emergency_contact_name,
        profile.emergency_contact_phone,
        profile.leaderboard_opt_in,
        author.map(|id| id.0),
        names::look(&standing.username)
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    standing: &Standing,
    profile: &Profile,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update users
            set email = $2,
                username = $3,
                user_type = $4,
                is_active = $5,
                is_staff = $6,
                is_superuser = $7,
                department = $8,
                position = $9,
                first_name = $10,
                last_name = $11,
                bio = $12,
                phone_number = $13,
                address_line1 = $14,
                address_line2 = $15,
                city = $16,
                state = $17,
                postal_code = $18,
                country = $19,
                date_of_birth = $20,
                emergency_contact_name = $21,
                emergency_contact_phone = $22,
                leaderboard_opt_in = $23,
                updated_at = rule_now(),
                -- A person's own change is of the name that they go by.
                official_first_name = case when id = $24 then official_first_name else $10 end,
                official_last_name = case when id = $24 then official_last_name else $11 end,
                updated_by = $24,
                username_key = $25
          where id = $1",
        id.0,
        standing.email,
        standing.username,
        standing.user_type as _,
        standing.is_active,
        standing.is_staff,
        standing.is_superuser,
        standing.department,
        standing.position,
        profile.first_name,
        profile.last_name,
        profile.bio,
        profile.phone_number,
        profile.address_line1,
        profile.address_line2,
        profile.city,
        profile.state,
        profile.postal_code,
        profile.country,
        profile.date_of_birth,
        profile.emergency_contact_name,
        profile.emergency_contact_phone,
        profile.leaderboard_opt_in,
        author.0,
        names::look(&standing.username)
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Gives a student what every student has: a profile with a number, and a gold account. What is there already stays.
pub(crate) async fn make_student(tx: &mut PgConnection, author: Option<Id>, user: Id) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into student_profiles (user_id, student_id, created_by, updated_by)
         select $1, 'S-' || lpad($1::bigint::text, greatest(8, length($1::bigint::text)), '0'), $2, $2
          where not exists (select from student_profiles
                             where user_id = $1
                               and deleted_at is null)",
        user.0,
        author.map(|id| id.0)
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "insert into gold_accounts (student_id, created_by, updated_by)
         values ($1, $2, $2)
         on conflict (student_id) do nothing",
        user.0,
        author.map(|id| id.0)
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Which of these names are taken by another account: address, which may not be another's user name either, and user name,
/// which may not look like another's.
pub(super) async fn taken(
    tx: &mut PgConnection,
    email: &str,
    username: &str,
    but: Option<Id>,
) -> sqlx::Result<(bool, bool)> {
    let taken = sqlx::query!(
        r#"select exists (select from users
                           where (lower(email) = $1 or lower(username) = $1)
                             and id is distinct from $3) as "email!",
                  exists (select from users
                           where (lower(username) = $2 or coalesce(username_key, lower(username)) = $4)
                             and id is distinct from $3) as "username!""#,
        names::fold(email),
        names::fold(username),
        but.map(|id| id.0),
        names::look(username).unwrap_or_else(|| names::fold(username))
    )
    .fetch_one(tx)
    .await?;
    Ok((taken.email, taken.username))
}

/// The day it is, by the database's clock.
pub(super) async fn today(tx: &mut PgConnection) -> sqlx::Result<chrono::NaiveDate> {
    sqlx::query_scalar!(r#"select local_day() as "today!""#).fetch_one(tx).await
}

/// Locks an account; false when there is none.
pub(in crate::users) async fn lock(tx: &mut PgConnection, id: Id) -> sqlx::Result<bool> {
    let found =
        sqlx::query_scalar!("select id from users where id = $1 for no key update", id.0).fetch_optional(tx).await?;
    Ok(found.is_some())
}

/// Whether what was personal of this person has been erased.
pub(super) async fn is_anonymised(tx: &mut PgConnection, id: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select anonymised_at is not null as "is!" from users where id = $1"#, id.0)
        .fetch_one(tx)
        .await
}

/// Activates or deactivates an account; false when it already was.
pub(super) async fn set_active(tx: &mut PgConnection, author: Id, id: Id, active: bool) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update users
            set is_active = $2, updated_at = rule_now(), updated_by = $3
          where id = $1
            and is_active <> $2",
        id.0,
        active,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a new password is checked against: the current one, and what it may not resemble.
pub(crate) struct Owner {
    pub(crate) password_hash: String,
    pub(crate) email: String,
    pub(crate) username: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
}

impl Owner {
    /// What a password may not resemble, each with its name.
    pub(crate) fn about(&self) -> [(&'static str, &str); 4] {
        [
            ("email address", &self.email),
            ("username", &self.username),
            ("first name", &self.first_name),
            ("last name", &self.last_name),
        ]
    }
}

pub(crate) async fn owner(db: impl PgExecutor<'_>, id: Id) -> sqlx::Result<Owner> {
    sqlx::query_as!(
        Owner,
        "select password_hash, email, username, first_name, last_name
           from users
          where id = $1",
        id.0
    )
    .fetch_one(db)
    .await
}

pub(crate) async fn set_password(tx: &mut PgConnection, id: Id, hash: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "update users
            set password_hash = $2, password_changed_at = rule_now(), updated_at = rule_now(), updated_by = $1
          where id = $1",
        id.0,
        hash
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The picture that another took the place of.
pub(crate) struct FormerImage {
    pub(super) id: Id,
    /// On the disk.
    pub(super) name: String,
}

/// Puts a picture in the place of the one before, which it returns.
pub(crate) async fn set_image(tx: &mut PgConnection, id: Id, file: Id) -> sqlx::Result<Option<FormerImage>> {
    let before = sqlx::query_as!(
        FormerImage,
        r#"update stored_files f
            set deleted_at = rule_now()
           from users u
          where u.id = $1
            and f.id = u.profile_image_id
            and f.deleted_at is null
        returning f.id as "id: Id", f.name"#,
        id.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    sqlx::query!(
        "update users
            set profile_image_id = $2, updated_at = rule_now(), updated_by = $1
          where id = $1",
        id.0,
        file.0
    )
    .execute(tx)
    .await?;
    Ok(before)
}

/// A unit that the caller convenes.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(super) struct ConvenedUnit {
    pub(super) id: Id,
    pub(super) code: String,
    pub(super) name: String,
}

pub(super) async fn units_convened_by(db: impl PgExecutor<'_>, convenor: Id) -> sqlx::Result<Vec<ConvenedUnit>> {
    sqlx::query_as!(
        ConvenedUnit,
        r#"select id as "id: Id", code, name
             from units
            where convenor_id = $1
              and deleted_at is null
            order by code, id
            limit 500"#,
        convenor.0
    )
    .fetch_all(db)
    .await
}
