//! HTTP requests by method, route and class of status, and how long they take.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{Method, StatusCode};

use super::page::{Kind, Page};
use crate::http::Routes;

/// The methods that are told apart; the last stands for all others, which clients make up.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The upper bounds of the histogram, in microseconds and as Prometheus writes them, in seconds.
const BOUNDS: [(u128, &str); 11] = [
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// The counters of all routes.
#[derive(Debug)]
pub struct Requests {
    /// By the template without its final slash.
    routes: BTreeMap<String, Route>,
    /// Of paths that no route has.
    unknown: Route,
    in_flight: AtomicU64,
}

#[derive(Debug)]
struct Route {
    label: String,
    /// In the order of [`METHODS`], each made when it is first asked for.
    lines: [OnceLock<Box<Line>>; METHODS.len()],
}

#[derive(Debug, Default)]
struct Line {
    classes: [AtomicU64; CLASSES.len()],
    /// One more than there are bounds: the last is for what took longer.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

/// A request that is being answered.
#[derive(Debug)]
pub struct InFlight<'a>(&'a AtomicU64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Route {
    fn new(label: &str) -> Self {
        Self { label: label.to_owned(), lines: [const { OnceLock::new() }; METHODS.len()] }
    }
}

impl Requests {
    pub(super) fn new(routes: &Routes) -> Self {
        let lines = routes.lines().iter();
        Self {
            routes: lines.map(|line| (bare(&line.path).to_owned(), Route::new(&line.path))).collect(),
            unknown: Route::new("unknown"),
            in_flight: AtomicU64::new(0),
        }
    }

    /// A request has come; it is in flight for as long as the answer is held.
    #[must_use]
    pub fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    /// A request has been answered; `route` is its template, if a route has its path.
    pub fn count(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
        let route = route.and_then(|path| self.routes.get(bare(path))).unwrap_or(&self.unknown);
        let method = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let Some(line) = route.lines.get(method) else { return };
        let line = line.get_or_init(Box::default);
        let took = took.as_micros();
        let bucket = BOUNDS.iter().position(|(bound, _)| took <= *bound).unwrap_or(BOUNDS.len());
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        for counter in [line.buckets.get(bucket), line.classes.get(class)].into_iter().flatten() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        line.microseconds.fetch_add(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A route's template as the table has it, with or without the final slash that a request left out.
    #[must_use]
    pub fn template(&self, route: &str) -> Option<&str> {
        self.routes.get(bare(route)).map(|route| route.label.as_str())
    }

    pub(super) fn write(&self, page: &mut Page) {
        page.family("swincms_http_requests_in_flight", Kind::Gauge, "Requests that are being answered.");
        page.sample("", &[], self.in_flight.load(Ordering::Relaxed));
        page.family("swincms_http_requests_total", Kind::Counter, "Requests that have been answered.");
        for (method, route, line) in self.lines() {
            for (class, count) in CLASSES.iter().zip(&line.classes) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    page.sample("", &[("method", method), ("route", route), ("status", class)], count);
                }
            }
        }
        let says = "How long requests took, until the head of the answer.";
        page.family("swincms_http_request_duration_seconds", Kind::Histogram, says);
        for (method, route, line) in self.lines() {
            let mut so_far = 0;
            let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
            for (bound, count) in bounds.zip(&line.buckets) {
                so_far += count.load(Ordering::Relaxed);
                page.sample("_bucket", &[("method", method), ("route", route), ("le", bound)], so_far);
            }
            let seconds = Duration::from_micros(line.microseconds.load(Ordering::Relaxed)).as_secs_f64();
            page.sample("_sum", &[("method", method), ("route", route)], seconds);
            page.sample("_count", &[("method", method), ("route", route)], so_far);
        }
    }

    /// Those that have been asked for, in their order.
    fn lines(&self) -> impl Iterator<Item = (&'static str, &str, &Line)> {
        self.routes.values().chain([&self.unknown]).flat_map(|route| {
            let lines = METHODS.iter().zip(&route.lines);
            lines.filter_map(|(method, line)| Some((*method, route.label.as_str(), line.get()?.as_ref())))
        })
    }
}

/// A route answers with and without its final slash.
fn bare(path: &str) -> &str {
    path.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::routes;

    fn page(requests: &Requests) -> String {
        let mut page = Page::default();
        requests.write(&mut page);
        page.into_text()
    }

    #[test]
    fn what_clients_make_up_has_one_label_for_all() {
        let requests = Requests::new(&routes());
        for number in 0..100 {
            let method = Method::from_bytes(format!("MADE{number}").as_bytes()).unwrap();
            requests.count(&method, None, StatusCode::NOT_FOUND, Duration::ZERO);
            requests.count(&method, Some(&format!("/made/up/{number}")), StatusCode::NOT_FOUND, Duration::ZERO);
        }
        let page = page(&requests);
        let counters: Vec<_> = page.lines().filter(|line| line.starts_with("swincms_http_requests_total")).collect();
        assert_eq!(counters, [r#"swincms_http_requests_total{method="other",route="unknown",status="4xx"} 200"#]);
    }

    #[test]
    fn a_histogram_counts_each_request_up_to_all_bounds_above_it() {
        let requests = Requests::new(&routes());
        for milliseconds in [5, 6, 30_000] {
            let took = Duration::from_millis(milliseconds);
            requests.count(&Method::GET, Some("/health/live"), StatusCode::OK, took);
        }
        let page = page(&requests);
        for (sample, value) in [
            ("_bucket{method=\"GET\",route=\"/health/live\",le=\"0.005\"}", "1"),
            ("_bucket{method=\"GET\",route=\"/health/live\",le=\"0.01\"}", "2"),
            ("_bucket{method=\"GET\",route=\"/health/live\",le=\"10\"}", "2"),
            ("_bucket{method=\"GET\",route=\"/health/live\",le=\"+Inf\"}", "3"),
            ("_sum{method=\"GET\",route=\"/health/live\"}", "30.011"),
            ("_count{method=\"GET\",route=\"/health/live\"}", "3"),
        ] {
            let line = format!("swincms_http_request_duration_seconds{sample} {value}\n");
            assert!(page.contains(&line), "{line} is missing in {page}");
        }
    }
}
