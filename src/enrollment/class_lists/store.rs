//! Every SQL statement of class lists.

use sqlx::PgConnection;

use crate::ids::Id;
use crate::users::accounts::user_brief;

/// The columns of a student in a class.
pub(super) const SELECT: &str = concat!(
    "
select e.id as enrollment,
       ",
    user_brief!("s", "f"),
    " as student,
       coalesce(sp.student_id, '') as student_number,
       s.is_active,
       e.status,
       e.grade,
       e.marks,
       e.requested_at,
       e.withdrawn_date,
       e.completion_date,
       e.updated_at
from enrollments e
join users s on s.id = e.student_id
left join stored_files f on f.id = s.profile_image_id and f.deleted_at is null
left join student_profiles sp on sp.user_id = e.student_id and sp.deleted_at is null"
);

/// Whether the person instructs a session of the offering.
pub(super) async fn instructs(conn: &mut PgConnection, person: Id, offering: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select
                            from class_sessions
                           where offering_id = $1
                             and instructor_id = $2
                             and deleted_at is null) as "is!""#,
        offering.0,
        person.0
    )
    .fetch_one(conn)
    .await
}
