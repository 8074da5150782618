//! What Prometheus is told.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use serde_json::{Value, json};
use swincms::app::AppState;
use swincms::metrics;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{Proxy, TestApp};

/// The metrics of a server, on an address of their own.
struct Measured {
    base: String,
    _stop: DropGuard,
}

impl Measured {
    async fn of(state: &AppState) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(metrics::serve(state.clone(), listener, stop.clone()));
        Self { base, _stop: stop.drop_guard() }
    }

    async fn page(&self) -> String {
        let reply = reqwest::get(format!("{}/metrics", self.base)).await.unwrap();
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        reply.text().await.unwrap()
    }

    /// One number; none when it is not there.
    async fn value(&self, sample: &str) -> Option<f64> {
        let page = self.page().await;
        page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }
}

#[tokio::test]
async fn requests_are_counted_by_the_template_of_their_route_and_never_by_their_path() {
    let app = TestApp::start().await;
    let measured = Measured::of(&app.state).await;
    let staff = app.staff().await;
    for path in
        ["/api/academic/courses/", "/api/academic/courses", "/api/academic/courses/1/", "/api/academic/courses/2/"]
    {
        staff.get(path).await;
    }
    for number in 0..20 {
        app.anonymous().get(&format!("/made/up/{number}")).await.expect(404);
    }
    let page = measured.page().await;
    let requests = "swincms_http_requests_total";
    for line in [
        r#"{method="GET",route="/api/academic/courses/",status="2xx"} 2"#,
        r#"{method="GET",route="/api/academic/courses/{id}/",status="4xx"} 2"#,
        r#"{method="GET",route="unknown",status="4xx"} 20"#,
    ] {
        assert!(page.contains(&format!("{requests}{line}\n")), "{line} is missing in {page}");
    }
    assert_eq!(page.lines().filter(|line| line.starts_with(requests)).count(), 3, "{page}");
    assert!(
        page.contains("_duration_seconds_count{method=\"GET\",route=\"/api/academic/courses/{id}/\"} 2\n"),
        "{page}"
    );
    assert!(page.contains("swincms_http_requests_in_flight 0\n"), "{page}");
}

#[tokio::test]
async fn nothing_but_the_metrics_is_on_their_address_and_they_are_on_no_other() {
    let app = TestApp::start().await;
    let measured = Measured::of(&app.state).await;
    for path in ["/", "/health/live", "/api/academic/courses/", "/metrics/"] {
        let reply = reqwest::get(format!("{}{path}", measured.base)).await.unwrap();
        assert_eq!(reply.status(), 404, "{path}");
    }
    let reply = reqwest::Client::new().post(format!("{}/metrics", measured.base)).send().await.unwrap();
    assert_eq!(reply.status(), 405);
    for path in ["/metrics", "/metrics/", "/api/metrics/"] {
        app.admin().await.get(path).await.expect(404);
    }
}

#[tokio::test]
async fn log_ins_and_enrolments_are_counted_by_what_came_of_them() {
    let app = TestApp::start().await;
    let measured = Measured::of(&app.state).await;
    let (student, offering) = (app.student().await, app.offering(1).await);
    student.log_in().await;
    let wrong = json!({ "email": student.email, "password": "not-the-password-7" });
    app.anonymous().post("/api/token/", &wrong).await.expect(401);
    app.anonymous().post("/api/token/compat/", &wrong).await.expect(401);
    assert_eq!(measured.value(r#"swincms_log_ins_total{outcome="ok"}"#).await, Some(1.0));
    assert_eq!(measured.value(r#"swincms_log_ins_total{outcome="refused"}"#).await, Some(2.0));

    let enrol = json!({ "offering": offering });
    let once = student.with("Idempotency-Key", "the same twice");
    let first = once.post("/api/enrollment/enrollments/", &enrol).await;
    assert_eq!(first.expect(201)["status"], "PENDING");
    once.post("/api/enrollment/enrollments/", &enrol).await.expect(201);
    app.student().await.post("/api/enrollment/enrollments/", &enrol).await.expect(409);
    for (outcome, count) in [("pending", 1.0), ("repeated", 1.0), ("refused", 1.0), ("enrolled", 0.0), ("failed", 0.0)]
    {
        let sample = format!("swincms_enrolments_total{{outcome=\"{outcome}\"}}");
        assert_eq!(measured.value(&sample).await, Some(count), "{outcome}");
    }
}

#[tokio::test]
async fn queues_and_what_waits_in_them_are_measured() {
    let app = TestApp::start().await;
    let measured = Measured::of(&app.state).await;
    let gauges =
        ["swincms_outbox_pending", "swincms_outbox_dead", "swincms_mail_queued", "swincms_audit_seal_lag_seconds"];
    for gauge in gauges {
        assert_eq!(measured.value(gauge).await, Some(0.0), "{gauge}");
    }
    for statement in [
        "insert into webhook_outbox (trigger_event, object_key, created_at)
         values ('enrollment_created', 'enrollment:1', rule_now() - interval '90 seconds'),
                ('enrollment_created', 'enrollment:2', rule_now())",
        "insert into webhook_outbox (trigger_event, object_key, state)
         values ('enrollment_created', 'enrollment:3', 'dead')",
        "insert into mail_outbox (template, recipient, created_at)
         values ('password_reset', 'ada@example.edu', rule_now() - interval '40 seconds')",
        "insert into mail_outbox (template, recipient, state) values ('password_reset', 'ada@example.edu', 'dead')",
        "insert into audit_log (action, created_at) values ('create', clock_timestamp() - interval '1 hour')",
    ] {
        sqlx::Executor::execute(&app.db, statement).await.unwrap();
    }
    for (gauge, value) in [
        ("swincms_outbox_pending", 2.0),
        ("swincms_outbox_dead", 1.0),
        ("swincms_outbox_oldest_seconds", 90.0),
        ("swincms_mail_queued", 1.0),
        ("swincms_mail_dead", 1.0),
        ("swincms_mail_oldest_seconds", 40.0),
        ("swincms_database_up", 1.0),
        ("swincms_pool_sessions_max", 4.0),
        ("swincms_pool_waiting", 0.0),
    ] {
        assert_eq!(measured.value(gauge).await, Some(value), "{gauge}");
    }
    let lag = measured.value("swincms_audit_seal_lag_seconds").await.unwrap();
    assert!((3600.0..3700.0).contains(&lag), "{lag}");

    // All cores for passwords are held, and one more waits.
    let line = || app.state.hasher.line(std::net::IpAddr::from([10, 0, 0, 1])).unwrap();
    let (place, core) = (line().place(None).await.unwrap(), app.state.hasher.core().await.unwrap());
    let waiting = line().place(None).await.unwrap();
    assert!(measured.value("swincms_password_hashes_working").await >= Some(1.0));
    assert!(measured.value("swincms_password_hashes_waiting").await >= Some(1.0));
    drop((place, core, waiting));
    assert_eq!(measured.value("swincms_password_hashes_waiting").await, Some(0.0));
}

#[tokio::test]
async fn a_database_that_is_away_is_told_and_the_rest_is_there() {
    let app = TestApp::start().await;
    let proxy = Proxy::start(&app).await;
    let server = app.another_server().through(&proxy).start().await;
    let measured = Measured::of(&server.state).await;
    assert_eq!(measured.value("swincms_database_up").await, Some(1.0));
    proxy.cut();
    let page = measured.page().await;
    assert!(page.contains("swincms_database_up 0\n") && page.contains("swincms_pool_sessions_max 4\n"), "{page}");
    for queue in ["swincms_outbox", "swincms_mail", "swincms_audit"] {
        assert!(!page.contains(queue), "{queue} cannot be known: {page}");
    }
}

/// The dashboard and the alerts are written by hand; a name that is not measured would only show nothing.
#[tokio::test]
async fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let backups = std::env::temp_dir().join(format!("swincms-backups-{}", uuid::Uuid::new_v4().simple()));
    let newest = backups.join("swincms-20260302T010000Z");
    std::fs::create_dir_all(&newest).unwrap();
    let app = TestApp::with(&[("BACKUP_DIR", backups.to_str().unwrap())]).await;
    let measured = Measured::of(&app.state).await;
    app.anonymous().get("/health/live").await.expect(200);
    let page = measured.page().await;
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let there: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (dashboard, alerts) = (read("swincms-dashboard.json"), read("alerts.yaml"));
    let panels: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(panels["panels"].as_array().unwrap().len() > 8);
    let rules: Value = yaml_serde::from_str(&alerts).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.iter().all(|rule| rule["expr"].is_string() && rule["annotations"]["summary"].is_string()));

    let names = Regex::new(r"\b(?:swincms|process)_[a-z_]+").unwrap();
    for (file, text) in [("dashboard", &dashboard), ("alerts", &alerts)] {
        for name in names.find_iter(text) {
            assert!(there.contains(name.as_str()), "the {file} asks for {}, which is not measured", name.as_str());
        }
    }
    // Of a backup: how old it is, by the test's clock, and whether it is good.
    assert_eq!(measured.value("swincms_backup_age_seconds").await, Some(3600.0));
    assert_eq!(measured.value("swincms_backup_good").await, Some(1.0));
    std::fs::write(newest.join("missing.txt"), "public/a.png\n").unwrap();
    assert_eq!(measured.value("swincms_backup_good").await, Some(0.0));
    std::fs::remove_dir_all(&backups).unwrap();
    assert_eq!(measured.value("swincms_backup_good").await, Some(0.0));
    // And the other way round: what is measured is shown.
    for name in there.iter().filter(|name| !name.ends_with("_sum") && **name != "swincms_build_info") {
        assert!(dashboard.contains(*name) || name.ends_with("_count"), "{name} is on no panel");
    }
}
