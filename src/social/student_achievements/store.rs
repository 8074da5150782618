//! Every SQL statement of what students have earned.

/// The columns of what a student has earned.
pub(super) const SELECT: &str = "
select s.id,
       s.student_id as student,
       s.achievement_id as achievement,
       s.earned_at,
       s.points_at_earning
from student_achievements s";
