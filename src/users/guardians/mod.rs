//! Guardians: which parent belongs to which students, and what a parent may see of them.
//!
//! An administrator links a parent's account to students. The link alone shows the students' names; anything else takes a
//! grant ([`grants`]), which the student gives and takes back, or an administrator while the student is a minor. A grant
//! ends when it is revoked, when its time is over, with its link, when the guardian is deleted, and when the guardian
//! becomes another person. What a grant opens asks [`push_granted`] on every request, so that all of this works at once.
//!
//! Lock order: guardian, user.

mod grants;
mod handlers;
mod store;

use sqlx::{Postgres, QueryBuilder};

use crate::http::{Routes, change, create, replace, restore, show};
use crate::ids::Id;

use handlers::Guardian;

/// The endpoints of this resource.
pub(super) fn routes() -> Routes {
    Routes::under("/api/users/guardians")
        .get("/", handlers::list, "Lists guardians: one's own, or for a student those that one has.")
        .post("/", create::<Guardian>, "Makes a parent the guardian of students.")
        .get("/{id}/", show::<Guardian>, "Shows a guardian.")
        .put("/{id}/", replace::<Guardian>, "Replaces a guardian; grants of students who are left out end.")
        .patch("/{id}/", change::<Guardian>, "Changes a guardian; grants of students who are taken out end.")
        .delete("/{id}/", handlers::remove, "Deletes a guardian; all grants end.")
        .post("/{id}/restore/", restore::<Guardian>, "Brings a deleted guardian back, without the grants.")
        .get("/{id}/grants/", grants::list, "Lists what students have granted to a guardian, also what has ended.")
        .post("/{id}/grants/", grants::create, "Grants a guardian to see more of a student than the name.")
        .get("/{id}/grants/{grant}/", grants::show, "Shows a grant.")
        .delete("/{id}/grants/{grant}/", grants::revoke, "Revokes a grant; it stays in the list.")
}

/// Adds `exists (…)`: the student whose id is in the column `student` has granted this scope to the guardian, and the
/// grant holds now.
pub(crate) fn push_granted(sql: &mut QueryBuilder<Postgres>, guardian: Option<Id>, student: &str, scope: &str) {
    sql.push(
        "exists (select
          from guardians gu
          join guardian_grants gg on gg.guardian_id = gu.id
         where gu.deleted_at is null
           and gg.revoked_at is null
           and (gg.valid_until is null or gg.valid_until > rule_now())
           and gg.student_id = ",
    );
    sql.push(student).push(" and gu.user_id = ").push_bind(guardian);
    sql.push(" and ").push_bind(scope.to_owned()).push(" = any(gg.scopes))");
}

/// Adds `student = any(…)`: the student whose id is in the column `student` is a child of this guardian, granted or not.
pub(crate) fn push_children(sql: &mut QueryBuilder<Postgres>, guardian: Option<Id>, student: &str) {
    sql.push(student);
    sql.push(
        " = any(array(select gs.student_id
                        from guardians gu
                        join guardian_students gs on gs.guardian_id = gu.id
                       where gu.deleted_at is null
                         and gu.user_id = ",
    );
    sql.push_bind(guardian).push("))");
}
