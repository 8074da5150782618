//! What is personal of whom: every table with its columns. This array is what an export reads and what anonymising
//! erases; a test compares it with the schema, so that a new column is decided on before it is in use.
//!
//! Ids of people are kept everywhere: once the account is anonymised they lead to nobody.

use crate::access::Permission as P;

/// A table, and what of it is personal. Columns are named in one line, with spaces between.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The table.
    pub name: &'static str,
    /// SQL: the rows that are about a person or of their making, `$1`; empty when no row is.
    pub of: &'static str,
    /// SQL: the rows that an export shows the person; empty for none. What others wrote is there as far as the person
    /// can see it over the API.
    pub shown: &'static str,
    /// SQL: members of such a row that an export shows otherwise than they are stored, as an object; empty for none.
    pub shown_as: &'static str,
    /// Whether anonymising deletes the person's rows.
    pub deleted: bool,
    /// What anonymising puts into columns of the person's rows, as SQL.
    pub cleared: &'static [(&'static str, &'static str)],
    /// Kept though it is about the person: the academic record, the ledger, who was responsible, or needed to keep a row.
    pub kept: &'static str,
    /// Texts in which anybody can be named: what can mean nobody but the person becomes `***`, in rows that refer to them.
    pub texts: &'static str,
    /// JSON in which anybody can be named; of it the texts that are values are looked at.
    pub documents: &'static str,
    /// SQL: the rows of others that refer to the person, `$1`; empty when none do.
    pub refers: &'static str,
    /// SQL: the rows that are still to be delivered as they are; empty for none.
    pub awaits: &'static str,
    /// Whether rows have `updated_at`, which moves when a text is replaced.
    pub dated: bool,
    /// What shows the texts of everybody over the API; none for texts that anybody may read.
    pub shown_with: Option<P>,
    /// Secrets: never exported.
    pub secret: &'static str,
    /// Not personal.
    pub plain: &'static str,
}

/// Columns that many tables have and that are not personal in any.
// `search_text` is made from other columns of the row whenever they change.
pub const EVERYWHERE: &str =
    "id search_text created_at updated_at created_by updated_by deleted_at is_deleted security_version";

const TABLE: Table = Table {
    name: "",
    of: "",
    shown: "",
    shown_as: "",
    deleted: false,
    cleared: &[],
    kept: "",
    texts: "",
    documents: "",
    refers: "",
    awaits: "",
    dated: true,
    shown_with: None,
    secret: "",
    plain: "",
};

const fn plain(name: &'static str, plain: &'static str) -> Table {
    Table { name, plain, ..TABLE }
}

/// Rows of the column `user_id`, deleted when the person is anonymised.
const fn own(name: &'static str, kept: &'static str, secret: &'static str) -> Table {
    Table { name, of: "user_id = $1", shown: "user_id = $1", deleted: true, kept, secret, ..TABLE }
}

/// All tables, in the order in which anonymising goes through them: a row goes before what it refers to, and the account,
/// where others look up who the person was, goes last.
pub const TABLES: &[Table] = &[
    own("sessions", "user_id last_used_at expires_at revoked_at revoked_reason ip_address user_agent", "refresh_hash"),
    own("password_reset_tokens", "user_id expires_at used_at", "token_hash"),
    own("email_changes", "user_id email expires_at", "token_hash"),
    own("login_addresses", "user_id last_used_at", "address_hash"),
    own("calendar_links", "user_id last_used_at revoked_at", "token_hash"),
    own("event_attendees", "event_id user_id", ""),
    own("event_dismissals", "event_id user_id", ""),
    own("user_roles", "user_id role_id valid_from valid_until", ""),
    // Kept answers to others stay: without them a repeat would have its effect twice. They live for a day.
    Table {
        name: "idempotency_keys",
        of: "user_id = $1",
        deleted: true,
        secret: "key body_hash body",
        kept: "user_id target status",
        ..TABLE
    },
    Table {
        name: "mail_outbox",
        of: "(user_id = $1 or lower(recipient) = (select lower(email) from users where id = $1))",
        shown: "user_id = $1",
        deleted: true,
        kept: "user_id recipient params",
        secret: "leased_until last_error",
        plain: "template state attempts next_at sent_at",
        ..TABLE
    },
    // Of people who have no account yet; it is theirs by the address.
    Table {
        name: "registrations",
        of: "lower(email) = (select lower(u.email) from users u where u.id = $1)",
        shown: "lower(email) = (select lower(u.email) from users u where u.id = $1)",
        deleted: true,
        kept: "email username first_name last_name expires_at",
        secret: "password_hash token_hash",
        ..TABLE
    },
    Table {
        name: "notifications",
        of: "recipient_id = $1",
        shown: "(recipient_id = $1 or actor_id = $1)",
        deleted: true,
        kept: "recipient_id actor_id",
        texts: "verb description",
        refers: "created_by = $1
                 or (target_content_type = 'ticket'
                     and target_object_id in (select k.id from tickets k where $1 in (k.submitter_id, k.assigned_to_id)))",
        shown_with: Some(P::ReadPrivate),
        plain: "target_content_type target_object_id unread digest position",
        ..TABLE
    },
    // What the person told others, and what others were told of them.
    Table { name: "notifications", of: "actor_id = $1", cleared: &[("verb", "'***'"), ("description", "''")], ..TABLE },
    Table {
        name: "ticket_comments",
        of: "(commenter_id = $1 or exists (select from tickets k where k.id = ticket_id and k.submitter_id = $1))",
        shown: "(commenter_id = $1 or (not internal and deleted_at is null
                 and exists (select from tickets k where k.id = ticket_id and k.submitter_id = $1)))",
        cleared: &[("comment", "'***'"), ("updated_at", "rule_now()")],
        kept: "ticket_id commenter_id",
        texts: "comment",
        refers: "created_by = $1 or exists (select from tickets k where k.id = ticket_id and k.assigned_to_id = $1)",
        shown_with: Some(P::ReadTicketNotes),
        plain: "internal",
        ..TABLE
    },
    Table {
        name: "ticket_files",
        of: "exists (select from tickets k where k.id = ticket_id and k.submitter_id = $1)
             or exists (select from stored_files f where f.id = file_id and f.created_by = $1)",
        shown: "exists (select from tickets k where k.id = ticket_id and k.submitter_id = $1)",
        deleted: true,
        kept: "ticket_id file_id",
        ..TABLE
    },
    Table {
        name: "tickets",
        of: "submitter_id = $1",
        shown: "submitter_id = $1",
        cleared: &[("title", "'***'"), ("description", "''"), ("category", "''"), ("updated_at", "rule_now()")],
        kept: "submitter_id assigned_to_id",
        texts: "title description category",
        refers: "$1 in (assigned_to_id, created_by)",
        shown_with: Some(P::ReadTickets),
        plain: "status priority related_unit_id related_offering_id",
        ..TABLE
    },
    Table {
        name: "form_submissions",
        of: "submitter_id = $1",
        shown: "submitter_id = $1",
        cleared: &[("data", "'{}'"), ("updated_at", "rule_now()")],
        kept: "submitter_id",
        documents: "data",
        refers: "created_by = $1",
        shown_with: Some(P::ReadSubmissions),
        plain: "form_id version",
        ..TABLE
    },
    Table {
        name: "attendance_records",
        of: "student_id = $1",
        shown: "student_id = $1",
        cleared: &[("notes", "''")],
        kept: "session_id student_id status marked_by_id",
        texts: "notes",
        refers: "$1 in (marked_by_id, created_by)",
        shown_with: Some(P::ReadAttendance),
        ..TABLE
    },
    Table {
        name: "enrollment_decisions",
        of: "exists (select from enrollments e where e.id = enrollment_id and e.student_id = $1)",
        shown: "exists (select from enrollments e where e.id = enrollment_id and e.student_id = $1)",
        cleared: &[("notes", "''")],
        kept: "enrollment_id decision decided_by_id decided_at",
        texts: "notes",
        refers: "decided_by_id = $1",
        dated: false,
        shown_with: Some(P::ReadEnrollments),
        ..TABLE
    },
    Table {
        name: "enrollment_history",
        of: "exists (select from enrollments e where e.id = enrollment_id and e.student_id = $1)",
        shown: "exists (select from enrollments e where e.id = enrollment_id and e.student_id = $1)",
        cleared: &[("reason", "''")],
        kept: "enrollment_id from_status to_status from_grade to_grade from_marks to_marks deleted changed_by_id",
        texts: "reason",
        refers: "changed_by_id = $1",
        dated: false,
        shown_with: Some(P::ReadEnrollments),
        ..TABLE
    },
    Table {
        name: "enrollments",
        of: "student_id = $1",
        shown: "student_id = $1",
        kept: "student_id offering_id status grade marks requested_at enrolled_at withdrawn_date
               completion_date",
        ..TABLE
    },
    Table {
        name: "transcripts",
        of: "student_id = $1",
        shown: "student_id = $1",
        kept: "enrollment_id student_id unit_code unit_name semester year credit_points course_code course_name status
               grade marks grade_point completion_date",
        ..TABLE
    },
    // The student number leads back to the academic record, for whoever has it on a testamur.
    Table {
        name: "student_profiles",
        of: "user_id = $1",
        shown: "user_id = $1",
        kept: "user_id student_id enrollment_date expected_graduation course_id academic_status",
        ..TABLE
    },
    Table {
        name: "gold_transactions",
        of: "student_id = $1",
        shown: "student_id = $1",
        cleared: &[("details", "''")],
        kept: "student_id seq amount transaction_type balance_after awarded_by_id",
        texts: "reason details",
        refers: "awarded_by_id = $1",
        dated: false,
        shown_with: Some(P::ReadGold),
        ..TABLE
    },
    Table {
        name: "gold_accounts",
        of: "student_id = $1",
        shown: "student_id = $1",
        kept: "student_id current_balance lifetime_earned last_seq",
        ..TABLE
    },
    Table {
        name: "student_achievements",
        of: "student_id = $1",
        shown: "student_id = $1",
        kept: "student_id achievement_id earned_at points_at_earning",
        ..TABLE
    },
    Table {
        name: "scholarship_application_files",
        of: "exists (select from scholarship_applications a where a.id = application_id and a.student_id = $1)",
        shown: "exists (select from scholarship_applications a where a.id = application_id and a.student_id = $1)",
        deleted: true,
        kept: "application_id file_id",
        ..TABLE
    },
    Table {
        name: "scholarship_applications",
        of: "student_id = $1",
        shown: "student_id = $1",
        cleared: &[("reviewer_notes", "''")],
        kept: "student_id scholarship_id application_date status reviewed_by_id reviewed_at",
        texts: "reviewer_notes",
        refers: "$1 in (reviewed_by_id, created_by)",
        shown_with: Some(P::ReadScholarshipApplications),
        ..TABLE
    },
    // Grants go with the link.
    Table {
        name: "guardian_grants",
        of: "(student_id = $1 or exists (select from guardians g where g.id = guardian_id and g.user_id = $1))",
        shown: "(student_id = $1 or exists (select from guardians g where g.id = guardian_id and g.user_id = $1))",
        deleted: true,
        kept: "guardian_id student_id scopes granted_at granted_by_id valid_until revoked_at",
        ..TABLE
    },
    Table {
        name: "guardian_students",
        of: "(student_id = $1 or exists (select from guardians g where g.id = guardian_id and g.user_id = $1))",
        shown: "(student_id = $1 or exists (select from guardians g where g.id = guardian_id and g.user_id = $1))",
        deleted: true,
        kept: "guardian_id student_id",
        ..TABLE
    },
    Table {
        name: "guardians",
        of: "user_id = $1",
        shown: "user_id = $1",
        cleared: &[("relationship", "''"), ("is_emergency_contact", "false"), ("is_financial_responsible", "false")],
        kept: "user_id",
        texts: "relationship",
        refers: "created_by = $1
                 or exists (select from guardian_students s where s.guardian_id = guardians.id and s.student_id = $1)",
        shown_with: Some(P::ReadGuardians),
        ..TABLE
    },
    Table {
        name: "workflow_executions",
        of: "triggered_by_id = $1",
        cleared: &[("input_data", "'{}'"), ("output_data", "null"), ("error_details", "''")],
        documents: "input_data output_data",
        texts: "error_details",
        refers: "message_id in (select m.id
                                  from webhook_outbox m
                                 where m.object_key in (select 'enrollment:' || e.id from enrollments e where e.student_id = $1
                                                         union all
                                                        select 'attendance:' || a.id
                                                          from attendance_records a
                                                         where a.student_id = $1))",
        dated: false,
        shown_with: Some(P::ReadWorkflows),
        kept: "triggered_by_id",
        plain: "execution_id workflow_id message_id trigger_event start_time end_time status",
        ..TABLE
    },
    Table {
        name: "webhook_outbox",
        documents: "payload",
        texts: "last_error",
        refers: "object_key in (select 'enrollment:' || e.id from enrollments e where e.student_id = $1
                                 union all
                                select 'attendance:' || a.id from attendance_records a where a.student_id = $1)",
        awaits: "state = 'pending'",
        dated: false,
        shown_with: Some(P::ReadWorkflows),
        plain: "trigger_event workflow_id object_key state attempts next_at leased_until give_up_at delivered_at \
                replayed_at",
        ..TABLE
    },
    // Details and origins have a way of their own, which keeps the seals whole.
    Table {
        name: "audit_log",
        shown: "user_id = $1",
        // What the person wrote of others is theirs.
        shown_as: "jsonb_build_object('details',
                       case when resource_type = 'user' and resource_id = $1 then details else '{}' end)",
        kept: "user_id action resource_type resource_id details ip_address user_agent request_id",
        secret: "salt details_digest origin_salt origin_digest position",
        ..TABLE
    },
    // Files of the person are removed; what they uploaded for the university stays.
    Table {
        name: "stored_files",
        shown: "created_by = $1 and deleted_at is null",
        kept: "name original_name size content_type public",
        texts: "original_name",
        refers: "created_by = $1",
        dated: false,
        shown_with: Some(P::ReadPrivate),
        secret: "sha256",
        plain: "hidden placed",
        ..TABLE
    },
    // An event is no more about those whom it is for than about those who put themselves on the list.
    Table {
        name: "events",
        texts: "title description location",
        documents: "generated_content generation_meta",
        refers: "$1 in (created_by, updated_by)",
        shown_with: Some(P::ReadEvents),
        plain: "start end visibility target_all_students related_unit_id related_offering_id generation_status
                last_generated_at gcal_event_id generation_timeout_at",
        ..TABLE
    },
    Table {
        name: "event_content_revisions",
        documents: "generated_content generation_meta",
        refers: "created_by = $1 or event_id in (select e.id from events e where $1 in (e.created_by, e.updated_by))",
        dated: false,
        shown_with: Some(P::ReadEvents),
        plain: "event_id revision generation_status",
        ..TABLE
    },
    Table {
        name: "event_target_students",
        of: "student_id = $1",
        shown: "student_id = $1",
        deleted: true,
        kept: "event_id student_id",
        ..TABLE
    },
    Table { shown_with: Some(P::ReadUnpublishedPages), ..text("pages", "title content", "slug unit_id published") },
    Table { refers: "$1 in (uploaded_by_id, created_by, updated_by)", ..text("resources", "title", "file_id unit_id uploaded_by_id") },
    Table {
        shown_with: Some(P::ReadUnitResources),
        ..text("unit_resources", "title description", "unit_id resource_type file_id url is_required")
    },
    Table { shown_with: Some(P::ReadInactiveForms), ..text("forms", "name description", "slug version is_active") },
    Table {
        refers: "$1 in (convenor_id, created_by, updated_by)",
        ..text("units", "description", "code code_key name credit_points department convenor_id is_active")
    },
    text("courses", "description", "code code_key name duration_years credit_points department is_active"),
    Table {
        refers: "$1 in (created_by, updated_by)
                 or exists (select from units u where u.id = unit_id and u.convenor_id = $1)",
        ..text(
            "offerings",
            "notes",
            "unit_id year semester intake_id enrollment_start enrollment_end withdraw_until capacity current_enrollment
             requires_approval is_active convenor_id",
        )
    },
    Table {
        shown_with: Some(P::ReadScholarships),
        ..text("scholarships", "description requirements", "name amount duration_semesters max_awards is_active")
    },
    text("achievements", "description", "name points_required badge_image_id is_active"),
    Table { shown_with: Some(P::ManageRoles), ..text("roles", "description", "name permissions") },
    Table {
        shown_with: Some(P::ReadWorkflows),
        ..text("workflows", "description", "workflow_id name trigger_event configuration is_active last_run error_count")
    },
    plain(
        "audit_seals",
        "from_position from_id to_position to_id row_count previous_hmac hmac sealed_at row_ids row_hmacs total_count",
    ),
    plain(
        "class_sessions",
        "offering_id session_type date start_time end_time location room instructor_id status series",
    ),
    plain("course_units", "course_id unit_id is_elective"),
    plain("event_target_intakes", "event_id intake_id"),
    plain("event_target_offerings", "event_id offering_id"),
    plain("form_versions", "form_id version schema"),
    plain("intakes", "semester year made_for_offering"),
    plain("job_runs", "job last_started_at last_finished_at last_error"),
    plain("media_assets", "file_id uploaded_by_id"),
    // Digests of accounts and addresses, gone when they are full again.
    plain("throttle_buckets", "key tokens"),
    plain("unit_anti_requisites", "lower_unit_id upper_unit_id"),
    plain("unit_prerequisites", "unit_id prerequisite_id"),
    plain("workflow_secrets", "workflow_id secret retired_at"),
    Table {
        name: "users",
        of: "id = $1",
        shown: "id = $1",
        cleared: &[
            ("email", "'anonymised-' || id || '@invalid'"),
            ("username", "'anonymised-' || id"),
            ("username_key", "null"),
            ("password_hash", "'!'"),
            ("first_name", "''"),
            ("last_name", "''"),
            ("official_first_name", "''"),
            ("official_last_name", "''"),
            ("is_active", "false"),
            ("is_staff", "false"),
            ("department", "''"),
            ("position", "''"),
            ("bio", "''"),
            ("profile_image_id", "null"),
            ("phone_number", "''"),
            ("address_line1", "''"),
            ("address_line2", "''"),
            ("city", "''"),
            ("state", "''"),
            ("postal_code", "''"),
            ("country", "''"),
            ("date_of_birth", "null"),
            ("emergency_contact_name", "''"),
            ("emergency_contact_phone", "''"),
            ("leaderboard_opt_in", "false"),
            ("last_login", "null"),
            ("anonymised_at", "rule_now()"),
            ("updated_at", "rule_now()"),
        ],
        kept: "user_type student_number",
        // Of others: whom they name as their contact, and what they write of themselves. Whom to call in an emergency is
        // never changed without somebody's word.
        texts: "bio emergency_contact_name emergency_contact_phone",
        shown_with: Some(P::ReadPrivate),
        secret: "password_hash",
        plain: "is_superuser password_changed_at",
        ..TABLE
    },
];

/// Texts in which anybody can be named, of rows that refer to who wrote them.
const fn text(name: &'static str, texts: &'static str, plain: &'static str) -> Table {
    Table { name, texts, refers: "$1 in (created_by, updated_by)", plain, ..TABLE }
}
