//! When the classes of an offering are, in a few words.

use chrono::{NaiveTime, Weekday};

use super::store::Slot;

/// Such as `Mon 09:00-11:00, Thu 13:00-14:00`: where classes are still to come, when those are, else when they were;
/// without any what the offering's notes say. Empty when nothing is known.
pub(super) fn summary(slots: &[Slot], notes: &str) -> String {
    let is_to_come = |slot: &&Slot| slot.to_come > 0;
    let goes_on = slots.iter().any(|slot| is_to_come(&slot));
    let mut times: Vec<String> = slots.iter().filter(|slot| !goes_on || is_to_come(slot)).map(time).collect();
    // The slots come by weekday and time, and differ by instructor too.
    times.dedup();
    if times.is_empty() { meeting(notes).unwrap_or_default().to_owned() } else { times.join(", ") }
}

fn time(slot: &Slot) -> String {
    let starts = format!("{} {}", slot.first_date.format("%a"), slot.start_time.format("%H:%M"));
    slot.end_time.map_or_else(|| starts.clone(), |end| format!("{starts}-{}", end.format("%H:%M")))
}

/// The `Mon 09:00` of notes such as `Major: …; Category: …; Class 3h/week; Mon 09:00`.
fn meeting(notes: &str) -> Option<&str> {
    notes.split(';').map(str::trim).find(|part| {
        part.split_once(' ').is_some_and(|(day, hours)| {
            day.parse::<Weekday>().is_ok()
                && hours.split('-').all(|time| NaiveTime::parse_from_str(time.trim(), "%H:%M").is_ok())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::meeting;

    #[test]
    fn the_notes_of_an_import_tell_the_meeting_time() {
        for (notes, wanted) in [
            ("Major: CS; Category: Core; Class 3h/week; Mon 09:00", Some("Mon 09:00")),
            ("Fri 13:30-15:30", Some("Fri 13:30-15:30")),
            ("Major: Mon; Class 3h/week", None),
            ("Mon morning; Someday 09:00; Mon 25:00", None),
            ("", None),
        ] {
            assert_eq!(meeting(notes), wanted, "{notes}");
        }
    }
}
