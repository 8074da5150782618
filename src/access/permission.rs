//! What a caller may do: permission codes, how far each reaches, and what each user type has.

use std::ops::{BitOr, BitOrAssign};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far a permission reaches. A caller can have several reaches of one permission, so it is a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach(u8);

impl Reach {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The caller's own records.
    pub const OWN: Self = Self(1);
    /// Records of the caller's children, by their grant.
    pub const CHILDREN: Self = Self(2);
    /// Records of units that the caller convenes.
    pub const OWN_UNITS: Self = Self(4);
    /// Everything.
    pub const ALL: Self = Self(8);

    const NAMED: [(&'static str, Self); 4] =
        [("own", Self::OWN), ("children", Self::CHILDREN), ("own_units", Self::OWN_UNITS), ("all", Self::ALL)];

    /// Whether `other` is within this reach; everything is within all.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.0 & Self::ALL.0 != 0 || (other.0 != 0 && self.0 & other.0 == other.0)
    }

    /// Whether it reaches everything.
    #[must_use]
    pub fn is_all(self) -> bool {
        self.covers(Self::ALL)
    }

    /// Without the caller's own records.
    #[must_use]
    pub fn beyond_own(self) -> Self {
        Self(self.0 & !Self::OWN.0)
    }

    /// Whether it reaches nothing at all.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The reaches by name, as in `code:scope`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMED.into_iter().filter(move |(_, reach)| self.0 & reach.0 != 0).map(|(name, _)| name)
    }

    /// The reach of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, reach)| *reach)
    }
}

impl BitOr for Reach {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Reach {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

macro_rules! permissions {
    ($($(#[doc = $says:literal])+ $name:ident = $code:literal,)+) => {
        /// Everything that a handler can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Permission {
            $($(#[doc = $says])+ $name,)+
        }

        impl Permission {
            /// All of them, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The permanent code, as roles and the authorisation matrix spell it.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What it allows, for people.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self { $(Self::$name => concat!($($says),+).trim_ascii_start(),)+ }
            }
        }

        /// Permissions as types, for [`Actor`](super::Actor).
        pub mod may {
            use super::{Need, Permission};
            $(
                $(#[doc = $says])+
                #[derive(Debug, Clone, Copy)]
                pub struct $name;
                impl Need for $name {
                    const PERMISSION: Option<Permission> = Some(Permission::$name);
                    const NAME: &'static str = $code;
                }
            )+

            /// Any logged-in caller.
            #[derive(Debug, Clone, Copy)]
            pub struct BeSignedIn;
            impl Need for BeSignedIn {
                const PERMISSION: Option<Permission> = None;
                const NAME: &'static str = "signed in";
            }
        }
    };
}

/// A permission as a type.
pub trait Need: Send + Sync + 'static {
    /// The permission; `None` when any logged-in caller will do.
    const PERMISSION: Option<Permission>;
    /// As it stands in the authorisation matrix.
    const NAME: &'static str;
}

/// A permission to decide on people: what its holder decides on themselves is nobody's judgement.
pub trait Decides: Need {}

macro_rules! deciding {
    ($($name:ident,)+) => {
        $(impl Decides for may::$name {})+

        impl Permission {
            /// Those with which somebody decides on people. `Actor::decide_on` stands before each such decision.
            pub const DECIDING: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

deciding! {
    WriteStudentProfiles,
    ReviewScholarships,
    ApproveEnrollments,
    GradeEnrollments,
    WriteAttendance,
    AwardGold,
    WriteAchievements,
}

permissions! {
    /// See people: oneself and those one may write to, the names of one's children, or everyone.
    ReadUsers = "users.read",
    /// See phone, address, birth date and emergency contact of others.
    ReadPrivate = "users.read_private",
    /// Change one's own profile, password and picture.
    EditProfile = "users.edit_profile",
    /// Create, change and deactivate users; who gives rights with it needs `roles.manage` too.
    ManageUsers = "users.manage",
    /// Export everything about oneself that is kept.
    ExportOwnData = "users.export",
    /// Erase what is personal of somebody, for good.
    AnonymiseUsers = "users.anonymise",
    /// Read the audit log.
    ReadAuditLog = "audit_log.read",
    /// List students.
    ReadStudents = "students.read",
    /// See student profiles.
    ReadStudentProfiles = "student_profiles.read",
    /// Write student profiles.
    WriteStudentProfiles = "student_profiles.write",
    /// See guardians and what is granted to them; one's own are those that one is or has.
    ReadGuardians = "guardians.read",
    /// Link parents to students.
    WriteGuardians = "guardians.write",
    /// Grant and revoke what guardians see: of oneself, or with all of any minor.
    GrantGuardians = "guardians.grant",
    /// See scholarships: those that take applications and that one has applied for, or all.
    ReadScholarships = "scholarships.read",
    /// Write scholarships.
    WriteScholarships = "scholarships.write",
    /// Apply for scholarships.
    ApplyForScholarships = "scholarships.apply",
    /// See applications for scholarships.
    ReadScholarshipApplications = "scholarship_applications.read",
    /// Decide on applications for scholarships.
    ReviewScholarships = "scholarships.review",
    /// See and revoke log-in sessions.
    ManageSessions = "sessions.manage",
    /// See permission codes, and write roles and who has them.
    ManageRoles = "roles.manage",
    /// Write courses.
    WriteCourses = "courses.write",
    /// Write the units of courses.
    WriteCourseUnits = "course_units.write",
    /// Write units.
    WriteUnits = "units.write",
    /// Write offerings.
    WriteOfferings = "offerings.write",
    /// Write intakes.
    WriteIntakes = "intakes.write",
    /// See the resources of units.
    ReadUnitResources = "unit_resources.read",
    /// Write the resources of units.
    WriteUnitResources = "unit_resources.write",
    /// See enrolments, and in them who asks for a seat.
    ReadEnrollments = "enrollments.read",
    /// Take a seat: for oneself within the enrolment window, or for any student.
    CreateEnrollments = "enrollments.create",
    /// Give a seat back: one's own until `withdraw_until`, or any.
    WithdrawEnrollments = "enrollments.withdraw",
    /// See who waits for a decision.
    ReadApprovals = "approvals.read",
    /// Decide on pending enrolments.
    ApproveEnrollments = "enrollments.approve",
    /// Give and correct results.
    GradeEnrollments = "enrollments.grade",
    /// Delete enrolments.
    DeleteEnrollments = "enrollments.delete",
    /// See transcripts and grade point averages.
    ReadTranscripts = "transcripts.read",
    /// See class lists; one's own are those of offerings in which one instructs.
    ReadClassLists = "class_lists.read",
    /// See an overview of one's own classes.
    ReadTeaching = "teaching.read",
    /// See classes; one's own are those of offerings in which one sits or instructs.
    ReadClassSessions = "class_sessions.read",
    /// Write classes.
    WriteClassSessions = "class_sessions.write",
    /// See attendance; one's own is that of oneself and of the classes that one instructs.
    ReadAttendance = "attendance.read",
    /// Mark attendance; one's own classes are those that one instructs.
    WriteAttendance = "attendance.write",
    /// See one's own notifications.
    ReadNotifications = "notifications.read",
    /// Make and revoke the link to one's own calendar feed.
    ManageCalendarLink = "calendar.link",
    /// See events: those that concern one, or all.
    ReadEvents = "events.read",
    /// Create and edit events.
    WriteEvents = "events.write",
    /// Delete events; one's own are those that one created.
    DeleteEvents = "events.delete",
    /// Publish many events at once.
    PublishEvents = "events.publish",
    /// Create events in batches, and see which wait for their content to be confirmed.
    AutomateEvents = "events.automate",
    /// Import event files here although there is a workflow for it; for the accounts of such workflows.
    ImportDirectly = "events.import_directly",
    /// Mark one's own notifications as read and delete them.
    EditNotifications = "notifications.edit",
    /// Notify people: staff, convenors and administrators, or anyone.
    SendNotifications = "notifications.send",
    /// See tickets; one's own are those that one has submitted or is assigned to.
    ReadTickets = "tickets.read",
    /// Submit tickets.
    CreateTickets = "tickets.create",
    /// Change what tickets say, comment on them and add files.
    WriteTickets = "tickets.write",
    /// Assign tickets, set their status and priority, delete them and their comments, and write internal notes.
    ManageTickets = "tickets.manage",
    /// See internal notes on tickets, but not on those that one has submitted.
    ReadTicketNotes = "tickets.read_notes",
    /// See pages that are not published.
    ReadUnpublishedPages = "pages.read_unpublished",
    /// Write pages.
    WritePages = "pages.write",
    /// Write the resources of the library.
    WriteResources = "resources.write",
    /// Add and delete media.
    WriteMedia = "media.write",
    /// Write forms.
    WriteForms = "forms.write",
    /// See forms that are not active.
    ReadInactiveForms = "forms.read_inactive",
    /// See what was sent in with forms; one's own is what one sent.
    ReadSubmissions = "submissions.read",
    /// Send in forms; with all also delete what was sent in.
    WriteSubmissions = "submissions.write",
    /// Ask the advisor about one's own studies.
    AskAdvisor = "advisor.ask",
    /// See workflows, the log of their calls, and the queue of messages to them.
    ReadWorkflows = "workflows.read",
    /// Write workflows, renew their secrets, and have messages sent again.
    ManageWorkflows = "workflows.manage",
    /// See gold, what became of it and what was earned with it.
    ReadGold = "gold.read",
    /// Award and deduct gold.
    AwardGold = "gold.award",
    /// Write achievements, and take back what was earned.
    WriteAchievements = "achievements.write",
    /// List deleted rows and restore them.
    RestoreDeleted = "deleted.restore",
}

/// What a person is to the university.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema, Default)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum UserType {
    /// Enrols in offerings.
    #[default]
    Student,
    /// Runs the university's business.
    Staff,
    /// Academic in charge of units.
    UnitConvenor,
    /// Reads what staff read, changes nothing.
    Auditor,
    /// Guardian of students, by their grant.
    Parent,
    /// May do everything.
    Admin,
}

impl UserType {
    /// All of them, as they are spelt.
    pub const NAMED: [(&'static str, Self); 6] = [
        ("student", Self::Student),
        ("staff", Self::Staff),
        ("unit_convenor", Self::UnitConvenor),
        ("auditor", Self::Auditor),
        ("parent", Self::Parent),
        ("admin", Self::Admin),
    ];
}

/// What a caller may do, and how far.
#[derive(Debug, Clone)]
pub struct Grants([Reach; Permission::ALL.len()]);

impl Default for Grants {
    fn default() -> Self {
        Self([Reach::NONE; Permission::ALL.len()])
    }
}

impl Grants {
    /// What the user type and the two flags bring: domain.md's table, a column each.
    #[must_use]
    pub fn of(user_type: UserType, is_staff: bool, is_superuser: bool) -> Self {
        let mut grants = Self::default();
        let mut add = |column: UserType| {
            for permission in Permission::ALL {
                grants.add(*permission, of_user_type(*permission, column));
            }
        };
        add(user_type);
        if is_staff {
            add(UserType::Staff);
        }
        if is_superuser {
            add(UserType::Admin);
        }
        grants
    }

    /// Adds what a role grants, `code` or `code:scope`; a code without a scope reaches everything.
    pub fn add_named(&mut self, spelt: &str) {
        if let Some((permission, reach)) = parse(spelt) {
            self.add(permission, reach);
        }
    }

    /// How far a permission reaches.
    #[must_use]
    pub fn reach(&self, permission: Permission) -> Reach {
        self.0.get(permission as usize).copied().unwrap_or_default()
    }

    /// A permission by which these reach further than `others` do; rights over one's own records are no power over others,
    /// and are not compared.
    #[must_use]
    pub fn beyond(&self, others: &Self) -> Option<Permission> {
        Permission::ALL.iter().copied().find(|permission| {
            let reach = self.reach(*permission).beyond_own();
            !reach.is_none() && !others.reach(*permission).covers(reach)
        })
    }

    /// All of them as `code:scope`.
    #[must_use]
    pub fn named(&self) -> Vec<String> {
        Permission::ALL
            .iter()
            .flat_map(|permission| {
                self.reach(*permission).names().map(move |scope| format!("{}:{scope}", permission.code()))
            })
            .collect()
    }

    fn add(&mut self, permission: Permission, reach: Reach) {
        if let Some(place) = self.0.get_mut(permission as usize) {
            *place |= reach;
        }
    }
}

/// Reads `code` or `code:scope`.
#[must_use]
pub fn parse(spelt: &str) -> Option<(Permission, Reach)> {
    let (code, scope) = spelt
        .split_once(':')
        .map_or((spelt, Reach::ALL), |(code, scope)| (code, Reach::named(scope).unwrap_or(Reach::NONE)));
    let permission = Permission::ALL.iter().find(|permission| permission.code() == code)?;
    (!scope.is_none()).then_some((*permission, scope))
}

#[expect(clippy::match_same_arms, clippy::too_many_lines, reason = "a table, read a permission at a time")]
fn of_user_type(permission: Permission, user_type: UserType) -> Reach {
    use Permission as P;
    use UserType::{Admin, Auditor, Parent, Staff, Student, UnitConvenor};

    match (permission, user_type) {
        (
            P::EditProfile
            | P::ExportOwnData
            | P::ReadNotifications
            | P::EditNotifications
            | P::CreateTickets
            | P::ManageCalendarLink
            | P::AskAdvisor,
            _,
        ) => Reach::OWN,
        (P::ReadTeaching, UnitConvenor | Staff | Auditor | Admin) => Reach::OWN,
        (P::ReadTeaching, Student | Parent) => Reach::NONE,
        // Only by a role: it tells the accounts of automations from those of people.
        (P::ImportDirectly, _) => Reach::NONE,
        (P::ApplyForScholarships, Student) => Reach::OWN,
        (P::ApplyForScholarships, _) => Reach::NONE,
        (_, Admin) => Reach::ALL,

        (P::ReadUsers, UnitConvenor | Staff | Auditor) => Reach::ALL,
        (P::ReadUsers, Parent) => Reach::OWN | Reach::CHILDREN,
        (P::ReadUsers, Student) => Reach::OWN,

        (P::ReadStudents, UnitConvenor | Staff | Auditor) => Reach::ALL,
        (P::ReadStudents, Student | Parent) => Reach::NONE,

        (P::ReadStudentProfiles, Staff | Auditor) => Reach::ALL,
        (P::ReadStudentProfiles, UnitConvenor) => Reach::OWN | Reach::OWN_UNITS,
        (P::ReadStudentProfiles, Student | Parent) => Reach::OWN,

        (P::ReadGuardians, Student | Parent) | (P::GrantGuardians, Student) => Reach::OWN,
        (P::ReadGuardians, UnitConvenor | Staff | Auditor) => Reach::NONE,
        (P::GrantGuardians, Parent | UnitConvenor | Staff | Auditor) => Reach::NONE,

        (P::ReadScholarships, UnitConvenor | Staff | Auditor) => Reach::ALL,
        (P::ReadScholarships | P::ReadScholarshipApplications, Student) => Reach::OWN,
        (P::ReadScholarshipApplications, Staff | Auditor) => Reach::ALL,
        (P::ReadScholarships, Parent) | (P::ReadScholarshipApplications, Parent | UnitConvenor) => Reach::NONE,
        (P::WriteScholarships | P::ReviewScholarships, Staff) => Reach::ALL,
        (P::WriteScholarships | P::ReviewScholarships, Student | Parent | UnitConvenor | Auditor) => Reach::NONE,

        (P::ManageSessions, _) => Reach::OWN,

        (P::ReadAuditLog, Auditor) => Reach::ALL,
        (P::ReadAuditLog, Student | Parent | UnitConvenor | Staff) => Reach::NONE,

        (P::WriteStudentProfiles | P::WriteCourses | P::WriteCourseUnits | P::WriteIntakes, Staff) => Reach::ALL,
        (
            P::WriteStudentProfiles | P::WriteCourses | P::WriteCourseUnits | P::WriteIntakes,
            Student | Parent | UnitConvenor | Auditor,
        ) => Reach::NONE,

        (P::WriteUnits | P::WriteOfferings | P::WriteUnitResources, Staff) => Reach::ALL,
        (P::WriteUnits | P::WriteOfferings | P::WriteUnitResources, UnitConvenor) => Reach::OWN_UNITS,
        (P::WriteUnits | P::WriteOfferings | P::WriteUnitResources, Student | Parent | Auditor) => Reach::NONE,

        (P::ReadUnitResources, Staff | Auditor) => Reach::ALL,
        (P::ReadUnitResources, UnitConvenor) => Reach::OWN_UNITS,
        (P::ReadUnitResources, Student) => Reach::OWN,
        (P::ReadUnitResources, Parent) => Reach::NONE,

        (P::ReadEnrollments | P::ReadTranscripts, Staff | Auditor) => Reach::ALL,
        (P::ReadEnrollments | P::ReadTranscripts, UnitConvenor) => Reach::OWN_UNITS,
        (P::ReadEnrollments | P::ReadTranscripts, Student) => Reach::OWN,
        (P::ReadEnrollments | P::ReadTranscripts, Parent) => Reach::CHILDREN,

        (P::CreateEnrollments | P::WithdrawEnrollments, Staff) => Reach::ALL,
        (P::CreateEnrollments | P::WithdrawEnrollments, Student) => Reach::OWN,
        (P::CreateEnrollments | P::WithdrawEnrollments, Parent | UnitConvenor | Auditor) => Reach::NONE,

        (P::ReadApprovals, Staff | Auditor) => Reach::ALL,
        (P::ReadApprovals | P::ApproveEnrollments | P::GradeEnrollments, UnitConvenor) => Reach::OWN_UNITS,
        (P::ApproveEnrollments | P::GradeEnrollments, Staff) => Reach::ALL,
        (P::ApproveEnrollments | P::GradeEnrollments, Auditor) => Reach::NONE,
        (P::ReadApprovals | P::ApproveEnrollments | P::GradeEnrollments, Student | Parent) => Reach::NONE,

        (P::ReadEvents, UnitConvenor | Staff | Auditor) => Reach::ALL,
        (P::ReadEvents, Student | Parent) => Reach::OWN,
        (P::WriteEvents, UnitConvenor | Staff) => Reach::ALL,
        (P::DeleteEvents, Staff) => Reach::ALL,
        (P::DeleteEvents, UnitConvenor) => Reach::OWN | Reach::OWN_UNITS,
        (P::PublishEvents | P::AutomateEvents, Staff) => Reach::ALL,
        (P::PublishEvents, UnitConvenor) => Reach::OWN_UNITS,
        (P::AutomateEvents, UnitConvenor) => Reach::NONE,
        (P::WriteEvents | P::DeleteEvents | P::PublishEvents | P::AutomateEvents, Student | Parent | Auditor) => {
            Reach::NONE
        }

        (P::ReadClassSessions | P::ReadAttendance, Staff | Auditor) => Reach::ALL,
        (P::ReadClassSessions | P::ReadAttendance, UnitConvenor) => Reach::OWN | Reach::OWN_UNITS,
        (P::ReadClassSessions | P::ReadAttendance, Student) => Reach::OWN,
        (P::ReadClassSessions, Parent) => Reach::NONE,
        (P::ReadAttendance, Parent) => Reach::CHILDREN,

        (P::WriteClassSessions | P::WriteAttendance, Staff) => Reach::ALL,
        (P::WriteClassSessions, UnitConvenor) => Reach::OWN_UNITS,
        (P::WriteAttendance, UnitConvenor) => Reach::OWN | Reach::OWN_UNITS,
        (P::WriteClassSessions | P::WriteAttendance, Student | Parent | Auditor) => Reach::NONE,

        (P::ReadClassLists, Staff | Auditor) => Reach::ALL,
        (P::ReadClassLists, UnitConvenor) => Reach::OWN | Reach::OWN_UNITS,
        (P::ReadClassLists, Student | Parent) => Reach::OWN,

        (P::SendNotifications, UnitConvenor | Staff) => Reach::ALL,
        (P::SendNotifications, Student | Parent) => Reach::OWN,
        (P::SendNotifications, Auditor) => Reach::NONE,

        (P::ReadTickets, Staff | Auditor) | (P::WriteTickets, Staff) => Reach::ALL,
        (P::ReadTickets | P::WriteTickets, UnitConvenor) => Reach::OWN | Reach::OWN_UNITS,
        (P::ReadTickets | P::WriteTickets, Student | Parent) | (P::WriteTickets, Auditor) => Reach::OWN,

        (P::ManageTickets, Staff) | (P::ReadTicketNotes, Staff | Auditor) => Reach::ALL,
        (P::ManageTickets, Student | Parent | UnitConvenor | Auditor) => Reach::NONE,
        (P::ReadTicketNotes, Student | Parent | UnitConvenor) => Reach::NONE,

        (P::ReadUnpublishedPages, UnitConvenor | Staff | Auditor) => Reach::ALL,
        (P::ReadUnpublishedPages, Student | Parent) => Reach::NONE,
        (P::WritePages | P::WriteResources | P::WriteMedia, UnitConvenor | Staff) => Reach::ALL,
        (P::WritePages | P::WriteResources | P::WriteMedia, Student | Parent | Auditor) => Reach::NONE,

        (P::WriteForms, UnitConvenor | Staff) => Reach::ALL,
        (P::WriteForms, Student | Parent | Auditor) => Reach::NONE,
        (P::ReadInactiveForms, UnitConvenor | Staff | Auditor) => Reach::ALL,
        (P::ReadInactiveForms, Student | Parent) => Reach::NONE,
        (P::ReadSubmissions, Staff | Auditor) => Reach::ALL,
        (P::ReadSubmissions, Student | Parent | UnitConvenor) => Reach::OWN,
        (P::WriteSubmissions, Student | Parent | UnitConvenor | Staff | Auditor) => Reach::OWN,

        (P::ReadWorkflows, Staff) => Reach::ALL,
        (P::ReadWorkflows, Student | Parent | UnitConvenor | Auditor) => Reach::NONE,
        (P::ReadGold, Staff | Auditor) | (P::AwardGold | P::WriteAchievements, Staff) => Reach::ALL,
        (P::ReadGold | P::AwardGold, UnitConvenor) => Reach::OWN_UNITS,
        (P::ReadGold, Student) => Reach::OWN,
        (P::ReadGold, Parent) => Reach::CHILDREN,
        (P::AwardGold, Student | Parent | Auditor) => Reach::NONE,
        (P::WriteAchievements, Student | Parent | UnitConvenor | Auditor) => Reach::NONE,

        (
            P::ReadPrivate
            | P::WriteGuardians
            | P::ManageUsers
            | P::AnonymiseUsers
            | P::ManageRoles
            | P::DeleteEnrollments
            | P::RestoreDeleted
            | P::ManageWorkflows,
            Student | Parent | UnitConvenor | Staff | Auditor,
        ) => Reach::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A permission's row in the guide: what each user type has of it.
    fn row(permission: Permission) -> String {
        use UserType::{Admin, Auditor, Parent, Staff, Student, UnitConvenor};

        let cells = [Student, Parent, UnitConvenor, Staff, Auditor, Admin].map(|user_type| {
            let names: Vec<&str> = of_user_type(permission, user_type).names().collect();
            if names.is_empty() { "–".to_owned() } else { names.join(", ") }
        });
        format!("| `{}` | {} | {} |", permission.code(), permission.says().trim_end_matches('.'), cells.join(" | "))
    }

    #[test]
    fn the_guide_shows_what_each_user_type_may_do() {
        let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).unwrap();
        let shown: Vec<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
        let missing: Vec<String> = Permission::ALL
            .iter()
            .map(|permission| row(*permission))
            .filter(|row| !shown.contains(&row.as_str()))
            .collect();
        assert!(missing.is_empty(), "docs/api.md lacks:\n{}", missing.join("\n"));
    }
}
