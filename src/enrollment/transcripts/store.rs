//! Every SQL statement of transcripts.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use utoipa::ToSchema;

use crate::academic::semester::Semester;
use crate::access::{Permission, Reach, Viewer};
use crate::decimals::{one_place, two_places};
use crate::enrollment::grades::{gpa, results};
use crate::enrollment::{Columns, Status, push_reach};
use crate::ids::{Id, Moment};
use crate::users::accounts::user_brief;
use crate::users::guardians;

/// The columns of a transcript row.
pub(super) const SELECT: &str = concat!(
    "
select t.id,
       ",
    user_brief!("s", "f"),
    " as student,
       t.enrollment_id as enrollment,
       t.unit_code,
       t.unit_name,
       t.semester,
       t.year,
       t.credit_points,
       t.grade,
       t.marks,
       t.grade_point,
       t.status,
       coalesce(t.course_code, c.code, '') as course_code,
       coalesce(t.course_name, c.name, '') as course_name,
       t.completion_date,
       t.created_at,
       t.updated_at
from transcripts t
join enrollments e on e.id = t.enrollment_id
join users s on s.id = t.student_id
left join student_profiles sp on sp.user_id = t.student_id and sp.deleted_at is null
left join courses c on c.id = sp.course_id
left join stored_files f on f.id = s.profile_image_id and f.deleted_at is null"
);

/// A unit on a student's transcript.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(super) struct TranscriptLine {
    /// The transcript row's id.
    pub(super) id: Id,
    pub(super) enrollment: Id,
    pub(super) year: i32,
    pub(super) semester: Semester,
    pub(super) unit_code: String,
    pub(super) unit_name: String,
    /// One decimal.
    #[serde(serialize_with = "one_place")]
    #[schema(value_type = String, example = "12.5")]
    pub(super) credit_points: Decimal,
    pub(super) status: Status,
    /// By the scale.
    pub(super) grade: String,
    /// 0 to 100, with two decimals.
    #[serde(serialize_with = "two_places")]
    #[schema(value_type = Option<String>, example = "78.00")]
    pub(super) marks: Option<Decimal>,
    /// From 0.0 to 4.0.
    #[serde(serialize_with = "one_place")]
    #[schema(value_type = String, example = "4.0")]
    pub(super) grade_point: Decimal,
    /// The course in which the result was obtained; empty when there was none, and so is its name.
    pub(super) course_code: String,
    pub(super) course_name: String,
    pub(super) completion_date: NaiveDate,
    /// Whether it counts for the average.
    #[serde(skip_serializing)]
    pub(super) counts: bool,
}

/// All that counts for a student, and what it comes to.
#[derive(Debug, FromRow)]
pub(super) struct Record {
    pub(super) gpa: Option<Decimal>,
    /// Grade points × credit points of what counts for the average, summed.
    pub(super) products: Decimal,
    /// Credit points of the same units, summed.
    pub(super) credit_points: Decimal,
    /// Credit points of completed units, summed; each unit counts once.
    pub(super) total_credit_points: Decimal,
    pub(super) total_units_completed: i64,
    /// In the order of the calendar: the names of semesters sort as they should.
    #[sqlx(json)]
    pub(super) lines: Vec<TranscriptLine>,
}

/// One statement, so that the sums are those of the lines whatever is graded meanwhile.
const RECORD: &str = concat!(
    "
select ",
    gpa!(),
    " as gpa,
       coalesce(sum(t.grade_point * t.credit_points) filter (where t.counts), 0) as products,
       coalesce(sum(t.credit_points) filter (where t.counts), 0) as credit_points,
       coalesce(sum(t.credit_points) filter (where t.earns_credit), 0) as total_credit_points,
       count(*) filter (where t.earns_credit) as total_units_completed,
       coalesce(jsonb_agg(jsonb_build_object(
           'id', t.id,
           'enrollment', t.enrollment_id,
           'year', t.year,
           'semester', t.semester,
           'unit_code', t.unit_code,
           'unit_name', t.unit_name,
           'credit_points', t.credit_points::text,
           'status', t.status,
           'grade', t.grade,
           'marks', t.marks::text,
           'grade_point', t.grade_point::text,
           'course_code', coalesce(t.course_code, c.code, ''),
           'course_name', coalesce(t.course_name, c.name, ''),
           'completion_date', t.completion_date,
           'counts', t.counts)
           order by t.year, t.semester, t.unit_code, t.id), '[]') as lines
from ",
    results!(),
    "t.student_id = "
);

/// What counts for the student, of the rows that the viewer's lists show: a convenor's are those of own units.
pub(super) async fn record(conn: &mut PgConnection, viewer: &Viewer, student: Id) -> sqlx::Result<Record> {
    let mut sql = QueryBuilder::<Postgres>::new(RECORD);
    sql.push_bind(student);
    push_visible(&mut sql, viewer);
    sql.push(
        ") t
left join student_profiles sp on sp.user_id = t.student_id and sp.deleted_at is null
left join courses c on c.id = sp.course_id",
    );
    sql.build_query_as().fetch_one(conn).await
}

/// Adds ` and …` with the rows that the viewer may see, wherever transcripts are read.
pub(super) fn push_visible(sql: &mut QueryBuilder<Postgres>, viewer: &Viewer) {
    let columns = Columns { student: "t.student_id", offering: "e.offering_id" };
    push_reach(sql, viewer, Permission::ReadTranscripts, columns, "transcripts");
}

/// Whether there is such a student, or somebody who was one, and the viewer's permission reaches them.
pub(super) async fn may_see(conn: &mut PgConnection, viewer: &Viewer, student: Id) -> sqlx::Result<bool> {
    let reach = viewer.reach(Permission::ReadTranscripts);
    let mut sql = QueryBuilder::<Postgres>::new("select exists (select from users s where s.id = ");
    sql.push_bind(student);
    sql.push(
        "
   and (s.user_type = 'student'
        or exists (select from transcripts t where t.student_id = s.id and t.deleted_at is null))",
    );
    if !reach.is_all() {
        sql.push(" and (false");
        if reach.covers(Reach::OWN) {
            sql.push(" or s.id = ").push_bind(viewer.caller_id());
        }
        if reach.covers(Reach::OWN_UNITS) {
            sql.push(
                " or exists (select
          from enrollments e
          join offerings o on o.id = e.offering_id
         where e.student_id = s.id
           and e.deleted_at is null
           and e.status in ('ENROLLED', 'COMPLETED', 'FAILED')
           and o.convenor_id = ",
            );
            sql.push_bind(viewer.caller_id()).push(")");
        }
        if reach.covers(Reach::CHILDREN) {
            sql.push(" or ");
            guardians::push_granted(&mut sql, viewer.caller_id(), "s.id", "transcripts");
        }
        sql.push(")");
    }
    sql.push(")");
    sql.build_query_scalar().fetch_one(conn).await
}

/// What stands at the head of a student's transcript.
pub(super) struct Holder {
    pub(super) name: String,
    /// Empty without a profile.
    pub(super) student_number: String,
    /// Empty without a course, and so is its name.
    pub(super) course_code: String,
    pub(super) course_name: String,
    pub(super) now: Moment,
}

/// Who the student is.
pub(super) async fn holder(conn: &mut PgConnection, student: Id) -> sqlx::Result<Holder> {
    sqlx::query_as!(
        Holder,
        r#"select btrim(s.official_first_name || ' ' || s.official_last_name) as "name!",
                  coalesce(sp.student_id, '') as "student_number!",
                  coalesce(c.code, '') as "course_code!",
                  coalesce(c.name, '') as "course_name!",
                  rule_now() as "now!: Moment"
             from users s
             left join student_profiles sp on sp.user_id = s.id and sp.deleted_at is null
             left join courses c on c.id = sp.course_id
            where s.id = $1"#,
        student.0
    )
    .fetch_one(conn)
    .await
}
