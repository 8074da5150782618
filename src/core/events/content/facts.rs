//! What is known of an event to whoever writes about it: the built-in writer, or a workflow.

use chrono::Datelike as _;
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::store;
use crate::core::events::handlers::Event;
use crate::http::Answer;
use crate::ids::{Id, Moment};

/// An event in words.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    pub(super) title: String,
    /// May be empty.
    pub(super) description: String,
    /// May be empty.
    pub(super) location: String,
    /// Day and time, in `TIME_ZONE`.
    pub(super) when: String,
    /// The day alone.
    pub(super) day: String,
    /// Code and name.
    pub(super) unit: Option<String>,
    /// Whom it is for, such as `all students`; empty when that is not known.
    pub(super) audience: String,
    /// Day and time in Vietnamese.
    pub(super) when_vi: String,
    /// Whom it is for in Vietnamese; empty when that is not known.
    pub(super) audience_vi: String,
}

/// The event in words.
pub(super) async fn facts(conn: &mut PgConnection, event: &Event, zone: Tz) -> Answer<Facts> {
    let unit = store::unit_of(conn, event.id).await?.map(|(code, name)| format!("{code} {name}"));
    Ok(Facts {
        title: event.title.trim().to_owned(),
        description: event.description.trim().to_owned(),
        location: event.location.trim().to_owned(),
        when: when(event.start, event.end, zone),
        day: day(event.start, zone),
        audience: audience(event, unit.as_deref()),
        when_vi: when_vi(event.start, event.end, zone),
        audience_vi: audience_vi(event, unit.as_deref()),
        unit,
    })
}

/// Whom it is for, in English.
fn audience(event: &Event, unit: Option<&str>) -> String {
    let to_classes = !event.target_offerings.is_empty() || !event.target_intakes.0.is_empty();
    match (event.visibility.as_str(), unit) {
        ("staff", _) => "all staff".to_owned(),
        _ if event.target_all_students => "all students".to_owned(),
        (_, Some(unit)) if to_classes || event.visibility == "unit" => format!("students of {unit}"),
        _ if to_classes => "students of the classes concerned".to_owned(),
        _ if !event.target_students.is_empty() => "invited students".to_owned(),
        // That of no unit reaches nobody.
        ("unit", None) => String::new(),
        _ => "everyone".to_owned(),
    }
}

fn audience_vi(event: &Event, unit: Option<&str>) -> String {
    let to_classes = !event.target_offerings.is_empty() || !event.target_intakes.0.is_empty();
    match (event.visibility.as_str(), unit) {
        ("staff", _) => "cán bộ, giảng viên".to_owned(),
        _ if event.target_all_students => "toàn thể sinh viên".to_owned(),
        (_, Some(unit)) if to_classes || event.visibility == "unit" => format!("sinh viên môn {unit}"),
        _ if to_classes => "sinh viên các lớp liên quan".to_owned(),
        _ if !event.target_students.is_empty() => "sinh viên được mời".to_owned(),
        ("unit", None) => String::new(),
        _ => "mọi người".to_owned(),
    }
}

fn day_vi(at: Moment, zone: Tz) -> String {
    const DAYS: [&str; 7] = ["Thứ Hai", "Thứ Ba", "Thứ Tư", "Thứ Năm", "Thứ Sáu", "Thứ Bảy", "Chủ Nhật"];
    let local = at.0.with_timezone(&zone);
    let day = DAYS.get(local.weekday().num_days_from_monday() as usize).copied().unwrap_or_default();
    format!("{day}, {}", local.format("%d/%m/%Y"))
}

fn when_vi(start: Moment, end: Option<Moment>, zone: Tz) -> String {
    let time_vi = |at: Moment| at.0.with_timezone(&zone).format("%-H:%M").to_string();
    let begins = (day_vi(start, zone), time_vi(start));
    match end.map(|end| (day_vi(end, zone), time_vi(end))) {
        Some(ends) if ends.0 != begins.0 => format!("{}, {} đến {}, {}", begins.0, begins.1, ends.0, ends.1),
        Some(ends) if ends != begins => format!("{}, {}–{}", begins.0, begins.1, ends.1),
        _ => format!("{}, {}", begins.0, begins.1),
    }
}

fn day(at: Moment, zone: Tz) -> String {
    at.0.with_timezone(&zone).format("%A, %-d %B %Y").to_string()
}

fn time(at: Moment, zone: Tz) -> String {
    at.0.with_timezone(&zone).format("%-I:%M %P").to_string()
}

fn when(start: Moment, end: Option<Moment>, zone: Tz) -> String {
    let begins = (day(start, zone), time(start, zone));
    match end.map(|end| (day(end, zone), time(end, zone))) {
        Some(ends) if ends.0 != begins.0 => format!("{}, {}, to {}, {}", begins.0, begins.1, ends.0, ends.1),
        Some(ends) if ends != begins => format!("{}, {} to {}", begins.0, begins.1, ends.1),
        _ => format!("{}, {}", begins.0, begins.1),
    }
}

/// The payload of `event.generate`.
pub(super) async fn to_generate(conn: &mut PgConnection, event: &Event, prompt: &str, by: Id) -> Answer<Value> {
    let mut payload = json!({
        "event_id": event.id,
        "title": event.title,
        "description": event.description,
        "start": event.start,
        "end": event.end,
        "location": event.location,
        "prompt": prompt,
    });
    let same = payload.clone();
    let email = store::email_of(conn, by).await?;
    if let Some(members) = payload.as_object_mut() {
        members.insert("event".to_owned(), same);
        members.insert("triggered_by".to_owned(), json!(email));
    }
    Ok(payload)
}

/// Whom the content is for, as `event.refine` is told.
pub(super) fn audience_context(event: &Event) -> Value {
    let intakes: Vec<Id> = event.target_intakes.0.iter().map(|intake| intake.id).collect();
    json!({
        "visibility": event.visibility,
        "target_all_students": event.target_all_students,
        "target_student_count": event.target_students.len(),
        "target_offering_ids": event.target_offerings,
        "target_intake_ids": intakes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_told_in_local_time_with_no_more_than_is_known() {
        let moment = |text: &str| text.parse::<Moment>().unwrap();
        let start = moment("2026-03-10T09:00:00Z");
        let zone = Tz::Australia__Melbourne;
        assert_eq!(when(start, None, zone), "Tuesday, 10 March 2026, 8:00 pm");
        assert_eq!(when(start, Some(start), zone), "Tuesday, 10 March 2026, 8:00 pm");
        let later = Some(moment("2026-03-10T10:30:00Z"));
        assert_eq!(when(start, later, zone), "Tuesday, 10 March 2026, 8:00 pm to 9:30 pm");
        let next_day = Some(moment("2026-03-10T14:00:00Z"));
        assert_eq!(when(start, next_day, Tz::UTC), "Tuesday, 10 March 2026, 9:00 am to 2:00 pm");
        let over_midnight = "Tuesday, 10 March 2026, 8:00 pm, to Wednesday, 11 March 2026, 1:00 am";
        assert_eq!(when(start, next_day, zone), over_midnight);
        assert_eq!(when_vi(start, later, zone), "Thứ Ba, 10/03/2026, 20:00–21:30");
        assert_eq!(when_vi(start, next_day, zone), "Thứ Ba, 10/03/2026, 20:00 đến Thứ Tư, 11/03/2026, 1:00");
    }
}
