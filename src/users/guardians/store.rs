//! Every SQL statement of guardians and their grants.

use sqlx::PgConnection;

use super::handlers::GuardianFields;
use crate::ids::{Id, Moment};

/// The columns of a guardian.
pub(super) const SELECT: &str = "
select g.id,
       g.user_id as \"user\",
       p.first_name,
       p.last_name,
       (select coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'first_name', s.first_name, 'last_name', s.last_name)
                                  order by s.id),
                        '[]')
          from guardian_students gs
          join users s on s.id = gs.student_id
         where gs.guardian_id = g.id) as children,
       g.relationship,
       g.is_emergency_contact,
       g.is_financial_responsible,
       g.created_at,
       g.updated_at
from guardians g
join users p on p.id = g.user_id";

/// The columns of a grant.
pub(super) const GRANT: &str = "
select gg.id,
       gg.guardian_id as guardian,
       gg.student_id as student,
       btrim(s.first_name || ' ' || s.last_name) as student_name,
       gu.user_id as parent,
       gg.scopes,
       gg.granted_at,
       gg.granted_by_id as granted_by,
       gg.valid_until,
       gg.revoked_at,
       gg.revoked_at is null and (gg.valid_until is null or gg.valid_until > rule_now()) as holds
from guardian_grants gg
join guardians gu on gu.id = gg.guardian_id
join users s on s.id = gg.student_id";

/// Which of these people are of this user type. They stay locked against change until the transaction ends.
pub(super) async fn hold(tx: &mut PgConnection, people: &[Id], user_type: &str) -> sqlx::Result<Vec<Id>> {
    sqlx::query_scalar!(
        r#"select id as "id: Id"
             from users
            where id = any($1)
              and user_type = $2
            order by id
              for share"#,
        people as _,
        user_type
    )
    .fetch_all(tx)
    .await
}

pub(super) async fn add(tx: &mut PgConnection, author: Id, guardian: &GuardianFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into guardians (user_id, relationship, is_emergency_contact, is_financial_responsible,
                                  created_by, updated_by)
           values ($1, $2, $3, $4, $5, $5)
           returning id as "id: Id""#,
        guardian.user as _,
        guardian.relationship,
        guardian.is_emergency_contact,
        guardian.is_financial_responsible,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, guardian: &GuardianFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update guardians
            set user_id = $2,
                relationship = $3,
                is_emergency_contact = $4,
                is_financial_responsible = $5,
                updated_at = rule_now(),
                updated_by = $6
          where id = $1",
        id.0,
        guardian.user as _,
        guardian.relationship,
        guardian.is_emergency_contact,
        guardian.is_financial_responsible,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn link(tx: &mut PgConnection, id: Id, students: &[Id]) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into guardian_students (guardian_id, student_id)
         select $1, student
           from unnest($2::bigint[]) student
             on conflict do nothing",
        id.0,
        students as _
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn unlink_others(tx: &mut PgConnection, id: Id, students: &[Id]) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from guardian_students
          where guardian_id = $1
            and student_id <> all($2)",
        id.0,
        students as _
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whose account a guardian is.
pub(super) async fn parent(tx: &mut PgConnection, id: Id) -> sqlx::Result<Id> {
    sqlx::query_scalar!(r#"select user_id as "id: Id" from guardians where id = $1"#, id.0).fetch_one(tx).await
}

/// Holds a guardian's row until the transaction ends: grants come and go one after the other, and not while the
/// guardian is written.
pub(super) async fn lock(tx: &mut PgConnection, id: Id) -> sqlx::Result<()> {
    sqlx::query!("select id from guardians where id = $1 for no key update", id.0).fetch_optional(tx).await?;
    Ok(())
}

/// A grant that is no more.
pub(super) struct Ended {
    pub(super) id: Id,
    pub(super) student: Id,
    pub(super) student_name: String,
    pub(super) scopes: Vec<String>,
    /// Whether it held until now.
    pub(super) held: bool,
}

/// Revokes what holds of a guardian's grants.
pub(super) async fn revoke_all(tx: &mut PgConnection, guardian: Id) -> sqlx::Result<Vec<Ended>> {
    sqlx::query_as!(
        Ended,
        r#"update guardian_grants gg
              set revoked_at = rule_now()
             from users s
            where gg.guardian_id = $1
              and gg.revoked_at is null
              and (gg.valid_until is null or gg.valid_until > rule_now())
              and s.id = gg.student_id
        returning gg.id as "id: Id",
                  gg.student_id as "student: Id",
                  btrim(s.first_name || ' ' || s.last_name) as "student_name!",
                  gg.scopes,
                  true as "held!""#,
        guardian.0
    )
    .fetch_all(tx)
    .await
}

/// Removes the grants of students who will not be linked any more: a grant goes with its link.
pub(super) async fn drop_grants_of_others(
    tx: &mut PgConnection,
    guardian: Id,
    students: &[Id],
) -> sqlx::Result<Vec<Ended>> {
    sqlx::query_as!(
        Ended,
        r#"delete from guardian_grants gg
            using users s
            where gg.guardian_id = $1
              and gg.student_id <> all($2)
              and s.id = gg.student_id
        returning gg.id as "id: Id",
                  gg.student_id as "student: Id",
                  btrim(s.first_name || ' ' || s.last_name) as "student_name!",
                  gg.scopes,
                  gg.revoked_at is null and (gg.valid_until is null or gg.valid_until > rule_now()) as "held!""#,
        guardian.0,
        students as _
    )
    .fetch_all(tx)
    .await
}

/// Revokes one grant; returns when.
pub(super) async fn revoke(tx: &mut PgConnection, grant: Id) -> sqlx::Result<Moment> {
    sqlx::query_scalar!(
        r#"update guardian_grants
              set revoked_at = rule_now()
            where id = $1
        returning revoked_at as "at!: Moment""#,
        grant.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn grant(
    tx: &mut PgConnection,
    author: Id,
    guardian: Id,
    student: Id,
    scopes: &[String],
    valid_until: Option<Moment>,
) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into guardian_grants (guardian_id, student_id, scopes, granted_by_id, valid_until)
           values ($1, $2, $3, $4, $5)
           returning id as "id: Id""#,
        guardian.0,
        student.0,
        scopes,
        author.0,
        valid_until as Option<Moment>
    )
    .fetch_one(tx)
    .await
}

/// The time, and when somebody who is still a minor comes of age.
pub(super) struct Age {
    pub(super) now: Moment,
    /// The beginning of the day in the zone; null for adults, and for whoever has no birth date.
    pub(super) minor_until: Option<Moment>,
}

/// How old a student is, by the calendar of this zone.
pub(super) async fn age(tx: &mut PgConnection, student: Id, zone: &str) -> sqlx::Result<Age> {
    sqlx::query_as!(
        Age,
        r#"select rule_now() as "now!: Moment",
                  case when of_age > rule_now() then of_age end as "minor_until: Moment"
             from users
            cross join lateral (select (date_of_birth + interval '18 years') at time zone $2) a (of_age)
            where id = $1"#,
        student.0,
        zone
    )
    .fetch_one(tx)
    .await
}
