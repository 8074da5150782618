//! Guardians: what a parent may see of a child, by the child's grant.

use sqlx::{Postgres, QueryBuilder};

use crate::ids::Id;

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
