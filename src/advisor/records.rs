//! The caller's records as a language model reads them. Of units there are codes and names, and of the person nothing that
//! names them.

use std::fmt::Write as _;

use sqlx::PgConnection;

use super::store;
use crate::access::{UserType, Viewer};
use crate::enrollment::{Repeats, UnitToTake, standing, units_to_take};
use crate::http::{Answer, Problem};

/// The longest that the records get, in bytes; what is left out is said.
const LONGEST: usize = 24_000;
/// So many units that can be taken.
const UNITS: usize = 60;

/// Lines that end before they are too long.
#[derive(Debug, Default)]
struct Lines {
    text: String,
    is_full: bool,
}

impl Lines {
    fn push(&mut self, line: &str) {
        if self.is_full {
            return;
        }
        self.is_full = self.text.len() + line.len() > LONGEST;
        let line = if self.is_full { "(There is more that does not fit here.)" } else { line };
        // Writing to a string does not fail.
        let _written = writeln!(self.text, "{line}");
    }

    /// A heading and what stands under it; `none` where there is nothing.
    fn list(&mut self, heading: &str, lines: impl IntoIterator<Item = String>) {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            self.push(&format!("{heading}: none"));
            return;
        }
        self.push(&format!("{heading}:"));
        for line in lines {
            self.push(&format!("- {line}"));
        }
    }
}

/// The caller's results, enrolments, course requirements, units to take, classes, events and gold.
pub(super) async fn records(
    conn: &mut PgConnection,
    viewer: &Viewer,
    repeats: Repeats,
    max_pending: u32,
) -> Answer<String> {
    let caller = viewer.caller().ok_or_else(Problem::not_authenticated)?;
    let mut lines = Lines::default();
    if caller.user_type == UserType::Student {
        let standing = standing(conn, viewer, caller.id).await?;
        let gpa = standing.gpa.map_or_else(|| "none yet".to_owned(), |gpa| format!("{gpa}"));
        lines.push(&format!("Grade point average, from 0 to 4 ({}): {gpa}", repeats.says()));
        let (points, units) = (standing.credit_points.normalize(), standing.units_completed);
        lines.push(&format!("Credit points earned: {points}, in {units} completed units"));
    }
    let enrolments = store::enrolments(conn, caller.id).await?;
    lines.list(
        "Enrolments",
        enrolments.into_iter().map(|one| {
            let grade = if one.grade.is_empty() { String::new() } else { format!(", grade {}", one.grade) };
            format!("{}: {}{grade}", one.class, one.status.name())
        }),
    );
    if let Some(course) = store::course(conn, caller.id).await? {
        lines.push(&format!("Credit points that the course asks for: {}", course.credit_points.normalize()));
        let missing = store::missing(conn, caller.id, course.id).await?;
        lines.list("Required by the course and not completed", missing.iter().map(store::Requirement::line));
    }
    lines.list("Classes in the next two weeks", store::classes(conn, caller.id).await?);
    lines.list("Events in the next 60 days", store::events(conn, viewer).await?);
    if let Some(gold) = store::gold(conn, caller.id).await? {
        lines.push(&format!("Social gold: {}", gold.balance));
    }
    if caller.user_type == UserType::Student {
        let units = units_to_take(conn, caller, max_pending).await?;
        lines.list(
            "Units that can be taken now, by the rules for enrolling",
            units.iter().take(UNITS).map(UnitToTake::line),
        );
    }
    Ok(lines.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_at_a_whole_line_and_say_that_there_is_more() {
        let mut lines = Lines::default();
        lines.list("Events", (0..1000).map(|n| format!("{n} {}", "é".repeat(200))));
        lines.push("Social gold: 5");
        assert!(lines.text.len() <= LONGEST + 100, "{}", lines.text.len());
        assert!(lines.text.ends_with("é\n(There is more that does not fit here.)\n"));
        lines = Lines::default();
        lines.list("Events", []);
        lines.list("Classes", ["one".to_owned()]);
        assert_eq!(lines.text, "Events: none\nClasses:\n- one\n");
    }
}
