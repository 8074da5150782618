//! What becomes of the seats of somebody whose account ends, and who is told of students that leave by themselves.

use sqlx::PgConnection;

use super::steps::{Held, Step, carry_out};
use super::store;
use crate::access::{Permission, Viewer};
use crate::core::notifications::{Notice, tell};
use crate::enrollment::Status;
use crate::http::Answer;
use crate::ids::Id;
use crate::users::roles::everyone_who_may;

/// What is to become of seats that were granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Granted {
    /// They stay, and staff are told which.
    Stay,
    /// They are given back.
    Withdrawn,
}

/// Withdraws the requests of this student that wait for a decision, since nobody waits any more, and does with granted seats as is
/// said. The account is locked.
pub(crate) async fn end_seats(tx: &mut PgConnection, author: &Viewer, student: Id, granted: Granted) -> Answer<()> {
    let seats = store::seats_of(tx, student).await?;
    let held = store::hold(tx, &seats).await?;
    let ends = |held: &&Held| match held.status {
        Status::Pending => true,
        Status::Enrolled => granted == Granted::Withdrawn,
        Status::Withdrawn | Status::Completed | Status::Failed => false,
    };
    let withdrawn = |held: &Held| Step {
        id: held.id,
        status: Status::Withdrawn,
        grade: String::new(),
        marks: None,
        reason: "The account was deactivated.".to_owned(),
        decision: None,
        day: None,
    };
    let steps: Vec<(&Held, Step)> = held.iter().filter(ends).map(|held| (held, withdrawn(held))).collect();
    carry_out(tx, Some(author), "withdraw", &steps).await?;
    let stay: Vec<String> =
        held.iter().filter(|held| held.status == Status::Enrolled && !ends(held)).map(Held::class).collect();
    if stay.is_empty() {
        return Ok(());
    }
    // By number: what is erased is not written down again.
    let who = store::number_of(tx, student).await?;
    let description =
        format!("The account of student {who} was deactivated, and its seats stay taken: {}.", stay.join(", "));
    let staff = everyone_who_may(tx, Permission::ApproveEnrollments).await?;
    let notices: Vec<Notice> = staff
        .into_iter()
        .map(|recipient| Notice {
            recipient,
            actor: author.caller_id(),
            verb: "Seats of a deactivated account",
            description: description.clone(),
            target: ("user", student),
        })
        .collect();
    Ok(tell(tx, &notices).await?)
}

/// Tells the convenor that a student has given a seat back, if it was the actor's own. The reason is in the history alone: a
/// notice is read over shoulders.
pub(super) async fn tell_convenor(tx: &mut PgConnection, actor: &Viewer, enrollment: Id) -> Answer<()> {
    let Some(left) = own::withdrawal(tx, actor.caller_id(), enrollment).await? else { return Ok(()) };
    let class = format!("{} {} {}", left.unit_code, left.year, left.semester);
    let what = if left.had_a_seat { "has left" } else { "no longer asks for a seat in" };
    let notice = Notice {
        recipient: left.convenor,
        actor: actor.caller_id(),
        verb: "Student withdrew",
        description: format!("{} {what} {class}.", left.student_name),
        target: ("enrollment", enrollment),
    };
    Ok(tell(tx, &[notice]).await?)
}

/// What is asked of one's own withdrawal.
mod own {
    use sqlx::PgConnection;

    use crate::ids::Id;

    /// Who has left what, and who convenes it.
    pub(super) struct Left {
        pub(super) convenor: Id,
        pub(super) student_name: String,
        pub(super) unit_code: String,
        pub(super) year: i32,
        pub(super) semester: String,
        /// Whether the seat was granted, not only asked for.
        pub(super) had_a_seat: bool,
    }

    /// What this person has just withdrawn from; none unless it is their own enrolment, and there is an active convenor.
    pub(super) async fn withdrawal(
        tx: &mut PgConnection,
        person: Option<Id>,
        enrollment: Id,
    ) -> sqlx::Result<Option<Left>> {
        sqlx::query_as!(
            Left,
            r#"select convenor.id as "convenor: Id",
                      trim(s.first_name || ' ' || s.last_name) as "student_name!",
                      u.code as unit_code,
                      o.year,
                      o.semester,
                      (select h.from_status = 'ENROLLED'
                         from enrollment_history h
                        where h.enrollment_id = e.id
                        order by h.id desc
                        limit 1) as "had_a_seat!"
                 from enrollments e
                 join users s on s.id = e.student_id
                 join offerings o on o.id = e.offering_id
                 join units u on u.id = o.unit_id
                 join users convenor on convenor.id = o.convenor_id and convenor.is_active
                where e.id = $1
                  and e.student_id = $2"#,
            enrollment.0,
            person as Option<Id>
        )
        .fetch_optional(tx)
        .await
    }
}
