//! The half-years of the demo: S1 from January, S2 from July.

use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;

/// A semester; the half-years are counted so that the next one is one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Semester(i32);

impl Semester {
    /// The two before the one that this day lies in, that one, and the next.
    pub(super) fn around(today: NaiveDate) -> [Self; 4] {
        let current = today.year() * 2 + i32::from(today.month() > 6);
        [current - 2, current - 1, current, current + 1].map(Self)
    }

    pub(super) fn year(self) -> i32 {
        self.0.div_euclid(2)
    }

    pub(super) fn name(self) -> &'static str {
        if self.0.rem_euclid(2) == 0 { "S1" } else { "S2" }
    }

    /// The last day of classes and exams.
    pub(super) fn last_day(self) -> NaiveDate {
        Self(self.0 + 1).first_day().pred_opt().unwrap_or(NaiveDate::MAX)
    }

    /// When one may enrol: from half a year before it begins until it ends, so that whenever the demo is shown there
    /// is something to enrol in, and one semester has one window.
    pub(super) fn window(self, zone: Tz) -> (DateTime<Utc>, DateTime<Utc>) {
        (start_of(Self(self.0 - 1).first_day(), zone), start_of(Self(self.0 + 1).first_day(), zone))
    }

    fn first_day(self) -> NaiveDate {
        let month = if self.0.rem_euclid(2) == 0 { 1 } else { 7 };
        NaiveDate::from_ymd_opt(self.year(), month, 1).unwrap_or(NaiveDate::MAX)
    }
}

fn start_of(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    // Some clocks skip a midnight in spring.
    zone.from_local_datetime(&midnight).earliest().map_or_else(|| midnight.and_utc(), |start| start.to_utc())
}

#[cfg(test)]
mod tests {
    use super::Semester;
    use chrono::NaiveDate;
    use chrono_tz::Tz;

    #[test]
    fn the_current_and_the_next_semester_are_open_on_every_day_of_the_year() {
        for day in NaiveDate::from_ymd_opt(2026, 1, 1).unwrap().iter_days().take(366) {
            let noon = day.and_hms_opt(5, 0, 0).unwrap().and_utc();
            let [_, last, current, next] = Semester::around(day);
            let open = |semester: Semester| {
                let (opens, closes) = semester.window(Tz::Asia__Ho_Chi_Minh);
                opens <= noon && noon < closes
            };
            assert!(open(current) && open(next) && !open(last), "{day}");
        }
    }

    #[test]
    fn semesters_follow_each_other() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 22).unwrap();
        let names = Semester::around(day).map(|semester| format!("{} {}", semester.year(), semester.name()));
        assert_eq!(names, ["2025 S2", "2026 S1", "2026 S2", "2027 S1"]);
        assert_eq!(Semester::around(day)[1].last_day(), NaiveDate::from_ymd_opt(2026, 6, 30).unwrap());
    }
}
